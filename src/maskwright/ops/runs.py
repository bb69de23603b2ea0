"""Run lengths painted into a label map."""

# mypy: allow-untyped-decorators

import numpy as np
from jaxtyping import Int64, UInt8
from numba import njit
from numpy.typing import NDArray


def paint(pixels: UInt8[np.ndarray, " n"], runs: Int64[np.ndarray, " r"], label: int) -> int:
    """Give the pixels of every second run the label, in place.

    Args:
        pixels: labels in the order of the runs.
        runs: lengths, unpainted and painted in turn, which sum to at most n.
        label: 0 to 255.

    Returns:
        Number of painted pixels that had another label than this one, 0 and 255.
    """
    return int(_painted(pixels, runs, np.uint8(label)))


@njit(cache=True, nogil=True)
def _painted(pixels: NDArray[np.uint8], runs: NDArray[np.int64], label: int) -> int:
    start, covered = 0, 0
    for number in range(len(runs)):
        end = start + runs[number]
        if number % 2:
            for pixel in range(start, end):
                covered += pixels[pixel] != 0 and pixels[pixel] != label and pixels[pixel] != 255
                pixels[pixel] = label
        start = end
    return covered
