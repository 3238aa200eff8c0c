"""Whom a name of the configuration or ``AE@HOST:PORT`` means, and how it is called for a trial."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from secondread.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.delivery.diagnosis import Call
    from secondread.delivery.trial import Trial
    from secondread.domain.destination import Destination
    from secondread.domain.network import Peer, TlsSettings

_PATIENCE_S = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Wishes:
    """How to call, where it shall be otherwise than the configuration says; None is as there."""

    calling: str | None = None
    tls: bool | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout_s: float | None = None


def trial_of(settings: Settings, name: str, wishes: Wishes) -> Trial:
    """What can be tried about a name of the configuration or ``AE@HOST:PORT``.

    Raises:
        NotFoundError: there is no such name, or a peer that only sends has no port.
        UsageError: something is wished that cannot be.
        DeliveryError: a destination has no port, or a passcode cannot be read.
    """
    from secondread.delivery.address import shown
    from secondread.delivery.diagnosis import diagnose
    from secondread.delivery.trial import Trial, try_out
    from secondread.domain.destination import Destination, Way

    there = None if "@" in name else find_callable(settings, name)
    if isinstance(there, Destination) and there.way is not Way.DICOM:
        if dataclasses.replace(wishes, timeout_s=None) != Wishes():
            raise UsageError(
                f"Destination '{name}' is of kind '{there.way}', for which --timeout alone can be "
                "given."
            )
        return try_out(there, _patience(wishes, there))
    call = call_of(settings, name, wishes)
    return Trial(shown(call.address), diagnose(call))


def call_of(settings: Settings, name: str, wishes: Wishes) -> Call:
    """Whom to call for a name of the configuration or for ``AE@HOST:PORT``, and how.

    Raises:
        NotFoundError: there is no such name, or a peer that only sends has no port.
        UsageError: TLS is wanted, but files for it lack.
        DeliveryError: a destination has no port, or a passcode cannot be read.
    """
    from secondread.delivery.address import Address
    from secondread.delivery.diagnosis import Call
    from secondread.delivery.trial import call_of_destination
    from secondread.domain.destination import Destination
    from secondread.domain.network import Peer

    if wishes.calling is not None:
        _check_title("--calling", wishes.calling)
    there = _target(name) if "@" in name else find_callable(settings, name)
    if isinstance(there, Destination):
        return _adapted(settings, call_of_destination(there, _patience(wishes, there)), wishes)
    peer = there if isinstance(there, Peer) else None
    calling, patience_s = wishes.calling or settings.ae_title, wishes.timeout_s or _PATIENCE_S
    if isinstance(there, Peer):
        address = Address(_host(there), there.port, there.ae_title, calling, patience_s)
    else:
        address = Address(there[1], there[2], there[0], calling, patience_s)
    wanted = peer is not None and peer.tls if wishes.tls is None else wishes.tls
    own_ca = Path(peer.certificate_ca) if peer and peer.certificate_ca else None
    return Call(
        address,
        tls=_files(settings.tls, wishes, has_ca=own_ca is not None) if wanted else None,
        ca=own_ca if not wishes.ca else None,
        certificate_sha256=peer.certificate_sha256 if peer else "",
    )


def _patience(wishes: Wishes, destination: Destination) -> float:
    return wishes.timeout_s or min(destination.timeout_s, _PATIENCE_S)


def _adapted(settings: Settings, call: Call, wishes: Wishes) -> Call:
    """The call of a destination as somebody wishes it to be."""
    if wishes.calling is not None:
        address = dataclasses.replace(call.address, calling=wishes.calling)
        call = dataclasses.replace(call, address=address)
    if wishes.tls is False:
        return dataclasses.replace(call, tls=None)
    if wishes.tls or call.tls is not None:
        return dataclasses.replace(call, tls=_files(call.tls or settings.tls, wishes))
    return call


def _files(files: TlsSettings, wishes: Wishes, *, has_ca: bool = False) -> TlsSettings:
    """The files for TLS as wished; ``has_ca`` is whether the CA is known from elsewhere."""
    if (wishes.certificate is None) != (wishes.key is None):
        raise UsageError("Give --certificate and --key together.")
    if wishes.certificate is not None and wishes.key is not None:
        files = dataclasses.replace(files, certificate=wishes.certificate, key=wishes.key)
    if wishes.ca is not None:
        files = dataclasses.replace(files, ca=wishes.ca)
    if files.ca == Path() and not has_ca:
        raise UsageError(
            "To call with TLS, the CA of the other side's certificate must be known: give --ca "
            "FILE, or set up [tls] in the configuration."
        )
    return files


def _target(text: str) -> tuple[str, str, int]:
    from secondread.cli.send import parse_target

    try:
        target = parse_target(text)
    except UsageError:
        raise UsageError(
            f"'{text}' must be a name of the configuration or AE@HOST:PORT, such as "
            "PACS@10.1.2.10:104."
        ) from None
    _check_title("The AE title to call", target.ae_title)
    return target.ae_title, target.host, target.port


def _check_title(what: str, title: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from secondread.config.values import AeTitle

    try:
        TypeAdapter(AeTitle).validate_python(title)
    except ValidationError as error:
        said = error.errors()[0]["ctx"]["error"]
        raise UsageError(f"{what} is '{title}', which {said}.") from None


def _host(peer: Peer) -> str:
    """Where a peer can be called: its host, else the one address that it may call from."""
    if peer.host:
        return peer.host
    networks = [ip_network(text, strict=False) for text in peer.addresses]
    if len(networks) == 1 and networks[0].num_addresses == 1:
        return str(networks[0].network_address)
    raise NotFoundError(
        f"Peer '{peer.name}' has a port but no host, and may call from several addresses; say "
        f"where it can be called: secondread peer edit '{peer.name}' --host HOST."
    )


def find_callable(settings: Settings, name: str) -> Destination | Peer:
    """The destination of that name, the peer of that name, or the destination with its AE title.

    A destination that stands for the senders is one for each peer, ``<name>/<peer>``.

    Raises:
        NotFoundError: there is none; a peer that only sends has no port to be called at.
    """
    from secondread.domain.destination import reachable

    destinations = reachable(settings.destinations, settings.peers)
    if name in destinations:
        return destinations[name]
    if any(there.name == name for there in settings.destinations):
        back = ", ".join(f"'{one}'" for one in destinations if one.startswith(f"{name}/"))
        raise NotFoundError(
            f"Destination '{name}' stands for whoever sent a study; name one of them: "
            f"{back or 'there are no [[peers]]'}."
        )
    for peer in settings.peers:
        if peer.name != name:
            continue
        if peer.port:
            return peer
        for destination in settings.destinations:
            if destination.ae_title == peer.ae_title:
                return destination
        raise NotFoundError(
            f"Peer '{name}' only calls this node and has no port of its own in the configuration. "
            f"Echo from there: to '{settings.ae_title}', port {settings.port or settings.tls.port}."
        )
    known = [*destinations, *(peer.name for peer in settings.peers)]
    raise NotFoundError(
        f"There is no peer or destination '{name}'; "
        f"the configuration has: {', '.join(known) or 'none'}."
    )
