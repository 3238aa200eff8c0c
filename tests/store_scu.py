"""Storing with pynetdicom so that its answer cannot be lost on the sender's side."""

from __future__ import annotations

import time
from typing import Any

from pydicom import Dataset
from pynetdicom.association import Association

_LOOK_S = 0.0005


def c_store(association: Association, dataset: Dataset, **options: Any) -> Dataset:
    """``Association.send_c_store``, once the association's own thread really rests.

    pynetdicom 3.0.4 takes that thread to rest as soon as it says that it is about to. It may look
    for messages once more then, and take a quick answer from under ``send_c_store``.
    """
    resting = association._reactor_checkpoint
    resting.clear()
    while association.is_established and not resting._cond._waiters:  # type: ignore[attr-defined]
        time.sleep(_LOOK_S)
    return association.send_c_store(dataset, **options)
