from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from secondread.dicom.suv import in_suv, suv_factor
from secondread.domain.volume import SourceSlice, Volume
from secondread.errors import PixelDataError
from tests.slices import make_slice, store

HALF_LIFE_S = 6586.2
DOSE_BQ = 370e6
WEIGHT_KG = 70.0
DECAYED_BQ = DOSE_BQ * 2 ** (-3600 / HALF_LIFE_S)


def pet_slice(number: int, **attributes) -> Dataset:
    """One of several slices, 3 mm apart."""
    return _pet(number=number, **attributes)


def _pet(dose: dict | None = None, number: int = 1, **attributes) -> Dataset:
    """FDG, given an hour before the scan."""
    given = Dataset()
    given.RadionuclideTotalDose = str(DOSE_BQ)
    given.RadionuclideHalfLife = str(HALF_LIFE_S)
    given.RadiopharmaceuticalStartTime = "120000.00"
    for name, value in (dose or {}).items():
        if value is None:
            delattr(given, name)
        else:
            setattr(given, name, value)
    wanted = {
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "Modality": "PT",
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["NORM", "ATTN", "DECY", "SCAT"],
        "PatientWeight": str(WEIGHT_KG),
        "SeriesDate": "20260301",
        "SeriesTime": "130000",
        "AcquisitionDate": "20260301",
        "AcquisitionTime": "130730",
        "RadiopharmaceuticalInformationSequence": [given],
    }
    wanted |= attributes
    absent = [name for name, value in wanted.items() if value is None]
    present = {name: value for name, value in wanted.items() if name not in absent}
    return make_slice(np.ones((4, 4), np.int16), (0, 0, 3 * number), number, **present)


def _factor(dataset: Dataset) -> float:
    """Of the data set as it comes out of a file."""
    file = BytesIO()
    dcmwrite(file, dataset, implicit_vr=False, little_endian=True)
    return suv_factor(dcmread(BytesIO(file.getvalue()), force=True))


def _reason(dataset: Dataset) -> str:
    with pytest.raises(PixelDataError) as caught:
        _factor(dataset)
    assert caught.value.outcome == "no-suv-factor"
    return str(caught.value)


def test_the_dose_decays_until_the_scan_starts():
    assert _factor(_pet()) == pytest.approx(1000 * WEIGHT_KG / DECAYED_BQ, rel=1e-12)


def test_activity_like_the_mean_of_the_body_is_one():
    mean = DECAYED_BQ / (1000 * WEIGHT_KG)
    assert mean * _factor(_pet()) == pytest.approx(1.0)


def test_values_that_stand_for_the_time_of_the_dose_know_no_decay():
    factor = _factor(_pet(DecayCorrection="ADMIN", SeriesTime=None, AcquisitionTime=None))
    assert factor == pytest.approx(1000 * WEIGHT_KG / DOSE_BQ)


def test_without_decay_correction_each_frame_has_its_own_factor():
    dataset = _pet(
        DecayCorrection="NONE", CorrectedImage=["NORM", "ATTN"], ActualFrameDuration="150000"
    )
    rate = math.log(2) / HALF_LIFE_S
    start_s, end_s = 3600 + 450, 3600 + 450 + 150
    mean = DOSE_BQ * (math.exp(-rate * start_s) - math.exp(-rate * end_s)) / (rate * 150)
    assert _factor(dataset) == pytest.approx(1000 * WEIGHT_KG / mean, rel=1e-9)


def test_a_dose_before_midnight_and_a_scan_after_it():
    dataset = _pet({"RadiopharmaceuticalStartTime": "233000"}, SeriesTime="003000")
    assert _factor(dataset) == pytest.approx(_factor(_pet()))


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("20260301120000", None),
        ("20260301120000.000000+0100", "+0100"),
        ("20260301110000+0000", "+0100"),
    ],
)
def test_a_start_with_a_date_goes_before_one_without(written, zone):
    extra = {"TimezoneOffsetFromUTC": zone} if zone else {}
    dose = {"RadiopharmaceuticalStartDateTime": written, "RadiopharmaceuticalStartTime": "050000"}
    assert _factor(_pet(dose, **extra)) == pytest.approx(_factor(_pet()))


def test_a_slow_nuclide_may_be_given_days_before():
    dose = {
        "RadiopharmaceuticalStartDateTime": "20260225130000",
        "RadionuclideHalfLife": "282276",
        "RadionuclideTotalDose": "37000000",
    }
    wanted = 1000 * WEIGHT_KG / (37e6 * 2 ** (-4 * 86400 / 282276))
    assert _factor(_pet(dose)) == pytest.approx(wanted)


def test_images_in_suv_already_stay_as_they_are():
    assert _factor(_pet(Units="GML", PatientWeight=None)) == 1.0
    assert _factor(_pet(Units="GML", SUVType="BW")) == 1.0
    assert "SUV Type is LBM" in _reason(_pet(Units="GML", SUVType="LBM"))


def test_counts_need_the_factor_of_their_maker():
    dataset = _pet(Units="CNTS")
    assert "(7053,1000)" in _reason(dataset)
    block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x09, "DS", "2.5")
    assert _factor(dataset) == pytest.approx(2.5 * _factor(_pet()))
    block.add_new(0x00, "DS", "0.000587")
    assert _factor(dataset) == 0.000587


@pytest.mark.parametrize(
    ("dose", "attributes", "words"),
    [
        ({}, {"Units": "PROPCNTS"}, "Units are PROPCNTS"),
        ({}, {"Units": None}, "Units are absent"),
        ({}, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.130"}, "not a PET image"),
        ({}, {"PatientWeight": None}, "Patient's Weight is absent"),
        ({}, {"PatientWeight": "0"}, "Patient's Weight is 0"),
        ({}, {"PatientWeight": "70000"}, "Patient's Weight is 70000"),
        ({"RadionuclideTotalDose": "370"}, {}, "Total Dose is 370"),
        ({"RadionuclideTotalDose": None}, {}, "Total Dose is absent"),
        ({"RadionuclideHalfLife": None}, {}, "Half Life is absent"),
        ({"RadiopharmaceuticalStartTime": None}, {}, "Start Time cannot be read"),
        ({"RadiopharmaceuticalStartTime": "130500"}, {}, "has no date and fits none"),
        ({"RadiopharmaceuticalStartDateTime": "20260302120000"}, {}, "sensible time"),
        ({"RadiopharmaceuticalStartDateTime": "20260301120000+0100"}, {}, "time zone"),
        ({}, {"RadiopharmaceuticalInformationSequence": []}, "no radiopharmaceutical"),
        ({}, {"RadiopharmaceuticalInformationSequence": [Dataset()] * 2}, "more than one"),
        ({}, {"SeriesTime": "140000"}, "Series Time lies after"),
        ({}, {"SeriesTime": None}, "Series Date and Time cannot be read"),
        ({}, {"SeriesDate": "20260230"}, "Series Date and Time cannot be read"),
        ({}, {"DecayCorrection": None}, "Decay Correction is absent"),
        ({}, {"CorrectedImage": ["NORM", "DECY"]}, "attenuation"),
        ({}, {"CorrectedImage": ["NORM", "ATTN"]}, "DECY"),
        ({}, {"DecayCorrection": "NONE"}, "Frame Duration"),
    ],
)
def test_what_is_not_known_is_named(dose, attributes, words):
    assert words in _reason(_pet(dose, **attributes))


def test_every_slice_of_a_volume_has_the_factor_of_its_image(tmp_path):
    files = {}
    for number, weight in ((1, "70"), (2, "35")):
        dataset = _pet(PatientWeight=weight, SOPInstanceUID=f"2.25.{number}")
        files[f"2.25.{number}"] = store(dataset, tmp_path)
    sources = tuple(
        SourceSlice(uid, PositronEmissionTomographyImageStorage, 1) for uid in sorted(files)
    )
    volume = in_suv(Volume(np.full((2, 3, 3), 1000, np.int16), np.eye(4), sources), files)
    assert volume.voxels.dtype == np.float32
    one = 1000 * _factor(_pet())
    np.testing.assert_allclose(volume.voxels[:, 0, 0], [one, one / 2], rtol=1e-6)
