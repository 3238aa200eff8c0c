"""What a MONAI bundle's configuration says, as the keys of a ``[preprocessing]`` table.

A bundle's configuration is a program: it names classes to import and has expressions to evaluate.
Nothing of that happens here. Transforms are recognised by their names, their arguments are
plain values or references (``@patch_size``) to plain values, and what is not recognised is an
error, because a step left out would give a wrong answer rather than none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from secondread.errors import ManifestError

__all__ = ["Bundle", "read_bundle"]

_WITHOUT_EFFECT = {
    *("LoadImaged", "EnsureChannelFirstd", "EnsureTyped", "CastToTyped", "ToTensord", "ToDeviced"),
}
_CONFIGURATION = "configs/inference.json"


class Bundle:
    """A parsed configuration; every method raises ``ManifestError`` where it is not understood."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def preprocessing(self) -> dict[str, Any]:
        """Give the keys of a ``[preprocessing]`` table."""
        table: dict[str, Any] = {}
        for step in self._table("preprocessing").get("transforms", ()):
            name = _name_of(step)
            if name == "Orientationd":
                table["orientation"] = self.plain(step, "axcodes")
            elif name == "Spacingd":
                pixdim = self.plain(step, "pixdim")
                table["spacing_mm"] = list(pixdim) if isinstance(pixdim, list) else pixdim
            elif name in _INTENSITIES:
                if "intensity" in table:
                    raise ManifestError("The MONAI bundle normalises intensities more than once.")
                table["intensity"] = _INTENSITIES[name](self, step)
            elif name not in _WITHOUT_EFFECT:
                raise ManifestError(
                    f"The MONAI bundle prepares its images with {name}, which this runtime does "
                    "not have; known: Orientationd, Spacingd, "
                    f"{', '.join(sorted(_INTENSITIES))}."
                )
        inferer = self._table("inferer")
        if inferer and _name_of(inferer) == "SlidingWindowInferer":
            table["patch"] = self.plain(inferer, "roi_size")
            table["overlap"] = self.plain(inferer, "overlap", 0.25)
        elif inferer and _name_of(inferer) != "SimpleInferer":
            raise ManifestError(
                f"The MONAI bundle runs its network with {_name_of(inferer)}; known: "
                "SimpleInferer, SlidingWindowInferer."
            )
        return table

    def network(self) -> tuple[str, dict[str, Any]]:
        """Give the name of the network's class and its arguments."""
        table = self._table("network_def")
        target = table.get("_target_")
        if not isinstance(target, str):
            raise ManifestError("The MONAI bundle has no network_def that names its network.")
        options = {key: self._nested(value, key) for key, value in table.items() if key[:1] != "_"}
        return target, options

    def _nested(self, value: Any, key: str) -> Any:
        """Give an argument, which may be a list or a table of plain values."""
        if isinstance(value, list):
            return [self._nested(part, key) for part in value]
        if isinstance(value, dict) and "_target_" not in value:
            return {str(name): self._nested(part, key) for name, part in value.items()}
        return self._resolve(value, key, 0)

    def plain(self, table: Mapping[str, Any], key: str, default: Any = None) -> Any:
        """Give a value without expressions; a reference is followed."""
        if key not in table:
            if default is None:
                raise ManifestError(f"{_name_of(table)} of the MONAI bundle lacks its {key}.")
            return default
        return self._resolve(table[key], key, 0)

    def _resolve(self, value: Any, key: str, depth: int) -> Any:
        if isinstance(value, list):
            return [self._resolve(part, key, depth) for part in value]
        if isinstance(value, str) and value.startswith("@") and depth < 8:
            return self._resolve(self._config.get(value[1:], "$"), key, depth + 1)
        if isinstance(value, dict) or (isinstance(value, str) and value[:1] in {"$", "@", "%"}):
            raise ManifestError(
                f"The MONAI bundle has an expression for {key}, and none is ever evaluated here; "
                f"write the value itself into '{_CONFIGURATION}'."
            )
        return value

    def _table(self, key: str) -> Mapping[str, Any]:
        value = self._config.get(key)
        if isinstance(value, str) and value.startswith("@"):
            value = self._config.get(value[1:])
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ManifestError(f"The MONAI bundle's {key} is no table.")
        return value


def _name_of(table: object) -> str:
    """Give the name of the class that a table is about, without its module."""
    if not isinstance(table, Mapping):
        raise ManifestError(f"The MONAI bundle has {table!r} where a table should be.")
    return str(table.get("_target_", "nothing")).rpartition(".")[2]


def read_bundle(folder: Path, files: Mapping[str, str]) -> Bundle:
    """Read the configuration of a bundle.

    Args:
        folder: of the package.
        files: names of the files that the manifest pins.

    Raises:
        ManifestError: it is absent, not pinned, or no JSON.
    """
    if _CONFIGURATION not in files:
        raise ManifestError(f"A MONAI bundle has '{_CONFIGURATION}' among its [files].")
    try:
        config = json.loads((folder / _CONFIGURATION).read_bytes())
    except (OSError, RecursionError, ValueError) as error:
        raise ManifestError(f"'{_CONFIGURATION}' is not valid JSON: {error}.") from None
    if not isinstance(config, dict):
        raise ManifestError(f"'{_CONFIGURATION}' is no table.")
    return Bundle(config)


def _range(bundle: Bundle, step: Mapping[str, Any]) -> dict[str, Any]:
    low, high, to = (
        *(float(bundle.plain(step, key)) for key in ("a_min", "a_max")),
        _to(bundle, step),
    )
    if bundle.plain(step, "clip", False):
        return {"kind": "window", "low": low, "high": high, "to": to}
    deviation = (high - low) / (to[1] - to[0])
    return {"kind": "fixed", "mean": low - to[0] * deviation, "deviation": deviation}


def _percentiles(bundle: Bundle, step: Mapping[str, Any]) -> dict[str, Any]:
    if not bundle.plain(step, "clip", False):
        raise ManifestError(
            "The MONAI bundle scales by percentiles without cutting off beyond them, which this "
            "runtime does not do."
        )
    if bundle.plain(step, "relative", False):
        raise ManifestError(
            "The MONAI bundle scales to percentiles (relative), which this runtime does not do."
        )
    low, high = bundle.plain(step, "lower"), bundle.plain(step, "upper")
    return {"kind": "percentile", "low": low, "high": high, "to": _to(bundle, step)}


def _normalise(bundle: Bundle, step: Mapping[str, Any]) -> dict[str, Any]:
    if "subtrahend" in step or "divisor" in step:
        mean, deviation = bundle.plain(step, "subtrahend"), bundle.plain(step, "divisor")
        return {"kind": "fixed", "mean": mean, "deviation": deviation}
    return {"kind": "zscore", "nonzero": bool(bundle.plain(step, "nonzero", False))}


def _scale(bundle: Bundle, step: Mapping[str, Any]) -> dict[str, Any]:
    to = [bundle.plain(step, "minv", 0.0), bundle.plain(step, "maxv", 1.0)]
    return {"kind": "percentile", "low": 0, "high": 100, "to": to}


def _to(bundle: Bundle, step: Mapping[str, Any]) -> Sequence[float]:
    return [float(bundle.plain(step, key)) for key in ("b_min", "b_max")]


_INTENSITIES = {
    "NormalizeIntensityd": _normalise,
    "ScaleIntensityRangePercentilesd": _percentiles,
    "ScaleIntensityRanged": _range,
    "ScaleIntensityd": _scale,
}
