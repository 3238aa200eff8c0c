"""Features from other models' label maps, and the estimators of dementia_mr on them."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from secondread.bundles.manifest import read_manifest, verify
from secondread.domain.answer import AnsweredNumber, ModelAnswer
from secondread.errors import InvalidPredictionError, ManifestError
from secondread.inference.worker.prediction import Prediction
from secondread.inference.worker.runtimes.features import FeaturesRuntime

DEMENTIA_MR = Path(__file__).resolve().parents[2] / "models" / "dementia_mr"
AFFINE = np.diag([2.0, 1.0, 1.0, 1.0])
SHAPE = (10, 10, 10)
KNOWN = {"PatientAge": 70, "PatientSex": "F"}
MANIFEST = {
    "model": {"id": "made"},
    "upstream": [{"id": "brain"}],
    "input": {"attributes": ["PatientAge", "PatientSex"]},
    "files": {"made.onnx": ""},
    "runtime": {
        "options": {
            "volumes": [
                {"id": "tissue", "model": "brain", "labels": [1, 2]},
                {"id": "skull", "model": "brain", "number": "intracranial_volume"},
            ],
            "features": [
                {
                    "id": "share",
                    "meaning": "brain volume over intracranial volume",
                    "ratio": ["tissue", "skull"],
                    "low": 0.2,
                    "high": 0.9,
                    "number": "share",
                },
                {"id": "age", "meaning": "patient's age in years", "attribute": "PatientAge",
                 "low": 60.0, "high": 98.0},
                {"id": "sex", "meaning": "patient's sex", "attribute": "PatientSex",
                 "codes": {"F": 0.0, "M": 1.0}},
            ],
            "estimators": [
                {
                    "file": "made.onnx",
                    "features": ["share", "sex"],
                    "number": "probability",
                    "finding": "pattern",
                    "above": 0.5,
                    "yes": "present",
                    "no": "absent",
                }
            ],
            "percentiles": [
                {
                    "number": "percentile",
                    "feature": "share",
                    "against": "age",
                    "lines": [[5.0, 1.0, -0.01], [50.0, 1.2, -0.01], [95.0, 1.4, -0.01]],
                }
            ],
        }
    },
}  # fmt: skip


def write_estimator(path: Path) -> None:
    """Probability = sigmoid(share - sex)."""
    weights = numpy_helper.from_array(np.array([[1.0], [-1.0]], np.float32), "weights")
    one = numpy_helper.from_array(np.array(1.0, np.float32), "one")
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["positive"]),
        helper.make_node("Sub", ["one", "positive"], ["negative"]),
        helper.make_node("Concat", ["negative", "positive"], ["probabilities"], axis=1),
    ]
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])
    found = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph(nodes, "made", [given], [found], [weights, one])
    opset = helper.make_opsetid("", 18)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_estimator(tmp_path / "made.onnx")
    return tmp_path


@pytest.fixture
def manifest() -> dict:
    return copy.deepcopy(MANIFEST)


def made_upstream(intracranial_ml: float = 2.0) -> dict[str, Prediction]:
    """600 voxels of 2 mm³ of the labels 1 and 2 together: 1.2 mL; others do not count."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[:4], labels[4:6], labels[6:8] = 1, 2, 3
    answer = ModelAnswer(numbers=(AnsweredNumber("intracranial_volume", intracranial_ml),))
    return {"brain": Prediction(labels, None, (), answer=answer)}


def ask(runtime: FeaturesRuntime, **changed) -> Prediction:
    told = {"attributes": KNOWN, "upstream": made_upstream()} | changed
    return runtime.predict(np.zeros(SHAPE, np.int16), AFFINE, **told)


def numbers_of(prediction: Prediction) -> dict[str, float]:
    return {one.id: one.value for one in prediction.answer.numbers}


def test_volumes_become_features_and_these_a_probability(manifest, folder):
    found = ask(FeaturesRuntime(manifest, folder))
    assert found.refusal is None
    assert found.labels.shape == SHAPE
    assert not found.labels.any()
    assert numbers_of(found) == pytest.approx(
        {"share": 0.6, "percentile": 72.5, "probability": 1 / (1 + math.exp(-0.6))}
    )
    (finding,) = found.answer.findings
    assert (finding.id, finding.value) == ("pattern", "present")
    assert finding.probability == pytest.approx(numbers_of(found)["probability"])


def test_the_headers_sex_counts(manifest, folder):
    found = ask(FeaturesRuntime(manifest, folder), attributes=KNOWN | {"PatientSex": "M"})
    assert numbers_of(found)["probability"] == pytest.approx(1 / (1 + math.exp(0.4)))
    assert found.answer.findings[0].value == "absent"


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"PatientAge": 70}, "The patient's sex is not told"),
        ({"PatientAge": 70, "PatientSex": "O"}, "The patient's sex is not told"),
        ({"PatientSex": "F"}, "The patient's age in years is not told"),
        ({"PatientAge": 40, "PatientSex": "F"}, "age in years is 40, outside .*60 to 98"),
    ],
)
def test_without_age_or_sex_that_it_knows_it_refuses(manifest, folder, attributes, said):
    found = ask(FeaturesRuntime(manifest, folder), attributes=attributes)
    assert found.refusal is not None
    assert re.search(said, found.refusal)
    assert found.answer == ModelAnswer()


def test_a_feature_outside_the_training_range_is_a_refusal(manifest, folder):
    found = ask(FeaturesRuntime(manifest, folder), upstream=made_upstream(10.0))
    assert "brain volume over intracranial volume is 0.12" in found.refusal
    assert [check.passed for check in found.checks] == [False]


def test_an_empty_skull_is_a_refusal(manifest, folder):
    assert ask(FeaturesRuntime(manifest, folder), upstream=made_upstream(0.0)).refusal


def test_beyond_the_outer_lines_the_percentile_is_theirs(manifest, folder):
    runtime = FeaturesRuntime(manifest, folder)
    assert numbers_of(ask(runtime, upstream=made_upstream(1.4)))["percentile"] == 95
    assert numbers_of(ask(runtime, upstream=made_upstream(5.0)))["percentile"] == 5


def test_what_the_other_model_did_not_give_is_no_zero(manifest, folder):
    nothing = {"brain": Prediction(np.zeros(SHAPE, np.uint8), None, ())}
    with pytest.raises(InvalidPredictionError, match="gave no number 'intracranial_volume'"):
        ask(FeaturesRuntime(manifest, folder), upstream=nothing)
    with pytest.raises(InvalidPredictionError, match="'brain' did not run"):
        ask(FeaturesRuntime(manifest, folder), upstream={})


def test_a_model_that_is_not_upstream_cannot_be_used(manifest, folder):
    manifest["upstream"] = []
    with pytest.raises(ManifestError, match="made from brain, which its model.toml"):
        FeaturesRuntime(manifest, folder)


def test_an_attribute_that_it_does_not_ask_for_cannot_be_used(manifest, folder):
    manifest["input"]["attributes"] = ["PatientAge"]
    with pytest.raises(ManifestError, match="made from PatientSex"):
        FeaturesRuntime(manifest, folder)


def test_an_estimator_of_another_number_of_features_is_refused(manifest, folder):
    manifest["runtime"]["options"]["estimators"][0]["features"] = ["share"]
    with pytest.raises(ManifestError, match="has to take 1 'features'"):
        FeaturesRuntime(manifest, folder)


def test_an_estimator_of_another_number_of_classes_gives_no_probability(manifest, folder):
    path = folder / manifest["runtime"]["options"]["estimators"][0]["file"]
    network = onnx.load(path)
    network.graph.node[-1].input.append("negative")
    network.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    onnx.save(network, path)
    with pytest.raises(InvalidPredictionError, match="gave 3 probabilities"):
        ask(FeaturesRuntime(manifest, folder))


def test_an_estimator_that_gives_tables_of_probabilities_is_refused(manifest, folder):
    """As classifiers do that were converted with their usual settings (ZipMap)."""
    path = folder / manifest["runtime"]["options"]["estimators"][0]["file"]
    network = onnx.load(path)
    (kept,) = (one for one in network.graph.output if one.name == "probabilities")
    kept.type.sequence_type.elem_type.map_type.key_type = onnx.TensorProto.INT64
    kept.type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = 1
    for node in network.graph.node:
        names = ["row" if name == "probabilities" else name for name in node.output]
        node.output[:] = names
    network.graph.node.append(
        onnx.helper.make_node(
            "ZipMap", ["row"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
        )
    )
    if not any(one.domain == "ai.onnx.ml" for one in network.opset_import):
        network.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 1))
    onnx.save(network, path)
    with pytest.raises(ManifestError, match="give 'probabilities'"):
        FeaturesRuntime(manifest, folder)


def test_a_file_that_is_no_estimator_is_refused(manifest, folder):
    (folder / "made.onnx").write_bytes(b"not a network")
    with pytest.raises(ManifestError, match="not a network that ONNX Runtime can load"):
        FeaturesRuntime(manifest, folder)


UPSTREAM = """
[model]
version = "9.9.9"
[[output.numbers]]
id = "intracranial_volume"
unit = ["mL", "UCUM", "mL"]
[[labels]]
value = 1
name = "cerebral_white_matter"
[[labels]]
value = 2
name = "left_lateral_ventricle"
[[labels]]
value = 3
name = "brain_stem"
"""


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    """dementia_mr, packaged on a brain_mr that gives an intracranial volume."""
    upstream, bundle = tmp_path / "brain_mr", tmp_path / "dementia_mr"
    upstream.mkdir()
    (upstream / "model.toml").write_text(UPSTREAM)
    shutil.copytree(DEMENTIA_MR, bundle)
    script = DEMENTIA_MR / "training" / "package.py"
    command = [sys.executable, script, "--bundle", bundle, "--upstream", upstream]
    subprocess.run(command, check=True, capture_output=True)
    return bundle


def test_dementia_mr_is_a_sound_package_on_a_brain_mr_with_the_skulls_volume(packaged):
    manifest = read_manifest(packaged)
    verify(manifest)
    assert manifest.research_only
    assert manifest.raw["runtime"]["options"]["volumes"][0]["labels"] == [1, 3]
    assert [pin.version for pin in manifest.upstream] == ["9.9.9"]
    runtime = FeaturesRuntime(manifest.raw, packaged)
    labels = np.zeros((110, 100, 100), np.uint8)
    labels[:105] = 1
    answer = ModelAnswer(numbers=(AnsweredNumber("intracranial_volume", 1500.0),))
    found = runtime.predict(
        labels,
        np.eye(4),
        attributes=KNOWN,
        upstream={"brain_mr": Prediction(labels, None, (), answer=answer)},
    )
    assert found.refusal is None
    numbers = numbers_of(found)
    assert set(numbers) == {one.id for one in manifest.output.numbers}
    assert numbers["nwbv"] == pytest.approx(0.7)
    assert found.answer.findings[0].value in manifest.output.findings[0].values


def of_person(brain_ml: float, **told: object) -> Prediction:
    """What dementia_mr, as it is packaged, says of grey and white matter in 1,480 mL of skull."""
    runtime = FeaturesRuntime(read_manifest(DEMENTIA_MR).raw, DEMENTIA_MR)
    labels = np.zeros((150, 100, 100), np.uint8)
    labels.reshape(-1)[: round(1000 * brain_ml)] = 3
    answer = ModelAnswer(numbers=(AnsweredNumber("intracranial_volume", 1480.0),))
    return runtime.predict(
        labels,
        np.eye(4),
        attributes={"PatientAge": 75, "PatientSex": "F"} | told,
        upstream={"brain_mr": Prediction(labels, None, (), answer=answer)},
    )


def test_plausible_volumes_of_an_old_person_get_a_probability_and_a_percentile():
    """Median of nondemented women of 75 in OASIS-2: nWBV 0.75; the less brain, the likelier."""
    found = [of_person(brain_ml) for brain_ml in (1180, 1110, 1000)]
    assert all(one.refusal is None for one in found)
    given = [numbers_of(one) for one in found]
    assert given[1]["nwbv"] == pytest.approx(0.75)
    assert 40 < given[1]["nwbv_percentile"] < 60
    probabilities = [one["probability_svm"] for one in given]
    assert 0.05 < probabilities[0] < probabilities[1] < 0.5 < probabilities[2] < 0.95
    assert all(0 <= one["probability_tree"] <= 1 for one in given)
    assert [one.answer.findings[0].value for one in found] == [
        *("as_nondemented", "as_nondemented", "as_demented")
    ]


def test_of_whom_dementia_mr_knows_nothing_it_says_nothing():
    for told, said in (
        ({"PatientAge": 45}, "age in years is 45"),
        ({"PatientSex": "O"}, "sex is not told"),
    ):
        assert said in of_person(1110, **told).refusal
    assert "outside what this model was trained with" in of_person(1300).refusal


def test_without_the_skulls_volume_dementia_mr_is_not_packaged(tmp_path):
    (tmp_path / "model.toml").write_text(UPSTREAM.replace("intracranial_volume", "other"))
    script = DEMENTIA_MR / "training" / "package.py"
    command = [sys.executable, script, "--bundle", tmp_path, "--upstream", tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "gives no intracranial volume" in done.stderr


def test_the_card_of_dementia_mr_says_what_the_figures_say():
    figures = json.loads((DEMENTIA_MR / "evaluation" / "figures.json").read_text())["figures"]
    card = (DEMENTIA_MR / "README.md").read_text()
    for name in ("svm/auc", "tree/auc", "single/nWBV/auc", "svm/brier", "tree/brier"):
        value, low, high = figures[name]
        assert f"{value:.3f} ({low:.3f} to {high:.3f})" in card, name


@pytest.mark.slow
def test_dementia_mr_reaches_its_figures_again(shared_data, tmp_path):
    table = shared_data("ad_oasis2_table") / "oasis_longitudinal.csv"
    script = DEMENTIA_MR / "training" / "train.py"
    command = [sys.executable, script, "--table", table, "--bundle", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    found, kept = (
        json.loads((folder / "evaluation" / "figures.json").read_text())["figures"]
        for folder in (tmp_path, DEMENTIA_MR)
    )
    assert found.keys() == kept.keys()
    for name, row in kept.items():
        assert found[name] == pytest.approx(row, abs=0.002), name


def test_no_participants_row_is_kept_in_the_svm():
    kept = onnx.load(DEMENTIA_MR / "svm.onnx").graph.initializer
    assert {one.name for one in kept} == {
        *("middle", "half", "one", "weights", "one_before", "row_axis", "column_axis")
    }
