"""Regions of photographs as objects: connected, along edges that can be seen, ignored where they can't."""

import numpy as np
import pytest
from scipy import ndimage

from maskwright.data import regions
from maskwright.data.regions import random_region
from maskwright.types import IGNORE_INDEX


def image_of(truth: np.ndarray, *, contrast: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 3, (3, *truth.shape))
    return 100 + contrast * truth + noise


@pytest.mark.parametrize("seed", range(8))
def test_the_outline_lies_where_the_colours_change(seed: int) -> None:
    truth = np.zeros((96, 96), np.bool_)
    truth[30:60, 20:70] = True
    found = random_region(image_of(truth, contrast=90), np.random.default_rng(seed))
    assert found.dtype == np.uint8 and set(np.unique(found)) <= {0, 1, IGNORE_INDEX}
    outline = ndimage.maximum_filter(found == 1, 3) & (ndimage.minimum_filter(found, 3) == 0)
    near_edge = ndimage.maximum_filter(truth, 5) != ndimage.minimum_filter(truth, 5)
    assert not outline.any() or near_edge[outline].mean() > 0.9


def test_an_outline_without_contrast_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.zeros((96, 96), np.bool_)
    truth[:, 48:] = True
    image = image_of(truth, contrast=40)  # 69 levels in RGB
    shown, ignored = {}, {}
    for least, touching in ((50.0, shown), (90.0, ignored)):
        monkeypatch.setattr(regions, "LEAST_CONTRAST", least)
        for seed in range(4):
            found = random_region(image, np.random.default_rng(seed))
            touching[seed] = (ndimage.maximum_filter(found == 1, 3) & (found == 0)).any()
    assert any(shown.values()) and not any(ignored.values())


def test_regions_are_in_one_piece_and_differ_between_draws() -> None:
    generator = np.random.default_rng(0)
    image = 255 * ndimage.gaussian_filter(generator.random((3, 96, 96)), (0, 6, 6))
    image = (image - image.min()) * 255 / np.ptp(image)
    drawn = [random_region(image, np.random.default_rng(seed)) for seed in range(6)]
    for found in drawn:
        inside = found != 0  # with the ignored strip, which may cover a narrow part of the region
        areas = np.bincount(ndimage.label(inside, np.ones((3, 3)))[0].ravel())[1:]
        assert areas.max() > 0.9 * areas.sum()
    assert len({found.tobytes() for found in drawn}) > 3
