"""``secondread model``: packages in, on, off and out, as a person does it."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from secondread.cli.model_test import tabulate
from secondread.cli.model_trial import Trial
from secondread.config.load import examine, load
from secondread.errors import (
    EXIT_CONFIGURATION,
    EXIT_DATA,
    EXIT_FAILED,
    EXIT_NO_INPUT,
    EXIT_OK,
    EXIT_USAGE,
)
from secondread.store import Ledger
from secondread.store.ledger import LEDGER_NAME
from tests.conftest import Acquisition
from tests.unit.test_bundles_signature import KeyPair, make_keys

SAMPLE = Path(__file__).resolve().parents[1] / "models" / "bright_head"
RICH = SAMPLE.with_name("rich_head")
TEXT = """\
# Our node.
[node]
data_dir = "data"

# Heads, since March.
[[models]]
id = "brain_mr"   # the built-in one

# Where it goes.
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs"
port = 104

[[rules]]
name = "heads"
model = "brain_mr"
destinations = ["pacs"]
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path, new_ledger: Callable[[Path], None]) -> Path:
    """A configuration with one model, which a rule uses, and a ledger."""
    file = tmp_path / "node.toml"
    file.write_text(TEXT)
    new_ledger(tmp_path / "data")
    return file


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "sent"))


@pytest.fixture
def vendor(tmp_path: Path) -> KeyPair:
    return make_keys(tmp_path, "vendor")


@pytest.fixture
def run(path: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("list")``: exit code, standard output, standard error."""
    monkeypatch.chdir(path.parent)

    def call(*words: object) -> tuple[int, str, str]:
        config = () if words[0] == "sign" else ("-c", path)
        return command("model", *words, *config)

    return call


def demand_signatures(path: Path) -> None:
    path.write_text(
        path.read_text() + '\n[packages]\nrequire_signature = true\ntrusted_keys = ["vendor.pem"]\n'
    )


def test_a_package_comes_in_and_is_switched_on_and_off(path: Path, run: Run, package: Path) -> None:
    code, out, _ = run("import", package)
    assert code == EXIT_OK
    assert "Imported bright_head 1.0.0, not signed; sha256 " in out
    assert "secondread model enable bright_head-1.0.0" in out
    code, out, _ = run("list")
    assert "bright_head" in out
    code, out, _ = run("enable", "bright_head")
    assert code == EXIT_OK
    assert "Switched on model 'bright_head' 1.0.0. Start the node anew" in out
    assert "No rule uses it yet" in out
    models = {model.id: model.path for model in load(path).models}
    assert models["bright_head"] == str(path.parent / "data" / "models" / "bright_head-1.0.0")
    assert TEXT.partition("# Where it goes.")[0].strip() in path.read_text()
    assert "switched on already" in run("enable", "bright_head")[1]
    assert run("verify")[0] == EXIT_OK
    code, out, _ = run("disable", "bright_head")
    assert code == EXIT_OK
    assert path.read_text() == TEXT
    with closing(Ledger.open(path.parent / "data")) as ledger, ledger.read() as view:
        rows = view.trail.of_event("models-changed")
    assert [row.detail["model"] for row in rows] == ["bright_head", "bright_head"]


def test_a_newer_version_takes_the_place_of_the_old_one(
    path: Path, run: Run, package: Path
) -> None:
    manifest = package / "model.toml"
    run("import", package)
    run("enable", "bright_head", "--qualification", "RESEARCH")
    manifest.write_text(manifest.read_text().replace('"1.0.0"', '"1.1.0"'))
    assert run("import", package)[0] == EXIT_OK
    code, out, _ = run("enable", "bright_head-1.1.0")
    assert code == EXIT_OK, out
    paths = [model.path for model in load(path).models if model.id == "bright_head"]
    assert [Path(one).name for one in paths] == ["bright_head-1.1.0"]
    run("disable", "bright_head")
    code, _, err = run("enable", "bright_head")
    assert code == EXIT_USAGE
    assert "bright_head-1.0.0, bright_head-1.1.0" in err


def test_a_model_that_a_rule_uses_stays_on(path: Path, run: Run) -> None:
    code, _, err = run("disable", "brain_mr")
    assert code == EXIT_USAGE
    assert "because [[rules]] 'heads' uses it" in err
    assert run("disable", "lung")[0] == EXIT_NO_INPUT
    assert path.read_text() == TEXT


def test_what_is_not_sound_is_not_switched_on(path: Path, run: Run, package: Path) -> None:
    code, _, err = run("enable", package, "--qualification", "PRODUCT")
    assert code == EXIT_DATA
    assert "for research only" in err
    manifest = package / "model.toml"
    manifest.write_text(manifest.read_text().replace("[files]", f'[files]\n"x" = "{"0" * 64}"'))
    code, _, err = run("enable", package)
    assert code == EXIT_DATA
    assert "lacks its file 'x'" in err
    assert path.read_text() == TEXT


def test_where_signatures_are_demanded(
    path: Path, run: Run, package: Path, vendor: KeyPair
) -> None:
    demand_signatures(path)
    text = path.read_text()
    for command in ("verify", "enable", "import"):
        code, _, err = run(command, package)
        assert code in {EXIT_FAILED, EXIT_DATA}
        assert "has no signature, and [packages] demands one" in err
    assert path.read_text() == text
    code, out, _ = run("sign", package, "--key", vendor.private)
    assert code == EXIT_OK
    assert "Signed bright_head 1.0.0" in out
    assert "; signed, " in run("verify", package)[1]
    assert "; comes with SecondRead." in run("verify", "brain_mr")[1]
    assert run("import", package)[0] == EXIT_OK
    assert run("enable", "bright_head")[0] == EXIT_OK
    (path.parent / "data" / "models" / "bright_head-1.0.0" / "model.toml.sig").unlink()
    code, _, err = run("verify")
    assert code == EXIT_FAILED
    assert "has no signature" in err


def test_keys_that_are_none_are_told_with_their_line(
    path: Path, vendor: KeyPair, command: Run
) -> None:
    shutil.copy(vendor.private, path.parent / "vendor.pem")
    demand_signatures(path)
    code, *said_on = command("config", "check", "-c", path)
    assert code == EXIT_CONFIGURATION
    said = "".join(said_on)
    assert "holds a private key" in said
    assert "[packages]" in said


def test_demands_that_nothing_could_meet(path: Path) -> None:
    extra = "\n[packages]\nrequire_signature = true\ntrust_first_party = false\n"
    path.write_text(TEXT + extra)
    (fault,) = examine(path, {}).faults
    assert "so that no model could run" in fault.sentence


def test_an_export_is_imported_by_its_digest(path: Path, run: Run, package: Path) -> None:
    code, out, _ = run("export", package, "--out", "made.zip", "--json")
    assert code == EXIT_OK
    digest = json.loads(out)["digest"]
    with zipfile.ZipFile(path.parent / "made.zip") as made:
        assert made.namelist() == ["bright_head-1.0.0/model.toml"]
    assert run("export", package, "--out", "made.zip")[0] == EXIT_USAGE
    assert run("import", "made.zip", "--digest", "12ab")[0] == EXIT_USAGE
    code, _, err = run("import", "made.zip", "--digest", "0" * 64)
    assert code == EXIT_DATA
    assert digest in err
    assert run("import", "made.zip", "--digest", digest)[0] == EXIT_OK


def test_the_card(run: Run, package: Path) -> None:
    assert run("card", package)[0] == EXIT_NO_INPUT
    (package / "README.md").write_text("# A head\n\x1b[31mred\x1b[0m\n")
    code, out, _ = run("card", package)
    assert code == EXIT_OK
    assert out == "# A head\n[31mred[0m\n"
    assert "brain" in run("card", "brain_mr")[1].lower()


def test_the_card_as_a_page_holds_its_pictures_and_nothing_foreign(
    run: Run, package: Path, tmp_path: Path
) -> None:
    picture = b"\x89PNG\r\n\x1a\nof a head"
    (package / "plot.png").write_bytes(picture)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (package / "README.md").write_text(
        "# A head\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n![Plot](plot.png) ![Out](../secret.png) "
        "![Far](https://example.org/a.png)\n\n<script>alert(1)</script> [x](javascript:alert(1))\n"
    )
    code, _, err = run("card", package, "--html", "card.html")
    assert code == EXIT_OK, err
    page = (tmp_path / "card.html").read_text()
    assert "<td>1</td>" in page
    assert base64.b64encode(picture).decode() in page
    assert page.count("<img") == 1
    assert "[picture: Out]" in page
    assert "[picture: Far]" in page
    assert "<script" not in page
    assert 'href="javascript' not in page
    code, _, err = run("card", package, "--html", "card.html")
    assert code == EXIT_USAGE
    assert "is not overwritten" in err
    _, out, _ = run("card", package, "--html", "other.html", "--json")
    assert json.loads(out)["path"] == "other.html"
    assert run("card", "dementia_mr", "--html", "dementia.html")[0] == EXIT_OK
    assert "data:image/png;base64," in (tmp_path / "dementia.html").read_text()


def test_the_card_in_the_words_of_monai(run: Run, package: Path) -> None:
    document = json.loads(run("card", package, "--metadata")[1])
    assert document["version"] == "1.0.0"
    assert document["intended_use"] == "Tests of the node"
    formats = document["network_data_format"]
    assert formats["inputs"]["image"]["modality"] == "MR"
    assert formats["outputs"]["pred"]["channel_def"] == {
        "0": "background",
        "1": "brain",
        "2": "left_thalamus",
    }


def head(folder: Path) -> Path:
    """10 mL of thalamus in 1,000 mL of brain, 2 mm slices of 1 mm pixels."""
    voxels = np.zeros((60, 120, 120), np.int16)
    voxels[5:55, 10:110, 10:110] = 500
    voxels[20:25, 40:60, 40:90] = 900
    np.save(folder / "head.npy", voxels)
    return folder / "head.npy"


def test_a_model_is_tried_on_an_array_and_all_that_it_says_is_printed(
    run: Run, tmp_path: Path
) -> None:
    asked = ("test", RICH, "--volume", head(tmp_path), "--spacing", "2,1,1")
    code, out, err = run(*asked, "--json")
    assert code == EXIT_OK, err
    trial = json.loads(out)
    assert trial["refusal"] == trial["fault"] == ""
    assert dict(trial["volumes_ml"]) == pytest.approx({"brain": 990.0, "left_thalamus": 10.0})
    assert trial["findings"] == [["thalamus_seen", "present", None]]
    assert trial["places"] == [["thalamus_middle", [[22.0, 49.0, 64.0]], None]]
    before = set(tmp_path.iterdir())
    code, out, err = run(*asked)
    assert code == EXIT_OK, err
    assert "rich_head 1.0.0 answered in" in out
    assert set(tmp_path.iterdir()) == before
    lines = [line.split() for line in out.splitlines()]
    assert ["FINDING", "VALUE", "PROBABILITY"] in lines
    assert ["thalamus_seen", "present", "-"] in lines
    assert ["PLACE", "SLICE,", "ROW,", "COLUMN", "PROBABILITY"] in lines
    assert ["thalamus_middle", "22.0,", "49.0,", "64.0", "-"] in lines
    assert ["left_thalamus", "10.0", "mL"] in lines
    assert ["brain_pieces", "1", "{pieces}"] in lines


def test_a_probability_is_printed_and_of_a_long_line_its_beginning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = tuple((float(at), 2.0, 3.0) for at in range(5))
    trial = Trial(
        *("made", "1"), findings=(("pattern", "as_demented", 0.873),), places=(("edge", line, 0.5),)
    )
    tabulate(trial, {})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "pattern as_demented 0.87" in lines
    assert "edge 0.0, 2.0, 3.0; 1.0, 2.0, 3.0; 2.0, 2.0, 3.0; … 5 points 0.50" in lines


def test_a_model_is_tried_on_a_study(
    run: Run, package: Path, head_series: Callable[..., Acquisition]
) -> None:
    series = head_series()
    code, out, err = run("test", package, "--study", series.folder, "--json")
    assert code == EXIT_OK, err
    voxel_ml = 5.0 * 5.5 * 6.0 / 1000
    inner = (series.voxels >= 700).sum() * voxel_ml
    brain = (series.voxels >= 400).sum() * voxel_ml - inner
    assert dict(json.loads(out)["volumes_ml"]) == pytest.approx(
        {"brain": brain, "left_thalamus": inner}
    )


def test_a_study_that_the_model_does_not_take(
    run: Run, package: Path, head_series: Callable[..., Acquisition]
) -> None:
    manifest = package / "model.toml"
    manifest.write_text(manifest.read_text().replace('["MR"]', '["CT"]'))
    code, out, _ = run("test", package, "--study", head_series().folder)
    assert code == EXIT_FAILED
    assert "Not analysed by bright_head 1.0.0: " in out
    assert "MR" in out


def test_what_is_no_array_is_told(run: Run, package: Path, tmp_path: Path) -> None:
    (tmp_path / "no.npy").write_text("no")
    assert run("test", package, "--volume", tmp_path / "no.npy")[0] == EXIT_USAGE
    assert run("test", package)[0] == EXIT_USAGE
    head(tmp_path)
    assert (
        run("test", package, "--volume", tmp_path / "head.npy", "--spacing", "1")[0] == EXIT_USAGE
    )


@pytest.fixture
def imported(run: Run, package: Path, path: Path) -> Path:
    assert run("import", package)[0] == EXIT_OK
    return path.parent / "data" / "models" / "bright_head-1.0.0"


def test_what_is_not_there_is_told(run: Run, package: Path) -> None:
    for words in (
        ("test", package, "--volume", "nowhere.npy"),
        ("test", package, "--volume", "nowhere.nii.gz"),
        ("import", "nowhere.zip"),
    ):
        code, _, err = run(*words)
        assert code == EXIT_NO_INPUT
        assert "nowhere." in err


def test_an_imported_package_is_removed_and_the_trail_says_so(
    run: Run, path: Path, imported: Path
) -> None:
    digest = hashlib.sha256((imported / "model.toml").read_bytes()).hexdigest()
    code, out, err = run("remove", "bright_head")
    assert code == EXIT_OK, err
    assert "Removed the package bright_head 1.0.0" in out
    assert list(imported.parent.iterdir()) == []
    assert "bright_head" not in run("list")[1]
    with closing(Ledger.open(path.parent / "data")) as ledger, ledger.read() as view:
        (row,) = view.trail.of_event("models-changed")
    assert row.detail["sha256"] == digest
    assert run("remove", "bright_head")[0] == EXIT_NO_INPUT


def test_what_is_switched_on_stays(run: Run, imported: Path) -> None:
    run("enable", "bright_head")
    code, _, err = run("remove", "bright_head")
    assert code == EXIT_USAGE
    assert "switched on as model 'bright_head'" in err
    assert "secondread model disable bright_head" in err
    assert (imported / "model.toml").is_file()
    run("disable", "bright_head")
    assert run("remove", "bright_head-1.0.0")[0] == EXIT_OK


def test_what_another_package_builds_on_stays(run: Run, imported: Path, package: Path) -> None:
    manifest = package / "model.toml"
    digest = hashlib.sha256((imported / "model.toml").read_bytes()).hexdigest()
    pin = f'[[upstream]]\nid = "bright_head"\nversion = "1.0.0"\nsha256 = "{digest}"\n'
    manifest.write_text(
        manifest.read_text().replace('id = "bright_head"', 'id = "on_top"', 1) + f"\n{pin}"
    )
    assert run("import", package)[0] == EXIT_OK
    code, _, err = run("remove", "bright_head")
    assert code == EXIT_USAGE
    assert "stays, because 'on_top' 1.0.0 builds on it" in err
    assert run("remove", "on_top")[0] == EXIT_OK
    assert run("remove", "bright_head")[0] == EXIT_OK


def test_what_was_not_imported_stays(run: Run, package: Path) -> None:
    for model in ("chest_ct", package):
        code, _, err = run("remove", model)
        assert code == EXIT_USAGE
        assert "was not imported, and is not removed" in err
    assert run("remove", "lung")[0] == EXIT_NO_INPUT
    assert (package / "model.toml").is_file()


def test_a_package_that_is_damaged_may_go(run: Run, imported: Path) -> None:
    (imported / "model.toml").write_text("no")
    assert run("remove", "bright_head-1.0.0")[0] == EXIT_OK
    assert not imported.exists()


def test_where_the_trail_cannot_be_written_the_package_stays(
    run: Run, path: Path, imported: Path
) -> None:
    ledger = path.parent / "data" / LEDGER_NAME
    assert ledger.is_file()
    ledger.write_bytes(b"no ledger at all" * 1000)
    assert run("remove", "bright_head")[0] != EXIT_OK
    assert (imported / "model.toml").is_file()
    assert [one.name for one in imported.parent.iterdir()] == ["bright_head-1.0.0"]


def write_nifti(file: Path, *, code: int = 1, last: tuple[int, ...] = ()) -> Path:
    """The head of test_cli_model, its axes in another order: right to left, and feet first."""
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed (extra: train)")
    voxels = np.zeros((120, 120, 60, *last), np.int16)
    voxels[10:110, 10:110, 5:55] = 500
    voxels[40:90, 40:60, 20:25] = 900
    image = nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
    image.set_qform(image.affine, code=code)
    image.set_sform(image.affine, code=code)
    nibabel.save(image, file)
    return file


def test_a_model_is_tried_on_a_nifti_image(run: Run, package: Path, tmp_path: Path) -> None:
    image = write_nifti(tmp_path / "head.nii.gz")
    code, out, err = run("test", package, "--volume", image, "--json")
    assert code == EXIT_OK, err
    assert dict(json.loads(out)["volumes_ml"]) == pytest.approx(
        {"brain": 990.0, "left_thalamus": 10.0}
    )


def test_nifti_images_that_cannot_be_used_are_told(
    run: Run, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_nifti(tmp_path / "head.nii")
    said = {
        "tells its own spacing": ("--volume", image, "--spacing", "1,1,1"),
        "does not say how the patient lies": (
            "--volume",
            write_nifti(tmp_path / "nowhere.nii", code=0),
        ),
        "holds 4 dimensions": ("--volume", write_nifti(tmp_path / "many.nii", last=(2,))),
    }
    (tmp_path / "no.nii.gz").write_text("no")
    said["is not a NIfTI image"] = ("--volume", tmp_path / "no.nii.gz")
    (tmp_path / "short.nii").write_bytes(image.read_bytes()[:5000])
    said["ends too early"] = ("--volume", tmp_path / "short.nii")
    for sentence, arguments in said.items():
        code, _, err = run("test", package, *arguments)
        assert code == EXIT_USAGE, sentence
        assert sentence in err
    monkeypatch.setitem(sys.modules, "nibabel", None)
    monkeypatch.setattr("secondread.learning.extra.find_spec", lambda _: None)
    code, _, err = run("test", package, "--volume", image)
    assert code == EXIT_NO_INPUT
    assert "pip install 'secondread[train]'" in err
