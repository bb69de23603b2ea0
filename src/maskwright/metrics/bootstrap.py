"""Intervals around scores, and paired comparison of two sets of masks of the same images.

The percentile bootstrap (Efron 1979): images are drawn with replacement, as many as there are, and the statistic is
computed anew; the interval holds the middle `level` of its values. It says how far another sample of such images could
move the score; it knows nothing of another training. Below some twenty images it is too narrow.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from maskwright.errors import ConfigError, DataError
from maskwright.metrics import scores
from maskwright.metrics.boundary_meter import BOUNDARY_STATISTICS, BoundaryResult, boundary_values
from maskwright.types import EvaluationResult

Statistic = str | Callable[[NDArray[np.int64]], float]
"""A name in `IMAGE_STATISTICS`, `SET_STATISTICS` or, of a `BoundaryResult`, `BOUNDARY_STATISTICS`; or a function of the
images' counts, int64, (N, 3, C)."""

IMAGE_STATISTICS: dict[str, Callable[[scores.Counts], scores.Values]] = {
    "iou_per_image": scores.mask_iou,
    "dice_per_image": scores.mask_dice,
}
"""Scores of the single images, (N,) from (N, 3, C), whose mean is the statistic; a field of `Scores` each."""

SET_STATISTICS: dict[str, Callable[[scores.Counts], scores.Values]] = {
    "iou_dataset": scores.mask_iou,
    "dice_dataset": scores.mask_dice,
    "miou_present": scores.miou_present,
    "pixel_accuracy": scores.pixel_accuracy,
}
"""Statistics of the counts summed over the images, () from (3, C); a field of `Scores` each."""

DRAWS_AT_ONCE = 1 << 20
"""Images drawn in one go; bounds the memory, and is part of what a seed means."""

NAMES_SHOWN = 8
"""Images that an error message lists."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value between its bounds; the bounds are nan where the spread cannot be known, as from one image.

    A format applies to all three numbers: `f"{interval:+.3f}"` gives "+0.021 [+0.015, +0.028]"; `str` uses ".3f".
    Where there is no value at all, it is a dash.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero; False where the bounds are unknown."""
        return self.low > 0 or self.high < 0

    def __format__(self, spec: str) -> str:
        value, low, high = (format(number, spec or ".3f") for number in (self.value, self.low, self.high))
        return "–" if math.isnan(self.value) else f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return format(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How one set of masks differs from another of the same images.

    Attributes:
        interval: other minus base, of the statistic asked for.
        better: share of images, in [0, 1], whose IoU (of a boundary statistic: that score) rose by more than
            `threshold`.
        worse: share of images whose IoU, or boundary score, fell by more than `threshold`.
        median: median over the images of the change of the image's IoU, or boundary score.
        threshold: of an image's score, as given.
    """

    interval: Interval
    better: float
    worse: float
    median: float
    threshold: float

    def __str__(self) -> str:
        return f"{self.interval:+.3f}, better {self.better:.1%}, worse {self.worse:.1%} (by > {self.threshold:g} IoU)"


def bootstrap(
    result: EvaluationResult,
    statistic: Statistic = "iou_per_image",
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The interval of one statistic over the images.

    Args:
        result: counts of at least one image; from a single one the bounds are unknown (nan).
        statistic: the name of a statistic, or a function from the counts, int64, (N, 3, C), to a number.
        resamples: how often the images are drawn anew, at least 2.
        seed: of the draws; the same seed draws the same images.
        level: the probability that the interval is to hold, between 0 and 1.

    Returns:
        The statistic of the images themselves, between its bounds. Resamples in which it is undefined are left out,
        and of a boundary statistic the images that have no such score.

    Raises:
        DataError: there is no image.
        ConfigError: the statistic is unknown, or an argument out of range.
    """
    if statistic in BOUNDARY_STATISTICS:
        values = boundary_values(result, str(statistic))
        return _mean_interval(values, resamples=resamples, seed=seed, level=level)
    evaluate = evaluator(statistic, result.counts)
    return interval_over_images(evaluate, len(result.names), resamples=resamples, seed=seed, level=level)


def change(
    base: EvaluationResult,
    other: EvaluationResult,
    statistic: Statistic = "iou_per_image",
    *,
    threshold: float = 0.01,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Change:
    """What `other` changes against `base`, image by image: both are drawn with the same images every time.

    Args:
        base: counts before, of at least one image.
        other: counts after, of the same images in any order.
        statistic, resamples, seed, level: as in `bootstrap`.
        threshold: change of an image's IoU, or boundary score, above which it counts as better or worse.

    Returns:
        The interval of other minus base, and the shares of images that became better or worse. Of a boundary
        statistic, over the images that have the score in both.

    Raises:
        DataError: the two differ in classes, in images, or in the truth of an image, or hold no image; or their
            boundary scores were taken in different ways.
        ConfigError: as in `bootstrap`.
    """
    rows = aligned_rows(base, other)
    if statistic in BOUNDARY_STATISTICS:
        gains = _boundary_gains(base, other, rows, str(statistic))
        interval = _mean_interval(gains, resamples=resamples, seed=seed, level=level)
    else:
        before, after = evaluator(statistic, base.counts), evaluator(statistic, other.counts[rows])
        interval = interval_over_images(
            lambda draws: after(draws) - before(draws), len(base.names), resamples=resamples, seed=seed, level=level
        )
        gains = scores.mask_iou(other.counts[rows]) - scores.mask_iou(base.counts)
    gains = gains[~np.isnan(gains)]
    return Change(
        interval=interval,
        better=float((gains > threshold).mean()) if gains.size else np.nan,
        worse=float((gains < -threshold).mean()) if gains.size else np.nan,
        median=float(np.median(gains)) if gains.size else np.nan,
        threshold=threshold,
    )


def seed_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """The mean over a few trainings that differ in nothing but the seed, with Student's t interval (1908).

    Args:
        values: the score of each training, at least one; from a single one the bounds are unknown (nan).
        level: the probability that the interval is to hold, between 0 and 1.

    Raises:
        DataError: there is no value.
        ConfigError: `level` is out of range.
    """
    check_level(level)
    if len(values) == 0:
        raise DataError("an interval over seeds needs the score of at least one training; got none")
    mean = float(np.mean(values))
    if len(values) == 1:
        return Interval(mean, np.nan, np.nan)
    error = float(np.std(values, ddof=1)) / sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, (1 + level) / 2)) * error
    return Interval(mean, mean - reach, mean + reach)


Evaluator = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""From drawn images, int64, (R, N), to the statistic of each draw, (R,)."""


def evaluator(statistic: Statistic, counts: NDArray[np.int64]) -> Evaluator:
    """Return what computes a statistic of images with these counts, int64, (N, 3, C).

    Raises:
        ConfigError: the statistic is unknown, or one of boundaries.
    """
    if callable(statistic):
        return lambda draws: np.array([statistic(counts[draw]) for draw in draws], dtype=np.float64)
    if statistic in IMAGE_STATISTICS:
        image_scores = IMAGE_STATISTICS[statistic](counts)
        return lambda draws: scores.mean(image_scores[draws])
    if statistic in SET_STATISTICS:
        of_sum = SET_STATISTICS[statistic]
        # Integers below 2**53 are exact in float64, and so is their sum, which a matrix product makes fast.
        flat = counts.reshape(len(counts), -1).astype(np.float64)
        return lambda draws: of_sum((times_drawn(draws) @ flat).reshape(-1, *counts.shape[1:]))
    known = ", ".join([*IMAGE_STATISTICS, *SET_STATISTICS, *BOUNDARY_STATISTICS])
    raise ConfigError(f"statistic must be one of {known}, or a function of the counts; got {statistic!r}")


def _boundary_gains(
    base: EvaluationResult, other: EvaluationResult, rows: Sequence[int], statistic: str
) -> NDArray[np.float64]:
    """Other minus base for each image of `base`, (N,), nan where either has no such score."""
    gains = boundary_values(other, statistic)[rows] - boundary_values(base, statistic)
    ways = [(r.border_share, r.empty_value) for r in (base, other) if isinstance(r, BoundaryResult)]
    if not np.array_equal(ways[0], ways[1], equal_nan=True):
        raise DataError(
            f"boundary scores with border_share, empty_value = {ways[0]} and {ways[1]} cannot be compared; "
            "score both in the same way"
        )
    return gains


def _mean_interval(values: NDArray[np.float64], *, resamples: int, seed: int, level: float) -> Interval:
    """The interval of the mean of `values`, (N,), over those that are not nan; all nan where every one is."""
    known = values[~np.isnan(values)]
    if len(values) > 0 and len(known) == 0:
        return Interval(np.nan, np.nan, np.nan)
    return interval_over_images(
        lambda draws: scores.mean(known[draws]), len(known), resamples=resamples, seed=seed, level=level
    )


def interval_over_images(evaluate: Evaluator, images: int, *, resamples: int, seed: int, level: float) -> Interval:
    """The interval of a statistic that `evaluate` computes from drawn images, int64, (R, N), each below `images`.

    The other arguments and the errors are as in `bootstrap`.
    """
    check_level(level)
    if resamples < 2:
        raise ConfigError(f"resamples must be at least 2; got {resamples}")
    if images == 0:
        raise DataError("an interval needs at least one image; got none")
    value = float(evaluate(np.arange(images)[None])[0])
    if images == 1:
        return Interval(value, np.nan, np.nan)
    replicates = np.concatenate([evaluate(draws) for draws in image_draws(images, resamples, seed)])
    replicates = replicates[~np.isnan(replicates)]
    if replicates.size == 0:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def image_draws(images: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the images that each resample holds, int64, (R, `images`), in pieces of at most DRAWS_AT_ONCE."""
    generator = np.random.default_rng(seed)
    rows = max(1, DRAWS_AT_ONCE // images)
    for start in range(0, resamples, rows):
        yield generator.integers(images, size=(min(rows, resamples - start), images))


def times_drawn(draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each draw holds each image, (R, N) from (R, N)."""
    rows, images = draws.shape
    cells = draws + images * np.arange(rows)[:, None]
    return np.bincount(cells.reshape(-1), minlength=draws.size).reshape(rows, images).astype(np.float64)


def aligned_rows(base: EvaluationResult, other: EvaluationResult) -> list[int]:
    """The rows of `other` in the order of `base`, once it is sure that both scored the same truth.

    Raises:
        DataError: the two differ in classes, in images, or in the truth of an image.
    """
    if base.classes != other.classes:
        raise DataError(f"results of different classes cannot be compared: {base.classes} and {other.classes}")
    row = {name: index for index, name in enumerate(other.names)}
    lacking = [name for name in base.names if name not in row]
    surplus = sorted(row.keys() - set(base.names))
    if lacking or surplus:
        raise DataError(
            f"a paired comparison needs the same images; the second result lacks {_listed(lacking)}, "
            f"the first lacks {_listed(surplus)}; score both on the same split"
        )
    rows = [row[name] for name in base.names]
    same_truth = (other.counts[rows, 2] == base.counts[:, 2]).all(axis=1)
    differing = [name for name, same in zip(base.names, same_truth, strict=True) if not same]
    if differing:
        raise DataError(
            f"the truth of {_listed(differing)} is not the same in both results; score both at the same size "
            "against the same masks"
        )
    return rows


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, like 0.95; got {level}")
