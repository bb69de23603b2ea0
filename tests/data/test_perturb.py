"""Masks that are spoilt on purpose: wrong, but not too wrong, and of every kind."""

import numpy as np
import pytest
from scipy import ndimage

from maskwright.data.perturb import LOWEST_IOU, perturbed


def disk(side: int) -> np.ndarray:
    rows, columns = np.indices((side, side)) - side / 2
    return np.hypot(rows, columns) < side / 3


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("seed", range(12))
def test_a_spoilt_mask_is_a_probability_that_still_overlaps(seed: int) -> None:
    truth = disk(64)
    mask = perturbed(truth, np.random.default_rng(seed))
    assert mask.shape == truth.shape and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    assert iou(mask >= 0.5, truth) >= LOWEST_IOU


def test_most_masks_are_wrong_somewhere_and_some_are_soft_and_some_are_hard() -> None:
    truth = disk(64)
    masks = [perturbed(truth, np.random.default_rng(seed)) for seed in range(40)]
    assert np.mean([iou(mask >= 0.5, truth) < 0.98 for mask in masks]) > 0.5
    hard = [np.isin(mask, (0, 1)).all() for mask in masks]
    assert any(hard) and not all(hard)
    # Some have a part that the truth has not, or lack one, and not just an edge that is off.
    pieces = [ndimage.label(mask >= 0.5)[1] + ndimage.label(mask < 0.5)[1] for mask in masks]
    assert max(pieces) > 2


def test_the_generator_decides_everything() -> None:
    one, again, other = (perturbed(disk(40), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (7, 30), (20, 20)])
def test_a_truth_without_an_edge_gives_a_mask_too(value: bool, shape: tuple[int, int]) -> None:
    for seed in range(5):
        mask = perturbed(np.full(shape, value), np.random.default_rng(seed))
        assert mask.shape == shape and np.isfinite(mask).all()
