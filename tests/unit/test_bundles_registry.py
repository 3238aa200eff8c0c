"""Which models the node may run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from secondread.bundles.registry import first_party_models, load_model, load_models
from secondread.domain.network import ModelReference
from secondread.errors import ManifestError

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "bright_head"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the test model, with one more file that its manifest names."""
    folder = tmp_path / "bright_head"
    shutil.copytree(SAMPLE, folder)
    return folder


def reference(folder: Path, name: str = "bright_head", kind: str = "RESEARCH") -> ModelReference:
    return ModelReference(name, str(folder), kind)


def test_models_come_by_id_in_the_order_of_the_configuration(package: Path) -> None:
    models = load_models([reference(package)])
    assert list(models) == ["bright_head"]
    assert models["bright_head"].folder == package


def test_another_id_than_the_configuration_says(package: Path) -> None:
    with pytest.raises(ManifestError, match=r"holds the model 'bright_head'.*calls it 'lung'"):
        load_model(reference(package, "lung"))


def test_a_research_model_is_not_sold_as_a_product(package: Path) -> None:
    with pytest.raises(ManifestError, match="for research only"):
        load_model(reference(package, kind="PRODUCT"))


def test_a_file_that_changed(package: Path) -> None:
    manifest = package / "model.toml"
    text = manifest.read_text()
    assert text.count("[files]") == 1
    manifest.write_text(text.replace("[files]", f'[files]\n"extra.bin" = "{"0" * 64}"'))
    with pytest.raises(ManifestError, match=r"lacks its file 'extra\.bin'"):
        load_model(reference(package))
    (package / "extra.bin").write_bytes(b"x")
    with pytest.raises(ManifestError, match="has changed"):
        load_models([reference(package)])


def test_the_models_that_come_with_the_node_are_sound() -> None:
    for folder in first_party_models():
        assert load_model(reference(folder, folder.name)).id == folder.name
