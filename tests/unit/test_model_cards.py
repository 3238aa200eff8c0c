"""Every card says what it has to, and says the figures that its evaluation has written."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from secondread.results import coding

MODELS = Path(__file__).resolve().parents[2] / "models"
NAMES = sorted(path.parent.name for path in MODELS.glob("*/model.toml"))
SECTIONS = (
    "What it must not be used for",
    "What goes in",
    "What comes out",
    "Data and licence",
    "Where it fails",
)
OTHER_TITLES = {"Known failures": "Where it fails"}


def card_of(name: str) -> str:
    return (MODELS / name / "README.md").read_text(encoding="utf-8")


def figures_of(name: str) -> Any:
    return json.loads((MODELS / name / "evaluation" / "figures.json").read_text(encoding="utf-8"))


def labels_of(name: str) -> dict[str, dict[str, Any]]:
    manifest = tomllib.loads((MODELS / name / "model.toml").read_text(encoding="utf-8"))
    return {row["name"]: row for row in manifest.get("labels", ())}


def row_of(card: str, title: str) -> str:
    """The line of a table whose first cell is the title."""
    return next(line for line in card.splitlines() if line.startswith(f"| {title} |"))


@pytest.mark.parametrize("name", NAMES)
def test_every_card_has_its_parts(name: str) -> None:
    card = card_of(name)
    manifest = tomllib.loads((MODELS / name / "model.toml").read_text(encoding="utf-8"))
    titles = {OTHER_TITLES.get(one, one) for one in re.findall(r"^## (.+)$", card, re.MULTILINE)}
    inherited = {"What goes in"} if manifest["runtime"]["kind"] == "features" else set()
    assert set(SECTIONS) - titles - inherited == set()
    assert f"Version {manifest['model']['version']}." in card
    assert "For research only; not a medical device" in card
    for subject in ("ubgroup", "nterval", "Apache", "LICENSE"):
        assert subject in card, subject
    assert "Apache License" in (MODELS / name / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_what_a_card_points_at_is_there(name: str) -> None:
    """Pictures, and the commands that make all of it again."""
    card = card_of(name)
    for target in re.findall(r"\]\(([^)#][^)]*)\)", card):
        if not target.startswith("http"):
            assert (MODELS / name / target).is_file(), target
    for script in re.findall(r"python ((?:training|evaluation)/\S+\.py)", card):
        assert (MODELS / name / script).is_file(), script


def test_the_card_of_brain_mr_says_the_figures_of_its_labels() -> None:
    card, dice = card_of("brain_mr"), figures_of("brain_mr")["packaged_dice"]
    for name, label in labels_of("brain_mr").items():
        assert label["dice_held_out"] == pytest.approx(dice[name]["t1_like"], abs=0.0006), name
        line = row_of(card, str(label["value"]))
        assert f"| {label['meaning']} | {dice[name]['t1_like']:.2f}" in line
        assert f"| {dice[name]['random']:.2f}" in line
    assert f"reach Dice {dice['brain']['t1_like']:.2f}" in card


def test_the_card_of_brain_mr_says_what_was_measured_on_heads() -> None:
    card, figures = card_of("brain_mr"), figures_of("brain_mr")
    for head in figures["deepbet"].values():
        assert f"**{head['dice_with_sulci']:.3f}**, labels alone {head['dice']:.3f}" in card
    assert f"Dice **{figures['mni152_white_matter_dice']:.3f}**" in card
    for head in figures["heads"].values():
        if head["refusal"] is None:
            wholes = [head["numbers_ml"][one] for one in ("intracranial_volume", "brain_volume")]
            assert f"| {wholes[0]:.0f} | {wholes[1]:.0f} | {head['brain_ml']:.0f} |" in card
        else:
            assert head["refusal"] in card


def test_the_card_of_hippocampus_mr_says_its_figures_with_intervals() -> None:
    card, figures = card_of("hippocampus_mr"), figures_of("hippocampus_mr")
    assert f"{figures['crops']} crops of {figures['subjects']} groups" in card
    parts = ("anterior", "posterior")
    for title, key, near in (
        ("Dice", "dice", 0.0006),
        ("95th percentile Hausdorff distance, mm", "hd95_mm", 0.006),
        ("volume error, % of manual", "volume_error_percent", 0.06),
    ):
        told = [float(one) for one in re.findall(r"\d+\.\d+", row_of(card, title))]
        wanted = [
            n for part in parts for n in (figures[part][key], *figures[part][f"{key}_interval"])
        ]
        assert told == pytest.approx(wanted, abs=near), title
    for part in parts:
        folds = ", ".join(f"{dice:.3f}" for dice in figures[part]["dice_of_folds"])
        assert folds in row_of(card, "of the folds")
    for name, label in labels_of("hippocampus_mr").items():
        part = name.split("_")[1]
        assert label["dice_held_out"] == pytest.approx(figures[part]["dice"], abs=0.0006)


def test_the_card_of_chest_ct_says_its_figures() -> None:
    card, figures = card_of("chest_ct"), figures_of("chest_ct")
    for side in ("left", "right", "both"):
        assert f"{figures['labelled'][f'dice_{side}']:.3f}" in card
    assert f"{figures['labelled']['bowel_as_lung_ml']:.1f} mL" in card
    numbers = figures["chest"]["numbers"]
    for name in ("left_lung_volume", "right_lung_volume", "vessel_volume"):
        assert f"| {numbers[name]:.0f} mL |" in card, name
    assert f"{numbers['lung_density']:.0f} HU" in card
    assert f"| {figures['chest']['labels_ml']['3']:.0f} mL |" in card
    assert f"{figures['chest']['big']['numbers']['lung_volume']:.0f} mL" in card
    assert figures["labelled"]["abdomen_alone"] is not None
    # The rules have no weights that were held out from anything.
    assert not any("dice_held_out" in label for label in labels_of("chest_ct").values())


def test_the_card_of_dementia_mr_says_its_figures() -> None:
    card, figures = card_of("dementia_mr"), figures_of("dementia_mr")
    assert f"{figures['subjects']} people, {figures['sessions']} sessions" in card
    for title, group in (
        ("first visits only", "first_visits"),
        ("men", "men"),
        ("women", "women"),
        ("under 75 years", "under_75"),
        ("75 years and more", "from_75"),
    ):
        line = row_of(card, title)
        assert f"| {figures['sessions_by_group'][group]} |" in line
        for kind in ("svm", "tree"):
            value, low, high = figures["figures"][f"{kind}/auc/{group}"]
            assert f"{value:.3f} ({low:.3f} to {high:.3f})" in line, (group, kind)
    for title, kind in (("Support vector machine", "svm"), ("Decision tree", "tree")):
        fifths = [line for line in card.splitlines() if line.startswith(f"| {title} |")]
        told = " | ".join(
            f"{row['promised']:.2f} → {row['true']:.2f}" for row in figures["calibration"][kind]
        )
        assert any(told in line for line in fifths), kind
    brain = figures_of("brain_mr")["heads"]
    for name in ("mni152", "ch2.nii.gz"):
        assert f"{brain[name]['numbers_ml']['intracranial_volume']:.0f}" in card


@pytest.mark.parametrize("name", NAMES)
def test_every_code_of_a_label_is_one_that_the_gate_lets_out(name: str) -> None:
    for title, label in labels_of(name).items():
        value, scheme, _ = label["type"]
        assert coding.is_known(value, scheme), title
        assert label["category"][0] in coding.categories(), title
