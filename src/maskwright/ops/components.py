"""Connected pieces of a label map, and seeds that grow within a mask; neighbours share a side (4-connectivity).

Pieces are found by union-find in two passes (Rosenfeld & Pfaltz 1966), seeds grown breadth first, so that each pixel goes
to the seed of the shortest path inside the mask, counted in steps from side to side (city-block, not Euclidean, length).
"""

# mypy: allow-untyped-decorators

import numpy as np
from jaxtyping import Bool, Int32
from numba import njit
from numpy.typing import NDArray


def number_pieces(labels: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Return the number of each pixel's connected piece of equal labels, 0 … R − 1 in the order of their first pixels.

    Args:
        labels: C-contiguous, at least one pixel.
    """
    return _numbered(labels)


def grow(seeds: Int32[np.ndarray, "h w"], within: Bool[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Give every pixel of `within` that a path inside it joins to a seed the number of the nearest one.

    Args:
        seeds: 0 = none, else the seed's number; they lie in `within`.
        within: the mask.

    Returns:
        The grown seeds; 0 where none arrives. Of equally near seeds, the one whose pixel comes first in raster order wins.
    """
    return _grown(np.ascontiguousarray(seeds), np.ascontiguousarray(within))


@njit(cache=True, nogil=True)
def root_of(parents: NDArray[np.int32], one: int) -> int:
    """Return the first of the set that `one` belongs to, halving the way for those who ask again."""
    while parents[one] != one:
        parents[one] = parents[parents[one]]
        one = parents[one]
    return one


@njit(cache=True, nogil=True)
def _numbered(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    height, width = labels.shape
    flat = labels.ravel()
    # First the parents of a union-find whose roots are first pixels, then, from the front on, the numbers.
    found = np.empty(flat.size, np.int32)
    for row in range(height):
        for pixel in range(row * width, (row + 1) * width):
            left = pixel > row * width and flat[pixel - 1] == flat[pixel]
            above = row > 0 and flat[pixel - width] == flat[pixel]
            first = root_of(found, pixel - 1) if left else pixel
            if above:
                other = root_of(found, pixel - width)
                if left and other != first:
                    found[max(first, other)] = min(first, other)
                first = min(first, other)
            found[pixel] = first
    count = 0
    for pixel in range(flat.size):
        if found[pixel] == pixel:
            found[pixel] = count
            count += 1
        else:
            found[pixel] = found[found[pixel]]
    return found.reshape(height, width)


@njit(cache=True, nogil=True)
def _grown(seeds: NDArray[np.int32], within: NDArray[np.bool_]) -> NDArray[np.int32]:
    height, width = seeds.shape
    grown = seeds.copy()
    queue = np.empty(seeds.size, np.int64)
    last = 0
    for pixel in range(seeds.size):
        if seeds[pixel // width, pixel % width] != 0:
            queue[last] = pixel
            last += 1
    first = 0
    while first < last:
        row, column = queue[first] // width, queue[first] % width
        first += 1
        for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            y, x = row + down, column + right
            if 0 <= y < height and 0 <= x < width and within[y, x] and grown[y, x] == 0:
                grown[y, x] = grown[row, column]
                queue[last] = y * width + x
                last += 1
    return grown
