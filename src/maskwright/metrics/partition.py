"""How well the regions of a segmentation fit: covering, probabilistic Rand index and variation of information.

For segmentations without classes, such as those of mean shift or superpixels. A *partition* is a label map (H, W) whose
values only say which pixels belong together; it may have several truths, as the pictures of BSDS500 were segmented by
about five people each. The scores are those of the BSDS500 benchmark (Arbelaez, Maire, Fowlkes and Malik 2011), from
exact counts. Departs from its code in: 0 is a label like any other, where the benchmark leaves it out of the covering
(its own maps begin at 1); ignored pixels are left out where `ignore_index` names them; nothing is rounded to the six
digits of its text files.

`DEFINITIONS` says in words what each score is; `partition_settings` has those of a data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maskwright.errors import DataError
from maskwright.metrics import scores
from maskwright.metrics.confusion import LabelMap, as_labels

Truths = LabelMap | Sequence[LabelMap]
"""One truth, (H, W), or several of the same image."""

Regions = NDArray[np.int64]
"""The region that each pixel lies in, 0..K-1, flat."""

_TRUTHS = "a truth whose every pixel is ignored is left out; nan where all are"

DEFINITIONS: dict[str, str] = {
    "covering": "Segmentation covering (Arbelaez et al. 2011) of the truths by the segmentation: each region of each "
    "truth takes its best IoU with a region of the segmentation; mean over the regions of all truths together, weighted "
    f"by their pixels; {_TRUTHS}.",
    "probabilistic_rand_index": "PRI (Unnikrishnan et al. 2007): share of the pairs of pixels that segmentation and "
    "truth agree on, both joining or both parting them; mean over the truths; 1 where there is a single pixel; "
    f"{_TRUTHS}.",
    "variation_of_information": "VI (Meilă 2005): H(truth | segmentation) + H(segmentation | truth), in bits "
    "(logarithm to base 2); mean over the truths; lower is better, 0 for equal partitions, at most log2 of the pixels; "
    f"{_TRUTHS}.",
    "regions": "Labels of the segmentation, ignored pixels included; parts of a label that do not touch are one region.",
    "region_area": "Scored pixels of each region of each truth: the truths one after another, the regions of each in "
    "the order of their labels.",
    "region_iou": "Best IoU of each of these regions with a region of the segmentation, over the pixels that the "
    "region's truth does not ignore.",
}
"""What each field of `PartitionScores` is, in words, with its policy for ignored pixels."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PartitionScores:
    """The region scores of one image. `DEFINITIONS` says in words what each field is.

    Covering and Rand index lie in [0, 1]; R regions in all truths: `region_area` is int64, `region_iou` float64, (R,).
    """

    covering: float
    probabilistic_rand_index: float
    variation_of_information: float
    regions: int
    region_area: NDArray[np.int64]
    region_iou: NDArray[np.float64]


def partition_scores(segmentation: LabelMap, truths: Truths, *, ignore_index: int | None = None) -> PartitionScores:
    """All region scores of one image.

    Args:
        segmentation: the label of each pixel's region, any integers, negative ones too, (H, W), NumPy array or tensor
            on any device.
        truths: one such map, or a sequence of several, each of the same size.
        ignore_index: the label of pixels that are left out of the truth that holds it; None scores every pixel.

    Raises:
        DataError: there is no truth, or a map has no pixel, is not two-dimensional or not integer, or differs in size.
    """
    overlaps = _overlaps(segmentation, truths, ignore_index)
    area, iou = _best_matches(overlaps)
    return PartitionScores(
        covering=_covering(area, iou),
        probabilistic_rand_index=_mean([_rand_index(overlap) for overlap in overlaps]),
        variation_of_information=_mean([_information(overlap) for overlap in overlaps]),
        regions=overlaps[0].segment_area.size,
        region_area=area,
        region_iou=iou,
    )


def covering(segmentation: LabelMap, truths: Truths, *, ignore_index: int | None = None) -> float:
    """Segmentation covering (Arbelaez et al. 2011) of the truths, in [0, 1]: `DEFINITIONS["covering"]`.

    Arguments and errors as in `partition_scores`. Not symmetric: the regions of the truths are covered, those of the
    segmentation cover.
    """
    return _covering(*_best_matches(_overlaps(segmentation, truths, ignore_index)))


def probabilistic_rand_index(segmentation: LabelMap, truths: Truths, *, ignore_index: int | None = None) -> float:
    """PRI (Unnikrishnan et al. 2007), in [0, 1]: `DEFINITIONS["probabilistic_rand_index"]`.

    Arguments and errors as in `partition_scores`. Not adjusted for chance: unrelated maps of many regions score high.
    """
    return _mean([_rand_index(overlap) for overlap in _overlaps(segmentation, truths, ignore_index)])


def variation_of_information(segmentation: LabelMap, truths: Truths, *, ignore_index: int | None = None) -> float:
    """VI (Meilă 2005), in bits, lower is better: `DEFINITIONS["variation_of_information"]`.

    Arguments and errors as in `partition_scores`. The base of the logarithm is that of the BSDS500 code, 2, and so are
    published figures of that benchmark, such as mean shift's 1.85 (ODS) and 1.64 (OIS).
    """
    return _mean([_information(overlap) for overlap in _overlaps(segmentation, truths, ignore_index)])


@dataclass(frozen=True, slots=True, eq=False)
class _Overlap:
    """The scored pixels that T regions of one truth and S regions of the segmentation share.

    `true`, `segment` and `pixels`, (K,), hold the pairs of regions that share any; `true_area`, (T,), has no zero,
    `segment_area`, (S,), may have some, of regions that lie in ignored pixels.
    """

    true: Regions
    segment: Regions
    pixels: NDArray[np.int64]
    true_area: NDArray[np.int64]
    segment_area: NDArray[np.int64]


def _overlaps(segmentation: LabelMap, truths: Truths, ignore_index: int | None) -> list[_Overlap]:
    """The overlap with each truth, at least one."""
    segments = _as_partition(segmentation, "segmentation")
    true_maps = [truths] if isinstance(truths, np.ndarray | Tensor) and truths.ndim == 2 else list(truths)
    if not true_maps:
        raise DataError("a segmentation cannot be scored without a truth; got none")
    ids, number = _renumbered(segments.reshape(-1))
    overlaps = []
    for index, labels in enumerate(true_maps):
        role = f"truth {index + 1} of {len(true_maps)}"
        truth = _as_partition(labels, role)
        if truth.shape != segments.shape:
            raise DataError(
                f"the segmentation is {'x'.join(map(str, segments.shape))} but {role} is "
                f"{'x'.join(map(str, truth.shape))} (height x width); segment the image at the size of its truths"
            )
        overlaps.append(_overlap(ids, number, truth.reshape(-1), ignore_index))
    return overlaps


def _as_partition(labels: LabelMap, role: str) -> NDArray[Any]:
    array = as_labels(labels, role, advice="give each pixel the integer label of its region, one image at a time")
    if array.size == 0:
        raise DataError(f"the {role} is of shape {array.shape} and holds no pixel; leave such images out")
    return array


def _overlap(segments: Regions, number: int, truth: NDArray[Any], ignore_index: int | None) -> _Overlap:
    if ignore_index is not None:
        scored = truth != ignore_index
        truth, segments = truth[scored], segments[scored]
    true, true_number = _renumbered(truth)
    # One number for each pair of regions, sorted, so that equal ones lie together: no table of T x S, which thousands
    # of regions on either side would not fit into.
    pairs = true * number + segments
    pairs.sort()
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    true_region, segment = np.divmod(pairs[starts], number)
    return _Overlap(
        true=true_region,
        segment=segment,
        pixels=np.diff(starts, append=pairs.size),
        true_area=np.bincount(true, minlength=true_number),
        segment_area=np.bincount(segments, minlength=number),
    )


def _renumbered(labels: NDArray[Any]) -> tuple[Regions, int]:
    """Number the labels from 0 in ascending order; the number of each pixel, and how many there are."""
    if labels.size == 0:
        return np.zeros(0, dtype=np.int64), 0
    low = labels.min()
    span = int(labels.max()) - int(low) + 1
    if span > labels.size:
        values, numbers = np.unique(labels, return_inverse=True)
        return numbers.astype(np.int64, copy=False), values.size
    # Where labels lie close together, no sorting. Wrapped uint64 have the right difference all the same.
    offset = labels.astype(np.int64) - low.astype(np.int64)
    present = np.zeros(span, dtype=np.bool_)
    present[offset] = True
    number = np.cumsum(present, dtype=np.int64)
    return number[offset] - 1, int(number[-1])


def _best_matches(overlaps: Sequence[_Overlap]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Area and best IoU of the regions of all truths, (R,) each."""
    best = []
    for overlap in overlaps:
        union = overlap.true_area[overlap.true] + overlap.segment_area[overlap.segment] - overlap.pixels
        iou = np.zeros(overlap.true_area.size)
        np.maximum.at(iou, overlap.true, overlap.pixels / union)
        best.append(iou)
    return np.concatenate([overlap.true_area for overlap in overlaps]), np.concatenate(best)


def _covering(area: NDArray[np.int64], iou: NDArray[np.float64]) -> float:
    return float(area @ iou / area.sum()) if area.size else np.nan


def _rand_index(overlap: _Overlap) -> float:
    """Share of the pairs of pixels agreed on; nan without any pixel. Squares fit int64 up to 3 · 10^9 pixels."""
    pixels = int(overlap.pixels.sum())
    if pixels == 0:
        return np.nan
    if pixels == 1:
        return 1.0
    in_true, in_segment, in_both = (int(n @ n) for n in (overlap.true_area, overlap.segment_area, overlap.pixels))
    return 1 - (in_true + in_segment - 2 * in_both) / (pixels * (pixels - 1))


def _information(overlap: _Overlap) -> float:
    """Sum of both conditional entropies in bits; nan without any pixel."""
    pixels = overlap.pixels
    if pixels.size == 0:
        return np.nan
    # Every term is at least 0, so that none cancel: equal partitions give exactly 0.
    bits = np.log2(overlap.true_area[overlap.true] / pixels) + np.log2(overlap.segment_area[overlap.segment] / pixels)
    return float(pixels @ bits / pixels.sum())


def _mean(values: Sequence[float]) -> float:
    return float(scores.mean(np.array(values, dtype=np.float64)))
