"""The frames of a segmentation: which there are, and the pixels of each when they are asked for.

A frame is made when it is written, so a segmentation costs no more memory than the answer that it
shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from secondread.results.segmentation.frames import LABEL_MAP, FramePlace

Presence = npt.NDArray[np.bool_]
"""``(slice, value)``: whether a value of the label map, 0 to 255, occurs in a slice."""


@dataclass(frozen=True, slots=True)
class FrameStack:
    """The frames of one object.

    Attributes:
        bits: Bits Allocated of a pixel, 1 or 8.
        size: rows and columns.
        places: of the frames, in their order.
        read: gives a frame ``(row, column)``, bool where a pixel has one bit, else uint8.
    """

    bits: int
    size: tuple[int, int]
    places: tuple[FramePlace, ...]
    read: Callable[[FramePlace], npt.NDArray[np.bool_] | npt.NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class LabelledSlices:
    """A label map and what is known of its slices.

    Attributes:
        labels: ``(slice, row, column)`` uint8.
        presence: which values each slice holds.
        keep_empty: whether slices without a structure get frames, too.
    """

    labels: npt.NDArray[np.uint8]
    presence: Presence
    keep_empty: bool

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.labels.shape[1], self.labels.shape[2]

    def choose(self, wanted: npt.NDArray[np.bool_]) -> list[int]:
        """Slices that get a frame where ``wanted`` says which have something to show."""
        return np.flatnonzero(wanted | self.keep_empty).tolist()


def find_presence(labels: npt.NDArray[np.uint8]) -> Presence:
    """Which values each slice of a label map ``(slice, row, column)`` holds.

    Only voxels that differ from their neighbour are looked up, and most do not.
    """
    presence = np.zeros((labels.shape[0], 256), np.bool_)
    for found, plane in zip(presence, labels, strict=True):
        flat = plane.ravel()
        found[flat[np.flatnonzero(flat[1:] != flat[:-1])]] = True
        found[flat[-1:]] = True
    return presence


def stack_binary(slices: LabelledSlices, values: Mapping[int, int]) -> FrameStack:
    """One frame of one bit for each segment and slice.

    Args:
        slices: the answer.
        values: the label value of each segment number.
    """
    labels = slices.labels

    def read(place: FramePlace) -> npt.NDArray[np.bool_]:
        mask: npt.NDArray[np.bool_] = labels[place.slice_index] == values[place.segment]
        return mask

    places = tuple(
        FramePlace(segment, index)
        for segment, value in values.items()
        for index in slices.choose(slices.presence[:, value])
    )
    return FrameStack(1, slices.size, places, read)


def stack_label_map(slices: LabelledSlices, values: Mapping[int, int]) -> FrameStack:
    """One frame for each slice, whose pixels are segment numbers; 0 is background."""
    labels = slices.labels
    numbers = np.zeros(256, np.uint8)
    numbers[list(values.values())] = list(values)
    table = numbers.tobytes()
    is_same = all(number == value for number, value in values.items()) and not (
        slices.presence[:, numbers == 0][:, 1:].any()
    )

    def read(place: FramePlace) -> npt.NDArray[np.uint8]:
        plane: npt.NDArray[np.uint8] = labels[place.slice_index]
        if is_same:
            return plane
        # Twice as fast as looking each voxel up in an array.
        return np.frombuffer(plane.tobytes().translate(table), np.uint8).reshape(plane.shape)

    shown: npt.NDArray[np.bool_] = np.any(slices.presence[:, list(values.values())], axis=1)
    places = tuple(FramePlace(LABEL_MAP, index) for index in slices.choose(shown))
    return FrameStack(8, slices.size, places, read)


def stack_fractional(
    slices: LabelledSlices,
    values: Mapping[int, int],
    probabilities: Mapping[int, npt.NDArray[np.uint8]],
) -> FrameStack:
    """One frame of probabilities for each segment and slice.

    A slice has a frame where a probability is above 0, or where the label map shows the structure:
    so no segment is without a frame, whatever was rounded away.

    Args:
        slices: the answer.
        values: the label value of each segment number.
        probabilities: ``(slice, row, column)`` of each segment number; 255 is certain.
    """

    def read(place: FramePlace) -> npt.NDArray[np.uint8]:
        frame: npt.NDArray[np.uint8] = probabilities[place.segment][place.slice_index]
        return frame

    places = tuple(
        FramePlace(segment, index)
        for segment, value in values.items()
        for index in slices.choose(
            slices.presence[:, value] | _find_possible(probabilities[segment])
        )
    )
    return FrameStack(8, slices.size, places, read)


def _find_possible(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Slices in which a probability is above 0."""
    return np.array([plane.any() for plane in planes], np.bool_)
