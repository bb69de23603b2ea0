"""How a mask's borders lie in its image, and how they look: counts over pixels, compiled.

Agreement is the mean strength of the image's edges along the borders of the mask: high where the mask fits. Its maximum over
shifts tells a mask that lies beside its object, in the manner of the generalised Hough transform (Ballard 1981) without
rotation and scale; it is trusted only where it stands out, because a photograph has strong edges away from its objects.
"""

# mypy: allow-untyped-decorators

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8
from numba import njit
from numpy.typing import NDArray

REACH = 12
"""Largest shift that is looked for, pixels."""

_STEP = 2
_SAMPLES = 3000


class Texture(NamedTuple):
    """Counts over the pixels of a mask.

    Attributes:
        border: pixels whose right or lower neighbour has another value.
        between: pixels whose value lies strictly between those on both sides, left and right or above and below.
        lonely: pixels of which at most two of the eight neighbours have the same value.
    """

    border: int
    between: int
    lonely: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """Where a mask's borders meet the strongest edges of its image.

    Attributes:
        down, right: pixels by which the mask is to be moved.
        here: agreement as it lies, the best within one step; 1 is that of a random place in the image.
        there: agreement after the move.
        opposite: agreement after the opposite move: as high where the mask is too large or too small all around.
        gain: of the move, in standard deviations of the agreement over all shifts.
    """

    down: int
    right: int
    here: float
    there: float
    opposite: float
    gain: float


def edge_strength(grey: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Return the strength of the edges of a picture: the sum of central differences both ways, cut at 100 of 510.

    The cut keeps few very strong edges, such as those of letters, from outweighing all others.
    """
    return _strength(np.ascontiguousarray(grey))


def border_points(labels: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "n 2"]:
    """Return row and column of at most some 3,000 border pixels, evenly taken in raster order."""
    return _points(labels, _SAMPLES)


def agreement(strength: UInt8[np.ndarray, "h w"], points: Int32[np.ndarray, "n 2"]) -> float:
    """Return the mean edge strength at border pixels, the best within 2 pixels, as a multiple of the image's."""
    overall = float(strength.mean())
    if len(points) == 0 or overall == 0:
        return 0.0
    return float(_surface(strength, points, 2, 1).max()) / overall


def find_shift(strength: UInt8[np.ndarray, "h w"], points: Int32[np.ndarray, "n 2"]) -> Shift | None:
    """Look for the shift of a mask, by at most `REACH` pixels, at which its borders lie best.

    Returns:
        The best shift, which may be none; None where the mask has too few borders or the image no edges.
    """
    overall = float(strength.mean())
    if len(points) < 64 or overall < 0.5:
        return None
    coarse = _surface(strength, points, REACH, _STEP) / overall
    spread = float(coarse.std())
    if spread == 0:
        return None
    row, column = divmod(int(coarse.argmax()), coarse.shape[1])
    down, right = row * _STEP - REACH, column * _STEP - REACH
    fine = _near(strength, points, down, right) / overall
    best = int(fine.argmax())
    down, right = down + best // 3 - 1, right + best % 3 - 1
    here, opposite = (float(_near(strength, points, *at).max()) / overall for at in ((0, 0), (-down, -right)))
    there = float(fine.max())
    gain = (there - here) / spread
    return Shift(down=down, right=right, here=here, there=there, opposite=opposite, gain=gain)


def _near(
    strength: UInt8[np.ndarray, "h w"], points: Int32[np.ndarray, "n 2"], down: int, right: int
) -> Float32[np.ndarray, "3 3"]:
    """Return the mean strength at the moved points and those one pixel around."""
    return _surface(strength, points + np.array([[down, right]], np.int32), 1, 1)


def texture(values: Int32[np.ndarray, "h w"]) -> Texture:
    """Count what tells anti-aliased and ragged borders; see `Texture`."""
    border, between, lonely = _texture(values)
    return Texture(border=int(border), between=int(between), lonely=int(lonely))


def measure_pieces(numbers: Int32[np.ndarray, "h w"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Return the pixels of each numbered piece and the index of its first pixel; see `ops.components.number_pieces`."""
    sizes, firsts = _measured(numbers.ravel(), int(numbers.max()) + 1)
    return sizes, firsts


@njit(cache=True, nogil=True)
def _measured(numbers: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sizes, firsts = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for pixel in range(numbers.size):
        if sizes[numbers[pixel]] == 0:
            firsts[numbers[pixel]] = pixel
        sizes[numbers[pixel]] += 1
    return sizes, firsts


@njit(cache=True, nogil=True)
def _strength(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = grey.shape
    found = np.zeros((height, width), np.uint8)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            across = np.int32(grey[y, x + 1]) - np.int32(grey[y, x - 1])
            along = np.int32(grey[y + 1, x]) - np.int32(grey[y - 1, x])
            strong = abs(across) + abs(along)
            found[y, x] = strong if strong < 100 else 100
    return found


@njit(cache=True, nogil=True)
def _points(labels: NDArray[np.int32], most: int) -> NDArray[np.int32]:
    height, width = labels.shape
    count = 0
    for y in range(height - 1):
        for x in range(width - 1):
            count += labels[y, x] != labels[y, x + 1] or labels[y, x] != labels[y + 1, x]
    every = max(1, count // most)
    points = np.empty(((count + every - 1) // every, 2), np.int32)
    seen = 0
    for y in range(height - 1):
        for x in range(width - 1):
            if labels[y, x] != labels[y, x + 1] or labels[y, x] != labels[y + 1, x]:
                if seen % every == 0:
                    points[seen // every, 0] = y
                    points[seen // every, 1] = x
                seen += 1
    return points


@njit(cache=True, nogil=True)
def _surface(strength: NDArray[np.uint8], points: NDArray[np.int32], reach: int, step: int) -> NDArray[np.float32]:
    """Return the mean strength at the points for every shift within `reach`; points that leave the picture do not count."""
    height, width = strength.shape
    side = 2 * (reach // step) + 1
    surface = np.zeros((side, side), np.float32)
    for i in range(side):
        for j in range(side):
            total, inside = 0, 0
            down, right = i * step - reach, j * step - reach
            for k in range(len(points)):
                y, x = points[k, 0] + down, points[k, 1] + right
                if 0 <= y < height and 0 <= x < width:
                    total += strength[y, x]
                    inside += 1
            surface[i, j] = total / inside if inside > 0 else 0.0
    return surface


@njit(cache=True, nogil=True)
def _texture(values: NDArray[np.int32]) -> tuple[int, int, int]:
    height, width = values.shape
    border, between, lonely = 0, 0, 0
    for y in range(height - 1):
        for x in range(width - 1):
            here = values[y, x]
            if here == values[y, x + 1] and here == values[y + 1, x]:
                continue
            border += 1
            if y == 0 or x == 0:
                continue
            across = (values[y, x - 1] < here) == (here < values[y, x + 1])
            across = across and here != values[y, x - 1] and here != values[y, x + 1]
            along = (values[y - 1, x] < here) == (here < values[y + 1, x])
            along = along and here != values[y - 1, x] and here != values[y + 1, x]
            between += across or along
            same = -1
            for down in range(-1, 2):
                for right in range(-1, 2):
                    same += values[y + down, x + right] == here
            lonely += same <= 2
    return border, between, lonely
