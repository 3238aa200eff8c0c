"""Features against IBSI's digital phantom, and against bodies whose measures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secondread.learning.features.first_order import describe_values, discretise
from secondread.learning.features.region import Region
from secondread.learning.features.shape import describe_shape
from secondread.learning.features.texture import describe_levels, describe_texture

# The digital phantom of the Image Biomarker Standardisation Initiative (arXiv:1612.07003, chapter
# 5.1), slice by slice; 0 is outside the region. The voxels are cubes of 2 mm.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)
# Reference values of chapter 3, given with three figures there.
FIRST_ORDER = {
    "mean": 2.15,
    "variance": 3.05,
    "skewness": 1.08,
    "kurtosis": -0.355,
    "median": 1,
    "minimum": 1,
    "percentile_10": 1,
    "percentile_90": 4,
    "maximum": 6,
    "interquartile_range": 3,
    "range": 5,
    "mean_absolute_deviation": 1.55,
    "robust_mean_absolute_deviation": 1.11,
    "energy": 567,
    "root_mean_square": 2.77,
    "entropy": 1.27,
    "uniformity": 0.512,
}
SHAPE = {
    "volume_ml": 0.556,
    "voxel_volume_ml": 0.592,
    "surface_mm2": 388,
    "surface_to_volume_per_mm": 0.698,
    "sphericity": 0.843,
    "max_diameter_mm": 13.1,
    "major_axis_mm": 11.4,
    "minor_axis_mm": 9.31,
    "least_axis_mm": 8.54,
    "elongation": 0.816,
    "flatness": 0.749,
}
TEXTURE = {
    "glcm_joint_maximum": 0.509,
    "glcm_joint_average": 2.15,
    "glcm_joint_variance": 3.13,
    "glcm_joint_entropy": 2.57,
    "glcm_contrast": 5.12,
    "glcm_dissimilarity": 1.38,
    "glcm_inverse_difference": 0.688,
    "glcm_inverse_difference_moment": 0.631,
    "glcm_angular_second_moment": 0.291,
    "glcm_correlation": 0.183,
    "glcm_autocorrelation": 5.19,
    "glcm_cluster_tendency": 7.41,
    "glcm_cluster_shade": 17.4,
    "glcm_cluster_prominence": 147,
    "glrlm_short_runs_emphasis": 0.729,
    "glrlm_long_runs_emphasis": 2.76,
    "glrlm_low_grey_level_run_emphasis": 0.607,
    "glrlm_high_grey_level_run_emphasis": 9.64,
    "glrlm_short_run_low_grey_level_emphasis": 0.372,
    "glrlm_short_run_high_grey_level_emphasis": 8.67,
    "glrlm_long_run_low_grey_level_emphasis": 2.16,
    "glrlm_long_run_high_grey_level_emphasis": 15.6,
    "glrlm_grey_level_non_uniformity": 281,
    "glrlm_grey_level_non_uniformity_normalised": 0.43,
    "glrlm_run_length_non_uniformity": 328,
    "glrlm_run_length_non_uniformity_normalised": 0.501,
    "glrlm_run_percentage": 0.68,
    "glrlm_grey_level_variance": 3.48,
    "glrlm_run_length_variance": 0.598,
    "glrlm_run_entropy": 2.62,
    "ngtdm_coarseness": 0.0296,
    "ngtdm_contrast": 0.584,
    "ngtdm_busyness": 6.54,
    "ngtdm_complexity": 13.5,
    "ngtdm_strength": 0.763,
}


def three_figures(value: float) -> str:
    return f"{value:.3g}"


def assert_as_published(found: dict[str, float], published: dict[str, float]) -> None:
    for name, value in published.items():
        assert three_figures(found[name]) == three_figures(value), name


def test_values_of_the_phantom_are_those_that_ibsi_publishes():
    values = PHANTOM[PHANTOM > 0].astype(np.float64)
    assert_as_published(describe_values(values, bins=6), FIRST_ORDER)


def test_the_shape_of_the_phantom_is_that_which_ibsi_publishes():
    region = Region(PHANTOM.astype(np.float32), PHANTOM > 0, (2.0, 2.0, 2.0))
    assert_as_published(describe_shape(region), SHAPE)


def test_the_texture_of_the_phantom_is_that_which_ibsi_publishes():
    assert_as_published(describe_levels(PHANTOM), TEXTURE)
    region = Region(PHANTOM.astype(np.float32), PHANTOM > 0, (2.0, 2.0, 2.0))
    assert describe_texture(region, bins=6) == describe_levels(PHANTOM)


def made_ellipsoid(radii_mm, spacing_mm) -> Region:
    counts = [int(2 * r / s) + 7 for r, s in zip(radii_mm, spacing_mm, strict=True)]
    places = np.stack(
        np.meshgrid(
            *[
                (np.arange(n) - (n - 1) / 2 + 0.13) * s / r
                for n, s, r in zip(counts, spacing_mm, radii_mm, strict=True)
            ],
            indexing="ij",
        )
    )
    mask = (places**2).sum(axis=0) <= 1
    return Region(np.zeros(mask.shape, np.float32), mask, spacing_mm)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
def test_a_ball_has_the_measures_of_a_ball(spacing_mm):
    found = describe_shape(made_ellipsoid((20.0, 20.0, 20.0), spacing_mm))
    assert found["volume_ml"] == pytest.approx(4 / 3 * math.pi * 8, rel=0.01)
    assert found["max_diameter_mm"] == pytest.approx(40, rel=0.05)
    # Voxels make steps, and steps make surface: a tenth more, and beyond where slices are thick.
    assert found["surface_mm2"] == pytest.approx(4 * math.pi * 400, rel=0.15)
    assert 0.85 < found["sphericity"] < 1
    assert found["elongation"] == pytest.approx(1, abs=0.01)
    assert found["flatness"] == pytest.approx(1, abs=0.01)
    # A full ellipsoid's variance along an axis is a fifth of its squared half axis.
    assert found["major_axis_mm"] == pytest.approx(4 * 20 / math.sqrt(5), rel=0.01)


def test_an_ellipsoid_has_the_ratios_of_its_axes_however_it_lies():
    found = describe_shape(made_ellipsoid((10.0, 30.0, 15.0), (1.0, 1.0, 1.0)))
    assert found["elongation"] == pytest.approx(0.5, abs=0.01)
    assert found["flatness"] == pytest.approx(1 / 3, abs=0.01)
    assert found["max_diameter_mm"] == pytest.approx(60, rel=0.03)
    assert found["volume_ml"] == pytest.approx(4 / 3 * math.pi * 4.5, rel=0.01)


def test_features_of_a_region_do_not_hang_on_what_lies_around_it():
    rng = np.random.default_rng(2)
    region = made_ellipsoid((8.0, 6.0, 7.0), (1.0, 1.0, 1.0))
    image = rng.normal(0, 1, region.mask.shape).astype(np.float32)
    one = Region(image, region.mask, region.spacing_mm)
    other = Region(
        np.pad(np.where(region.mask, image, 99), 3, constant_values=-5).astype(np.float32),
        np.pad(region.mask, 3),
        region.spacing_mm,
    )
    assert describe_texture(one) == describe_texture(other)
    assert describe_shape(one) == describe_shape(other)
    assert describe_values(one.values) == describe_values(other.values)


def test_a_region_of_one_voxel_or_of_one_value_gives_finite_numbers():
    image = np.full((5, 5, 5), 7, np.float32)
    single = np.zeros(image.shape, np.bool_)
    single[2, 2, 2] = True
    for mask in (single, np.ones(image.shape, np.bool_)):
        region = Region(image, mask, (1.0, 1.0, 1.0))
        found = {
            **describe_shape(region),
            **describe_texture(region),
            **describe_values(region.values),
        }
        assert all(math.isfinite(value) for value in found.values())


def test_grey_levels_are_of_equal_width_and_the_greatest_value_is_in_the_last():
    assert discretise(np.array([0.0, 0.99, 1.0, 3.5, 4.0]), 4).tolist() == [1, 1, 2, 4, 4]
