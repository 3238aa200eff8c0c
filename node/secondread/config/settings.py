"""The node's settings, as everything above this room sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from secondread.domain.destination import Destination
from secondread.domain.export import NamedExport
from secondread.domain.monitoring_terms import MonitoringTerms
from secondread.domain.network import ModelReference, Peer, Rule, TlsSettings
from secondread.domain.packages import PackageTerms
from secondread.domain.retention import Retention
from secondread.domain.telling import Listener
from secondread.domain.worklist import WorklistTerms

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A checked configuration; lengths of time in seconds, sizes in bytes.

    Attributes:
        path: the file it was read from, or None where it was built by a test.
        ae_title: the node's own application entity title.
        data_dir: absolute folder of the ledger, the spool and the results.
        uid_root: the operator's own UID root, or empty for UIDs under 2.25 (PS3.5 B.2).
        minimum_free_bytes: below this much free space the node answers 0xA700 to C-STORE.
        host: address to listen on.
        port: port to listen on without TLS; 0 is none.
        max_associations: associations at a time; one more is refused as transient (2, 3, 2).
        max_waiting: connections without an association yet; one more ends the oldest of them.
        association_timeout_s: seconds without a byte after which an association is aborted.
        pdu_timeout_s: seconds from the first byte of a PDU to its last.
        request_timeout_s: seconds for a TLS handshake, and then for the association request.
        max_object_bytes: a larger object is refused with 0xA700.
        max_inflated_bytes: a deflated data set that grows beyond this is refused.
        sop_classes: SOP Class UIDs that are taken; empty is every storage class of the standard.
        extra_sop_classes: SOP Class UIDs that are taken besides, such as private ones.
        tls: the port for TLS and its files.
        peers: who may open an association; nobody else may.
        destinations: where results can go.
        rules: which studies go to which model, and where their results go.
        models: the models that are switched on.
        packages: whose model packages are taken.
        listeners: who else is told what happens.
        worklists: where others schedule work for the node.
        slots: models that run at a time.
        device: ``cpu``, ``cuda`` or ``cuda:<index>``.
        threads_per_slot: CPU threads of one model; 0 means all cores divided by the slots.
        retention: how long files are kept, and when the disk is too full.
        monitoring: when a model at work has drifted, and what follows.
        crosswalk_key_file: the keys of the crosswalk of exports; see docs/crosswalk.md.
        crosswalk_credential: name of the systemd credential that goes before it; '' is none.
        exports: options of exports by name.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``json`` or ``console``.
    """

    path: Path | None = None
    ae_title: str = "SECONDREAD"
    data_dir: Path = Path("/var/lib/secondread")
    uid_root: str = ""
    minimum_free_bytes: int = GIB
    host: str = "0.0.0.0"
    port: int = 11112
    max_associations: int = 100
    max_waiting: int = 128
    association_timeout_s: float = 30.0
    pdu_timeout_s: float = 20.0
    request_timeout_s: float = 5.0
    max_object_bytes: int = 2 * GIB
    max_inflated_bytes: int = 512 * MIB
    sop_classes: frozenset[str] = frozenset()
    extra_sop_classes: frozenset[str] = frozenset()
    tls: TlsSettings = field(default_factory=TlsSettings)
    peers: tuple[Peer, ...] = ()
    destinations: tuple[Destination, ...] = ()
    rules: tuple[Rule, ...] = ()
    models: tuple[ModelReference, ...] = ()
    packages: PackageTerms = field(default_factory=PackageTerms)
    listeners: tuple[Listener, ...] = ()
    worklists: tuple[WorklistTerms, ...] = ()
    slots: int = 1
    device: str = "cpu"
    threads_per_slot: int = 0
    retention: Retention = field(default_factory=Retention)
    monitoring: MonitoringTerms = field(default_factory=MonitoringTerms)
    crosswalk_key_file: Path = Path("/etc/secondread/crosswalk.key")
    crosswalk_credential: str = "secondread-crosswalk"
    exports: tuple[NamedExport, ...] = ()
    log_level: str = "info"
    log_format: str = "json"
