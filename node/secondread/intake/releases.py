"""Which studies associations have brought, and when the last one of a study was released.

A release (PS3.8 7.2) says that the peer has sent all that it wanted to. Several associations may
bring one study at the same time, and an association that breaks off says that something is left:
after that only one that was opened later can say that all is there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection

_BROKEN_MAX = 10_000


class Releases:
    """Keeps account of open associations; everything here happens in the reactor's thread.

    Args:
        released: told the Study Instance UIDs that nobody brings any more, and whose last
            association was released.
    """

    def __init__(self, released: Callable[[Collection[str]], None]) -> None:
        self._released = released
        self._opened = 0
        self._brought: dict[int, set[str]] = {}
        self._carriers: dict[str, set[int]] = {}
        # Study → the newest association when one of its own broke off.
        self._broken: OrderedDict[str, int] = OrderedDict()

    def open(self) -> int:
        """An association was opened; a number that stands for it."""
        self._opened += 1
        self._brought[self._opened] = set()
        return self._opened

    def bring(self, number: int, study_instance_uid: str) -> None:
        """An object of a study is here, be it for the first time or again."""
        studies = self._brought.get(number)
        if studies is not None and study_instance_uid not in studies:
            studies.add(study_instance_uid)
            self._carriers.setdefault(study_instance_uid, set()).add(number)

    def end(self, number: int, *, released: bool) -> None:
        """An association has ended: released by its peer, or broken off by anybody."""
        free = []
        for study in self._brought.pop(number, ()):
            carriers = self._carriers[study]
            carriers.discard(number)
            if not released:
                self._broken[study] = self._opened
                self._broken.move_to_end(study)
            if carriers:
                continue
            del self._carriers[study]
            if released and number > self._broken.get(study, 0):
                self._broken.pop(study, None)
                free.append(study)
        while len(self._broken) > _BROKEN_MAX:
            self._broken.popitem(last=False)
        if free:
            self._released(free)
