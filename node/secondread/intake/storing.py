"""Keeping objects: whole, on disk under their own name, and only then Success."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from secondread.dicom.walk import Walker
from secondread.domain.clock import Clock
from secondread.domain.instance import Instance
from secondread.domain.network import Urgency
from secondread.errors import (
    CannotUnderstandError,
    ConflictingInstanceError,
    IntakeError,
    SecondReadError,
    WriteFailedError,
)
from secondread.intake.examine import examine
from secondread.intake.file_header import FileHeader, digest_of, is_whole, read_file_header
from secondread.intake.reception import Arrival, Limits, Sender, write_failed
from secondread.store import Spool
from secondread.store.durability import Durability, sync_folder
from secondread.store.purging import Purging

_PIECE = 1 << 20

Outcome = bool | SecondReadError
"""True: stored. False: the same object was here already. Or why it was not stored."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is safe on disk; ``name`` is its path, relative to the data folder.

    ``at`` is when it was stored, in seconds since the epoch, UTC.
    """

    arrival: Arrival
    name: str
    at: float


@dataclass(frozen=True, slots=True)
class Placed:
    """A whole object that has its name in the spool, or has not; nothing of it is synced.

    ``name`` is its path, relative to the data folder. It is not ``named`` where a file has been
    there, or where that failed.
    """

    arrival: Arrival
    name: str
    named: bool
    failure: WriteFailedError | None = None


class ObjectStore:
    """Puts whole objects into the spool, a group at a time.

    One thread of one process calls ``place``, and one calls ``commit`` for what was placed, in that
    order. The first does not wait for the disk, the second does. Between a look at a name and its
    taking neither lets the other in.

    Args:
        spool: where the files are.
        durability: syncs them.
        limits: how much is taken.
        clock: tells the time.
        enter: has the rows of what was stored written into the ledger, by ``record``.
    """

    def __init__(
        self,
        spool: Spool,
        durability: Durability,
        limits: Limits,
        clock: Clock,
        enter: Callable[[Callable[[Stored], Instance], Sequence[Stored]], None],
    ) -> None:
        self._spool = spool
        self._purging = Purging(spool.root)
        # Paths are put together as text: this is done for every object.
        self._root = f"{spool.root}/"
        self._durability = durability
        self._limits = limits
        self._clock = clock
        self._enter = enter
        self._names = threading.Lock()

    def place(self, arrivals: Sequence[Arrival]) -> Sequence[Placed]:
        """Give objects their names; they are not stored before ``commit`` says so."""
        placed: list[Placed] = []
        try:
            for arrival in arrivals:
                placed.append(self._place(arrival))
        except Exception:
            self._take_back(placed)
            for arrival in arrivals[len(placed) :]:
                arrival.discard()
            raise
        return placed

    def _place(self, arrival: Arrival) -> Placed:
        name = self._spool.object_name(arrival.examined.identity.sop_instance_uid)
        path = self._root + name
        try:
            with self._names:
                if os.path.exists(path):
                    return Placed(arrival, name, named=False)
                os.rename(arrival.temporary, path)
        except OSError as error:
            arrival.discard()
            return Placed(arrival, name, named=False, failure=write_failed(error))
        return Placed(arrival, name, named=True)

    def commit(self, placed: Sequence[Placed]) -> Sequence[Outcome]:
        """Store a group of objects; when this returns, a power cut cannot take what was stored.

        The file of each object that was stored is still open, for ``Arrival.close``.
        """
        named = [one for one in placed if one.named]
        try:
            stored = iter(self._store(named))
        except Exception:
            # The senders of the others are told of a failure too, so nothing of theirs may stay.
            self._take_back([one for one in placed if not one.named])
            raise
        return [next(stored) if one.named else self._store_again(one) for one in placed]

    def _store(self, named: Sequence[Placed]) -> Sequence[Outcome]:
        """Store objects that have their names."""
        if not named:
            return ()
        try:
            self._durability.sync(
                [one.arrival.descriptor for one in named],
                [self._root + one.name for one in named],
            )
        except OSError as error:
            self._take_back(named)
            return [write_failed(error)] * len(named)
        except Exception:
            # A file that kept its name without a row would make the same object sent again a
            # Success that only the next start enters into the ledger.
            self._take_back(named)
            raise
        now = self._clock.now()
        self._enter(self.record, [Stored(one.arrival, one.name, now) for one in named])
        return [True] * len(named)

    def _take_back(self, placed: Sequence[Placed]) -> None:
        for one in placed:
            if one.named:
                with suppress(FileNotFoundError):
                    os.unlink(self._root + one.name)
            if one.failure is None:
                one.arrival.discard()

    def _store_again(self, placed: Placed) -> Outcome:
        """An object of which a file was here: is it still, and is it the same?"""
        if placed.failure is not None:
            return placed.failure
        arrival, name = placed.arrival, placed.name
        temporary = Path(arrival.temporary)
        try:
            with self._names:
                gone = not os.path.exists(self._root + name) or self._purging.give_way(name)
                if gone:
                    temporary.rename(self._root + name)
            if gone:
                (outcome,) = self._store([Placed(arrival, name, named=True)])
                return outcome
            known = digest_of(self._spool.absolute(name))
            if known == (arrival.sha256 or digest_of(temporary)):
                arrival.discard()
                return False
            place = self._spool.new_quarantine()
            temporary.rename(place)
            self._durability.sync([arrival.descriptor], [str(place)])
        except OSError as error:
            arrival.discard()
            return write_failed(error)
        except IntakeError as error:
            arrival.discard()
            return error
        arrival.close()
        return ConflictingInstanceError(
            "An object with this SOP Instance UID and other content is here already; the first "
            f"is kept, this one is in quarantine as {place.name}."
        )

    def record(self, stored: Stored) -> Instance:
        """The row of a stored object; reads the object where its digest is not known yet.

        Raises:
            OSError: it cannot be read.
        """
        arrival = stored.arrival
        identity = arrival.examined.identity
        digest = arrival.sha256 or digest_of(self._spool.absolute(stored.name))
        return Instance(
            sop_instance_uid=identity.sop_instance_uid,
            sop_class_uid=identity.sop_class_uid,
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            transfer_syntax_uid=arrival.announced.transfer_syntax_uid,
            path=stored.name,
            size_bytes=arrival.size_bytes,
            sha256=digest.hex(),
            peer=arrival.sender.peer,
            received_at=stored.at,
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
            name = self._spool.relative(path)
            if name in known or self._purging.is_going(name):
                continue
            try:
                header = read_file_header(path)
                arrival = self._orphan(header, sender_of(header.ae_title))
            except FileNotFoundError:
                # It was being removed, and has gone meanwhile.
                continue
            except IntakeError as error:
                yield self._spool.set_aside(path).name, error
                continue
            sync_folder(path.parent)
            self._enter(self.record, [Stored(arrival, name, self._clock.now())])
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
            temporary=str(header.path),
            descriptor=-1,
            data_offset=header.data_offset,
            size_bytes=size_bytes,
            sha256=digest.digest(),
        )
