"""Made-up acquisitions for property tests of the geometry, and what has to come of them.

A scene has any orientation, order, tilt, jitter, gaps, copies and echoes, classic or enhanced. What
it asks for is worked out from the indices of its slices, in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from secondread.dicom.geometry import position_tolerance_mm
from tests.slices import decimal_strings, make_slice

EXACT_MM = 1e-6
KINDS = ("EchoNumbers", "EchoTime", "DiffusionBValue")
"""Traits that split a series even where nothing collides, or little."""


@dataclass
class Acquisition:
    voxels: np.ndarray
    row: np.ndarray
    column: np.ndarray
    normal: np.ndarray
    positions: np.ndarray
    """(slice, 3) mm, along the normal or leaning."""
    spacing_mm: tuple[float, float, float]
    rotations: list[np.ndarray]
    """One for each slice, on top of the common orientation."""
    tilt_degrees: float = 0.0
    tolerance_mm: float = EXACT_MM


@dataclass
class Shot:
    """One image that is sent: of which echo and slice, and whether it is a copy."""

    echo: int
    index: int
    copy: str = ""
    """'' for the first, else 'identical' or 'different'."""
    slope: int = 1
    intercept: int = 0


@dataclass
class Scene:
    acquisition: Acquisition
    echoes: list[np.ndarray]
    keyword: str
    shots: list[Shot] = field(default_factory=list)

    def pixels(self, shot: Shot) -> np.ndarray:
        pixels = self.echoes[shot.echo][shot.index].copy()
        if shot.copy == "different":
            pixels[-1, -1] += 1
        return pixels

    def values(self, shot: Shot) -> np.ndarray:
        return self.pixels(shot) * shot.slope + shot.intercept

    def name(self, echo: int) -> str:
        return f"{self.keyword} {echo + 1}" if len(self.echoes) > 1 else ""


def between(low, high):
    return st.floats(low, high, allow_nan=False)


@st.composite
def acquisitions(draw, least: int = 3, pixel_mm_min: float = 0.3):
    slices, rows, columns = (
        draw(st.integers(least, 9)),
        draw(st.integers(3, 5)),
        draw(st.integers(3, 5)),
    )
    spacing = (
        draw(between(0.5, 6)),
        draw(between(pixel_mm_min, 3)),
        draw(between(pixel_mm_min, 3)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], (3, 1))
    else:
        axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    row, column = axes[0], axes[1]
    normal = np.cross(row, column)
    origin = rng.uniform(-300, 300, 3)
    return Acquisition(
        voxels=rng.integers(-1000, 3000, (slices, rows, columns)).astype(np.int16),
        row=row,
        column=column,
        normal=normal,
        positions=origin + np.arange(slices)[:, None] * spacing[0] * normal,
        spacing_mm=spacing,
        rotations=[np.eye(3)] * slices,
    )


def tilt(acquisition: Acquisition, degrees: float, direction: float) -> None:
    lean = np.cos(direction) * acquisition.row + np.sin(direction) * acquisition.column
    steps = np.arange(len(acquisition.voxels))[:, None] * acquisition.spacing_mm[0]
    acquisition.positions = acquisition.positions + steps * np.tan(np.radians(degrees)) * lean
    acquisition.tilt_degrees = abs(degrees)


def jitter(acquisition: Acquisition, share: float, seed: int) -> None:
    tolerance = position_tolerance_mm(acquisition.spacing_mm[0])
    shift = np.random.default_rng(seed).normal(size=acquisition.positions.shape)
    shift *= share * tolerance / np.linalg.norm(shift, axis=1, keepdims=True)
    acquisition.positions = acquisition.positions + shift
    acquisition.tolerance_mm = 2 * tolerance


@st.composite
def scenes(draw, keywords=("EchoNumbers", "EchoTime", "TemporalPositionIdentifier")):
    acquisition = draw(acquisitions(least=3))
    if draw(st.booleans()):
        sign = draw(st.sampled_from([-1, 1]))
        tilt(acquisition, sign * draw(between(5, 35)), draw(between(0, np.pi)))
    if draw(st.booleans()):
        jitter(acquisition, draw(between(0, 0.8)), draw(st.integers(0, 2**32 - 1)))
    slices = len(acquisition.voxels)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.sampled_from([1, 1, 2, 3]))
    echoes = [acquisition.voxels]
    echoes += [np.roll(acquisition.voxels, 7 * at) + np.int16(at) for at in range(1, count)]
    scene = Scene(acquisition, echoes, draw(st.sampled_from(keywords)))
    for echo in range(count):
        kept = draw(
            st.one_of(
                st.just(set(range(slices))),
                st.sets(st.integers(0, slices - 1), min_size=3, max_size=slices),
            )
        )
        copies = draw(st.dictionaries(st.sampled_from(sorted(kept)), _COPIES, max_size=2))
        for index in sorted(kept):
            rescale = (int(rng.integers(1, 4)), int(rng.integers(-1024, 100)))
            scene.shots.append(Shot(echo, index, "", *rescale))
            for copy in copies.get(index, ()):
                scene.shots.append(Shot(echo, index, copy, *rescale))
    draw(st.randoms(use_true_random=False)).shuffle(scene.shots)
    return scene


_COPIES = st.lists(
    st.sampled_from(["identical", "identical", "identical", "different"]), min_size=1, max_size=2
)


def classic(scene: Scene) -> list[Dataset]:
    """One object for each shot, in their order; copies have higher numbers than what they copy."""
    acquisition = scene.acquisition
    datasets = []
    for at, shot in enumerate(scene.shots):
        turn = acquisition.rotations[shot.index]
        number = 100 * (shot.echo + 1) + shot.index + 1 + (1000 * (at + 1) if shot.copy else 0)
        dataset = make_slice(
            scene.pixels(shot),
            acquisition.positions[shot.index],
            number=number,
            ImageOrientationPatient=decimal_strings(
                [*(turn @ acquisition.row), *(turn @ acquisition.column)]
            ),
            PixelSpacing=decimal_strings(acquisition.spacing_mm[1:]),
            RescaleSlope=shot.slope,
            RescaleIntercept=shot.intercept,
        )
        if len(scene.echoes) > 1:
            setattr(dataset, scene.keyword, shot.echo + 1)
        datasets.append(dataset)
    return datasets


def _item(**attributes) -> Dataset:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


MACROS = {
    "EchoTime": lambda value: {"MREchoSequence": [_item(EffectiveEchoTime=float(value))]},
    "DiffusionBValue": lambda value: {"MRDiffusionSequence": [_item(DiffusionBValue=float(value))]},
    "TemporalPositionIdentifier": lambda value: {
        "FrameContentSequence": [_item(TemporalPositionIndex=value)]
    },
}


def enhanced(scene: Scene) -> Dataset:
    """All shots as frames of one object, in their order."""
    acquisition = scene.acquisition
    frames = np.stack([scene.pixels(shot) for shot in scene.shots]).astype(np.int16)
    dataset = make_slice(frames[0], (0, 0, 0), ImagePositionPatient=None)
    del dataset.ImageOrientationPatient, dataset.PixelSpacing
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = frames.tobytes() + b"\0" * (frames.nbytes % 2)
    orientation = decimal_strings([*acquisition.row, *acquisition.column])
    spacing = decimal_strings(acquisition.spacing_mm[1:])
    dataset.SharedFunctionalGroupsSequence = [
        _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=orientation)],
            PixelMeasuresSequence=[_item(PixelSpacing=spacing)],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[
                _item(ImagePositionPatient=decimal_strings(acquisition.positions[shot.index]))
            ],
            PixelValueTransformationSequence=[
                _item(RescaleSlope=shot.slope, RescaleIntercept=shot.intercept)
            ],
            **(MACROS[scene.keyword](shot.echo + 1) if len(scene.echoes) > 1 else {}),
        )
        for shot in scene.shots
    ]
    return dataset


def expected_outcome(scene: Scene, echo: int) -> str:
    """The outcome that the indices of an echo's shots ask for."""
    shots = [shot for shot in scene.shots if shot.echo == echo]
    if any(shot.copy == "different" for shot in shots):
        return "duplicate-positions"
    steps = [after - before for before, after in pairwise(sorted({shot.index for shot in shots}))]
    if len(steps) < 2:
        return "not-enough-slices"
    if len(set(steps)) == 1:
        return "sound"
    least = min(steps)
    holes = all(step % least == 0 for step in steps) and 2 * steps.count(least) >= len(steps)
    return "missing-slices" if holes else "uneven-spacing"


def first_hole(scene: Scene, echo: int) -> tuple[int, int]:
    present = sorted({shot.index for shot in scene.shots if shot.echo == echo})
    least = min(after - before for before, after in pairwise(present))
    return next(pair for pair in pairwise(present) if pair[1] - pair[0] > least)


def is_split(scene: Scene) -> bool:
    """Whether the echoes are told from chips of one volume: half of their places have partners."""
    if len(scene.echoes) == 1 or scene.keyword in KINDS:
        return True
    places = [
        {shot.index for shot in scene.shots if shot.echo == echo}
        for echo in range(len(scene.echoes))
    ]
    return all(
        any(
            2 * len(own & other) >= min(len(own), len(other))
            for other in places
            if other is not own
        )
        for own in places
    )


def every_slice_once(acquisition: Acquisition) -> Scene:
    """Every slice once."""
    shots = [Shot(0, index) for index in range(len(acquisition.voxels))]
    return Scene(acquisition, [acquisition.voxels], "", shots)


def has_collision(scene: Scene) -> bool:
    """Whether two echoes have an image at one place."""
    places = {(shot.echo, shot.index) for shot in scene.shots}
    return len({index for _, index in places}) < len(places)
