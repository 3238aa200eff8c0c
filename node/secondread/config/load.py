"""From the operator's file to checked settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from secondread.config.checks import cross_check
from secondread.config.complete import to_completeness, to_fields
from secondread.config.destinations import DestinationRow, to_destination
from secondread.config.doors import needs_tls, to_tls_settings
from secondread.config.exports import DeidSection, ExportRow, to_named_export
from secondread.config.faults import Fault, faults_error
from secondread.config.fetch import to_fetch_terms
from secondread.config.first_party import first_party_folder
from secondread.config.monitoring import MonitoringSection, to_monitoring_terms
from secondread.config.notify import NotifyRow, to_listener
from secondread.config.packages import PackagesSection, to_package_terms
from secondread.config.retention import RetentionSection, to_retention
from secondread.config.schema import (
    DicomSection,
    InferenceSection,
    LogSection,
    ModelRow,
    NodeSection,
    PeerRow,
    RuleRow,
    TlsSection,
)
from secondread.config.settings import GIB, MIB, Settings
from secondread.config.source import Source, read_source, resolved
from secondread.config.tables import Tables, read_tables
from secondread.config.worklists import WorklistRow, to_worklist
from secondread.domain.condition import AttributeTest, Condition, PeerTest
from secondread.domain.network import (
    LateImages,
    ModelReference,
    Peer,
    Quotas,
    Rule,
    Service,
    Urgency,
)

Table = TypeVar("Table", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Examined:
    """A configuration that was read: its settings, or None and what is wrong with it."""

    source: Source
    settings: Settings | None
    faults: tuple[Fault, ...]


def load(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read, check and convert the configuration; ``path`` None searches the usual places.

    Raises:
        ConfigurationError: there is none, or anything is wrong with it; the message tells all
            faults, a line for each.
    """
    examined = examine(path, environment)
    if examined.settings is None:
        raise faults_error(examined.source.path, examined.faults)
    return examined.settings


def examine(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Examined:
    """Read and check the configuration without raising for what is wrong inside it.

    Raises:
        ConfigurationError: there is no file, it cannot be read, or it is not TOML.
    """
    source = read_source(path, environment)
    tables = read_tables(source)
    faults = (*tables.faults, *cross_check(source, tables))
    if faults:
        return Examined(source, None, tuple(sorted(faults, key=_line)))
    return Examined(source, _settings(source.path, tables), ())


def _line(fault: Fault) -> tuple[int, str]:
    """Faults in the order of the file; those of the environment come last."""
    number = fault.where.removeprefix("line ")
    return (int(number), "") if number.isdecimal() else (1_000_000_000, fault.where)


def _section(tables: Tables, name: str, kind: type[Table]) -> Table:
    section = tables.sections[name]
    assert isinstance(section, kind)
    return section


def _rows(tables: Tables, name: str, kind: type[Table]) -> tuple[Table, ...]:
    return tuple(row for row in tables.rows[name] if isinstance(row, kind))


def _settings(path: Path, tables: Tables) -> Settings:
    node = _section(tables, "node", NodeSection)
    dicom = _section(tables, "dicom", DicomSection)
    inference = _section(tables, "inference", InferenceSection)
    deid = _section(tables, "deid", DeidSection)
    log = _section(tables, "log", LogSection)
    folder = path.parent
    tls = to_tls_settings(_section(tables, "tls", TlsSection), folder)
    return Settings(
        path=path,
        ae_title=node.ae_title,
        data_dir=resolved(folder, node.data_dir),
        uid_root=node.uid_root,
        minimum_free_bytes=round(node.minimum_free_gib * GIB),
        host=dicom.host,
        port=dicom.port,
        max_associations=dicom.max_associations,
        max_waiting=dicom.max_waiting,
        association_timeout_s=float(dicom.association_timeout_s),
        pdu_timeout_s=float(dicom.pdu_timeout_s),
        request_timeout_s=float(dicom.request_timeout_s),
        max_object_bytes=dicom.max_object_mib * MIB,
        max_inflated_bytes=dicom.max_inflated_mib * MIB,
        sop_classes=frozenset(dicom.sop_classes),
        extra_sop_classes=frozenset(dicom.extra_sop_classes),
        tls=tls,
        peers=tuple(_peer(row, folder) for row in _rows(tables, "peers", PeerRow)),
        destinations=tuple(
            to_destination(row, node.ae_title, tls, folder)
            for row in _rows(tables, "destinations", DestinationRow)
        ),
        rules=tuple(_rule(row) for row in _rows(tables, "rules", RuleRow)),
        models=tuple(_model(row, folder) for row in _rows(tables, "models", ModelRow)),
        packages=to_package_terms(_section(tables, "packages", PackagesSection), folder),
        listeners=tuple(
            to_listener(row, node.ae_title, tls, folder)
            for row in _rows(tables, "notify", NotifyRow)
        ),
        worklists=tuple(
            to_worklist(row, node.ae_title, tls, folder)
            for row in _rows(tables, "worklists", WorklistRow)
        ),
        slots=inference.slots,
        device=inference.device,
        threads_per_slot=inference.threads,
        retention=to_retention(_section(tables, "retention", RetentionSection)),
        monitoring=to_monitoring_terms(_section(tables, "monitoring", MonitoringSection)),
        crosswalk_key_file=resolved(folder, deid.key_file),
        crosswalk_credential=deid.key_credential,
        exports=tuple(to_named_export(row) for row in _rows(tables, "exports", ExportRow)),
        log_level=log.level,
        log_format=log.format,
    )


def _peer(row: PeerRow, folder: Path) -> Peer:
    return Peer(
        name=row.name,
        ae_title=row.ae_title,
        addresses=tuple(row.addresses),
        quiet_s=float(row.quiet_s),
        may=frozenset(Service(service) for service in row.may),
        sop_classes=frozenset(row.sop_classes),
        transfer_syntaxes=frozenset(row.transfer_syntaxes),
        quotas=Quotas(
            associations=row.max_associations,
            associations_per_hour=row.associations_per_hour,
            objects_per_hour=row.objects_per_hour,
            bytes_per_hour=round(row.gib_per_hour * GIB),
        ),
        priority_max=Urgency[row.priority_max.upper()],
        tls=needs_tls(row),
        certificate_sha256=row.certificate_sha256,
        certificate_ca=str(resolved(folder, row.certificate_ca)) if row.certificate_ca else "",
        username=row.username,
        passcode_hash=row.passcode_hash,
        host=row.host,
        port=row.port,
        complete=to_completeness(float(row.quiet_s), row.complete),
    )


def _rule(row: RuleRow) -> Rule:
    return Rule(
        name=row.name,
        model=row.model,
        destinations=tuple(dict.fromkeys(row.destinations)),
        priority=row.priority,
        report_not_analysed=row.report_not_analysed,
        when=tuple(_conditions(row)),
        shadow=row.shadow,
        challenges=row.challenges,
        late_images=LateImages(row.late_images),
        versions_max=row.versions_max,
        complete=to_fields(row.complete),
        fetch=None if row.fetch is None else to_fetch_terms(row.fetch),
    )


def _conditions(row: RuleRow) -> Iterator[Condition]:
    """All that a rule asks for; the short forms first, for they are the plainest."""
    if row.peers:
        yield PeerTest(tuple(dict.fromkeys(row.peers)))
    if row.modalities:
        yield AttributeTest("Modality", one_of=tuple(dict.fromkeys(row.modalities)))
    if row.study_description:
        yield AttributeTest("StudyDescription", pattern=row.study_description)
    yield from row.when


def _model(row: ModelRow, folder: Path) -> ModelReference:
    usual = first_party_folder(row.package or row.id)
    path = usual if row.path is None else resolved(folder, row.path)
    return ModelReference(row.id, str(path), row.qualification, row.package, row.series_from or 0)
