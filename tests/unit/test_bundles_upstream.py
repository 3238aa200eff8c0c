"""Models that build on others: what is found, what is missing, and circles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from secondread.bundles.manifest import read_manifest
from secondread.bundles.registry import load_model, load_models
from secondread.domain.network import ModelReference
from secondread.errors import ManifestError

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "bright_head" / "model.toml"
Make = Callable[..., ModelReference]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make("b", "a")`` is a package 'b' that builds on the package 'a' as it is now."""

    def made(name: str, *upstream: str, research: str = "true", place: str = "") -> ModelReference:
        folder = tmp_path / (place or name)
        folder.mkdir(exist_ok=True)
        text = SAMPLE.read_text().replace('id = "bright_head"', f'id = "{name}"', 1)
        text = text.replace("research_only = true", f"research_only = {research}", 1)
        for other in upstream:
            digest = digest_of(tmp_path / other)
            text += f'\n[[upstream]]\nid = "{other}"\nversion = "1.0.0"\nsha256 = "{digest}"\n'
        (folder / "model.toml").write_text(text)
        return ModelReference(name, str(folder), "RESEARCH")

    return made


def digest_of(folder: Path) -> str:
    content = folder / "model.toml"
    return hashlib.sha256(content.read_bytes() if content.exists() else b"").hexdigest()


def test_what_others_need_comes_first_and_each_once(make: Make) -> None:
    references = [make("a"), make("b", "a"), make("c", "a", "b"), make("d", "c", "b", "a")]
    models = load_models(references)
    assert [one.id for one in models["d"].builds_on] == ["a", "b", "c"]
    assert {one.version for one in models["d"].builds_on} == {"1.0.0"}
    assert [one.digest for one in models["b"].builds_on] == [models["a"].digest]
    assert models["b"].builds_on[0].folder == references[0].path
    assert models["a"].builds_on == ()


def test_a_model_that_is_missing(make: Make) -> None:
    make("a")
    with pytest.raises(
        ManifestError, match=r"'b' builds on 'a' 1\.0\.0.*Install 'a' 1\.0\.0 and name it"
    ):
        load_model(make("b", "a"))


def test_a_manifest_that_changed_since_it_was_pinned(make: Make) -> None:
    first, second = make("a"), make("b", "a")
    with Path(first.path, "model.toml").open("a") as file:
        file.write("# one more line\n")
    with pytest.raises(ManifestError, match="no model that is installed is exactly that one"):
        load_models([first, second])


def test_a_file_of_it_that_changed(make: Make, tmp_path: Path) -> None:
    first = make("a")
    manifest = tmp_path / "a" / "model.toml"
    (tmp_path / "a" / "extra.bin").write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    manifest.write_text(
        manifest.read_text().replace("[files]", f'[files]\n"extra.bin" = "{digest}"')
    )
    second = make("b", "a")
    assert load_models([first, second])["b"].builds_on
    (tmp_path / "a" / "extra.bin").write_bytes(b"y")
    with pytest.raises(ManifestError, match="of model 'a' has changed"):
        load_model(second, others=[first, second])


def test_models_that_build_on_each_other(make: Make, tmp_path: Path) -> None:
    make("a", place="old")
    (tmp_path / "old").rename(tmp_path / "a")
    second = make("b", "a")
    (tmp_path / "a").rename(tmp_path / "old")
    newer = make("a", "b")
    old = ModelReference("a", str(tmp_path / "old"), "RESEARCH")
    with pytest.raises(ManifestError, match="a → b → a build on each other in a circle"):
        load_model(newer, others=[newer, second, old])


def test_two_versions_of_one_model_at_once(make: Make, tmp_path: Path) -> None:
    old = make("a")
    second = make("b", "a")
    (tmp_path / "a").rename(tmp_path / "old")
    newer = make("a", research="false")
    third = make("c", "b", "a")
    old = ModelReference("a", str(tmp_path / "old"), "RESEARCH")
    with pytest.raises(ManifestError, match="'c' builds on two versions of 'a' at once"):
        load_model(third, others=[old, newer, second])


def test_a_pin_that_names_another_model(make: Make, tmp_path: Path) -> None:
    first, second = make("a"), make("b", "a")
    manifest = tmp_path / "b" / "model.toml"
    manifest.write_text(manifest.read_text().replace('id = "a"', 'id = "z"'))
    with pytest.raises(ManifestError, match=r"the model with this digest is called 'a'"):
        load_model(second, others=[first])


def test_what_builds_on_research_is_research(make: Make) -> None:
    first, second = make("a"), make("b", "a", research="false")
    product = ModelReference("b", second.path, "PRODUCT")
    with pytest.raises(ManifestError, match="'b' is for research only"):
        load_model(product, others=[first])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('id = "bright_head"\nversion = "1"\nsha256 = "DIGEST"', "names the model itself"),
        ('id = "a"\nversion = "1"\nsha256 = "abc"', "64 hexadecimal digits"),
        ('id = "a"\nversion = "1"', "lacks the key 'sha256'"),
        ('id = "a"\nversion = "1"\nsha256 = "DIGEST"\nurl = "x"', "unknown keys: url"),
    ],
)
def test_entries_that_are_not_sound(tmp_path: Path, row: str, message: str) -> None:
    text = f"{SAMPLE.read_text()}\n[[upstream]]\n{row.replace('DIGEST', '0' * 64)}\n"
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path)
