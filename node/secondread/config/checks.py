"""What must hold between the tables, and what is allowed but probably not meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from secondread.config.complete_checks import check_complete, complete_remarks
from secondread.config.destination_checks import check_destinations, destination_remarks
from secondread.config.doors import check_doors, door_remarks
from secondread.config.faults import Fault, unknown_name
from secondread.config.fetch_checks import check_fetch, fetch_remarks
from secondread.config.first_party import first_party_folder, first_party_ids
from secondread.config.notify_checks import check_notify, check_worklists, notify_remarks
from secondread.config.packages_checks import check_packages, package_remarks
from secondread.config.positions import KeyPath
from secondread.config.references import named_peers
from secondread.config.remark import Remark
from secondread.config.results_checks import check_results, results_remarks
from secondread.config.schema import ROW_KEY, ModelRow, PeerRow, RuleRow
from secondread.config.series_checks import check_series, series_remarks
from secondread.config.settings import Settings
from secondread.config.shadow_checks import check_shadows, shadow_remarks
from secondread.config.source import Source
from secondread.config.tables import Tables, place, title


def cross_check(source: Source, tables: Tables) -> Iterator[Fault]:
    """Faults between tables; tables that are faulty in themselves count as present."""
    yield from _duplicates(source)
    yield from _shared_titles(source, tables)
    yield from check_doors(source, tables)
    for index, rule in enumerate(tables.rows["rules"]):
        if isinstance(rule, RuleRow):
            yield from _unknown_references(source, index, rule)
    yield from check_complete(source, tables, _names(source, "destinations"))
    yield from check_destinations(source, tables)
    yield from check_results(source, tables)
    yield from check_notify(source, tables, _names(source, "destinations"))
    yield from check_worklists(source, tables, _names(source, "destinations"))
    yield from check_fetch(source, tables)
    yield from check_packages(source, tables)
    yield from check_shadows(source, tables)
    yield from check_series(source, tables)
    for index, model in enumerate(tables.rows["models"]):
        if isinstance(model, ModelRow):
            yield from _absent_model(source, index, model)


def _names(source: Source, table: str) -> list[str]:
    rows = source.raw.get(table, [])
    key = ROW_KEY[table]
    named = (
        [row.get(key) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    )
    return [name for name in named if isinstance(name, str)]


def _duplicates(source: Source) -> Iterator[Fault]:
    for table, key in ROW_KEY.items():
        for name, count in Counter(_names(source, table)).items():
            if count > 1:
                rows = [
                    index
                    for index, row in enumerate(source.raw[table])
                    if isinstance(row, dict) and row.get(key) == name
                ]
                sentence = (
                    f"There are {count} [[{table}]] called '{name}'; each needs a {key} of its own."
                )
                yield Fault(place(source, (table, rows[1], key)), sentence)


def _shared_titles(source: Source, tables: Tables) -> Iterator[Fault]:
    """One AE title in two peers would leave open which of them is calling."""
    first: dict[str, str] = {}
    for index, peer in enumerate(tables.rows["peers"]):
        if not isinstance(peer, PeerRow):
            continue
        if peer.ae_title in first:
            sentence = (
                f"[[peers]] '{peer.name}' has the AE title of [[peers]] '{first[peer.ae_title]}': "
                f"'{peer.ae_title}'. Put the addresses of both into one of them."
            )
            yield Fault(place(source, ("peers", index, "ae_title")), sentence)
        first.setdefault(peer.ae_title, peer.name)


def _unknown_references(source: Source, index: int, rule: RuleRow) -> Iterator[Fault]:
    said_by = title(("rules", index), {"name": rule.name})
    row = source.raw["rules"][index]
    wanted: list[tuple[str, KeyPath, str]] = [
        ("models", ("model",), rule.model),
        *(
            ("destinations", ("destinations", at), name)
            for at, name in enumerate(rule.destinations)
        ),
        *(("peers", path, name) for path, name in named_peers(row)),
    ]
    for table, path, name in wanted:
        known = _names(source, table)
        if name not in known:
            where = place(source, ("rules", index, *path))
            yield Fault(where, unknown_name(table, name, said_by, known))


def _absent_model(source: Source, index: int, model: ModelRow) -> Iterator[Fault]:
    wanted = model.package or model.id
    if model.path is None and not first_party_folder(wanted).is_dir():
        sentence = (
            f"[[models]] '{model.id}' has no path, and no model of that id comes with SecondRead "
            f"({', '.join(first_party_ids()) or 'none does'}). Give its folder as 'path'."
        )
        yield Fault(place(source, ("models", index)), sentence)


def remarks(settings: Settings) -> tuple[Remark, ...]:
    """What is allowed but probably not what the operator wants."""
    return tuple(_remarks(settings))


def _remarks(settings: Settings) -> Iterator[Remark]:
    if not settings.peers:
        yield Remark("Nobody may send to this node.", "Add your scanners or router to [[peers]].")
    if not settings.destinations:
        yield Remark("Results have nowhere to go.", "Add your PACS to [[destinations]].")
    if not settings.models:
        yield Remark("No model is switched on.", "Add one to [[models]].")
    if not settings.rules:
        yield Remark("Studies are kept, but no model looks at them.", "Add a rule to [[rules]].")
    yield from door_remarks(settings)
    yield from destination_remarks(settings)
    yield from results_remarks(settings)
    yield from notify_remarks(settings)
    yield from fetch_remarks(settings)
    yield from package_remarks(settings)
    yield from shadow_remarks(settings)
    yield from series_remarks(settings)
    if settings.crosswalk_key_file.is_relative_to(settings.data_dir):
        yield Remark(
            "The key of the crosswalk lies in data_dir: whoever copies that folder has both.",
            "Give another 'key_file' in [deid], and move the file there.",
        )
    if settings.rules:
        yield from _unused(settings)
        yield from complete_remarks(settings)


def _unused(settings: Settings) -> Iterator[Remark]:
    models = {rule.model for rule in settings.rules}
    for model in settings.models:
        if model.id not in models:
            yield Remark(f"No rule uses model '{model.id}'.", "Name it in [[rules]], or remove it.")
    destinations = {name for rule in settings.rules for name in rule.destinations}
    destinations |= {peer.complete.ask for peer in settings.peers if peer.complete}
    destinations |= {rule.complete.get("ask", "") for rule in settings.rules}
    destinations |= {worklist.source for worklist in settings.worklists}
    destinations |= {rule.fetch.source for rule in settings.rules if rule.fetch}
    for destination in settings.destinations:
        if destination.name not in destinations:
            yield Remark(
                f"No rule sends to destination '{destination.name}'.",
                "Name it in [[rules]], or remove it.",
            )
