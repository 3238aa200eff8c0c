"""What must hold within [[destinations]] and the tables below, and what is hardly meant there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from secondread.config.destinations import (
    DestinationRow,
    DestinationTls,
    DestinationWeb,
    to_drop_folder,
    to_web_target,
)
from secondread.config.doors import pem_trouble, to_tls_settings
from secondread.config.faults import Fault
from secondread.config.remark import Remark
from secondread.config.schema import PeerRow, RuleRow, TlsSection
from secondread.config.settings import Settings
from secondread.config.source import Source, resolved
from secondread.config.tables import Tables, place
from secondread.domain.destination import Destination, Proof, Way
from secondread.domain.network import Service, TlsSettings
from secondread.errors import ConfigurationError

_CALLED = frozenset({"calling_ae_title", "username", "passcode_file", "tls"})
_OWN: Mapping[Way, frozenset[str]] = MappingProxyType(
    {
        Way.DICOM: frozenset({"ae_title", "host", "port"}) | _CALLED,
        Way.STOW: frozenset({"web"}),
        Way.FOLDER: frozenset({"folder"}),
        Way.SENDER: _CALLED,
    }
)
"""Keys and tables that mean something for a kind alone, by kind."""
_NEEDED: Mapping[Way, tuple[str, ...]] = MappingProxyType(
    {
        Way.DICOM: ("ae_title", "host", "port"),
        Way.STOW: ("web",),
        Way.FOLDER: ("folder",),
        Way.SENDER: (),
    }
)
_TABLES = frozenset({"tls", "web", "folder"})


def check_destinations(source: Source, tables: Tables) -> Iterator[Fault]:
    """Faults in [[destinations]]; each row counts by itself."""
    section = tables.sections["tls"]
    folder = source.path.parent
    tls = to_tls_settings(section, folder) if isinstance(section, TlsSection) else None
    for index, row in enumerate(tables.rows["destinations"]):
        if isinstance(row, DestinationRow):
            checked = _Row(source, index, row, tls)
            yield from checked.faults()
    yield from _asked(source, tables)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as it stands in the file.

    ``tls`` is None where [tls] is faulty itself, and not to be held against the destination.
    """

    source: Source
    index: int
    row: DestinationRow
    tls: TlsSettings | None

    @property
    def way(self) -> Way:
        return Way(self.row.kind)

    @property
    def name(self) -> str:
        return f"[[destinations]] '{self.row.name}'"

    def fault(self, sentence: str, *inside: str) -> Fault:
        return Fault(place(self.source, ("destinations", self.index, *inside)), sentence)

    def faults(self) -> Iterator[Fault]:
        if "/" in self.row.name:
            yield self.fault(
                f"{self.name} may have no '/' in its name: what goes back to a sender is kept "
                "under the name of the destination, a '/' and the name of the peer.",
                "name",
            )
        yield from self._lacking()
        yield from self._strange()
        if self.row.passcode_file and not self.row.username:
            yield self.fault(
                f"{self.name} has 'passcode_file' but not 'username'; give both, or 'username' "
                "alone.",
                "passcode_file",
            )
        if self.row.proof.kind == Proof.COMMITMENT.value and self.way in {Way.STOW, Way.FOLDER}:
            yield self.fault(
                f"'kind' in [destinations.proof] of '{self.row.name}' is 'commitment', which is "
                f"asked for by DICOM associations alone, not of kind '{self.way}'; 'read-back' "
                "looks whether the objects are there.",
                "proof",
                "kind",
            )
        if self.row.tls is not None and self.way in {Way.DICOM, Way.SENDER}:
            yield from self._certificates(self.row.tls, "tls", asks_ca=True)
        if self.row.web is not None and self.way is Way.STOW:
            yield from self._web(self.row.web)
        if self.row.folder is not None and self.way is Way.FOLDER:
            try:
                to_drop_folder(self.row, self.source.path.parent)
            except ConfigurationError as error:
                yield self.fault(str(error), "folder", "marker")

    def _lacking(self) -> Iterator[Fault]:
        for key in _NEEDED[self.way]:
            if key in _TABLES and getattr(self.row, key) is None:
                yield self.fault(
                    f"{self.name} is of kind '{self.way}', so it needs a table "
                    f"[destinations.{key}] below it."
                )
            elif key not in _TABLES and not getattr(self.row, key):
                yield self.fault(f"{self.name} lacks the key '{key}'.")

    def _strange(self) -> Iterator[Fault]:
        """What belongs to another kind: it is as likely that the kind is wrong."""
        others = frozenset().union(*_OWN.values()) - _OWN[self.way]
        for key in DestinationRow.model_fields:
            if key not in others or key not in self.row.model_fields_set:
                continue
            kinds = " or ".join(f"'{way}'" for way, own in _OWN.items() if key in own)
            said = (
                f"[destinations.{key}] of '{self.row.name}'"
                if key in _TABLES
                else f"'{key}' in {self.name}"
            )
            yield self.fault(
                f"{said} means nothing for kind '{self.way}', only for {kinds}. Take it out, or "
                "set 'kind'.",
                key,
            )

    def _certificates(
        self, table: DestinationTls | DestinationWeb, key: str, *, asks_ca: bool
    ) -> Iterator[Fault]:
        """Faults in the PEM files of a table; ``asks_ca`` is whether there must be a CA."""
        said = f"[destinations.{key}] of '{self.row.name}'"
        if asks_ca and not table.ca and self.tls is not None and not self.tls.ca.name:
            yield self.fault(
                f"{said} needs the key 'ca', a PEM file of the CA that signed the other side's "
                "certificate, because [tls] has none.",
                key,
            )
        if bool(table.certificate) != bool(table.key):
            there, absent = ("certificate", "key") if table.certificate else ("key", "certificate")
            yield self.fault(
                f"{said} has '{there}' but not '{absent}'; give both or neither.", key, there
            )
        for name in ("ca", "certificate", "key"):
            text = getattr(table, name)
            path = resolved(self.source.path.parent, text)
            if text and (trouble := pem_trouble(path, is_key=name == "key")):
                yield self.fault(f"'{name}' in {said} {trouble}", key, name)

    def _web(self, table: DestinationWeb) -> Iterator[Fault]:
        said = f"[destinations.web] of '{self.row.name}'"
        secure = table.url.lower().startswith("https:")
        yield from self._certificates(table, "web", asks_ca=secure)
        if table.auth == "basic" and not table.username:
            yield self.fault(f"'auth' in {said} is 'basic', which needs 'username'.", "web", "auth")
        if table.auth != "basic" and table.username:
            yield self.fault(
                f"'username' in {said} means nothing where 'auth' is '{table.auth}'; take it out, "
                'or set auth = "basic".',
                "web",
                "username",
            )
        if table.auth != "none" and not table.secret_file:
            what = "password" if table.auth == "basic" else "token"
            yield self.fault(
                f"'auth' in {said} is '{table.auth}', which needs 'secret_file', the file with the "
                f"{what}.",
                "web",
                "auth",
            )
        if table.auth == "none" and table.secret_file:
            yield self.fault(
                f"'secret_file' in {said} means nothing where 'auth' is 'none'; set 'auth' to "
                "'basic' or 'bearer'.",
                "web",
                "secret_file",
            )
        try:
            to_web_target(self.row, self.tls or TlsSettings(), self.source.path.parent)
        except ConfigurationError as error:
            key = "proxy" if str(error).startswith("'proxy'") else "url"
            yield self.fault(
                f"{said}: {error}", "web", "username" if "colon" in str(error) else key
            )


def _asked(source: Source, tables: Tables) -> Iterator[Fault]:
    """Destinations that are asked by C-FIND how many images they have must speak DICOM."""
    ways = {
        row.name: Way(row.kind)
        for row in tables.rows["destinations"]
        if isinstance(row, DestinationRow)
    }
    for table in ("peers", "rules"):
        for index, row in enumerate(tables.rows[table]):
            if not isinstance(row, PeerRow | RuleRow):
                continue
            way = ways.get(row.complete.ask or "", Way.DICOM)
            if way is not Way.DICOM:
                sentence = (
                    f"'ask' in [{table}.complete] of '{row.name}' names '{row.complete.ask}', "
                    f"which is of kind '{way}'; only one of kind 'dicom' can be asked by C-FIND."
                )
                yield Fault(place(source, (table, index, "complete", "ask")), sentence)


def destination_remarks(settings: Settings) -> Iterator[Remark]:
    """What is allowed about destinations, but probably not meant."""
    for destination in settings.destinations:
        if destination.way is Way.SENDER:
            yield from _unreachable_senders(settings, destination)
        if destination.way is Way.DICOM and destination.terms.proof is Proof.COMMITMENT:
            yield from _unheard(settings, destination)
        identity = destination.identity
        if identity is not None and identity.passcode_file.name and not destination.security:
            yield Remark(
                f"The node says its passcode to destination '{destination.name}' without TLS, "
                "where it can be overheard.",
                "Give the destination a table [destinations.tls].",
            )


def _unreachable_senders(settings: Settings, destination: Destination) -> Iterator[Remark]:
    lacking = [f"'{peer.name}'" for peer in settings.peers if not (peer.host and peer.port)]
    if lacking:
        yield Remark(
            f"Nothing can go back to {', '.join(lacking)} by destination '{destination.name}': "
            "host or port is not known.",
            "Give 'host' and 'port' in [[peers]], or choose another destination for their rules.",
        )


def _unheard(settings: Settings, destination: Destination) -> Iterator[Remark]:
    """Reports may come on an association that the PACS opens, and peers alone may open one."""
    for peer in settings.peers:
        if peer.ae_title == destination.ae_title and Service.COMMITMENT in peer.may:
            return
    yield Remark(
        f"'{destination.ae_title}', the AE title of destination '{destination.name}', may not send "
        "its commitment reports on an association of its own, as most archives do.",
        f'Enter it: secondread peer add NAME --ae-title "{destination.ae_title}" --address ADDRESS '
        '--may echo,commitment; or set kind = "read-back" in [destinations.proof].',
    )
