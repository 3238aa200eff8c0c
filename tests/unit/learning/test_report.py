"""The report: one file that parses, loads nothing, escapes text and names the worst cases."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from secondread.errors import DataError
from secondread.learning.comparison import compare
from secondread.learning.evaluation import Evaluation, Judging, evaluate
from secondread.learning.intervals import Bootstrap
from secondread.learning.predictions import Predictions, Row
from secondread.learning.report import compared, evaluated
from secondread.learning.report.pictures import Scene, draw_scene, load_scene
from tests.learning_runs import chance_run, segmentation_run, write_pictured_run

FEW = Bootstrap(draws=100)
JUDGING = Judging(bootstrap=FEW, worst=3)
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Text, sources and balance of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report(evaluation: Evaluation, folder: Path, data: Path | None = None) -> Page:
    path = evaluated.write_report(evaluation, evaluated.Places(folder, data, folder))
    return Page(path.read_text(encoding="utf-8"))


def check_self_contained(page: Page) -> None:
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not page.tags & {"script", "link", "iframe", "object"}


def test_a_segmentation_report_has_plots_figures_subgroups_and_worst_cases(tmp_path: Path) -> None:
    dice = {f"case {chr(65 + number)}": 0.7 + number / 100 for number in range(24)}
    page = report(
        evaluate(segmentation_run(dice, {case: case for case in dice}), None, JUDGING), tmp_path
    )
    check_self_contained(page)
    assert len(page.sources) == 3  # Dice, and Bland–Altman of two labels
    assert "24 cases of 24 subjects, each held out once, in 2 folds" in page.text
    assert "100 bootstrap draws of subjects" in page.text
    for word in ("hd95_mm", "limit_low_ml", "sex: F", "sex: M", "anterior Dice 0.700"):
        assert word in page.text
    worst = page.text[page.text.index("Worst cases") :]
    assert re.findall(r"case [A-Z]", worst) == ["case A", "case B", "case C"]


def test_a_classification_report_has_roc_and_calibration(tmp_path: Path) -> None:
    page = report(evaluate(chance_run(), None, JUDGING), tmp_path)
    check_self_contained(page)
    assert len(page.sources) == 2
    for word in ("roc_auc", "brier", "share of positive cases", "age: 60 to below"):
        assert word in page.text


def test_a_regression_report_has_its_errors(tmp_path: Path) -> None:
    rows = tuple(Row(f"c{n}", f"s{n}", n % 2, truth=60.0 + n, found=61.0 + n) for n in range(12))
    page = report(evaluate(Predictions("age", "regression", rows), None, JUDGING), tmp_path)
    check_self_contained(page)
    assert "mean_absolute_error1.000 (1.000 to 1.000)" in re.sub(r"\s*\n\s*", "", page.text)


def test_worst_cases_are_shown_and_text_is_escaped(tmp_path: Path) -> None:
    run = write_pictured_run(tmp_path / "run", tmp_path / "data")
    out = tmp_path / "run"
    page = report(evaluate(run, tmp_path / "data", JUDGING), out, tmp_path / "data")
    check_self_contained(page)
    assert sum(source.startswith("data:image/png") for source in page.sources) == 2
    # The answer that misses a half is the worst, and its name is no tag.
    assert 0 < page.text.find("head <1>") < page.text.find("head <0>")
    assert "a & b" in page.text
    assert sorted(path.name for path in (out / "pictures").iterdir()) == [
        "worst_1.png",
        "worst_2.png",
    ]


def test_pictures_of_an_earlier_report_do_not_stay_beside_a_page_without_them(
    tmp_path: Path,
) -> None:
    run = write_pictured_run(tmp_path / "run", tmp_path / "data")
    out = tmp_path / "run"
    report(evaluate(run, tmp_path / "data", JUDGING), out, tmp_path / "data")
    (out / "pictures" / "mine.png").write_bytes(b"")
    page = report(evaluate(run, None, JUDGING), out, None)
    assert not any(source.startswith("data:image/png") for source in page.sources)
    assert [path.name for path in (out / "pictures").iterdir()] == ["mine.png"]


def test_a_picture_shows_both_outlines_on_the_right_sides(tmp_path: Path) -> None:
    image = np.zeros((40, 40, 40), np.float32)
    image[30:, :, :] = 100.0  # bright on the patient's right, for x grows to the right
    truth, found = np.zeros((2, 40, 40, 40), np.int32)
    truth[8:16, 10:30, 10:30] = 1
    found[12:20, 10:30, 10:30] = 1
    picture = Image.open(BytesIO(draw_scene(Scene(image, truth, found, (1.0, 1.0, 1.0)))))
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    axial = pixels[20:, : pixels.shape[1] // 3]
    white = np.argwhere(axial.min(axis=-1) > 240)
    green = np.argwhere((axial[..., 1] > axial[..., 0] + 60) & (axial[..., 1] > 120))
    red = np.argwhere((axial[..., 0] > axial[..., 1] + 60) & (axial[..., 0] > 120))
    assert len(green) > 50
    assert len(red) > 25
    # The patient's right is on the picture's left; so is the answer, which lies more to the right.
    assert white[:, 1].mean() < red[:, 1].mean() < green[:, 1].mean()


def test_a_place_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.nii").write_bytes(b"")
    row = Row("a", "a", 0, image="../secret.nii")
    with pytest.raises(DataError, match="leads out of its folder"):
        load_scene(row, tmp_path / "run", tmp_path / "data")


def test_a_file_that_is_no_image_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"'a\.nii\.gz' cannot be read as NIfTI"):
        load_scene(Row("a", "a", 0, image="a.nii.gz"), tmp_path, tmp_path)
    assert load_scene(Row("a", "a", 0, image="b.nii.gz"), tmp_path, tmp_path) is None


def test_names_with_signs_of_formulas_can_be_plotted(tmp_path: Path) -> None:
    dice = {"a": 0.5, "b": 0.6}
    run = segmentation_run(dice, {case: case for case in dice})
    rows = [
        Row(row.id, row.subject, row.fold, labels={"_$x^{": row.labels["anterior"]})
        for row in run.rows
    ]
    run = Predictions("signs", "segmentation", tuple(rows))
    picture = evaluated.plots.draw_dice(run.rows, run.label_names)
    ElementTree.fromstring(picture)
    check_self_contained(report(evaluate(run, None, JUDGING), tmp_path))


def test_the_same_figures_give_the_same_page(tmp_path: Path) -> None:
    pages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        evaluation = evaluate(chance_run(), None, JUDGING)
        places = evaluated.Places(tmp_path / name, None, tmp_path / name)
        pages.append(evaluated.write_report(evaluation, places).read_bytes())
    assert pages[0] == pages[1]


def test_a_comparison_is_a_page_too(tmp_path: Path) -> None:
    comparison = compare(chance_run(), chance_run(shift=0.4), FEW)
    path = compared.write_report(tmp_path, comparison, FEW)
    page = Page(path.read_text(encoding="utf-8"))
    check_self_contained(page)
    assert "80 cases of 40 subjects" in page.text
    assert "roc_auc" in page.text
