"""What is kept on this node, why, and when it goes; for people to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from secondread.domain.retention import (
    NEVER,
    KeptStudy,
    Kind,
    Retention,
    SentIsSafe,
    judge,
)
from secondread.pipeline.purge import result_files
from secondread.pipeline.purge_quarantine import QuarantinePurge
from secondread.pipeline.removal import Amount
from secondread.store import Ledger, Spool

_AT_A_TIME = 500


@dataclass(slots=True)
class Figure:
    """What there is of one kind.

    Attributes:
        kept: all of it.
        due: what may go now.
        blocked: what may not go, whatever its age.
        next_due_at: when the next of the rest may go, in seconds since the epoch; infinite where
            none will.
    """

    kept: Amount = field(default_factory=Amount)
    due: Amount = field(default_factory=Amount)
    blocked: Amount = field(default_factory=Amount)
    next_due_at: float = NEVER


@dataclass(frozen=True, slots=True)
class Survey:
    """Figures of each kind; ``objections`` are why studies may not go, and how many of them."""

    figures: Mapping[Kind, Figure]
    objections: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Looks at all that is kept."""

    ledger: Ledger
    spool: Spool
    terms: Retention
    is_safe: SentIsSafe

    def survey(self, quarantine: QuarantinePurge, now: float) -> Survey:
        """Every file that retention is about, at ``now``."""
        figures = {kind: Figure() for kind in Kind}
        objections: Counter[str] = Counter()
        for study in self._studies():
            objection = ""
            for kind, amount in self._files(study).items():
                verdict = judge(study, kind, self.terms, self.is_safe)
                objection = verdict.objection
                _note(figures[kind], amount, verdict.due_at, now, blocked=bool(objection))
            if objection:
                objections[objection] += 1
        length_s = self.terms.length_s(Kind.QUARANTINE)
        for shelf in quarantine.shelves():
            for file in shelf.files:
                _note(
                    figures[Kind.QUARANTINE],
                    Amount(1, file.size_bytes),
                    file.written_at + length_s,
                    now,
                    blocked=bool(shelf.objection),
                )
        return Survey(figures, dict(objections.most_common()))

    def _studies(self) -> Iterator[KeptStudy]:
        """Every study that has files, once."""
        told: set[int] = set()
        for ids in _portions(self._ids()):
            with self.ledger.read() as view:
                found = view.keeping.look([one for one in ids if one not in told])
            told.update(ids)
            yield from found.values()

    def _ids(self) -> Iterator[int]:
        with self.ledger.read() as view:
            yield from view.keeping.not_resting()
        last = None
        while True:
            with self.ledger.read() as view:
                page = view.keeping.resting(last)
            if not page:
                break
            yield from (one.study_id for one in page)
            last = page[-1]
        if self.spool.results.is_dir():
            keys = sorted(path.name for path in self.spool.results.iterdir())
            with self.ledger.read() as view:
                owners = view.keeping.folders(keys)
            yield from sorted({owner.study_id for owner in owners.values()})

    def _files(self, study: KeptStudy) -> Mapping[Kind, Amount]:
        found: dict[Kind, Amount] = {}
        if study.images:
            found[study.image_kind] = Amount(study.images, study.image_bytes)
        for job in study.jobs:
            for file in result_files(self.spool, job):
                found[file.kind] = found.get(file.kind, Amount()) + Amount(1, file.size_bytes)
        return found


def _note(figure: Figure, amount: Amount, due_at: float, now: float, *, blocked: bool) -> None:
    figure.kept += amount
    if blocked:
        figure.blocked += amount
    elif due_at <= now:
        figure.due += amount
    else:
        figure.next_due_at = min(figure.next_due_at, due_at)


def _portions(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while some := list(islice(rest, _AT_A_TIME)):
        yield some
