"""Outlines of label maps, and shapes as label maps, against slow and obvious versions."""

import numpy as np
import pytest
from scipy import ndimage

from maskwright.data.coco_masks import mask_of as mask_of_runs
from maskwright.data.coco_masks import runs_of
from maskwright.data.formats.outlines import Ring, area_of, bridged, mask_of, regions_of
from maskwright.data.formats.shapes import Bitmap, Drawing, Polygon, box_ring, ellipse_ring, ring_of, turned
from maskwright.errors import DataError
from maskwright.ops.bit_runs import pack, unpack


def enclosed(rings: list[Ring], height: int, width: int) -> np.ndarray:
    """Count the edges to the left of each pixel's centre: even-odd, pixel by pixel."""
    inside = np.zeros((height, width), np.bool_)
    for row, column in np.ndindex(height, width):
        crossings = 0
        for ring in rings:
            for (x, y), (_, end) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
                crossings += x <= column and min(y, end) <= row < max(y, end)
        inside[row, column] = crossings % 2
    return inside


@pytest.mark.parametrize("seed", range(12))
def test_regions_are_the_connected_pieces_and_enclose_their_pixels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 12, 2)
    labels = generator.choice([0, 1, 2, 255], (height, width), p=[0.3, 0.5, 0.1, 0.1]).astype(np.uint8)
    regions = regions_of(labels)
    covered = np.zeros(labels.shape, np.int64)
    for region in regions:
        inside = enclosed([region.outer, *region.holes], height, width)
        assert (labels[inside] == region.label).all() and ndimage.label(inside)[1] == 1
        covered += inside
        top, left, mask = mask_of(region)
        placed = np.zeros_like(inside)
        placed[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        assert np.array_equal(placed, inside) and area_of(region) == inside.sum()
        joined = runs_of([bridged(region).ravel().tolist()], height, width)
        assert np.array_equal(mask_of_runs(joined, height, width), inside)
        # Gaps that touch the outside at a corner are no holes.
        filled = ndimage.binary_fill_holes(inside, np.ones((3, 3)))
        assert np.array_equal(enclosed([region.outer], height, width), filled)
        # No corner of three points in a line, and turns of a right angle only.
        for ring in (region.outer, *region.holes):
            steps = np.roll(ring, -1, axis=0) - ring
            assert ((steps == 0).sum(axis=1) == 1).all() and (
                (steps * np.roll(steps, 1, axis=0)).sum(axis=1) == 0
            ).all()
    assert np.array_equal(covered, labels > 0)


def drawing(shapes: tuple[Polygon | Bitmap, ...], height: int = 20, width: int = 30) -> Drawing:
    labels = {"a": 1, "b": 2, "back": 0, "skip": 255}
    return Drawing(height=height, width=width, shapes=shapes, labels=labels, where="x.json", notes=[])


@pytest.mark.parametrize("seed", range(30))
def test_polygons_less_their_holes_equal_sets_of_pixels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rings = [generator.uniform(-3, (33, 23), (int(generator.integers(3, 8)), 2)) for _ in range(4)]
    masks = [mask_of_runs(runs_of([ring.ravel().tolist()], 20, 30), 20, 30) for ring in rings]
    found = drawing((Polygon("a", rings[0], (rings[1], rings[2])), Polygon("b", rings[3])))
    expected = (masks[0] & ~masks[1] & ~masks[2]).astype(np.uint8)
    overlap = np.count_nonzero(masks[3] & (expected == 1))
    expected[masks[3]] = 2
    assert np.array_equal(found(), expected)
    found()  # again: nothing is noted twice
    assert len(found.notes) == bool(overlap) and (not overlap or f"overlap in {overlap} pixels" in found.notes[0])


def test_a_polygon_is_filled_where_centres_lie_inside() -> None:
    half = Polygon("a", np.array(box_ring(1.4, 1.4, 3.6, 2.6)))
    expected = np.zeros((20, 30), np.uint8)
    expected[1:3, 1:4] = 1
    assert np.array_equal(drawing((half,))(), expected)


@pytest.mark.parametrize("corner", [(-4, -3), (18, 28), (5, 5), (-50, 0), (0, 90)])
def test_bitmaps_are_cut_at_the_picture(corner: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random((6, 7)) < 0.5
    canvas = np.zeros((220, 230), np.uint8)
    canvas[100 + corner[0] : 106 + corner[0], 100 + corner[1] : 107 + corner[1]] = mask
    assert np.array_equal(drawing((Bitmap("a", lambda: (*corner, mask)),))(), canvas[100:120, 100:130])


def test_ellipses_deviate_by_less_than_a_tenth_of_a_pixel() -> None:
    for radius in (0.5, 3, 50, 4000):
        ring = np.array(ellipse_ring(5, 6, radius, radius))
        middles = (ring + np.roll(ring, -1, axis=0)) / 2 - (5, 6)
        assert radius - np.hypot(*middles.T).min() < 0.1
    quarter = np.array(ellipse_ring(0, 0, 4, 1, 90))
    assert np.abs(quarter[:, 1]).max() == pytest.approx(4) and np.abs(quarter[:, 0]).max() == pytest.approx(1)
    assert turned([(1, 0)], (0, 0), 90)[0] == pytest.approx((0, 1))  # clockwise, since y points down


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ([[0, 0], [1, 1]], "it has 2 corners"),
        ([[0, 0], [1, 1], [0, 0]], "it has 2 corners"),
        ([[0, 0], [1, float("nan")], [2, 2]], "finite"),
        ([[0, 0], [1, None], [2, 2]], "finite"),
        ([[0, 0], [1], [2, 2]], "finite"),
        ("abc", "finite"),
        ([[31, 1], [40, 1], [40, 5]], "outside of the picture's 30 x 20"),
        ([[1, 1], [4e9, 1], [40, 5]], "far outside"),
        ([], "finite"),
    ],
)
def test_what_is_no_polygon_is_named(points: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        ring_of(points, 20, 30)


@pytest.mark.parametrize("count", [1, 5, 65536, 65537, 200000])
def test_brush_streams_come_back(count: int) -> None:
    values = np.repeat(np.random.default_rng(count).integers(0, 256, count // 50 + 1), 50)[:count].astype(np.uint8)
    stream = pack(values)
    assert np.array_equal(unpack(stream, count), values)  # type: ignore[arg-type]
    assert unpack(stream, count + 1) is None and unpack(stream[:-1], count) is None
    assert unpack(stream[:5], count) is None
