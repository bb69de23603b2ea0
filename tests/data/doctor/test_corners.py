"""Outlines: polygons keep their corners when they are simplified more, other shapes lose most of theirs."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from maskwright.data.doctor.corners import COARSE, FINE, Corners, _kept, corners_of
from maskwright.ops.components import number_pieces


def of_mask(mask: np.ndarray) -> Corners | None:
    numbers = number_pieces(mask.astype(np.int32))
    return corners_of(numbers, int(np.bincount(numbers[mask > 0]).argmax()))


def polygon(corners: np.ndarray, side: int = 300) -> np.ndarray:
    picture = Image.new("L", (side, side))
    ImageDraw.Draw(picture).polygon([tuple(corner) for corner in corners.tolist()], fill=1)
    return np.array(picture)


def star(rng: np.random.Generator) -> np.ndarray:
    """Ten corners, in turn far from the middle and near to it."""
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False) + rng.uniform(0, np.pi)
    radius = rng.uniform(110, 140, 10) * np.tile([1, 0.5], 5)
    return 150 + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def naive_kept(points: np.ndarray, tolerance: float) -> set[int]:
    def inside(first: int, last: int) -> set[int]:
        start, end = points[first], points[last % len(points)]
        along, best, at = end - start, tolerance, -1
        for i in range(first + 1, last):
            apart, length = points[i] - start, np.hypot(*along)
            away = abs(apart[0] * along[1] - apart[1] * along[0]) / length if length > 0 else np.hypot(*apart)
            if away > best:
                best, at = away, i
        return {at} | inside(first, at) | inside(at, last) if at >= 0 else set()

    opposite = int(np.hypot(*(points - points[0]).T).argmax())
    return {0, opposite} | inside(0, opposite) | inside(opposite, len(points))


@pytest.mark.parametrize("seed", range(8))
def test_simplifying_is_that_of_the_definition(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 30, (40, 2)).astype(np.float64)
    for tolerance in (FINE, COARSE):
        assert set(np.flatnonzero(_kept(points, tolerance)).tolist()) == naive_kept(points, tolerance)


@pytest.mark.parametrize("seed", range(8))
def test_a_polygon_keeps_its_corners(seed: int) -> None:
    found = of_mask(polygon(star(np.random.default_rng(seed))))
    assert found is not None and found.of_a_polygon
    assert 10 <= found.coarse <= 11  # and the point where the outline begins


@pytest.mark.parametrize("seed", range(8))
def test_a_blob_does_not(seed: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((300, 300)), 12)
    found = of_mask(noise > 0)
    assert found is not None and found.fine > 1.5 * found.coarse and not found.of_a_polygon


def test_a_circle_does_not() -> None:
    rows, columns = np.mgrid[:400, :400]
    found = of_mask(np.hypot(rows - 200, columns - 200) < 150)
    assert found is not None and found.fine > 1.5 * found.coarse and not found.of_a_polygon


def test_a_box_is_no_polygon_of_clicks() -> None:
    mask = np.zeros((300, 300), np.uint8)
    mask[40:250, 30:200] = 1
    found = of_mask(mask)
    assert found is not None and found.coarse == 4 and not found.of_a_polygon


def test_short_outlines_are_not_judged() -> None:
    mask = np.zeros((300, 300), np.uint8)
    mask[20:40, 20:60] = 1
    assert of_mask(mask) is None
