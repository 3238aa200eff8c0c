"""Parts of one enhanced multi-frame image."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from secondread.assembly.volume import read_volume
from secondread.dicom.headers import read_slice
from secondread.dicom.parts import split
from tests.slices import make_slice, store, store_all


def _headers(tmp_path, datasets):
    for number, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = f"2.25.3000{number}"
    return [read_slice(store(dataset, tmp_path)) for dataset in datasets]


def _item(**attributes) -> Dataset:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def _enhanced(frames) -> Dataset:
    """An enhanced MR of frames (place, groups); the value of each is its number."""
    pixels = np.repeat(np.arange(1, len(frames) + 1, dtype=np.int16), 12)
    dataset = make_slice(np.zeros((3, 4), np.int16), (0, 0, 0), ImagePositionPatient=None)
    del dataset.ImageOrientationPatient, dataset.PixelSpacing
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.NumberOfFrames = len(frames)
    dataset.PixelData = pixels.tobytes()
    dataset.SharedFunctionalGroupsSequence = [
        _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[_item(PixelSpacing=[0.5, 0.25], SliceThickness=2)],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=[7, 8, place])], **groups)
        for place, groups in frames
    ]
    return dataset


ENHANCED = {
    "EchoTime": lambda value: {"MREchoSequence": [_item(EffectiveEchoTime=float(value))]},
    "TemporalPositionIdentifier": lambda value: {
        "FrameContentSequence": [_item(TemporalPositionIndex=value)]
    },
    "AcquisitionNumber": lambda value: {
        "FrameContentSequence": [_item(FrameAcquisitionNumber=value)]
    },
    "DiffusionBValue": lambda value: {"MRDiffusionSequence": [_item(DiffusionBValue=float(value))]},
    "TriggerTime": lambda value: {
        "CardiacSynchronizationSequence": [_item(NominalCardiacTriggerDelayTime=float(value))]
    },
    "InversionTime": lambda value: {"MRModifierSequence": [_item(InversionTimes=float(value))]},
}


@pytest.mark.parametrize("keyword", ENHANCED)
def test_an_enhanced_image_of_several_volumes_is_split(tmp_path, keyword):
    groups = ENHANCED[keyword]
    dataset = _enhanced([(2.0 * place, groups(value)) for place in range(4) for value in (3, 7)])
    (instance,) = store_all([dataset], tmp_path)
    (header,) = [read_slice(tmp_path / instance.path)]
    assert [group.name for group in split([header])] == [f"{keyword} 3", f"{keyword} 7"]
    assert header.attributes[keyword] == (3.0, 7.0)
    volume = read_volume([instance], tmp_path, f"{keyword} 7")
    np.testing.assert_array_equal(volume.voxels[:, 0, 0], [2, 4, 6, 8])
    assert [source.frame for source in volume.sources] == [2, 4, 6, 8]


def test_magnitude_and_phase_of_an_enhanced_image(tmp_path):
    def kind(value):
        return {"MRImageFrameTypeSequence": [_item(FrameType=["ORIGINAL", "PRIMARY", value, "N"])]}

    frames = [(2.0 * place, kind(value)) for value in ("M", "P") for place in range(4)]
    (header,) = _headers(tmp_path, [_enhanced(frames)])
    assert [group.name for group in split([header])] == ["ImageType M", "ImageType P"]


def test_stacks_of_an_enhanced_image(tmp_path):
    def stack_of(value):
        return {"FrameContentSequence": [_item(StackID=value)]}

    frames = [(2.0 * place, stack_of("1")) for place in range(4)]
    frames += [(50.0 + 3 * place, stack_of("2")) for place in range(4)]
    (header,) = _headers(tmp_path, [_enhanced(frames)])
    assert [group.name for group in split([header])] == ["StackID 1", "StackID 2"]


def test_a_long_series_is_split_in_no_time(tmp_path):
    dataset = _enhanced(
        [
            (2.0 * place, ENHANCED["TemporalPositionIdentifier"](time))
            for time in range(20)
            for place in range(20)
        ]
    )
    (header,) = _headers(tmp_path, [dataset])
    assert [len(group.planes) for group in split([header])] == [20] * 20
