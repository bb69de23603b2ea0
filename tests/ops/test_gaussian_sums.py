"""Means under Gaussians, by pairs and by the lattice: what is left out or rounded stays below what is promised."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskwright.ops import gaussian_lattice as lattice
from maskwright.ops.gaussian_sums import TILE, UNIT, gaussian_means, merge_runs, spatial_order
from reference import mean_shift_step

Array = NDArray[np.float64]


def cloud(seed: int, count: int, dimensions: int) -> tuple[Array, Array]:
    """Crowds of very different weight, and lone points around them, in units of the bandwidth."""
    generator = np.random.default_rng(seed)
    centres = generator.uniform(-9, 9, (5, dimensions))
    points = centres[generator.integers(5, size=count)] + generator.normal(size=(count, dimensions))
    points[: count // 4] = generator.uniform(-14, 14, (count // 4, dimensions))
    weights = 10 ** generator.uniform(0, 5, count)
    weights[: count // 4] = 1
    order = spatial_order(points, 1e-3)
    return points[order], weights[order]


def truth(points: Array, weights: Array) -> Array:
    """Means under Gaussians of standard deviation 1, in float64."""
    squares = ((points[:, None] - points) ** 2).sum(2)
    pull = weights * np.exp(-squares / 2)
    return pull @ points / pull.sum(1, keepdims=True)


def farthest(found: Array, expected: Array) -> float:
    return float(np.sqrt(((found - expected) ** 2).sum(1)).max())


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_the_truth_of_these_tests_is_the_definition(dimensions: int) -> None:
    points, weights = cloud(0, 30, dimensions)
    assert farthest(truth(points, weights), mean_shift_step(points, weights, 1.0)) < 1e-12


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-9])
def test_pairs_that_are_left_out_change_no_mean_by_more_than_the_tolerance(dimensions: int, tolerance: float) -> None:
    points, weights = cloud(dimensions, 5 * TILE + 17, dimensions)
    means = gaussian_means(points / UNIT, points / UNIT, weights, tolerance=tolerance / UNIT) * UNIT
    assert farthest(means, truth(points, weights)) <= tolerance + 1e-11


def test_more_pairs_are_left_out_the_larger_the_tolerance() -> None:
    points = np.random.default_rng(0).uniform(-20, 20, (20 * TILE, 2))
    points, weights = points[spatial_order(points, 1e-3)], np.ones(len(points))
    errors = [
        farthest(gaussian_means(points / UNIT, points / UNIT, weights, tolerance=t) * UNIT, truth(points, weights))
        for t in (1e-1, 1e-4, 1e-14)
    ]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_float32_loses_what_float32_does() -> None:
    points, weights = cloud(4, 4 * TILE, 3)
    units = (points / UNIT).astype(np.float32)
    assert farthest(gaussian_means(units, units, weights, tolerance=1e-7) * UNIT, truth(points, weights)) < 1e-4


def test_some_targets_see_what_they_see_among_all() -> None:
    points, weights = cloud(5, 3 * TILE, 2)
    chosen = np.arange(len(points)) % 7 == 0
    every = gaussian_means(points, points, weights, tolerance=1e-12)
    assert farthest(gaussian_means(points[chosen], points, weights, tolerance=1e-12), every[chosen]) < 1e-12


@pytest.mark.parametrize("places", [(0.0, 1e6), (-1e300, 1e300), (0.0, 0.0)])
def test_points_that_are_far_apart_or_equal_see_themselves(places: tuple[float, float]) -> None:
    points = np.array(places)[:, None]
    assert np.allclose(gaussian_means(points, points, np.ones(2), tolerance=1e-9), points, atol=1e-200)


@pytest.mark.parametrize("dimensions", [1, 3, 5, 15])
def test_neighbours_in_the_order_are_close(dimensions: int) -> None:
    generator = np.random.default_rng(0)
    points = generator.permutation(np.repeat(generator.normal(size=(40, dimensions)), 5, axis=0))
    ordered = points[spatial_order(points, 1e-6)]
    assert len(np.flatnonzero(np.abs(np.diff(ordered, axis=0)).max(1) > 0)) == 39


def test_points_of_many_dimensions_have_an_order() -> None:
    order = spatial_order(np.random.default_rng(0).normal(size=(200, 80)), 1e-6)
    assert np.array_equal(np.sort(order), np.arange(200))


def test_merged_points_keep_weight_and_centre_and_stay_within_reach() -> None:
    points, weights = cloud(6, 2000, 2)
    moved, masses = points.copy(), weights.copy()
    count, group = merge_runs(moved, masses, 0.3)
    moved, masses = moved[:count], masses[:count]
    assert count < 2000
    assert masses.sum() == pytest.approx(weights.sum())
    assert np.allclose(masses @ moved, weights @ points)
    assert farthest(moved[group], points) <= 0.6
    assert np.allclose(np.bincount(group, weights), masses)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_the_lattice_errs_by_no_more_than_it_says(dimensions: int, seed: int) -> None:
    points, weights = cloud(seed, 600, dimensions)
    padded = np.pad(points, ((0, 0), (0, 3 - dimensions)))
    means, error = lattice.lattice_means(padded, weights)
    assert (np.sqrt(((means - truth(padded, weights)) ** 2).sum(1)) <= error).all()
    # Most bounds are of use.
    assert np.median(error) < 5e-3


def test_a_heavy_point_counts_among_very_many_light_ones() -> None:
    points = np.random.default_rng(0).uniform(0, 0.3, (400_000, 3))
    points[0] = 0.3
    weights = np.full(len(points), 1e-7)
    weights[0] = 1
    means, error = lattice.lattice_means(points, weights)
    chosen = np.arange(0, len(points), 4001)
    squares = ((points[chosen, None] - points) ** 2).sum(2)
    pull = weights * np.exp(-squares / 2)
    expected = pull @ points / pull.sum(1, keepdims=True)
    assert (np.sqrt(((means[chosen] - expected) ** 2).sum(1)) <= error[chosen]).all()


def test_the_kernel_of_the_lattice_errs_on_one_axis_as_the_module_says() -> None:
    """Over places in a cell and distances up to nine standard deviations, of the product of splines and taps."""
    taps, errors = lattice._kernel().astype(np.float64), []
    spline = np.empty(lattice.TAPS)
    for place in np.linspace(0, 1, 9):
        lattice._spline(place, spline)
        left = {i - 2: value for i, value in enumerate(spline.copy())}
        for distance in np.linspace(0, 9 * lattice.SPACING, 109):
            other = place + distance
            lattice._spline(other - np.floor(other), spline)
            right = {i - 2 + int(np.floor(other)): value for i, value in enumerate(spline)}
            kernel = sum(
                a * b * taps[n - m + lattice.RADIUS]
                for m, a in left.items()
                for n, b in right.items()
                if abs(n - m) <= lattice.RADIUS
            )
            u = distance / lattice.SPACING
            errors.append((u, abs(kernel - np.exp(-(u**2) / 2)) * np.exp(u**2 / 2 / lattice.WIDER)))
    # Beyond the last tap the bound counts the whole Gaussian.
    within = [(u, error) for u, error in errors if u < lattice.RADIUS / lattice.SPACING]
    assert 0.5 * lattice.SUM_ERROR < max(error for _, error in within) <= lattice.SUM_ERROR
    assert 0.5 * lattice.PLACE_ERROR < max(u * error for u, error in within) <= lattice.PLACE_ERROR
    assert max(u * np.exp(-(u**2) / 2 * (1 - 1 / lattice.WIDER)) for u, _ in errors) <= lattice.REACH


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    points, weights = cloud(7, 3000, 3)
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            means, error = lattice.lattice_means(points, weights)
            results.append((means, error, gaussian_means(points, points, weights, tolerance=1e-3)))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)
