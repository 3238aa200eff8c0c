"""What intake recorded is what the file says, or it is not used."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from secondread.assembly.recorded import recorded_slice
from secondread.assembly.volume import read_volume
from secondread.dicom.headers import read_slice
from secondread.errors import IntakeError, PixelDataError
from tests.recorded import record
from tests.slices import make_series, make_slice, put_raw, store, store_implicit

PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)
POSITION = (-1.5, 2.25, 1e-7)


def _as_read(path):
    """What the file says, without what is not recorded."""
    return replace(
        read_slice(path),
        body_part="",
        study_description="",
        series_description="",
        burned_in=False,
        attributes={},
    )


def _as_stored(path):
    """What was recorded, after its way through the ledger's JSON column."""
    instance = record(path, path.parent)
    return recorded_slice(replace(instance, facts=json.loads(json.dumps(instance.facts))))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"RescaleSlope": "1.50", "RescaleIntercept": "-1024"},
        {"BitsStored": 12, "HighBit": 13, "PixelRepresentation": 1},
        {"PhotometricInterpretation": "MONOCHROME1", "AcquisitionNumber": 3},
        {"NumberOfFrames": "1", "SeriesNumber": None, "InstanceNumber": None},
        {"ImageType": ["DERIVED", "PRIMARY", "MOSAIC"]},
        {"ImageType": ["ORIGINAL", "PRIMARY ", "M"], "EchoNumbers": "2", "EchoTime": "4.60"},
        {"AcquisitionTime": "101530.25", "TriggerTime": "33.5", "TemporalPositionIdentifier": "3"},
        {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": [0.0, -0.0, 1.0]},
        {"FlipAngle": "12", "InversionTime": "900", "ConvolutionKernel": "H31s"},
    ],
)
def test_the_record_says_what_the_file_says(tmp_path, syntax, attributes):
    path = store(make_slice(PIXELS, POSITION, **attributes), tmp_path, syntax)
    assert _as_stored(path) == _as_read(path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImagePositionPatient": None},
        {"PixelSpacing": None},
        {"ImageType": None},
        {"FrameOfReferenceUID": None},
        {"PhotometricInterpretation": None},
        {"NumberOfFrames": "2", "Rows": 1},
        {"PixelData": None, "FloatPixelData": bytes(48)},
        {"ModalityLUTSequence": [Dataset()]},
        {"PerFrameFunctionalGroupsSequence": [Dataset()]},
    ],
)
def test_an_image_out_of_the_ordinary_is_read_from_its_file(tmp_path, attributes):
    assert _as_stored(store(make_slice(PIXELS, POSITION, **attributes), tmp_path)) is None


@pytest.mark.parametrize(
    ("tag", "value"),
    [(0x00281053, "x"), (0x00281052, "1\\2"), (0x00200032, "1\\2\\nan"), (0x00280030, "1")],
)
def test_an_unreadable_value_is_read_from_the_file(tmp_path, tag, value):
    dataset = make_slice(PIXELS, POSITION)
    put_raw(dataset, tag, value)
    assert _as_stored(store_implicit(dataset, tmp_path)) is None


@pytest.mark.filterwarnings("ignore:The value length")  # pydicom warns as it writes the file
@pytest.mark.parametrize("value", ["x", "", "1.5", "9" * 20, "nan", "2\\3", "1" * 5000])
@pytest.mark.parametrize("tag", [0x00200012, 0x00180086, 0x00180081, 0x00080032, 0x00189087])
def test_a_trait_that_cannot_be_read_is_recorded_as_it_is_read(tmp_path, tag, value):
    dataset = make_slice(PIXELS, POSITION)
    put_raw(dataset, tag, value)
    path = store_implicit(dataset, tmp_path)
    assert _as_stored(path) == _as_read(path)


def test_a_deflated_image_is_read_from_its_file(tmp_path):
    dataset = make_slice(PIXELS, POSITION)
    assert _as_stored(store(dataset, tmp_path, DeflatedExplicitVRLittleEndian)) is None


def test_the_record_of_a_compressed_image_says_where_its_items_are(tmp_path):
    path = store(make_slice(PIXELS, POSITION), tmp_path)
    packed = dcmread(path)
    packed.compress(RLELossless, generate_instance_uid=False)
    packed.save_as(path)
    found = _as_stored(path)
    assert found == _as_read(path)
    assert (found.pixels.offset, found.pixels.length_bytes) == (0, 0)
    # The basic offset table is the first item (PS3.5 A.4).
    assert path.read_bytes()[found.pixels.items_offset :][:4] == b"\xfe\xff\x00\xe0"


def test_pixels_that_are_not_what_the_syntax_says_are_read_from_the_file(tmp_path):
    path = store(make_slice(PIXELS, POSITION), tmp_path)
    instance = record(path, tmp_path)
    assert recorded_slice(replace(instance, transfer_syntax_uid=RLELossless)) is None
    assert recorded_slice(replace(instance, pixel_length=-1)) is None


def test_a_row_from_before_is_read_from_its_file(tmp_path):
    instance = record(store(make_slice(PIXELS, POSITION), tmp_path), tmp_path)
    assert recorded_slice(instance) is not None
    assert recorded_slice(replace(instance, data_offset=0)) is None
    assert recorded_slice(replace(instance, pixel_offset=-1)) is None
    assert recorded_slice(replace(instance, facts={})) is None


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"RescaleSlope": "1", "RescaleIntercept": "-1024"},
        {"RescaleSlope": "-3", "RescaleIntercept": "32767"},
        {"RescaleSlope": "0.5", "RescaleIntercept": "1"},
        {"BitsStored": 12, "HighBit": 11},
    ],
)
def test_a_volume_is_the_same_with_and_without_the_record(tmp_path, attributes):
    paths = [store(dataset, tmp_path) for dataset in make_series(6, **attributes)]
    instances = [record(path, tmp_path) for path in paths]
    fast = read_volume(instances, tmp_path)
    slow = read_volume([replace(instance, data_offset=0) for instance in instances], tmp_path)
    np.testing.assert_array_equal(fast.voxels, slow.voxels)
    assert fast.voxels.dtype == slow.voxels.dtype
    np.testing.assert_array_equal(fast.affine_lps, slow.affine_lps)
    assert fast.sources == slow.sources


def test_a_file_that_was_cut_after_it_was_recorded_is_refused(tmp_path):
    paths = [store(dataset, tmp_path) for dataset in make_series(6)]
    instances = [record(path, tmp_path) for path in paths]
    paths[3].write_bytes(paths[3].read_bytes()[:-2])
    with pytest.raises(PixelDataError) as caught:
        read_volume(instances, tmp_path)
    assert caught.value.outcome == "truncated-pixels"
    paths[3].unlink()
    with pytest.raises(PixelDataError, match="cannot be read from the spool"):
        read_volume(instances, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "ct_head_phantom_gantry_tilt",
        "mr_t1_siemens_skyra_child",
        "mr_t1_t2_siemens_trio_missing_slice",
        "odd_dicom",
    ],
)
def test_the_record_of_a_real_object_says_what_its_file_says(shared_data, name):
    used = 0
    for path in sorted(shared_data(name).rglob("*")):
        try:
            found = _as_stored(path)
        # Not a file of DICOM, or one that intake would refuse.
        except (OSError, AttributeError, InvalidDicomError, IntakeError):
            continue
        if found is not None:
            used += 1
            assert found == _as_read(path)
    assert used
