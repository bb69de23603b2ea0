"""Label maps with everything that averages of scores stumble over, and their counts.

A case is the number of classes, predictions and targets, both (N, H, W); 255 in a target is ignored.
"""

import numpy as np

from maskwright.metrics import EvaluationMeter
from maskwright.types import EvaluationResult

IGNORED = 255


def long_tailed(num_classes, images, seed, *, size=(13, 17), ignored=0.1, right=0.6):
    """Few classes have most pixels, some none; one class is only predicted; images hold few of the classes."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, num_classes + 1) ** 2
    shares[num_classes // 2 :: 3] = 0 if num_classes > 2 else shares[num_classes // 2 :: 3]
    target = rng.choice(num_classes, (images, *size), p=shares / shares.sum()).astype(np.uint8)
    prediction = np.where(rng.random(target.shape) < right, target, rng.integers(0, num_classes, target.shape))
    if num_classes > 2:
        prediction[prediction == num_classes - 1] = 0
    target[rng.random(target.shape) < ignored] = IGNORED
    return num_classes, prediction.astype(np.uint8), target


def masks_some_empty(images, seed, *, ignored=0.1):
    """Two classes; the first image is empty in both, the second in the truth alone, the third in the prediction."""
    num_classes, prediction, target = long_tailed(2, images, seed, ignored=ignored)
    prediction[0] = 0
    target[:2][target[:2] == 1] = 0
    prediction[2:3] = 0
    return num_classes, prediction, target


def with_blank_image(case):
    """The case with its last image ignored throughout."""
    num_classes, prediction, target = case
    target = target.copy()
    target[-1] = IGNORED
    return num_classes, prediction, target


def constant(num_classes, predicted, true, images=2):
    shape = (images, 5, 4)
    return num_classes, np.full(shape, predicted, np.uint8), np.full(shape, true, np.uint8)


CASES = {
    "21 classes": long_tailed(21, 7, 0),
    "21 classes, nothing ignored": long_tailed(21, 5, 1, ignored=0.0),
    "21 classes, a blank image": with_blank_image(long_tailed(21, 6, 2)),
    "21 classes, one image": long_tailed(21, 1, 3),
    "3 classes, all present": (3, *long_tailed(2, 4, 4, right=0.2)[1:]),
    "4 classes, small images": long_tailed(4, 9, 5, size=(2, 3)),
    "4 classes, everything wrong": constant(4, 1, 2),
    "5 classes, one class only": constant(5, 3, 3),
    "3 classes, all ignored": constant(3, 1, IGNORED),
    "2 classes, some empty": masks_some_empty(6, 6),
    "2 classes, some empty, nothing ignored": masks_some_empty(5, 7, ignored=0.0),
    "2 classes, a blank image": with_blank_image(masks_some_empty(6, 8)),
    "2 classes, one image": long_tailed(2, 1, 9),
    "2 classes, all empty": constant(2, 0, 0),
    "2 classes, only false alarms": constant(2, 1, 0),
    "2 classes, all missed": constant(2, 0, 1),
    "2 classes, all ignored": constant(2, 1, IGNORED),
}


def result_of(case) -> EvaluationResult:
    num_classes, prediction, target = case
    meter = EvaluationMeter([f"class {i}" for i in range(num_classes)])
    for i, (predicted, true) in enumerate(zip(prediction, target, strict=True)):
        meter.update(f"image {i}", predicted, true)
    return meter.result()
