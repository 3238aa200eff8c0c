"""What was done, per attribute, without a word of what was there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.datadict import keyword_for_tag

from secondread.deid.profile.dataset import Note
from secondread.deid.profile.options import Profile

MANIFEST_NAME = "manifest.json"


@dataclass(slots=True)
class Manifest:
    """The record of one export.

    Attributes:
        project: the name of the key that was used, never the key.
        profile: the options.
        overrides: reasons that people gave for letting something out, by kind, with the number of
            objects that each was needed for.
        objects: files that were written.
        blanked: objects in whose pixels known text was blanked.
        searched: objects in whose pixels text was looked for, and ``found`` is how many words that
            are blanked now.
        notes: how often what was done to which attribute.
    """

    project: str
    profile: Profile
    overrides: dict[str, dict[str, str | int]] = field(default_factory=dict)
    objects: int = 0
    blanked: int = 0
    searched: int = 0
    found: int = 0
    notes: Counter[Note] = field(default_factory=Counter)

    def attributes(self) -> Iterable[Mapping[str, str | int]]:
        """One entry per attribute and action, in order of tags.

        An odd group is a private one: its number is told, its creator may be anything and is not.
        """
        for note, count in sorted(self.notes.items(), key=lambda item: item[0].path):
            yield {
                "path": ".".join(f"{tag:08X}" for tag in note.path),
                "keyword": keyword_for_tag(note.path[-1]),
                "done": note.does.value,
                "times": count,
            }

    def write(self, folder: Path) -> Path:
        """Write it as JSON."""
        profile = {
            name: getattr(self.profile, name) for name in type(self.profile).__dataclass_fields__
        }
        profile["dates"] = self.profile.dates.value
        content = {
            "standard": "DICOM PS3.15 Annex E, Table E.1-1 2024e",
            "project": self.project,
            "profile": profile,
            "methods": [f"{value} {meaning}" for value, meaning in self.profile.codes()],
            "overrides": self.overrides,
            "objects": self.objects,
            "objects_with_blanked_pixels": self.blanked,
            "objects_searched_for_text": self.searched,
            "words_found_and_blanked": self.found,
            "attributes": list(self.attributes()),
        }
        path = folder / MANIFEST_NAME
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path
