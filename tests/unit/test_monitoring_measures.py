"""The numbers of a study, the coded protocol, and the name of a scanner."""

from __future__ import annotations

import numpy as np
import pytest

from secondread.deid.scanners import scanner_of
from secondread.domain.answer import AnsweredFinding, AnsweredNumber, ModelAnswer
from secondread.monitoring.measures import (
    answer_measures,
    check_measures,
    intensity_measures,
    volume_measures,
)
from secondread.monitoring.technique import header_measures, protocol_of

SECRET = b"s" * 32


def test_intensity_of_a_small_volume_is_that_of_every_voxel() -> None:
    voxels = np.arange(-10, 50, dtype=np.int16).reshape(3, 4, 5)
    found = intensity_measures(voxels)
    assert found["intensity_mean"] == pytest.approx(voxels.mean())
    assert found["intensity_sd"] == pytest.approx(voxels.std())
    assert found["intensity_zero_share"] == pytest.approx(1 / 60)
    assert found["intensity_p50"] == pytest.approx(np.median(voxels))


def test_intensity_of_a_large_volume_is_nearly_that_of_every_voxel() -> None:
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 500, 120)[:, None, None]
    voxels = (rng.normal(100, 20, (120, 160, 160)) + ramp).astype(np.float32)
    found = intensity_measures(voxels)
    assert found["intensity_mean"] == pytest.approx(voxels.mean(), rel=0.02)
    assert found["intensity_p99"] == pytest.approx(np.percentile(voxels, 99), rel=0.02)


def test_what_is_not_finite_is_left_out() -> None:
    voxels = np.array([[[np.nan, 1.0, np.inf]]], np.float32)
    assert intensity_measures(voxels)["intensity_mean"] == 1.0
    assert intensity_measures(np.full((2, 2, 2), np.nan, np.float32)) == {}
    assert intensity_measures(np.empty((0, 2, 2), np.int16)) == {}


def test_volumes_are_voxels_times_their_size_whichever_way_the_axes_run() -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[:2], labels[3, 0, 0] = 1, 7
    affine = np.array([[0, 0, -2.0, 9], [0, 3.0, 0, 9], [5.0, 0, 0, 9], [0, 0, 0, 1]])
    found = volume_measures(labels, affine.tolist(), {1: "Brain", 2: "Cyst", 7: "Mark"})
    assert found == pytest.approx(
        {"volume_ml.Brain": 1.8, "volume_ml.Cyst": 0.0, "volume_ml.Mark": 0.03}
    )


def test_numbers_probabilities_and_checks_have_names_of_their_own() -> None:
    answer = ModelAnswer(
        (AnsweredNumber("index", 0.5),),
        (AnsweredFinding("bleed", "yes", 0.9), AnsweredFinding("other", "no")),
    )
    assert answer_measures(answer) == {"number.index": 0.5, "probability.bleed": 0.9}
    checks = [("distance", 3.0, 0.0, 2.0, False), ("brain", 1400.0, 500.0, 2500.0, True)]
    assert check_measures(checks) == {
        "checks_passed": 1.0,
        "checks_failed": 1.0,
        "check.distance": 3.0,
        "check.brain": 1400.0,
    }


def test_a_protocol_is_coded_words() -> None:
    magnetic = {
        "Modality": "MR",
        "ScanningSequence": ("GR", "IR"),
        "MRAcquisitionType": "3D",
        "MagneticFieldStrength": 2.89,
        "EchoTime": 2.5,
        "ContrastGiven": False,
        "SliceThickness": 1.0,
    }
    assert protocol_of(magnetic) == "MR, GR/IR 3D, 3 T, short TE, no contrast agent, up to 1 mm"
    tomogram = {
        "Modality": "CT",
        "ConvolutionKernel": "B30F",
        "KVP": 118,
        "ContrastGiven": True,
        "SliceThickness": 1.25,
    }
    assert protocol_of(tomogram) == "CT, kernel B30F, 120 kV, contrast agent, 1 to 1.5 mm"
    assert protocol_of({}) == "unknown modality, no contrast agent, thickness unknown"


def test_of_an_age_only_its_decade_is_kept() -> None:
    found = header_measures({"PatientAge": 47, "KVP": 120, "ContrastGiven": True})
    assert found == {"age_band_years": 40.0, "kvp_kv": 120.0}


@pytest.mark.parametrize(
    ("maker", "model", "name"),
    [
        ("SIEMENS", "MAGNETOM Skyra", "Siemens MAGNETOM SKYRA"),
        ("Siemens Healthineers", "Prisma_fit", "Siemens PRISMA FIT"),
        ("GE MEDICAL SYSTEMS", "DISCOVERY MR750w", "GE DISCOVERY MR750W"),
        ("Philips", "Brilliance 64", "Philips BRILLIANCE 64"),
        ("Philips Medical Systems", "Ingenia Jane Doe 19610312", "Philips INGENIA"),
        ("Canon Medical", "", "Canon"),
        ("", "", "unknown scanner"),
    ],
)
def test_a_scanner_is_called_by_words_that_are_known(maker: str, model: str, name: str) -> None:
    assert scanner_of([maker], [model] if model else [], SECRET) == name


def test_a_model_that_is_not_known_has_a_mark_that_leads_nowhere() -> None:
    first, second = (scanner_of(["GE"], [name], SECRET) for name in ("Doe Jane", "Doe John"))
    assert first != second
    assert "DOE" not in first.upper()
    assert scanner_of(["GE"], ["Doe Jane"], b"t" * 32) != first
