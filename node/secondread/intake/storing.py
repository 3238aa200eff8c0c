"""Keeping objects: whole, on disk under their own name, and only then Success."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

from secondread.dicom.walk import Walker
from secondread.domain.clock import Clock
from secondread.domain.instance import Instance
from secondread.domain.network import Urgency
from secondread.errors import (
    CannotUnderstandError,
    ConflictingInstanceError,
    IntakeError,
    OutOfResourcesError,
    SecondReadError,
)
from secondread.intake.examine import examine
from secondread.intake.file_header import FileHeader, digest_of, is_whole, read_file_header
from secondread.intake.reception import Arrival, Limits, Sender
from secondread.store import Spool
from secondread.store.durability import Durability, sync_folder

_PIECE = 1 << 20

Outcome = bool | SecondReadError
"""True: stored. False: the same object was here already. Or why it was not stored."""


class ObjectStore:
    """Puts whole objects into the spool, a group at a time.

    One thread of one process calls ``commit``, so nobody else can bring the same SOP Instance UID
    between a look and a rename.

    Args:
        spool: where the files are.
        durability: syncs them.
        limits: how much is taken.
        clock: tells the time.
        enter: has the rows of what was stored written into the ledger.
    """

    def __init__(
        self,
        spool: Spool,
        durability: Durability,
        limits: Limits,
        clock: Clock,
        enter: Callable[[Sequence[Instance]], None],
    ) -> None:
        self._spool = spool
        self._durability = durability
        self._limits = limits
        self._clock = clock
        self._enter = enter

    def commit(self, arrivals: Sequence[Arrival]) -> Sequence[Outcome]:
        """Store a group of objects; when this returns, a power cut cannot take what was stored."""
        fresh: dict[str, int] = {}
        again: list[int] = []
        for number, arrival in enumerate(arrivals):
            uid = arrival.examined.identity.sop_instance_uid
            if uid in fresh or self._spool.object_path(uid).exists():
                again.append(number)
            else:
                fresh[uid] = number
        placed = self._store([arrivals[number] for number in fresh.values()])
        outcomes: dict[int, Outcome] = dict(zip(fresh.values(), placed, strict=True))
        for number in again:
            outcomes[number] = self._store_again(arrivals[number])
        return [outcomes[number] for number in range(len(arrivals))]

    def _store(self, arrivals: Sequence[Arrival]) -> Sequence[Outcome]:
        """Store objects of which no file is here."""
        if not arrivals:
            return ()
        targets = [
            self._spool.object_path(arrival.examined.identity.sop_instance_uid)
            for arrival in arrivals
        ]
        try:
            for arrival, target in zip(arrivals, targets, strict=True):
                arrival.temporary.rename(target)
            self._durability.sync(
                [arrival.descriptor for arrival in arrivals], [target.parent for target in targets]
            )
        except OSError as error:
            for arrival, target in zip(arrivals, targets, strict=True):
                target.unlink(missing_ok=True)
                arrival.discard()
            failure = OutOfResourcesError(f"The object could not be written: {error.strerror}.")
            return [failure] * len(arrivals)
        for arrival in arrivals:
            arrival.close()
        self._enter([self._record(arrival) for arrival in arrivals])
        return [True] * len(arrivals)

    def _store_again(self, arrival: Arrival) -> Outcome:
        """An object of which a file is here: is it the same?"""
        path = self._spool.object_path(arrival.examined.identity.sop_instance_uid)
        try:
            if digest_of(path) == arrival.sha256:
                arrival.discard()
                return False
            place = self._spool.new_quarantine()
            arrival.temporary.rename(place)
            self._durability.sync([arrival.descriptor], [place.parent])
        except OSError as error:
            arrival.discard()
            return OutOfResourcesError(f"The object could not be written: {error.strerror}.")
        except IntakeError as error:
            arrival.discard()
            return error
        arrival.close()
        return ConflictingInstanceError(
            "An object with this SOP Instance UID and other content is here already; the first "
            f"is kept, this one is in quarantine as {place.name}."
        )

    def _record(self, arrival: Arrival) -> Instance:
        identity = arrival.examined.identity
        return Instance(
            sop_instance_uid=identity.sop_instance_uid,
            sop_class_uid=identity.sop_class_uid,
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            transfer_syntax_uid=arrival.announced.transfer_syntax_uid,
            path=self._spool.relative(self._spool.object_path(identity.sop_instance_uid)),
            size_bytes=arrival.size_bytes,
            sha256=arrival.sha256.hex(),
            peer=arrival.sender.peer,
            received_at=self._clock.now(),
            urgency=arrival.urgency,
            data_offset=arrival.data_offset,
            pixel_offset=arrival.examined.pixel_offset,
            pixel_length=arrival.examined.pixel_length,
            facts=arrival.examined.facts,
        )

    def adopt_orphans(
        self, known: frozenset[str], sender_of: Callable[[str], Sender]
    ) -> Iterator[tuple[str, IntakeError | None]]:
        """Find files whose row a crash took and have them entered; set broken ones aside.

        Args:
            known: the spool paths of which the ledger has rows.
            sender_of: finds the sender by its AE title, which the file names.

        Yields:
            The file's name and, where it could not be adopted, why.
        """
        for path in self._spool.stored():
            if self._spool.relative(path) in known:
                continue
            try:
                header = read_file_header(path)
                arrival = self._orphan(header, sender_of(header.ae_title))
            except IntakeError as error:
                yield self._spool.set_aside(path).name, error
                continue
            sync_folder(path.parent)
            self._enter([self._record(arrival)])
            yield path.name, None

    def _orphan(self, header: FileHeader, sender: Sender) -> Arrival:
        if not is_whole(header):
            raise CannotUnderstandError(
                "The file was being written when the node stopped; its sender got no Success."
            )
        walker = Walker(header.announced.transfer_syntax_uid, self._limits.inflated_bytes)
        digest = hashlib.sha256()
        with header.path.open("rb") as file:
            file.seek(header.data_offset)
            while piece := file.read(_PIECE):
                walker.feed(memoryview(piece))
                digest.update(piece)
            size_bytes = file.tell() - header.data_offset
        return Arrival(
            examined=examine(walker.finish(), header.announced),
            announced=header.announced,
            sender=sender,
            urgency=Urgency.MEDIUM,
            temporary=header.path,
            descriptor=-1,
            data_offset=header.data_offset,
            size_bytes=size_bytes,
            sha256=digest.digest(),
        )
