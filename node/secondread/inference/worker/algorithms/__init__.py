"""Algorithms of the classical runtime: an allow-list, as there is one of networks.

``[runtime] kind = "classical"`` with ``[runtime.options] algorithm = "chest_ct"`` selects one of
these instead of the thresholds of ``runtimes/classical.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from secondread.errors import ManifestError
from secondread.inference.worker.prediction import Prediction

__all__ = ["ALGORITHMS", "Algorithm", "build"]


class Algorithm(Protocol):
    """What ``worker.model.Runtime`` is; it may have ``takes`` as well."""

    def predict(
        self, voxels: npt.NDArray[np.generic], affine_lps: npt.NDArray[np.float64]
    ) -> Prediction:
        """Label a volume ``(slice, row, column)``; ``affine_lps`` maps its voxels to LPS mm."""


def _chest_ct(options: Mapping[str, Any]) -> Algorithm:
    from secondread.inference.worker.algorithms.chest_ct import ChestCt

    return ChestCt(options)


ALGORITHMS: Mapping[str, Callable[[Mapping[str, Any]], Algorithm]] = MappingProxyType(
    {"chest_ct": _chest_ct}
)
"""Name in a manifest → what makes the algorithm from ``[runtime.options]``."""


def build(manifest: Mapping[str, Any]) -> Algorithm:
    """Make the algorithm that ``[runtime.options]`` of a manifest names.

    Raises:
        ManifestError: there is no algorithm of this name, or it does not know an option.
    """
    options = manifest["runtime"]["options"]
    name = str(options["algorithm"])
    if name not in ALGORITHMS:
        known = ", ".join(sorted(ALGORITHMS))
        raise ManifestError(f"The classical runtime has no algorithm '{name}'; known: {known}.")
    return ALGORITHMS[name]({key: options[key] for key in options if key != "algorithm"})
