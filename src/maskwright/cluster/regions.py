"""Connected pieces of a label map, the joining of small ones, and outlines; neighbours share a side (4-connectivity).

Small regions are joined as by the last step of EDISON (Comaniciu & Meer 2002, "Mean shift: a robust approach toward
feature space analysis"): each joins the neighbour of the nearest colour. Departs from it in: the smallest region of all
goes first and means follow at once, where EDISON goes over the picture in rounds, in raster order; so the result does not
depend on where in the picture a region lies, but for exact ties. Distances are Euclidean, without EDISON's own
weighting of lightness and without edge strengths.

A region's neighbours are listed one entry for each side of a pixel on its border, and only while it is small. A joined
region strings its parts' lists together. Whoever joins is the smallest, so the region around any one entry at least
doubles whenever the entry is read: the cost is of the order of pixels · log(smallest).

Neighbours of near colours are joined as by EDISON's fusion, which takes the transitive closure of all near pairs; here the
nearest pair goes first and means follow, so that a gradient is not joined from end to end.
"""

# mypy: allow-untyped-decorators

import heapq
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int32, Integer
from numba import njit
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..ops.components import number_pieces, root_of


def connected_components(labels: Int32[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Return the number of each pixel's connected piece of equal labels, 0 … R − 1 in the order of their first pixels.

    Args:
        labels: any that fit int32; first pixels are first in raster order, row by row.
    """
    return number_pieces(_label_map(labels))


def merge_small(
    components: Int32[np.ndarray, "h w"], colours: Float[np.ndarray, "h w d"], smallest: int
) -> Int32[np.ndarray, "h w"]:
    """Join regions of fewer than `smallest` pixels to neighbours, until none is left or only one region remains.

    The smallest region joins the neighbour whose mean colour is nearest (of equally near ones, the one with the longest
    common border, then the one with the first pixel); of equally small regions, the one with the first pixel is first.

    Args:
        components: regions as `connected_components` numbers them.
        colours: of the pixels, D channels, finite; any units in which distances mean something, such as CIELAB.
        smallest: pixels that a region must have; 0 and 1 join nothing.

    Returns:
        The regions, numbered 0 … R − 1 in the order of their first pixels.

    Raises:
        ConfigError: smallest < 0.
        DataError: shapes that do not fit, colours that are not finite, or numbers of regions that are not 0 … R − 1.
    """
    if smallest < 0:
        raise ConfigError(f"smallest must be a number of pixels ≥ 0, got {smallest!r}")
    components, sizes, sums = _measured(components, colours)
    starts, borders = _border_lists(components, sizes, smallest)
    joined = _join(sizes, sums, starts, borders, smallest)
    return number_pieces(joined[components])


def merge_near(
    components: Int32[np.ndarray, "h w"], colours: Float[np.ndarray, "h w d"], distance: float
) -> Int32[np.ndarray, "h w"]:
    """Join neighbours whose mean colours are nearer than `distance`, the nearest first, until there are none.

    Means follow at once; of equally near pairs the one with the first pixel is first.

    Args:
        components: regions as `connected_components` numbers them.
        colours: of the pixels, D channels, finite.
        distance: in the units of the colours; 0 joins nothing.

    Returns:
        The regions, numbered 0 … R − 1 in the order of their first pixels.

    Raises:
        ConfigError: distance < 0 or nan.
        DataError: as `merge_small`.
    """
    if not distance >= 0:
        raise ConfigError(f"distance must be ≥ 0, in units of the colours; got {distance!r}")
    components, sizes, sums = _measured(components, colours)
    starts, borders = _border_lists(components, sizes, components.size + 1)
    joined = _join_near(sizes, sums, starts, borders, float(distance))
    return number_pieces(joined[components])


def outlines(labels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels whose right or lower neighbour has another label."""
    found = np.zeros(labels.shape, bool)
    found[:, :-1] = labels[:, :-1] != labels[:, 1:]
    found[:-1] |= labels[:-1] != labels[1:]
    return found


def _label_map(labels: NDArray[Any]) -> NDArray[np.int32]:
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "iu":
        raise DataError(f"labels are {labels.dtype} of shape {labels.shape}; expected integers (H, W), H and W ≥ 1")
    lowest, highest = int(labels.min()), int(labels.max())
    if max(highest, -lowest - 1) > np.iinfo(np.int32).max:
        raise DataError(f"labels range from {lowest} to {highest}; expected numbers of 32 bits, signed")
    return np.ascontiguousarray(labels, np.int32)


def _measured(
    components: NDArray[Any], colours: NDArray[np.floating]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Return the regions, checked, their sizes, and the sums of their colours."""
    components = _label_map(components)
    if colours.ndim != 3 or colours.shape[:2] != components.shape:
        raise DataError(f"colours have shape {colours.shape}; expected {(*components.shape, 'D')}, as the components")
    if components.min() < 0 or components.max() >= components.size:
        raise DataError(
            f"components are numbered {components.min()} to {components.max()}; expected 0 … R − 1, as "
            "connected_components does"
        )
    sizes, sums = _sizes_and_sums(components, colours)
    if not np.isfinite(sums).all():
        raise DataError("some colours are not finite; expected finite numbers")
    return components, sizes, sums


@njit(cache=True, nogil=True)
def _sizes_and_sums(
    components: NDArray[np.int32], colours: NDArray[np.floating]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    height, width, channels = colours.shape
    regions = components.max() + 1
    sizes, sums = np.zeros(regions, np.int32), np.zeros((regions, channels))
    for row in range(height):
        for column in range(width):
            region = components[row, column]
            sizes[region] += 1
            for channel in range(channels):
                sums[region, channel] += colours[row, column, channel]
    return sizes, sums


@njit(cache=True, nogil=True)
def _border_lists(
    components: NDArray[np.int32], sizes: NDArray[np.int32], smallest: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the neighbours of every small region: those of region r are `borders[starts[r] : starts[r + 1]]`."""
    height, width = components.shape
    starts = np.zeros(len(sizes) + 2, np.int64)
    borders = np.empty(0, np.int32)
    # Counted first, then filled. starts[r + 2] counts the entries of r, and starts[r + 1] is where the next one goes.
    for fill in (False, True):
        for row in range(height):
            for column in range(width):
                one = components[row, column]
                for down, right in ((0, 1), (1, 0)):
                    if row + down == height or column + right == width:
                        continue
                    other = components[row + down, column + right]
                    if other == one:
                        continue
                    for here, there in ((one, other), (other, one)):
                        if sizes[here] < smallest:
                            if fill:
                                borders[starts[here + 1]] = there
                                starts[here + 1] += 1
                            else:
                                starts[here + 2] += 1
        if not fill:
            starts = np.cumsum(starts)
            borders = np.empty(starts[-1], np.int32)
    return starts, borders


@njit(cache=True, nogil=True)
def _square_between(one: int, other: int, sizes: NDArray[np.int32], sums: NDArray[np.float64]) -> float:
    """Return the squared distance of the mean colours of two regions."""
    square = 0.0
    for channel in range(sums.shape[1]):
        square += (sums[one, channel] / sizes[one] - sums[other, channel] / sizes[other]) ** 2
    return square


@njit(cache=True, nogil=True)
def _unite(
    first: int,
    second: int,
    parents: NDArray[np.int32],
    following: NDArray[np.int32],
    sizes: NDArray[np.int32],
    sums: NDArray[np.float64],
) -> None:
    """Make the second region a part of the first."""
    parents[second] = first
    sizes[first] += sizes[second]
    sums[first] += sums[second]
    following[first], following[second] = following[second], following[first]


@njit(cache=True, nogil=True)
def _join(
    sizes: NDArray[np.int32],
    sums: NDArray[np.float64],
    starts: NDArray[np.int64],
    borders: NDArray[np.int32],
    smallest: int,
) -> NDArray[np.int32]:
    """Return the region that each region has become part of; `sizes`, `sums` and `borders` are used up."""
    regions = len(sizes)
    parents = np.arange(regions).astype(np.int32)
    # The parts of a region, in a ring.
    following = parents.copy()
    small = np.flatnonzero((sizes > 0) & (sizes < smallest))
    # Size and number in one integer. A sorted list is a heap.
    queue = list(np.sort(sizes[small].astype(np.int64) * regions + small))
    left = np.count_nonzero(sizes)
    common = np.zeros(regions, np.int32)
    while left > 1 and len(queue) > 0:
        size, region = divmod(heapq.heappop(queue), regions)
        if parents[region] != region or sizes[region] != size:
            continue  # it has become part of another one, or has grown and stands in the queue again
        nearest = _nearest(region, parents, following, sizes, sums, starts, borders, common)
        first, second = min(region, nearest), max(region, nearest)
        _unite(first, second, parents, following, sizes, sums)
        left -= 1
        if sizes[first] < smallest:
            heapq.heappush(queue, np.int64(sizes[first]) * regions + first)
    for region in range(regions):
        parents[region] = parents[parents[region]]
    return parents


@njit(cache=True, nogil=True)
def _nearest(
    region: int,
    parents: NDArray[np.int32],
    following: NDArray[np.int32],
    sizes: NDArray[np.int32],
    sums: NDArray[np.float64],
    starts: NDArray[np.int64],
    borders: NDArray[np.int32],
    common: NDArray[np.int32],
) -> int:
    """Return the neighbour that a region joins. `common` counts borders; it comes and goes as zeros."""
    part = region
    while True:
        for entry in range(starts[part], starts[part + 1]):
            borders[entry] = root_of(parents, borders[entry])
            common[borders[entry]] += 1
        part = following[part]
        if part == region:
            break
    common[region] = 0
    best, best_square, best_common = -1, np.inf, 0
    while True:
        for entry in range(starts[part], starts[part + 1]):
            other = borders[entry]
            if common[other] == 0:
                continue  # seen before, or the region itself
            square = _square_between(region, other, sizes, sums)
            if square < best_square or (square == best_square and (common[other], -other) > (best_common, -best)):
                best, best_square, best_common = other, square, common[other]
            common[other] = 0
        part = following[part]
        if part == region:
            return best


@njit(cache=True, nogil=True)
def _join_near(
    sizes: NDArray[np.int32],
    sums: NDArray[np.float64],
    starts: NDArray[np.int64],
    borders: NDArray[np.int32],
    distance: float,
) -> NDArray[np.int32]:
    """Return the region that each region has become part of; `sizes`, `sums` and `borders` are used up."""
    regions = len(sizes)
    parents = np.arange(regions).astype(np.int32)
    following, common, age = parents.copy(), np.zeros(regions, np.int32), np.zeros(regions, np.int64)
    # Squared distance, the pair, and how often each had been joined when that was its distance.
    queue = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0))]
    queue.pop()
    for region in range(regions):
        _add_pairs(queue, region, parents, following, sizes, sums, starts, borders, common, age, distance)
    while len(queue) > 0:
        _, first, second, age_of_first, age_of_second = heapq.heappop(queue)
        if parents[first] != first or parents[second] != second:
            continue
        if age[first] != age_of_first or age[second] != age_of_second:
            continue
        _unite(first, second, parents, following, sizes, sums)
        age[first] += 1
        _add_pairs(queue, first, parents, following, sizes, sums, starts, borders, common, age, distance)
    for region in range(regions):
        parents[region] = root_of(parents, region)
    return parents


@njit(cache=True, nogil=True)
def _add_pairs(
    queue: list[Any],
    region: int,
    parents: NDArray[np.int32],
    following: NDArray[np.int32],
    sizes: NDArray[np.int32],
    sums: NDArray[np.float64],
    starts: NDArray[np.int64],
    borders: NDArray[np.int32],
    common: NDArray[np.int32],
    age: NDArray[np.int64],
    distance: float,
) -> None:
    """Put a region and each neighbour nearer than `distance` into the queue. `common` comes and goes as zeros."""
    part = region
    while True:
        for entry in range(starts[part], starts[part + 1]):
            other = root_of(parents, borders[entry])
            borders[entry] = other
            if other == region or common[other]:
                continue
            common[other] = 1
            square = _square_between(region, other, sizes, sums)
            if square < distance * distance:
                first, second = np.int64(min(region, other)), np.int64(max(region, other))
                heapq.heappush(queue, (square, first, second, age[first], age[second]))
        part = following[part]
        if part == region:
            break
    while True:
        for entry in range(starts[part], starts[part + 1]):
            common[borders[entry]] = 0
        part = following[part]
        if part == region:
            return
