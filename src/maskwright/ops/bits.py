"""Masks at one bit per pixel: cut from label maps, dilated by squares and by other shapes, and counted.

A *plane* is uint64, (H, K): pixel x of a row is bit x % 64 of word x // 64, and the bits past the width are 0. Logical
operations are NumPy's own; after `~` a plane is joined (`&`) with one that has no bit past the width. What is reached along
rows and columns is doubled by shifts (van den Boomgaard & van Balen 1992, "Methods for fast morphological image transforms
using bitmapped binary images"): the time of a square grows with the logarithm of its side, that of any other shape with
the number of its rows, 64 pixels at once.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt64

from .labels import Labels, flat_labels, ignored_label

Plane = UInt64[np.ndarray, "h k"]

WORD = 64


class ClassPlanes(NamedTuple):
    """One class against the rest in two label maps. The first three planes hold no ignored pixel.

    Attributes:
        predicted: where the prediction is of the class.
        true: where the truth is.
        rest: where the truth is not.
        ignored: where the truth is ignored.
        fit: whether all labels are classes, but for those of ignored pixels.
        any_scored: whether there is a pixel that is not ignored.
        any_ignored: whether there is one that is.
    """

    predicted: Plane
    true: Plane
    rest: Plane
    ignored: Plane
    fit: bool
    any_scored: bool
    any_ignored: bool


def class_planes(prediction: Labels, target: Labels, label: int, num_classes: int, ignored: int) -> ClassPlanes:
    """Cut two label maps into the pixels of one class and the rest.

    Args:
        prediction: (H, W), at least one pixel, any integer type or bool.
        target: likewise, of the same shape.
        label: the class.
        num_classes: labels from 0 on that are classes.
        ignored: label in `target` that is left out.
    """
    height, width = target.shape
    maps = [np.ascontiguousarray(labels).reshape(-1) for labels in (prediction, target)]
    if target.size < WORD:
        maps = [np.pad(labels, (0, WORD - target.size)) for labels in maps]
    predicted, truth = (flat_labels(labels, num_classes) for labels in maps)
    left_out, held = ignored_label(target, truth, ignored)
    planes = np.empty((4, height, -(-width // WORD)), dtype=np.uint64)
    of_predicted, of_truth = ([labels.dtype.type(n) for n in (label, num_classes - 1)] for labels in (predicted, truth))
    found = _kernels().class_planes(
        predicted, truth, width, *of_predicted, *of_truth, left_out, np.uint64(2**WORD - 1 if held else 0), planes
    )  # fmt: skip
    return ClassPlanes(*planes, *found)


def dilated(plane: Plane, half_widths: Sequence[int], width: int) -> Plane:
    """Return the pixels that have one of the plane's within a shape.

    Args:
        plane: (H, K).
        half_widths: of the shape's rows, from the middle outwards, none longer than the one before: a pixel is near if one
            that is dy rows away is at most `half_widths[dy]` columns away.
        width: W of the image.
    """
    rows = np.array([min(half_width, width) for half_width in half_widths[: len(plane)]], dtype=np.int64)
    near: Plane = _kernels().dilated(plane, rows, width)
    return near


def inner_band(mask: Plane, scored: Plane, border: Plane, steps: int, width: int) -> Plane:
    """Return the pixels of a mask that have something outside it, or of the outside of the image, within a king's moves.

    Args:
        mask: (H, K).
        scored: of these, all that are not in the mask are outside it.
        border: outside the mask, too.
        steps: moves of the king, at least 1.
        width: W of the image.
    """
    band: Plane = _kernels().inner_band(mask, scored, border, steps, width)
    return band


def at_corners(plane: Plane) -> Plane:
    """Whether the lower right corner of each pixel touches the plane; at the frame fewer than four pixels meet there."""
    corners: Plane = _kernels().at_corners(plane)
    return corners


def pixels(one: Plane, other: Plane) -> tuple[int, int, int]:
    """Return the numbers of pixels that both planes hold, that the first holds, and that the second holds."""
    both, first, second = _kernels().pixels(one, other)
    return both, first, second


@cache
def _kernels() -> Any:
    """Return the module of the kernels, imported at the first call, since numba takes a moment."""
    from . import bits_cpu

    return bits_cpu
