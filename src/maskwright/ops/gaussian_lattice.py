"""Means of weighted points in up to three dimensions under Gaussians around them, on a regular lattice.

Lengths are in standard deviations of the Gaussian.

Weights and weighted places are spread over the lattice by quintic B-splines, convolved along each axis, and read at the
points by the same splines, as particle-mesh Ewald sums are (Essmann et al. 1995): the cost grows with the points and with
the volume that they span, not with the pairs. The convolution is the Gaussian divided by the Fourier transforms of the
two splines, so that the kernel is the Gaussian on average over the points' places in their cells; what is left is
aliasing.

**The error is bounded point by point.** On one axis, for all places in a cell, the kernel is off by at most `SUM_ERROR`·g',
and by `PLACE_ERROR`·g' where it is multiplied with the distance; g' is the Gaussian whose variance is `WIDER` times as large
(tests measure both). The factors of three axes multiply, so with the density
n = Σ w·K and the wider one n' = Σ w·G', which is read off the lattice as well, the mean m(x) is off by at most

    [√3·(PLACE_ERROR + 2·REACH·SUM_ERROR) + 3·SUM_ERROR·|m(x) − x|] · n' / n,

REACH being the largest value of u·exp(−u²/2·(1 − 1/WIDER)). The quotient is large only for lone points between or beside
much larger crowds; the caller computes those another way.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

from functools import cache
from math import e, exp, pi, sqrt

import numpy as np
from jaxtyping import Float32, Float64
from numba import njit, prange
from numpy.typing import NDArray

from .gaussian_sums import KERNEL, bounds
from .rows import indices, load, store
from .threads import kernel_threads

SPACING = 3.0
"""Cells to a standard deviation."""

TAPS = 6
"""Cells that a quintic spline touches on each axis."""

CHANNELS = 4
"""Values in a cell: the weight and three weighted coordinates."""

RUN = TAPS * CHANNELS

RADIUS = 20
"""Taps of the convolution on each side: 6⅔ standard deviations."""

WIDER = 1.44
SUM_ERROR = 2e-5
PLACE_ERROR = 1e-4
REACH = 1 / sqrt(e * (1 - 1 / WIDER))

WIDE_RADIUS = 8
"""Taps of the convolution that makes the density wider, on each side."""

MARGIN = 1.1
"""The wider density at a point is at most so many times the largest at the corners of its cell."""

BLOCK = 512
"""Columns that are convolved along the first axis together."""


ROUNDING = 1e-5
"""Error of convolving and reading in float32, as a share of the longest side of the box around the points."""


def lattice_cells(points: Float64[np.ndarray, "n 3"]) -> float:
    """Return the number of cells of the lattice around the points."""
    lowest, highest = bounds(points)
    return float(np.prod(_shape(lowest, highest), dtype=np.float64))


def lattice_means(
    points: Float64[np.ndarray, "n 3"], weights: Float64[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, " n"]]:
    """Return the mean of all points that each sees through a Gaussian of standard deviation 1, and how far from it
    the true one may lie."""
    lowest, highest = bounds(points)
    centre = (lowest + highest) / 2
    # The longest axis first: its planes are what threads share.
    axes = np.argsort(lowest - highest, kind="stable")
    shape = _shape(lowest, highest)[axes].astype(np.int64)
    lattice = np.empty((shape[0], shape[1], shape[2] * CHANNELS), np.float32)
    means, error = np.empty_like(points), np.empty(len(points))
    bound = np.array(
        (
            MARGIN * sqrt(3) * (PLACE_ERROR + 2 * REACH * SUM_ERROR),
            MARGIN * 3 * SUM_ERROR,
            6 * RADIUS / SPACING * exp(-((RADIUS / SPACING) ** 2) / 2) * float(weights.sum()),
            ROUNDING * float((highest - lowest).max()),
        )
    )
    with kernel_threads():
        order, starts = _by_plane(points, axes[0], lowest, shape[0])
        cells, splines, values = _locate(points, weights, order, axes, lowest, centre)
        _spread(lattice, starts, cells, splines, values)
        _convolve_planes(lattice, _kernel(), CHANNELS)
        _convolve_columns(lattice.reshape(shape[0], -1), _kernel())
        density = np.ascontiguousarray(lattice[:, :, ::CHANNELS])
        _convolve_planes(density, _wide_kernel(), 1)
        _convolve_columns(density.reshape(shape[0], -1), _wide_kernel())
        _read(lattice, density, order, cells, splines, axes, centre, points, bound, means, error)
    return means, error


def _shape(lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.floor((highest - lowest) * SPACING) + TAPS


@cache
def _kernel() -> Float32[np.ndarray, " k"]:
    """Return the taps from −RADIUS to RADIUS of the Gaussian with both splines taken out of it."""
    frequency = np.linspace(-pi, pi, 4096, endpoint=False)
    spectrum = (
        SPACING * sqrt(2 * pi) * np.exp(-((frequency * SPACING) ** 2) / 2) / np.sinc(frequency / 2 / pi) ** (2 * TAPS)
    )
    taps = np.arange(-RADIUS, RADIUS + 1)
    return (spectrum * np.cos(taps[:, None] * frequency)).mean(1).astype(np.float32)


@cache
def _wide_kernel() -> Float32[np.ndarray, " k"]:
    """Return the taps that turn a sum of Gaussians into one of Gaussians of WIDER times the variance, 1 at their tops."""
    taps = np.arange(-WIDE_RADIUS, WIDE_RADIUS + 1)
    weights = np.exp(-(taps**2) / (2 * (WIDER - 1) * SPACING**2))
    return (weights / weights.sum() * sqrt(WIDER)).astype(np.float32)


@njit(**KERNEL)
def _spline(rest, out):
    """Write the quintic B-spline at the six cells around a place `rest` ∈ [0, 1] past the third of them."""
    x = rest
    y = 1 - rest
    x2, y2 = x * x, y * y
    out[0] = y2 * y2 * y / 120
    out[5] = x2 * x2 * x / 120
    out[1] = (26 + x * (-50 + x * (20 + x * (20 + x * (-20 + 5 * x))))) / 120
    out[4] = (26 + y * (-50 + y * (20 + y * (20 + y * (-20 + 5 * y))))) / 120
    out[2] = (66 + x2 * (-60 + x2 * (30 - 10 * x))) / 120
    out[3] = (66 + y2 * (-60 + y2 * (30 - 10 * y))) / 120


@njit(**KERNEL)
def _by_plane(points, axis, lowest, planes):
    """Return the points ordered by the first plane that they touch, and where those of each plane begin."""
    first, starts = np.empty(len(points), np.int32), np.zeros(planes + 1, np.int64)
    for i in range(len(points)):
        first[i] = np.int32((points[i, axis] - lowest[axis]) * SPACING)
        starts[first[i] + 1] += 1
    for p in range(planes):
        starts[p + 1] += starts[p]
    order, free = np.empty(len(points), np.int64), starts.copy()
    for i in range(len(points)):
        order[free[first[i]]] = i
        free[first[i]] += 1
    return order, starts


@njit(parallel=True, **KERNEL)
def _locate(points, weights, order, axes, lowest, centre):
    """Return, in that order, each point's first cell on each axis, its splines from there on, and what it gives."""
    cells = np.empty((len(points), 3), np.int32)
    splines = np.empty((len(points), 3, TAPS), np.float32)
    values = np.empty((len(points), CHANNELS), np.float32)
    for k in prange(len(points)):
        i = order[k]
        values[k, 0] = weights[i]
        for d in range(3):
            axis = axes[d]
            place = (points[i, axis] - lowest[axis]) * SPACING
            cells[k, d] = np.int32(place)
            _spline(place - cells[k, d], splines[k, d])
            values[k, 1 + d] = weights[i] * (points[i, axis] - centre[axis])
    return cells, splines, values


@njit(parallel=True, **KERNEL)
def _spread(lattice, starts, cells, splines, values):
    """Write the sums of every point's values to its cells: each plane gathers what points near it give, in their order."""
    planes, rows, columns = lattice.shape
    for p in prange(planes):
        # In float64: a cell may get a share of millions of points.
        plane, given = np.zeros(rows * columns), np.empty(RUN)
        for first in range(max(0, p - TAPS + 1), p + 1):
            for k in range(starts[first], starts[first + 1]):
                for z in range(TAPS):
                    share = splines[k, 0, p - first] * splines[k, 2, z]
                    for c in range(CHANNELS):
                        given[z * CHANNELS + c] = share * values[k, c]
                for y in range(TAPS):
                    share, at = splines[k, 1, y], np.uint64((cells[k, 1] + y) * columns + cells[k, 2] * CHANNELS)
                    for j in indices(RUN):
                        store(plane, at + j, plane[at + j] + share * load(given, j))
        lattice[p] = plane.reshape(rows, columns)


@njit(parallel=True, **KERNEL)
def _convolve_planes(lattice, kernel, channels):
    """Convolve each plane along its two axes."""
    planes, rows, columns = lattice.shape
    radius = len(kernel) // 2
    for p in prange(planes):
        plane = lattice[p].reshape(rows * columns)
        line = np.zeros(columns + 2 * radius * channels, np.float32)
        for y in range(rows):
            line[radius * channels : radius * channels + columns] = lattice[p, y]
            _convolve(lattice[p, y], line, kernel, channels)
        padded = np.zeros(rows * columns + 2 * radius * columns, np.float32)
        padded[radius * columns : radius * columns + rows * columns] = plane
        _convolve(plane, padded, kernel, columns)


@njit(parallel=True, **KERNEL)
def _convolve_columns(lattice, kernel):
    """Convolve along the first axis."""
    planes, columns = lattice.shape
    radius = len(kernel) // 2
    for block in prange((columns + BLOCK - 1) // BLOCK):
        first, last = block * BLOCK, min(columns, (block + 1) * BLOCK)
        width = last - first
        padded = np.zeros((planes + 2 * radius) * width, np.float32)
        out = np.empty(planes * width, np.float32)
        for p in range(planes):
            padded[(radius + p) * width : (radius + p + 1) * width] = lattice[p, first:last]
        _convolve(out, padded, kernel, width)
        for p in range(planes):
            lattice[p, first:last] = out[p * width : (p + 1) * width]


@njit(**KERNEL)
def _convolve(out, padded, kernel, stride):
    """Write Σ_k kernel[k]·padded[j + k·stride] to out[j], two pairs of taps at a time; their number is 4n + 1."""
    radius, count = len(kernel) // 2, len(out)
    for begin in range(0, count, BLOCK):
        size = min(BLOCK, count - begin)
        total = out[begin : begin + size]
        centre = padded[begin + radius * stride : begin + radius * stride + size]
        weight = kernel[radius]
        for j in range(size):
            total[j] = weight * centre[j]
        for k in range(1, radius, 2):
            a, b = begin + (radius - k) * stride, begin + (radius + k) * stride
            low, high = padded[a : a + size], padded[b : b + size]
            lower, higher = padded[a - stride : a - stride + size], padded[b + stride : b + stride + size]
            near, far = kernel[radius + k], kernel[radius + k + 1]
            for j in range(size):
                total[j] += near * (low[j] + high[j]) + far * (lower[j] + higher[j])


@njit(parallel=True, **KERNEL)
def _read(lattice, density, order, cells, splines, axes, centre, points, bound, means, error):
    """Write the mean that each point sees and how far it may be off, `bound` being the factors of that."""
    planes, rows, columns = lattice.shape
    flat = lattice.reshape(planes * rows * columns)
    for part in prange((len(cells) + BLOCK - 1) // BLOCK):
        total, shares, sums = np.empty(RUN, np.float32), np.empty(TAPS, np.float32), np.empty(CHANNELS)
        for k in range(part * BLOCK, min(len(cells), (part + 1) * BLOCK)):
            total[:] = 0
            for x in range(TAPS):
                at = np.uint64(((cells[k, 0] + x) * rows + cells[k, 1]) * columns + cells[k, 2] * CHANNELS)
                for y in range(TAPS):
                    shares[y] = splines[k, 0, x] * splines[k, 1, y]
                _add_rows(total, shares, flat, at, np.uint64(columns))
            sums[:] = 0
            for z in range(TAPS):
                for c in range(CHANNELS):
                    sums[c] += splines[k, 2, z] * total[z * CHANNELS + c]
            i, square = order[k], 0.0
            for d in range(3):
                axis = axes[d]
                means[i, axis] = sums[1 + d] / sums[0] + centre[axis]
                square += (means[i, axis] - points[i, axis]) ** 2
            wider = _largest_around(density, cells[k])
            error[i] = ((bound[0] + bound[1] * np.sqrt(square)) * wider + bound[2]) / sums[0] + bound[3]


@njit(**KERNEL)
def _add_rows(total, shares, flat, at, stride):
    """Add to `total` the shares of six rows of `flat`, the first from `at` on, the others `stride` apart."""
    b, c, d, e, f = at + stride, at + 2 * stride, at + 3 * stride, at + 4 * stride, at + 5 * stride
    s0, s1, s2, s3, s4, s5 = shares[0], shares[1], shares[2], shares[3], shares[4], shares[5]
    for j in indices(RUN):
        added = s0 * load(flat, at + j) + s1 * load(flat, b + j) + s2 * load(flat, c + j)
        added += s3 * load(flat, d + j) + s4 * load(flat, e + j) + s5 * load(flat, f + j)
        store(total, j, total[j] + added)


@njit(**KERNEL)
def _largest_around(density, first):
    """Return the largest of the eight values at the corners of the cell that holds a point, given the first it touches."""
    largest = np.float32(0)
    for x in range(2, 4):
        for y in range(2, 4):
            for z in range(2, 4):
                largest = max(largest, density[first[0] + x, first[1] + y, first[2] + z])
    return largest
