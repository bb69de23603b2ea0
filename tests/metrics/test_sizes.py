"""Scores by size against loops over images."""

from math import isnan

import numpy as np
import pytest

from label_map_cases import CASES, IGNORED, long_tailed, result_of
from maskwright.errors import ConfigError
from maskwright.metrics import bootstrap
from maskwright.metrics.sizes import scores_by_size


def squares(sides, *, found=1.0):
    """Images of one square each, of which the rows of the upper share are found."""
    target = np.zeros((len(sides), 120, 120), np.uint8)
    prediction = np.zeros_like(target)
    for true, predicted, side in zip(target, prediction, sides, strict=True):
        true[:side, :side] = 1
        predicted[: round(side * found), :side] = 1
    return result_of((2, prediction, target))


def test_thirds_of_nine_masks():
    parts = scores_by_size(squares([9, 1, 5, 7, 3, 2, 8, 4, 6], found=0.5), resamples=50)
    assert [(p.size, p.images, p.smallest, p.largest) for p in parts] == [
        ("small", 3, 1, 9),
        ("medium", 3, 16, 36),
        ("large", 3, 49, 81),
    ]
    small = parts[0]
    shares = [0.0, 0.5, 2 / 3]
    assert small.iou.value == small.recall == pytest.approx(np.mean(shares))
    assert small.dice == pytest.approx(np.mean([2 * s / (1 + s) for s in shares]))
    assert (small.missed, parts[1].missed) == (1, 0)
    assert small.name == "class 1" and small.label == 1


def test_coco_parts_at_32_and_96_pixels_squared():
    parts = scores_by_size(squares([31, 32, 95, 96, 120]), parts="coco", resamples=50)
    assert [(p.size, p.images, p.smallest, p.largest) for p in parts] == [
        ("small", 1, 31**2, 31**2),
        ("medium", 2, 32**2, 95**2),
        ("large", 2, 96**2, 120**2),
    ]
    assert all(p.iou.value == 1 for p in parts)
    assert isnan(parts[0].iou.low) and parts[1].iou.low == 1


def test_equal_areas_are_not_parted():
    (part,) = scores_by_size(squares([4, 4, 4, 9, 9]), resamples=50)
    assert (part.size, part.images) == ("all", 5)
    ties = scores_by_size(squares([1, 4, 4, 4, 4, 9]), resamples=50)
    assert [(p.size, p.images) for p in ties] == [("small", 5), ("large", 1)]


@pytest.mark.parametrize("parts", ["thirds", "coco"])
def test_parts_hold_every_mask_once_and_their_mean_is_the_class_mean(parts):
    case = long_tailed(6, 12, 3)
    result = result_of(case)
    found = scores_by_size(result, parts=parts, resamples=50)
    _, prediction, target = case
    for label in range(6):
        ious = []
        for predicted, true in zip(prediction, target, strict=True):
            a, b = (predicted == label) & (true != IGNORED), true == label
            if b.any():
                ious.append((a & b).sum() / (a | b).sum())
        of_label = [p for p in found if p.label == label]
        assert sum(p.images for p in of_label) == len(ious)
        if ious:
            mean = sum(p.iou.value * p.images for p in of_label) / len(ious)
            assert mean == pytest.approx(np.mean(ious), rel=1e-12)


def test_the_order_of_images_makes_no_difference():
    _, prediction, target = long_tailed(4, 10, 1)
    found, turned = (
        scores_by_size(result_of((4, prediction[::step], target[::step])), resamples=50) for step in (1, -1)
    )
    assert [(p.label, p.size, p.images, p.smallest) for p in found] == [
        (p.label, p.size, p.images, p.smallest) for p in turned
    ]
    np.testing.assert_allclose([p.iou.value for p in found], [p.iou.value for p in turned], rtol=1e-12)


def test_the_interval_of_a_part_is_that_of_its_images():
    sides = [3, 5, 9, 11]
    (small, *_) = scores_by_size(squares(sides, found=0.6), parts="coco", seed=2)
    expected = bootstrap.bootstrap(squares(sides, found=0.6), "iou_per_image", seed=2)
    assert (small.iou.low, small.iou.high) == (expected.low, expected.high)


def test_nothing_true_has_no_size():
    for name in ("2 classes, only false alarms", "2 classes, all ignored", "2 classes, all empty"):
        assert scores_by_size(result_of(CASES[name])) == ()
    with pytest.raises(ConfigError, match="parts must be 'thirds' or 'coco'; got 'halves'"):
        scores_by_size(result_of(CASES["2 classes, all empty"]), parts="halves")
