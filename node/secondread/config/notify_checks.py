"""What must hold within [[notify]] and [[worklists]], and what is hardly meant there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from secondread.config.destinations import DestinationRow, DestinationTls
from secondread.config.doors import pem_trouble
from secondread.config.faults import Fault, unknown_name
from secondread.config.notify import NotifyRow, NotifyWeb, to_webhook_target
from secondread.config.remark import Remark
from secondread.config.schema import TlsSection
from secondread.config.settings import Settings
from secondread.config.source import Source, resolved
from secondread.config.tables import Tables, place
from secondread.config.worklists import WorklistRow, WorklistWeb, to_worklist_target
from secondread.domain.destination import Way
from secondread.domain.network import TlsSettings
from secondread.domain.telling import Event
from secondread.domain.web_target import WebTarget
from secondread.errors import ConfigurationError

_CALLED = ("ae_title", "host", "port")


def check_notify(source: Source, tables: Tables, destinations: Sequence[str]) -> Iterator[Fault]:
    """Faults in [[notify]]; ``destinations`` are the names of those that there are."""
    for index, row in enumerate(tables.rows["notify"]):
        if not isinstance(row, NotifyRow):
            continue
        checked = _Row(source, tables, "notify", index, row)
        yield from checked.faults(is_web=row.kind == "webhook")
        for at, name in enumerate(row.destinations):
            if name not in destinations:
                sentence = unknown_name("destinations", name, checked.name, destinations)
                yield checked.fault(sentence, "destinations", at)
        if row.kind == "availability" and set(row.events) - {Event.JOB_SAFE.value}:
            yield checked.fault(
                f"{checked.name} is of kind 'availability', which is told 'job-safe' alone.",
                "events",
            )


def check_worklists(source: Source, tables: Tables, destinations: Sequence[str]) -> Iterator[Fault]:
    """Faults in [[worklists]]; ``destinations`` are the names of those that there are."""
    ways = {
        row.name: Way(row.kind)
        for row in tables.rows["destinations"]
        if isinstance(row, DestinationRow)
    }
    for index, row in enumerate(tables.rows["worklists"]):
        if not isinstance(row, WorklistRow):
            continue
        checked = _Row(source, tables, "worklists", index, row)
        yield from checked.faults(is_web=row.kind == "web")
        if row.source and row.source not in destinations:
            sentence = unknown_name("destinations", row.source, checked.name, destinations)
            yield checked.fault(sentence, "source")
        elif ways.get(row.source) in {Way.FOLDER, Way.SENDER}:
            yield checked.fault(
                f"'source' in {checked.name} names '{row.source}', which is of kind "
                f"'{ways[row.source]}'; images can be fetched from 'dicom' and 'stow' alone.",
                "source",
            )


@dataclass(frozen=True, slots=True)
class _Row:
    source: Source
    tables: Tables
    table: str
    index: int
    row: NotifyRow | WorklistRow

    @property
    def name(self) -> str:
        return f"[[{self.table}]] '{self.row.name}'"

    def fault(self, sentence: str, *inside: str | int) -> Fault:
        return Fault(place(self.source, (self.table, self.index, *inside)), sentence)

    def faults(self, *, is_web: bool) -> Iterator[Fault]:
        """What it lacks for its kind, what means nothing for it, and its files."""
        kind = self.row.kind
        if is_web and self.row.web is None:
            yield self.fault(
                f"{self.name} is of kind '{kind}', so it needs a table [{self.table}.web] below it."
            )
        for key in _CALLED:
            if not is_web and not getattr(self.row, key):
                yield self.fault(f"{self.name} is of kind '{kind}', so it needs the key '{key}'.")
        strange = (*_CALLED, "calling_ae_title", "tls") if is_web else ("web",)
        for key in strange:
            if key in self.row.model_fields_set:
                yield self.fault(
                    f"'{key}' in {self.name} means nothing for kind '{kind}'. Take it out, or set "
                    "'kind'.",
                    key,
                )
        if not is_web and self.row.tls is not None:
            yield from self._files(self.row.tls)
        if is_web and self.row.web is not None:
            yield from self._web(self.row.web)

    def _web(self, table: NotifyWeb | WorklistWeb) -> Iterator[Fault]:
        said = f"[{self.table}.web] of '{self.row.name}'"
        if isinstance(table, WorklistWeb) and (table.auth != "none") != bool(table.secret_file):
            yield self.fault(
                f"'auth' in {said} is '{table.auth}': 'basic' and 'bearer' need 'secret_file', and "
                "'none' has no use for it.",
                "web",
                "auth",
            )
        if isinstance(table, WorklistWeb) and (table.auth == "basic") != bool(table.username):
            yield self.fault(
                f"'auth' in {said} is '{table.auth}': 'basic' needs 'username', and nothing else "
                "has a use for it.",
                "web",
                "auth",
            )
        yield from self._file(said, table.ca, "web", "ca")
        if table.url.lower().startswith("https:") and not table.ca and self._lacks_ca():
            yield self.fault(f"{said} needs the key 'ca', because [tls] has none.", "web")
        try:
            self._target()
        except ConfigurationError as error:
            key = "proxy" if str(error).startswith("'proxy'") else "url"
            yield self.fault(
                f"{said}: {str(error).replace(' of destination ', ' of ')}", "web", key
            )

    def _target(self) -> WebTarget | None:
        folder = self.source.path.parent
        if isinstance(self.row, NotifyRow):
            return to_webhook_target(self.row, TlsSettings(), folder)
        return to_worklist_target(self.row, TlsSettings(), folder)

    def _files(self, table: DestinationTls) -> Iterator[Fault]:
        said = f"[{self.table}.tls] of '{self.row.name}'"
        if not table.ca and self._lacks_ca():
            yield self.fault(f"{said} needs the key 'ca', because [tls] has none.", "tls")
        if bool(table.certificate) != bool(table.key):
            yield self.fault(
                f"{said} has only one of 'certificate' and 'key'; give both or neither.", "tls"
            )
        for key in ("ca", "certificate", "key"):
            yield from self._file(said, getattr(table, key), "tls", key)

    def _file(self, said: str, text: str, *inside: str) -> Iterator[Fault]:
        path = resolved(self.source.path.parent, text) if text else Path()
        if text and (trouble := pem_trouble(path, is_key=inside[-1] == "key")):
            yield self.fault(f"'{inside[-1]}' in {said} {trouble}", *inside)

    def _lacks_ca(self) -> bool:
        """Whether [tls] is sound, and names no CA."""
        section = self.tables.sections["tls"]
        return isinstance(section, TlsSection) and not section.ca


def notify_remarks(settings: Settings) -> Iterator[Remark]:
    """What is allowed about those who are told, but probably not meant."""
    for listener in settings.listeners:
        if listener.web is None or listener.web.secure or _is_here(listener.web):
            continue
        more = ", with UIDs that lead to patients for whoever may ask the PACS"
        yield Remark(
            f"Listener '{listener.name}' is told over plain http, where it can be overheard"
            f"{more if listener.with_uids else ''}.",
            "Give an address with https:// in [notify.web].",
        )
    ways = {one.name: one for one in settings.destinations}
    for listener in settings.listeners:
        if listener.call is None:
            continue
        for name in sorted(listener.destinations or ways):
            if ways[name].way in {Way.STOW, Way.FOLDER}:
                yield Remark(
                    f"Listener '{listener.name}' is told nothing of destination '{name}': a notice "
                    "of availability names an AE title, and that one has none.",
                    "Name those that it is to be told of as 'destinations' in [[notify]].",
                )


def _is_here(target: WebTarget) -> bool:
    host, _ = target.place
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
