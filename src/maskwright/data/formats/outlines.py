"""From label maps to polygons: the connected regions of each label, outlined along the edges of their pixels.

Filled by the rule of `shapes`, the polygons give the label map again, pixel for pixel.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from ...ops.components import number_pieces
from ...ops.outlines import trace

Ring = Int32[np.ndarray, "n 2"]
"""Corners (x, y) in pixels from the upper left corner of the picture, without the first one again at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A region of one label whose pixels are connected by their sides.

    Attributes:
        label: 1 to 255.
        outer: its outline, clockwise as the picture is seen.
        holes: the outlines of what it encloses, counter-clockwise.
    """

    label: int
    outer: Ring
    holes: tuple[Ring, ...]


def regions_of(labels: UInt8[np.ndarray, "h w"]) -> list[Region]:
    """Return the regions of all labels but 0, in the order of their first pixels."""
    pieces = number_pieces(np.ascontiguousarray(labels, np.int32))
    pieces[labels == 0] = -1
    points, ends, owners = trace(pieces)
    if not len(ends):
        return []
    rings = np.split(points, ends[:-1])
    found: dict[int, list[Ring]] = {}
    for owner, ring in zip(owners.tolist(), rings, strict=True):
        found.setdefault(owner, []).append(ring)
    return [Region(label=_label_at(labels, ring), outer=ring, holes=tuple(holes)) for ring, *holes in found.values()]


def bridged(region: Region) -> Ring:
    """Return one ring for a region with holes: each hole joined to the outer ring by a line there and back.

    The line has no width, so whoever counts crossings (even-odd) fills what the rings fill.
    """
    ring = region.outer
    for hole in region.holes:
        # The corner next to the hole's first one, for the eye; any would do.
        at = int(np.abs(ring - hole[0]).sum(axis=1).argmin())
        ring = np.concatenate([ring[: at + 1], hole, hole[:1], ring[at:]])
    return ring


def mask_of(region: Region) -> tuple[int, int, Bool[np.ndarray, "h w"]]:
    """Return the region as a mask of its own size, with the row and column of that mask's upper left corner."""
    left, top = region.outer.min(axis=0).tolist()
    right, bottom = region.outer.max(axis=0).tolist()
    height, width = bottom - top, right - left
    toggles = np.zeros((height, width + 1), np.int32)
    for ring in (region.outer, *region.holes):
        # Every vertical edge switches the pixels to its right; there is one at each place at most.
        x, y = (ring - (left, top)).T
        for column, start, end in zip(x.tolist(), y.tolist(), np.roll(y, -1).tolist(), strict=True):
            toggles[min(start, end) : max(start, end), column] += 1
    return top, left, np.cumsum(toggles, axis=1)[:, :-1] % 2 == 1


def area_of(region: Region) -> int:
    """Return the number of the region's pixels."""
    return sum(_enclosed(ring) for ring in (region.outer, *region.holes))


def _enclosed(ring: Ring) -> int:
    """Return the area that a ring encloses, negative where it runs counter-clockwise, by the trapezoid formula."""
    x, y = ring.astype(np.int64).T
    return int(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1]) // 2


def _label_at(labels: UInt8[np.ndarray, "h w"], ring: Ring) -> int:
    """Return the label of a region, whose first pixel lies to the lower left of its ring's first corner."""
    x, y = ring[0].tolist()
    return int(labels[y, x - 1])
