"""Rules that challenge others, and models under a name of the operator's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from secondread.bundles.registry import load_models
from secondread.config.checks import remarks
from secondread.config.load import examine, load
from secondread.errors import ManifestError
from tests.house import MODEL

TABLES = """\
[[models]]
id = "bright_head"
path = "first"
[[models]]
id = "next"
package = "bright_head"
path = "second"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104
[[rules]]
name = "heads"
model = "bright_head"
destinations = ["pacs"]
[[rules]]
name = "trial"
model = "next"
destinations = ["pacs"]
shadow = true
challenges = "heads"
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(old, new)``: the configuration, with two versions of the sample model beside it."""
    for name in ("first", "second"):
        shutil.copytree(MODEL, tmp_path / name)
    manifest = tmp_path / "second" / "model.toml"
    manifest.write_text(manifest.read_text().replace('"1.0.0"', '"1.1.0"'))

    def write(old: str = "", new: str = "") -> Path:
        path = tmp_path / "secondread.toml"
        assert old in TABLES
        path.write_text(TABLES.replace(old, new) if old else TABLES)
        return path

    return write


def test_two_versions_of_one_model_are_loaded_side_by_side(write: Write) -> None:
    settings = load(write(), {})
    models = load_models(settings.models, settings.packages)
    assert [(one.id, one.version) for one in models.values()] == [
        ("bright_head", "1.0.0"),
        ("next", "1.1.0"),
    ]
    assert [rule.challenges for rule in settings.rules] == ["", "heads"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("shadow = true\n", "", "'challenges' of [[rules]] 'trial' needs shadow = true"),
        ("shadow = true\n", "", "'trial' would send results of 'next', which is a name of your"),
        ('challenges = "heads"', 'challenges = "heds"', "did you mean 'heads'?"),
        ('challenges = "heads"', 'challenges = "trial"', "names the rule itself"),
        ('model = "next"', 'model = "bright_head"', "which would agree with itself"),
        ('package = "bright_head"', 'package = "../x"', "may hold only letters"),
    ],
)
def test_each_mistake_has_its_sentence(write: Write, old: str, new: str, expected: str) -> None:
    told = [str(fault) for fault in examine(write(old, new), {}).faults]
    assert any(expected in sentence for sentence in told), told


def test_a_challenger_that_sees_other_studies_is_remarked(write: Write) -> None:
    said = [one.sentence for one in remarks(load(write(), {}))]
    assert any("patients may wait for it" in text for text in said)
    assert not any("asks for other studies" in text for text in said)
    path = write("shadow = true", 'shadow = true\nmodalities = ["MR"]\npriority = -1')
    said = [one.sentence for one in remarks(load(path, {}))]
    assert any("asks for other studies" in text for text in said)
    assert not any("patients may wait for it" in text for text in said)


def test_a_package_that_is_another_model_is_refused(write: Write) -> None:
    settings = load(write('package = "bright_head"', 'package = "brain_mr"'), {})
    with pytest.raises(ManifestError, match="holds the model 'bright_head'.* calls it 'brain_mr'"):
        load_models(settings.models, settings.packages)
