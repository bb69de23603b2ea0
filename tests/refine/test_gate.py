"""The gate that leaves a mask alone where the refiner is unsure."""

import numpy as np
import pytest

from maskwright.refine import gate, refiner
from maskwright.refine.gate import expected_iou, is_sure


def test_the_expected_iou_is_that_of_truths_drawn_from_the_probabilities() -> None:
    generator = np.random.default_rng(0)
    probabilities = 0.05 + 0.95 * generator.random((30, 40), np.float32)
    mask = probabilities >= 0.4
    drawn = generator.random((2000, 30, 40)) < probabilities
    ious = (drawn & mask).sum((1, 2)) / (drawn | mask).sum((1, 2))
    assert expected_iou(mask, probabilities) == pytest.approx(ious.mean(), abs=0.002)


def test_masks_of_one_label_are_expected_right() -> None:
    for value in (0.0, 1.0):
        probabilities = np.full((5, 6), value, np.float32)
        assert expected_iou(probabilities >= 0.5, probabilities) == 1
    assert expected_iou(np.ones((5, 6), np.bool_), np.zeros((5, 6), np.float32)) == 0


def disk(side: int) -> np.ndarray:
    rows, columns = np.indices((side, side)) - 100
    return (np.hypot(rows, columns) < 60).astype(np.float32)


@pytest.mark.parametrize("side", [200, 1000])
def test_the_size_of_the_picture_around_an_object_does_not_matter(side: int) -> None:
    assert is_sure(np.where(disk(side) > 0, 0.98, 0.018).astype(np.float32))
    assert not is_sure(np.where(disk(side) > 0, 0.6, 0.018).astype(np.float32))


def test_a_mask_is_left_exactly_as_it_was_where_the_refiner_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (40, 40, 3), np.uint8)
    monkeypatch.setattr(gate, "LEAST_EXPECTED_IOU", 1.1)
    for classes in (2, 3):
        probabilities = generator.dirichlet(np.ones(classes), (40, 40)).astype(np.float32).transpose(2, 0, 1)
        assert np.array_equal(refiner.refine_bundled(probabilities, image), probabilities)
