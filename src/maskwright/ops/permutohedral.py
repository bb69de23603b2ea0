"""Gaussian filtering of scattered points by the permutohedral lattice, Adams, Baek & Davis 2010.

Every point spreads its values over the D + 1 corners of the lattice simplex around it (splat), the lattice is blurred
along its D + 1 directions with [1, 2, 1] / 4, and every point reads its corners (slice). The cost grows with the number
of points and of occupied corners, not with the number of pairs.

The corners of a simplex have D + 1 different colours (the remainder of their coordinates modulo D + 1), and a point has
one corner of each. So the colours are numbered and splatted side by side without races, and every sum is taken in the
order of the points: results do not depend on the number of threads.

Departs from the paper in: a corner that no point touches is left out, as in Krähenbühl & Koltun 2011, so that the
filter is symmetric only nearly, and falls off a little too fast where points are few; corners are found by one exact
64-bit code instead of their D coordinates.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt32
from numba import get_num_threads, njit, prange

LARGEST_CODE = 2**62
"""Codes stay below it, so that those of neighbours outside the features' box do not overflow."""

EMPTY = -1
"""Code of a free slot of a hash table; codes of corners are ≥ 0."""

FIRST_SLOTS = 1 << 12
"""Slots that a hash table begins with; a power of two."""

HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ over the golden ratio: its high bits spread codes that differ by little (Knuth, vol. 3, 6.4)."""

CHUNK = 256
"""Points that are located together; what is known of them fits the innermost cache."""

FURTHEST_CELL = 2**16
"""Up to there, float32 tells the place of a position inside its cell to a 256th."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lattice:
    """The part of the lattice that N points in D dimensions touch: built once, used for any number of filters.

    Attributes:
        corners: (N, D + 1), the corner of each colour of each point's simplex, as a row of `before` and `after`.
        weights: (N, D + 1), what a point gives to that corner and takes from it: barycentric coordinates, rescaled by
            `normalised`.
        before: (D + 1, M), the neighbour of each of the M corners in each direction; M where there is none.
        after: (D + 1, M), the same in the opposite sense.
    """

    corners: UInt32[np.ndarray, "n d1"]
    weights: Float32[np.ndarray, "n d1"]
    before: UInt32[np.ndarray, "d1 m"]
    after: UInt32[np.ndarray, "d1 m"]

    @classmethod
    def build(cls, features: Float[np.ndarray, "n d"]) -> Self:
        """Build the lattice of N ≥ 1 points.

        Args:
            features: finite positions in D ≥ 1 dimensions, in units of the Gaussian's standard deviation.

        Raises:
            ValueError: the shape is not (N, D) with N, D ≥ 1; a position is not finite; the positions span more cells
                than a 64-bit code tells apart, or than float32 resolves.
        """
        features = np.ascontiguousarray(features, np.float32)
        if features.ndim != 2 or features.size == 0:
            raise ValueError(f"features are {features.shape}, expected (N, D) with N ≥ 1 and D ≥ 1")
        elevation = _elevation(features.shape[1])
        lowest, strides = _code_space(_ends(features), elevation)
        codes, weights = _locate(features, elevation.astype(np.float32), lowest, strides)
        corners, codes_of, starts = _number(codes)
        before, after = _neighbours(codes_of, starts, strides)
        return cls(corners=corners, weights=weights, before=before, after=after)

    def filter(self, values: Float32[np.ndarray, "n c"]) -> Float32[np.ndarray, "n c"]:
        """Return Σ_j exp(−|f_i − f_j|² / 2) · values[j] for every point i, nearly and up to a constant factor.

        `values` are C-contiguous, with C channels for each point. The three steps are also there one by one, for
        points that come in parts.
        """
        lattice = self.empty(values.shape[1])
        self.splat(values, lattice)
        sums = np.zeros_like(values)
        self.slice(self.blurred(lattice), sums)
        return sums

    def empty(self, channels: int) -> Float32[np.ndarray, "m1 c"]:
        """Return zeros for all corners; one row more, which stays zero, stands for neighbours that are missing."""
        return np.zeros((self.before.shape[1] + 1, channels), np.float32)

    def splat(
        self, values: Float32[np.ndarray, "k c"], lattice: Float32[np.ndarray, "m1 c"], *, first: int = 0
    ) -> None:
        """Add the `values` of the points `first` to `first` + k − 1 to their corners, in place.

        All arrays are C-contiguous; 1, 2 or a multiple of 8 channels are the fastest per channel.
        """
        groups = min(get_num_threads(), self.corners.shape[1])
        _splat(values, self.corners, self.weights, lattice, first, groups)

    def blurred(self, lattice: Float32[np.ndarray, "m1 c"]) -> Float32[np.ndarray, "m1 c"]:
        """Return the corners' values, blurred along all directions; the given ones are used up."""
        result = np.zeros_like(lattice)
        for before, after in zip(self.before, self.after, strict=True):
            _blur(lattice, before, after, result)
            lattice, result = result, lattice
        return lattice

    def slice(self, lattice: Float32[np.ndarray, "m1 c"], sums: Float32[np.ndarray, "k c"], *, first: int = 0) -> None:
        """Add to `sums`, in place, what the points `first` to `first` + k − 1 read from their corners."""
        _slice(lattice, self.corners, self.weights, sums, first)

    def normalised(self, weight: float = 1.0) -> Self:
        """Return the lattice that filters with `weight` · K_ij / √(Σ_k K_ik · Σ_k K_jk), K being this one's filter.

        `weight` is ≥ 0. Constant factors of K cancel.
        """
        sums = self.filter(np.ones((len(self.weights), 1), np.float32))
        return replace(self, weights=self.weights * np.sqrt(np.float32(weight) / sums))


def _elevation(dimensions: int) -> Float[np.ndarray, "d1 d"]:
    """Matrix from positions to cells in the plane Σ x = 0, so scaled that the filter's σ is 1."""
    axis = np.arange(dimensions)
    row = np.arange(dimensions + 1)[:, None]
    columns = np.where(row <= axis, 1.0, np.where(row == axis + 1, -(axis + 1.0), 0.0))
    return columns * np.sqrt(2 / 3) / np.sqrt((axis + 1) * (axis + 2))


def _code_space(
    ends: Float[np.ndarray, "2 d"], elevation: Float[np.ndarray, "d1 d"]
) -> tuple[Int64[np.ndarray, " d1"], Int64[np.ndarray, " d1"]]:
    """Return the mixed radix that numbers the lattice's corners in a box of features, neighbours included.

    A corner is (D + 1) · cell + colour, cells being integers of which the first D give the last. Its code is
    Σ (cell − lowest) · stride + colour; every stride is a multiple of D + 1, and that of the last cell is 0.
    """
    if not np.isfinite(ends).all():
        raise ValueError("features hold NaN or infinity, expected finite positions")
    lowest, highest = np.sort(elevation * ends[:, None, :], axis=0).sum(-1)
    # Beyond the box lie one cell for rounding, one for the corners of a simplex, one for their neighbours.
    lowest, highest = np.floor(lowest) - 3, np.ceil(highest) + 3
    sizes = (highest - lowest + 1)[:-1]
    colours = len(elevation)
    if max(-lowest.min(), highest.max()) > FURTHEST_CELL or colours * np.prod(sizes) > LARGEST_CODE:
        raise ValueError(
            f"features reach from {ends[0]} to {ends[1]} standard deviations, too far for the lattice; "
            "use a larger standard deviation"
        )
    strides = colours * np.concatenate(([1], np.cumprod(sizes[:-1].astype(np.int64)), [0]))
    return lowest.astype(np.int64), strides.astype(np.int64)


@njit(cache=True)
def _ends(features):  # type: ignore[no-untyped-def]
    """Return the smallest and the largest value of every feature, (2, D); NaN where there is one."""
    ends = np.empty((2, features.shape[1]))
    for d in range(features.shape[1]):
        smallest, largest, not_numbers = features[0, d], features[0, d], 0
        for i in range(len(features)):
            value = features[i, d]
            smallest, largest = min(smallest, value), max(largest, value)
            not_numbers += value != value
        ends[0, d], ends[1, d] = (smallest, largest) if not_numbers == 0 else (np.nan, np.nan)
    return ends


@njit(cache=True, parallel=True, error_model="numpy")
def _locate(features, elevation, lowest, strides):  # type: ignore[no-untyped-def]
    """Return the codes (D + 1, N) and barycentric weights (N, D + 1) of the corners of every point's simplex."""
    points, colours = len(features), len(elevation)
    codes = np.empty((colours, points), np.int64)
    weights = np.empty((points, colours), np.float32)
    for chunk in prange((points + CHUNK - 1) // CHUNK):
        first = chunk * CHUNK
        cell, residual, rank = _enclosing_simplices(features[first : first + CHUNK], elevation)
        ranked = np.empty(colours, np.int64)
        for i in range(cell.shape[1]):
            code = 0
            for k in range(colours):
                code += (np.int64(cell[k, i]) - lowest[k]) * strides[k]
                ranked[rank[k, i]] = k
            # From one colour to the next, all coordinates grow by 1, but that of the smallest residual left drops by D.
            before = residual[ranked[0], i] - np.float32(1)
            for colour in range(colours):
                k = ranked[colours - 1 - colour]
                codes[colour, first + i] = code
                weights[first + i, colour] = residual[k, i] - before
                before = residual[k, i]
                code += 1 - strides[k]
    return codes, weights


@njit(cache=True, error_model="numpy")
def _enclosing_simplices(features, elevation):  # type: ignore[no-untyped-def]
    """Find the corner of colour 0 of the simplex around each of n points.

    Returns:
        (D + 1, n) each: the corner, in cells; the way from it to the point, in cells; the rank of each coordinate of
        that way, 0 for the largest.
    """
    colours, count = len(elevation), len(features)
    cell = np.empty((colours, count), np.float32)
    residual = np.empty((colours, count), np.float32)
    rank = np.zeros((colours, count), np.int32)
    off_plane = np.zeros(count, np.int32)
    for k in range(colours):
        for i in range(count):
            elevated = np.float32(0)
            for d in range(features.shape[1]):
                elevated += elevation[k, d] * features[i, d]
            cell[k, i] = np.rint(elevated)
            residual[k, i] = elevated - cell[k, i]
            off_plane[i] += np.int32(cell[k, i])
        for other in range(k):
            for i in range(count):
                larger = np.int32(residual[k, i] > residual[other, i])
                rank[k, i] += np.int32(1) - larger
                rank[other, i] += larger
    # Rounding may leave the plane Σ x = 0: the coordinates that were rounded furthest go back by a cell.
    for k in range(colours):
        for i in range(count):
            shifted = rank[k, i] + off_plane[i]
            back = np.int32(shifted < 0) - np.int32(shifted >= colours)
            rank[k, i] = shifted + back * np.int32(colours)
            cell[k, i] += np.float32(back)
            residual[k, i] -= np.float32(back)
    return cell, residual, rank


@njit(cache=True, parallel=True)
def _number(codes):  # type: ignore[no-untyped-def]
    """Number the different codes, colour after colour, each in the order of the points.

    Returns:
        The number of each point's corner (N, D + 1), the codes of the M corners, and the first number of each colour,
        followed by M.
    """
    colours, points = codes.shape
    numbers = np.empty((colours, points), np.uint32)
    found = np.empty((colours, points), np.int64)
    counts = np.empty(colours, np.int64)
    for colour in prange(colours):
        counts[colour] = _number_one_colour(codes[colour], numbers[colour], found[colour])
    starts = np.zeros(colours + 1, np.int64)
    starts[1:] = np.cumsum(counts)
    codes_of = np.empty(starts[-1], np.int64)
    for colour in range(colours):
        codes_of[starts[colour] : starts[colour + 1]] = found[colour, : counts[colour]]
    corners = np.empty((points, colours), np.uint32)
    for i in prange(points):
        for colour in range(colours):
            corners[i, colour] = starts[colour] + numbers[colour, i]
    return corners, codes_of, starts


@njit(cache=True)
def _number_one_colour(codes, numbers, found):  # type: ignore[no-untyped-def]
    """Write a number for each code into `numbers` and the code of each number into `found`; return how many."""
    slot_codes, slot_numbers = _table(FIRST_SLOTS)
    count = 0
    for i in range(len(codes)):
        slot = _slot(slot_codes, codes[i])
        if slot_codes[slot] == EMPTY:
            slot_codes[slot], slot_numbers[slot], found[count] = codes[i], count, codes[i]
            count += 1
        numbers[i] = slot_numbers[slot]
        if 2 * count > len(slot_codes):
            slot_codes, slot_numbers = _filled_table(found[:count])
    return count


@njit(cache=True)
def _table(slots):  # type: ignore[no-untyped-def]
    return np.full(slots, EMPTY, np.int64), np.empty(slots, np.uint32)


@njit(cache=True)
def _filled_table(codes):  # type: ignore[no-untyped-def]
    """Return a hash table of the numbers of all `codes`, at most a quarter full."""
    slots = FIRST_SLOTS
    while slots < 4 * len(codes):
        slots *= 2
    slot_codes, slot_numbers = _table(slots)
    for number in range(len(codes)):
        slot = _slot(slot_codes, codes[number])
        slot_codes[slot], slot_numbers[slot] = codes[number], number
    return slot_codes, slot_numbers


@njit(cache=True)
def _slot(slot_codes, code):  # type: ignore[no-untyped-def]
    """Return the slot that holds `code`, or the free one where it belongs: open addressing, linear probing."""
    last = np.uint64(len(slot_codes) - 1)
    slot = (np.uint64(code) * HASH_FACTOR >> np.uint64(32)) & last
    while slot_codes[slot] != EMPTY and slot_codes[slot] != code:
        slot = (slot + np.uint64(1)) & last
    return slot


@njit(cache=True, parallel=True)
def _neighbours(codes_of, starts, strides):  # type: ignore[no-untyped-def]
    """Return the neighbours `before` and `after`, (D + 1, M) each, of all corners; M where there is none.

    Along direction k, the neighbour after a corner is 1 further in all coordinates and D back in the k-th. It has the
    next colour, and each is the neighbour after at most one other: both tables are written without races.
    """
    colours, total = len(strides), len(codes_of)
    before = np.full((colours, total), total, np.uint32)
    after = np.full((colours, total), total, np.uint32)
    for colour in prange(colours):
        following = (colour + 1) % colours
        slot_codes, slot_numbers = _filled_table(codes_of[starts[following] : starts[following + 1]])
        step = 1 if following > 0 else strides.sum() - (colours - 1)
        for corner in range(starts[colour], starts[colour + 1]):
            for k in range(colours):
                slot = _slot(slot_codes, codes_of[corner] + step - strides[k])
                if slot_codes[slot] != EMPTY:
                    neighbour = starts[following] + slot_numbers[slot]
                    after[k, corner] = neighbour
                    before[k, neighbour] = corner
    return before, after


@njit(cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def _splat(values, corners, weights, lattice, first, groups):  # type: ignore[no-untyped-def]
    """Add the points' weighted values to their corners; each of the `groups` has some of the colours."""
    for group in prange(groups):
        for i in range(values.shape[0]):
            for colour in range(group, corners.shape[1], groups):
                corner, weight = corners[first + i, colour], weights[first + i, colour]
                for channel in range(values.shape[1]):
                    lattice[corner, channel] += weight * values[i, channel]


@njit(cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def _blur(lattice, before, after, blurred):  # type: ignore[no-untyped-def]
    """Write `lattice`, blurred along one direction, into `blurred`."""
    half, quarter = np.float32(0.5), np.float32(0.25)
    for corner in prange(len(before)):
        one, other = before[corner], after[corner]
        for channel in range(lattice.shape[1]):
            sides = lattice[one, channel] + lattice[other, channel]
            blurred[corner, channel] = half * lattice[corner, channel] + quarter * sides


@njit(cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def _slice(lattice, corners, weights, sums, first):  # type: ignore[no-untyped-def]
    """Add to every point's sums the weighted values of its corners."""
    for i in prange(sums.shape[0]):
        for colour in range(corners.shape[1]):
            corner, weight = corners[first + i, colour], weights[first + i, colour]
            for channel in range(sums.shape[1]):
                sums[i, channel] += weight * lattice[corner, channel]
