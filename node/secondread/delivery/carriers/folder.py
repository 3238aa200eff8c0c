"""A folder that somebody else looks into: what is put there is read back at once."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Sequence
from pathlib import Path

from secondread.delivery.carriers.carrier import Blame, Carried, Parcel
from secondread.delivery.folder_drop import check_folder, drop, mark_done
from secondread.delivery.object_names import read_names
from secondread.domain.drop_folder import DropFolder, Layout
from secondread.errors import DeliveryError, PeerUnreachableError

READ_BACK = "read-back"


class FolderCarrier:
    """Writes one file at a time; after the last of a job it says which of the study are there."""

    at_once = 1

    def __init__(self, target: DropFolder) -> None:
        self._target = target

    def expect(self, parcels: Sequence[Parcel]) -> None:
        """Nothing has to be known before."""

    def carry(self, parcels: Sequence[Parcel]) -> Iterator[Carried]:
        """Put files there, one after the other."""
        for parcel in parcels:
            try:
                self._put(parcel)
            except PeerUnreachableError as error:
                yield Carried(parcel, fault=error, blame=Blame.LINE)
                return
            except DeliveryError as error:
                yield Carried(parcel, fault=error)
            else:
                yield Carried(parcel, proof=READ_BACK)

    def probe(self) -> None:
        """Look whether the folder is there and may be written.

        Raises:
            PeerUnreachableError: it is not.
        """
        check_folder(self._target)

    def close(self) -> None:
        """Nothing is open."""

    def _put(self, parcel: Parcel) -> None:
        """Put a file there and read it back.

        Raises:
            PeerUnreachableError: the folder cannot be used for now.
            PeerRefusedError: another content stands under the name, or the file is no object.
        """
        place = self._target.folder / drop(parcel.path, self._target)
        try:
            is_there = filecmp.cmp(parcel.path, place, shallow=False)
        except OSError:
            is_there = False
        if not is_there:
            raise PeerUnreachableError(
                f"What was written to {self._target.shown} cannot be read back: see what removes "
                "or changes files there, or whether the share is broken."
            )
        if parcel.completes is not None:
            names = read_names(parcel.path)
            study_uid = names.study_instance_uid
            wanted = parcel.completes | {names.sop_instance_uid}
            mark_done(self._target, study_uid, self._there(study_uid, wanted))

    def _there(self, study_uid: str, uids: frozenset[str]) -> list[Path]:
        """Those of these objects that are in the folder, relative to it."""
        folder = self._target.folder
        if self._target.layout is Layout.FLAT:
            places = [folder / f"{uid}.dcm" for uid in sorted(uids)]
        else:
            places = sorted((folder / study_uid).glob("*/*.dcm"))
        return [
            place.relative_to(folder) for place in places if place.stem in uids and place.is_file()
        ]
