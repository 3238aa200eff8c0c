"""Who the node talks to, and what it does with what they send."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network


@dataclass(frozen=True, slots=True)
class Peer:
    """A calling application entity that may open an association.

    Attributes:
        name: the administrator's name for it.
        ae_title: the calling AE title, compared exactly, as PS3.8 9.3.2 pads it.
        addresses: networks it may call from, such as ``10.1.2.3/32``.
        quiet_s: seconds without a new object after which its study counts as complete.
    """

    name: str
    ae_title: str
    addresses: tuple[str, ...]
    quiet_s: float

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
class Destination:
    """Where results go: a storage SCP, named by its AE title, host and port.

    ``calling_ae_title`` is the title the node calls itself there. ``attempts_max`` failed tries
    make a dead letter.
    """

    name: str
    ae_title: str
    host: str
    port: int
    calling_ae_title: str
    timeout_s: float
    attempts_max: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Which studies go to which model, and where the results go.

    Empty ``peers`` or ``modalities`` means any. ``report_not_analysed`` says whether a study that
    the model will not take gets a report that says why.
    """

    name: str
    model: str
    destinations: tuple[str, ...]
    peers: tuple[str, ...]
    modalities: tuple[str, ...]
    study_description: str
    """A regular expression that must be found in the Study Description; empty means any."""
    priority: int
    report_not_analysed: bool


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model that the operator has switched on.

    ``path`` is its folder. ``qualification`` is the Content Qualification of its results,
    RESEARCH or PRODUCT (PS3.3 C.8.13.2.1.1).
    """

    id: str
    path: str
    qualification: str
