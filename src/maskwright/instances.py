"""Objects of one image: from label maps, from a network that was trained with a contour class, and from maps of numbers.

A network that tells background, inside and border of objects apart (Chen et al. 2016, "DCAN", and many since) gives the
objects without a watershed: every connected piece of `inside` is a seed, and every other pixel of the foreground goes to
the seed that is nearest within the foreground. Departs from DCAN in: one softmax over three classes instead of two
branches; the border is part of its object; a piece of foreground without a seed is an object too.
"""

import warnings
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int32, Int64, Integer
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from .errors import DataError
from .ops.components import grow, number_pieces
from .types import IGNORE_INDEX, RLE, Instances, Segments

SMALLEST = 12
"""Pixels below which a piece is taken for noise, unless the caller says otherwise."""

SMALLEST_SEED = 4
"""Pixels below which a piece of `inside` is no seed: it would cut its object in two."""

CONTOUR_CLASSES = ("background", "inside", "border")
"""Meaning of the channels that `of_contours` reads."""


def of_map(
    name: str,
    ids: Integer[np.ndarray, "h w"],
    *,
    classes: Int64[np.ndarray, " n"] | None = None,
    scores: Float[np.ndarray, " n"] | None = None,
) -> Instances:
    """Return the objects of a map of numbers, in the order of the numbers that occur.

    Args:
        name: of the image.
        ids: 0 = none, any other number is an object, in however many pieces.
        classes: of each; None makes all of them label 1.
        scores: of each; None makes them 1.

    Raises:
        DataError: the map is not integers (H, W) ≥ 0, or classes or scores are not one for each object.
    """
    if ids.ndim != 2 or ids.size == 0 or ids.dtype.kind not in "iu" or ids.min() < 0:
        raise DataError(f"{name}: object numbers are {ids.dtype} of shape {ids.shape}; expected integers ≥ 0, (H, W)")
    numbers = np.unique(ids)
    numbers = numbers[numbers > 0]
    for what, values in (("classes", classes), ("scores", scores)):
        if values is not None and len(values) != len(numbers):
            raise DataError(f"{name}: {len(values)} {what} for {len(numbers)} objects; expected one for each")
    # Run lengths go down the columns; of a transposed copy each comparison is laid out that way.
    columns = np.ascontiguousarray(ids.T)
    return Instances(
        name=name,
        size=(ids.shape[0], ids.shape[1]),
        masks=tuple(_encoded((columns == number).T) for number in numbers),
        classes=np.ones(len(numbers), np.int64) if classes is None else np.asarray(classes, np.int64),
        scores=np.ones(len(numbers), np.float32) if scores is None else np.asarray(scores, np.float32),
    )


def of_masks(
    name: str,
    masks: Bool[np.ndarray, "n h w"],
    *,
    classes: Int64[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
) -> Instances:
    """Return objects that may overlap, of binary masks; empty ones are left out."""
    return of_each(name, masks, size=(masks.shape[1], masks.shape[2]), classes=classes, scores=scores)


def of_each(
    name: str,
    masks: Iterable[Bool[np.ndarray, "h w"]],
    *,
    size: tuple[int, int],
    classes: Int64[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
) -> Instances:
    """Return objects that may overlap, of binary masks that come one by one; empty ones are left out."""
    encoded = [_encoded(mask) for mask in masks]
    kept = [number for number, mask in enumerate(encoded) if coco_mask.area(mask)]
    return Instances(
        name=name,
        size=size,
        masks=tuple(encoded[number] for number in kept),
        classes=np.asarray(classes, np.int64)[kept],
        scores=np.asarray(scores, np.float32)[kept],
    )


def surest(instances: Instances, threshold: float) -> Instances:
    """Return the objects whose score reaches the threshold, in their order."""
    kept = np.flatnonzero(instances.scores >= threshold)
    return Instances(
        name=instances.name,
        size=instances.size,
        masks=tuple(instances.masks[number] for number in kept),
        classes=instances.classes[kept],
        scores=instances.scores[kept],
        boxes=None if instances.boxes is None else instances.boxes[kept],
        areas=None if instances.areas is None else instances.areas[kept],
        crowd=None if instances.crowd is None else instances.crowd[kept],
    )


def masks_of(instances: Instances) -> Bool[np.ndarray, "n h w"]:
    """Return the masks of all objects as an array."""
    masks = np.zeros((len(instances.masks), *instances.size), np.bool_)
    for number, mask in enumerate(instances.masks):
        masks[number] = _decoded(mask)
    return masks


def to_map(instances: Instances) -> Int32[np.ndarray, "h w"]:
    """Return the map of numbers: i + 1 where object i is, 0 where none is; of overlapping objects the surest shows, of
    equally sure ones the first, and crowds only where nothing else is."""
    ids = np.zeros(instances.size, np.int32)
    crowd = np.zeros(len(instances.masks), np.bool_) if instances.crowd is None else instances.crowd
    for number in np.lexsort((-instances.scores, crowd))[::-1]:
        ids[_decoded(instances.masks[number])] = number + 1
    return ids


def to_segments(instances: Instances, ground: Integer[np.ndarray, "h w"] | None = None) -> Segments:
    """Return objects and what lies beside them as segments.

    Args:
        instances: of overlapping ones, see `to_map`.
        ground: labels of the pixels that no object covers, 255 = void; None is background, label 0, which thus is a
            segment and not void: an object predicted there is a mistake.
    """
    ids = to_map(instances)
    ground = np.zeros(instances.size, np.uint8) if ground is None else ground
    free = (ids == 0) & (ground != IGNORE_INDEX)
    labels = np.unique(ground[free])
    crowd = np.zeros(len(instances.masks), np.bool_) if instances.crowd is None else instances.crowd
    for number, label in enumerate(labels, start=len(instances.masks) + 1):
        ids[free & (ground == label)] = number
    return Segments(
        name=instances.name,
        ids=ids,
        classes=np.concatenate([instances.classes, labels.astype(np.int64)]),
        crowd=np.concatenate([crowd, np.zeros(len(labels), np.bool_)]),
    )


def of_labels(
    name: str,
    labels: Integer[np.ndarray, "h w"],
    probabilities: Float[np.ndarray, "c h w"] | None = None,
    *,
    smallest: int = SMALLEST,
) -> Instances:
    """Return the connected pieces of each class (neighbours share a side) as objects.

    Objects of one class that touch come out as one; a network with a contour class tells them apart, see `of_contours`.

    Args:
        name: of the image.
        labels: 0 = background, 255 = ignored: neither holds objects.
        probabilities: of all classes, by label; an object's score is the mean of its class over its pixels. None gives
            every object the score 1.
        smallest: pixels that an object must have.
    """
    pieces = number_pieces(np.ascontiguousarray(labels, np.int32)) + 1
    pieces[(labels == 0) | (labels == IGNORE_INDEX)] = 0
    pieces = _without_small(pieces, smallest)
    numbers, first = np.unique(pieces, return_index=True)
    classes = labels.ravel()[first[numbers > 0]].astype(np.int64)
    scores = None
    if probabilities is not None:
        own = np.take_along_axis(probabilities, np.minimum(labels, len(probabilities) - 1)[None].astype(np.int64), 0)[0]
        scores = _means(own, pieces)
    return of_map(name, pieces, classes=classes, scores=scores)


def of_contours(name: str, probabilities: Float[np.ndarray, "3 h w"], *, smallest: int = SMALLEST) -> Instances:
    """Return the objects that a network with the classes background, inside and border sees; all have label 1.

    Args:
        name: of the image.
        probabilities: of the three classes.
        smallest: pixels that an object must have.

    Returns:
        Objects that do not overlap; the score is the mean probability of inside and border together.

    Raises:
        DataError: not three channels.
    """
    if probabilities.ndim != 3 or len(probabilities) != len(CONTOUR_CLASSES):
        expected = f"({len(CONTOUR_CLASSES)}, H, W): {', '.join(CONTOUR_CLASSES)}"
        raise DataError(f"{name}: probabilities have shape {probabilities.shape}; expected {expected}")
    ids = split_contours(probabilities.argmax(0), smallest=smallest)
    return of_map(name, ids, scores=_means(probabilities[1] + probabilities[2], ids))


def split_contours(labels: Integer[np.ndarray, "h w"], *, smallest: int = SMALLEST) -> Int32[np.ndarray, "h w"]:
    """Return the objects of a label map 0 background, 1 inside, 2 border as numbers 1 … N, 0 = none.

    Args:
        labels: other values, such as 255 = ignored, are background.
        smallest: pixels that an object must have.
    """
    foreground = (labels == 1) | (labels == 2)
    seeds = _without_small(_pieces(labels == 1), SMALLEST_SEED)
    grown = grow(seeds, foreground)
    # What no seed reaches is narrow: objects of which the network saw the border only.
    alone = _pieces(foreground & (grown == 0))
    grown[alone > 0] = alone[alone > 0] + labels.size
    return _without_small(grown, smallest)


def _encoded(mask: NDArray[np.bool_]) -> RLE:
    encoded: RLE = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return encoded


def _decoded(mask: RLE) -> NDArray[np.bool_]:
    with warnings.catch_warnings():
        # pycocotools 2.0 makes arrays in a way that numpy 2 warns of.
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        return coco_mask.decode(mask).astype(np.bool_)


def _pieces(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the connected pieces of a mask from 1 on, in any gaps; 0 outside."""
    pieces = number_pieces(np.ascontiguousarray(mask, np.int32)) + 1
    pieces[~mask] = 0
    return pieces


def _without_small(pieces: NDArray[np.int32], smallest: int) -> NDArray[np.int32]:
    """Leave out pieces of fewer pixels, and number the others 1 … N in their order."""
    numbers, inverse, sizes = np.unique(pieces, return_inverse=True, return_counts=True)
    kept = (numbers > 0) & (sizes >= smallest)
    return np.where(kept, np.cumsum(kept), 0).astype(np.int32)[inverse].reshape(pieces.shape)


def _means(values: NDArray[np.floating], ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """Mean of `values` over the pixels of each number 1 … N."""
    sums = np.bincount(ids.ravel(), weights=values.ravel().astype(np.float64))[1:]
    return sums / np.bincount(ids.ravel())[1:]
