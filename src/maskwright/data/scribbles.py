"""Weak labels made from full truths, to find out what they cost: scribbles, points, boxes.

Scribbles follow the middle of each region, as people draw them: from a random place, the cheapest paths to other random
places, where a step costs the more the nearer it is to the region's edge. All paths of a region form one tree, which runs
along its medial axis; they are smoothed and drawn with a round pen until the wanted share of the region is covered.
Points and boxes are one per connected region, by 8 neighbours. Every label that is made equals the truth there.

Everything depends on the truth and the generator alone.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from ..types import IGNORE_INDEX
from .weak import POINT_RADIUS

PEN = 1 / 133
"""Diameter of the pen as a share of the image's longer side, never below a pixel: 3 pixels for 400."""

GRID = 96
"""Paths are searched on a grid of at most so many nodes along the longer side."""

CENTRING = 2.0
"""Power of the distance to the edge that a step is divided by."""

MOST_PATHS = 30
"""Paths per region; a share that they do not reach is filled up around them."""

SMALLEST_REGION = 1e-3
"""Share of the image below which a region gets no scribble and no point, unless its class has none that is larger."""

_EIGHT = np.ones((3, 3), np.bool_)


def scribbles(
    truth: UInt8[np.ndarray, "h w"], *, share: float, generator: np.random.Generator
) -> UInt8[np.ndarray, "h w"]:
    """Return a label map of scribbles: the truth's labels on about `share` of its labelled pixels, 255 elsewhere.

    Each class gets scribbles in proportion to its area, and at least one pixel; so does each of its larger regions.

    Args:
        truth: labels, 255 = ignored.
        share: of the labelled pixels, in (0, 1].
        generator: of all choices.
    """
    drawn = np.full(truth.shape, IGNORE_INDEX, np.uint8)
    for label, regions in _regions_by_class(truth).items():
        total = int((truth == label).sum())
        areas = np.array([region.sum() for region in regions])
        for region, area in zip(regions, areas, strict=True):
            # The share of the regions that are too small is given to the others.
            wanted = max(round(share * total * area / areas.sum()), 1)
            drawn[_scribble(region, min(wanted, int(area)), generator)] = label
    return drawn


def one_point_each(truth: UInt8[np.ndarray, "h w"], generator: np.random.Generator) -> list[dict[str, float]]:
    """Return a point in each larger region: x, y, radius, label, such that the disc lies inside the region."""
    points = []
    for label, regions in _regions_by_class(truth).items():
        for region in regions:
            depth = _depth(region)
            y, x = _random_place(depth**CENTRING, generator)
            # Within a distance below that of the nearest pixel outside, all pixels are inside.
            radius = min(POINT_RADIUS, max(float(depth[y, x]) - 1, 0))
            points.append({"x": x, "y": y, "radius": round(radius, 2), "label": label})
    return points


def one_box_each(truth: UInt8[np.ndarray, "h w"]) -> list[dict[str, float]]:
    """Return the bounding box of every region of the classes from 1 on: x0, y0, x1, y1, label; x1 and y1 lie outside."""
    boxes = []
    for label in np.unique(truth[(truth > 0) & (truth != IGNORE_INDEX)]).tolist():
        for rows, columns in ndimage.find_objects(ndimage.label(truth == label, _EIGHT)[0]):
            boxes.append({"x0": columns.start, "y0": rows.start, "x1": columns.stop, "y1": rows.stop, "label": label})
    return boxes


def _regions_by_class(truth: UInt8[np.ndarray, "h w"]) -> dict[int, list[Bool[np.ndarray, "h w"]]]:
    """Return the larger connected regions of each class, at least its largest one."""
    found = {}
    for label in np.unique(truth[truth != IGNORE_INDEX]).tolist():
        numbers, count = ndimage.label(truth == label, _EIGHT)
        areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        kept = np.flatnonzero((areas >= SMALLEST_REGION * truth.size) | (areas == areas.max())) + 1
        found[label] = [numbers == number for number in kept]
    return found


def _depth(region: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Distance of each pixel to the nearest one outside the region, pixels; beyond the image is outside."""
    depth: np.ndarray = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    return depth


def _random_place(weight: Float[np.ndarray, "h w"], generator: np.random.Generator) -> tuple[int, int]:
    total = np.cumsum(weight.ravel())
    at = int(np.searchsorted(total, generator.random() * total[-1], side="right"))
    return divmod(min(at, weight.size - 1), weight.shape[1])


def _scribble(region: Bool[np.ndarray, "h w"], wanted: int, generator: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Return `wanted` pixels of a region, strokes along its middle."""
    depth = _depth(region)
    pen = _pen(max(region.shape))
    canvas = np.zeros(region.shape, np.bool_)
    left = wanted
    for path in _paths(depth, generator):
        for y, x in path:
            left -= _dab(canvas, region, pen, y, x, left)
            if left == 0:
                return canvas
    if not canvas.any():
        canvas[np.unravel_index(depth.argmax(), depth.shape)] = True
        left -= 1
    open_pixels = np.flatnonzero(region & ~canvas)
    away = ndimage.distance_transform_edt(~canvas).ravel()[open_pixels]
    canvas.ravel()[open_pixels[np.argsort(away, kind="stable")[:left]]] = True
    return canvas


def _pen(side: int) -> Int[np.ndarray, "k 2"]:
    """Return the offsets (row, column) that the pen covers, from its middle outwards."""
    diameter = max(round(side * PEN), 1)
    reach = np.arange(diameter) - (diameter - 1) // 2
    offsets = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1).reshape(-1, 2)
    away = np.hypot(*(offsets - (diameter - 1) % 2 / 2).T)
    order = np.argsort(away, kind="stable")
    return offsets[order[away[order] <= diameter / 2]]


def _dab(
    canvas: Bool[np.ndarray, "h w"],
    region: Bool[np.ndarray, "h w"],
    pen: Int[np.ndarray, "k 2"],
    y: int,
    x: int,
    most: int,
) -> int:
    """Colour up to `most` further pixels of the region under the pen; return how many."""
    rows, columns = (pen + (y, x)).T
    inside = (rows >= 0) & (columns >= 0) & (rows < canvas.shape[0]) & (columns < canvas.shape[1])
    rows, columns = rows[inside], columns[inside]
    fresh = np.flatnonzero(region[rows, columns] & ~canvas[rows, columns])[:most]
    canvas[rows[fresh], columns[fresh]] = True
    return len(fresh)


def _paths(depth: Float[np.ndarray, "h w"], generator: np.random.Generator) -> "list[Int[np.ndarray, 'n 2']]":
    """Return smooth paths (row, column) in steps of about a pixel, from one place of the region to others."""
    stride = -(-max(depth.shape) // GRID)
    coarse = np.ascontiguousarray(depth[stride // 2 :: stride, stride // 2 :: stride])
    if not coarse.any():
        return []
    start = _random_place(coarse**CENTRING, generator)
    length, before = dijkstra(
        _grid_graph(coarse), indices=start[0] * coarse.shape[1] + start[1], return_predecessors=True
    )
    reached = np.isfinite(length).reshape(coarse.shape)
    paths = []
    for _ in range(MOST_PATHS):
        node = int(np.ravel_multi_index(_random_place(np.where(reached, coarse, 0), generator), coarse.shape))
        nodes = []
        while node >= 0:
            nodes.append(node)
            node = int(before[node])
        places = np.stack(np.unravel_index(nodes, coarse.shape), axis=1) * stride + stride // 2
        paths.append(_smooth(places.astype(np.float64), stride))
    return paths


def _grid_graph(depth: Float[np.ndarray, "h w"]) -> coo_array:
    """Return the costs of the steps between 8 neighbours inside the region, one entry per undirected step and sense."""
    number = np.arange(depth.size).reshape(depth.shape)
    cost = 1 / np.maximum(depth, 1e-9) ** CENTRING
    starts, ends, costs = [], [], []
    height, width = depth.shape
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = (slice(0, height - down), slice(max(-right, 0), width - max(right, 0)))
        there = (slice(down, height), slice(max(right, 0), width + min(right, 0)))
        inside = (depth[here] > 0) & (depth[there] > 0)
        step = np.hypot(down, right) * (cost[here] + cost[there])[inside] / 2
        starts += [number[here][inside], number[there][inside]]
        ends += [number[there][inside], number[here][inside]]
        costs += [step, step]
    edges = (np.concatenate(starts), np.concatenate(ends))
    return coo_array((np.concatenate(costs), edges), shape=(depth.size, depth.size)).tocsr()


def _smooth(places: Float[np.ndarray, "n 2"], stride: int) -> Int[np.ndarray, "m 2"]:
    """Round the corners of a path and fill its gaps."""
    places = ndimage.gaussian_filter1d(places, 2.0, axis=0, mode="nearest")
    at = np.linspace(0, len(places) - 1, (len(places) - 1) * stride + 1)
    known = np.arange(len(places))
    return np.stack([np.rint(np.interp(at, known, axis)) for axis in places.T], axis=1).astype(np.int64)
