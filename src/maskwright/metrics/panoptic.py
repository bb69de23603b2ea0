"""Panoptic quality with its two factors (Kirillov et al. 2019, "Panoptic Segmentation").

A predicted and a true segment of one class match where their IoU exceeds 0.5, which at most one pair does. Then

    PQ = Σ IoU of matches / (TP + ½·FP + ½·FN) = SQ · RQ,   SQ = Σ IoU / TP,   RQ = TP / (TP + ½·FP + ½·FN)

per class over all images, and the mean over the classes that occur. Void pixels of the truth leave every union; a
predicted segment without a match that is void (or a crowd of its class) by more than half is no mistake; a crowd is not
found and not missed. Void pixels of the prediction belong to no segment. As panopticapi, from exact counts of pixels.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.bootstrap import Interval, interval_over_images, times_drawn
from maskwright.types import Segments

Group = Literal["all", "things", "stuff"]
Values = NDArray[np.float64]

PANOPTIC_DEFINITIONS = {
    "pq": "panoptic quality: the sum of the IoUs of matched segments, divided by matches + half of the predicted segments "
    "without a match + half of the true ones; a match has an IoU above 0.5; per class over all images together, then the "
    "mean over the classes that the truth or the prediction holds",
    "sq": "segmentation quality: the mean IoU of the matched segments; 0 for a class without a match",
    "rq": "recognition quality: matches divided by matches + half of the segments of either side without one: the F1 score",
}
"""What each score is, in words."""


class Quality(NamedTuple):
    """PQ, SQ and RQ of one class or the mean of several; nan where there is none."""

    pq: float
    sq: float
    rq: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PanopticResult:
    """Counts of one set of predicted segments; every score is derived from them.

    Attributes:
        classes: class names, index = label, C of them.
        things: labels of things.
        stuff: labels of stuff; a class in neither takes part in matching, and in no mean.
        names: the N scored images.
        counts: int64, (N, 3, C): matches, predicted segments without one, true segments without one.
        iou: float64, (N, C): sum of the IoUs of the matches.
    """

    classes: tuple[str, ...]
    things: tuple[int, ...]
    stuff: tuple[int, ...]
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    iou: Values


class PanopticMeter:
    """Counts matches image by image.

    Args:
        classes: class names, index = label.
        things: labels of things.
        stuff: labels of stuff that takes part in the means.

    Raises:
        ConfigError: a label is outside the classes, or in both.
    """

    def __init__(self, classes: Sequence[str], *, things: Collection[int], stuff: Collection[int] = ()) -> None:
        both = [*things, *stuff]
        if len(set(both)) < len(both) or not all(0 <= label < len(classes) for label in both):
            raise ConfigError(
                f"things {sorted(things)} and stuff {sorted(stuff)} must be different labels in 0..{len(classes) - 1}"
            )
        self.classes = tuple(classes)
        self.things, self.stuff = tuple(sorted(things)), tuple(sorted(stuff))
        self._rows: dict[str, tuple[NDArray[np.int64], Values]] = {}

    def update(self, predicted: Segments, truth: Segments) -> None:
        """Count one image.

        Raises:
            DataError: an image came twice; sizes, numbers or labels do not fit.
        """
        if truth.name in self._rows:
            raise DataError(f"image {truth.name} came twice; expected every image once")
        if predicted.ids.shape != truth.ids.shape:
            raise DataError(
                f"{truth.name}: segments of {predicted.ids.shape}, the truth of {truth.ids.shape} (height, width); "
                "expected one size"
            )
        for what, one in (("predicted", predicted), ("true", truth)):
            self._check(what, one)
        self._rows[truth.name] = count_segments(predicted, truth, num_classes=len(self.classes))

    def result(self) -> PanopticResult:
        """Return the counts of all images.

        Raises:
            DataError: no image came.
        """
        if not self._rows:
            raise DataError("no image was scored; expected at least one")
        return PanopticResult(
            classes=self.classes,
            things=self.things,
            stuff=self.stuff,
            names=tuple(self._rows),
            counts=np.stack([counts for counts, _ in self._rows.values()]),
            iou=np.stack([iou for _, iou in self._rows.values()]),
        )

    def _check(self, what: str, one: Segments) -> None:
        if one.ids.size and not 0 <= one.ids.min() <= one.ids.max() <= len(one.classes):
            raise DataError(
                f"{one.name}: {what} segments are numbered {one.ids.min()} to {one.ids.max()}; expected 0 (void) to "
                f"{len(one.classes)}, one class for each"
            )
        if len(one.classes) and not 0 <= one.classes.min() <= one.classes.max() < len(self.classes):
            raise DataError(
                f"{one.name}: {what} segments have labels {one.classes.min()} to {one.classes.max()}; expected 0 to "
                f"{len(self.classes) - 1}"
            )


def count_segments(predicted: Segments, truth: Segments, *, num_classes: int) -> tuple[NDArray[np.int64], Values]:
    """Return int64 (3, C), matches and segments of either side without one, and float64 (C,), the matches' summed IoU."""
    rows, columns = len(truth.classes) + 1, len(predicted.classes) + 1
    pairs = truth.ids.ravel().astype(np.int64) * columns + predicted.ids.ravel()
    shared = np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
    void, shared = shared[0, 1:], shared[1:]
    true_areas, areas = shared.sum(1), void + shared[:, 1:].sum(0)
    shared = shared[:, 1:]
    crowd = np.zeros(rows - 1, np.bool_) if truth.crowd is None else truth.crowd
    same = truth.classes[:, None] == predicted.classes[None]
    union = true_areas[:, None] + (areas - void)[None] - shared
    match = same & ~crowd[:, None] & (2 * shared > union)
    found, matched = match.any(1), match.any(0)
    excused = void + (shared * (same & crowd[:, None])).sum(0)
    # A segment without a pixel is none.
    spurious = ~matched & (areas > 0) & ~(2 * excused > areas)
    missed = ~found & ~crowd & (true_areas > 0)
    row, column = np.nonzero(match)
    counts = np.stack(
        [
            np.bincount(classes, minlength=num_classes)
            for classes in (truth.classes[found], predicted.classes[spurious], truth.classes[missed])
        ]
    )
    ious = shared[row, column] / union[row, column]
    return counts.astype(np.int64), np.bincount(truth.classes[row], ious, num_classes).astype(np.float64)


def class_quality(result: PanopticResult) -> Values:
    """Return PQ, SQ and RQ of every class, (3, C); nan where neither truth nor prediction holds it."""
    return _quality(result.counts.sum(0).astype(np.float64), result.iou.sum(0))


def panoptic_quality(result: PanopticResult, group: Group = "all") -> Quality:
    """Return the means over the classes of a group that occur.

    Args:
        result: of a `PanopticMeter`.
        group: "all" (things and stuff), "things" or "stuff".
    """
    return Quality(*(float(value) for value in _means(class_quality(result)[:, _labels(result, group)])))


def panoptic_interval(
    result: PanopticResult,
    score: Literal["pq", "sq", "rq"] = "pq",
    group: Group = "all",
    *,
    base: PanopticResult | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The percentile-bootstrap interval over the images of a score, or of its change from `base`.

    Raises:
        DataError: `base` scored other images or classes.
    """
    if base is not None and (base.names, base.classes) != (result.names, result.classes):
        raise DataError("a paired comparison needs the same images and classes in both results; score both alike")
    row = Quality._fields.index(score)

    def evaluate(one: PanopticResult, times: Values) -> Values:
        counts = (times @ one.counts.reshape(len(one.names), -1)).reshape(-1, *one.counts.shape[1:])
        return _means(_quality(counts, times @ one.iou)[:, :, _labels(one, group)])[row]

    def drawn(draws: NDArray[np.int64]) -> Values:
        times = times_drawn(draws)
        own = evaluate(result, times)
        return own if base is None else own - evaluate(base, times)

    return interval_over_images(drawn, len(result.names), resamples=resamples, seed=seed, level=level)


def _labels(result: PanopticResult, group: Group) -> list[int]:
    return list({"all": result.things + result.stuff, "things": result.things, "stuff": result.stuff}[group])


def _quality(counts: Values, iou: Values) -> Values:
    """PQ, SQ, RQ, (3, …, C), from counts (…, 3, C) and sums of IoU (…, C)."""
    matches, spurious, missed = np.moveaxis(counts, -2, 0)
    segments = matches + spurious / 2 + missed / 2
    occurs, found = segments > 0, matches > 0
    undefined = np.where(occurs, 0.0, np.nan)
    quality = [
        np.divide(iou, segments, out=undefined.copy(), where=occurs),
        np.divide(iou, matches, out=undefined.copy(), where=found),
        np.divide(matches, segments, out=undefined.copy(), where=occurs),
    ]
    return np.stack(quality)


def _means(values: Values) -> Values:
    """Mean over the last axis of what is not nan; nan where all is."""
    known = np.isfinite(values)
    count = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
