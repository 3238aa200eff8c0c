"""The performer of scheduled work: find, claim, report, complete or give up (PS3.4 CC, IHE AIW-I).

Every step may be asked for again after an answer was lost or the node was killed. What was done
already counts as done: only who knows the Transaction UID can have done it (PS3.4 CC.1.1).
"""

from __future__ import annotations

from itertools import product

from secondread.delivery.telling.worklist.channel import Channel, GoneError, TakenError, Worklist
from secondread.delivery.telling.worklist.content import (
    DataElements,
    cancellation_of,
    completion_of,
    progress_of,
    search_keys,
)
from secondread.delivery.telling.worklist.found import pick
from secondread.delivery.telling.worklist.workitem import (
    Cancellation,
    Claim,
    Criteria,
    Performed,
    Progress,
    State,
    Workitem,
)


def find_work(worklist: Worklist, criteria: Criteria) -> list[Workitem]:
    """What is SCHEDULED and ready: the urgent items first, then those that start first.

    Raises:
        PeerUnreachableError: try again later.
        PeerRefusedError: the manager will not be asked by this node.
    """
    pairs = product(criteria.workitem_codes or (None,), criteria.station_codes or (None,))
    with worklist.open() as channel:
        matches = [
            match
            for workitem, station in pairs
            for match in channel.search(search_keys(workitem, station), criteria.limit)
        ]
    return pick(matches, criteria)


def claim(worklist: Worklist, held: Claim, *, again: bool = False) -> None:
    """Take an item: SCHEDULED to IN PROGRESS.

    Args:
        worklist: where it is.
        held: the item, and the Transaction UID that will be its lock.
        again: whether this claim was asked for before and its answer may have been lost. Where the
            item is in progress already, it is then tried whether our Transaction UID opens it, by
            saying that nothing is done yet. Not without a reason: a manager that does not compare
            would give the work of another node to this one.

    Raises:
        TakenError: another performer was faster.
        GoneError: it is over, or not there.
        PeerRefusedError: the manager will not have it.
        PeerUnreachableError: try again later, with the same claim and ``again``.
    """
    with worklist.open() as channel:
        try:
            channel.change_state(held, State.IN_PROGRESS)
        except TakenError:
            if not again:
                raise
            channel.update(held, progress_of(held, Progress(0)))


def report_progress(worklist: Worklist, held: Claim, progress: Progress) -> None:
    """Say how far a claimed item is.

    Raises:
        TakenError, GoneError, PeerRefusedError, PeerUnreachableError: see ``claim``.
    """
    with worklist.open() as channel:
        channel.update(held, progress_of(held, progress))


def complete(worklist: Worklist, held: Claim, performed: Performed) -> None:
    """Say what was done and where the results are, and end a claimed item as COMPLETED.

    Raises:
        TakenError, GoneError, PeerRefusedError, PeerUnreachableError: see ``claim``.
    """
    _end(worklist, held, completion_of(held, performed), State.COMPLETED)


def cancel(worklist: Worklist, held: Claim, cancellation: Cancellation) -> None:
    """Say why, and end a claimed item as CANCELED; only who has claimed an item can give it up.

    Raises:
        TakenError, GoneError, PeerRefusedError, PeerUnreachableError: see ``claim``.
    """
    _end(worklist, held, cancellation_of(held, cancellation), State.CANCELED)


def _end(worklist: Worklist, held: Claim, said: DataElements, state: State) -> None:
    with worklist.open() as channel:
        _say(channel, held, said)
        channel.change_state(held, state)


def _say(channel: Channel, held: Claim, said: DataElements) -> None:
    try:
        channel.update(held, said)
    except GoneError:
        # Perhaps we have ended it already, and the answer was lost: the change of state tells.
        return
