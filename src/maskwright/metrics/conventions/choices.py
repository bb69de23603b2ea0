"""One function for every way to average IoU, Dice or accuracy, and the choices that tell these ways apart.

Tools that call their number "mIoU" differ in a handful of choices: whether images or all pixels together are scored,
which classes enter, what a class without pixels counts. `Choices` names them, `evaluate` computes any combination from
exact counts, and `describe` puts it into words, so that what is computed and what is said cannot drift apart.

No paper: the choices are those found in the code of the tools that the other modules of this package list.
"""

from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Known = NDArray[np.bool_]

Score = Literal["IoU", "Dice", "recall", "agreement"]
Classes = Literal["all", "foreground"]
Average = Literal["macro", "micro", "weighted"]
Policy = float | None
"""What something without a score counts: a number; None, it is left out; nan, it makes the whole result nan."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """How a score is formed from the pixels of each image and class: true positive, predicted, in the truth.

    Attributes:
        score: "IoU", TP / (TP + FP + FN); "Dice", 2 TP / (2 TP + FP + FN); "recall", TP / (TP + FN), which pooled over
            all classes is the pixel accuracy; "agreement", (TP + TN) / pixels of each class against all others.
        pool: "set" adds the pixels of all images before anything is divided; "image" scores every image.
        order: where images are scored and classes averaged: "classes first", the mean over an image's classes and then
            over the images; "images first", the other way round; "pairs", one mean over all pairs of both.
        classes: "all", or "foreground": all but class 0.
        average: "macro", every class alike; "micro", pixels of the classes added before dividing; "weighted", classes
            weigh as many pixels as they have in the truth: of the image ("classes first"), else of all images drawn.
        absent: what a class counts that neither truth nor prediction of the pool holds.
        spurious: what a class counts that is predicted, but not in the truth of the pool.
        missed: what a class in the truth of the pool counts of which no pixel is found.
        unscored: whether a pool whose every pixel is ignored counts as one without the classes ("absent"), or is
            "left out".
        never: with "images first", what a class counts that has a score in no image.
        nothing: the result where nothing has a score.
        divided: whether the result is divided by the number of classes once more.
    """

    score: Score
    pool: Literal["set", "image"] = "set"
    order: Literal["classes first", "images first", "pairs"] = "classes first"
    classes: Classes = "all"
    average: Average = "macro"
    absent: Policy = None
    spurious: Policy = 0.0
    missed: Policy = 0.0
    unscored: Literal["absent", "left out"] = "absent"
    never: Policy = None
    nothing: float = nan
    divided: bool = False


class Drawn:
    """Counts of images together with how often each is drawn; what several scores need is computed once.

    Args:
        counts: int64, (N, 3, C): per image and class the pixels that are true positive, predicted, in the truth.
        times: how often each resample holds each image, (R, N); None is each image once, R = 1.
    """

    def __init__(self, counts: NDArray[np.int64], times: Values | None = None) -> None:
        self.counts = counts.astype(np.float64)
        self.times = np.ones((1, len(counts))) if times is None else np.asarray(times, dtype=np.float64)

    @cached_property
    def totals(self) -> Values:
        """Counts added over the drawn images, (R, 3, C); exact, as integers below 2**53 are in float64."""
        cells = self.counts.shape[1:]
        flat = self.counts.reshape(len(self.counts), cells[0] * cells[1])
        return (self.times @ flat).reshape(len(self.times), *cells)

    def sum(self, values: Values) -> Values:
        """Sums over the drawn images, (R, ...) from (N, ...); nan where a drawn image's value is nan."""
        spoilt = np.isnan(values)
        if not spoilt.any():
            return self.times @ values
        return np.where(self.times @ spoilt > 0, np.nan, self.times @ np.where(spoilt, 0.0, values))


def evaluate(choices: Choices, drawn: Drawn) -> Values:
    """The score of each resample, float64, (R,)."""
    if choices.pool == "set":
        value, found = _over_classes(choices, *_class_values(choices, drawn.totals), drawn.totals)
    elif choices.order == "images first":
        value, found = _images_first(choices, drawn)
    else:
        value, found = _mean_over_images(choices, drawn)
    value = np.where(found, value, choices.nothing)
    included = drawn.counts.shape[-1] - (choices.classes == "foreground")
    return value / included if choices.divided else value


def _class_values(choices: Choices, counts: Values) -> tuple[Values, Known]:
    """Score of each class in each pool, (..., K) from (..., 3, C), and which have one; K = 1 with "micro"."""
    pixels = counts[..., 2, :].sum(axis=-1)[..., None]
    unscored = pixels == 0
    counts = _included(choices, counts)
    if choices.average == "micro":
        pixels = pixels * counts.shape[-1]
        counts = counts.sum(axis=-1, keepdims=True)
    hit, predicted, truth = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    if choices.score == "agreement":
        value = _ratio(pixels - predicted - truth + 2 * hit, np.broadcast_to(pixels, hit.shape))
        cases = [(np.broadcast_to(unscored, hit.shape), choices.absent)]
    else:
        value = _formula(choices.score, hit, predicted, truth)
        cases = [
            (predicted + truth == 0, choices.absent),
            ((truth == 0) & (predicted > 0), choices.spurious),
            ((truth > 0) & (hit == 0), choices.missed),
        ]
    known = np.ones(value.shape, dtype=np.bool_)
    for case, policy in cases:
        value = np.where(case, 0.0 if policy is None else policy, value)
        if policy is None:
            known[case] = False
    if choices.unscored == "left out":
        known[np.broadcast_to(unscored, known.shape)] = False
    return np.where(known, value, 0.0), known


def _formula(score: str, hit: Values, predicted: Values, truth: Values) -> Values:
    if score == "IoU":
        return _ratio(hit, predicted + truth - hit)
    if score == "Dice":
        return _ratio(2 * hit, predicted + truth)
    return _ratio(hit, truth)


def _ratio(part: Values, whole: Values) -> Values:
    """0 where there is nothing to divide by: the policies say what such a class counts."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


def _included(choices: Choices, counts: Values) -> Values:
    return counts[..., 1:] if choices.classes == "foreground" else counts


def _weights(choices: Choices, known: Known, counts: Values) -> Values:
    """What each class weighs, (..., K)."""
    if choices.average == "weighted":
        return _included(choices, counts)[..., 2, :] * known
    return known.astype(np.float64)


def _over_classes(choices: Choices, values: Values, known: Known, counts: Values) -> tuple[Values, Known]:
    """Mean over the classes, (...) from (..., K), and whether any class has a score; 0 where none weighs anything."""
    weights = _weights(choices, known, counts)
    return _ratio((weights * values).sum(axis=-1), weights.sum(axis=-1)), np.asarray(known.any(axis=-1))


def _mean_over_images(choices: Choices, drawn: Drawn) -> tuple[Values, Known]:
    """The mean over images, or over pairs of image and class, (R,), and whether anything has a score."""
    values, known = _class_values(choices, drawn.counts)
    if choices.order == "pairs":
        weights = _weights(choices, known, drawn.counts)
        part, whole, found = (weights * values).sum(axis=-1), weights.sum(axis=-1), known.any(axis=-1)
    else:
        value, found = _over_classes(choices, values, known, drawn.counts)
        part, whole = value * found, found.astype(np.float64)
    return _ratio(drawn.sum(part), drawn.times @ whole), drawn.times @ found > 0


def _images_first(choices: Choices, drawn: Drawn) -> tuple[Values, Known]:
    """The mean over classes of their means over images, (R,), and whether any class has one."""
    values, known = _class_values(choices, drawn.counts)
    images = drawn.times @ known
    value, known = _ratio(drawn.sum(values * known), images), images > 0
    if choices.never is not None:
        value, known = np.where(known, value, choices.never), np.ones_like(known)
    if choices.average == "weighted":
        # Without a pixel in the truth no class weighs anything.
        known = known & (drawn.totals[:, 2].sum(axis=-1) > 0)[:, None]
    return _over_classes(choices, value, known, drawn.totals)


_SCORES = {
    "IoU": "IoU, TP / (TP + FP + FN)",
    "Dice": "Dice, 2 TP / (2 TP + FP + FN)",
    "recall": "recall (class accuracy), TP / (TP + FN)",
    "agreement": "accuracy of a class against all others, (TP + TN) / pixels",
}


def describe(choices: Choices, num_classes: int | None = None) -> str:
    """The choices in one sentence: what is averaged over what, and what empty masks and absent classes count.

    Args:
        choices: to put into words.
        num_classes: with 2, class 1 is called the foreground; None speaks of any number.
    """
    sentence = f"{_over_what(choices, num_classes)}: {_policies(choices, num_classes)}"
    if choices.divided:
        sentence += "; the result is divided by the number of classes once more"
    return sentence + "."


def _one_class(choices: Choices, num_classes: int | None) -> bool:
    return num_classes == 2 and choices.classes == "foreground"


def _over_what(choices: Choices, num_classes: int | None) -> str:
    score = _SCORES[choices.score]
    if _one_class(choices, num_classes):
        if choices.pool == "set":
            return f"{score}, of the foreground from the pixels of all images together"
        return f"{score}, of the foreground of each image, mean over the images"
    included = "background included" if choices.classes == "all" else "background left out"
    if choices.average == "micro":
        if choices.score == "recall" and choices.classes == "all":
            score = "pixel accuracy, right pixels / all pixels"
        if choices.pool == "set":
            return f"{score}, with the pixels of all classes ({included}) and all images added before dividing"
        return f"{score}, with the pixels of all classes ({included}) of an image added, mean over the images"
    weighed = ", each weighing its pixels in the truth" if choices.average == "weighted" else ""
    over = f"over the classes{weighed} ({included})"
    if choices.pool == "set":
        return f"{score}, of each class from the pixels of all images together, mean {over}"
    if choices.order == "classes first":
        return f"{score}, of each class of each image, mean {over} of the image, then over the images"
    if choices.order == "images first":
        return f"{score}, of each class of each image, mean over the images, then {over}"
    return f"{score}, one mean over all pairs of an image and a class{weighed} ({included})"


def _policies(choices: Choices, num_classes: int | None) -> str:
    where = "" if choices.pool == "set" else " of an image"
    thing = "the foreground" if _one_class(choices, num_classes) else "a class"
    if choices.average == "micro" and not _one_class(choices, num_classes):
        thing = "all these classes"
    if choices.score == "agreement":
        parts = [f"without a scored pixel it counts {said(choices.absent)}"]
    else:
        parts = [f"{thing} in neither truth nor prediction{where} {_counts(choices.absent)}"]
        if choices.spurious != 0:
            parts.append(f"where it is only predicted, it {_counts(choices.spurious)}")
        if choices.missed != 0:
            parts.append(f"where it is in the truth but never hit, it {_counts(choices.missed)}")
    if choices.pool == "image" and choices.unscored == "left out" and choices.absent is not None:
        parts.append("images whose every pixel is ignored are left out")
    if choices.pool == "image" and choices.order == "images first" and choices.never is not None:
        parts.append(f"where it has a score in no image, it {_counts(choices.never)}")
    if not isnan(choices.nothing):
        parts.append(f"where nothing has a score, the result is {choices.nothing:g}")
    return "; ".join(parts)


def _counts(policy: Policy) -> str:
    if policy is None:
        return "is left out"
    return "makes the result nan" if isnan(policy) else f"counts {policy:g}"


def said(policy: Policy) -> str:
    """A policy in a word or two: "1", "left out", "nan"."""
    return "left out" if policy is None else f"{policy:g}"
