"""Joint counts of two label maps: how many pixels carry each pair of labels, by histogram, at the speed of memory.

A block of pixels at a time, first the number of each pixel's pair, in vector instructions and with labels out of range
noticed on the way, then the histogram. Neighbours mostly carry the same pair, and an increment has to wait for the one
before it on the same counter; so neighbours count into tables of their own, which are added up at the end. Maps are read
as they are, in their own integer types. Counts are int64 and the same for any number of threads.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Integer
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from .labels import Labels, flat_labels, ignored_label
from .rows import indices, load, store
from .threads import in_threads

Counted = tuple[Int64[np.ndarray, "n c c"], int]

BLOCK = 4096
"""Pixels at a time: their pairs stay in the first cache."""

TABLES = 4
"""Tables that neighbouring pixels count into in turn."""

CELLS_IN_TABLES = 1 << 14
"""Pairs of labels up to which there are several tables; more of them leave the cache, and are rarely the same."""

PIXELS_OF_A_THREAD = 1 << 20
"""A thread starts in the time of some 200,000 pixels."""

COPIED = 1 << 16
"""Pixels of a map that is not contiguous that are copied at a time."""


def value_counts(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the different values of a mask in ascending order, and the pixels of each; np.unique in less time."""
    if values.dtype == np.uint8 or (values.dtype == np.uint16 and values.size > 2**16):
        counts = np.bincount(values.ravel())
        found = np.flatnonzero(counts)
        return found.astype(values.dtype), counts[found]
    flat = values.ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))  # masks are flat: few runs, many pixels
    lengths = np.diff(starts, append=flat.size)
    found, which = np.unique(flat[starts], return_inverse=True)
    return found, np.bincount(which, weights=lengths).astype(np.int64)


def joint_counts(predictions: Labels, targets: Labels, num_classes: int, ignored: int | None) -> Counted:
    """Count the pixels of each image of a stack by [truth, prediction].

    Args:
        predictions: labels 0..num_classes-1, any integer type or bool, (N, H, W), in any order of memory. Where the target
            is ignored, any value is allowed.
        targets: the truth, like `predictions`, of the same shape.
        num_classes: C, at most 65,535.
        ignored: label in `targets` that is left out; None leaves none out.

    Returns:
        int64, (N, C, C), row = truth, column = prediction; and the first image that holds a label out of range, −1 if
        none does: then counts from that image on are not complete.
    """
    if predictions.flags.f_contiguous and targets.flags.f_contiguous and len(targets) == 1:
        predictions, targets = predictions.transpose(0, 2, 1), targets.transpose(0, 2, 1)
    if predictions.flags.c_contiguous and targets.flags.c_contiguous:
        return _contiguous_counts(predictions, targets, num_classes, ignored)
    counts = np.zeros((len(targets), num_classes, num_classes), dtype=np.int64)
    rows = max(1, COPIED // max(1, targets.shape[2]))
    for image, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        for top in range(0, len(target), rows):
            predicted, truth = (np.ascontiguousarray(labels[None, top : top + rows]) for labels in (prediction, target))
            part, wrong = _contiguous_counts(predicted, truth, num_classes, ignored)
            if wrong >= 0:
                return counts, image
            counts[image] += part[0]
    return counts, -1


def joint_counts_on_device(
    predictions: Integer[Tensor, "n h w"], targets: Integer[Tensor, "n h w"], num_classes: int, ignored: int | None
) -> Counted:
    """Return what `joint_counts` does, for tensors of one device, on which they are counted: only counts leave it."""
    images, cells = len(targets), num_classes * num_classes
    truth, predicted = targets.to(torch.int64).flatten(1), predictions.to(torch.int64).flatten(1)
    left_out = torch.zeros_like(truth, dtype=torch.bool) if ignored is None else truth == ignored
    wrong = ~left_out & ((truth < 0) | (truth >= num_classes) | (predicted < 0) | (predicted >= num_classes))
    # Two cells more: of pixels that are left out, and of those with a label out of range.
    cell = (truth * num_classes + predicted).masked_fill(left_out, cells).masked_fill(wrong, cells + 1)
    cell += torch.arange(images, device=cell.device)[:, None] * (cells + 2)
    table = torch.bincount(cell.flatten(), minlength=images * (cells + 2)).reshape(images, cells + 2).cpu().numpy()
    counts = np.ascontiguousarray(table[:, :cells]).reshape(images, num_classes, num_classes)
    first = np.flatnonzero(table[:, cells + 1])
    return counts, int(first[0]) if first.size else -1


def _contiguous_counts(predictions: Labels, targets: Labels, num_classes: int, ignored: int | None) -> Counted:
    images = len(targets)
    pixels = targets[0].size if images else 0
    predicted, truth = (flat_labels(labels, num_classes) for labels in (predictions, targets))
    last_predicted, last_true = (labels.dtype.type(num_classes - 1) for labels in (predicted, truth))
    label, held = ignored_label(targets, truth, ignored)

    def counted(first: int, count: int, begin: int, end: int) -> tuple[NDArray[np.int64], int]:
        """The counts of pixels `begin` … `end` − 1 of `count` images from the first on."""
        counts = np.zeros((count, num_classes * num_classes), dtype=np.int64)
        of_images = slice(first * pixels, (first + count) * pixels)
        wrong = _count(
            predicted[of_images], truth[of_images], pixels, begin, end, num_classes, last_predicted, last_true, label,
            np.uint8(held), counts
        )  # fmt: skip
        return counts, first + wrong if wrong >= 0 else images

    if images > 1:
        smallest = max(1, PIXELS_OF_A_THREAD // max(1, pixels))
        parts = in_threads(lambda first, end: counted(first, end - first, 0, pixels), images, smallest)
        counts = np.concatenate([part for part, _ in parts])
    else:
        parts = in_threads(lambda begin, end: counted(0, images, begin, end), pixels, PIXELS_OF_A_THREAD)
        counts = sum((part for part, _ in parts[1:]), parts[0][0])
    wrong = min(first for _, first in parts)
    return counts.reshape(images, num_classes, num_classes), wrong if wrong < images else -1


@njit(cache=True, nogil=True)
def _count(
    predicted, truth, pixels, begin, end, num_classes, last_predicted, last_true, ignored, has_ignored, counts
):  # fmt: skip
    """Add the pairs of each image to its row of `counts`; the first image with a label out of range, or −1."""
    cells = num_classes * num_classes
    step = cells + 1 if cells <= CELLS_IN_TABLES else 0
    tables = np.empty((TABLES - 1) * step + cells + 1, np.int64)
    cell = np.empty(BLOCK, np.uint32)
    for image in range(len(counts)):
        tables[:] = 0
        for start in range(begin, end, BLOCK):
            size = min(BLOCK, end - start)
            wrong = _pairs(
                predicted, truth, image * pixels + start, size, num_classes, last_predicted, last_true, ignored,
                has_ignored, cell
            )  # fmt: skip
            if wrong:
                return image
            _add(cell, size, step, tables)
        for c in range(cells):
            counts[image, c] = tables[c]
            if step:
                counts[image, c] += tables[step + c] + tables[2 * step + c] + tables[3 * step + c]
    return -1


@njit(cache=True, nogil=True)
def _pairs(predicted, truth, start, size, num_classes, last_predicted, last_true, ignored, has_ignored, cell):
    """Write the number of each pixel's pair, the one past all of them where it is ignored; whether a label is wrong."""
    first = np.uint64(start)
    classes = np.uint32(num_classes)
    beside = classes * classes
    wrong = np.uint8(0)
    for x in indices(size):
        true, found = load(truth, first + x), load(predicted, first + x)
        left_out = np.uint8(true == ignored) & has_ignored
        wrong |= np.uint8((true > last_true) | (found > last_predicted)) & (left_out ^ np.uint8(1))
        store(cell, x, beside if left_out else np.uint32(true) * classes + np.uint32(found))
    return wrong


@njit(cache=True, nogil=True)
def _add(cell, size, step, tables):
    second, third, fourth = np.uint64(step), np.uint64(2 * step), np.uint64(3 * step)
    for quarter in indices(size // TABLES):
        x = quarter * np.uint64(TABLES)
        tables[cell[x]] += 1
        tables[second + cell[x + np.uint64(1)]] += 1
        tables[third + cell[x + np.uint64(2)]] += 1
        tables[fourth + cell[x + np.uint64(3)]] += 1
    for x in range(size - size % TABLES, size):
        tables[cell[x]] += 1
