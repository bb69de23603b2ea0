"""The plot of accuracy against cost, in which every point is named and no name covers another.

Names are placed one after the other, each where it meets least of what is there already: points, intervals, names. They are
measured in matplotlib's own font, which is wider than those of most pages.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from maskwright.report.figures import ACCENT, BETTER, SAME, TEXT, plot, svg

FONT_SIZE = 8.0
LONGEST_NAME = 26
LOG_FROM = 3.0
"""Ratio of the largest to the smallest cost from which the axis is logarithmic."""

_NAME, _MARK, _LINE = 20.0, 5.0, 1.0
"""How bad it is to cover each."""

_MISTAKEN = 300.0
"""How bad it is for a name to stand nearer to another point than to its own."""

_DISTANCES = (6, 10, 16, 24, 34, 46, 60, 76, 94, 114, 136)
_ANGLES = 16
_LEADER_FROM = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One candidate: a cost, positive, and a score between its bounds, which may be nan.

    `pretrained` fills the mark, `front` colours it, `chosen` puts a ring around it.
    """

    label: str
    cost: float
    score: float
    low: float
    high: float
    pretrained: bool
    front: bool
    chosen: bool


def trade_off(points: Sequence[Point], *, cost: str, score: str, salt: str) -> Markup:
    """Score over cost with intervals; those on the front are joined by a line.

    Args:
        points: at least one.
        cost, score: names of the axes.
        salt: tells the plots of one page apart.
    """
    figure, _ = draw(points, cost=cost, score=score)
    return svg(figure, f"{score} over {cost} of {len(points)} candidates", salt=salt)


def draw(points: Sequence[Point], *, cost: str, score: str) -> tuple[Figure, list[Bbox]]:
    """Return the drawn figure, and the box of each name in points (1/72 inch), for who would check that none overlap."""
    figure, axes = plot(width=3.7, height=3.2)
    figure.set_dpi(72)  # a pixel is a point then, and what is measured is what the SVG shows
    front = sorted((point for point in points if point.front), key=lambda point: point.cost)
    axes.plot([p.cost for p in front], [p.score for p in front], color=ACCENT, linewidth=1, alpha=0.5, zorder=1)
    for point in points:
        _draw_point(axes, point)
    _scale(axes, [point.cost for point in points])
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel(cost)
    axes.set_ylabel(score)
    return figure, _name_all(figure, axes, points)


def _draw_point(axes: Axes, point: Point) -> None:
    colour = ACCENT if point.front else SAME
    if math.isfinite(point.low) and math.isfinite(point.high):
        axes.plot([point.cost] * 2, [point.low, point.high], color=colour, linewidth=1, alpha=0.7, zorder=2)
    if point.chosen:
        axes.plot(point.cost, point.score, "o", markersize=12, color=BETTER, fillstyle="none", zorder=3)
    fill = "full" if point.pretrained else "none"
    axes.plot(point.cost, point.score, "o", markersize=6, color=colour, fillstyle=fill, markeredgewidth=1.4, zorder=4)


def _scale(axes: Axes, costs: Sequence[float]) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    ratio = max(costs) / min(costs)
    if ratio < LOG_FROM:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio > 10 else (1, 1.5, 2, 3, 4, 6)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _name_all(figure: Figure, axes: Axes, points: Sequence[Point]) -> list[Bbox]:
    figure.draw_without_rendering()  # lays the axes out
    placed = axes.transData.transform([(point.cost, point.score) for point in points])
    centres = [(float(x), float(y)) for x, y in placed]
    taken = [(_around(x, y, 12 if point.chosen else 7), _MARK) for (x, y), point in zip(centres, points, strict=True)]
    for point in points:
        if math.isfinite(point.low) and math.isfinite(point.high):
            (x, low), (_, high) = axes.transData.transform([(point.cost, point.low), (point.cost, point.high)])
            taken.append((Bbox([(x - 1, low), (x + 1, high)]), _LINE))
    names = []
    for (x, y), point in zip(centres, points, strict=True):
        shown = point.label if len(point.label) <= LONGEST_NAME else point.label[: LONGEST_NAME - 1] + "…"
        text = axes.annotate(
            shown,
            (point.cost, point.score),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=FONT_SIZE,
            color=TEXT,
            parse_math=False,
            ha="center",
            va="center_baseline",
        )
        text.set_in_layout(False)
        size = text.get_window_extent()
        box, distance = min(
            _places(x, y, size.width + 2, size.height),
            key=lambda place: _badness(place[0], place[1], taken, axes.bbox, (x, y), centres),
        )
        text.xyann = ((box.x0 + box.x1) / 2 - x, (box.y0 + box.y1) / 2 - y)
        if distance >= _LEADER_FROM:
            _lead(axes, point, (float(np.clip(x, box.x0, box.x1)) - x, float(np.clip(y, box.y0, box.y1)) - y))
        taken.append((box, _NAME))
        names.append(box)
    return names


def _places(x: float, y: float, width: float, height: float) -> Iterator[tuple[Bbox, float]]:
    """Boxes around a point, and their distance from it: the nearest first, of these the one to the right."""
    for distance in _DISTANCES:
        for step in range(_ANGLES):
            angle = 2 * math.pi * step / _ANGLES
            middle_x = x + math.cos(angle) * (distance + width / 2)
            middle_y = y + math.sin(angle) * (distance + height / 2)
            yield (
                Bbox.from_bounds(middle_x - width / 2, middle_y - height / 2, width, height),
                distance,
            )


def _badness(
    box: Bbox,
    distance: float,
    taken: Sequence[tuple[Bbox, float]],
    room: Bbox,
    own: tuple[float, float],
    centres: Sequence[tuple[float, float]],
) -> tuple[float, float]:
    """What lies under a name or outside the plot, in points squared, weighted, and then how far it is from its point."""
    covered = sum(weight * _overlap(box, other) for other, weight in taken)
    mistaken = min(_distance(box, centre) for centre in centres) < _distance(box, own)
    return covered + _NAME * (box.width * box.height - _overlap(box, room)) + _MISTAKEN * mistaken, distance


def _distance(box: Bbox, point: tuple[float, float]) -> float:
    x, y = point
    return math.hypot(max(box.x0 - x, x - box.x1, 0.0), max(box.y0 - y, y - box.y1, 0.0))


def _overlap(a: Bbox, b: Bbox) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)


def _around(x: float, y: float, side: float) -> Bbox:
    return Bbox.from_bounds(x - side / 2, y - side / 2, side, side)


def _lead(axes: Axes, point: Point, offset: tuple[float, float]) -> None:
    """A thin line from a point to what lies `offset` from it, points."""
    line = axes.annotate(
        "",
        (point.cost, point.score),
        xytext=offset,
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": SAME, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4},
    )
    line.set_in_layout(False)
