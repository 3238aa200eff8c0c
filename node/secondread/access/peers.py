"""The allow-list: which application entities may open an association, and from where."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path

from secondread.access.authorities import Authorities
from secondread.access.passcodes import PERIOD_S, PasscodeGuard, Verdict
from secondread.domain.network import Peer

# PS3.8 table 9-21
PERMANENT, TRANSIENT = 1, 2
SERVICE_USER, SERVICE_PROVIDER_ACSE, SERVICE_PROVIDER_PRESENTATION = 1, 2, 3
NO_REASON_GIVEN, CALLING_NOT_RECOGNISED, CALLED_NOT_RECOGNISED = 1, 3, 7
TEMPORARY_CONGESTION, LOCAL_LIMIT = 1, 2

_AE_TITLE_MAX = 16
_SHOWN_MAX = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """What a caller says in User Identity Negotiation (PS3.7 D.3.3.7); type 1 has no passcode."""

    username: str
    passcode: str = ""

    def __repr__(self) -> str:
        """Without the passcode, so that it cannot end in a log."""
        return f"Identity(username={self.username!r})"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for an association; titles as they came, perhaps padded with spaces.

    Attributes:
        calling: calling AE title.
        called: called AE title.
        address: IP address of the caller.
        certificate: its verified TLS certificate (DER), None without TLS.
        identity: what it says in User Identity Negotiation, None where it says nothing.
    """

    calling: str
    called: str
    address: str
    certificate: bytes | None = None
    identity: Identity | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate as 64 hex digits; '' without one."""
        return hashlib.sha256(self.certificate).hexdigest() if self.certificate else ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an association is rejected.

    Attributes:
        result: 1 permanent, 2 transient (PS3.8 table 9-21).
        source: 1 service user, 3 service provider, presentation related.
        diagnostic: the reason, to be read together with the source.
        code: a stable name for the audit trail.
        reason: one sentence for the administrator; never sent to the caller.
        peer: the administrator's name for the caller, where it has the title of a listed peer.
    """

    result: int
    source: int
    diagnostic: int
    code: str
    reason: str
    peer: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A peer, with what would be dear to work out for every caller."""

    peer: Peer
    networks: tuple[IPv4Network | IPv6Network, ...]
    authorities: Authorities | None


class AccessList:
    """Decides on associations by calling AE title, address, certificate, called title, identity.

    Everything that is not listed is refused. The calling title is looked at first and the identity
    last, so that a stranger does not learn whether the rest was right. Safe to use from several
    threads; a decision sees the list before or after a replacement, never half of each.
    """

    def __init__(
        self, peers: Iterable[Peer], ae_title: str, guard: PasscodeGuard | None = None
    ) -> None:
        self._ae_title = ae_title
        self._guard = guard or PasscodeGuard()
        self._lock = threading.Lock()
        self._by_title: Mapping[str, _Entry] = {}
        self._by_name: Mapping[str, Peer] = {}
        self.replace(peers)

    def replace(self, peers: Iterable[Peer]) -> None:
        """Put another list in the place of this one; associations that are open stay open."""
        entries = [_entry(peer) for peer in peers]
        with self._lock:
            self._by_title = {entry.peer.ae_title: entry for entry in entries}
            self._by_name = {entry.peer.name: entry.peer for entry in entries}

    def peer(self, name: str) -> Peer | None:
        """The peer that the administrator calls so."""
        with self._lock:
            return self._by_name.get(name)

    def admit(self, caller: Caller) -> Peer | Refusal:
        """The peer that calls, or why it may not.

        Titles are compared exactly, after the spaces that pad them on the wire (PS3.8 9.3.2) are
        taken off; one that is no AE title (PS3.5 6.2) fits nobody. An IPv4 address that is mapped
        into IPv6 counts as IPv4.
        """
        title = _title(caller.calling)
        with self._lock:
            entry = self._by_title.get(title) if title else None
        if entry is None:
            return _unknown_calling(caller)
        refusal = (
            _wrong_address(entry, caller)
            or _wrong_transport(entry, caller)
            or _wrong_called(entry.peer, caller, self._ae_title)
            or self._wrong_identity(entry.peer, caller)
        )
        return entry.peer if refusal is None else replace(refusal, peer=entry.peer.name)

    def _wrong_identity(self, peer: Peer, caller: Caller) -> Refusal | None:
        """PS3.7 D.3.3.7 leaves the reason to the acceptor; more than 'no reason' would help guess.

        Only to wait is transient, for a peer that is right tries again.
        """
        if not (peer.username or peer.passcode_hash):
            return None
        place = printable(caller.address)
        if caller.identity is None:
            return _no_reason(
                "identity-missing",
                f"Peer '{peer.name}' at {place} gives no user name. Set user name and passcode on "
                f"the peer, or remove username and passcode_hash from [[peers]] '{peer.name}'.",
            )
        # A wrong name counts and costs as a wrong passcode, so that nobody can tell which it was.
        passcode = caller.identity.passcode if caller.identity.username == peer.username else ""
        verdict = self._guard.check(peer.name, caller.address, passcode, peer.passcode_hash)
        if verdict is Verdict.RIGHT:
            return None
        if verdict is Verdict.WAIT:
            return Refusal(
                TRANSIENT,
                SERVICE_USER,
                NO_REASON_GIVEN,
                "wrong-identity",
                f"Peer '{peer.name}' at {place} gave too many wrong passcodes; it must wait for "
                f"{PERIOD_S:g} seconds. If it is not your peer that guesses, find out who does.",
            )
        return _no_reason(
            "wrong-identity",
            f"Peer '{peer.name}' at {place} gives a wrong user name or passcode. Correct them on "
            f"the peer, or set new ones: secondread peer edit '{peer.name}' --username NAME.",
        )


def over_limit(maximum: int) -> Refusal:
    """The refusal of one association too many; transient, so that the modality tries again."""
    return Refusal(
        TRANSIENT,
        SERVICE_PROVIDER_PRESENTATION,
        LOCAL_LIMIT,
        "too-many-associations",
        f"{maximum} associations are open, which is the limit; raise max_associations in [dicom] "
        "if the machine can bear it.",
    )


def disk_low() -> Refusal:
    """The refusal of every association while space is short; transient, as that passes."""
    return Refusal(
        TRANSIENT,
        SERVICE_PROVIDER_PRESENTATION,
        TEMPORARY_CONGESTION,
        "disk-low",
        "Too little disk space is left to take anything; make room, or lower minimum_free_gib in "
        "[node].",
    )


def printable(text: str, length: int = _SHOWN_MAX) -> str:
    """A stranger's text, made safe for a log line, a terminal or a table, and cut."""
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text[:length])


def _entry(peer: Peer) -> _Entry:
    authorities = Authorities(Path(peer.certificate_ca)) if peer.certificate_ca else None
    return _Entry(peer, peer.networks, authorities)


def _title(text: str) -> str:
    """An AE title without its padding; '' for what is none, and nobody is called ''."""
    title = text.strip(" ")
    legal = title.isascii() and title.isprintable() and len(title) <= _AE_TITLE_MAX
    return title if legal else ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """``None`` for what is no IP address, and so is certainly none of the list."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _no_reason(code: str, reason: str) -> Refusal:
    return Refusal(PERMANENT, SERVICE_USER, NO_REASON_GIVEN, code, reason)


def _not_recognised(diagnostic: int, code: str, reason: str) -> Refusal:
    return Refusal(PERMANENT, SERVICE_USER, diagnostic, code, reason)


def _unknown_calling(caller: Caller) -> Refusal:
    return _not_recognised(
        CALLING_NOT_RECOGNISED,
        "unknown-calling-ae",
        f"'{printable(caller.calling.strip(' '))}' at {printable(caller.address)} is not among "
        "the [[peers]]. If it may send, add it.",
    )


def _wrong_address(entry: _Entry, caller: Caller) -> Refusal | None:
    address, peer = _address(caller.address), entry.peer
    if address is not None and any(address in network for network in entry.networks):
        return None
    return _not_recognised(
        CALLING_NOT_RECOGNISED,
        "wrong-address",
        f"'{peer.ae_title}' is peer '{peer.name}', but calls from {printable(caller.address)}, "
        f"which is not in its addresses ({', '.join(peer.addresses)}). If it has moved, correct "
        f"addresses in [[peers]] '{peer.name}'.",
    )


def _wrong_transport(entry: _Entry, caller: Caller) -> Refusal | None:
    """PS3.8 has no reason for TLS and certificates, so the caller gets none."""
    peer, place = entry.peer, printable(caller.address)
    asks_certificate = bool(peer.certificate_sha256 or peer.certificate_ca)
    if caller.certificate is None:
        if not (peer.tls or asks_certificate):
            return None
        return _no_reason(
            "tls-required",
            f"Peer '{peer.name}' at {place} calls without TLS, which it must use. Let it call the "
            f"port of [tls], or remove tls and its certificate from [[peers]] '{peer.name}'.",
        )
    if peer.certificate_sha256 and caller.fingerprint != peer.certificate_sha256:
        return _no_reason(
            "wrong-certificate",
            f"Peer '{peer.name}' at {place} shows the certificate {caller.fingerprint}, which is "
            "not its own. If it has a new one, enter this fingerprint as certificate_sha256 in "
            f"[[peers]] '{peer.name}'.",
        )
    if entry.authorities is not None and (why := entry.authorities.reject(caller.certificate)):
        return _no_reason(
            "wrong-certificate",
            f"Peer '{peer.name}' at {place} shows the certificate {caller.fingerprint}, but {why}. "
            f"Correct certificate_ca in [[peers]] '{peer.name}', or give the peer another "
            "certificate.",
        )
    return None


def _wrong_called(peer: Peer, caller: Caller, ae_title: str) -> Refusal | None:
    if _title(caller.called) == ae_title:
        return None
    return _not_recognised(
        CALLED_NOT_RECOGNISED,
        "unknown-called-ae",
        f"Peer '{peer.name}' at {printable(caller.address)} calls "
        f"'{printable(caller.called.strip(' '))}', but this node is '{ae_title}'. Correct the "
        "called AE title on the peer.",
    )
