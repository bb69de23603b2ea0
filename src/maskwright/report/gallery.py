"""Which images to show, and each of them as a row of small pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.metrics.confusion import EvaluationMeter
from maskwright.metrics.scores import image_iou
from maskwright.report import pictures
from maskwright.report.records import Labels, Picture, Stage, Strip
from maskwright.types import EvaluationResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One small picture.

    Attributes:
        uri: the picture as a data URI.
        caption: what it is, in a word or two.
        score: IoU of the mask that it shows; None where it shows none or there is no truth.
        pixelated: whether pixels stay squares when it is enlarged.
    """

    uri: str
    caption: str
    score: float | None = None
    pixelated: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Tiles side by side. `ratio`: width / height of each tile, bounded so that long images do not burst the page."""

    heading: str
    tiles: Sequence[Tile]
    ratio: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """One image of the gallery: IoU before (None without a base) and after, and its tiles."""

    name: str
    before: float | None
    after: float
    row: Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Picks:
    """Names of images that show a stage from its four sides, the most telling first."""

    improved: tuple[str, ...]
    harmed: tuple[str, ...]
    best: tuple[str, ...]
    worst: tuple[str, ...]


def iou_by_name(result: EvaluationResult) -> dict[str, float]:
    """The IoU of each image that has one."""
    return {name: float(iou) for name, iou in zip(result.names, image_iou(result), strict=True) if math.isfinite(iou)}


def iou_changes(base: EvaluationResult, other: EvaluationResult) -> dict[str, float]:
    """After minus before, for each image that has an IoU in both, in the order of `other`."""
    before = iou_by_name(base)
    return {name: after - before[name] for name, after in iou_by_name(other).items() if name in before}


def pick(base: EvaluationResult | None, other: EvaluationResult, *, count: int = 3) -> Picks:
    """Chooses images by their IoU: those that gained and lost most, and the best and the worst of `other`.

    Args:
        base: what `other` is compared with; None picks no gains and no losses.
        other: the result to show.
        count: at most this many of each kind. An image that gained nothing is never among the improved, one that lost
            nothing never among the harmed. Ties go to the image that comes first.
    """
    after = iou_by_name(other)
    change = {} if base is None else iou_changes(base, other)
    rising, falling = sorted(after, key=after.__getitem__), sorted(after, key=lambda name: -after[name])
    return Picks(
        improved=tuple(sorted((n for n in change if change[n] > 0), key=lambda name: -change[name])[:count]),
        harmed=tuple(sorted((n for n in change if change[n] < 0), key=change.__getitem__)[:count]),
        best=tuple(falling[:count]),
        worst=tuple(rising[:count]),
    )


def typical(base: EvaluationResult, other: EvaluationResult) -> str | None:
    """The image whose change is the median (the upper one of two); None where no image has an IoU."""
    change = iou_changes(base, other)
    return sorted(change, key=change.__getitem__)[len(change) // 2] if change else None


def exhibit(name: str, picture: Picture, base: Stage | None, stage: Stage) -> Exhibit:
    """One image with the masks of a stage, and of its base where it has one."""
    after = iou_by_name(stage.result)[name]
    before = None if base is None else iou_by_name(base.result)[name]
    mask = picture.masks.get(stage.name)
    earlier = None if base is None else picture.masks.get(base.name)
    tiles = given(picture)
    if base is not None and earlier is not None:
        tiles.append(Tile(uri=pictures.mask_uri(earlier, picture.look.colours), caption=base.name, score=before))
    if mask is not None:
        tiles.append(Tile(uri=pictures.mask_uri(mask, picture.look.colours), caption=stage.name, score=after))
        tiles += _compared(picture, earlier, mask)
    return Exhibit(name=name, before=before, after=after, row=Row(heading="", tiles=tiles, ratio=ratio_of(picture)))


def strip_rows(strip: Strip, classes: tuple[str, ...]) -> list[Row]:
    """The image and its truth, then for each refining stage its masks from the coarse one to the last."""
    picture, ratio = strip.picture, ratio_of(strip.picture)
    rows = []
    for stage, masks in strip.steps.items():
        tiles = [
            Tile(
                uri=pictures.mask_uri(mask, picture.look.colours),
                caption=f"step {number}" if number else "coarse",
                score=_iou(mask, picture.truth, classes),
            )
            for number, mask in enumerate(masks)
        ]
        rows.append(Row(heading=stage, tiles=tiles + _compared(picture, masks[0], masks[-1]), ratio=ratio))
    shown = given(picture)
    if not rows:
        shown += [
            Tile(uri=pictures.mask_uri(mask, picture.look.colours), caption=name)
            for name, mask in picture.masks.items()
        ]
    return [Row(heading="", tiles=shown, ratio=ratio), *rows]


def given(picture: Picture) -> list[Tile]:
    """The image and, where there is one, its truth."""
    tiles = [Tile(uri=pictures.image_uri(picture.image), caption="image", pixelated=pictures.is_small(picture.image))]
    if picture.truth is not None:
        tiles.append(Tile(uri=pictures.mask_uri(picture.truth, picture.look.colours), caption="truth"))
    return tiles


def _compared(picture: Picture, before: Labels | None, after: Labels) -> list[Tile]:
    """The marked picture: what became of the pixels, or without a mask before, which are mistaken."""
    if picture.truth is None:
        return []
    if before is None:
        uri = pictures.mistakes_uri(picture.image, picture.truth, after, background=picture.look.background)
        return [Tile(uri=uri, caption="mistakes")]
    return [Tile(uri=pictures.change_uri(picture.image, picture.truth, before, after), caption="fixed / broken")]


def _iou(mask: Labels, truth: Labels | None, classes: tuple[str, ...]) -> float | None:
    if truth is None:
        return None
    meter = EvaluationMeter(classes)
    meter.update("one", mask, truth)
    return float(image_iou(meter.result())[0])


def ratio_of(picture: Picture) -> float:
    height, width = picture.image.shape[:2]
    return float(np.clip(width / height, 0.6, 1.8))
