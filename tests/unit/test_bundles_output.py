"""``[output]`` and ``[[labels]]`` of a manifest: what is read, and every way to get it wrong."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from secondread.bundles.manifest import Label, Manifest, read_manifest
from secondread.bundles.output import STATISTICS, USUAL_STATISTICS, Output, read_output
from secondread.domain.answer import Declared
from secondread.domain.code import Code
from secondread.errors import ManifestError

MODELS = Path(__file__).resolve().parents[1] / "models"
TEXT = (MODELS / "rich_head" / "model.toml").read_text(encoding="utf-8")


def read(folder: Path, *changes: tuple[str, str]) -> Manifest:
    """The richest manifest of the tests, changed."""
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "model.toml").write_text(text, encoding="utf-8")
    return read_manifest(folder)


def test_everything_is_read(tmp_path: Path) -> None:
    manifest = read(tmp_path)
    output = manifest.output
    assert output.probabilities
    assert output.statistics[:2] == ("volume", "mean")
    pieces, extent = output.numbers
    assert (pieces.id, pieces.label, pieces.low, pieces.high) == ("brain_pieces", "brain", 1, 2)
    assert pieces.name == Code("246205007", "SCT", "Quantity")
    assert pieces.unit.scheme == "UCUM"
    assert pieces.meanings == {"zh": "数量"}
    assert (extent.low, extent.high, extent.meanings) == (None, None, {})
    (seen,) = output.findings
    assert seen.values["absent"] == Code("272519000", "SCT", "Absent")
    assert [(place.id, place.kind) for place in output.places] == [("thalamus_middle", "point")]
    assert [(one.id, one.low, one.high) for one in output.maps] == [("smooth", 0.0, 1000.0)]
    assert manifest.declared == Declared(
        probabilities=2,
        maps=("smooth",),
        numbers=("brain_pieces", "thalamus_extent"),
        findings={"thalamus_seen": ("present", "absent")},
        places={"thalamus_middle": "point"},
    )


def test_labels_have_regions_references_and_meanings(tmp_path: Path) -> None:
    part = '[["255549009", "SCT", "Anterior"], ["261183002", "SCT", "Upper"]]'
    manifest = read(
        tmp_path,
        (
            'region = ["12738006", "SCT", "Brain"]',
            f'region = ["12738006", "SCT", "Brain"]\ntype_modifiers = {part}\n'
            'region_modifiers = [["7771000", "SCT", "Left"]]',
        ),
    )
    brain, thalamus = manifest.labels
    assert brain.reference_ml == (50.0, 2000.0)
    assert (brain.region, brain.type_modifiers, brain.meanings) == (None, (), {"zh": "脑"})
    assert thalamus.region == Code("12738006", "SCT", "Brain")
    assert [one.meaning for one in thalamus.type_modifiers] == ["Anterior", "Upper"]
    assert [one.meaning for one in thalamus.region_modifiers] == ["Left"]


def test_a_manifest_without_it_answers_a_label_map() -> None:
    manifest = read_manifest(MODELS / "bright_head")
    assert manifest.declared == Declared()
    assert manifest.output.statistics == USUAL_STATISTICS
    assert set(USUAL_STATISTICS) < set(STATISTICS)


def without_labels(text: str) -> str:
    text = text[: text.index("[[labels]]")].replace("probabilities = true", "")
    return re.sub('label = "[a-z_]+"', "", text)


def test_a_model_may_have_no_labels(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(without_labels(TEXT), encoding="utf-8")
    manifest = read_manifest(tmp_path)
    assert manifest.labels == ()
    assert manifest.declared.numbers == ("brain_pieces", "thalamus_extent")


def test_a_model_that_answers_nothing(tmp_path: Path) -> None:
    text = without_labels(TEXT)
    text = text[: text.index("[output]")]
    (tmp_path / "model.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match="has nothing to answer"):
        read_manifest(tmp_path)


PIECES = 'id = "brain_pieces"\nname = '
SEEN = 'id = "thalamus_seen"\nname'
MIDDLE = 'id = "thalamus_middle"\nname = ["111010", "DCM", "Center"]\nkind = "point"'
UNIT = 'unit = ["{pieces}", "UCUM", "pieces"]'


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("probabilities = true", "probability = true", "[output] of * has unknown keys: prob"),
        ("probabilities = true", 'probabilities = "yes"', "[output] of * neither true nor false"),
        ('"volume", "mean"', '"size"', "[output] of * asks for the statistics size, which"),
        ('["volume", "mean"', '[1, "mean"', "[output] of * has statistics that are no list"),
        (PIECES, "name = ", "[[output.numbers]] 1 of * lacks the key 'id'"),
        (PIECES, 'id = "Brain"\nname = ', "[[output.numbers]] 1 of * has the id 'Brain'"),
        (PIECES, f"colour = 3\n{PIECES}", "[[output.numbers]] 1 of * unknown keys: colour"),
        (UNIT, 'unit = ["mm", "SCT", "mm"]', "[[output.numbers]] 1 of * has to be of UCUM"),
        (
            UNIT,
            'unit = "mm"',
            "[[output.numbers]] 1 of * that is not [value, scheme",
        ),
        (UNIT, 'unit = ["mm", "UCUM", ""]', "[[output.numbers]] 1 of * has a unit that is no text"),
        (UNIT, f'unit = ["{"m" * 17}", "UCUM", "x"]', "[[output.numbers]] 1 of * cannot hold"),
        (UNIT, "", "[[output.numbers]] 1 of * lacks the key 'unit'"),
        ("low = 1\n", "low = 2\n", "[[output.numbers]] 1 of * low end of 2 that is not below"),
        ("low = 1\n", "low = nan\n", "[[output.numbers]] 1 of * low that is no finite number"),
        ("low = 1\n", "low = true\n", "[[output.numbers]] 1 of * low that is no finite number"),
        ('label = "brain"', 'label = "liver"', "[[output.numbers]] 1 of * about the label 'liver'"),
        ('{ zh = "数量" }', '{ zh = "" }', "[[output.numbers]] 1 of * meanings.zh that is no text"),
        ('{ zh = "数量" }', '{ z = "x" }', "[[output.numbers]] 1 of * no language (RFC 5646)"),
        ('{ zh = "数量" }', '"数量"', "[[output.numbers]] 1 of * no table of languages"),
        (
            'id = "thalamus_extent"\nname',
            'id = "brain_pieces"\nname',
            "[[output.numbers]] 2 of * has the id 'brain_pieces' of another one",
        ),
        (SEEN, 'value = "x"\n' + SEEN, "[[output.findings]] 1 of * unknown keys: value"),
        (
            'present = ["52101004", "SCT", "Present"]',
            'present = "yes"',
            "s]] 1 of * values.present",
        ),
        (
            '[output.findings.values]\npresent = ["52101004", "SCT", "Present"]\n'
            'absent = ["272519000", "SCT", "Absent"]',
            "[output.findings.values]",
            "[[output.findings]] 1 of * no table of names and codes",
        ),
        (MIDDLE, MIDDLE.replace('"point"', '"circle"'), "[[output.places]] 1 of * kind 'circle'"),
        (MIDDLE, MIDDLE.replace('kind = "point"', ""), "[[output.places]] 1 of * key 'kind'"),
        ("low = 0\n", "", "[[output.maps]] 1 of * lacks the key 'low'"),
        ("high = 1000", "high = inf", "[[output.maps]] 1 of * high that is no finite number"),
        ("high = 1000", "high = 0", "[[output.maps]] 1 of * is not below its high end of 0"),
        ("reference_ml = [50, 2000]", "reference_ml = [50]", "[[labels]] 1 of * not [low, high]"),
        ("reference_ml = [50, 2000]", "reference_ml = [9, 5]", "[[labels]] 1 of * not below"),
        ("reference_ml", "reference_cm3", "[[labels]] 1 of * unknown keys: reference_cm3"),
        ('region = ["12738006", ', "region = [", "[[labels]] 2 of * not [value, scheme, meaning]"),
        ('laterality = "left"', 'laterality = "middle"', "[[labels]] 2 of * laterality 'middle'"),
        ("[0, 118, 14]", "[0, 118, 256]", "[[labels]] 2 of * color_rgb that is not"),
        ("value = 2", 'value = "2"', "[[labels]] 2 of * value that is no whole number"),
        (
            'name = "brain"',
            'name = "left_thalamus"',
            "[[labels]] 2 of * the name 'left_th",
        ),
        ("value = 2", "value = 3", "must be numbered 1, 2, 3"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, (old, new))
    said = str(caught.value)
    assert (said.endswith(".") and "model.toml" in said) or "numbered" in said
    at = 0
    for part in sentence.split("*"):
        assert part in said[at:], said
        at = said.index(part, at) + len(part)


def test_probabilities_need_labels(tmp_path: Path) -> None:
    text = without_labels(TEXT).replace("[output]\n", "[output]\nprobabilities = true\n")
    (tmp_path / "model.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match="promises probabilities, but the model has no labels"):
        read_manifest(tmp_path)


def test_modifiers_need_a_region(tmp_path: Path) -> None:
    new = 'region_modifiers = [["7771000", "SCT", "Left"]]'
    with pytest.raises(ManifestError, match="has region_modifiers but no region"):
        read(tmp_path, ('region = ["12738006", "SCT", "Brain"]', new))


def test_the_example_of_the_documentation_is_sound() -> None:
    text = (MODELS.parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = [part for part in re.findall(r"```toml\n(.*?)```", text, re.S) if "[output]" in part]
    (example,) = (tomllib.loads(block)["output"] for block in blocks)
    output = read_output(example, ["haematoma"])
    assert [one.id for one in (*output.numbers, *output.findings)] == ["haematomas", "bleeding"]
    assert output.places and output.maps and output.probabilities


def test_every_statistic_and_key_is_in_the_documentation() -> None:
    text = (MODELS.parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    names = (*STATISTICS, *(one.name for kind in (Output, Label) for one in fields(kind)))
    assert [name for name in names if f"`{name}`" not in text] == []
