"""Label maps of any integer type as kernels read them: flat, unsigned, as wide as they are, seldom copied."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]


def flat_labels(labels: Labels, num_classes: int) -> Labels:
    """Return the labels as unsigned numbers, of which those that were negative are the largest.

    Not writable, as the labels of many readers are not: kernels are compiled for one kind of array.

    Args:
        labels: C-contiguous, any integer type or bool. Copied where their type cannot hold all classes, or is not native.
        num_classes: labels from 0 on that are classes.
    """
    if not labels.dtype.isnative:
        labels = labels.astype(labels.dtype.newbyteorder("="))
    if num_classes - 1 > _limits(labels.dtype)[1]:
        labels = labels.astype(np.int64)
    flat = labels.reshape(-1).view(f"u{labels.itemsize}")
    flat.flags.writeable = False
    return flat


def ignored_label(labels: Labels, flat: Labels, ignored: int | None) -> tuple[Any, bool]:
    """Return the label that is left out, of the type of `flat`, and whether `labels`, of which it was made, can hold it."""
    lowest, highest = _limits(labels.dtype)
    if ignored is None or not lowest <= ignored <= highest:
        return flat.dtype.type(0), False
    return flat.dtype.type(ignored % (1 << 8 * flat.itemsize)), True


@cache
def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest label; bool is read as uint8."""
    limits = np.iinfo(np.uint8 if dtype.kind == "b" else dtype)
    return int(limits.min), int(limits.max)
