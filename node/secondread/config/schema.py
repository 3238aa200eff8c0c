"""The sections of the configuration file, their keys, defaults and limits.

The description of each field is its documentation: docs/configuration.md and the file that
``secondread config init`` writes are checked against it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, PlainValidator

from secondread.config.complete import PeerComplete, RuleComplete, WantedSeriesRow
from secondread.config.conditions import parse_conditions
from secondread.config.exports import DeidSection, ExportRow
from secondread.config.patterns import check_pattern
from secondread.config.results import DestinationResults
from secondread.config.section import Section
from secondread.domain.network import LateImages, Service
from secondread.domain.passcode import PasscodeHash

_UID_MAX = 64
_UID_ROOT_MAX = 39  # leaves 24 digits of a 64-character UID (PS3.5 9.1) for the derived part
_AE_TITLE_MAX = 16


def _check_ae_title(title: str) -> str:
    """PS3.5 table 6.2-1, AE: 1 to 16 characters of ISO 646, no backslash, no control characters."""
    if not title.strip(" "):
        raise ValueError("must not be empty or all spaces")
    if title != title.strip(" "):
        raise ValueError("must not begin or end with a space; those do not count in an AE title")
    if len(title) > _AE_TITLE_MAX:
        raise ValueError(f"has {len(title)} characters; an AE title has 16 at the most")
    if not all(" " <= character <= "~" and character != "\\" for character in title):
        raise ValueError("may hold only plain ASCII letters, digits and signs, and no backslash")
    return title


def _check_network(address: str) -> str:
    try:
        ip_network(address, strict=False)
    except ValueError:
        raise ValueError(
            f"has '{address}', which is not an IP address or network "
            "such as 10.1.2.3 or 10.1.2.0/24"
        ) from None
    return address


def _check_host_or_none(host: str) -> str:
    return _check_host(host) if host else host


def _check_host(host: str) -> str:
    if not host or re.search(r"[\s/\\]", host):
        raise ValueError("must be a host name or an IP address, without port or scheme")
    return host


def _check_uid_root(root: str) -> str:
    """PS3.5 9.1: components of digits, no leading zeros; the first is 0, 1 or 2."""
    if not root:
        return root
    if not re.fullmatch(r"[012](\.(0|[1-9][0-9]*))+", root):
        raise ValueError("must be digits and dots, such as 1.2.826.0.1.3680043.10.999")
    if len(root) > _UID_ROOT_MAX:
        raise ValueError(f"has {len(root)} characters; {_UID_ROOT_MAX} is the most")
    return root


def _check_uid(uid: str) -> str:
    """PS3.5 9.1."""
    if len(uid) > _UID_MAX or not re.fullmatch(r"[012](\.(0|[1-9][0-9]*))+", uid):
        raise ValueError(
            f"has '{uid}', which is not a UID: digits and dots, {_UID_MAX} characters at the most"
        )
    return uid


def _check_fingerprint(text: str) -> str:
    """Any usual way of writing SHA-256 of the certificate becomes 64 small hex digits."""
    digits = text.replace(":", "").lower()
    if text and not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError(
            "must be the SHA-256 fingerprint of a certificate: 64 hex digits, with or without "
            "colons (openssl x509 -in FILE -noout -fingerprint -sha256)"
        )
    return digits


def _check_passcode_hash(text: str) -> str:
    if text:
        try:
            PasscodeHash.parse(text)
        except ValueError as error:
            # Not quoted: what stands there may be the passcode itself.
            raise ValueError(f"{error}; 'secondread peer edit' makes one") from None
    return text


def _check_username(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("may hold only printable characters, and no space at its ends")
    return text


def _check_device(device: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", device):
        raise ValueError("must be 'cpu', 'cuda' or 'cuda:0', 'cuda:1' …")
    return device


def _check_pattern(pattern: str) -> str:
    if trouble := check_pattern(pattern):
        raise ValueError(trouble)
    return pattern


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _check_model_id(name: str) -> str:
    """The id becomes a folder name, so it must not climb out of its parent."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError("may hold only letters, digits, '_', '-' and '.'")
    return name


AeTitle = Annotated[str, AfterValidator(_check_ae_title)]
Network = Annotated[str, AfterValidator(_check_network)]
Host = Annotated[str, AfterValidator(_check_host)]
Name = Annotated[str, AfterValidator(_check_not_blank)]
Port = Annotated[int, Field(ge=1, le=65535)]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
Uid = Annotated[str, AfterValidator(_check_uid)]
Permission = Literal["echo", "store", "commitment", "notices", "status"]


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
    uid_root: Annotated[str, AfterValidator(_check_uid_root)] = Field(
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
    device: Annotated[str, AfterValidator(_check_device)] = Field(
        "cpu", description="'cpu', 'cuda', or one card such as 'cuda:0'."
    )
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
        default_factory=lambda: [service.value for service in Service],
        min_length=1,
        description="What it may do: 'echo', 'store', 'commitment' (ask whether its objects are "
        "safe), 'notices' (MPPS and Instance Availability), 'status' (ask what has arrived).",
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
    certificate_sha256: Annotated[str, AfterValidator(_check_fingerprint)] = Field(
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
    username: Annotated[str, AfterValidator(_check_username)] = Field(
        "",
        description="User name that it must give when it opens an association; needs "
        "passcode_hash. Empty: none is asked for.",
    )
    passcode_hash: Annotated[str, AfterValidator(_check_passcode_hash)] = Field(
        "", description="Hash of the passcode that goes with it, made by 'secondread peer edit'."
    )
    host: Annotated[str, AfterValidator(_check_host_or_none)] = Field(
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


class DestinationRow(Section):
    """Where results can go: a storage SCP, usually the PACS."""

    name: Name = Field(description="Your name for it; must be unique.")
    ae_title: AeTitle = Field(description="The AE title to call.")
    host: Host = Field(description="Its host name or IP address.")
    port: Port = Field(description="Its DICOM port.")
    calling_ae_title: AeTitle | None = Field(
        None, description="What the node calls itself there. Default: the node's own AE title."
    )
    timeout_s: float = Field(
        30.0, ge=1, le=3600, description="Seconds to wait for a connection or an answer."
    )
    attempts_max: int = Field(
        400,
        ge=1,
        le=10000,
        description="Failed tries after which an object waits for a person; 400 last four days.",
    )
    results: DestinationResults = Field(
        DestinationResults.model_validate({}),
        description="In which form it wants its results, as a table [destinations.results] below "
        "it.",
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
    study_description: Annotated[str, AfterValidator(_check_pattern)] = Field(
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


class ModelRow(Section):
    """The models that are switched on."""

    id: Annotated[str, AfterValidator(_check_model_id)] = Field(
        description="The model's id, as its model.toml says."
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


SECTIONS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "node": NodeSection,
        "dicom": DicomSection,
        "tls": TlsSection,
        "inference": InferenceSection,
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
        "exports": ExportRow,
    }
)
"""``[[name]]``: any number of tables."""

NESTED: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "peers.complete": PeerComplete,
        "destinations.results": DestinationResults,
        "rules.complete": RuleComplete,
        "rules.complete.series": WantedSeriesRow,
    }
)
"""Tables within rows; ``peers.complete.series`` is like that of the rules."""

ROW_KEY: Mapping[str, str] = MappingProxyType(
    {"peers": "name", "destinations": "name", "rules": "name", "models": "id", "exports": "name"}
)
"""The key that tells the rows of an array apart."""
