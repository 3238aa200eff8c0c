"""The first-party models and headers: what is turned away before anybody looks at a pixel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from secondread.assembly.selection import plan
from secondread.assembly.series import read_study
from secondread.assembly.summary import summarize
from secondread.bundles.manifest import Manifest, read_manifest
from secondread.config.conditions import parse_conditions
from secondread.domain.network import Rule
from secondread.domain.states import StudyState
from secondread.domain.study import Study
from tests.slices import STUDY_UID, make_slice, store_all

MODELS = Path(__file__).resolve().parents[2] / "models"
THICK = ("brain_mr", "dementia_mr")
"""Those that take 24 slices of 5 mm; a hippocampus needs thinner ones."""
ALL = ("brain_mr", "hippocampus_mr", "dementia_mr", "chest_ct")
STUDY = Study(1, STUDY_UID, StudyState.ASSEMBLING, "one", 0.0, 0.0, 0.0, 0.0, 0, 0, "")
HEAD = {"BodyPartExamined": "HEAD", "PatientAge": "070Y", "PatientSex": "F"}
CT = {"Modality": "CT", "SOPClassUID": CTImageStorage, "RescaleSlope": "1", "RescaleIntercept": "0"}


def series(count: int = 24, step_mm: float = 5.0, **said: Any) -> list[Dataset]:
    """Axial slices of 64 x 64, 2 mm, of a head unless ``said`` says otherwise."""
    pixels = np.zeros((64, 64), np.int16)
    header = {"PixelSpacing": ["2", "2"], "SliceThickness": "5"} | HEAD | said
    return [make_slice(pixels, (0, 0, step_mm * at), at + 1, **header) for at in range(count)]


def without(gone: Callable[[int], bool]) -> list[Dataset]:
    """A head of which some slices are missing."""
    return [one for at, one in enumerate(series()) if not gone(at)]


# What it is → the images, the models that take them, and what the others say.
CASES: dict[str, tuple[Callable[[], list[Dataset]], tuple[str, ...], str]] = {
    "MR head, thin slices": (lambda: series(64, 2.0), (*THICK, "hippocampus_mr"), "CT"),
    "MR head": (series, THICK, "CT"),
    "MR brain": (lambda: series(BodyPartExamined="BRAIN"), THICK, "CT"),
    "MR abdomen": (lambda: series(BodyPartExamined="ABDOMEN"), (), "ABDOMEN"),
    "MR knee": (lambda: series(BodyPartExamined="KNEE"), (), "KNEE"),
    "MR T2": (lambda: series(EchoTime="90"), (), "[Ee]cho [Tt]ime|EchoTime"),
    "MR apparent diffusion": (
        lambda: series(ImageType=["DERIVED", "PRIMARY", "ADC"]),
        (),
        "ADC|DERIVED|derived",
    ),
    "MR localizer": (lambda: series(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), (), "local"),
    "MR three slices": (lambda: series(3, 5.0), (), "slices"),
    "MR slab": (lambda: series(22, 2.0), (), "mm"),
    "MR head, one slice missing": (lambda: without(lambda at: at == 12), (), "missing|even|gap"),
    "MR head, half of the slices missing here and there": (
        lambda: without(lambda at: at * 7919 % 13 < 6),
        (),
        "missing|even|gap|slices",
    ),
    "MR head, every second slice missing": (
        lambda: series(64, 2.0, SliceThickness="2")[::2],
        (),
        "SliceCoverage",
    ),
    "CT chest": (lambda: series(BodyPartExamined="CHEST", **CT), ("chest_ct",), "MR"),
    "CT head": (lambda: series(**CT), (), "HEAD|MR"),
    "CT brain, sharp kernel": (
        lambda: series(BodyPartExamined="BRAIN", ConvolutionKernel="H70h", **CT),
        (),
        "BRAIN|MR",
    ),
    "CT without body part, kernel for brain": (
        lambda: series(BodyPartExamined="", ConvolutionKernel="BRAIN", **CT),
        (),
        "ConvolutionKernel|[Kk]ernel|MR",
    ),
}


@pytest.fixture(scope="module")
def manifests() -> dict[str, Manifest]:
    return {name: read_manifest(MODELS / name) for name in ALL}


@pytest.fixture
def verdicts(
    manifests: dict[str, Manifest], tmp_path: Path
) -> Callable[[list[Dataset]], dict[str, str]]:
    """``verdicts(images)`` has for each model its refusal, empty where it takes them."""

    def judge(images: list[Dataset]) -> dict[str, str]:
        for at, image in enumerate(images):
            image.SOPInstanceUID = f"2.25.77{at:04}"
        instances = store_all(images, tmp_path)
        found = [summarize(one) for one in read_study(instances, tmp_path)]
        said = {}
        for name in ALL:
            always = parse_conditions([{"attribute": "Modality", "in": ["MR", "CT"]}])
            rule = Rule(name=name, model=name, destinations=("pacs",), when=always)
            (job,) = plan(STUDY, found, [rule], manifests).jobs
            said[name] = job.refusal
        return said

    return judge


@pytest.mark.parametrize("case", CASES)
def test_headers_that_do_not_fit_are_refused(
    case: str, verdicts: Callable[[list[Dataset]], dict[str, str]]
) -> None:
    make, takers, because = CASES[case]
    said = verdicts(make())
    assert {name for name in ALL if not said[name]} == set(takers)
    for name in set(ALL) - set(takers):
        assert said[name].endswith(".")
    assert any(re.search(because, sentence) for sentence in said.values())


def test_an_age_that_the_model_was_not_trained_on_is_refused(
    verdicts: Callable[[list[Dataset]], dict[str, str]],
) -> None:
    said = verdicts(series(PatientAge="003Y"))
    assert [name for name in THICK if said[name]] == ["dementia_mr"]
    assert "PatientAge" in said["dementia_mr"] or "age" in said["dementia_mr"].lower()
