"""Scores by the size of what is to be found: a mean over images hides that small masks are missed.

A mask is what one image holds of one class in the truth; its size is its true area in pixels, at the image's own size.
Masks of a class are parted at the thirds of their areas (an area that equals a bound is the smaller), or at COCO's
areas, 32² and 96² pixels (Lin et al. 2014). Departs from COCO: sizes are those of masks, not of single objects, and a
mask of exactly 32² pixels is medium, one of 96² large, where COCO counts it on both sides. Objects by size are in the
instance scores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import ConfigError
from maskwright.metrics import scores
from maskwright.metrics.bootstrap import Interval, interval_over_images
from maskwright.types import EvaluationResult

Parts = Literal["thirds", "coco"]

COCO_AREAS = (32**2, 96**2)
"""Pixels from which a mask is medium, and large."""

SIZES = ("small", "medium", "large")


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeScore:
    """The masks of one class and size.

    Attributes:
        label: of the class.
        name: of the class.
        size: "small", "medium", "large", or "all" where the areas of a class cannot be parted into thirds.
        images: that hold such a mask, at least one.
        smallest, largest: true areas among them, pixels.
        iou: mean over these images of the class's IoU in the image, between its bounds; those of a single image are nan.
        dice: mean over these images of the class's Dice in the image.
        recall: mean over these images of the share of the mask that is found.
        missed: images of which no pixel of the mask is found.
    """

    label: int
    name: str
    size: str
    images: int
    smallest: int
    largest: int
    iou: Interval
    dice: float
    recall: float
    missed: int


def scores_by_size(
    result: EvaluationResult,
    *,
    parts: Parts = "thirds",
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[SizeScore, ...]:
    """The scores of small, medium and large masks, for each class.

    Args:
        result: counts of a data set; N may be 0.
        parts: "thirds" of the areas of each class; with fewer than three different areas all are one part; or "coco".
        resamples, seed, level: of the intervals, as in `bootstrap.bootstrap`.

    Returns:
        By class and size, without parts that hold no image; with two classes, of the foreground only. A class in the
        prediction alone has no true area and is not here.

    Raises:
        ConfigError: an argument is unknown or out of range.
    """
    if parts not in ("thirds", "coco"):
        raise ConfigError(f"parts must be 'thirds' or 'coco'; got {parts!r}")
    found = []
    for label in range(1 if len(result.classes) == 2 else 0, len(result.classes)):
        for size, rows in _parted(result.counts[:, 2, label], parts):
            counts = result.counts[rows][:, :, label : label + 1]
            iou = scores.class_iou(counts)[:, 0]
            hit, area = counts[:, 0, 0], counts[:, 2, 0]
            found.append(
                SizeScore(
                    label=label,
                    name=result.classes[label],
                    size=size,
                    images=len(rows),
                    smallest=int(area.min()),
                    largest=int(area.max()),
                    iou=_interval(iou, resamples=resamples, seed=seed, level=level),
                    dice=float(scores.class_dice(counts).mean()),
                    recall=float((hit / area).mean()),
                    missed=int((hit == 0).sum()),
                )
            )
    return tuple(found)


def _parted(areas: NDArray[np.int64], parts: Parts) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Sizes and the images that hold a mask of that size, of true areas, (N,); never empty."""
    rows = np.flatnonzero(areas > 0)
    held = areas[rows]
    if parts == "coco":
        part = np.searchsorted(COCO_AREAS, held, side="right")
    elif len(np.unique(held)) < len(SIZES):
        if rows.size:
            yield "all", rows
        return
    else:
        part = np.searchsorted(np.quantile(held, [1 / 3, 2 / 3], method="inverted_cdf"), held, side="left")
    for index, size in enumerate(SIZES):
        if (part == index).any():
            yield size, rows[part == index]


def _interval(values: NDArray[np.float64], *, resamples: int, seed: int, level: float) -> Interval:
    return interval_over_images(
        lambda draws: scores.mean(values[draws]), len(values), resamples=resamples, seed=seed, level=level
    )
