"""How a refused caller is let in: what would be written about it, or why nothing can be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from secondread.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.config.blocks import RowChange
    from secondread.config.settings import Settings
    from secondread.domain.network import Peer
    from secondread.store.refusals import RefusedCaller

_NAME_MAX = 32
_ALLOWABLE = frozenset({"unknown-calling-ae", "wrong-address", "wrong-certificate"})
# What to do about a refusal that is no matter of the peer list; {…} as in RefusedCaller.
_ELSEWHERE = {
    "unknown-called-ae": "Correct the called AE title on the peer: this node is '{node}'.",
    "tls-required": "Switch TLS on at the peer, or let it in without: "
    "secondread peer edit '{peer}' --no-tls.",
    "identity-missing": "Enter the user name and passcode on the peer, or ask for none: "
    "secondread peer edit '{peer}' --username \"\".",
    "wrong-identity": "Correct user name and passcode on the peer, or set new ones: "
    "secondread peer edit '{peer}' --username NAME.",
    "too-many-associations": "Raise max_associations in [dicom], or of the peer: "
    "secondread peer edit '{peer}' --max-associations N.",
    "over-quota": "Raise its quota if that is right: secondread peer edit '{peer}' "
    "--objects-per-hour N (or --associations-per-hour, --gib-per-hour).",
    "disk-low": "Make space on the disk of the data folder; then it is let in by itself.",
    "tls-handshake": "Its certificate, protocol or cipher did not do; compare the CA that signed "
    "its certificate with ca in [tls], and try: secondread peer echo.",
    "malformed-request": "Its request breaks the standard: take it up with its maker.",
    "no-service": "Nothing that it asked for is allowed to it or known here; what it may do: "
    "secondread peer edit '{peer}' --may echo,store.",
}


@dataclass(frozen=True, slots=True)
class Admission:
    """How a refused caller is let in: what is said about it, and what is written."""

    peer: str
    sentence: str
    values: Mapping[str, object]
    plan: Callable[[Settings], Sequence[RowChange]]


def why_not(row: RefusedCaller, settings: Settings) -> str:
    """Why a refusal cannot be allowed by a change of the peers, and what to do; or ''."""
    from secondread.access.refusals import VARIED

    peer = next((peer for peer in settings.peers if peer.name == row.peer), None)
    if row.code not in _ALLOWABLE:
        hint = _ELSEWHERE.get(row.code, "It was told then: {reason}").format(
            peer=row.peer or "NAME", node=settings.ae_title, reason=row.reason
        )
        return f"Refusal {row.id} cannot be allowed from here. {hint}"
    if row.calling == VARIED or "?" in row.calling or not row.calling:
        return (
            f"Refusal {row.id} cannot be allowed from here, because the AE title cannot be told "
            "for certain. If you know the caller: secondread peer add NAME --ae-title TITLE "
            f"--address {row.address}."
        )
    if row.code == "wrong-certificate":
        if not row.certificate_sha256:
            return f"Refusal {row.id} cannot be allowed: the caller showed no certificate."
        if peer is not None and peer.certificate_ca and not peer.certificate_sha256:
            return (
                f"Refusal {row.id} cannot be allowed from here: peer '{peer.name}' must show a "
                f"certificate signed by '{peer.certificate_ca}', and its is not. Have it signed, "
                f"or correct the CA: secondread peer edit '{peer.name}' --certificate-ca FILE."
            )
    return ""


def admit(
    row: RefusedCaller, settings: Settings, name: str | None, address: str | None
) -> Admission:
    """How to let in a caller of a refusal for which ``why_not`` says nothing.

    ``name`` is for a new peer, ``address`` a network instead of the caller's address alone.

    Raises:
        UsageError: they do not fit the refusal.
        NotFoundError: the peer that was refused is gone.
    """
    place = _place(row, address)
    if row.code == "unknown-calling-ae":
        return _new_peer(row, settings, name, place)
    if name is not None:
        raise UsageError("--name is for a new peer; this refusal is of one that has a name.")
    if row.code == "wrong-address":
        return _new_address(row, settings, place)
    if address is not None:
        raise UsageError("--address is not for a refusal that is about a certificate.")
    return _new_certificate(row, settings)


def _place(row: RefusedCaller, address: str | None) -> str:
    """The network to let in, which must hold the address that was refused."""
    caller = _caller_address(row)
    if address is None:
        return str(caller)
    try:
        network = ip_network(address, strict=False)
    except ValueError:
        raise UsageError(
            f"--address is '{address}', but must be an IP address or network such as 10.1.2.0/24."
        ) from None
    if caller not in network:
        raise UsageError(f"--address {address} does not hold {caller}, from where it was refused.")
    return address


def _caller_address(row: RefusedCaller) -> IPv4Address | IPv6Address:
    """As the configuration writes it: IPv4 in IPv6 is IPv4, and without the name of a network."""
    try:
        caller = ip_address(row.address.partition("%")[0])
    except ValueError:
        raise UsageError(
            f"Refusal {row.id} cannot be allowed, because '{row.address}' is no IP address."
        ) from None
    return getattr(caller, "ipv4_mapped", None) or caller


def _new_peer(row: RefusedCaller, settings: Settings, name: str | None, place: str) -> Admission:
    from secondread.config.blocks import Kind, RowChange

    for peer in settings.peers:
        if peer.ae_title == row.calling:
            raise UsageError(
                f"Peer '{peer.name}' has the AE title '{row.calling}' by now. If it may call from "
                f"{place} too: secondread peer edit '{peer.name}' --address … (with all of them)."
            )
    called = name or _free_name(row.calling, settings)
    values: dict[str, object] = {"name": called, "ae_title": row.calling, "addresses": [place]}
    by_tls = ""
    if row.certificate_sha256:
        # It has shown who it is, so whoever comes later must show the same.
        values |= {"tls": True, "certificate_sha256": row.certificate_sha256}
        by_tls = ", by TLS with the certificate that it showed"
    return Admission(
        called,
        f"'{row.calling}' at {place} is let in as peer '{called}'{by_tls}.",
        values,
        lambda settings: [RowChange(Kind.ADD, "peers", called, values)],
    )


def _new_address(row: RefusedCaller, settings: Settings, place: str) -> Admission:
    from secondread.config.blocks import Kind, RowChange

    peer = _peer_of(row, settings)

    def plan(settings: Settings) -> Sequence[RowChange]:
        now = _peer_of(row, settings)
        addresses = list(dict.fromkeys((*now.addresses, place)))
        return [RowChange(Kind.CHANGE, "peers", now.name, {"addresses": addresses})]

    return Admission(
        peer.name,
        f"Peer '{peer.name}' may call from {place} too, besides {', '.join(peer.addresses)}.",
        {"addresses": [*peer.addresses, place]},
        plan,
    )


def _new_certificate(row: RefusedCaller, settings: Settings) -> Admission:
    from secondread.config.blocks import Kind, RowChange

    peer = _peer_of(row, settings)
    values: dict[str, object] = {"certificate_sha256": row.certificate_sha256}
    also = (
        f" It must be signed by '{peer.certificate_ca}' as before." if peer.certificate_ca else ""
    )
    return Admission(
        peer.name,
        f"Peer '{peer.name}' is known by a new certificate: SHA-256 {row.certificate_sha256}, "
        f"before {peer.certificate_sha256 or 'none'}.{also}",
        values,
        lambda settings: [RowChange(Kind.CHANGE, "peers", _peer_of(row, settings).name, values)],
    )


def _peer_of(row: RefusedCaller, settings: Settings) -> Peer:
    """The peer that was refused; by its AE title, where it was renamed since."""
    for peer in settings.peers:
        if peer.ae_title == row.calling:
            return peer
    raise NotFoundError(
        f"Peer '{row.peer}', of which refusal {row.id} is, is not in the configuration any more."
    )


def _free_name(title: str, settings: Settings) -> str:
    """A name like the AE title that no peer has yet."""
    base = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:_NAME_MAX] or "peer"
    taken = {peer.name for peer in settings.peers}
    names = (base, *(f"{base}_{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
