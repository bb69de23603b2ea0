"""The guided filter: parity with loops over windows, and what holds for any picture."""

import re

import numpy as np
import pytest

from maskwright.errors import ConfigError, DataError
from maskwright.refine.guided import guided_filter


def picture(height: int = 9, width: int = 7, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def random_probabilities(classes: int, height: int = 9, width: int = 7, *, seed: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(0.01, 1, (classes, height, width))
    return (values / values.sum(0) if classes > 1 else values).astype(np.float32)


def slow_guided(plane: np.ndarray, image: np.ndarray, *, radius: int, epsilon: float) -> np.ndarray:
    """One plane, window by window: the affine function of colour of every window, then their mean in every pixel."""
    height, width = plane.shape
    colours = image.astype(np.float64) / 255
    total, windows = np.zeros((height, width)), np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            inside = np.s_[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1]
            guide, values = colours[inside].reshape(-1, 3), plane[inside].reshape(-1).astype(np.float64)
            mean = guide.mean(0)
            matrix = guide.T @ guide / len(guide) - np.outer(mean, mean) + epsilon * np.eye(3)
            slope = np.linalg.solve(matrix, guide.T @ values / len(guide) - mean * values.mean())
            total[inside] += colours[inside] @ slope + (values.mean() - slope @ mean)
            windows[inside] += 1
    return total / windows


@pytest.mark.parametrize(("radius", "epsilon"), [(1, 1e-4), (2, 1e-2), (3, 1e-4), (20, 1e-3)])
@pytest.mark.parametrize("gray", [False, True])
def test_parity_with_loops_over_windows(radius: int, epsilon: float, gray: bool) -> None:
    image = np.repeat(picture()[..., :1], 3, axis=2) if gray else picture()
    probabilities = random_probabilities(1)
    expected = np.clip(slow_guided(probabilities[0], image, radius=radius, epsilon=epsilon), 0, 1)
    found = guided_filter(probabilities, image, radius=radius, epsilon=epsilon)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6)


def test_classes_are_filtered_one_by_one_and_sum_to_1() -> None:
    probabilities, image = random_probabilities(4), picture()
    found = guided_filter(probabilities, image, radius=2)
    each = np.concatenate([guided_filter(plane[None], image, radius=2) for plane in probabilities])
    np.testing.assert_allclose(found, each / each.sum(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sum(0), 1, rtol=0, atol=1e-6)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (9, 7)])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_probabilities_stay_constant_up_to_the_border(size: tuple[int, int], value: float) -> None:
    found = guided_filter(np.full((1, *size), value, np.float32), picture(*size))
    np.testing.assert_allclose(found, value, rtol=0, atol=1e-6)


def test_a_flat_image_gives_means_of_means() -> None:
    probabilities = np.zeros((1, 9, 9), np.float32)
    probabilities[0, 4, 4] = 1
    found = guided_filter(probabilities, np.full((9, 9, 3), 77, np.uint8), radius=1)
    hat = np.array([0, 0, 1, 2, 3, 2, 1, 0, 0]) / 9
    np.testing.assert_allclose(found[0], np.outer(hat, hat), rtol=0, atol=1e-6)


def test_it_is_linear_in_the_probabilities() -> None:
    # In the middle of [0, 1], so that nothing is clipped.
    image = picture()
    first, second = (0.5 + 0.05 * (random_probabilities(1, seed=seed) - 0.5) for seed in (1, 2))
    mixed = guided_filter(0.3 * first + 0.7 * second, image, radius=2)
    apart = 0.3 * guided_filter(first, image, radius=2) + 0.7 * guided_filter(second, image, radius=2)
    np.testing.assert_allclose(mixed, apart, rtol=0, atol=1e-6)


def test_what_is_affine_in_colour_is_kept() -> None:
    image = picture()
    plane = (0.1 + image @ np.array([0.2, 0.3, 0.3]) / 255).astype(np.float32)
    np.testing.assert_allclose(guided_filter(plane[None], image, epsilon=1e-9)[0], plane, rtol=0, atol=1e-5)


def test_a_soft_edge_moves_to_the_edge_of_the_image() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 200
    soft = np.clip((np.arange(40) - 17) / 10, 0, 1).astype(np.float32)  # one half at column 22
    found = guided_filter(np.broadcast_to(soft, (1, 40, 40)), image)[0]
    np.testing.assert_array_equal(found > 0.5, image[..., 0] > 0)
    assert found[:, 20].min() - found[:, 19].max() > 0.4


def test_mirrored_input_gives_mirrored_output() -> None:
    probabilities, image = random_probabilities(2), picture()
    found = guided_filter(probabilities[:, ::-1, ::-1], image[::-1, ::-1], radius=2)
    np.testing.assert_allclose(found[:, ::-1, ::-1], guided_filter(probabilities, image, radius=2), rtol=0, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"radius": 0}, {"radius": 1.5}, {"epsilon": 0}, {"epsilon": np.nan}])
def test_settings_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        guided_filter(random_probabilities(1), picture(), **wrong)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (random_probabilities(2) / 2, "sum to 0.5"),
        (np.full((1, 9, 7), np.nan), "nan to nan"),
        (2 * np.ones((1, 9, 7)), "expected 0 to 1"),
        (random_probabilities(1)[0], "expected (C, H, W)"),
        (random_probabilities(1, 7, 9), "(7, 9, 3)"),
        (np.ones((1, 9, 7), np.uint8), "uint8"),
    ],
)
def test_probabilities_that_will_not_do_are_named(probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        guided_filter(probabilities, picture())
