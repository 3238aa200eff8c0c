"""[input] of model.toml: what a model says it accepts, and what is wrong with a manifest."""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from secondread.bundles.input import InputEnvelope, read_input
from secondread.bundles.manifest import read_manifest
from secondread.domain.condition import AttributeTest, Not
from secondread.errors import ManifestError

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "bright_head"
LEAST = """
modality = ["mr"]
min_slices = 5
max_slices = 100
min_spacing_mm = 0.5
max_spacing_mm = 5
"""


def envelope(text=""):
    return read_input(tomllib.loads(f"{LEAST}{text}"))


def test_what_is_not_said_asks_for_nothing():
    found = envelope()
    assert (found.modality, found.body_part, found.plane) == (("MR",), (), ())
    assert (found.required, found.preferred, found.forbidden) == ((), (), ())
    assert (found.gantry_tilt, found.allow_derived) == ("refuse", False)
    assert (found.min_extent_mm, found.forbidden_image_types) == (0.0, ())


def test_everything_that_can_be_said():
    found = envelope(
        """
        body_part = ["Head"]
        plane = "axial"
        gantry_tilt = "resample"
        allow_derived = true

        [[required]]
        attribute = "SliceThickness"
        from = 0.5
        to = 1.5

        [[required]]
        not = { attribute = "ConvolutionKernel", matches = "(?i)bone" }

        [[preferred]]
        attribute = "ContrastBolusAgent"
        present = false

        [[forbidden]]
        attribute = "Manufacturer"
        in = ["Nobody"]
        """
    )
    assert (found.body_part, found.plane) == (("HEAD",), ("axial",))
    assert (found.gantry_tilt, found.allow_derived) == ("resample", True)
    thickness, kernel = found.required
    assert (thickness.keyword, thickness.low, thickness.high) == ("SliceThickness", 0.5, 1.5)
    assert isinstance(kernel, Not)
    assert found.preferred == (AttributeTest("ContrastBolusAgent", present=False),)
    assert isinstance(found.forbidden[0], AttributeTest)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minimum_slices = 3", "unknown keys: minimum_slices"),
        ('plane = "transverse"', "plane is one or several of axial"),
        ("plane = [1]", "plane is one or several of axial"),
        ('gantry_tilt = "yes"', "gantry_tilt is 'refuse' or 'resample'"),
        ('allow_derived = "no"', "allow_derived is true or false"),
        ('body_part = "HEAD"', "body_part is a list of texts"),
        ('required = [{ attribute = "EchoTyme", is = 3 }]', r"\[\[input.required\]\]: "),
        ('preferred = [{ attribute = "EchoTime", is = "long" }]', r"\[\[input.preferred\]\]: "),
        ('forbidden = [{ peer = ["ct1"] }]', r"\[\[input.forbidden\]\]: "),
        ('required = { attribute = "EchoTime", is = 3 }', r"\[\[input.required\]\]: "),
    ],
)
def test_what_cannot_be_meant_is_a_fault(text, words):
    with pytest.raises((TypeError, ValueError), match=words):
        envelope(text)


def test_a_fault_in_the_input_is_one_of_the_manifest(tmp_path):
    folder = tmp_path / "bright_head"
    shutil.copytree(SAMPLE, folder)
    manifest = folder / "model.toml"
    text = manifest.read_text()
    manifest.write_text(text.replace("[input]", '[input]\nplane = "flat"'))
    with pytest.raises(ManifestError, match=r"model\.toml'.*plane is one or several of"):
        read_manifest(folder)
    manifest.write_text(text.replace("[input]", "[input]\nrequire = []"))
    with pytest.raises(ManifestError, match=r"\[input\] has unknown keys: require"):
        read_manifest(folder)


def test_the_documentation_names_every_key_and_its_example_is_a_manifest():
    text = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    for field in fields(InputEnvelope):
        assert f"`{field.name}`" in text or f"`[[input.{field.name}]]`" in text, field.name
    examples = map(tomllib.loads, re.findall(r"```toml\n(.*?)```", text, re.DOTALL))
    (example,) = (found for found in examples if "input" in found)
    found = read_input(example["input"])
    assert len(found.required) == len(found.forbidden) == 1
    assert [condition.keyword for condition in found.preferred] == [
        "ContrastBolusAgent",
        "SliceThickness",
    ]


def test_uptake_is_asked_for_by_models_of_pet_alone():
    with pytest.raises(ValueError, match="which PT alone has"):
        envelope('units = "SUVbw"')
    pet = LEAST.replace('"mr"', '"pt"')
    assert read_input(tomllib.loads(f'{pet}units = "SUVbw"')).units == "SUVbw"
    with pytest.raises(ValueError, match="'modality' or 'SUVbw'"):
        envelope('units = "SUV"')


def test_what_a_model_is_told_besides_the_image():
    assert (envelope().attributes, envelope().form) == ((), "array")
    found = envelope('attributes = ["PatientAge", "ContrastGiven", "PatientAge"]\nform = "dicom"')
    assert (found.attributes, found.form) == (("PatientAge", "ContrastGiven"), "dicom")


@pytest.mark.parametrize(
    "name", ["StudyDescription", "PatientName", "SOPClassUID", "ContrastBolusAgent", "patientage"]
)
def test_what_no_model_is_told_cannot_be_asked_for(name):
    with pytest.raises(ValueError, match=f"asks for {name}, which no model is told.*PatientAge"):
        envelope(f'attributes = ["PatientSex", "{name}"]')


def test_files_are_asked_for_by_models_of_ct_and_mr_alone():
    with pytest.raises(ValueError, match="'array' or 'dicom'"):
        envelope('form = "nifti"')
    other = LEAST.replace('"mr"', '"mr", "pt"')
    with pytest.raises(ValueError, match="takes CT and MR only"):
        read_input(tomllib.loads(f'{other}form = "dicom"'))
    with pytest.raises(TypeError, match="attributes is a list of texts"):
        envelope('attributes = "PatientAge"')
