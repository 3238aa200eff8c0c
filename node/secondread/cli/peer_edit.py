"""``secondread peer add``, ``edit`` and ``remove``: changes of the peer list, live and recorded."""

from __future__ import annotations

import os
import pwd
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondread.cli.options import ConfigOption, JsonOption
from secondread.cli.peer_options import PeerOptions, peer_values, takes_peer_options
from secondread.errors import EXIT_FAILED, NotFoundError, UsageError

if TYPE_CHECKING:
    from secondread.config.blocks import RowChange
    from secondread.config.edit import Draft, Plan
    from secondread.config.settings import Settings
    from secondread.domain.network import Peer
    from secondread.store import Transaction

CHANGED = "peers-changed"
LIVE = "A running node takes this up within about two seconds."
_SECRET = "passcode_hash"
_HIDDEN = "(set)"

NameArgument = Annotated[str, typer.Argument(help="The name of the peer in the configuration.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]


@takes_peer_options
def add_peer(
    name: Annotated[str, typer.Argument(help="Your name for it.")],
    options: PeerOptions,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let somebody in: add a peer to the configuration."""
    if not options.ae_title or not options.address:
        raise UsageError("A new peer needs --ae-title and at least one --address.")
    values = {"name": name, **_without_none(peer_values(options))}
    record = Record(CHANGED, f"Peer '{name}' was added", name, values)
    commit_peers(config, lambda settings: [_addition(settings, name, values)], record)
    _report(config, name, f"Added peer '{name}'.", as_json)


@takes_peer_options
def edit_peer(
    name: NameArgument,
    options: PeerOptions,
    rename: Annotated[
        str | None, typer.Option("--name", help="A new name for it.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a peer; only what is given changes, and an empty value takes a setting out."""
    from secondread.config.blocks import Kind, RowChange
    from secondread.config.references import renamings
    from secondread.config.source import read_source

    values = peer_values(options)
    if rename is not None:
        values["name"] = rename
    if not values:
        raise UsageError("Nothing to change was given; see: secondread peer edit --help.")
    renamed: list[str] = []

    def plan(settings: Settings) -> Sequence[RowChange]:
        peer = find_peer(settings, name)
        _check_tls(peer, values)
        rules = renamings(read_source(config).raw, name, rename) if rename else ()
        renamed[:] = [rule.name for rule in rules]
        return [RowChange(Kind.CHANGE, "peers", name, values), *rules]

    record = Record(CHANGED, f"Peer '{name}' was changed", name, values)
    made = commit_peers(config, plan, record)
    now = rename or name
    if not made.changed:
        _report(config, now, f"Peer '{now}' was like that already.", as_json, live=False)
        return
    sentence = f"Changed peer '{name}'."
    if rename is not None:
        sentence = f"Changed peer '{name}', which is called '{rename}' now."
        if renamed:
            sentence += (
                f" These rules name it, and were changed too: {', '.join(renamed)}. Rules apply "
                "when the node is started, so start it anew; until then they do not fit what "
                f"comes from '{rename}'."
            )
    _report(config, now, sentence, as_json)


def remove_peer(
    name: NameArgument,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let somebody in no more: take a peer out of the configuration."""
    from secondread.cli.output import print_json, print_line
    from secondread.config.blocks import Kind, RowChange
    from secondread.config.edit import draft
    from secondread.config.source import read_source

    def plan(settings: Settings) -> Sequence[RowChange]:
        find_peer(settings, name)
        _check_unused(read_source(config).raw, name)
        return [RowChange(Kind.REMOVE, "peers", name, {})]

    before = draft(config, plan).settings
    peer = find_peer(before, name)
    if not yes:
        ask(
            f"Remove peer '{name}' ('{peer.ae_title}' at {', '.join(peer.addresses)}) from "
            f"'{before.path}'? It may not open an association then."
        )
    record = Record(CHANGED, f"Peer '{name}' was removed", name, {"ae_title": peer.ae_title})
    made = commit_peers(config, plan, record)
    if as_json:
        print_json({"removed": name, "path": made.path})
    else:
        print_line(f"Removed peer '{name}'. {LIVE}")


@dataclass(frozen=True, slots=True)
class Record:
    """A row for the trail about a change of the peers.

    Attributes:
        event: its name in the trail.
        text: what happened, without who did it and without a full stop.
        peer: which peer.
        values: the keys that were set; what is secret is not recorded.
        more: what else is recorded.
        also: what else belongs into the same transaction.
    """

    event: str
    text: str
    peer: str
    values: Mapping[str, object]
    more: Mapping[str, object] = field(default_factory=dict)
    also: Callable[[Transaction], None] = field(default=lambda change: None)


def commit_peers(config: Path | None, plan: Plan, record: Record) -> Draft:
    """Write a change of the peers and its row of the trail, both or neither.

    A folder without a ledger, where no node has ever run, has no trail to write to.
    """
    from secondread.config.edit import write

    def around(made: Draft) -> AbstractContextManager[object]:
        return _recorded(made, record)

    return write(config, plan, around=around)


@contextmanager
def _recorded(made: Draft, record: Record) -> Iterator[None]:
    from secondread.cli.study import is_begun
    from secondread.store import Ledger

    if not is_begun(made.settings):
        yield
        return
    who = operator()
    values = {key: _HIDDEN if key == _SECRET else value for key, value in record.values.items()}
    detail: dict[str, Any] = {"peer": record.peer, "by": who, "values": values, **record.more}
    with closing(Ledger.open(made.settings.data_dir)) as ledger, ledger.begin() as change:
        change.trail.append(time.time(), record.event, f"{record.text} by {who}.", detail=detail)
        record.also(change)
        yield


def operator() -> str:
    """Who runs this command, by the name that the system has for the user."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"user {os.getuid()}"
    behind = os.environ.get("SUDO_USER", "")
    # The variable is whatever the caller says it is.
    if os.getuid() == 0 and re.fullmatch(r"[A-Za-z0-9._-]{1,32}", behind):
        return f"{name} (sudo: {behind})"
    return name


def ask(question: str) -> None:
    """Go on only after a yes.

    Raises:
        UsageError: there was no answer.
        typer.Exit: the answer was no.
    """
    from secondread.cli.output import print_note

    # Not Typer's own question, which leaves a space on standard output.
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.stderr.write("\n")
        raise UsageError("There was no answer, so nothing was changed; --yes does not ask.")
    if answer.strip().lower() not in {"y", "yes"}:
        print_note("Nothing was changed.")
        raise typer.Exit(EXIT_FAILED)


def find_peer(settings: Settings, name: str) -> Peer:
    """The peer of that name.

    Raises:
        NotFoundError: there is none.
    """
    for peer in settings.peers:
        if peer.name == name:
            return peer
    known = ", ".join(peer.name for peer in settings.peers)
    raise NotFoundError(
        f"There is no peer '{name}'; the configuration has: {known or 'none'}. "
        "Destinations and rules are changed in the file."
    )


def shown_block(block: str) -> str:
    """A block of the configuration without what is secret in it."""
    return re.sub(rf"(?m)^(\s*{_SECRET}\s*=\s*).*$", rf"\g<1>{_HIDDEN}", block)


def _addition(settings: Settings, name: str, values: Mapping[str, object]) -> RowChange:
    from secondread.config.blocks import Kind, RowChange

    if any(peer.name == name for peer in settings.peers):
        raise UsageError(
            f"There is a peer '{name}' already; change it with: secondread peer edit '{name}'."
        )
    return RowChange(Kind.ADD, "peers", name, values)


def _check_tls(peer: Peer, values: Mapping[str, object]) -> None:
    """A certificate implies TLS, so that ``--no-tls`` alone would change nothing."""
    if values.get("tls") is not False:
        return
    kept = [
        f'--{key.replace("_", "-")} ""'
        for key in ("certificate_sha256", "certificate_ca")
        if values.get(key, getattr(peer, key))
    ]
    if kept:
        raise UsageError(
            f"Peer '{peer.name}' is known by its certificate, which it can show by TLS only; to "
            f"let it in without, give {' and '.join(kept)} too."
        )


def _check_unused(raw: Mapping[str, Any], name: str) -> None:
    """An empty list in a rule means any peer, so a name is not just taken out of it."""
    from secondread.config.references import rules_naming

    if rules := rules_naming(raw, name):
        shown = " and ".join(f"'{rule}'" for rule in rules)
        raise UsageError(
            f"Peer '{name}' cannot be removed, because [[rules]] {shown} names it. Take it out "
            f"of 'peers' or 'when' there first; mind that an empty list means any peer."
        )


def _without_none(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _report(
    config: Path | None, name: str, sentence: str, as_json: bool, *, live: bool = True
) -> None:
    from secondread.cli.output import print_json, print_line
    from secondread.cli.peer import peer_document
    from secondread.config.load import load

    settings = load(config)
    if as_json:
        document = peer_document(find_peer(settings, name))
        print_json({"path": settings.path, "sentence": sentence, "peer": document})
        return
    print_line(f"{sentence} {LIVE}" if live else sentence)
