"""Keeping objects: whole, on disk under their own name, and only then Success."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from secondread.intake.reception import Arrival, Limits, Sender
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


class ObjectStore:
    """Puts whole objects into the spool, a group at a time.

    One thread of one process calls ``commit``, so nobody else can bring the same SOP Instance UID
    between a look and a rename.

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

    def commit(self, arrivals: Sequence[Arrival]) -> Sequence[Outcome]:
        """Store a group of objects; when this returns, a power cut cannot take what was stored."""
        fresh: dict[str, int] = {}
        again: list[tuple[int, str]] = []
        for number, arrival in enumerate(arrivals):
            name = self._spool.object_name(arrival.examined.identity.sop_instance_uid)
            if name in fresh or self._is_here(name):
                again.append((number, name))
            else:
                fresh[name] = number
        placed = self._store({name: arrivals[number] for name, number in fresh.items()})
        outcomes: dict[int, Outcome] = dict(zip(fresh.values(), placed, strict=True))
        for number, name in again:
            outcomes[number] = self._store_again(arrivals[number], name)
        return [outcomes[number] for number in range(len(arrivals))]

    def _is_here(self, name: str) -> bool:
        """Whether an object is here that stays; one that is being removed gives way."""
        return os.path.exists(self._root + name) and not self._purging.give_way(name)

    def _store(self, arrivals: Mapping[str, Arrival]) -> Sequence[Outcome]:
        """Store objects of which no file is here, under these names."""
        if not arrivals:
            return ()
        try:
            for name, arrival in arrivals.items():
                os.rename(arrival.temporary, self._root + name)
            self._durability.sync(
                [arrival.descriptor for arrival in arrivals.values()],
                [os.path.dirname(self._root + name) for name in arrivals],
            )
        except OSError as error:
            self._take_back(arrivals)
            failure = WriteFailedError(f"The object could not be written: {error.strerror}.")
            return [failure] * len(arrivals)
        except Exception:
            # A file that kept its name without a row would make the same object sent again a
            # Success that only the next start enters into the ledger.
            self._take_back(arrivals)
            raise
        for arrival in arrivals.values():
            arrival.close()
        now = self._clock.now()
        self._enter(self.record, [Stored(one, name, now) for name, one in arrivals.items()])
        return [True] * len(arrivals)

    def _take_back(self, arrivals: Mapping[str, Arrival]) -> None:
        for name, arrival in arrivals.items():
            with suppress(FileNotFoundError):
                os.unlink(self._root + name)
            arrival.discard()

    def _store_again(self, arrival: Arrival, name: str) -> Outcome:
        """An object of which a file is here: is it the same?"""
        temporary = Path(arrival.temporary)
        try:
            known = digest_of(self._spool.absolute(name))
            if known == (arrival.sha256 or digest_of(temporary)):
                arrival.discard()
                return False
            place = self._spool.new_quarantine()
            temporary.rename(place)
            self._durability.sync([arrival.descriptor], [str(place.parent)])
        except OSError as error:
            arrival.discard()
            return WriteFailedError(f"The object could not be written: {error.strerror}.")
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
