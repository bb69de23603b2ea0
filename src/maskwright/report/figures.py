"""Plots as SVG elements inside the page.

matplotlib draws with stand-in colours, which become the page's CSS variables: the plots follow light and dark mode.
No text from outside enters a plot, so none can break it; names stand in the HTML around it. (But for names of networks
that could be built, in `trade_off`.)
"""

import io
import math
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from maskwright.report.records import NOTICEABLE

TEXT, RULE, ACCENT, BETTER, WORSE, SAME = (f"#00000{number}" for number in range(1, 7))
_CSS = {
    TEXT: "var(--muted)",
    RULE: "var(--rule)",
    ACCENT: "var(--accent)",
    BETTER: "var(--better)",
    WORSE: "var(--worse)",
    SAME: "var(--same)",
}
_BIN = 2 * NOTICEABLE
_MAX_BINS = 16


def change_histogram(change: Float[ndarray, " n"]) -> Markup:
    """How many images changed by how much. `change`: IoU after minus IoU before, one number per image, in [-1, 1]."""
    edges = _bin_edges(float(np.abs(change).max(initial=0.0)))
    counts, _ = np.histogram(change, edges)
    middles = (edges[:-1] + edges[1:]) / 2
    colours = [SAME if abs(x) < NOTICEABLE else BETTER if x > 0 else WORSE for x in middles]
    figure, axes = plot(width=4.0, height=2.2)
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=colours, edgecolor="none", linewidth=0)
    axes.axvline(0, color=TEXT, linewidth=0.8)
    axes.set_xlabel("change of IoU per image")
    axes.set_ylabel("images")
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return svg(figure, f"Histogram of the change of IoU of {change.size} images", salt="change")


def curve_plot(
    values: Sequence[float], *, label: str, limits: tuple[float, float] | None, mark: int | None = None
) -> Markup:
    """A value per epoch.

    Args:
        values: one per epoch, at least one; gaps where not finite.
        label: what the values are, for readers who hear the page.
        limits: of the y axis; None fits it to the values.
        mark: index of an epoch to point out.
    """
    figure, axes = plot(width=3.8, height=2.1)
    epochs = np.arange(1, len(values) + 1)
    heights = np.asarray(values, dtype=np.float64)
    axes.plot(epochs, heights, color=ACCENT, linewidth=1.6, marker="o" if len(values) <= 30 else "", markersize=3)
    if mark is not None:
        axes.plot(epochs[mark], heights[mark], marker="o", markersize=8, color=BETTER, fillstyle="none")
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, len(values) + 0.5)
    if limits is not None:
        axes.set_ylim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    return svg(figure, f"{label} over {len(values)} epochs", salt="curve")


def curves_plot(series: Sequence[Sequence[float]], *, label: str, limits: tuple[float, float] | None) -> Markup:
    """Several courses of the same value over the epochs, as of trainings that differ in their seed.

    Args:
        series: a value per epoch each; at least one epoch in all.
        label: what the values are, for readers who hear the page.
        limits: of the y axis; None fits it to the values.
    """
    epochs = max(map(len, series))
    figure, axes = plot(width=3.4, height=1.8)
    for values in series:
        heights = np.asarray(values, dtype=np.float64)
        axes.plot(np.arange(1, len(values) + 1), heights, color=ACCENT, linewidth=1.3, alpha=0.75)
        if len(values) == 1:
            axes.plot([1], heights, color=ACCENT, marker="o", markersize=3)
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, epochs + 0.5)
    if limits is not None:
        axes.set_ylim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    return svg(figure, f"{label} over {epochs} epochs, {len(series)} trainings", salt="curves")


def common_limits(series: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Limits of a y axis that shows all series, with a margin; None where no value is finite."""
    values = [value for one in series for value in one if math.isfinite(value)]
    if not values:
        return None
    margin = 0.06 * (max(values) - min(values)) or 0.05
    return min(values) - margin, max(values) + margin


def _bin_edges(reach: float) -> Float[ndarray, " bins"]:
    """Symmetric edges that cover [-reach, reach]; the middle bin holds exactly what counts as unchanged."""
    bins = max(3, math.ceil((reach - NOTICEABLE) / _BIN))
    width = _BIN * math.ceil(bins / _MAX_BINS)
    right = NOTICEABLE + width * np.arange(math.ceil(bins * _BIN / width) + 1)
    return np.concatenate([-right[::-1], right])


def plot(*, width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty plot of the page's style; sizes in inches of 96 CSS pixels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.tick_params(colors=TEXT, labelsize=8.5, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(RULE)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(TEXT)
        axis.label.set_fontsize(9)
    return figure, axes


def svg(figure: Figure, label: str, *, salt: str) -> Markup:
    """Return the figure as one <svg> element, the same bytes for the same figure."""
    stream = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    drawn = stream.getvalue()
    body = drawn[drawn.index("<svg ") :]
    # Its style sheet would apply to the whole page, and its ids would come again in the next plot.
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r' id="([^"]*)"', lambda found: found[0] if f"#{found[1]}" in body else "", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for stand_in, variable in _CSS.items():
        body = body.replace(stand_in, variable)
    width, height = (round(inches * 72) for inches in figure.get_size_inches())
    opening = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    return Markup(re.sub(r"<svg [^>]*>", opening, body, count=1))
