"""What runtimes share whose network gives every voxel a value for each channel.

Keys of `model.toml`::

    [runtime.options.decoding]     see `runtimes/decoding.py`
    [preprocessing]                orientation = "RAS"; spacing_mm = 1.5 or [1.5, 1.5, 2.0];
                                   patch = [96, 96, 96]; overlap = 0.25; divisor = 16; pad = 0.0
    [preprocessing.intensity]      see `runtimes/intensity.py`
    [envelope]                     checks, see `secondread.inference.worker.envelope`

``orientation`` says where the network's axes run to. Without ``spacing_mm`` they have the spacing
of the image; without ``patch`` the whole volume goes in at once, filled up with ``pad`` to a
multiple of ``divisor``. In a check, ``classes`` are labels.

Where ``[output]`` promises probabilities, that of a label is the sum over its channels. Numbers,
findings, places and maps such a runtime does not give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secondread.bundles.entry import Entry
from secondread.bundles.package import MANIFEST_NAME, faults_of
from secondread.inference.worker import canonical, envelope
from secondread.inference.worker.prediction import Check, Prediction
from secondread.inference.worker.runtimes import windows
from secondread.inference.worker.runtimes.decoding import Decoding, read_decoding
from secondread.inference.worker.runtimes.intensity import Intensity, read_intensity
from secondread.inference.worker.runtimes.network_grid import NetworkGrid, is_orientation, lay
from secondread.inference.worker.runtimes.windows import Network, Windows

__all__ = ["Plan", "examine", "label_voxels", "read_plan", "read_rules", "refuse_declarations"]

PREPROCESSING_KEYS = (
    *("orientation", "spacing_mm", "patch", "overlap", "divisor", "pad", "intensity"),
)
_CUBE = "RAS and one spacing_mm"
_NEEDS = {
    "asymmetry": "a network with sides",
    "brightness": "an image that is scaled as the runtime 'torch' does it",
    **dict.fromkeys(("layout_mm", "cut_cm2", "reach_mm"), _CUBE),
}
"""Measures of the envelope, and what they need."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a manifest says of the way from voxels to labels, but the network.

    Attributes:
        orientation: where the network's axes run to.
        spacing_mm: along them; None is that of the image.
        probabilities_of: of how many labels probabilities are promised; 0 promises none.
    """

    orientation: str
    spacing_mm: tuple[float, ...] | None
    windows: Windows
    intensity: Intensity
    decoding: Decoding
    rules: Sequence[Mapping[str, Any]]
    probabilities_of: int


def read_plan(manifest: Mapping[str, Any], folder: Path) -> Plan:
    """Read the tables named above.

    Raises:
        ManifestError: a key is unknown, absent or of the wrong kind, or the manifest declares what
            such a runtime does not give.
    """
    with faults_of(folder / MANIFEST_NAME):
        entry = Entry("[preprocessing]", manifest["preprocessing"], PREPROCESSING_KEYS)
        orientation = entry.text("orientation", "RAS")
        if not is_orientation(orientation):
            raise entry.fault(
                f"has the orientation '{orientation}'; it is three letters, one each of R or L, "
                "A or P, and S or I"
            )
        spacing_mm = _spacing_mm(entry) if entry.has("spacing_mm") else None
        labels, output = manifest.get("labels", ()), manifest.get("output", {})
        refuse_declarations(manifest)
        return Plan(
            orientation=orientation,
            spacing_mm=spacing_mm,
            windows=_windows(entry),
            intensity=read_intensity(entry.value("intensity"))
            if entry.has("intensity")
            else Intensity(),
            decoding=read_decoding(
                manifest["runtime"].get("options", {}).get("decoding"), len(labels)
            ),
            rules=read_rules(
                manifest,
                cube=orientation == "RAS" and spacing_mm is not None and len(set(spacing_mm)) == 1,
            ),
            probabilities_of=len(labels) if output.get("probabilities", False) else 0,
        )


def refuse_declarations(manifest: Mapping[str, Any]) -> None:
    """See that ``[output]`` declares nothing that such a runtime does not give.

    Raises:
        ValueError: it does.
    """
    for key in ("numbers", "findings", "places", "maps"):
        if manifest.get("output", {}).get(key):
            raise ValueError(f"this runtime gives no {key}, which [output] declares")


def examine(
    rules: Sequence[Mapping[str, Any]],
    voxels: NDArray[np.generic],
    affine_lps: NDArray[np.float64],
) -> tuple[tuple[Check, ...], str | None]:
    """Make the checks that need no network: that there is an image, and those of the envelope.

    Returns:
        the checks, and the refusal of the first that failed.

    Raises:
        ValueError: not a volume, or an affine that cannot be inverted.
    """
    affine = np.asarray(affine_lps, np.float64)
    if voxels.ndim != 3 or not voxels.size:
        raise ValueError(f"Not a volume: shape {voxels.shape}")
    if affine.shape != (4, 4) or not abs(np.linalg.det(affine[:3, :3])) > 1e-9:
        raise ValueError("The affine is not an invertible 4x4 matrix")
    spread = float(voxels.max()) - float(voxels.min())
    check = Check("spread of values", spread, 1e-6, float(np.finfo(np.float32).max), spread > 0)
    if not check.passed:
        return (check,), "The image is empty: all its voxels have the same value."
    early, _ = envelope.sort_rules(rules)
    foreground = canonical.locate(voxels, affine, None) if early else None
    first, refusal = envelope.judge(envelope.Evidence(foreground, voxels), early)
    return (check, *first), refusal


def label_voxels(
    plan: Plan, network: Network, voxels: NDArray[np.generic], affine_lps: NDArray[np.float64]
) -> Prediction:
    """Label a volume ``(slice, row, column)``; refuses one that has a single value.

    Raises:
        ValueError: not a volume, or an affine that cannot be inverted.
        InvalidPredictionError: the network answers something that the plan does not describe.
    """
    affine = np.asarray(affine_lps, np.float64)
    checks, refusal = examine(plan.rules, voxels, affine)
    nothing = np.zeros(voxels.shape, np.uint8)
    if refusal is not None:
        return Prediction(nothing, refusal, checks)
    grid = lay(plan.orientation, plan.spacing_mm, voxels.shape, affine)
    image = plan.intensity.apply(grid.bring(voxels))
    channels = plan.decoding.activate(windows.run(image, plan.windows, network))
    if late := envelope.sort_rules(plan.rules)[1]:
        more, refusal = envelope.judge(_evidence(plan, grid, image, channels), late)
        checks += more
        if refusal is not None:
            return Prediction(nothing, refusal, checks)
    found = plan.decoding.judge(
        lambda number: grid.take_back(channels[number]), plan.probabilities_of
    )
    return Prediction(np.ascontiguousarray(found.labels), None, checks, found.probabilities)


def _evidence(
    plan: Plan, grid: NetworkGrid, image: NDArray[np.float32], channels: NDArray[np.float32]
) -> envelope.Evidence:
    """What checks look at, on the network's grid; its spacing is that of a cube as big."""
    found = plan.decoding.judge(lambda number: channels[number])
    return envelope.Evidence(
        foreground=None,
        image=image,
        classes=found.labels,
        confidence=found.confidence,
        spacing_mm=float(np.cbrt(1000 * grid.voxel_ml)),
    )


def _spacing_mm(entry: Entry) -> tuple[float, ...]:
    value = entry.value("spacing_mm")
    values = value if isinstance(value, list) else [value] * 3
    if len(values) != 3 or not all(type(v) in {int, float} and 0.01 <= v <= 100 for v in values):
        raise entry.fault("has a spacing_mm that is neither a number nor three, of 0.01 to 100 mm")
    return tuple(float(v) for v in values)


def _windows(entry: Entry) -> Windows:
    usual = Windows()
    patch: tuple[int, int, int] | None = None
    if entry.has("patch"):
        sides = entry.value("patch")
        if not isinstance(sides, list) or len(sides) != 3:
            raise entry.fault("has a patch that is not three whole numbers")
        if not all(type(n) is int and 1 <= n <= 2048 for n in sides):
            raise entry.fault("has a patch with a side that is no whole number from 1 to 2048")
        patch = (sides[0], sides[1], sides[2])
    overlap = entry.number("overlap") if entry.has("overlap") else usual.overlap
    if not 0 <= overlap <= 0.9:
        raise entry.fault(f"has the overlap {overlap:g}; it lies between 0 and 0.9")
    divisor = entry.whole("divisor") if entry.has("divisor") else usual.divisor
    if not 1 <= divisor <= 512:
        raise entry.fault(f"has the divisor {divisor}; it lies between 1 and 512")
    pad = entry.number("pad") if entry.has("pad") else usual.pad
    return Windows(patch, overlap, divisor, pad)


def read_rules(manifest: Mapping[str, Any], *, cube: bool) -> Sequence[Mapping[str, Any]]:
    """Give the checks of the envelope; only those that mean something without a canonical grid.

    Args:
        manifest: the parsed `model.toml`.
        cube: whether the network's axes are RAS, and its voxels cubes.

    Raises:
        ValueError: a check asks for a measure that there is not, or could not be made.
    """
    rules: Sequence[Mapping[str, Any]] = manifest.get("envelope", {}).get("checks", [])
    for rule in rules:
        measure = rule["measure"]
        if measure in _NEEDS and not (cube and _NEEDS[measure] == _CUBE):
            raise ValueError(
                f"the check '{rule.get('name', measure)}' has the measure {measure}, which needs "
                f"{_NEEDS[measure]}"
            )
    envelope.sort_rules(rules)
    return rules
