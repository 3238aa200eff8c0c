"""``secondread peer echo``: an echo that says where it fails, and what to do."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.errors import EXIT_UNAVAILABLE, ConfigurationError, NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.config.settings import Settings
    from secondread.delivery.diagnosis import Call, Step
    from secondread.domain.network import Destination, Peer, TlsSettings

_PATIENCE_S = 10.0
_STYLES = {"ok": "green", "failed": "bold red", "skipped": "dim", "note": ""}


@dataclasses.dataclass(frozen=True, slots=True)
class Wishes:
    """How to call, where it shall be otherwise than the configuration says; None is as there."""

    calling: str | None = None
    tls: bool | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout_s: float | None = None


def echo_peer(
    name: Annotated[
        str,
        typer.Argument(help="The name of a destination or of a peer with a port; or AE@HOST:PORT."),
    ],
    calling: Annotated[
        str | None,
        typer.Option("--calling", help="Call under this AE title.", show_default=False),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls/--no-tls", help="Call with TLS; default: as the peer comes.", show_default=False
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            help="PEM file of the CA of its certificate; default: ca in [tls].",
            show_default=False,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate",
            help="PEM file of our certificate; default: that in [tls].",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", help="PEM file of its private key.", show_default=False),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            "--timeout", min=0.5, help="Seconds for each step; default: 10.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for a sign of life (C-ECHO), and tell step by step how far it came."""
    from secondread.cli.output import print_error, print_json, print_line
    from secondread.delivery.diagnosis import conclude, diagnose, is_sound

    wishes = Wishes(calling, tls, ca, certificate, key, timeout_s)
    call = _call(config, name, wishes)
    steps = []
    for step in diagnose(call):
        steps.append(step)
        if not as_json:
            print_line(_line(step), style=_STYLES[step.outcome])
    sentence, ok = conclude(call, steps), is_sound(steps)
    if as_json:
        seconds = sum(step.milliseconds for step in steps) / 1000
        told = {"name": name, "ok": ok, "sentence": sentence, "seconds": round(seconds, 4)}
        print_json({**told, "steps": [_document(step) for step in steps]})
    elif ok:
        print_line(sentence, style="green")
    else:
        print_error(sentence)
    if not ok:
        raise typer.Exit(EXIT_UNAVAILABLE)


def _line(step: Step) -> str:
    spent = "" if step.outcome == "skipped" else f"{step.milliseconds:.0f} ms"
    return f"{step.outcome:8}{step.name:12}{spent:>8}  {step.sentence}"


def _document(step: Step) -> dict[str, object]:
    return {**dataclasses.asdict(step), "milliseconds": round(step.milliseconds, 2)}


def _call(config: Path | None, name: str, wishes: Wishes) -> Call:
    from secondread.config.load import load
    from secondread.config.settings import Settings

    if "@" not in name:
        return call_of(load(config), name, wishes)
    try:
        settings = load(config)
    except ConfigurationError:
        if config is not None:
            raise
        settings = Settings()  # whom to call, and how, is all on the command line
    return call_of(settings, name, wishes)


def call_of(settings: Settings, name: str, wishes: Wishes) -> Call:
    """Whom to call for a name of the configuration or for ``AE@HOST:PORT``, and how.

    Raises:
        NotFoundError: there is no such name, or a peer that only sends has no port.
        UsageError: TLS is wanted, but files for it lack.
    """
    from secondread.delivery.address import Address
    from secondread.delivery.diagnosis import Call
    from secondread.domain.network import Destination, Peer

    there = _target(name) if "@" in name else find_callable(settings, name)
    peer = there if isinstance(there, Peer) else None
    patience = wishes.timeout_s or _PATIENCE_S
    if wishes.calling is not None:
        _check_title("--calling", wishes.calling)
    calling = wishes.calling or settings.ae_title
    if isinstance(there, Peer):
        address = Address(_host(there), there.port, there.ae_title, calling, patience)
    elif isinstance(there, Destination):
        calling = wishes.calling or there.calling_ae_title
        patience = wishes.timeout_s or min(there.timeout_s, _PATIENCE_S)
        address = Address(there.host, there.port, there.ae_title, calling, patience)
    else:
        address = Address(there[1], there[2], there[0], calling, patience)
    wanted = peer is not None and peer.tls if wishes.tls is None else wishes.tls
    return Call(
        address,
        tls=_files(settings, peer, wishes) if wanted else None,
        ca=Path(peer.certificate_ca) if peer and peer.certificate_ca and not wishes.ca else None,
        certificate_sha256=peer.certificate_sha256 if peer else "",
        takes_results=isinstance(there, Destination),
    )


def _files(settings: Settings, peer: Peer | None, wishes: Wishes) -> TlsSettings:
    files = settings.tls
    if (wishes.certificate is None) != (wishes.key is None):
        raise UsageError("Give --certificate and --key together.")
    if wishes.certificate is not None and wishes.key is not None:
        files = dataclasses.replace(files, certificate=wishes.certificate, key=wishes.key)
    if wishes.ca is not None:
        files = dataclasses.replace(files, ca=wishes.ca)
    if files.ca == Path() and not (peer and peer.certificate_ca):
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

    from secondread.config.schema import AeTitle

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

    Raises:
        NotFoundError: there is none; a peer that only sends has no port to be called at.
    """
    for destination in settings.destinations:
        if destination.name == name:
            return destination
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
    known = [there.name for there in settings.destinations]
    known += [peer.name for peer in settings.peers]
    raise NotFoundError(
        f"There is no peer or destination '{name}'; "
        f"the configuration has: {', '.join(known) or 'none'}."
    )
