"""The crosswalk: which pseudonym stands for whom, sealed, and told to those who say why.

It is the exact way back for results that come from outside under pseudonyms. It is not the
re-identifier of PS3.15 E.1.2: nothing of it travels with an export.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from secondread.deid.keys import Key, KeyRing
from secondread.deid.profile.keys import ProjectKey
from secondread.domain.clock import Clock
from secondread.domain.crosswalk import (
    Access,
    KeyState,
    Pair,
    PairKind,
    SealedPair,
    SealedProject,
)
from secondread.errors import CrosswalkKeyError, NotFoundError, UsageError
from secondread.store import Ledger, Transaction

EVENT = "crosswalk"
PAIRS_AT_ONCE = 500
"""Pairs in one transaction; intake waits for the ledger while one is open."""
_SECRET_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}[A-Za-z0-9]|[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Found:
    """What stands behind a pseudonym.

    Attributes:
        project: the name of the project that it belongs to.
        shift_days: by how many days the dates of this patient were moved in exports that move
            dates; 0 where it is not about a patient.
    """

    project: str
    pair: Pair
    shift_days: int


class Crosswalk:
    """The crosswalk of a node.

    Args:
        ledger: where it is kept.
        ring: the keys; every key that a row is sealed with must be there.
        clock: for the trail.
    """

    def __init__(self, ledger: Ledger, ring: KeyRing, clock: Clock) -> None:
        self._ledger, self._ring, self._clock = ledger, ring, clock

    def project(self, name: str, uid_root: str) -> tuple[ProjectKey, bool]:
        """The key of a project, and whether it begins now.

        A project keeps the key and the UID root that it began with: what is exported in ten years
        fits what is exported today, whatever has been rotated or configured since.

        Raises:
            UsageError: that cannot be a project's name.
            CrosswalkKeyError: a key is missing.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"'{name}' cannot be the name of a project: letters, digits, spaces, '.', '_' and "
                "'-', 64 characters at the most. It goes into every export, so name no patient."
            )
        with self._ledger.begin() as change:
            keys = usable_keys(change, self._ring)
            if not keys:
                change.crosswalk.take_up(self._ring.newest.id, self._clock.now())
                keys = (self._ring.newest,)
            for record in change.crosswalk.projects():
                if record.name == name:
                    return open_project(record, self._ring), False
            content = {"secret": secrets.token_hex(_SECRET_BYTES), "uid_root": uid_root}
            sealed = keys[0].seal(_packed(content), project_context(name, keys[0]))
            record = change.crosswalk.add_project(name, keys[0].id, sealed, self._clock.now())
            return open_project(record, self._ring), True

    def remember(self, project: str, pairs: Iterable[Pair]) -> int:
        """Keep pairs of a project, in bounded transactions; how many were not known before.

        Raises:
            CrosswalkKeyError: a key is missing.
            NotFoundError: there is no such project.
        """
        added = 0
        rest = iter(pairs)
        while some := list(islice(rest, PAIRS_AT_ONCE)):
            with self._ledger.begin() as change:
                added += self._remember(change, project, some)
        return added

    def _remember(self, change: Transaction, project: str, pairs: Sequence[Pair]) -> int:
        # Asked anew in each transaction: somebody may have rotated since the last.
        keys = usable_keys(change, self._ring)
        found = next((each for each in change.crosswalk.projects() if each.name == project), None)
        if found is None or not keys:
            raise NotFoundError(f"There is no project '{project}' in the crosswalk.")
        marks = {
            (pair.kind, pair.original): [
                original_mark(key, found.id, pair.kind, pair.original) for key in keys
            ]
            for pair in pairs
        }
        known = change.crosswalk.known([mark for some in marks.values() for mark in some])
        new = {
            (pair.kind, pair.original): pair
            for pair in pairs
            if known.isdisjoint(marks[pair.kind, pair.original])
        }
        change.crosswalk.add([seal_pair(keys[0], found.id, pair) for pair in new.values()])
        return len(new)

    def find(self, pseudonym: str, access: Access) -> tuple[Found, ...]:
        """Whom a pseudonymous Patient ID or UID stands for; several where UIDs were retained.

        The trail has a row about it before this returns, also where nothing was found.

        Raises:
            CrosswalkKeyError: a key is missing.
            UsageError: no reason was given.
        """
        check_reason(access)
        wanted = pseudonym.strip(" \0")
        with self._ledger.begin() as change:
            keys = usable_keys(change, self._ring)
            projects = {record.id: record for record in change.crosswalk.projects()}
            marks = [
                pseudonym_mark(key, project_id, kind, wanted)
                for key in keys
                for project_id in projects
                for kind in PairKind
            ]
            found = tuple(
                self._told(projects[sealed.project_id], sealed)
                for sealed in change.crosswalk.with_pseudonym(marks)
            )
            self._note_look_up(change, found, access)
        return found

    def _told(self, project: SealedProject, sealed: SealedPair) -> Found:
        pair = open_pair(self._ring, sealed)
        shift = 0
        if pair.kind is PairKind.PATIENT:
            key = open_project(project, self._ring)
            shift = key.shift_days(bytes.fromhex(pair.original))
        return Found(project.name, pair, shift)

    def _note_look_up(self, change: Transaction, found: Sequence[Found], access: Access) -> None:
        studies = {
            each.pair.more.get("study", each.pair.original)
            for each in found
            if each.pair.kind is not PairKind.PATIENT
        }
        study_id = None
        for uid in studies:
            try:
                study_id = change.studies.find(uid).id
            except NotFoundError:
                continue
        kinds = sorted({each.pair.kind.value for each in found})
        what = f"a pseudonymous {' or '.join(kinds)}" if found else "a pseudonym that is not in it"
        note(
            change,
            self._clock.now(),
            f"{access.who} asked the crosswalk about {what}",
            access,
            {"act": "find", "found": len(found), "projects": [each.project for each in found]},
            study_id=study_id,
        )


def note(
    change: Transaction,
    at: float,
    text: str,
    access: Access,
    detail: Mapping[str, object],
    study_id: int | None = None,
) -> None:
    """Write down in the trail who did what with the crosswalk, and why."""
    more = {"by": access.who, "reason": access.why, **detail}
    change.trail.append(at, EVENT, f"{text}.", study_id=study_id, detail=more)


def check_reason(access: Access) -> None:
    """See to it that there is a reason.

    Raises:
        UsageError: there is none.
    """
    if not access.why.strip():
        raise UsageError(
            'Say why: --reason "…". It goes into the trail together with your user name.'
        )


def usable_keys(view: Transaction, ring: KeyRing) -> tuple[Key, ...]:
    """The keys that the ledger uses, the current one first; none where it has no crosswalk.

    Raises:
        CrosswalkKeyError: one of them is not in the ring.
    """
    used = [key for key in view.crosswalk.known_keys() if key.state is not KeyState.RETIRED]
    used.sort(key=lambda key: key.state is not KeyState.CURRENT)
    keys = []
    for known in used:
        key = ring.get(known.id)
        if key is None:
            there = ", ".join(each.id for each in ring.keys)
            raise CrosswalkKeyError(
                f"The crosswalk is sealed with the key {known.id}, and {ring.place} holds only "
                f"{there}. Put the line of that key back from a backup; without it nobody can say "
                "who is behind the pseudonyms, and nothing is exported. Only where it is lost for "
                "good: secondread crosswalk discard."
            )
        keys.append(key)
    return tuple(keys)


def original_mark(key: Key, project_id: int, kind: PairKind, original: str) -> bytes:
    """What a pair is found by from its original."""
    return key.mark("original", str(project_id), kind, original)


def pseudonym_mark(key: Key, project_id: int, kind: PairKind, pseudonym: str) -> bytes:
    """What a pair is found by from its pseudonym."""
    return key.mark("pseudonym", str(project_id), kind, pseudonym)


def seal_pair(key: Key, project_id: int, pair: Pair, row_id: int = 0) -> SealedPair:
    """A pair as the ledger keeps it."""
    content = {"original": pair.original, "pseudonym": pair.pseudonym, "more": dict(pair.more)}
    first = original_mark(key, project_id, pair.kind, pair.original)
    second = pseudonym_mark(key, project_id, pair.kind, pair.pseudonym)
    context = _context(key.id, project_id, pair.kind, first, second)
    sealed = key.seal(_packed(content), context)
    return SealedPair(project_id, pair.kind, first, second, key.id, sealed, row_id)


def open_pair(ring: KeyRing, row: SealedPair) -> Pair:
    """A pair from the ledger.

    Raises:
        CrosswalkKeyError: its key is not there, or the row was changed.
    """
    key = _key_of(ring, row.key_id)
    context = _context(row.key_id, row.project_id, row.kind, row.original_mark, row.pseudonym_mark)
    content = json.loads(key.unseal(row.sealed, context))
    return Pair(row.kind, content["original"], content["pseudonym"], content["more"])


def open_project(record: SealedProject, ring: KeyRing) -> ProjectKey:
    """The key of a project from the ledger; errors as for ``open_pair``."""
    content = json.loads(project_content(record, ring))
    return ProjectKey(record.name, bytes.fromhex(content["secret"]), content["uid_root"])


def project_content(record: SealedProject, ring: KeyRing) -> bytes:
    """What is sealed of a project; errors as for ``open_pair``."""
    key = _key_of(ring, record.key_id)
    return key.unseal(record.sealed, project_context(record.name, key))


def project_context(name: str, key: Key) -> bytes:
    """What binds a sealed project to its name and key."""
    return f"project\n{key.id}\n{name}".encode()


def _context(key_id: str, project_id: int, kind: PairKind, *marks: bytes) -> bytes:
    """What binds a sealed pair to its row: moved to another, it does not open."""
    return f"pair\n{key_id}\n{project_id}\n{kind.value}\n".encode() + b"".join(marks)


def _key_of(ring: KeyRing, key_id: str) -> Key:
    key = ring.get(key_id)
    if key is None:
        raise CrosswalkKeyError(
            f"A row of the crosswalk is sealed with the key {key_id}, which is not in "
            f"{ring.place}. Put the line of that key back from a backup."
        )
    return key


def _packed(content: Mapping[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
