"""Segments of an image by mean shift of its colours in CIELAB, or of colours and positions together."""

# mypy: allow-untyped-defs, allow-untyped-decorators, allow-untyped-calls

from math import ceil, sqrt
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float64, Int32, Shaped
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as linked_groups
from scipy.spatial import cKDTree

from ..errors import ConfigError, DataError
from ..ops.threads import kernel_threads
from .colour import colours_in_unit_range, distinct_colours, lab_of_rgb
from .mean_shift import STEPS, Method, mean_shift
from .regions import connected_components, merge_near, merge_small

Merge: TypeAlias = Literal["round", "modes"]

ROUNDING = 4.0
"""Side of the cells of CIELAB whose modes are one segment, by the rule `round`."""

BLOCKS = 20_000
"""Blocks of pixels that mean shift of colours and positions moves by default: about a second's work."""

Points: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.integer]]
"""What mean shift moves: places, weights, and for every pixel, row by row, the place that is its own."""

NEIGHBOURS_TOGETHER = 10_000_000
"""Pairs of near modes that are held in memory at a time: half a gigabyte."""


def segment(
    image: Shaped[np.ndarray, "h w 3"],
    *,
    bandwidth: float = 2.5,
    steps: int = STEPS,
    spatial: float = 0.0,
    reduce: int | None = None,
    merge: Merge | None = None,
    connected: bool = False,
    min_region: int = 0,
    fuse: float = 0.0,
    tolerance: float | None = None,
    method: Method = "auto",
) -> tuple[Int32[np.ndarray, "h w"], Float64[np.ndarray, "h w d"]]:
    """Group the pixels of an image by Gaussian blurring mean shift in CIELAB.

    Args:
        image: RGB, uint8, uint16 or float in [0, 1], (H, W, 3); or grey, (H, W).
        bandwidth: standard deviation of the Gaussian in CIELAB units, > 0.
        steps: of mean shift, ≥ 0.
        spatial: standard deviation of the Gaussian over positions, pixels; 0 leaves positions out.
        reduce: with positions, mean shift moves the means of blocks of so many pixels a side, and every pixel takes the mode
            of the block around it that is nearest in colour and position; 1 moves every pixel. Where not given, as many as
            leave `BLOCKS` blocks, but no more than a quarter of `spatial`.
        merge: which modes are one segment. `round`: those of equal round(mode / 4), by colour alone, the default without
            positions; `modes`: those that a chain of modes links whose steps are shorter than the bandwidth, the default
            with positions.
        connected: pieces that do not touch are segments of their own.
        min_region: segments of fewer pixels join the neighbour whose modes have the nearest mean colour, see `merge_small`;
            > 0 implies `connected`.
        fuse: then neighbours whose modes have mean colours nearer than so many CIELAB units become one, the nearest first,
            see `merge_near`; > 0 implies `connected`.
        tolerance: what `fast` may be off in one step, CIELAB units.
        method: see `mean_shift`.

    Returns:
        Labels, 0 … K − 1, the largest segment first; and each pixel's mode: L, a, b and, with `spatial`, row and column.

    Raises:
        ConfigError: an option out of range.
        DataError: not such an image.
    """
    colours = _rgb(image)
    _check_options(spatial=spatial, reduce=reduce, merge=merge, min_region=min_region, fuse=fuse)
    height, width = colours.shape[:2]
    if spatial:
        points, weights, index = _blocks(colours, bandwidth / spatial, reduce or _reduction(height, width, spatial))
    else:
        points, weights, index = _colours(colours)
    modes = mean_shift(points, bandwidth=bandwidth, steps=steps, weights=weights, tolerance=tolerance, method=method)
    labels = labels_of_modes(modes, weights, merge or ("modes" if spatial else "round"), bandwidth)
    if spatial:
        modes[:, 3:] *= spatial / bandwidth
    labels = np.take(labels, index).reshape(height, width)
    modes = np.take(modes, index, axis=0).reshape(height, width, -1)
    if connected or min_region or fuse:
        labels = connected_components(labels)
        if min_region:
            labels = merge_small(labels, modes[..., :3], min_region)
        if fuse:
            labels = merge_near(labels, modes[..., :3], fuse)
    # Blocks that no pixel took are in no segment.
    if spatial or connected or min_region or fuse:
        labels = _largest_first(labels)
    return labels, modes


def _check_options(*, spatial: float, reduce: int | None, merge: str | None, min_region: int, fuse: float) -> None:
    if not isinstance(spatial, float | int | np.number) or not 0 <= spatial < np.inf:
        raise ConfigError(f"spatial must be a finite number of pixels ≥ 0, got {spatial!r}")
    if reduce is not None and (not isinstance(reduce, int | np.integer) or reduce < 1):
        raise ConfigError(f"reduce must be a whole number of pixels ≥ 1, got {reduce!r}")
    if reduce is not None and not spatial:
        raise ConfigError(
            "reduce is given without spatial; blocks are moved only where positions count, so leave it out"
        )
    if merge is not None and merge not in get_args(Merge):
        raise ConfigError(f"merge {merge!r} is unknown; expected {' or '.join(get_args(Merge))}")
    if not isinstance(min_region, int | np.integer) or min_region < 0:
        raise ConfigError(f"min_region must be a whole number of pixels ≥ 0, got {min_region!r}")
    if not isinstance(fuse, float | int | np.number) or not 0 <= fuse < np.inf:
        raise ConfigError(f"fuse must be a finite distance of colours ≥ 0, got {fuse!r}")


def _colours(image: NDArray[np.generic]) -> Points:
    """Return the distinct colours of 8-bit images, else those of all pixels."""
    if image.dtype == np.uint8:
        found, counts, index = distinct_colours(image)
        return lab_of_rgb(colours_in_unit_range(found)), counts.astype(np.float64), index
    colours = lab_of_rgb(colours_in_unit_range(image).reshape(-1, 3))
    return colours, np.ones(len(colours)), np.arange(len(colours))


def _reduction(height: int, width: int, spatial: float) -> int:
    return max(1, min(int(spatial / 4), ceil(sqrt(height * width / BLOCKS))))


def _blocks(image: NDArray[np.generic], scale: float, side: int) -> Points:
    """Return the means of blocks of `side` × `side` pixels, colours and positions times `scale`."""
    lab = lab_of_rgb(colours_in_unit_range(image))
    height, width = lab.shape[:2]
    places = np.concatenate((lab, np.moveaxis(np.indices((height, width)), 0, -1) * scale), 2)
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(places, rows, axis=0), columns, axis=1)
    weights = np.outer(np.minimum(side, height - rows), np.minimum(side, width - columns)).astype(np.float64)
    means = sums / weights[..., None]
    index: NDArray[np.integer] = np.arange(height * width)
    if side > 1:
        with kernel_threads():
            index = _nearest_block(places, means, side)
    return means.reshape(-1, 5), weights.ravel(), index


@njit(parallel=True, cache=True, nogil=True)
def _nearest_block(places, means, side):
    """Return for each pixel (H, W, D) the one of the nine blocks around it that is nearest, numbered row by row."""
    height, width, dimensions = places.shape
    rows, columns = means.shape[:2]
    index = np.empty((height, width), np.int64)
    for y in prange(height):
        for x in range(width):
            least = np.inf
            for row in range(max(0, y // side - 1), min(rows, y // side + 2)):
                for column in range(max(0, x // side - 1), min(columns, x // side + 2)):
                    square = 0.0
                    for d in range(dimensions):
                        square += (places[y, x, d] - means[row, column, d]) ** 2
                    if square < least:
                        least = square
                        index[y, x] = row * columns + column
    return index.ravel()


def labels_of_modes(
    modes: NDArray[np.float64], weights: NDArray[np.float64], rule: Merge, bandwidth: float
) -> NDArray[np.int32]:
    """Return the segment of each of N modes, numbered from the heaviest on; positions in units of the colours."""
    places = np.round(modes[:, :3] / ROUNDING) if rule == "round" else modes
    distinct, groups = np.unique(places, axis=0, return_inverse=True)
    if rule == "modes":
        groups = _linked(distinct, bandwidth)[groups.ravel()]
    return _largest_first(groups.ravel(), weights)


def _linked(places: NDArray[np.float64], reach: float) -> NDArray[np.intp]:
    """Return the group of each place: those that a chain of steps shorter than `reach` links are one."""
    tree = cKDTree(places)
    groups: NDArray[np.intp] = np.arange(len(places))
    reach = np.nextafter(reach, 0)
    # As many places at a time as have so many neighbours, which bounds the memory for those.
    part = np.cumsum(tree.query_ball_point(places, reach, return_length=True)) // NEIGHBOURS_TOGETHER
    for some in np.split(np.arange(len(places)), np.flatnonzero(np.diff(part)) + 1):
        near = cKDTree(places[some]).sparse_distance_matrix(tree, reach, output_type="ndarray")
        ends = groups[near["i"] + some[0]], groups[near["j"]]
        links = coo_array((np.ones(len(near), bool), ends), shape=(len(places), len(places)))
        groups = linked_groups(links, directed=False)[1][groups]
    return groups


def _largest_first(groups: NDArray[np.integer], weights: NDArray[np.float64] | None = None) -> NDArray[np.int32]:
    """Number groups 0 … K − 1 again, the heaviest first, of equals the one that was first before; empty ones get none."""
    order = np.argsort(-np.bincount(groups.ravel(), weights), kind="stable")
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order))
    return number[groups]


def _rgb(image: NDArray[np.generic]) -> NDArray[np.generic]:
    if not isinstance(image, np.ndarray):
        raise DataError(f"image is a {type(image).__name__}; expected a NumPy array, such as np.asarray(picture)")
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(f"image has shape {image.shape}; expected (H, W, 3), RGB, or (H, W), grey, with H, W ≥ 1")
    return image
