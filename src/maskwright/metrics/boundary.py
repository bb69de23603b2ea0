"""How well a mask follows the edge: Boundary IoU, mean boundary accuracy, trimap IoU and boundary F.

All are exact, at the image's own size, for one image at a time, and equal the published forms (Cheng et al. 2021,
Cheng et al. 2020, Kohli et al. 2009, and Csurka et al. 2013 with Perazzi et al. 2016) where no pixel is ignored and the
truth has an edge. What happens elsewhere is the same for all of them:

- Each class is scored against the rest. Two classes: the score of the foreground. More: the mean over the classes,
  background included, that occur in the truth of the image.
- An ignored pixel is never scored and its prediction never read, and it makes no edge. But where a strip of ignored
  pixels parts a class from the rest, as the drawn borders of Pet or VOC do, the edge lies somewhere in the strip. So
  ignored pixels with both the class and the rest near by (`border_share`) are the *border*, and bands are measured
  from it. A strip with one class on both sides, like a dog's collar, stays no edge.
- A truth without an edge, empty or full, scores `empty` if the prediction equals it, else 0. A truth with both sides
  whose edge the ignored pixels hide scores nan, and so does one that is ignored altogether.

`DEFINITIONS` says the same of each score in words. Masks are planes of `ops.bits`, one bit per pixel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, hypot, isnan, isqrt, nan, sqrt

import numpy as np

from maskwright.errors import ConfigError
from maskwright.metrics import confusion, scores
from maskwright.metrics.confusion import LabelMap
from maskwright.ops import bits
from maskwright.ops.bits import Plane
from maskwright.types import IGNORE_INDEX

BOUNDARY_IOU_SHARE = TRIMAP_SHARE = 0.02
"""Width of a band as a share of the diagonal: 12.5 px at 500×375."""

BF_SHARE, DAVIS_SHARE = 0.0075, 0.008
"""Tolerance of boundary F as a share of the diagonal: Csurka et al. 2013 and the DAVIS benchmark (2016)."""

BORDER_SHARE = 0.05
"""Reach of a border as a share of the diagonal; the strips drawn around the animals of Pet are about 0.025 wide."""

MBA_RADII = 5
"""Bands that mean boundary accuracy averages."""

POLICY = (
    "the foreground's if there are two classes, with more the mean over the classes, background included, that occur "
    "in the truth of the image, each against the rest; ignored pixels are not scored; a truth without an edge scores "
    "`empty_value` if the prediction equals it, else 0; nan where ignored pixels hide the edge"
)
"""What the definitions of all the scores end with."""
_BORDER = "the edge, or of the ignored border that hides it (`border_share`)"
_F = (
    "F = 2 P R / (P + R) of the edge points, the corners between pixels where mask and rest meet (those inside the "
    "image, on its last row and on its last column, as in the DAVIS code). P: share of the prediction's points within "
    "the tolerance of a point of the truth or its ignored border; R: share of the truth's points within the tolerance "
    "of a point of the prediction; by Euclidean distance"
)

DEFINITIONS: dict[str, str] = {
    "boundary_iou": "Boundary IoU (Cheng et al. 2021): of either mask the pixels that d = round(2 % of the diagonal), "
    "at least 1, erosions by 3×3 take away, the outside of the image counting as not mask, so the pixels within d of "
    f"{_BORDER}; IoU of the two bands: {POLICY}.",
    "mean_boundary_accuracy": "mBA (CascadePSP, Cheng et al. 2020): share of pixels on the right side, in the "
    "morphological gradient of the truth by OpenCV's ellipse of radius 1 + int((R − 1) / 5 · i), i = 0..4, "
    f"R = (H + W) / 300, so within that radius of {_BORDER}; mean over the five radii, an empty band left out: "
    f"{POLICY}.",
    "trimap_iou": f"IoU over the pixels within `trimap_radius`, by Euclidean distance, of {_BORDER}: a pixel of the "
    f"other side, or of the border, is no farther away than that; {POLICY}.",
    "trimap_iou_half": "As `trimap_iou`, with half its radius, at least 1 px.",
    "trimap_iou_quarter": "As `trimap_iou`, with a quarter of its radius, at least 1 px.",
    "trimap_radius": "Pixels on either side of the edge that the trimap IoU looks at; a share of the diagonal, "
    "at least 1.",
    "boundary_f": f"BF (Csurka et al. 2013): {_F}; tolerance 0.75 % of the diagonal, rounded up: {POLICY}.",
    "davis_f": f"F of DAVIS (Perazzi et al. 2016): {_F}; tolerance 0.8 % of the diagonal, rounded up: {POLICY}.",
    "border_share": "An ignored pixel is border between a class and the rest if both have a scored pixel within this "
    "share of the diagonal, by Euclidean distance; inf: wherever the image holds both; 0: never.",
    "empty_value": "The score of a mask that is empty, or full, in both prediction and truth; nan leaves it out.",
}
"""What each field of `BoundaryScores` is, in words, with its policy for empty masks and ignored pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryScores:
    """The boundary scores of one image. `DEFINITIONS` says in words what each field is.

    Scores lie in [0, 1], nan where undefined; `trimap_radius` is in pixels.
    """

    boundary_iou: float
    mean_boundary_accuracy: float
    trimap_iou: float
    trimap_iou_half: float
    trimap_iou_quarter: float
    trimap_radius: float
    boundary_f: float
    davis_f: float
    border_share: float
    empty_value: float


def boundary_scores(
    prediction: LabelMap,
    target: LabelMap,
    *,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
    trimap_share: float = TRIMAP_SHARE,
    border_share: float = BORDER_SHARE,
    empty: float = 1.0,
) -> BoundaryScores:
    """All boundary scores of one image.

    Args:
        prediction: labels 0..num_classes-1, any integer type or bool, (H, W), NumPy array or tensor on any device.
            Where the target is ignored, any value is allowed.
        target: the truth, like `prediction`, and `ignore_index` where no pixel is to be scored.
        num_classes: C, at least 2, the background included.
        ignore_index: the label in `target` that is left out.
        trimap_share: radius of the trimap IoU as a share of the image's diagonal, above 0 and at most 1.
        border_share: how near both sides must be for an ignored pixel to be border between them, as a share of the
            diagonal, at least 0. inf takes every ignored pixel for border wherever the image holds both sides.
        empty: what a mask without an edge scores if the prediction equals it; nan leaves it out.

    Raises:
        DataError: the maps differ in shape, are not two-dimensional or not integer, or hold a label that is no class.
        ConfigError: fewer than two classes, or a share out of range.
    """
    pairs = _pairs(prediction, target, num_classes, ignore_index, border_share)
    radius, half, quarter = (diagonal_share(target.shape, trimap_share / part) for part in (1, 2, 4))
    return BoundaryScores(
        boundary_iou=_score(pairs, partial(_boundary_iou, steps=_erosions(target.shape, BOUNDARY_IOU_SHARE)), empty),
        mean_boundary_accuracy=_score(pairs, _mean_boundary_accuracy, empty),
        trimap_iou=_score(pairs, partial(_trimap_iou, radius=radius), empty),
        trimap_iou_half=_score(pairs, partial(_trimap_iou, radius=half), empty),
        trimap_iou_quarter=_score(pairs, partial(_trimap_iou, radius=quarter), empty),
        trimap_radius=radius,
        boundary_f=_score(pairs, partial(_boundary_f, tolerance=_tolerance(target.shape, BF_SHARE)), empty),
        davis_f=_score(pairs, partial(_boundary_f, tolerance=_tolerance(target.shape, DAVIS_SHARE)), empty),
        border_share=border_share,
        empty_value=empty,
    )


def boundary_iou(
    prediction: LabelMap,
    target: LabelMap,
    *,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
    share: float = BOUNDARY_IOU_SHARE,
    border_share: float = BORDER_SHARE,
    empty: float = 1.0,
) -> float:
    """Boundary IoU (Cheng et al. 2021) of one image: `DEFINITIONS["boundary_iou"]` with `share` for its 2 %.

    Arguments and errors as in `boundary_scores`. Symmetric in the two maps where no pixel is ignored.
    """
    pairs = _pairs(prediction, target, num_classes, ignore_index, border_share)
    return _score(pairs, partial(_boundary_iou, steps=_erosions(target.shape, share)), empty)


def mean_boundary_accuracy(
    prediction: LabelMap,
    target: LabelMap,
    *,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
    border_share: float = BORDER_SHARE,
    empty: float = 1.0,
) -> float:
    """mBA (Cheng et al. 2020) of one image: `DEFINITIONS["mean_boundary_accuracy"]`.

    Arguments and errors as in `boundary_scores`. Turning an image by 90° can change the score, as OpenCV's ellipse of a
    radius above 1 is not as high as it is wide. A prediction without an edge scores about 0.5, not 0.
    """
    pairs = _pairs(prediction, target, num_classes, ignore_index, border_share)
    return _score(pairs, _mean_boundary_accuracy, empty)


def trimap_iou(
    prediction: LabelMap,
    target: LabelMap,
    radius: float,
    *,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
    border_share: float = BORDER_SHARE,
    empty: float = 1.0,
) -> float:
    """Trimap IoU (Kohli et al. 2009) of one image: `DEFINITIONS["trimap_iou"]`.

    Args:
        radius: pixels on either side of the edge, at least 1; `diagonal_share(target.shape, 0.02)` for 2 %.

    The other arguments and the errors are as in `boundary_scores`; ConfigError too where the radius is out of range.
    """
    if not radius >= 1:
        raise ConfigError(f"radius must be at least 1 px; got {radius}")
    pairs = _pairs(prediction, target, num_classes, ignore_index, border_share)
    # No two pixels are farther apart than the diagonal.
    return _score(pairs, partial(_trimap_iou, radius=min(radius, hypot(*target.shape))), empty)


def boundary_f(
    prediction: LabelMap,
    target: LabelMap,
    *,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
    share: float = BF_SHARE,
    border_share: float = BORDER_SHARE,
    empty: float = 1.0,
) -> float:
    """Boundary F of one image: `DEFINITIONS["boundary_f"]` with `share` for its 0.75 %; `DAVIS_SHARE` gives DAVIS F.

    Arguments and errors as in `boundary_scores`. Symmetric in the two maps where no pixel is ignored. A flip can change
    it slightly where the edge meets the frame of the image: of the frame's corner points, DAVIS counts those on the
    bottom and on the right. Of a truth whose edge is mostly hidden by ignored pixels, as in Pet and VOC, only the rest
    of the edge can be recalled; the trimap IoU is the better score there.
    """
    pairs = _pairs(prediction, target, num_classes, ignore_index, border_share)
    return _score(pairs, partial(_boundary_f, tolerance=_tolerance(target.shape, share)), empty)


def diagonal_share(shape: Sequence[int], share: float) -> float:
    """A share of the diagonal of an image (H, W), in pixels, not rounded, at least 1.

    Raises:
        ConfigError: the share is not above 0 and at most 1.
    """
    return max(1.0, _share_of_diagonal(shape, share))


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One class against the rest in an image of shape (H, W). `predicted`, `true` and `rest` hold no ignored pixel, `border`
    only such; `true` and `rest` together are the scored pixels."""

    predicted: Plane
    true: Plane
    rest: Plane
    border: Plane
    shape: Sequence[int]

    @property
    def scored(self) -> Plane:
        return self.true | self.rest

    @property
    def predicted_rest(self) -> Plane:
        return self.scored & ~self.predicted

    def dilated(self, plane: Plane, half_widths: Sequence[int]) -> Plane:
        return bits.dilated(plane, half_widths, self.shape[1])


Measure = Callable[[_Pair], float]
"""The score of one class; nan where there is nothing to measure."""


def _pairs(
    prediction: LabelMap, target: LabelMap, num_classes: int, ignore_index: int, border_share: float
) -> list[_Pair]:
    """One pair for each class to be scored; none where every pixel is ignored."""
    if not border_share >= 0:
        raise ConfigError(f"border_share must be at least 0; got {border_share}")
    predicted, truth = confusion.as_labels(prediction, "prediction"), confusion.as_labels(target, "target")
    count = partial(confusion.count, predicted, truth, num_classes, ignore_index=ignore_index)
    if num_classes == 2 and predicted.shape == truth.shape and truth.size:
        planes = bits.class_planes(predicted, truth, 1, num_classes, ignore_index)
        if not planes.fit:
            count()  # which says what is wrong
        return [_pair(planes, truth.shape, border_share)] if planes.any_scored else []
    return [
        _pair(bits.class_planes(predicted, truth, int(label), num_classes, ignore_index), truth.shape, border_share)
        for label in np.flatnonzero(count().sum(axis=1))
    ]


def _pair(planes: bits.ClassPlanes, shape: Sequence[int], border_share: float) -> _Pair:
    border = planes.ignored
    if planes.any_ignored:
        reach = _disk(min(border_share, 1.0) * hypot(*shape))
        border = border & bits.dilated(planes.true, reach, shape[1]) & bits.dilated(planes.rest, reach, shape[1])
    return _Pair(planes.predicted, planes.true, planes.rest, border, shape)


def _score(pairs: Sequence[_Pair], measure: Measure, empty: float) -> float:
    values = [_with_policy(measure(pair), pair, empty) for pair in pairs]
    return values[0] if len(values) == 1 else float(scores.mean(np.array(values, dtype=np.float64)))


def _with_policy(value: float, pair: _Pair, empty: float) -> float:
    """`value`, or what a truth without an edge scores in place of nan."""
    if not isnan(value) or (pair.true.any() and pair.rest.any()):
        return value
    return empty if np.array_equal(pair.predicted, pair.true) else 0.0


def _boundary_iou(pair: _Pair, steps: int) -> float:
    scored = pair.scored
    bands = [bits.inner_band(mask, scored, pair.border, steps, pair.shape[1]) for mask in (pair.predicted, pair.true)]
    return _iou(*bands)


def _mean_boundary_accuracy(pair: _Pair) -> float:
    # In the order of operations of the published code: another order can round down to another radius.
    radii = [1 + int((sum(pair.shape) / 300 - 1) / MBA_RADII * i) for i in range(MBA_RADII)]
    right = ~(pair.predicted ^ pair.true)
    accuracy = {radius: _portion(right, _band(pair, _ellipse(radius))) for radius in set(radii)}
    return float(scores.mean(np.array([accuracy[radius] for radius in radii])))


def _trimap_iou(pair: _Pair, radius: float) -> float:
    band = _band(pair, _disk(radius))
    return _iou(pair.predicted & band, pair.true & band)


def _band(pair: _Pair, half_widths: Sequence[int]) -> Plane:
    """The scored pixels that have the other side, or the border, within the shape of `half_widths`."""
    near_true = pair.dilated(pair.true | pair.border, half_widths)
    return pair.scored & near_true & pair.dilated(pair.rest | pair.border, half_widths)


def _boundary_f(pair: _Pair, tolerance: int) -> float:
    predicted = bits.at_corners(pair.predicted) & bits.at_corners(pair.predicted_rest)
    true = bits.at_corners(pair.true) & bits.at_corners(pair.rest)
    if not true.any():
        return nan
    if not predicted.any():
        return 0.0
    precision = _portion(pair.dilated(true | bits.at_corners(pair.border), _disk(tolerance)), predicted)
    recall = _portion(pair.dilated(predicted, _disk(tolerance)), true)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _iou(one: Plane, other: Plane) -> float:
    both, first, second = bits.pixels(one, other)
    return both / (first + second - both) if first + second else nan


def _portion(part: Plane, whole: Plane) -> float:
    """Share of the pixels of `whole` that `part` holds too; nan if there are none."""
    both, _, pixels = bits.pixels(part, whole)
    return both / pixels if pixels else nan


def _share_of_diagonal(shape: Sequence[int], share: float) -> float:
    if not 0 < share <= 1:
        raise ConfigError(f"a share of the diagonal must be above 0 and at most 1, like 0.02; got {share}")
    return share * hypot(*shape)


def _erosions(shape: Sequence[int], share: float) -> int:
    return max(1, round(_share_of_diagonal(shape, share)))


def _tolerance(shape: Sequence[int], share: float) -> int:
    return ceil(_share_of_diagonal(shape, share))


def _disk(radius: float) -> list[int]:
    """Half-widths of the rows of a disk, from the middle outwards: offsets with dx² + dy² ≤ radius²."""
    # Half the diagonal of a 4×6 image is √13, of which the square is a hair below 13.
    square = int(radius * radius * (1 + 1e-12))
    return [isqrt(square - dy * dy) for dy in range(isqrt(square) + 1)]


def _ellipse(radius: int) -> list[int]:
    """Half-widths as in `_disk`, of the shape that OpenCV's `getStructuringElement(MORPH_ELLIPSE)` gives."""
    return [round(sqrt(radius * radius - dy * dy)) for dy in range(radius + 1)]
