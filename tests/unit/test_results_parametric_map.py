"""Parametric maps: ours, read by others, and those of others, read by us."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
from highdicom.content import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.sr.codedict import codes

from conformance.validators import run_dciodvfy, without_quirks
from secondread.bundles.output import DeclaredMap, Output
from secondread.domain.code import Code
from secondread.domain.form import Form, SegmentationKind
from secondread.errors import ResultError
from secondread.results.analysis import Analysis
from secondread.results.companions.parametric_map import make_parametric_maps
from secondread.results.made import Made
from secondread.results.reading.parametric_map import read_parametric_map
from secondread.results.write import write_results
from tests.matrix_cases import PLANES, SIZE, SOURCES, make_matrix_case
from tests.reading_cases import affine_of, check_same
from tests.result_cases import make_case

NOTHING = Made((), (), ())
DIFFUSION = DeclaredMap(
    "adc",
    Code("113041", "DCM", "Apparent Diffusion Coefficient"),
    Code("um2/s", "UCUM", "um2/s"),
    0.0,
    0.25,
)
PERFUSION = DeclaredMap(
    "blood_flow",
    Code("126390", "DCM", "Regional Blood Flow"),
    Code("mL/min/g", "UCUM", "mL/min/g"),
    -2.0,
    6.0,
)


def make_values(size, seed=0):
    return np.random.default_rng(seed).normal(0, 3, size).astype(np.float32)


def written(context, maps, folder):
    """The paths of the maps of a job."""
    manifest = replace(context.manifest, output=Output(maps=(DIFFUSION, PERFUSION)))
    labels = np.zeros(context.analysed.voxels.shape, np.uint8)
    documents = make_parametric_maps(
        replace(context, manifest=manifest), Analysis(labels, maps=maps), NOTHING
    )
    paths = []
    for document in documents:
        paths.append(folder / f"{document.name}.dcm")
        with paths[-1].open("wb") as file:
            document.write(file)
    return paths


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("source", SOURCES)
def test_a_map_is_valid_and_lies_where_the_source_does(source, plane, tmp_path):
    case = make_matrix_case(tmp_path / "series", source, plane, SegmentationKind.BINARY, 1)
    values = make_values(SIZE)
    (path,) = written(case.context, {"adc": values}, tmp_path)
    assert path.name == "pm.dcm"
    found = read_parametric_map(path)
    volume = case.context.analysed
    assert (found.values == values).all()
    assert np.allclose(found.affine_lps, volume.affine_lps, atol=1e-3)
    assert (found.quantity, found.unit) == (DIFFUSION.name, DIFFUSION.unit)
    is_enhanced = len(case.context.sources) == 1
    for frame, place in zip(found.frames, found.places, strict=True):
        (image,) = frame.sources
        origin = volume.sources[place]
        assert image.sop_instance_uid == origin.sop_instance_uid
        assert image.frame == (origin.frame if is_enhanced else 0)
    assert not [one for one in without_quirks(run_dciodvfy(path)) if one.severity == "error"]


def test_highdicom_reads_the_same_values(tmp_path):
    case = make_case(tmp_path / "series", "oblique")
    values = make_values(case.labels.shape)
    (path,) = written(case.context, {"adc": values}, tmp_path)
    found = highdicom.imread(path).get_volume()
    check_same(values, case.context.analysed.affine_lps, found.array, found.affine)


def test_dcmqi_reads_the_same_values(tmp_path, installed_program):
    program = installed_program("paramap2itkimage", "dcmqi")
    # It reads none without an anatomic region.
    case = make_case(tmp_path / "series", "oblique", body_part="BRAIN")
    values = make_values(case.labels.shape)
    (path,) = written(case.context, {"adc": values}, tmp_path)
    command = [program, "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    image = SimpleITK.ReadImage(str(tmp_path / "pmap.nrrd"))
    theirs = SimpleITK.GetArrayFromImage(image)
    check_same(values, case.context.analysed.affine_lps, theirs, affine_of(image))


def test_each_map_is_an_object_of_one_series_with_its_own_window(tmp_path):
    case = make_case(tmp_path / "series")
    size = case.labels.shape
    maps = {"blood_flow": make_values(size, 1), "adc": make_values(size, 2)}
    paths = written(case.context, maps, tmp_path)
    assert [path.name for path in paths] == ["pm-adc.dcm", "pm-blood_flow.dcm"]
    first, second = map(pydicom.dcmread, paths)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    assert (first.ContentLabel, second.ContentLabel) == ("ADC", "BLOOD_FLOW")
    window = second.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == (2.0, 8.0)
    assert window.VOILUTFunction == "LINEAR_EXACT"
    assert (read_parametric_map(paths[1]).values == maps["blood_flow"]).all()


def test_decimal_strings_of_the_source_are_kept(tmp_path):
    case = make_case(tmp_path / "series", "oblique")
    (path,) = written(case.context, {"adc": make_values(case.labels.shape)}, tmp_path)
    found, source = pydicom.dcmread(path), case.context.reference
    shared = found.SharedFunctionalGroupsSequence[0]
    for ours, theirs in (
        (shared.PlaneOrientationSequence[0].ImageOrientationPatient, "ImageOrientationPatient"),
        (shared.PixelMeasuresSequence[0].PixelSpacing, "PixelSpacing"),
        (
            found.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient,
            "ImagePositionPatient",
        ),
    ):
        assert [str(value) for value in ours] == [str(value) for value in source[theirs].value]


def test_a_map_that_is_not_asked_for_or_not_given_is_not_made(tmp_path):
    case = make_case(tmp_path / "series")
    values = make_values(case.labels.shape)
    assert written(case.context, {}, tmp_path) == []
    context = replace(case.context, form=Form(parametric_maps=False))
    assert written(context, {"adc": values}, tmp_path) == []


@pytest.mark.parametrize("fault", ["shape", "type", "not a number", "infinite"])
def test_a_map_that_cannot_be_is_refused_in_a_sentence(fault, tmp_path):
    case = make_case(tmp_path / "series")
    values = make_values(case.labels.shape)
    if fault == "shape":
        values = values[1:]
    elif fault == "type":
        values = values.astype(np.float64)
    else:
        values[3, 2, 1] = np.nan if fault == "not a number" else np.inf
    with pytest.raises(ResultError, match="The map 'adc'"):
        written(case.context, {"adc": values}, tmp_path)


def test_it_goes_with_the_other_results_through_the_gate(tmp_path):
    case = make_case(tmp_path / "series")
    manifest = replace(case.context.manifest, output=Output(maps=(DIFFUSION,)))
    analysis = Analysis(case.labels, maps={"adc": make_values(case.labels.shape)})
    written = write_results(replace(case.context, manifest=manifest), analysis, tmp_path)
    assert [Path(one.path).name for one in written].count("pm.dcm") == 1


def test_twice_are_the_same_bytes(tmp_path):
    case = make_case(tmp_path / "series")
    maps = {"adc": make_values(case.labels.shape)}
    first = written(case.context, maps, tmp_path)[0].read_bytes()
    assert written(case.context, maps, tmp_path)[0].read_bytes() == first


METADATA = {
    "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/pm-schema.json#",
    "SeriesDescription": "Map",
    "SeriesNumber": "701",
    "InstanceNumber": "1",
    "BodyPartExamined": "PROSTATE",
    "QuantityValueCode": {
        "CodeValue": "113041",
        "CodingSchemeDesignator": "DCM",
        "CodeMeaning": "Apparent Diffusion Coefficient",
    },
    "MeasurementUnitsCode": {
        "CodeValue": "um2/s",
        "CodingSchemeDesignator": "UCUM",
        "CodeMeaning": "um2/s",
    },
    "DerivedPixelContrast": "ADC",
    "FrameLaterality": "U",
    "RealWorldValueSlope": 1,
    "AnatomicRegionSequence": {
        "CodeValue": "T-9200B",
        "CodingSchemeDesignator": "SRT",
        "CodeMeaning": "Prostate",
    },
    "DerivationCode": {
        "CodeValue": "110816",
        "CodingSchemeDesignator": "DCM",
        "CodeMeaning": "Time series",
    },
}


@pytest.mark.parametrize("name", ["pm-example", "pm-example-float", "pm-example-3slices-256x256"])
def test_what_dcmqi_makes_of_an_image_is_read_as_that_image(
    name, shared_data, tmp_path, installed_program
):
    folder = shared_data("seg_sr_objects") / "dcmqi" / "paramaps"
    program = installed_program("itkimage2paramap", "dcmqi")
    (tmp_path / "metadata.json").write_text(json.dumps(METADATA))
    image_path = folder / f"{name}.nrrd"
    command = [program, "--inputImage", image_path, "--outputDICOM", tmp_path / "pm.dcm"]
    command += ["--inputDICOMList", folder / "pm-example-slice.dcm"]
    command += ["--inputMetadata", tmp_path / "metadata.json"]
    subprocess.run(command, check=True, capture_output=True)
    found = read_parametric_map(tmp_path / "pm.dcm")
    image = SimpleITK.ReadImage(str(image_path))
    assert (found.values == SimpleITK.GetArrayFromImage(image)).all()
    assert np.allclose(found.affine_lps[:3, 3], image.GetOrigin(), atol=1e-4)
    spacing = np.linalg.norm(found.affine_lps[:3, :3], axis=0)
    assert np.allclose(spacing[::-1], image.GetSpacing(), atol=1e-4)
    assert (found.quantity.value, found.unit.value) == ("113041", "um2/s")


def by_highdicom(folder, pixels, mappings):
    """A parametric map of another writer."""
    case = make_case(folder / "series", size=pixels.shape)
    made = ParametricMap(
        source_images=[pydicom.dcmread(path) for path in case.paths],
        pixel_array=pixels,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=mappings,
        voi_lut_transformations=[VOILUTTransformation(window_center=0, window_width=1)],
    )
    made.save_as(folder / "other.dcm")
    return folder / "other.dcm", case


def mapping(**line):
    return RealWorldValueMapping(
        "1", "test", codes.UCUM.Millimeter, quantity_definition=codes.SCT.Diameter, **line
    )


def test_integers_become_values_by_a_line_and_those_beyond_it_none(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 4000, (5, 16, 20)).astype(np.uint16)
    line = mapping(slope=0.5, intercept=-10.0, value_range=(100, 3900))
    path, case = by_highdicom(tmp_path, pixels, [line])
    found = read_parametric_map(path)
    is_mapped = (pixels >= 100) & (pixels <= 3900)
    assert np.allclose(found.values[is_mapped], pixels[is_mapped] * 0.5 - 10)
    assert (np.isnan(found.values) == ~is_mapped).all()
    assert np.allclose(found.affine_lps, case.context.analysed.affine_lps, atol=1e-4)
    assert found.unit.value == "mm"


def test_integers_become_values_by_a_table(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 9, (5, 16, 20)).astype(np.uint8)
    table = [number**2 / 10 for number in range(9)]
    path, _ = by_highdicom(tmp_path, pixels, [mapping(lut_data=table, value_range=(0, 8))])
    assert np.allclose(read_parametric_map(path).values, np.array(table)[pixels])


def test_doubles_stay_doubles(tmp_path):
    pixels = np.random.default_rng(3).normal(size=(5, 16, 20))
    line = mapping(slope=1.0, intercept=0.0, value_range=(-100.0, 100.0))
    path, _ = by_highdicom(tmp_path, pixels, [line])
    found = read_parametric_map(path).values
    assert found.dtype == np.float64
    assert (found == pixels).all()


FAULTS = {
    "a segmentation": (
        lambda found: setattr(found, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.66.4"),
        "no parametric map but of the class Segmentation Storage",
    ),
    "no meaning": (
        lambda found: delattr(
            found.SharedFunctionalGroupsSequence[0], "RealWorldValueMappingSequence"
        ),
        "what its numbers mean",
    ),
    "fewer frames": (lambda found: setattr(found, "NumberOfFrames", 3), "has 3 frames"),
    "no pixels": (lambda found: delattr(found, "FloatPixelData"), "holds no pixels"),
    "few pixels": (
        lambda found: setattr(found, "FloatPixelData", found.FloatPixelData[:-40]),
        "cut short",
    ),
    "two quantities": (
        lambda found: setattr(
            found.PerFrameFunctionalGroupsSequence[2],
            "RealWorldValueMappingSequence",
            [pydicom.Dataset()],
        ),
        "several quantities",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_map_is_said_in_a_sentence(fault, tmp_path):
    change, sentence = FAULTS[fault]
    case = make_case(tmp_path / "series")
    (path,) = written(case.context, {"adc": make_values(case.labels.shape)}, tmp_path)
    found = pydicom.dcmread(path)
    change(found)
    found.save_as(path)
    with pytest.raises(ResultError, match=sentence):
        read_parametric_map(path)
