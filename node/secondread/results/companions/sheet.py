"""What a report says, as lines of text for a page; it is made from the report alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from secondread.domain.code import Code
from secondread.domain.form import Language
from secondread.results.companions.headings import HEADINGS, say
from secondread.results.reading.transcript import (
    MeasurementGroup,
    QualitativeFinding,
    Quantity,
    Transcript,
)

_NOT_ATTEMPTED = "111225"
_VOLUME = "118565006"
_CHANGES = ("CHANGE", "CHANGEREL")
_SLICE_TEMPLATE, _PLACE_TEMPLATE = "1410", "1501"
_UNUSUAL = {"371880002": "low", "371879000": "high"}
_UNITS = {"1": "", "[arb'U]": "", "[hnsf'U]": "HU", "cm2": "cm²"}
_LARGE, _LARGER = 100.0, 1000.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One structure: its name with its side, and its numbers as they are shown.

    Attributes:
        volume: in mL; ``usual`` likewise, from and to; '' where there is none.
        change: since the earlier report, in mL and %.
        further: every other number, each with its name and unit.
    """

    name: str
    volume: str
    usual: str
    change: str
    further: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A report in lines; ``making`` and ``findings`` are names with their values."""

    title: str
    language: Language
    is_research: bool
    is_refusal: bool
    sentences: tuple[str, ...]
    findings: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]
    making: tuple[tuple[str, str], ...]
    node: str


def lay_out(report: Transcript, uid: str) -> Sheet:
    """The lines of a report; ``uid`` is its SOP Instance UID."""
    known = {str(one) for one in Language}
    language = Language(report.language) if report.language in known else Language.ENGLISH
    notices = {texts["research"] for texts in HEADINGS.values()}
    algorithm = report.algorithm
    return Sheet(
        title=algorithm.description if algorithm else report.series_description,
        language=language,
        is_research=any(comment in notices for comment in report.comments),
        is_refusal=report.summary is not None and report.summary.value == _NOT_ATTEMPTED,
        sentences=tuple(comment for comment in report.comments if comment not in notices),
        findings=_list_findings(report, language),
        entries=_list_entries(report.groups, language),
        making=_describe_making(report, uid, language),
        node=" ".join(filter(None, (report.observer.get("name"), report.observer.get("model")))),
    )


def _list_findings(report: Transcript, language: Language) -> tuple[tuple[str, str], ...]:
    """What is said of the image as a whole, and the places that were marked."""
    found = [(one.name.meaning, _say_finding(one)) for one in report.findings]
    for group in report.groups:
        numbers = [_say_quantity(one) for one in group.quantities]
        if group.finding is None:
            found += [
                (one.name.meaning, _say_value(one) + _say_range(one)) for one in group.quantities
            ]
            found += [(one.name.meaning, _say_finding(one)) for one in group.findings]
        elif _is_place(group):
            found.append((group.finding.meaning, "; ".join([say(language, "marked"), *numbers])))
    return tuple(found)


def _is_place(group: MeasurementGroup) -> bool:
    return group.template == _PLACE_TEMPLATE and bool(group.shapes)


def _list_entries(groups: Sequence[MeasurementGroup], language: Language) -> tuple[Entry, ...]:
    """One for each structure; what was measured in one slice of it is among its other numbers."""
    entries: dict[tuple[str, str, str], Entry] = {}
    for number, group in enumerate(groups):
        if group.finding is None or _is_place(group):
            continue
        key = (group.finding.scheme, group.finding.value, group.laterality)
        entry = _enter(group, language)
        before = entries.get(key)
        if before is not None and group.template == _SLICE_TEMPLATE:
            entries[key] = replace(before, further=(*before.further, *entry.further))
        elif before is not None:
            # Two structures under one code, such as two lesions.
            entries[(*key[:2], f"{key[2]} {number}")] = entry
        else:
            entries[key] = entry
    return tuple(entries.values())


def _enter(group: MeasurementGroup, language: Language) -> Entry:
    name = group.finding.meaning if group.finding else ""
    if group.laterality:
        name = f"{name}, {say(language, group.laterality)}"
    volume = next((one for one in group.quantities if _is_volume(one)), None)
    changes = [one for one in group.quantities if one.name.value in _CHANGES]
    further = [
        one for one in group.quantities if one is not volume and one.name.value not in _CHANGES
    ]
    return Entry(
        name=name,
        volume=_say_volume(volume, language) if volume else "",
        usual=_say_limits(volume) if volume else "",
        change=", ".join(_say_signed(one) for one in changes),
        further=(
            *(_say_quantity(one) for one in further),
            *(f"{one.name.meaning}: {_say_finding(one)}" for one in group.findings),
        ),
    )


def _is_volume(one: Quantity) -> bool:
    return one.name.value == _VOLUME and one.unit.value == "mL"


def _say_volume(one: Quantity, language: Language) -> str:
    """Two digits behind the point, one where it is large; what is unusual is said to be so."""
    written = f"{one.value:.1f}" if abs(one.value) >= _LARGE else f"{one.value:.2f}"
    unusual = _UNUSUAL.get(one.normality.value, "") if one.normality else ""
    return f"{written} ({say(language, unusual)})" if unusual else written


def _say_limits(one: Quantity) -> str:
    if one.low is None and one.high is None:
        return ""
    low, high = ("" if end is None else f"{end:g}" for end in (one.low, one.high))
    return f"{low} – {high}"


def _say_range(one: Quantity) -> str:
    limits = _say_limits(one)
    return f" ({limits})" if limits else ""


def _say_signed(one: Quantity) -> str:
    if one.unit.value == "%":
        return f"{one.value:+.1f} %"
    return f"{one.value:+.2f} {one.unit.value}"


def _say_finding(one: QualitativeFinding) -> str:
    if one.certainty_percent is None:
        return one.value.meaning
    return f"{one.value.meaning} ({one.certainty_percent:.0f} %)"


def _say_quantity(one: Quantity) -> str:
    """A number with its name; of the voxels' values the way it was derived is the name."""
    what = one.derivation.meaning if one.derivation else one.name.meaning
    return f"{what} {_say_value(one)}{_say_range(one)}"


def _say_value(one: Quantity) -> str:
    """Four digits, or all of a large number, and the unit."""
    large = abs(one.value) >= _LARGER
    number = f"{one.value:.0f}" if large else f"{one.value:.4g}"
    return f"{number} {write_unit(one.unit)}".rstrip()


def write_unit(unit: Code) -> str:
    """A unit (UCUM) as people write it; a count and a mere number have none."""
    if unit.value.startswith("{"):
        return ""
    return _UNITS.get(unit.value, unit.meaning if "[" in unit.value else unit.value)


def _describe_making(
    report: Transcript, uid: str, language: Language
) -> tuple[tuple[str, str], ...]:
    when = report.created
    stamp = f"{when[:4]}-{when[4:6]}-{when[6:8]} {when[8:10]}:{when[10:12]}" if when else ""
    facts = []
    if report.algorithm is not None:
        algorithm = report.algorithm
        model = f"{algorithm.model} {algorithm.version}, {algorithm.manufacturer}"
        facts = [
            (say(language, "model"), model),
            (say(language, "model_uid"), algorithm.device_uid),
        ]
    observer = " ".join(filter(None, (report.observer.get("name"), report.observer.get("model"))))
    procedures = say(language, "separator").join(one.meaning for one in report.procedures)
    completion = "complete" if report.completion == "COMPLETE" else "partial"
    verification = "verified" if report.verification == "VERIFIED" else "unverified"
    facts += [
        (say(language, "node"), observer),
        (say(language, "procedure"), procedures),
        (say(language, "images"), say(language, "images_value", count=len(report.images))),
        (
            say(language, "report"),
            say(
                language,
                "report_value",
                when=stamp,
                completion=say(language, completion),
                verification=say(language, verification),
                uid=uid,
            ),
        ),
    ]
    return tuple(facts)
