"""Mean shift: the fast methods against the definition, and what must hold of any."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskwright.cluster import mean_shift
from maskwright.cluster.mean_shift import MOST_POINTS, exact_in_torch
from maskwright.errors import ConfigError, DataError
from maskwright.ops import gaussian_lattice
from reference import mean_shift_step

Array = NDArray[np.float64]
METHODS = ("naive", "exact", "fast")


def clusters(seed: int, count: int, dimensions: int, bandwidth: float = 2.5) -> Array:
    generator = np.random.default_rng(seed)
    centres = generator.uniform(0, 12 * bandwidth, (6, dimensions))
    return centres[generator.integers(6, size=count)] + generator.normal(size=(count, dimensions)) * bandwidth / 2


def farthest(found: Array, expected: Array) -> float:
    return float(np.sqrt(((found - expected) ** 2).sum(1)).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5])
def test_one_step_is_the_definition(method: str, dimensions: int) -> None:
    points = clusters(0, 60, dimensions)
    weights = np.random.default_rng(1).uniform(0.5, 9, 60)
    expected = mean_shift_step(points, weights, 2.5)
    found = mean_shift(points, bandwidth=2.5, steps=1, weights=weights, method=method)
    assert farthest(found, expected) < {"naive": 1e-12, "exact": 1e-10, "fast": 0.025}[method]


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
@pytest.mark.parametrize("tolerance", [0.5, 0.05, 0.002])
@pytest.mark.parametrize("seed", range(3))
def test_no_step_of_the_fast_method_errs_by_more_than_the_tolerance(
    dimensions: int, tolerance: float, seed: int
) -> None:
    # As many points that the lattice is taken, spread unevenly, with lone ones between crowds.
    generator = np.random.default_rng(seed)
    points = np.concatenate((clusters(seed, 2300, dimensions), generator.uniform(-9, 45, (200, dimensions))))
    weights = 10 ** generator.uniform(0, 4, len(points))
    expected = mean_shift(points, bandwidth=2.5, steps=1, weights=weights, method="naive")
    found = mean_shift(points, bandwidth=2.5, steps=1, weights=weights, method="fast", tolerance=tolerance)
    assert farthest(found, expected) <= tolerance


@pytest.mark.parametrize("apart", [2.0, 3.0, 4.0, 5.0])
@pytest.mark.parametrize("dimensions", [1, 3])
def test_light_points_between_crowds_keep_the_tolerance(apart: float, dimensions: int) -> None:
    """There a step parts what lies close together: whatever displaces points before it counts many times."""
    generator = np.random.default_rng(0)
    light = np.zeros((4000, dimensions))
    light[:, 0] = generator.uniform(-0.2, 0.2, 4000)
    crowds = np.zeros((200, dimensions))
    crowds[:, 0] = np.where(np.arange(200) < 100, apart, -apart)
    points = np.concatenate((light, crowds + generator.normal(scale=0.05, size=crowds.shape)))
    weights = np.repeat((1e-6, 1.0), (4000, 200))
    expected = mean_shift(points, bandwidth=1.0, steps=1, weights=weights, method="naive")
    found = mean_shift(points, bandwidth=1.0, steps=1, weights=weights, method="fast", tolerance=0.02)
    assert farthest(found, expected) <= 0.02
    twice = mean_shift(found, bandwidth=1.0, steps=1, weights=weights, method="fast", tolerance=0.02)
    again = mean_shift(found, bandwidth=1.0, steps=1, weights=weights, method="naive")
    assert farthest(twice, again) <= 0.02


def test_points_of_which_the_lattice_is_not_sure_are_computed_by_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    points, lattice_means = clusters(11, 6000, 3), gaussian_lattice.lattice_means
    seen = []

    def spoilt(*arguments: Array) -> tuple[Array, Array]:
        means, error = lattice_means(*arguments)
        means[::3] += 9
        error[::3] = np.inf
        seen.append(len(means))
        return means, error

    monkeypatch.setattr(gaussian_lattice, "lattice_means", spoilt)
    found = mean_shift(points, bandwidth=2.5, steps=1, method="fast")
    assert seen and farthest(found, mean_shift(points, bandwidth=2.5, steps=1, method="exact")) <= 0.025


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_exact_equals_the_definition_after_all_steps(dimensions: int) -> None:
    points = np.round(clusters(2, 900, dimensions), 1)
    expected = mean_shift(points, bandwidth=2.5, method="naive")
    assert farthest(mean_shift(points, bandwidth=2.5, method="exact"), expected) <= 1e-6


def test_fast_finds_the_modes_of_the_definition() -> None:
    points = clusters(3, 3000, 3)
    expected = mean_shift(points, bandwidth=2.5, method="naive")
    found = mean_shift(points, bandwidth=2.5, method="fast")
    apart = np.sqrt(((found - expected) ** 2).sum(1))
    assert (apart <= 0.05).mean() >= 0.99
    assert (np.round(found / 4) == np.round(expected / 4)).all(1).mean() >= 0.999


@pytest.mark.parametrize("method", METHODS)
def test_weights_count_as_so_many_equal_points(method: str) -> None:
    points, times = clusters(4, 150, 3), np.random.default_rng(0).integers(1, 5, 150)
    repeated = mean_shift(np.repeat(points, times, axis=0), bandwidth=2.5, method=method)
    weighted = mean_shift(points, bandwidth=2.5, weights=times, method=method)
    assert farthest(repeated, np.repeat(weighted, times, axis=0)) < (0.05 if method == "fast" else 1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_order_place_and_unit_of_the_points_do_not_matter(method: str) -> None:
    points = clusters(5, 400, 3)
    order = np.random.default_rng(0).permutation(400)
    modes = mean_shift(points, bandwidth=2.5, method=method)
    near = 0.05 if method == "fast" else 1e-7
    assert farthest(mean_shift(points[order], bandwidth=2.5, method=method), modes[order]) < near
    assert farthest(mean_shift(points - 70, bandwidth=2.5, method=method), modes - 70) < near
    assert farthest(mean_shift(points * 3, bandwidth=7.5, method=method) / 3, modes) < near
    assert farthest(mean_shift(points, bandwidth=2.5, method=method, weights=np.full(400, 1e-20)), modes) < near


@pytest.mark.parametrize("method", ("auto", *METHODS))
@pytest.mark.parametrize("points", [np.ones((1, 3)), np.full((500, 2), 7.25), np.zeros((3, 1), np.uint8)])
def test_one_point_or_equal_points_stay(method: str, points: Array) -> None:
    assert np.array_equal(mean_shift(points, bandwidth=1, method=method), points)


@pytest.mark.parametrize("method", METHODS)
def test_points_far_apart_stay_and_clusters_collapse(method: str) -> None:
    points = np.array([[0.0], [1.0], [1e7], [1e7 + 1]])
    assert np.allclose(mean_shift(points, bandwidth=2.0, method=method).ravel(), [0.5, 0.5, 1e7 + 0.5, 1e7 + 0.5])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [1e-90, 1e-200, 1e200, 1e305])
def test_the_unit_may_be_any(method: str, unit: float) -> None:
    points = clusters(10, 200, 2) / 100
    modes = mean_shift(points, bandwidth=0.025, method=method)
    assert farthest(mean_shift(points * unit, bandwidth=0.025 * unit, method=method) / unit, modes) < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_points_of_very_different_weight_are_all_counted(method: str) -> None:
    points, weights = np.array([[0.0], [1.0], [50.0], [51.0]]), np.array([1e-18, 1e-18, 1.0, 1e18])
    modes = mean_shift(points, bandwidth=1.0, weights=weights, method=method, tolerance=1e-3)
    assert np.allclose(modes.ravel(), [0.5, 0.5, 51, 51], atol=2e-3)


def test_no_step_changes_nothing() -> None:
    points = clusters(6, 50, 2)
    assert np.array_equal(mean_shift(points, bandwidth=1, steps=0, method="fast"), points)


def test_what_is_given_is_not_changed() -> None:
    points, weights = clusters(7, 3000, 3), np.ones(3000)
    before = points.copy()
    mean_shift(points, bandwidth=2.5, weights=weights, method="fast")
    assert np.array_equal(points, before) and np.array_equal(weights, np.ones(3000))


def test_tensors_give_tensors() -> None:
    points = torch.from_numpy(clusters(8, 200, 3)).float()
    modes = mean_shift(points, bandwidth=2.5, weights=torch.ones(200))
    assert modes.dtype == torch.float64 and modes.device == points.device
    assert np.array_equal(modes.numpy(), mean_shift(points.numpy(), bandwidth=2.5))


def test_the_sums_for_gpus_are_the_definition() -> None:
    points, weights = clusters(9, 300, 3), np.random.default_rng(0).uniform(1, 3, 300)
    points[100:200] = points[:100]
    found = exact_in_torch(torch.from_numpy(points), torch.from_numpy(weights), bandwidth=2.5, steps=20)
    assert farthest(found.numpy(), mean_shift(points, bandwidth=2.5, weights=weights, method="naive")) < 1e-6


@pytest.mark.parametrize(
    ("points", "options", "error", "message"),
    [
        (np.zeros((0, 3)), {}, DataError, "no points"),
        (np.zeros(5), {}, DataError, "shape"),
        (np.zeros((5, 0)), {}, DataError, "shape"),
        (np.array([[0.0, np.nan], [1, 1]]), {}, DataError, "1 of 2 points are not finite"),
        (np.array([["a"]]), {}, DataError, "dtype"),
        (np.zeros((5, 2), complex), {}, DataError, "dtype"),
        (np.broadcast_to(np.zeros((1, 1)), (MOST_POINTS + 1, 1)), {}, DataError, "at most"),
        (np.zeros((5, 2)), {"weights": np.ones(4)}, DataError, "weights"),
        (np.zeros((5, 2)), {"weights": np.zeros(5)}, DataError, "weights"),
        (np.zeros((5, 2)), {"weights": np.full(5, np.inf)}, DataError, "weights"),
        (np.zeros((5, 2)), {"bandwidth": 0}, ConfigError, "bandwidth"),
        (np.zeros((5, 2)), {"bandwidth": float("nan")}, ConfigError, "bandwidth"),
        (np.arange(5.0)[:, None], {"bandwidth": 5e-324}, ConfigError, "next to nothing"),
        (np.zeros((5, 2)), {"bandwidth": -1.0}, ConfigError, "bandwidth"),
        (np.zeros((5, 2)), {"bandwidth": "2"}, ConfigError, "bandwidth"),
        (np.zeros((5, 2)), {"weights": np.array([1e-300, 1, 1, 1, 1e300])}, DataError, "range"),
        (np.zeros((5, 2)), {"steps": -1}, ConfigError, "steps"),
        (np.zeros((5, 2)), {"steps": 1.5}, ConfigError, "steps"),
        (np.zeros((5, 2)), {"tolerance": 0.0}, ConfigError, "tolerance"),
        (np.zeros((5, 2)), {"method": "quick"}, ConfigError, "naive, exact, fast"),
    ],
)
def test_bad_input_is_named(points: Array, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mean_shift(points, **{"bandwidth": 1.0, **options})
