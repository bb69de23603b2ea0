"""What annotators draw, as label maps: one rule for every format.

Coordinates are in pixels from the upper left corner of the upright picture, x to the right and y down; pixel (0, 0) covers
0..1. A polygon covers the pixels whose centres lie inside, by counting crossings (even-odd), filled as COCO fills them:
corners are rounded to a fifth of a pixel. Holes are cut out of their own polygon only. Later shapes lie over earlier ones,
in the order of the format (z-order where it has one). Circles and ellipses are polygons of so many corners that they
deviate by less than a tenth of a pixel.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64

from ...errors import DataError
from ...ops.runs import paint
from ...types import IGNORE_INDEX
from ..coco_masks import Runs, runs_of
from .record import Labels

Ring: TypeAlias = Float64[np.ndarray, "n 2"]
"""Corners (x, y)."""

Cut: TypeAlias = tuple[int, int, Bool[np.ndarray, "h w"]]
"""A mask with the row and column of its upper left corner."""

_ROUNDING = 0.1


@dataclass(frozen=True, slots=True)
class Polygon:
    """A filled polygon of a class, less its holes."""

    name: str
    outer: Ring
    holes: tuple[Ring, ...] = ()


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A mask of a class that is decoded when it is drawn; it may reach beyond the picture, where it is cut."""

    name: str
    decode: Callable[[], Cut]


Shape: TypeAlias = Polygon | Bitmap


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """The `labels` of an image whose annotation is shapes.

    Attributes:
        height: of the picture, pixels.
        width: likewise.
        shapes: later ones lie over earlier ones.
        labels: name of a class → label; shapes of other names are left out.
        where: the file, for notes.
        notes: get what is found out when the shapes are drawn.
    """

    height: int
    width: int
    shapes: tuple[Shape, ...]
    labels: Mapping[str, int]
    where: str
    notes: list[str]

    def __call__(self) -> Labels:
        """Draw the shapes."""
        canvas = np.zeros((self.width, self.height), np.uint8)
        covered = 0
        for shape in self.shapes:
            if shape.name not in self.labels:
                continue
            try:
                covered += self._draw(canvas, shape)
            except DataError as error:
                self._note(f"{self.where}: a shape of {shape.name!r} is left out: {error}")
        if covered:
            self._note(f"{self.where}: shapes of different classes overlap in {covered} pixels; the later one is seen")
        return np.ascontiguousarray(canvas.T)

    def _draw(self, canvas: Labels, shape: Shape) -> int:
        label = self.labels[shape.name]
        if isinstance(shape, Polygon):
            return paint(canvas.reshape(-1), self._runs(shape), label)
        top, left, mask = shape.decode()
        mask = mask[max(-top, 0) :, max(-left, 0) :]
        window = canvas.T[max(top, 0) : max(top, 0) + mask.shape[0], max(left, 0) : max(left, 0) + mask.shape[1]]
        mask = mask[: window.shape[0], : window.shape[1]]
        covered = mask & (window != 0) & (window != label) & (window != IGNORE_INDEX)
        window[mask] = label
        return int(covered.sum())

    def _runs(self, shape: Polygon) -> Runs:
        runs = runs_of([shape.outer.ravel().tolist()], self.height, self.width)
        if shape.holes:
            runs = _without(runs, runs_of([hole.ravel().tolist() for hole in shape.holes], self.height, self.width))
        return runs

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def ring_of(points: object, height: int, width: int) -> Ring:
    """Return the corners of a polygon.

    Args:
        points: pairs (x, y), pixels.
        height: of the picture, pixels.
        width: likewise.

    Raises:
        DataError: fewer than three, no finite numbers, or nowhere near the picture.
    """
    try:
        ring = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        ring = np.full((1, 2), np.nan)
    if ring.ndim != 2 or ring.shape[1:] != (2,) or not np.isfinite(ring).all():
        raise DataError("its corners are no pairs of finite numbers")
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    if len(ring) < 3:
        raise DataError(f"it has {len(ring)} corners; expected at least 3")
    low, high = ring.min(axis=0), ring.max(axis=0)
    if (high <= 0).any() or (low >= (width, height)).any():
        raise DataError(f"it lies outside of the picture's {width} x {height} pixels")
    if np.abs(ring).max() > 10 * max(height, width):
        raise DataError(f"it reaches {np.abs(ring).max():g}, far outside of the picture's {width} x {height} pixels")
    return ring


def ellipse_ring(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0) -> list[tuple[float, float]]:
    """Return corners on an ellipse around (x, y), turned clockwise as the picture is seen."""
    largest = max(abs(radius_x), abs(radius_y))
    if not math.isfinite(largest):
        return []
    # A chord deviates by r (1 - cos(pi / n)); more corners than this serve no picture that is read.
    count = min(max(math.ceil(math.pi / math.sqrt(2 * _ROUNDING / max(largest, 1))), 16), 4096)
    angles = np.arange(count) * (2 * math.pi / count)
    return turned(np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1), (x, y), degrees)


def box_ring(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    """Return the corners of an upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def turned(points: object, centre: tuple[float, float], degrees: float) -> list[tuple[float, float]]:
    """Turn points about a centre, clockwise as the picture is seen."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    away = np.asarray(points, np.float64) - centre
    x, y = away.T
    return list(zip((centre[0] + x * cosine - y * sine), (centre[1] + x * sine + y * cosine), strict=True))


def _without(runs: Runs, holes: Runs) -> Runs:
    """Return the run lengths of what is in the first mask and not in the second."""
    edges, cuts = np.cumsum(runs), np.cumsum(holes)
    places = np.unique(np.concatenate([[0], edges, cuts]))
    inside = np.searchsorted(edges, places, side="right") % 2 == 1
    inside &= np.searchsorted(cuts, places, side="right") % 2 == 0
    # The first run is of what is left out; from each change to the next is a run.
    changes = places[np.flatnonzero(np.diff(inside, prepend=False))]
    return np.diff(changes, prepend=0, append=edges[-1])


def polygons_of(rings: Sequence[object], name: str, height: int, width: int) -> Polygon:
    """Return the polygon of an outer ring and its holes; holes that lie outside are left out.

    Raises:
        DataError: the outer ring cannot be drawn; see `ring_of`.
    """
    holes = []
    for ring in rings[1:]:
        try:
            holes.append(ring_of(ring, height, width))
        except DataError:
            continue
    return Polygon(name, ring_of(rings[0] if rings else [], height, width), tuple(holes))
