"""COCO's average precision and recall of objects, by masks and by boxes (Lin et al. 2014).

pycocotools' COCOeval matches objects: from the highest score down, each takes the best free true object of its class
whose IoU reaches the threshold. Curves are drawn here from its matches, by its own rules, so that images can be weighed:
that is what makes intervals cheap, and a test holds the values equal to COCOeval's. Departs from COCO's command line in:
a predicted mask's area is always that of its mask, where pycocotools takes the box's once a result holds both; the
largest number of objects per image is an argument, since COCO's 100 hides part of crowded pictures.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.bootstrap import Interval, interval_over_images, times_drawn
from maskwright.types import Instances

Kind = Literal["mask", "box"]
Values = NDArray[np.float64]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU that a match must reach: 0.5, 0.55, … 0.95."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which precision is averaged."""

AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Sizes of objects, square pixels, both ends included; COCO's."""

INTERVAL_DETECTIONS = 50_000
"""Predicted objects beyond which there are no intervals: each draw goes over all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistic:
    """One number of COCO's table: precision (or recall) at a threshold (or the mean over them all)."""

    recall: bool = False
    threshold: int | None = None
    area: str = "all"
    detections: int | None = None


INSTANCE_STATISTICS: dict[str, Statistic] = {
    "ap": Statistic(),
    "ap50": Statistic(threshold=0),
    "ap75": Statistic(threshold=5),
    "ap_small": Statistic(area="small"),
    "ap_medium": Statistic(area="medium"),
    "ap_large": Statistic(area="large"),
    "ar_1": Statistic(recall=True, detections=1),
    "ar_10": Statistic(recall=True, detections=10),
    "ar": Statistic(recall=True),
}
"""Name → what it is; `INSTANCE_DEFINITIONS` says it in words."""

INSTANCE_DEFINITIONS = {
    "ap": "average precision: the mean over ten IoU thresholds (0.50, 0.55, … 0.95), over the classes that occur in the "
    "truth, and over 101 recalls (0, 0.01, … 1) of the highest precision at that recall or beyond; all images together, "
    "predicted objects in the order of their scores, at most `max_detections` of each image and class",
    "ap50": "the same at the IoU threshold 0.5 alone",
    "ap75": "the same at the IoU threshold 0.75 alone",
    "ap_small": "AP of true objects of up to 32² pixels; predicted ones of other sizes without a match do not count",
    "ap_medium": "AP of true objects of 32² to 96² pixels",
    "ap_large": "AP of true objects of 96² pixels or more",
    "ar_1": "average recall: share of the true objects that are found, mean over the ten thresholds and over the classes "
    "in the truth, with the one surest object of each image and class",
    "ar_10": "the same with the ten surest",
    "ar": "the same with the `max_detections` surest",
}
"""What each statistic is, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """The predicted objects of one class in all images, the surest first, D of them.

    Attributes:
        image: int64, (D,): number of the image.
        rank: int64, (D,): place in its image, 0 = the surest.
        hit: bool, (T, A, D): matched a true object that counts, by threshold and size.
        miss: bool, (T, A, D): matched none; what is neither hit nor miss counts neither way.
        truths: int64, (A, N): true objects that count in each image.
    """

    image: NDArray[np.int64]
    rank: NDArray[np.int64]
    hit: NDArray[np.bool_]
    miss: NDArray[np.bool_]
    truths: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceResult:
    """Matches of one set of predicted objects; every score is derived from them.

    Attributes:
        classes: class names, index = label; label 0 is the background and holds no objects.
        names: the N scored images.
        max_detections: predicted objects of each image and class that count at most.
        matches: by kind, for each label from 1 on.
        true_objects: that count, in all images; crowds do not.
        predicted_objects: in all images, however many count.
        crowded_images: images with more true objects of one class than `max_detections`, which no prediction can all find.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    max_detections: int
    matches: Mapping[Kind, tuple[Matches, ...]]
    true_objects: int
    predicted_objects: int
    crowded_images: int


class InstanceMeter:
    """Collects objects image by image.

    Args:
        classes: class names, index = label; label 0 is the background.
        max_detections: predicted objects of each image and class that count at most; COCO's own is 100.
        kinds: score masks, boxes, or both.

    Raises:
        ConfigError: fewer than two classes, or max_detections < 10.
    """

    def __init__(
        self, classes: Sequence[str], *, max_detections: int = 100, kinds: Sequence[Kind] = get_args(Kind)
    ) -> None:
        if len(classes) < 2:
            raise ConfigError(f"objects need a class beside the background; got the classes {list(classes)}")
        if max_detections < 10:
            raise ConfigError(f"max_detections must be at least 10, which AR at 10 needs; got {max_detections}")
        self.classes = tuple(classes)
        self.max_detections = max_detections
        self.kinds = tuple(kinds)
        self._pairs: dict[str, tuple[Instances, Instances]] = {}

    def update(self, predicted: Instances, truth: Instances) -> None:
        """Take one image; both have its name and size.

        Raises:
            DataError: an image came twice, sizes or labels do not fit.
        """
        if truth.name in self._pairs:
            raise DataError(f"image {truth.name} came twice; expected every image once")
        if predicted.size != truth.size:
            raise DataError(
                f"{truth.name}: objects on {predicted.size} pixels, the truth on {truth.size} (height, width)"
            )
        for what, one in (("predicted", predicted), ("true", truth)):
            if len(one.classes) and not 1 <= one.classes.min() <= one.classes.max() < len(self.classes):
                raise DataError(
                    f"{truth.name}: {what} objects have labels {one.classes.min()} to {one.classes.max()}; expected 1 to "
                    f"{len(self.classes) - 1}"
                )
        self._pairs[truth.name] = predicted, truth

    def result(self) -> InstanceResult:
        """Match the objects of all images.

        Raises:
            DataError: no image came.
        """
        if not self._pairs:
            raise DataError("no image was scored; expected at least one")
        pairs = list(self._pairs.values())
        most = [max(np.bincount(truth.classes, minlength=1)) for _, truth in pairs]
        return InstanceResult(
            classes=self.classes,
            names=tuple(self._pairs),
            max_detections=self.max_detections,
            matches={kind: self._matches(pairs, kind) for kind in self.kinds},
            true_objects=sum(int((~_crowd(truth)).sum()) for _, truth in pairs),
            predicted_objects=sum(len(predicted.masks) for predicted, _ in pairs),
            crowded_images=sum(count > self.max_detections for count in most),
        )

    def _matches(self, pairs: Sequence[tuple[Instances, Instances]], kind: Kind) -> tuple[Matches, ...]:
        from pycocotools.cocoeval import COCOeval

        labels = range(1, len(self.classes))
        with contextlib.redirect_stdout(io.StringIO()):
            truths = _coco([truth for _, truth in pairs], labels, kind)
            found = _coco([predicted for predicted, _ in pairs], labels, kind)
            judge = COCOeval(truths, found, "segm" if kind == "mask" else "bbox")
            judge.params.iouThrs, judge.params.maxDets = THRESHOLDS, [self.max_detections]
            judge.params.areaRng, judge.params.areaRngLbl = [list(area) for area in AREAS.values()], list(AREAS)
            judge.evaluate()
        # COCOeval lists class by class, size by size, image by image.
        shape = (len(labels), len(AREAS), len(pairs))
        judged = np.empty(shape, object)
        judged.ravel()[:] = judge.evalImgs
        return tuple(_gathered(one) for one in judged)


def _crowd(instances: Instances) -> NDArray[np.bool_]:
    return np.zeros(len(instances.masks), np.bool_) if instances.crowd is None else instances.crowd


def _coco(images: Sequence[Instances], labels: Sequence[int], kind: Kind) -> Any:
    """Return the objects as pycocotools wants them. Numbers start at 1: COCOeval takes a match with number 0 for none."""
    from pycocotools.coco import COCO

    annotations: list[dict[str, Any]] = []
    for image, one in enumerate(images):
        boxes = boxes_of(one)
        # One by one: of more than 255 masks at a time, pycocotools 2.0 raises OverflowError under numpy 2.
        areas = np.array([coco_mask.area(mask) for mask in one.masks], np.float64)
        if kind == "box" and one.boxes is not None:
            areas = boxes[:, 2] * boxes[:, 3]
        if one.areas is not None:
            areas = one.areas
        crowd = _crowd(one)
        annotations += [
            {
                "id": len(annotations) + number + 1,
                "image_id": image,
                "category_id": int(one.classes[number]),
                "segmentation": one.masks[number],
                "bbox": boxes[number].tolist(),
                "area": float(areas[number]),
                "score": float(one.scores[number]),
                "iscrowd": int(crowd[number]),
            }
            for number in range(len(one.masks))
        ]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i, "height": one.size[0], "width": one.size[1]} for i, one in enumerate(images)],
        "annotations": annotations,
        "categories": [{"id": label, "name": str(label)} for label in labels],
    }
    coco.createIndex()
    return coco


def boxes_of(instances: Instances) -> NDArray[np.float64]:
    """Return left, top, width, height of every object in pixels, (N, 4): its own, else that around its mask."""
    if instances.boxes is not None:
        return instances.boxes.astype(np.float64)
    return coco_mask.toBbox(list(instances.masks)) if instances.masks else np.zeros((0, 4))


def _gathered(judged: NDArray[Any]) -> Matches:
    """Put together what COCOeval says of one class, (A, N) dictionaries or None where an image has no such object."""
    images = [i for i, one in enumerate(judged[0]) if one is not None]
    counts = [len(judged[0, i]["dtScores"]) for i in images]
    thresholds = len(THRESHOLDS)
    matched = np.zeros((thresholds, len(judged), sum(counts)), np.bool_)
    ignored = matched.copy()
    truths = np.zeros(judged.shape, np.int64)
    for area, row in enumerate(judged):
        for image in images:
            truths[area, image] = np.count_nonzero(row[image]["gtIgnore"] == 0)
        if images:
            matched[:, area] = np.concatenate([row[i]["dtMatches"] > 0 for i in images], axis=1)
            ignored[:, area] = np.concatenate([row[i]["dtIgnore"] for i in images], axis=1)
    scores = np.concatenate([np.zeros(0), *(judged[0, i]["dtScores"] for i in images)])
    order = np.argsort(-scores, kind="stable")
    return Matches(
        image=np.repeat(np.array(images, np.int64), counts)[order],
        rank=np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)])[order],
        hit=(matched & ~ignored)[:, :, order],
        miss=(~matched & ~ignored)[:, :, order],
        truths=truths,
    )


def class_values(
    result: InstanceResult, statistic: str, *, kind: Kind = "mask", weights: Values | None = None
) -> Values:
    """Return the statistic of each class from label 1 on, (C − 1,); nan where the truth holds none of it.

    Args:
        result: of an `InstanceMeter`.
        statistic: a name in `INSTANCE_STATISTICS`.
        kind: "mask" or "box".
        weights: how often each image counts, (N,); None counts each once.
    """
    if statistic not in INSTANCE_STATISTICS:
        raise ConfigError(f"statistic must be one of {', '.join(INSTANCE_STATISTICS)}; got {statistic!r}")
    weights = np.ones(len(result.names)) if weights is None else weights
    asked = INSTANCE_STATISTICS[statistic]
    return np.array([_value(one, asked, weights) for one in result.matches[kind]])


def instance_value(
    result: InstanceResult, statistic: str, *, kind: Kind = "mask", weights: Values | None = None
) -> float:
    """Return the mean of `class_values` over the classes that the truth holds; nan where it holds none."""
    values = class_values(result, statistic, kind=kind, weights=weights)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def instance_scores(result: InstanceResult, *, kind: Kind = "mask") -> dict[str, float]:
    """Return every statistic of `INSTANCE_STATISTICS`."""
    return {name: instance_value(result, name, kind=kind) for name in INSTANCE_STATISTICS}


def instance_interval(
    result: InstanceResult,
    statistic: str = "ap50",
    *,
    base: InstanceResult | None = None,
    kind: Kind = "mask",
    resamples: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The percentile-bootstrap interval over the images of a statistic, or of its change from `base`.

    Beyond `INTERVAL_DETECTIONS` predicted objects the bounds are nan: it would take minutes.

    Raises:
        DataError: `base` scored other images or classes.
    """
    if base is not None and (base.names, base.classes) != (result.names, result.classes):
        raise DataError("a paired comparison needs the same images and classes in both results; score both alike")

    def value(weights: Values) -> float:
        own = instance_value(result, statistic, kind=kind, weights=weights)
        return own if base is None else own - instance_value(base, statistic, kind=kind, weights=weights)

    if max(one.predicted_objects for one in (result, base or result)) > INTERVAL_DETECTIONS:
        return Interval(value(np.ones(len(result.names))), np.nan, np.nan)
    return interval_over_images(
        lambda draws: np.array([value(weights) for weights in times_drawn(draws)]),
        len(result.names),
        resamples=resamples,
        seed=seed,
        level=level,
    )


def _value(matches: Matches, asked: Statistic, weights: Values) -> float:
    area = list(AREAS).index(asked.area)
    positives = float(matches.truths[area] @ weights)
    if positives == 0:
        return float("nan")
    thresholds = slice(None) if asked.threshold is None else slice(asked.threshold, asked.threshold + 1)
    counted = weights[matches.image]
    if asked.detections is not None:
        counted = counted * (matches.rank < asked.detections)
    hit, miss = matches.hit[thresholds, area], matches.miss[thresholds, area]
    if asked.recall:
        return float((hit @ counted).mean() / positives)
    true, false = np.cumsum(hit * counted, axis=1), np.cumsum(miss * counted, axis=1)
    precision = true / (true + false + np.spacing(1))
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # A recall that is not reached has precision 0.
    highest = np.pad(highest, ((0, 0), (0, 1)))
    return float(
        np.mean([h[np.searchsorted(t / positives, RECALLS, side="left")] for h, t in zip(highest, true, strict=True)])
    )
