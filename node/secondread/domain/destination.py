"""Where results go, and how it is proven that they are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from secondread.domain.drop_folder import DropFolder
from secondread.domain.form import Form
from secondread.domain.network import Peer
from secondread.domain.web_target import StowForm, WebTarget


class Way(StrEnum):
    """How a destination is reached."""

    DICOM = "dicom"
    """C-STORE to a storage SCP (PS3.4 B)."""
    STOW = "stow"
    """STOW-RS to a DICOMweb server (PS3.18 10.5)."""
    FOLDER = "folder"
    """A folder that somebody else looks into."""
    SENDER = "sender"
    """C-STORE to whoever sent the study: stands for one destination for each peer."""


class Proof(StrEnum):
    """How the node makes sure that a destination has what it was sent."""

    AUTO = "auto"
    """Storage Commitment where the destination has it, else reading back what is there."""
    COMMITMENT = "commitment"
    """Storage Commitment alone (PS3.4 J)."""
    READ_BACK = "read-back"
    """C-FIND or QIDO-RS; a folder is read again."""
    NONE = "none"
    """Nothing is asked; the answer to the transfer is all there is."""


@dataclass(frozen=True, slots=True)
class CallSecurity:
    """TLS for calls to a DICOM destination; all files are PEM.

    Attributes:
        ca: CAs of which one must have signed the destination's certificate.
        certificate: what the node shows where it is asked; ``Path()`` is none.
        key: the private key of ``certificate``, without a password.
        certificate_sha256: fingerprint of the one certificate that is taken, 64 hex digits; or "".
        checks_host: whether the certificate must name the host that is called.
    """

    ca: Path
    certificate: Path = Path()
    key: Path = Path()
    certificate_sha256: str = ""
    checks_host: bool = True


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who the node says it is in User Identity Negotiation (PS3.7 D.3.3.7).

    ``passcode_file`` holds the passcode in one line; ``Path()`` is a user name alone.
    """

    username: str
    passcode_file: Path = Path()


@dataclass(frozen=True, slots=True)
class ProofTerms:
    """How proof is asked for; lengths of time in seconds.

    Attributes:
        proof: which.
        delay_s: after an object was sent, before it is asked about, so that many go into one
            question.
        wait_s: for which the association of a question stays open for the report.
        report_timeout_s: after which a report that has not come is asked for again.
        tries_max: questions without proof after which an object waits for a person.
    """

    proof: Proof = Proof.AUTO
    delay_s: float = 5.0
    wait_s: float = 5.0
    report_timeout_s: float = 3600.0
    tries_max: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where results go; of ``ae_title`` to ``security``, ``web`` and ``folder`` only its way's.

    Attributes:
        name: the administrator's; of one peer of a ``sender``, ``<name>/<peer>``.
        way: how it is reached.
        ae_title: the title to call.
        host: its host name or address.
        port: its DICOM port; 0 is none.
        calling_ae_title: the title the node calls itself there.
        timeout_s: for a connection, and for each answer.
        attempts_max: failed tries of one object, not of the destination, that make a dead letter.
        form: how it wants its results.
        security: TLS; None is plain DICOM.
        identity: the user the node is there; None is nobody.
        web: its DICOMweb server.
        stow: how that wants its requests.
        folder: its folder.
        parallel: associations or requests at a time.
        terms: how it is proven that it has what it was sent.
    """

    name: str
    way: Way = Way.DICOM
    ae_title: str = ""
    host: str = ""
    port: int = 0
    calling_ae_title: str = ""
    timeout_s: float = 30.0
    attempts_max: int = 400
    form: Form = field(default_factory=Form)
    security: CallSecurity | None = None
    identity: UserIdentity | None = None
    web: WebTarget | None = None
    stow: StowForm = field(default_factory=StowForm)
    folder: DropFolder | None = None
    parallel: int = 1
    terms: ProofTerms = field(default_factory=ProofTerms)


def returned_to(destination: Destination, peer: str) -> str:
    """The name under which the outbox keeps what goes to a destination for a study of a peer."""
    return f"{destination.name}/{peer}" if destination.way is Way.SENDER else destination.name


def reachable(
    destinations: Iterable[Destination], peers: Iterable[Peer]
) -> Mapping[str, Destination]:
    """Every destination by the name that the outbox keeps; a ``sender`` is one for each peer.

    A peer without a host and a port of its own is there with port 0.
    """
    found: dict[str, Destination] = {}
    known = tuple(peers)
    for one in destinations:
        if one.way is not Way.SENDER:
            found[one.name] = one
            continue
        for peer in known:
            name = returned_to(one, peer.name)
            found[name] = replace(
                one,
                name=name,
                way=Way.DICOM,
                ae_title=peer.ae_title,
                host=peer.host,
                port=peer.port if peer.host else 0,
            )
    return MappingProxyType(found)
