"""Borders against images: planted shifts are found, and counts equal a slow version's."""

import numpy as np
import pytest

from maskwright.data.doctor import edges
from planted_faults import draw_shapes


def naive_texture(values: np.ndarray) -> tuple[int, int, int]:
    height, width = values.shape
    border = between = lonely = 0
    for y in range(height - 1):
        for x in range(width - 1):
            here = values[y, x]
            if here == values[y, x + 1] == values[y + 1, x]:
                continue
            border += 1
            if y == 0 or x == 0:
                continue
            sides = [(values[y, x - 1], values[y, x + 1]), (values[y - 1, x], values[y + 1, x])]
            between += any(a < here < b or a > here > b for a, b in sides)
            lonely += (values[y - 1 : y + 2, x - 1 : x + 2] == here).sum() - 1 <= 2
    return border, between, lonely


@pytest.mark.parametrize("seed", range(5))
def test_texture_is_that_of_a_slow_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, rng.integers(2, 6), (rng.integers(1, 20), rng.integers(1, 20))).astype(np.int32)
    assert tuple(edges.texture(values)) == naive_texture(values)


@pytest.mark.parametrize(("down", "right"), [(6, 0), (0, -7), (-5, 4), (8, 8)])
def test_a_planted_shift_is_found(down: int, right: int) -> None:
    image, labels = draw_shapes(np.random.default_rng(4), 240, 200)
    strength = edges.edge_strength(image.mean(axis=2).astype(np.uint8))
    moved = np.roll(labels, (-down, -right), (0, 1)).astype(np.int32)
    shift = edges.find_shift(strength, edges.border_points(moved))
    assert shift is not None
    assert abs(shift.down - down) <= 1 and abs(shift.right - right) <= 1
    assert shift.there > 1.3 * shift.here and shift.there > 1.2 * shift.opposite and shift.gain > 2


def test_a_mask_in_its_place_has_no_shift() -> None:
    image, labels = draw_shapes(np.random.default_rng(4), 240, 200)
    strength = edges.edge_strength(image.mean(axis=2).astype(np.uint8))
    shift = edges.find_shift(strength, edges.border_points(labels.astype(np.int32)))
    assert shift is not None and np.hypot(shift.down, shift.right) <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 2), (40, 1)])
def test_tiny_pictures(shape: tuple[int, int]) -> None:
    labels = np.zeros(shape, np.int32)
    labels.flat[0] = 1
    strength = edges.edge_strength(np.zeros(shape, np.uint8))
    assert edges.find_shift(strength, edges.border_points(labels)) is None
    assert edges.agreement(strength, edges.border_points(labels)) == 0
    edges.texture(labels)


def test_pieces_are_measured() -> None:
    numbers = np.array([[0, 0, 1], [2, 0, 1], [2, 3, 3]], np.int32)
    sizes, firsts = edges.measure_pieces(numbers)
    assert sizes.tolist() == [3, 2, 2, 2]
    assert firsts.tolist() == [0, 2, 3, 7]
