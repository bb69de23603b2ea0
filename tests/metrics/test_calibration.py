"""Calibration against a loop over pixels and torchmetrics, and what a meter must keep to."""

import json
from math import ceil, isnan

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.calibration import CalibrationMeter

IGNORED = 255


def softmax_maps(num_classes, seed=0, size=(23, 31), images=3):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, num_classes, (images, *size)).astype(np.uint8)
    logits = rng.normal(0, 1.5, (images, num_classes, *size))
    np.put_along_axis(logits, target[:, None].astype(int), 1.0, axis=1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target[rng.random(target.shape) < 0.1] = IGNORED
    return probabilities, target


def measure(probabilities, target, num_classes, **options):
    meter = CalibrationMeter(num_classes, **options)
    for image_probabilities, image_target in zip(probabilities, target, strict=True):
        meter.update(image_probabilities, image_target)
    return meter.result()


def by_loop(probabilities, target, bins=15, foreground=False):
    """ECE, MCE, Brier and pixels per bin, pixel by pixel."""
    table = [[0, 0, 0.0] for _ in range(bins)]
    brier = 0.0
    for image, labels in zip(probabilities, target, strict=True):
        for (y, x), label in np.ndenumerate(labels):
            if label == IGNORED:
                continue
            p = image[:, y, x]
            brier += sum((value - (label == k)) ** 2 for k, value in enumerate(p))
            sure, right = (p[1], label == 1) if foreground else (p.max(), label == p.argmax())
            row = table[max(ceil(sure * bins) - 1, 0)]
            row[0], row[1], row[2] = row[0] + 1, row[1] + right, row[2] + sure
    total = sum(row[0] for row in table)
    gaps = [(n, abs(right / n - sure / n)) for n, right, sure in table if n]
    return (
        sum(n * gap for n, gap in gaps) / total,
        max(gap for _, gap in gaps),
        brier / total,
        [row[0] for row in table],
    )


@pytest.mark.parametrize(("num_classes", "bins"), [(2, 15), (5, 15), (21, 10)])
def test_equals_a_loop_over_pixels(num_classes, bins):
    probabilities, target = softmax_maps(num_classes)
    found = measure(probabilities, target, num_classes, bins=bins)
    ece, mce, brier, pixels = by_loop(probabilities, target, bins)
    np.testing.assert_allclose([found.ece, found.mce, found.brier], [ece, mce, brier], rtol=1e-12)
    assert found.pixels.tolist() == pixels and found.pixels.dtype == np.int64
    assert found.edges.tolist() == [m / bins for m in range(bins + 1)]


@pytest.mark.parametrize("num_classes", [2, 5])
@pytest.mark.parametrize(("norm", "field"), [("l1", "ece"), ("max", "mce")])
def test_parity_with_torchmetrics_of_the_top_label(num_classes, norm, field):
    probabilities, target = softmax_maps(num_classes, seed=1)
    theirs = multiclass_calibration_error(
        torch.from_numpy(probabilities),
        torch.from_numpy(target).long(),
        num_classes=num_classes,
        n_bins=15,
        norm=norm,
        ignore_index=IGNORED,
    )
    assert getattr(measure(probabilities, target, num_classes), field) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize(("norm", "field"), [("l1", "ece"), ("max", "mce")])
def test_parity_with_torchmetrics_of_the_foreground(norm, field):
    probabilities, target = softmax_maps(2, seed=2)
    maps = torch.from_numpy(probabilities[:, 1]), torch.from_numpy(target).long()
    theirs = binary_calibration_error(*maps, n_bins=15, norm=norm, ignore_index=IGNORED)
    found = measure(probabilities[:, 1], target, 2, confidence="foreground")
    assert getattr(found, field) == pytest.approx(float(theirs), rel=1e-5)
    assert found.ece == pytest.approx(by_loop(probabilities, target, foreground=True)[0], rel=1e-12)


def test_the_foreground_alone_says_the_same_as_both_channels():
    probabilities, target = softmax_maps(2, seed=3)
    for confidence in ("top", "foreground"):
        both = measure(probabilities, target, 2, confidence=confidence)
        alone = measure(probabilities[:, 1], target, 2, confidence=confidence)
        channel = measure(probabilities[:, 1:], target, 2, confidence=confidence)
        assert alone.pixels.tolist() == both.pixels.tolist() == channel.pixels.tolist()
        assert alone.ece == pytest.approx(both.ece) and alone.mce == pytest.approx(both.mce)
        assert alone.brier == pytest.approx(both.brier / 2)
        assert alone.confidence_of == confidence


def test_perfect_and_hopeless_models():
    target = np.array([[0, 1], [2, 2]])
    certain = np.eye(3)[target].transpose(2, 0, 1)
    found = measure([certain], [target], 3)
    assert (found.ece, found.mce, found.brier) == (0, 0, 0) and found.pixels[-1] == 4
    wrong = measure([np.roll(certain, 1, axis=0)], [target], 3)
    assert (wrong.ece, wrong.mce, wrong.brier) == (1, 1, 2)


def test_a_confidence_on_an_edge_belongs_below_and_0_to_the_first_bin():
    values = np.array([[0.0, 0.2, 0.4, 1.0]])
    found = measure([values], [np.array([[0, 1, 0, 1]])], 2, bins=5, confidence="foreground")
    assert found.pixels.tolist() == [2, 1, 0, 0, 1]
    np.testing.assert_array_equal(found.accuracy, [0.5, 0.0, np.nan, np.nan, 1.0])
    np.testing.assert_array_equal(found.confidence, [0.1, 0.4, np.nan, np.nan, 1.0])


def test_merged_meters_are_one_and_the_order_makes_no_difference():
    probabilities, target = softmax_maps(4, images=4)
    first, second = CalibrationMeter(4), CalibrationMeter(4)
    for i in range(4):
        (first if i % 2 else second).update(torch.from_numpy(probabilities[i]), torch.from_numpy(target[i]))
    first.merge(second)
    merged, whole = first.result(), measure(probabilities[::-1], target[::-1], 4)
    assert merged.pixels.tolist() == whole.pixels.tolist()
    np.testing.assert_allclose([merged.ece, merged.brier], [whole.ece, whole.brier], rtol=1e-12)
    before = second.result().pixels.sum()
    first.merge(first)
    assert second.result().pixels.sum() == before and merged.pixels.sum() * 2 == first.result().pixels.sum()


def test_no_pixel_has_no_calibration():
    for target in (np.full((2, 2), IGNORED), np.zeros((0, 3), int)):
        found = measure([np.full((2, *target.shape), np.nan)], [target], 2)
        assert isnan(found.ece) and isnan(found.mce) and isnan(found.brier) and found.pixels.sum() == 0
    plain = CalibrationMeter(2).result().as_dict()
    assert plain["ece"] is None and plain["accuracy"] == [None] * 15
    json.dumps(plain, allow_nan=False)


@pytest.mark.parametrize(
    ("probabilities", "target", "message"),
    [
        (np.full((2, 2, 2), 3.0), np.zeros((2, 2), int), r"reach from 3 to 3, expected 0 to 1; take the softmax"),
        (np.full((2, 2, 2), np.nan), np.zeros((2, 2), int), r"reach from nan to nan"),
        (np.full((2, 2, 2), 0.9), np.zeros((2, 2), int), r"add up to something else than 1 \(off by 0.800\)"),
        (np.full((2, 2, 3), 0.5), np.zeros((2, 2), int), r"of shape \(2, 2, 3\), expected floats of shape \(2, 2, 2\)"),
        (np.ones((2, 2, 2), int), np.zeros((2, 2), int), r"the probabilities are int64"),
        (np.full((2, 2, 2), 0.5), np.full((2, 2), 7), r"the target holds 7 \(4 px\); expected 0\.\.1"),
        (np.full((2, 2, 2), 0.5), np.zeros((2, 2)), r"the target is float64"),
    ],
)
def test_bad_input_is_a_named_error_and_leaves_the_meter_as_it_was(probabilities, target, message):
    meter = CalibrationMeter(2)
    with pytest.raises(DataError, match=message):
        meter.update(probabilities, target)
    assert meter.result().pixels.sum() == 0
    meter.update(np.full((1, 1), 0.5), np.zeros((1, 1), int))


def test_probabilities_of_autocast_and_of_resizing_are_taken():
    target = np.array([[0, 1], [1, 1]])
    halves = torch.tensor([[[0.5, 0.25], [0.0, 1.0]], [[0.5, 0.75], [1.0, 0.0]]])
    assert (
        measure(halves.bfloat16()[None], target[None], 2).as_dict() == measure(halves[None], target[None], 2).as_dict()
    )
    resized = np.nextafter(np.ones((2, 2), np.float32), np.float32(2))
    found = measure(resized[None], target[None], 2)
    assert found.pixels[-1] == 4 and found.accuracy[-1] == 0.75
    meter = CalibrationMeter(2)
    with pytest.raises(DataError, match="reach from"):
        meter.update(np.full((2, 2), 1.001), target)


def test_meters_that_do_not_fit_and_settings_out_of_range():
    one, other = CalibrationMeter(2), CalibrationMeter(2)
    one.update(np.full((1, 1), 0.5), np.zeros((1, 1), int))
    other.update(np.full((2, 1, 1), 0.5), np.zeros((1, 1), int))
    for odd in (other, CalibrationMeter(3), CalibrationMeter(2, bins=10), CalibrationMeter(2, confidence="foreground")):
        with pytest.raises(DataError, match="meters that merge must agree"):
            one.merge(odd)
    with pytest.raises(DataError, match="probabilities of 2 channels after such of 1"):
        one.update(np.full((2, 1, 1), 0.5), np.zeros((1, 1), int))
    for arguments, message in [
        ({"num_classes": 1}, "num_classes must be at least 2"),
        ({"num_classes": 2, "bins": 0}, "bins must be at least 1"),
        ({"num_classes": 3, "confidence": "foreground"}, "needs two classes; got 3"),
        ({"num_classes": 3, "confidence": "best"}, "confidence must be 'top' or 'foreground'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            CalibrationMeter(**arguments)
