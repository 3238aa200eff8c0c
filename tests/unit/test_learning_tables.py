"""Estimators on tables: no subject on both sides, and ONNX says what scikit-learn says."""

from __future__ import annotations

import numpy as np
import pytest

from secondread.errors import DataError, RecipeError
from secondread.learning.estimators import svm_onnx, tables
from secondread.learning.readers.table import (
    Features,
    TableLayout,
    assemble_features,
    read_table,
)

SMALL = {
    "svm": {"C": (1.0,), "gamma": (0.05, 0.1)},
    "tree": {"max_depth": (2, 3), "min_samples_leaf": (5,)},
    "forest": {"max_depth": (2,), "min_samples_leaf": (5,)},
    "logistic": {"C": (0.1, 1.0)},
}


def made_features(subjects: int = 40, *, gaps: bool = False) -> Features:
    """Two visits of each subject; the first feature tells the classes apart, the other does not."""
    drawn = np.random.default_rng(3)
    truth = np.repeat(np.arange(subjects) % 2, 2)
    values = drawn.normal(size=(2 * subjects, 2)) * [1, 50] + [0, 1500]
    values[:, 0] += 2.5 * truth
    if gaps:
        values[::7, 1] = np.nan
    names = tuple(f"s{n // 2:03}" for n in range(2 * subjects))
    return Features(("signal", "noise"), values, truth, names, tuple(map(str, range(2 * subjects))))


def made_plan(kind: str) -> tables.Plan:
    return tables.Plan(kind, outer=3, inner=3, grid=SMALL[kind])


@pytest.mark.parametrize("kind", ["svm", "tree", "logistic"])
def test_every_case_is_held_out_once_and_with_its_whole_subject(kind):
    features = made_features()
    held = tables.validate(features, made_plan(kind))
    assert np.isfinite(held.probabilities).all()
    for subject in set(features.subjects):
        assert len({held.folds[n] for n, s in enumerate(features.subjects) if s == subject}) == 1
    assert sorted(set(held.folds)) == [0, 1, 2]
    positive = features.truth == 1
    assert held.probabilities[positive].mean() > held.probabilities[~positive].mean() + 0.3


def test_what_is_held_out_plays_no_part_in_what_is_said_of_it():
    features = made_features()
    plan = made_plan("logistic")
    held = tables.validate(features, plan)
    out = held.folds == 0
    turned = np.where(out, 1 - features.truth, features.truth)
    other = Features(features.names, features.values, turned, features.subjects, features.ids)
    again = tables.validate(other, plan)
    assert np.array_equal(held.probabilities[out], again.probabilities[out])
    assert not np.array_equal(held.probabilities[~out], again.probabilities[~out])


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_onnx_agrees_with_scikit_learn_gaps_included(kind, tmp_path):
    features = made_features(gaps=True)
    fitted = tables.fit(features, made_plan(kind))
    path = tmp_path / "model.onnx"
    tables.export(fitted, path)
    assert tables.check_agreement(fitted, path, features.values) <= tables.AGREEMENT


def test_another_estimators_onnx_is_noticed(tmp_path):
    features = made_features()
    svm, tree = (tables.fit(features, made_plan(kind)) for kind in ("svm", "tree"))
    tables.export(svm, tmp_path / "svm.onnx")
    with pytest.raises(DataError, match="The ONNX file differs"):
        tables.check_agreement(tree, tmp_path / "svm.onnx", features.values)


def test_a_polynomial_stands_for_a_smooth_machine_and_holds_no_row_of_it(tmp_path):
    features = made_features()
    plan = tables.Plan("svm", inner=3, grid={"C": (10.0,), "gamma": (0.01,)})
    fitted = tables.fit(features, plan)
    within = svm_onnx.Range(features.values.min(axis=0), features.values.max(axis=0))
    surface = svm_onnx.surface_of(fitted.model, within)
    path = tmp_path / "surface.onnx"
    path.write_bytes(surface.SerializeToString())
    found = tables.run_onnx(path, features.values)
    assert np.abs(found - fitted.probabilities(features.values)).max() < 0.005
    kept = sum(int(np.prod(one.dims)) for one in surface.graph.initializer)
    assert kept < 100


def test_a_polynomial_that_does_not_fit_is_refused():
    features = made_features()
    plan = tables.Plan("svm", inner=3, grid={"C": (100.0,), "gamma": (20.0,)})
    fitted = tables.fit(features, plan)
    within = svm_onnx.Range(features.values.min(axis=0), features.values.max(axis=0))
    with pytest.raises(DataError, match="polynomial of degree 4 differs"):
        svm_onnx.surface_of(fitted.model, within)


def test_an_unknown_kind_of_estimator_names_those_that_there_are():
    with pytest.raises(RecipeError, match="no estimator 'oracle'.*svm, tree, forest, logistic"):
        tables.validate(made_features(), tables.Plan("oracle"))


TABLE = "id,who,age,sex,cdr\na1,P1_x,70,F,0\na2,P1_y,71,F,0.5\nb1,P2_x,,M,0\n"
LAYOUT = TableLayout(id="id", subject="who", target="cdr", subject_pattern=r"^(P\d)_")


def test_a_table_becomes_cases_with_their_subjects(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    cases = read_table(path, LAYOUT)
    assert [(c.id, c.subject, c.target) for c in cases] == [
        ("a1", "P1", 0.0),
        ("a2", "P1", 0.5),
        ("b1", "P2", 0.0),
    ]
    assert "age" not in cases[2].values
    features = assemble_features(
        cases, ("age", "sex"), lambda case: case.target > 0, {"sex": {"F": 0.0, "M": 1.0}}
    )
    assert features.truth.tolist() == [0, 1, 0]
    assert np.isnan(features.values[2, 0])
    assert features.values[:, 1].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,who,age\na,P1_x,3\n", "has no column cdr"),
        (TABLE + "a1,P3_x,70,F,0\n", "several rows of a1"),
        (TABLE + "c1,nobody,70,F,0\n", "Row 4 of the table does not say whose it is"),
        ("id,who,age,sex,cdr\n", "has no rows"),
        (TABLE + "c1,P3_x,Doe, Jane,70,F,0\n", "Row 4 of the table has more fields"),
        (TABLE.replace("age", "sex"), "has several columns 'sex'"),
    ],
)
def test_a_wrong_table_is_refused_in_words(tmp_path, text, said):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_table(path, LAYOUT)


def test_a_text_that_stands_for_no_number_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    with pytest.raises(DataError, match="'F' in column sex of case a1 is no number"):
        assemble_features(read_table(path, LAYOUT), ("sex",), lambda case: case.target > 0)
