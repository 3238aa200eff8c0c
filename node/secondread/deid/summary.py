"""What an export did, in sentences, for whoever receives it and whoever answers for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from secondread.deid.profile.manifest import MANIFEST_NAME, Manifest
from secondread.deid.profile.options import Dates
from secondread.deid.profile.rules import Does

SUMMARY_NAME = "summary.txt"
_DATES = {
    Dates.REMOVED: "Dates and times were removed.",
    Dates.SHIFTED: "All dates of a patient were moved by the same number of days, which is not "
    "told here; the time between two of them is right.",
    Dates.FULL: "Dates and times are the original ones.",
}
_OVERRIDDEN = {
    "burned_in": "may show text in their pixels that says who it is",
    "faces": "may show a face",
}


def summarise(manifest: Manifest, patients: int) -> str:
    """The text of ``summary.txt``; nothing of the originals is in it."""
    return "\n".join(_lines(manifest, patients)) + "\n"


def _lines(manifest: Manifest, patients: int) -> Iterator[str]:
    people = "1 patient" if patients == 1 else f"{patients} patients"
    yield f"De-identified export for the project '{manifest.project}'"
    yield ""
    yield f"{manifest.objects} objects of {people}, by the profile '{manifest.profile.name}':"
    for code, meaning in manifest.profile.codes():
        yield f"  {code}  {meaning}"
    yield ""
    yield _DATES[manifest.profile.dates]
    if manifest.profile.retain_uids:
        yield "UIDs are the original ones: whoever has access to the archive can find the study."
    else:
        yield "UIDs are new; the same original has the same new one in all exports of this project."
    yield "Pixels are the original ones, bit for bit, but for boxes that were blanked in " + (
        f"{manifest.blanked} objects." if manifest.blanked else "none of them."
    )
    for kind, entry in manifest.overrides.items():
        yield ""
        yield f"{entry['objects']} objects {_OVERRIDDEN.get(kind, kind)}. They went out because:"
        yield f"  {entry['reason']}"
    yield ""
    yield "What was done, and how often:"
    counts: Counter[Does] = Counter()
    for note, count in manifest.notes.items():
        counts[note.does] += count
    for does, count in counts.most_common():
        yield f"  {count:>9}  {does.value}"
    yield ""
    yield f"Attribute by attribute: {MANIFEST_NAME}."
    yield (
        "The originals can be found by whoever sent this: secondread crosswalk find PSEUDONYM, "
        "with a Patient ID or a UID of this export."
    )
