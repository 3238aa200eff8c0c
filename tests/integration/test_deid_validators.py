"""An export adds no error that the verifier of another house did not find before."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from conformance.validators import ToolAbsentError, run_dciodvfy
from secondread.deid.export import Export, export
from secondread.deid.profile.keys import ProjectKey
from secondread.deid.profile.options import BASIC, RESEARCH
from secondread.deid.profile.risks import Overrides
from secondread.results.analysis import Analysis
from secondread.results.write import write_results
from tests.bench.objects import Maker
from tests.result_cases import make_case
from tests.slices import store

KEY = ProjectKey("validators", b"v" * 32)
OVERRIDES = Overrides(faces="a test", burned_in="a test")
PROFILES = pytest.mark.parametrize("profile", [BASIC, RESEARCH], ids=lambda each: each.name)
KINDS = ("ct", "mr", "seg", "sr", "sc", "pdf")


def errors(path):
    try:
        return Counter(each.message for each in run_dciodvfy(path) if each.severity == "error")
    except ToolAbsentError as absent:
        pytest.skip(str(absent))


def new_errors(path, folder, profile):
    """What the verifier finds after an export and did not find before."""
    export(Export([path], folder, profile, KEY, OVERRIDES))
    return list(errors(next(folder.rglob("*.dcm"))) - errors(path))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One object of each kind, with the node's own writers where it has them."""
    folder = tmp_path_factory.mktemp("made")
    case = make_case(folder / "series")
    results = [
        folder / item.path for item in write_results(case.context, Analysis(case.labels), folder)
    ]
    ct = folder / "ct.dcm"
    sample = next(Maker("CT").study(1))
    ct.write_bytes(sample.meta + sample.data)
    return {
        "ct": ct,
        "mr": case.paths[0],
        "seg": results[0],
        "sr": results[1],
        "sc": store(capture(), folder),
        "pdf": store(document(), folder),
    }


def patient():
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "12345"
    dataset.PatientBirthDate, dataset.PatientSex = "19500101", "F"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20240102", "101112", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "A1", "Roe^Rick"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.Manufacturer, dataset.ConversionType = "Phantom Works", "WSD"
    dataset.PatientOrientation, dataset.Laterality = "", ""
    return dataset


def capture():
    dataset = patient()
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.7", "OT"
    dataset.BurnedInAnnotation = "NO"
    dataset.Rows = dataset.Columns = 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.add_new("PixelData", "OB", bytes(64))
    return dataset


def document():
    dataset = patient()
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.104.1", "DOC"
    dataset.ContentDate, dataset.ContentTime = "20240102", "101112"
    dataset.AcquisitionDateTime, dataset.BurnedInAnnotation = "20240102101112", "YES"
    dataset.DocumentTitle, dataset.ConceptNameCodeSequence = "Letter on Jane Doe", []
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.add_new("EncapsulatedDocument", "OB", b"%PDF-1.4 Jane Doe ")
    return dataset


@PROFILES
@pytest.mark.parametrize("kind", KINDS)
def test_made_objects(made, tmp_path, kind, profile):
    assert new_errors(made[kind], tmp_path / "out", profile) == []


REAL = (
    "ct_chest_philips16_lungdx_a0001",
    "ct_head_phantom_gantry_tilt",
    "mr_t1_siemens_skyra_child",
    "mr_ood_fruit_ge_hdxt",
    "deid_pseudo_phi",
)


@PROFILES
@pytest.mark.parametrize("name", REAL)
@pytest.mark.filterwarnings("ignore")
def test_real_objects(shared_data, tmp_path, name, profile):
    found = {}
    for path in sorted(shared_data(name).rglob("*")):
        if path.is_file() and (headers := read(path)):
            series = headers.get("SeriesInstanceUID")
            kind = (headers.SOPClassUID, series if len(found) < 4 else "")
            found.setdefault(kind, path)
    assert found
    for number, path in enumerate(list(found.values())[:6]):
        assert new_errors(path, tmp_path / str(number), profile) == [], path.name


def read(path):
    """The headers of a stored object, or None."""
    try:
        headers = pydicom.dcmread(path, stop_before_pixels=True)
    except pydicom.errors.InvalidDicomError:
        return None
    return headers if "SOPClassUID" in headers else None


def test_the_verifier_sees_what_an_export_could_break(made, tmp_path):
    broken = pydicom.dcmread(made["ct"])
    del broken.ImageOrientationPatient
    broken.save_as(tmp_path / "broken.dcm")
    assert errors(tmp_path / "broken.dcm") - errors(made["ct"])


def test_pixels_of_made_images_are_equal_to_the_bit(made, tmp_path):
    for kind in ("ct", "mr", "seg", "sc"):
        export(Export([made[kind]], tmp_path / kind, RESEARCH, KEY, OVERRIDES))
        before = pydicom.dcmread(made[kind])
        after = pydicom.dcmread(next((tmp_path / kind).rglob("*.dcm")))
        assert np.array_equal(before.pixel_array, after.pixel_array), kind
