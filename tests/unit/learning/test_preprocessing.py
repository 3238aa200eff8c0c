"""Preprocessing of a recipe: a case moves as a whole, and every step does what it says."""

from __future__ import annotations

import numpy as np
import pytest

from secondread.errors import RecipeError
from secondread.inference.worker.runtimes.intensity import Intensity
from secondread.learning.case import Case, Loaded
from secondread.learning.preprocessing.bias import BiasField
from secondread.learning.preprocessing.denoising import Denoise
from secondread.learning.preprocessing.steps import make_preparation
from secondread.learning.recipe import Step

CASE = Case("case", "subject", None, None, None, {})
ASKEW = np.array(
    [[1.98, -0.1, 0.2, -30.0], [0.1, 1.49, 0.1, 12.0], [-0.2, -0.05, 2.98, 5.0], [0, 0, 0, 1]]
)


def made_case(shape=(12, 16, 8), affine=None, seed=0) -> Loaded:
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 10, shape).astype(np.float32)
    labels = rng.integers(0, 3, shape).astype(np.uint8)
    return Loaded(CASE, image, labels, np.diag([2.0, 1.5, 3.0, 1.0]) if affine is None else affine)


def prepare(loaded: Loaded, name: str, **options) -> Loaded:
    return make_preparation([Step(name, options, f"[[preprocessing]] '{name}'")]).prepare(loaded)


def middle_ras(loaded: Loaded) -> np.ndarray:
    middle = (np.array(loaded.image.shape) - 1) / 2
    return (loaded.affine_ras @ [*middle, 1])[:3]


@pytest.mark.parametrize("letters", ["LPS", "SRA", "PIR"])
def test_turned_voxels_stay_where_they_are_in_the_patient(letters):
    loaded = made_case(affine=ASKEW)
    turned = prepare(loaded, "orient", orientation=letters)
    assert sorted(turned.image.shape) == sorted(loaded.image.shape)
    at = np.argwhere(turned.image == loaded.image[3, 5, 2])
    assert len(at) == 1
    assert np.allclose(turned.affine_ras @ [*at[0], 1], loaded.affine_ras @ [3, 5, 2, 1])
    assert turned.labels[tuple(at[0])] == loaded.labels[3, 5, 2]
    back = prepare(turned, "orient", orientation="RAS")
    assert np.array_equal(back.image, loaded.image)
    assert np.array_equal(back.labels, loaded.labels)
    assert np.allclose(back.affine_ras, loaded.affine_ras)


def test_resampling_keeps_the_middle_and_the_place_of_a_gradient():
    loaded = made_case(affine=ASKEW)
    places = np.moveaxis(np.indices(loaded.image.shape), 0, -1)
    right_mm = places @ ASKEW[0, :3] + ASKEW[0, 3]
    slope = Loaded(CASE, right_mm.astype(np.float32), loaded.labels, ASKEW)
    found = prepare(slope, "resample", spacing_mm=[1.0, 1.0, 1.0])
    assert np.allclose(np.linalg.norm(found.affine_ras[:3, :3], axis=0), 1)
    assert np.allclose(middle_ras(found), middle_ras(slope))
    places = np.moveaxis(np.indices(found.image.shape), 0, -1)
    expected = places @ found.affine_ras[0, :3] + found.affine_ras[0, 3]
    inner = (slice(2, -2),) * 3
    assert np.allclose(found.image[inner], expected[inner], atol=1e-3)


@pytest.mark.parametrize("spacing_mm", [[1.0, 1.5, 1.0], [1.0, 0.5, 1.5]])
def test_labels_are_resampled_from_the_nearest_and_restored(spacing_mm):
    loaded = made_case()
    steps = [
        Step("orient", {"orientation": "PSR"}, "one"),
        Step("resample", {"spacing_mm": [spacing_mm[1], spacing_mm[2], spacing_mm[0]]}, "two"),
    ]
    preparation = make_preparation(steps)
    prepared = preparation.prepare(loaded)
    assert set(np.unique(prepared.labels)) <= {0, 1, 2}
    assert np.array_equal(preparation.restore(prepared.labels, prepared, loaded), loaded.labels)


def test_nearest_sampling_makes_no_new_values():
    found = prepare(made_case(), "resample", spacing_mm=[0.9, 0.9, 0.9], order="nearest")
    assert set(np.unique(found.image)) <= set(np.unique(made_case().image))


@pytest.mark.parametrize("method", ["median", "gaussian", "diffusion"])
def test_denoising_takes_noise_away_and_leaves_an_edge(method):
    rng = np.random.default_rng(4)
    clean = np.zeros((24, 24, 24), np.float32)
    clean[12:] = 100
    noisy = (clean + rng.normal(0, 8, clean.shape)).astype(np.float32)
    options = {"rounds": 10} if method == "diffusion" else {}
    found = prepare(Loaded(CASE, noisy, None, np.eye(4)), "denoise", method=method, **options)
    assert found.image.dtype == np.float32
    flat = (slice(2, 9),) * 3
    assert found.image[flat].std() < 0.6 * noisy[flat].std()
    assert abs(found.image.mean() - noisy.mean()) < 0.5
    sharpness = found.image[12, 4:-4, 4:-4].mean() - found.image[11, 4:-4, 4:-4].mean()
    assert sharpness > (85 if method != "gaussian" else 30)


def test_a_gaussian_is_as_wide_in_mm_along_every_axis():
    image = np.zeros((21, 21, 21), np.float32)
    image[10, 10, 10] = 1
    found = Denoise("gaussian", sd_mm=2.0)(Loaded(CASE, image, None, np.diag([1, 2, 0.5, 1])))
    assert found.image[12, 10, 10] == pytest.approx(found.image[10, 11, 10], rel=0.15)


def field_of(shape: tuple[int, ...]) -> np.ndarray:
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return np.exp(0.35 * x - 0.25 * y + 0.3 * z * x - 0.2 * y**2)


def test_a_bias_field_is_divided_away():
    rng = np.random.default_rng(5)
    shape = (40, 44, 36)
    tissue = np.where(np.indices(shape).sum(axis=0) // 6 % 3 == 0, 70.0, 100.0)
    radius = np.linalg.norm(
        np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")), axis=0
    )
    clean = np.where(radius < 0.95, tissue, 2.0) * rng.normal(1, 0.02, shape)
    spoilt = (clean * field_of(shape)).astype(np.float32)
    found = BiasField(degree=2)(Loaded(CASE, spoilt, None, np.eye(4))).image
    for level in (70.0, 100.0):
        same = (radius < 0.95) & (tissue == level)
        before = spoilt[same].std() / spoilt[same].mean()
        after = found[same].std() / found[same].mean()
        assert before > 0.18
        assert after < 0.05
    assert found[radius < 0.95].mean() == pytest.approx(spoilt[radius < 0.95].mean(), rel=0.01)


def test_an_image_without_a_bias_field_is_left_nearly_alone():
    rng = np.random.default_rng(6)
    flat = rng.normal(100, 3, (24, 24, 24)).astype(np.float32)
    found = BiasField()(Loaded(CASE, flat, None, np.eye(4))).image
    assert np.abs(found / flat - 1).max() < 0.02
    empty = Loaded(CASE, np.zeros((4, 4, 4), np.float32), None, np.eye(4))
    assert BiasField()(empty) is empty


@pytest.mark.parametrize(
    ("name", "options", "runtime"),
    [
        ("window", {"low": 80.0, "high": 120.0}, Intensity("window", 80.0, 120.0)),
        ("percentile", {"low": 1.0, "high": 99.0}, Intensity("percentile", 1.0, 99.0)),
        ("zscore", {"nonzero": True}, Intensity("zscore", nonzero=True)),
        ("fixed", {"mean": 90.0, "deviation": 4.0}, Intensity("fixed", mean=90.0, deviation=4.0)),
    ],
)
def test_intensities_are_scaled_as_the_runtimes_scale_them(name, options, runtime):
    loaded = made_case()
    assert np.array_equal(prepare(loaded, name, **options).image, runtime.apply(loaded.image))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sharpen", {}, "no step that preprocessing knows; it knows orient, resample, denoise"),
        ("orient", {"orientation": "RRS"}, "three letters"),
        ("resample", {"spacing_mm": [1.0, 1.0]}, r"spacing_mm = \[x, y, z\]"),
        ("resample", {"spacing_mm": [1.0, 1.0, 1.0], "order": "cubic"}, "linear or nearest"),
        ("resample", {}, "lacks the key 'spacing_mm'"),
        ("denoise", {"method": "wavelet"}, "it knows median, gaussian, diffusion"),
        ("denoise", {"method": "median", "size": 4}, "must be odd"),
        ("denoise", {"method": "diffusion", "rate": 0.5}, "1/6 at most"),
        ("bias_field", {"degree": 9}, "1 to 5"),
        ("window", {"low": 3.0, "high": 1.0}, "has no range from 3 to 1"),
        ("window", {"low": 3.0}, "lacks the key 'high'"),
        ("percentiles", {"low": 60.0, "high": 40.0}, "low < high"),
    ],
)
def test_a_step_that_cannot_be_is_refused_in_words(name, options, said):
    with pytest.raises(RecipeError, match=said):
        prepare(made_case(), name, **options)
