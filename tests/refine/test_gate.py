"""The gate that leaves a mask alone where the refiner is unsure."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from maskwright.refine import gate, refiner
from maskwright.refine.gate import expected_iou, is_worthwhile


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
def test_a_mask_is_taken_where_much_error_goes_and_left_where_the_refiner_is_unsure(side: int) -> None:
    moved = np.roll(disk(side), 4, axis=1)
    for inside, taken in ((0.98, True), (0.6, False)):  # whatever the size of the picture around the object
        refined = np.where(disk(side) > 0, inside, 0.018).astype(np.float32)
        assert is_worthwhile(*(expected_iou(mask >= 0.5, refined) for mask in (moved, refined))) == taken


@pytest.mark.parametrize("size", [1, 12])
def test_many_small_objects_are_no_worse_off_than_a_large_one(size: int) -> None:
    truth = np.kron(disk(200), np.ones((12, 12), np.float32)) if size == 12 else np.tile(disk(200), (12, 12))
    soft = ndimage.gaussian_filter(truth, size)  # as unsure at the edges as the object is large
    before = np.roll(truth, 6 * size, axis=1)
    assert is_worthwhile(*(expected_iou(mask >= 0.5, soft) for mask in (before, soft)))


def test_a_mask_is_left_exactly_as_it_was_where_the_refiner_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (40, 40, 3), np.uint8)
    monkeypatch.setattr(gate, "LARGEST_ERROR", -1.0)
    for classes in (2, 3):
        probabilities = generator.dirichlet(np.ones(classes), (40, 40)).astype(np.float32).transpose(2, 0, 1)
        assert np.array_equal(refiner.refine_bundled(probabilities, image).probabilities, probabilities)


def test_a_mask_is_measured_by_the_probabilities_and_not_by_itself() -> None:
    belief = disk(200) * 0.98
    missing = np.where(np.indices((200, 200))[0] < 90, False, belief > 0)
    part, whole = (np.count_nonzero(mask) for mask in (missing, belief))
    assert expected_iou(belief > 0, belief) == pytest.approx(0.98)
    assert expected_iou(missing, belief) == pytest.approx(0.98 * part / (0.98 * whole + 0.02 * part), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_refiner_tells_the_gain_and_whether_the_gate_refused_it(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = np.stack([disk(200) * 0.9, *np.zeros((classes - 2, 200, 200), np.float32)])
    probabilities = np.concatenate((1 - coarse.sum(0, keepdims=True), coarse)).astype(np.float32)
    image = np.repeat((disk(200) * 200).astype(np.uint8)[..., None], 3, axis=2)
    monkeypatch.setattr(refiner, "_refined", lambda image, probability: (torch.from_numpy(probability.copy()),) * 2)
    monkeypatch.setattr(refiner, "is_worthwhile", lambda before, after: True)
    taken = refiner.refine_bundled(probabilities, image)
    assert taken.gain == pytest.approx(0, abs=1e-6) and not taken.kept
    monkeypatch.setattr(refiner, "is_worthwhile", lambda before, after: False)
    refused = refiner.refine_bundled(probabilities, image)
    assert refused.gain == 0 and refused.kept


def test_where_there_is_nothing_to_refine_nothing_is_refused() -> None:
    empty = np.stack((np.ones((20, 30), np.float32), np.zeros((20, 30), np.float32)))
    refined = refiner.refine_bundled(empty, np.zeros((20, 30, 3), np.uint8))
    assert refined.gain is None and not refined.kept
    assert np.array_equal(refined.probabilities, empty)


def test_a_mask_of_which_nothing_can_get_better_stays() -> None:
    for value in (0.0, 0.06):
        probabilities = np.stack((np.full((40, 40), 1 - value), np.full((40, 40), value))).astype(np.float32)
        refined = refiner.refine_bundled(probabilities, np.zeros((40, 40, 3), np.uint8))
        assert np.array_equal(refined.probabilities, probabilities) and not refined.gain
