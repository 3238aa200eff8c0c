"""Who the node talks to, and what it does with what they send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from secondread.domain.completeness import Completeness
from secondread.domain.condition import Condition
from secondread.domain.fetch import FetchTerms


class Service(StrEnum):
    """What a peer may be allowed to do."""

    ECHO = "echo"
    """C-ECHO."""
    STORE = "store"
    """C-STORE."""
    COMMITMENT = "commitment"
    """Ask whether what it stored is safe (Storage Commitment, N-ACTION)."""
    NOTICES = "notices"
    """Tell what it has done (MPPS) and what is there (Instance Availability Notification)."""
    STATUS = "status"
    """Ask what has arrived of a study (C-FIND at study level, by Study Instance UID)."""
    FEEDBACK = "feedback"
    """Say what a result was worth, by storing a corrected segmentation or a rejection of it."""


USUAL_SERVICES = frozenset(Service) - {Service.FEEDBACK}
"""What a peer may that the configuration says nothing of: a scanner corrects nobody's results."""


class Urgency(IntEnum):
    """How urgent an object is; the order of the names, not of DIMSE's codes (PS3.7 9.1.1.1)."""

    LOW = -1
    MEDIUM = 0
    HIGH = 1


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much a peer may take up; 0 is no limit, except for ``associations``.

    Attributes:
        associations: at the same time.
        associations_per_hour: opened in the last hour.
        objects_per_hour: stored in the last hour.
        bytes_per_hour: stored in the last hour.
    """

    associations: int = 50
    associations_per_hour: int = 0
    objects_per_hour: int = 0
    bytes_per_hour: int = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """A calling application entity that may open an association.

    Attributes:
        name: the administrator's name for it.
        ae_title: the calling AE title, compared exactly, as PS3.8 9.3.2 pads it.
        addresses: networks it may call from, such as ``10.1.2.3/32``.
        quiet_s: seconds without a new object after which its study counts as complete.
        may: the services it may use.
        sop_classes: SOP Class UIDs it may store; empty is every class that the node takes.
        transfer_syntaxes: Transfer Syntax UIDs it may use; empty is every one the node takes.
        quotas: how much it may take up.
        priority_max: the most urgent priority it may ask for; a higher one is taken for this one.
        tls: whether it may come by TLS only.
        certificate_sha256: fingerprint that its TLS certificate must have, 64 hex digits; or "".
        certificate_ca: file of the CA that must have signed its TLS certificate; or "".
        username: what it must say in User Identity Negotiation (PS3.7 D.3.3.7); or "".
        passcode_hash: the scrypt hash of the passcode that goes with it.
        host: where it can be called, for C-ECHO and commitment reports; "" is where it called from.
        port: its own port; 0 is none, and it is never called.
        complete: when its studies are complete; None is the quiet time alone.
    """

    name: str
    ae_title: str
    addresses: tuple[str, ...]
    quiet_s: float
    may: frozenset[Service] = USUAL_SERVICES
    sop_classes: frozenset[str] = frozenset()
    transfer_syntaxes: frozenset[str] = frozenset()
    quotas: Quotas = Quotas()
    priority_max: Urgency = Urgency.MEDIUM
    tls: bool = False
    certificate_sha256: str = ""
    certificate_ca: str = ""
    username: str = ""
    passcode_hash: str = ""
    host: str = ""
    port: int = 0
    complete: Completeness | None = None

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """``addresses`` as networks."""
        return tuple(ip_network(address, strict=False) for address in self.addresses)

    def is_at(self, address: str) -> bool:
        """Whether the peer may call from this IP address; IPv4-mapped IPv6 counts as IPv4."""
        caller = ip_address(address)
        mapped = getattr(caller, "ipv4_mapped", None)
        return any((mapped or caller) in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The node's own TLS port; all files are PEM.

    Attributes:
        port: port to listen on for DICOM over TLS; 0 is none, and the files are not needed.
        certificate: the node's own certificate, with those that lead up to its CA, if any.
        key: the private key of ``certificate``, without a password.
        ca: the CA certificates of which one must have signed a caller's certificate.
        warn_days: days before the end of a certificate at which the node begins to warn.
    """

    port: int = 0
    certificate: Path = Path()
    key: Path = Path()
    ca: Path = Path()
    warn_days: int = 30


class LateImages(StrEnum):
    """When images that come after a job was planned give a new version of it."""

    NEW_INPUT = "new-input"
    """When the model would get other images than before."""
    ANY = "any"
    """When any image has come to the study."""
    NEVER = "never"
    """Never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which studies go to which model, and where the results go.

    A rule looks at one series at a time: it wants the study if all of ``when`` holds for at least
    one series of images, and only such series are offered to the model.

    Attributes:
        priority: higher goes first.
        report_not_analysed: whether a study that the model will not take gets a report that says
            why.
        when: the conditions; what the administrator wrote as ``peers``, ``modalities`` and
            ``study_description`` comes first.
        shadow: whether the results are made and checked, but sent nowhere.
        challenges: the rule whose results this one's are compared with; '' is none.
        late_images: when images that come later give a new version of the job.
        versions_max: versions that there may be of a job; 0 is no limit.
        complete: fields of ``Completeness`` that go before those of the peer.
        fetch: what is fetched from an archive for it; None is nothing.
    """

    name: str
    model: str
    destinations: tuple[str, ...]
    priority: int = 0
    report_not_analysed: bool = True
    when: tuple[Condition, ...] = ()
    shadow: bool = False
    challenges: str = ""
    late_images: LateImages = LateImages.NEW_INPUT
    versions_max: int = 0
    complete: Mapping[str, Any] = field(default_factory=dict)
    fetch: FetchTerms | None = None


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model that the operator has switched on.

    ``path`` is its folder. ``qualification`` is the Content Qualification of its results,
    RESEARCH or PRODUCT (PS3.3 C.8.13.2.1.1). ``package`` is what it calls itself, where ``id`` is
    the operator's name for it; '' where they are the same. ``series_from`` is the first of the
    Series Numbers of its results behind the source's, 0 where the node chooses it.
    """

    id: str
    path: str
    qualification: str
    package: str = ""
    series_from: int = 0
