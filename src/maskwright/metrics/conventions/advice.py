"""Which single number to quote for these masks, with its sentence, and what numbers hide about them.

The rule. Two classes: the IoU of the foreground of each image, mean over the images, a rightly empty mask counts 1, for
it weighs every image alike and says what to expect of the next one. More classes: the IoU of each class from the pixels
of all images together, mean over the classes in the truth, for a class that few images hold has no steady score of a
single image, and this is what benchmarks report. Dice ranks alike (Dice = 2 IoU / (1 + IoU) for one mask) and flatters.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from maskwright.metrics import scores
from maskwright.metrics.bootstrap import Interval
from maskwright.metrics.conventions.table import convention_intervals
from maskwright.types import EvaluationResult

DOMINANT = 0.7
"""Share of the scored pixels from which a class is called dominant."""

MANY_EMPTY = 0.05
"""Share of images with nothing to find from which it is worth a word."""

FEW_IMAGES = 20
"""Below, the bootstrap's interval itself is too narrow."""

WIDE = 0.1
"""Width of an interval from which two models can hardly be told apart."""

RARE = 3
"""Images below which a class's score is an anecdote."""

MUCH_IGNORED = 0.2
"""Share of ignored pixels worth a word."""

APART = 0.02
"""Difference of two scores worth a word."""

NAMES_SHOWN = 8
"""Classes that a caution lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recommendation:
    """The number to quote.

    Attributes:
        key: of the convention.
        interval: its value between its bounds, over the images; all nan where nothing has a score.
        sentence: what to write, with the number.
        rule: why this number, for data of this kind.
    """

    key: str
    interval: Interval
    sentence: str
    rule: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Caution:
    """Something that the numbers hide.

    Attributes:
        key: "dice-is-accuracy", "dominant-class", "empty-masks", "few-images", "absent-classes", "spurious-classes",
            "missed-classes", "rare-classes" or "ignored-pixels".
        text: what it is, with the figures.
        figures: the figures by name.
    """

    key: str
    text: str
    figures: dict[str, float]


def recommended(
    result: EvaluationResult, *, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Recommendation:
    """The single number to quote for these masks, with the ready sentence; the rule is this module's.

    Args:
        result: counts of a data set; N may be 0.
        resamples, seed, level: of the interval, as in `bootstrap.bootstrap`.

    Raises:
        ConfigError: an argument is out of range.
    """
    two = len(result.classes) == 2
    key = "maskwright.iou_per_image" if two else "maskwright.miou_present"
    rule = (
        "Two classes: a mean over images weighs every image alike and says what to expect of the next one."
        if two
        else "More than two classes: pooled pixels, because a class that few images hold has no steady score of one image; "
        "over the classes in the truth, because nothing can be said of the others."
    )
    scored = int((result.counts[:, 2].sum(axis=-1) > 0).sum())
    if scored == 0:
        sentence = "There is nothing to quote: no image has a scored pixel."
        return Recommendation(key=key, interval=Interval(np.nan, np.nan, np.nan), sentence=sentence, rule=rule)
    interval = convention_intervals(result, [key], resamples=resamples, seed=seed, level=level)[key]
    if scored == 1:
        # Every draw that holds the image has its value: no spread, and no knowledge of it.
        interval = Interval(interval.value, np.nan, np.nan)
    what = _two_classes(result, scored) if two else _many_classes(result, scored)
    number = f"{interval}" if scored > 1 else f"{interval.value:.3f} (one image, so no interval)"
    return Recommendation(key=key, interval=interval, sentence=f"{what}: {number}", rule=rule)


def warnings(
    result: EvaluationResult, *, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[Caution, ...]:
    """What the numbers of these masks hide, each with its figures; nothing where there is nothing to say.

    Args:
        result: counts of a data set; N may be 0.
        resamples, seed, level: of the interval whose width is judged.
    """
    if result.counts[:, 2].sum() == 0:
        return ()
    quote = recommended(result, resamples=resamples, seed=seed, level=level)
    return (
        *_dice_is_accuracy(result),
        *_dominant_class(result),
        *_empty_masks(result),
        *_few_images(result, quote),
        *_classes(result),
        *_ignored(result),
    )


def _two_classes(result: EvaluationResult, scored: int) -> str:
    empty = scores.scores(result).empty_images
    unscored = len(result.names) - scored
    policy = f"empty masks count 1 ({empty} of {scored})" if empty else "no mask empty in truth and prediction"
    left_out = f", {_counted(unscored, 'wholly ignored image', 'wholly ignored images')} left out" if unscored else ""
    return f"IoU of the foreground, per image, mean over {_counted(scored, 'image', 'images')}, {policy}{left_out}"


def _many_classes(result: EvaluationResult, scored: int) -> str:
    classes = int((result.counts[:, 2].sum(axis=0) > 0).sum())
    return (
        f"mIoU, pixels of {_counted(scored, 'image', 'images')} pooled, "
        f"mean over the {_counted(classes, 'class', 'classes')} in the truth, class 0 included"
    )


def _dice_is_accuracy(result: EvaluationResult) -> Iterator[Caution]:
    found = scores.scores(result)
    dice, name = (
        (found.dice_per_image, "the Dice of the foreground, per image,")
        if len(result.classes) == 2
        else (found.f1_macro, "the mean Dice of the classes")
    )
    accuracy = found.pixel_accuracy
    if not abs(accuracy - dice) <= APART:
        yield Caution(
            key="dice-is-accuracy",
            text=f"Dice or F1 with average 'micro' over all classes is the pixel accuracy, {accuracy:.3f} here; {name} "
            f"is {dice:.3f}.",
            figures={"pixel_accuracy": accuracy, "dice": dice},
        )


def _dominant_class(result: EvaluationResult) -> Iterator[Caution]:
    truth = result.counts[:, 2].sum(axis=0)
    share = float(truth.max() / truth.sum())
    if share < DOMINANT:
        return
    label = int(truth.argmax())
    present = int((truth > 0).sum())
    accuracy = float(scores.pixel_accuracy(result.counts.sum(axis=0)))
    yield Caution(
        key="dominant-class",
        text=f"{result.classes[label]} has {share:.1%} of the pixels: always predicting it has a pixel accuracy of "
        f"{share:.3f} (these masks: {accuracy:.3f}), and an mIoU of {share / present:.3f}.",
        figures={"share": share, "constant_accuracy": share, "accuracy": accuracy, "constant_miou": share / present},
    )


def _empty_masks(result: EvaluationResult) -> Iterator[Caution]:
    if len(result.classes) != 2:
        return
    scored = result.counts[result.counts[:, 2].sum(axis=-1) > 0]
    no_truth = scored[:, 2, 1] == 0
    empty = no_truth & (scored[:, 1, 1] == 0)
    share = float(no_truth.mean())
    if share < MANY_EMPTY:
        return
    with_them = float(scores.mean(scores.mask_iou(scored)))
    without = float(scores.mean(scores.mask_iou(scored, empty=np.nan)))
    as_zero = float(scores.mean(scores.mask_iou(scored, empty=0.0)))
    others = int((no_truth & ~empty).sum())
    false_alarms = f" On the other {others} something is predicted, which scores 0." if others else ""
    yield Caution(
        key="empty-masks",
        text=f"{int(no_truth.sum())} of {len(scored)} images ({share:.1%}) hold no foreground. On {int(empty.sum())} of "
        f"them none is predicted either, and what these count decides: the mean IoU per image is {with_them:.3f} where they "
        f"count 1, {_or_none(without)} where they are left out, {as_zero:.3f} where they count 0.{false_alarms}",
        figures={
            "share": share,
            "empty": float(empty.sum()),
            "counted_1": with_them,
            "left_out": without,
            "counted_0": as_zero,
        },
    )


def _few_images(result: EvaluationResult, quote: Recommendation) -> Iterator[Caution]:
    images = int((result.counts[:, 2].sum(axis=-1) > 0).sum())
    width = quote.interval.high - quote.interval.low
    if images >= FEW_IMAGES and not width > WIDE:
        return
    spread = f"the interval is {width:.3f} wide" if images > 1 else "there is no interval"
    narrow = " and itself too narrow" if 1 < images < FEW_IMAGES else ""
    yield Caution(
        key="few-images",
        text=f"{_counted(images, 'image', 'images')}: {spread}{narrow}; a smaller difference from a number of other images "
        "means nothing, and on the same images only a paired test tells.",
        figures={"images": float(images), "width": width},
    )


def _classes(result: EvaluationResult) -> Iterator[Caution]:
    hit, predicted, truth = result.counts.sum(axis=0)
    images = (result.counts[:, 2] > 0).sum(axis=0)
    kinds = {
        "absent-classes": (
            (truth == 0) & (predicted == 0),
            "occur in neither truth nor prediction: tools count them 0, 1, nan or not at all",
        ),
        "spurious-classes": (
            (truth == 0) & (predicted > 0),
            "are predicted but not in the truth: some tools count them 0, others leave them out",
        ),
        "missed-classes": (
            (truth > 0) & (hit == 0),
            "are in the truth but not a pixel of them is found: some tools leave such classes out instead of counting 0",
        ),
        "rare-classes": (
            (truth > 0) & (images < RARE) & (len(result.names) >= RARE),
            f"are in the truth of fewer than {RARE} images: their scores are anecdotes, and weigh like any other class's",
        ),
    }
    for key, (which, text) in kinds.items():
        if which.any():
            names = [result.classes[label] for label in np.flatnonzero(which)]
            yield Caution(
                key=key,
                text=f"{len(names)} of {len(result.classes)} classes {text} ({_listed(names)}).",
                figures={"classes": float(len(names)), "pixels": float((predicted + truth)[which].sum())},
            )


def _ignored(result: EvaluationResult) -> Iterator[Caution]:
    ignored, scored = int(result.ignored.sum()), int(result.counts[:, 2].sum())
    share = ignored / (ignored + scored)
    if share >= MUCH_IGNORED:
        yield Caution(
            key="ignored-pixels",
            text=f"{share:.1%} of the pixels are ignored: nothing is said about them.",
            figures={"share": share, "pixels": float(ignored)},
        )


def _or_none(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
