"""``secondread peer``: who the node talks to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.peer_echo import echo_peer
from secondread.cli.peer_edit import NameArgument, add_peer, edit_peer, find_peer, remove_peer
from secondread.cli.refusal import allow_refusal, list_refusals

if TYPE_CHECKING:
    from secondread.domain.completeness import Completeness
    from secondread.domain.destination import Destination
    from secondread.domain.network import Peer

app = typer.Typer(help="Who the node talks to: senders and destinations.", no_args_is_help=True)


@app.command("list")
def list_peers(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the peers that may send, and the destinations of results."""
    from secondread.cli.output import print_json, print_line, print_table
    from secondread.config.load import load

    settings = load(config)
    if as_json:
        peers = [peer_document(peer) for peer in settings.peers]
        print_json({"peers": peers, "destinations": settings.destinations})
        return
    rows: list[tuple[str, ...]] = [
        (peer.name, "sends", peer.ae_title, ", ".join(peer.addresses), _brief(peer))
        for peer in settings.peers
    ]
    rows += [_receiver(there) for there in settings.destinations]
    if not rows:
        print_line("There are neither [[peers]] nor [[destinations]] in the configuration.")
        return
    print_table(("NAME", "DIRECTION", "AE TITLE", "ADDRESS", ""), rows)


def _receiver(there: Destination) -> tuple[str, ...]:
    from secondread.domain.destination import Way

    if there.web is not None:
        return there.name, "receives", "", there.web.url, "by STOW-RS"
    if there.folder is not None:
        return there.name, "receives", "", str(there.folder.folder), "as files"
    called = f"called by {there.calling_ae_title}" + (", TLS" if there.security else "")
    if there.way is Way.SENDER:
        return there.name, "receives", "", "whoever sent the study", called
    return there.name, "receives", there.ae_title, f"{there.host}:{there.port}", called


@app.command("show")
def show_peer(name: NameArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show everything about one peer: who it is, what it may do, and how much."""
    from secondread.cli.output import print_json, print_table
    from secondread.config.load import load

    peer = find_peer(load(config), name)
    if as_json:
        print_json({"peer": peer_document(peer)})
        return
    print_table(("", ""), _facts(peer))


app.command("add")(add_peer)
app.command("edit")(edit_peer)
app.command("remove")(remove_peer)
app.command("echo")(echo_peer)
app.command("refused")(list_refusals)
app.command("allow")(allow_refusal)


def peer_document(peer: Peer) -> dict[str, Any]:
    """A peer for JSON; of its passcode only whether it has one."""
    from secondread.domain.network import Service

    return {
        "name": peer.name,
        "ae_title": peer.ae_title,
        "addresses": peer.addresses,
        "quiet_s": peer.quiet_s,
        "may": [service for service in Service if service in peer.may],
        "sop_classes": sorted(peer.sop_classes),
        "transfer_syntaxes": sorted(peer.transfer_syntaxes),
        "quotas": peer.quotas,
        "priority_max": peer.priority_max.name.lower(),
        "tls": peer.tls,
        "certificate_sha256": peer.certificate_sha256,
        "certificate_ca": peer.certificate_ca,
        "username": peer.username,
        "has_passcode": bool(peer.passcode_hash),
        "host": peer.host,
        "port": peer.port,
        "complete": peer.complete,
    }


def _brief(peer: Peer) -> str:
    parts = [f"complete after {peer.quiet_s:g} s"]
    if text := _services(peer):
        parts.append(f"may {text} only")
    if peer.certificate_sha256 or peer.certificate_ca:
        parts.append("TLS with its own certificate")
    elif peer.tls:
        parts.append("TLS")
    if peer.username:
        parts.append("passcode")
    return ", ".join(parts)


def _services(peer: Peer) -> str:
    """What it may do; empty where that is the usual."""
    from secondread.domain.network import USUAL_SERVICES, Service

    if peer.may == USUAL_SERVICES:
        return ""
    return " and ".join(service for service in Service if service in peer.may)


def _facts(peer: Peer) -> Iterator[tuple[str, str]]:
    from secondread.config.settings import GIB

    quotas = peer.quotas
    yield "Name", peer.name
    yield "AE title", peer.ae_title
    yield "May call from", ", ".join(peer.addresses)
    yield "TLS", "required" if peer.tls else "not required"
    yield "Certificate, SHA-256", peer.certificate_sha256 or "any"
    yield "Certificate's CA", peer.certificate_ca or "any of [tls] ca"
    yield "User name", f"{peer.username}, with a passcode" if peer.username else "none asked for"
    yield "May do", _services(peer) or "everything"
    yield "SOP classes", ", ".join(sorted(peer.sop_classes)) or "all that the node takes"
    syntaxes = ", ".join(sorted(peer.transfer_syntaxes))
    yield "Transfer syntaxes", syntaxes or "all that the node takes"
    yield "Associations at a time", str(quotas.associations)
    yield "Associations per hour", _limit(quotas.associations_per_hour)
    yield "Objects per hour", _limit(quotas.objects_per_hour)
    yield "GiB per hour", _limit(quotas.bytes_per_hour / GIB)
    yield "Highest priority", peer.priority_max.name.lower()
    yield "Study complete after", f"{peer.quiet_s:g} s without a new object"
    if peer.complete is not None:
        yield "Waits besides for", _waits(peer.complete)
    called = f"{peer.host or 'where it called from'}, port {peer.port}" if peer.port else "no port"
    yield "Can be called at", called


def _waits(terms: Completeness) -> str:
    """What differs from the quiet time alone."""
    parts = []
    if terms.learn:
        bounds = f"{terms.quiet_min_s:g} to {terms.quiet_max_s:g} s"
        parts.append(f"a quiet time that is learned, {bounds}")
    if terms.on_release:
        parts.append("the end of its association")
    if terms.counts:
        parts.append("announced numbers of images")
    parts += [f"the series '{series.name}'" for series in terms.series]
    if terms.ask:
        parts.append(f"the count of '{terms.ask}'")
    limit = f"for {terms.wait_max_s:g} s at most" if terms.wait_max_s else "without a limit"
    return f"{', '.join(parts) or 'nothing'}; {limit}, then: {terms.at_limit}"


def _limit(number: float) -> str:
    return f"{number:g}" if number else "no limit"
