"""Masks smaller than their image: the shares of the cells come back, and nothing else changes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maskwright.refine.shares import enlarged, with_shares


def some(*shape: int, seed: int = 0) -> np.ndarray:
    """Probabilities (C, H, W), few of them near 0."""
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return logits.softmax(0).numpy()


def means(maps: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The means over cells of equal size, by a large enough multiple of the pixels; float64."""
    classes, height, width = maps.shape
    fine = maps.astype(np.float64).repeat(rows, axis=1).repeat(columns, axis=2)
    return fine.reshape(classes, rows, height, columns, width).mean(axis=(2, 4))


SIZES = [((24, 30), (3, 5)), ((25, 31), (3, 7)), ((9, 40), (9, 13)), ((1, 7), (1, 1))]


@pytest.mark.parametrize(("size", "cells"), SIZES)
def test_maps_are_enlarged_as_pytorch_does(size: tuple[int, int], cells: tuple[int, int]) -> None:
    small = some(3, *cells)
    expected = F.interpolate(torch.from_numpy(small)[None], size=size, mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(enlarged(small, size), expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("size", "cells"), SIZES)
def test_the_means_over_the_cells_become_the_shares(
    size: tuple[int, int], cells: tuple[int, int], classes: int
) -> None:
    refined, shares = some(classes, *size), some(classes, *cells, seed=1)
    found = with_shares(refined, shares, steps=400)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(means(found, *cells), shares, atol=1e-3)


def test_the_default_number_of_steps_comes_close() -> None:
    refined, shares = some(3, 48, 64), some(3, 6, 8, seed=1)
    one, default = (
        np.abs(means(with_shares(refined, shares, **steps), 6, 8) - shares).mean() for steps in ({"steps": 1}, {})
    )
    assert default < one / 5


def test_probabilities_that_have_the_shares_stay() -> None:
    refined = some(3, 24, 30)
    shares = means(refined, 3, 5).astype(np.float32)
    np.testing.assert_allclose(with_shares(refined, shares), refined, atol=1e-5)


def test_one_cell_moves_all_pixels_by_the_same_logits() -> None:
    refined, shares = some(3, 6, 7), np.array([0.7, 0.2, 0.1], np.float32).reshape(3, 1, 1)
    change = np.log(with_shares(refined, shares)) - np.log(refined)
    change -= change[:1]
    np.testing.assert_allclose(change, np.broadcast_to(change[:, :1, :1], change.shape), atol=1e-4)


def test_a_class_without_a_share_goes_and_one_that_was_lost_comes_back() -> None:
    refined = np.zeros((3, 16, 16), np.float32)
    refined[0] = 1
    shares = np.zeros((3, 2, 2), np.float32)
    shares[1] = 1
    found = with_shares(refined, shares)
    assert np.isfinite(found).all() and (found.argmax(0) == 1).all() and found[[0, 2]].max() < 0.01
