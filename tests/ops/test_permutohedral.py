"""The permutohedral lattice: parity with a slow one, closeness to true Gaussians, and what holds for any filter."""

from collections.abc import Iterator
from itertools import product

import numba
import numpy as np
import pytest

from maskwright.ops.permutohedral import Lattice


def scattered(points: int, dimensions: int, *, spread: float = 2.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=spread, size=(points, dimensions)).astype(np.float32)


def grid(height: int, width: int, *, sigma: float) -> np.ndarray:
    return np.array(list(product(range(height), range(width))), np.float32) / np.float32(sigma)


def channels(points: int, count: int, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((points, count), np.float32)


def kernel(lattice: Lattice) -> np.ndarray:
    """The filter as an explicit matrix."""
    return lattice.filter(np.eye(len(lattice.corners), dtype=np.float32))


def simplex(position: np.ndarray) -> Iterator[tuple[tuple[int, ...], float]]:
    """Corners and barycentric weights of the simplex around a position in D dimensions, by solving for them."""
    dimensions = len(position)
    colours = dimensions + 1
    steps = [position[i] / np.sqrt((i + 1) * (i + 2)) * np.sqrt(2 / 3) * colours for i in range(dimensions)]
    elevated = np.array([sum(steps[k:]) - (k * steps[k - 1] if k else 0) for k in range(colours)])
    origin = colours * np.round(elevated / colours)
    excess = round(origin.sum() / colours)
    rising = np.argsort(elevated - origin)
    origin[rising[:excess] if excess > 0 else rising[colours + excess :]] -= colours * np.sign(excess)
    rising = np.argsort(elevated - origin)
    corners = np.array([origin + colour for colour in range(colours)])
    for colour in range(colours):
        corners[colour, rising[:colour]] -= colours
    weights = np.linalg.lstsq(np.vstack((corners.T, np.ones(colours))), np.append(elevated, 1), rcond=None)[0]
    assert (weights > -1e-6).all()
    for corner, weight in zip(corners, weights, strict=True):
        yield tuple(int(x) for x in corner), weight


def slow_filter(features: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Splat, blur and slice over a dictionary of corners, in float64."""
    simplices = [list(simplex(position.astype(np.float64))) for position in features]
    lattice: dict[tuple[int, ...], np.ndarray] = {}
    for corners, value in zip(simplices, values, strict=True):
        for corner, weight in corners:
            lattice[corner] = lattice.get(corner, 0) + weight * value
    colours = features.shape[1] + 1
    for direction in range(colours):
        step = np.ones(colours, int)
        step[direction] -= colours
        sides = {c: lattice.get(tuple(c + step), 0) + lattice.get(tuple(c - step), 0) for c in lattice}
        lattice = {corner: 0.5 * lattice[corner] + 0.25 * sides[corner] for corner in lattice}
    return np.array([sum(weight * lattice[corner] for corner, weight in corners) for corners in simplices])


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_parity_with_a_slow_lattice(dimensions: int) -> None:
    features, values = scattered(300, dimensions), channels(300, 3)
    expected = slow_filter(features, values)
    np.testing.assert_allclose(Lattice.build(features).filter(values), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("features", "tolerance"), [(grid(16, 16, sigma=3), 0.005), (scattered(500, 5, spread=1), 0.02)]
)
def test_averages_are_nearly_those_of_true_gaussians(features: np.ndarray, tolerance: float) -> None:
    values = channels(len(features), 4)
    squares = ((features[:, None].astype(np.float64) - features) ** 2).sum(-1)
    gaussian = np.exp(-squares / 2)
    lattice = Lattice.build(features)
    averages = lattice.filter(values) / lattice.filter(np.ones((len(features), 1), np.float32))
    error = averages - gaussian @ values / gaussian.sum(1, keepdims=True)
    assert np.sqrt((error**2).mean()) < tolerance


def test_standard_deviation_is_one_where_points_are_dense() -> None:
    positions = np.linspace(-8, 8, 4001, dtype=np.float32)[:, None]
    variances = []
    # The filter differs a little with the place inside a cell, which is √3 long in one dimension.
    for place in np.linspace(0, np.sqrt(3), 8, endpoint=False, dtype=np.float32):
        impulse = (positions == 0).astype(np.float32)
        response = Lattice.build(positions + place).filter(impulse)
        variances.append((response * positions**2).sum() / response.sum())
    assert np.mean(variances) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_the_average_of_a_constant_is_that_constant(dimensions: int) -> None:
    features = scattered(200, dimensions)
    lattice = Lattice.build(features)
    ones = np.ones((200, 1), np.float32)
    np.testing.assert_allclose(lattice.filter(7 * ones) / lattice.filter(ones), 7, rtol=1e-5)


@pytest.mark.parametrize(("dimensions", "points", "tolerance"), [(1, 400, 1e-6), (2, 400, 0.005), (5, 2000, 0.03)])
def test_filter_is_symmetric(dimensions: int, points: int, tolerance: float) -> None:
    # To rounding where no corner is left out, as in one dimension, and nearly elsewhere.
    matrix = kernel(Lattice.build(scattered(points, dimensions, spread=0.5)))
    assert np.linalg.norm(matrix - matrix.T) < tolerance * np.linalg.norm(matrix)
    a, b = channels(points, 1, seed=2), channels(points, 1, seed=3)
    assert (a.T @ matrix @ b).item() == pytest.approx((b.T @ matrix @ a).item(), rel=1e-4)


def test_filter_is_linear_and_positive() -> None:
    lattice = Lattice.build(scattered(100, 3))
    values = channels(100, 2)
    np.testing.assert_allclose(lattice.filter(values), kernel(lattice) @ values, rtol=1e-4)
    assert (kernel(lattice) >= 0).all()
    assert (np.diag(kernel(lattice)) > 0).all()


@pytest.mark.parametrize("count", [2, 3, 8, 21, 24])
def test_channels_are_filtered_each_for_itself(count: int) -> None:
    lattice, values = Lattice.build(scattered(300, 5)), channels(300, count)
    together = lattice.filter(values)
    for channel in range(count):
        alone = lattice.filter(np.ascontiguousarray(values[:, channel : channel + 1]))
        np.testing.assert_allclose(together[:, channel], alone[:, 0], rtol=1e-5)


def test_points_that_come_in_parts_are_filtered_as_those_that_come_together() -> None:
    lattice, values = Lattice.build(scattered(300, 2)), channels(300, 2)
    corners, parts = lattice.empty(2), []
    for first in (0, 100):
        lattice.splat(values[first : first + 100 + first], corners, first=first)
    corners = lattice.blurred(corners)
    for first in (0, 100):
        parts.append(np.ones((100 + first, 2), np.float32))
        lattice.slice(corners, parts[-1], first=first)
    np.testing.assert_allclose(np.concatenate(parts), 1 + lattice.filter(values), rtol=1e-6)


def test_normalised_divides_by_the_root_of_both_sums() -> None:
    lattice = Lattice.build(scattered(150, 2))
    sums = lattice.filter(np.ones((150, 1), np.float32))
    expected = 4 * kernel(lattice) / np.sqrt(sums * sums.T)
    np.testing.assert_allclose(kernel(lattice.normalised(4)), expected, rtol=1e-4, atol=1e-8)


def test_the_order_of_the_points_does_not_matter() -> None:
    features, values = scattered(400, 5), channels(400, 2)
    order = np.random.default_rng(4).permutation(400)
    shuffled = Lattice.build(features[order]).filter(values[order])
    np.testing.assert_allclose(shuffled, Lattice.build(features).filter(values)[order], rtol=1e-4)


def test_points_far_apart_keep_their_values() -> None:
    # So many that the hash tables grow several times.
    features, values = grid(150, 150, sigma=0.05), channels(22500, 1)
    lattice = Lattice.build(features).normalised()
    assert lattice.before.shape[1] == 3 * 22500
    np.testing.assert_allclose(lattice.filter(values), values, rtol=1e-5)


def test_neighbours_are_mutual() -> None:
    lattice = Lattice.build(scattered(300, 4))
    colours, count = lattice.before.shape
    for before, after in zip(lattice.before, lattice.after, strict=True):
        has_next = np.flatnonzero(after < count)
        assert (before[after[has_next]] == has_next).all()
        assert (before < count).sum() == len(has_next)
    assert colours == 5


def test_weights_are_barycentric() -> None:
    weights = Lattice.build(scattered(1000, 5)).weights
    np.testing.assert_allclose(weights.sum(1), 1, rtol=0, atol=1e-6)
    assert weights.min() > -1e-6


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="numba was started with one thread")
def test_threads_do_not_change_the_result() -> None:
    features, values = scattered(2000, 5), channels(2000, 1)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = Lattice.build(features).normalised().filter(values)
        numba.set_num_threads(2)
        together = Lattice.build(features).normalised().filter(values)
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(alone, together)


@pytest.mark.parametrize("dimensions", [1, 5])
def test_one_point_keeps_its_value_when_normalised(dimensions: int) -> None:
    lattice = Lattice.build(scattered(1, dimensions)).normalised()
    np.testing.assert_allclose(lattice.filter(np.array([[2.5]], np.float32)), 2.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((0, 2)), "expected"),
        (np.zeros((3, 0)), "expected"),
        (np.zeros(3), "expected"),
        (np.array([[0.0, np.nan], [1, 2]]), "finite"),
        (np.array([[np.inf, 0.0]]), "finite"),
        (np.array([[0.0], [1e9]]), "larger standard deviation"),
        (np.array([[0.0] * 5, [2e4] * 5]), "larger standard deviation"),
    ],
)
def test_features_that_will_not_do_are_named(features: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lattice.build(features)
