"""Means of weighted points under Gaussians around some of them, pair by pair, without the pairs that do not count.

For targets t, sources s with weights w, and K(d) = 2^−|d|²: Σ_s w_s·K(t − s)·s / Σ_s w_s·K(t − s). Units of length are
chosen by the caller so that this K is the Gaussian that is meant (`UNIT`).

Points come in an order in which neighbours are close (`spatial_order`), and are cut into tiles of `TILE` with a box around
each. For each tile of targets, first the tiles of sources within `NEAR` are added up; then those farther away, unless
what they could change in any mean of the tile is below the tolerance: at distance r with 2r·2^−r²·W / (smallest sum of
weights so far), W being the weight of all sources. So the tolerance bounds the change of a mean by all that is left out.

Every target's sums are taken in a fixed order: results do not depend on the number of threads.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

from math import log, sqrt

import numpy as np
from jaxtyping import Float, Float64, Int64
from numba import njit, prange

from .threads import kernel_threads

UNIT = sqrt(2 * log(2))
"""Standard deviations of a Gaussian to one unit of length in which it is 2^−d²."""

TILE = 128
"""Points of a tile: their coordinates and the rows computed of them fit the innermost cache."""

NEAR = 3.0
"""Squared distance of the boxes of tiles that are never left out; beyond it r·2^−r² falls."""

KERNEL = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
SUM = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
"""For sums alone: in any order, so that they are vectorised."""


def gaussian_means(
    targets: Float[np.ndarray, "t d"],
    points: Float[np.ndarray, "s d"],
    weights: Float[np.ndarray, " s"],
    *,
    tolerance: float,
) -> Float64[np.ndarray, "t d"]:
    """Return the mean of all points as every target sees them, in the precision of `points`.

    Args:
        targets: places that are among the points, in an order in which neighbours are close.
        points: in such an order, too; float32 or float64.
        weights: of the points, > 0.
        tolerance: how far a mean may be off for what is left out; rounding comes on top.
    """
    dtype = points.dtype
    sources, goals = np.ascontiguousarray(points.T), np.ascontiguousarray(targets.T, dtype)
    means = np.empty(goals.shape)
    with kernel_threads():
        _means(
            goals,
            _boxes(goals),
            sources,
            weights.astype(dtype),
            _boxes(sources),
            tolerance,
            float(weights.sum()),
            means,
        )
    return np.ascontiguousarray(means.T)


def spatial_order(points: Float64[np.ndarray, "n d"], side: float) -> Int64[np.ndarray, " n"]:
    """Return an order of the points in which neighbours are close: by the Morton code of their cells.

    Args:
        points: N points in D dimensions, of which the first 63 count.
        side: of the cells; larger ones are taken where a code of 63 bits needs it.
    """
    points = points[:, :63]
    (lowest, highest), bits = bounds(points), 63 // points.shape[1]
    side = max(side, float((highest - lowest).max()) / (2**bits - 1))
    return np.argsort(_codes(points, lowest, side, bits))


@njit(**KERNEL)
def bounds(points):
    """Return the lowest and the highest coordinates of points (N, D)."""
    lowest, highest = points[0].copy(), points[0].copy()
    for i in range(len(points)):
        for d in range(points.shape[1]):
            lowest[d] = min(lowest[d], points[i, d])
            highest[d] = max(highest[d], points[i, d])
    return lowest, highest


@njit(**KERNEL)
def _codes(points, lowest, side, bits):
    """Return the bits of each point's cell, of all dimensions in turn, the highest first."""
    codes = np.zeros(len(points), np.int64)
    if side == 0:
        return codes
    dimensions = points.shape[1]
    for i in range(len(points)):
        for d in range(dimensions):
            cell = np.int64((points[i, d] - lowest[d]) / side)
            for bit in range(bits):
                codes[i] |= ((cell >> bit) & 1) << (bit * dimensions + d)
    return codes


@njit(**KERNEL)
def merge_runs(points, weights, reach):
    """Merge each point with those before it that lie within `reach` of the first that is not merged yet.

    Returns the number of merged points, and for each point the merged one that it belongs to; the weighted means and the
    sums of weights of the merged points stand at the beginning of `points` (N, D) and `weights` (N).
    """
    group = np.empty(len(points), np.int64)
    dimensions = points.shape[1]
    first = points[0].copy()
    count = -1
    for i in range(len(points)):
        apart = 0.0
        for d in range(dimensions):
            apart += (points[i, d] - first[d]) ** 2
        if count < 0 or apart > reach * reach:
            count += 1
            for d in range(dimensions):
                first[d] = points[i, d]
                points[count, d] = points[i, d]
            weights[count] = weights[i]
        else:
            weights[count] += weights[i]
            share = weights[i] / weights[count]
            for d in range(dimensions):
                points[count, d] += share * (points[i, d] - points[count, d])
        group[i] = count
    return count + 1, group


@njit(**KERNEL)
def _boxes(points):
    """Return the lowest and highest coordinates of the tiles of points (D, N), (2, tiles, D)."""
    dimensions, count = points.shape
    tiles = (count + TILE - 1) // TILE
    boxes = np.empty((2, tiles, dimensions), points.dtype)
    for t in range(tiles):
        for d in range(dimensions):
            row = points[d, t * TILE : min(count, (t + 1) * TILE)]
            boxes[0, t, d], boxes[1, t, d] = row.min(), row.max()
    return boxes


@njit(**KERNEL)
def _square_between(boxes, t, others, s):
    """Return the squared distance of two boxes."""
    square = 0.0
    for d in range(boxes.shape[2]):
        gap = max(float(others[0, s, d] - boxes[1, t, d]), float(boxes[0, t, d] - others[1, s, d]), 0.0)
        square += gap * gap
    return square


@njit(parallel=True, **KERNEL)
def _means(targets, boxes, points, weights, others, tolerance, weight, means):
    """Write the means (D, T) of all targets (D, T)."""
    dimensions, count = targets.shape
    tiles = others.shape[1]
    for t in prange(boxes.shape[1]):
        first, last = t * TILE, min(count, (t + 1) * TILE)
        sums = np.zeros((last - first, dimensions + 1))
        squares, pull = np.empty(TILE, points.dtype), np.empty(TILE, points.dtype)
        for s in range(tiles):
            if _square_between(boxes, t, others, s) <= NEAR:
                _add(sums, targets, first, points, weights, s, squares, pull)
        least = sums[:, dimensions].min()
        for s in range(tiles):
            square = _square_between(boxes, t, others, s)
            if square > NEAR and 2 * np.sqrt(square) * 2.0**-square * weight > tolerance * least:
                _add(sums, targets, first, points, weights, s, squares, pull)
        for i in range(last - first):
            for d in range(dimensions):
                means[d, first + i] = sums[i, d] / sums[i, dimensions]


@njit(**KERNEL)
def _add(sums, targets, first, points, weights, s, squares, pull):
    """Add a tile of sources to the sums of a tile of targets."""
    dimensions = len(points)
    begin, end = s * TILE, min(points.shape[1], (s + 1) * TILE)
    count = end - begin
    for i in range(len(sums)):
        for d in range(dimensions):
            _add_squares(squares, points[d, begin:end], targets[d, first + i], d == 0)
        _weigh(pull, squares, weights[begin:end])
        for d in range(dimensions):
            sums[i, d] += _product(pull, points[d, begin:end])
        sums[i, dimensions] += _sum(pull, count)


@njit(**KERNEL)
def _add_squares(squares, row, place, anew):
    """Add (row − place)² to `squares`, or write it there."""
    if anew:
        for j in range(len(row)):
            squares[j] = (row[j] - place) * (row[j] - place)
    else:
        for j in range(len(row)):
            squares[j] += (row[j] - place) * (row[j] - place)


@njit(**KERNEL)
def _weigh(pull, squares, weights):
    """Write w·2^−square: the whole part of the exponent by its bits, the rest, within ±½, by its power series."""
    if pull.itemsize == 8:
        for j in range(len(weights)):
            exponent = max(-squares[j], -1000.0)
            whole = np.int32(exponent - 0.5)
            rest = (exponent - whole) * 0.6931471805599453
            power = 1 / 39916800 * rest + 1 / 3628800
            power = power * rest + 1 / 362880
            power = power * rest + 1 / 40320
            power = power * rest + 1 / 5040
            power = power * rest + 1 / 720
            power = power * rest + 1 / 120
            power = power * rest + 1 / 24
            power = power * rest + 1 / 6
            power = power * rest + 0.5
            power = power * rest + 1.0
            power = power * rest + 1.0
            pull[j] = weights[j] * power * np.int64(np.int64(whole + 1023) << 52).view(np.float64)
        return
    for j in range(len(weights)):
        exponent = max(-squares[j], np.float32(-126))
        whole = np.int32(exponent - np.float32(0.5))
        rest = (exponent - np.float32(whole)) * np.float32(0.6931472)
        power = np.float32(1 / 120) * rest + np.float32(1 / 24)
        power = power * rest + np.float32(1 / 6)
        power = power * rest + np.float32(0.5)
        power = power * rest + np.float32(1)
        power = power * rest + np.float32(1)
        pull[j] = weights[j] * power * np.int32((whole + 127) << 23).view(np.float32)


@njit(**SUM)
def _product(pull, row):
    total = row.dtype.type(0)
    for j in range(len(row)):
        total += pull[j] * row[j]
    return total


@njit(**SUM)
def _sum(pull, count):
    total = pull.dtype.type(0)
    for j in range(count):
        total += pull[j]
    return total
