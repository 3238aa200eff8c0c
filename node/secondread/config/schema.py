"""The sections of the configuration file, their keys, defaults and limits.

The description of each field is its documentation: docs/configuration.md and the file that
``secondread config init`` writes are checked against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PlainValidator

from secondread.config.complete import PeerComplete, RuleComplete, WantedSeriesRow
from secondread.config.conditions import parse_conditions
from secondread.config.destinations import (
    DestinationFolder,
    DestinationProof,
    DestinationRow,
    DestinationTls,
    DestinationWeb,
)
from secondread.config.exports import DeidSection, ExportRow
from secondread.config.fetch import RuleFetch
from secondread.config.monitoring import MonitoringSection
from secondread.config.notify import NotifyRow, NotifyWeb
from secondread.config.packages import PackagesSection
from secondread.config.results import DestinationResults
from secondread.config.retention import RetentionSection
from secondread.config.section import Section
from secondread.config.values import (
    AeTitle,
    Device,
    Fingerprint,
    HashedPasscode,
    Host,
    HostOrNone,
    ModelId,
    ModelIdOrNone,
    Name,
    Network,
    Pattern,
    PortOrNone,
    Uid,
    UidRoot,
    Username,
)
from secondread.config.worklists import WorklistRow, WorklistWeb
from secondread.domain.network import USUAL_SERVICES, LateImages, Service

Permission = Literal["echo", "store", "commitment", "notices", "status", "feedback"]


class NodeSection(Section):
    """Who the node is and where it keeps its data."""

    ae_title: AeTitle = Field(
        "SECONDREAD", description="The node's own AE title, 1 to 16 characters."
    )
    data_dir: Name = Field(
        "/var/lib/secondread",
        description="Folder of the ledger, the spool and the results: a local disk. "
        "A relative path counts from the folder of the configuration file.",
    )
    uid_root: UidRoot = Field(
        "", description="Your organisation's own UID root. Empty: UIDs under 2.25."
    )
    minimum_free_gib: float = Field(
        1.0,
        ge=0,
        description="With less free space than this (GiB) objects are answered 'out of resources' "
        "(0xA700), and the sender tries again later.",
    )


class DicomSection(Section):
    """Where the node listens, and how much it takes."""

    host: Host = Field(
        "0.0.0.0", description="Address to listen on; 0.0.0.0 is every IPv4 interface."
    )
    port: PortOrNone = Field(
        11112,
        description="Port to listen on without TLS; below 1024 needs privileges. "
        "0 is none, where everybody comes by TLS.",
    )
    max_associations: int = Field(
        100, ge=1, le=1000, description="Associations at a time; one more is told to try again."
    )
    max_waiting: int = Field(
        128,
        ge=4,
        le=1000,
        description="Connections at a time that have no association yet, half of them from "
        "one address; one more ends the oldest of them.",
    )
    association_timeout_s: float = Field(
        30.0, ge=1, le=3600, description="Seconds of silence after which an association is aborted."
    )
    pdu_timeout_s: float = Field(
        20.0,
        ge=1,
        le=3600,
        description="Seconds that one PDU may take from its first byte to its last.",
    )
    request_timeout_s: float = Field(
        5.0,
        ge=0.5,
        le=300,
        description="Seconds that a new connection has for its TLS handshake, and then again for "
        "its association request.",
    )
    max_object_mib: int = Field(
        2048, ge=1, le=65536, description="Objects larger than this (MiB) are refused."
    )
    max_inflated_mib: int = Field(
        512,
        ge=1,
        le=65536,
        description="A deflated data set that grows beyond this (MiB) is refused.",
    )
    sop_classes: list[Uid] = Field(
        default_factory=list,
        description="UIDs of the only SOP classes to take. "
        "Default: every storage class of the standard.",
    )
    extra_sop_classes: list[Uid] = Field(
        default_factory=list,
        description="UIDs of SOP classes to take besides, such as a scanner's private ones.",
    )


class TlsSection(Section):
    """The port for DICOM over TLS; callers need certificates of their own (PS3.15 B.12)."""

    port: PortOrNone = Field(
        0, description="Port to listen on for TLS, usually 2762; 0 is none. The host is [dicom]'s."
    )
    certificate: str = Field(
        "",
        description="PEM file of the node's certificate, followed by those that lead up to its CA. "
        "This path and the two below count from the folder of the configuration file.",
    )
    key: str = Field("", description="PEM file of its private key, without a password.")
    ca: str = Field("", description="PEM file of the CAs whose certificates callers may show.")
    warn_days: int = Field(
        30,
        ge=0,
        le=3650,
        description="Days before a certificate ends at which the node begins to warn.",
    )


class InferenceSection(Section):
    """Where the models run."""

    slots: int = Field(
        1, ge=1, le=64, description="How many models run at a time, a process for each."
    )
    device: Device = Field("cpu", description="'cpu', 'cuda', or one card such as 'cuda:0'.")
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads of one model; 0 is all cores divided by the slots.",
    )


class LogSection(Section):
    """What is logged, and how. Logs go to standard error and hold no patient data."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="'debug', 'info', 'warning' or 'error'."
    )
    format: Literal["json", "console"] = Field(
        "json", description="'json' for machines, 'console' for people."
    )


class PeerRow(Section):
    """Who may send. Nobody else may open an association."""

    name: Name = Field(description="Your name for it; must be unique.")
    ae_title: AeTitle = Field(description="The AE title it calls itself.")
    addresses: list[Network] = Field(
        min_length=1, description="IP addresses or networks it may call from."
    )
    quiet_s: float = Field(
        30.0,
        ge=0.1,
        le=86400,
        description="Seconds without a new object after which a study is complete.",
    )
    may: list[Permission] = Field(
        default_factory=lambda: [one.value for one in Service if one in USUAL_SERVICES],
        min_length=1,
        description="What it may do: 'echo', 'store', 'commitment' (ask whether its objects are "
        "safe), 'notices' (MPPS and Instance Availability), 'status' (ask what has arrived), "
        "'feedback' (send corrected segmentations back). Default: all but 'feedback'.",
    )
    sop_classes: list[Uid] = Field(
        default_factory=list,
        description="UIDs of the only SOP classes it may store. Default: all that the node takes.",
    )
    transfer_syntaxes: list[Uid] = Field(
        default_factory=list,
        description="UIDs of the only transfer syntaxes it may use. "
        "Default: all that the node takes.",
    )
    max_associations: int = Field(
        50, ge=1, le=1000, description="Associations it may have open at a time."
    )
    associations_per_hour: int = Field(
        0, ge=0, description="Associations it may open in an hour; 0 is no limit."
    )
    objects_per_hour: int = Field(
        0, ge=0, description="Objects it may store in an hour; 0 is no limit."
    )
    gib_per_hour: float = Field(
        0.0, ge=0, description="GiB it may store in an hour; 0 is no limit."
    )
    priority_max: Literal["low", "medium", "high"] = Field(
        "medium",
        description="The most urgent priority it may ask for; a higher one is taken for this one.",
    )
    tls: bool = Field(
        False, description="Whether it may come by TLS only; implied by the two keys below."
    )
    certificate_sha256: Fingerprint = Field(
        "",
        description="SHA-256 fingerprint that its TLS certificate must have, 64 hex digits. "
        "Empty: any.",
    )
    certificate_ca: str = Field(
        "",
        description="PEM file of the CAs of which one must have signed its TLS certificate "
        "directly. Empty: any of [tls] ca. "
        "A relative path counts from the folder of the configuration file.",
    )
    username: Username = Field(
        "",
        description="User name that it must give when it opens an association; needs "
        "passcode_hash. Empty: none is asked for.",
    )
    passcode_hash: HashedPasscode = Field(
        "", description="Hash of the passcode that goes with it, made by 'secondread peer edit'."
    )
    host: HostOrNone = Field(
        "",
        description="Where it can be called, for an echo and for commitment reports. "
        "Empty: where it called from.",
    )
    port: PortOrNone = Field(
        0, description="Its own DICOM port; 0 is none, and the node never calls it."
    )
    complete: PeerComplete = Field(
        PeerComplete.model_validate({}),
        description="When a study is complete besides, as a table [peers.complete] below it.",
    )


class RuleRow(Section):
    """Which studies go to which model, and where the results go. Every rule that fits applies."""

    name: Name = Field(description="Your name for it; must be unique.")
    model: Name = Field(description="The id of one of the [[models]].")
    destinations: list[str] = Field(min_length=1, description="Names of [[destinations]].")
    when: Annotated[Any, PlainValidator(parse_conditions)] = Field(
        default=(),
        description="Conditions of which all must hold for one series of images: a list of tables "
        "as in docs/rules.md. Default: any series.",
    )
    peers: list[str] = Field(
        default_factory=list, description="Only studies of these [[peers]]. Default: any."
    )
    modalities: list[Name] = Field(
        default_factory=list,
        description="Only series of these modalities, such as 'MR'. Default: any.",
    )
    study_description: Pattern = Field(
        "",
        description="A regular expression that must be found in the Study Description. "
        "Default: any.",
    )
    priority: int = Field(0, ge=-100, le=100, description="Higher goes first.")
    report_not_analysed: bool = Field(
        True,
        description="Whether a study that the model will not take gets a report that says why.",
    )
    shadow: bool = Field(
        False,
        description="Whether results are made and kept here, but sent nowhere: to try a rule out.",
    )
    challenges: str = Field(
        "",
        description="The rule whose results this one's are compared with, study by study; needs "
        "'shadow'. Default: none.",
    )
    late_images: Literal["new-input", "any", "never"] = Field(
        LateImages.NEW_INPUT.value,
        description="When images that come after a job was planned give a new version of it: "
        "'new-input' when the model would get other images, 'any' when the study has any new "
        "image, or 'never'.",
    )
    versions_max: int = Field(
        0, ge=0, le=1000, description="Versions that there may be of a job; 0 is no limit."
    )
    complete: RuleComplete = Field(
        RuleComplete.model_validate({}),
        description="When a study is complete for this rule, as a table [rules.complete] below it.",
    )
    fetch: RuleFetch | None = Field(
        None,
        description="What is fetched from an archive for it, as a table [rules.fetch] below it. "
        "Default: nothing.",
    )


class ModelRow(Section):
    """The models that are switched on."""

    id: ModelId = Field(
        description="The model's id, as its model.toml says; with 'package' a name of your own."
    )
    package: ModelIdOrNone = Field(
        "",
        description="The id in its model.toml, where 'id' is a name of your own: so that a second "
        "version of a model runs beside the one in use. Only rules in shadow may use it. "
        "Default: 'id'.",
    )
    path: str | None = Field(
        None,
        description="Its folder. Default: the model of that id that comes with SecondRead. "
        "A relative path counts from the folder of the configuration file.",
    )
    qualification: Literal["RESEARCH", "PRODUCT"] = Field(
        "RESEARCH",
        description="Content Qualification of its results (PS3.3 C.8.13.2.1.1): "
        "'RESEARCH' or 'PRODUCT'.",
    )
    series_from: Literal[101, 201, 301, 401, 501, 601, 701, 801, 901] | None = Field(
        None,
        description="The first Series Number of its results, behind that of the images: 701 gives "
        "5701 to 5799 for series 5. One of 101, 201 … 901, and another for each model. Default: "
        "801 for the first of the [[models]], then 901, 701, 601 and so on down, as they are free.",
    )


SECTIONS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "node": NodeSection,
        "dicom": DicomSection,
        "tls": TlsSection,
        "inference": InferenceSection,
        "packages": PackagesSection,
        "retention": RetentionSection,
        "monitoring": MonitoringSection,
        "deid": DeidSection,
        "log": LogSection,
    }
)
"""``[name]``: one table of scalars, each of which the environment may override."""

ROWS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "peers": PeerRow,
        "destinations": DestinationRow,
        "rules": RuleRow,
        "models": ModelRow,
        "notify": NotifyRow,
        "worklists": WorklistRow,
        "exports": ExportRow,
    }
)
"""``[[name]]``: any number of tables."""

NESTED: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "peers.complete": PeerComplete,
        "destinations.tls": DestinationTls,
        "destinations.web": DestinationWeb,
        "destinations.folder": DestinationFolder,
        "destinations.proof": DestinationProof,
        "destinations.results": DestinationResults,
        "notify.tls": DestinationTls,
        "notify.web": NotifyWeb,
        "worklists.tls": DestinationTls,
        "worklists.web": WorklistWeb,
        "rules.complete": RuleComplete,
        "rules.complete.series": WantedSeriesRow,
        "rules.fetch": RuleFetch,
    }
)
"""Tables within rows; ``peers.complete.series`` is like that of the rules."""

ROW_KEY: Mapping[str, str] = MappingProxyType(
    {
        "peers": "name",
        "destinations": "name",
        "rules": "name",
        "models": "id",
        "notify": "name",
        "worklists": "name",
        "exports": "name",
    }
)
"""The key that tells the rows of an array apart."""
