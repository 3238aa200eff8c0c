"""In which forms the results of a job are written, and who gets which."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from secondread.domain.destination import Destination
from secondread.domain.form import Form


@dataclass(frozen=True, slots=True)
class Edition:
    """The results of a job in one form, written once for all who get them.

    Attributes:
        form: without a fallback, which is another edition.
        levels: for each destination, when it gets this: 0 at once, 1 and more only if it refuses
            the one before.
    """

    form: Form
    levels: Mapping[str, int]

    @property
    def is_reserve(self) -> bool:
        """Whether nobody gets it at once."""
        return min(self.levels.values()) > 0

    def receivers(self, level: int) -> frozenset[str]:
        """Who gets it at this level."""
        return frozenset(name for name, of in self.levels.items() if of == level)

    def limited_to(self, may_refuse: Collection[str]) -> Edition:
        """The same, held in reserve only for those that may refuse what they get at once."""
        kept = {name: of for name, of in self.levels.items() if not of or name in may_refuse}
        return Edition(self.form, kept)

    def folder(self, results: Path, job_key: str) -> Path:
        """Where its files lie; that of the usual form is the job's own."""
        return results / job_key / self.form.mark


def plan_editions(
    names: Sequence[str], destinations: Mapping[str, Destination]
) -> tuple[Edition, ...]:
    """The editions of an analysis, those that go at once first.

    Args:
        names: of the destinations that a rule names.
        destinations: as they are configured; one that is not any more gets the usual form.
    """
    levels = {name: _form(name, destinations).levels() for name in names}
    found: dict[Form, dict[str, int]] = {}
    for level in range(max(map(len, levels.values()), default=0)):
        for name, forms in levels.items():
            if level < len(forms):
                found.setdefault(forms[level], {})[name] = level
    return tuple(Edition(form, of) for form, of in found.items())


def plan_refusals(
    names: Sequence[str], destinations: Mapping[str, Destination]
) -> tuple[Edition, ...]:
    """The editions of a report that says why nothing was analysed: one for each language."""
    found: dict[Form, dict[str, int]] = {}
    for name in names:
        form = Form(fallback=(), language=_form(name, destinations).language)
        found.setdefault(form, {})[name] = 0
    return tuple(Edition(form, of) for form, of in found.items())


def _form(name: str, destinations: Mapping[str, Destination]) -> Form:
    found = destinations.get(name)
    return found.form if found else Form()
