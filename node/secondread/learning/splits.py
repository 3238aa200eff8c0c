"""Folds of subjects: all the images of a person lie in one of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from secondread.errors import DataError

__all__ = ["grouped_folds"]


def grouped_folds(subjects: Sequence[str], count: int, seed: int) -> tuple[frozenset[str], ...]:
    """Deal subjects into ``count`` folds.

    The same subjects give the same folds, in whichever order and however often they come.

    Args:
        subjects: the subject of each case.
        count: how many folds, at least two.
        seed: of the order in which they are dealt.

    Raises:
        DataError: there are fewer subjects than folds, or fewer than two folds.
    """
    unique = sorted(set(subjects))
    if count < 2:
        raise DataError(f"{count} folds were asked for; cross-validation needs at least two.")
    if len(unique) < count:
        raise DataError(
            f"{count} folds were asked for, but there are only {len(unique)} subjects; "
            "ask for fewer folds or give more data."
        )
    random.Random(seed).shuffle(unique)
    return tuple(frozenset(unique[k::count]) for k in range(count))
