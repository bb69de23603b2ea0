"""The gate that leaves a mask alone where the refiner is unsure."""

import numpy as np
import pytest

from maskwright.refine import gate, refiner
from maskwright.refine.gate import expected_iou, judge


def test_the_expected_iou_is_that_of_truths_drawn_from_the_probabilities() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.random((30, 40), np.float32)
    mask = probabilities >= 0.4
    drawn = generator.random((2000, 30, 40)) < probabilities
    ious = (drawn & mask).sum((1, 2)) / (drawn | mask).sum((1, 2))
    assert expected_iou(mask, probabilities) == pytest.approx(ious.mean(), abs=0.002)


def test_masks_of_one_label_are_expected_right() -> None:
    for value in (0.0, 1.0):
        probabilities = np.full((5, 6), value, np.float32)
        assert expected_iou(probabilities >= 0.5, probabilities) == 1
    assert expected_iou(np.ones((5, 6), np.bool_), np.zeros((5, 6), np.float32)) == 0


def test_a_sure_refinement_is_taken_and_its_gain_estimated() -> None:
    coarse = np.zeros((20, 20), np.float32)
    coarse[5:15, 5:15] = 1
    refined = coarse.copy()
    refined[5:15, 15:17] = 0.98
    verdict = judge(coarse, refined)
    assert verdict.accepted and verdict.expected_iou > 0.99
    assert verdict.changed == 20 / 400
    assert verdict.gain == pytest.approx(verdict.expected_iou - 100 / 119.6, abs=1e-6)


def test_an_unsure_refinement_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    coarse = np.zeros((20, 20), np.float32)
    coarse[5:15, 5:15] = 1
    verdict = judge(coarse, np.where(coarse > 0, 0.6, 0.3).astype(np.float32))
    assert not verdict.accepted
    probabilities = np.stack((1 - coarse, coarse))
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    monkeypatch.setattr(gate, "LEAST_EXPECTED_IOU", 1.1)
    assert np.array_equal(refiner.refine_bundled(probabilities, image), probabilities)
