"""Plots of the page of an audit, as SVG: the numbers of all tools on one axis, and reliability diagrams."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from maskwright.report.figures import ACCENT, BETTER, RULE, SAME, plot, svg

_CLOSEST = 0.012
"""Share of the axis below which two dots would cover each other."""

_FAR, _FEW = 0.2, 0.1
"""A gap so wide, behind which stands at most such a share of the numbers, would squeeze all others together."""


def spread_plot(values: Mapping[str, Sequence[float]], *, quoted: float) -> Markup:
    """All numbers on one axis, a row for each score; dots that would cover each other are piled up.

    Args:
        values: name of the score → what the tools give for it, finite; at least one number in all.
        quoted: the number to quote, drawn as a line; nan draws none. A few numbers far from all others stand at the edge,
            with an arrow.
    """
    every = np.sort([value for row in values.values() for value in row])
    near, below, above = _without_far(every)
    near = np.append(near, quoted if math.isfinite(quoted) else [])
    margin = max(0.05 * float(np.ptp(near)), 0.004)
    # Room for the arrow, which the dots and the line would else cross.
    low = float(near.min()) - (3 if below else 1) * margin
    high = float(near.max()) + (3 if above else 1) * margin
    figure, axes = plot(width=6.6, height=0.5 + 0.72 * len(values))
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    for row, numbers in enumerate(values.values()):
        base = -1.15 * row
        found = np.sort(np.asarray(numbers, dtype=np.float64))
        x, y = _piled(found[(found >= low) & (found <= high)], high - low)
        axes.scatter(
            x, base + min(0.085, 0.5 / max(1.0, float(y.max(initial=0)))) * y, s=17, color=ACCENT, linewidths=0
        )
        for far, place, arrow, side in (
            (found[found < low], low, "◂ ", "left"),
            (found[found > high], high, " ▸", "right"),
        ):
            listed = ", ".join(dict.fromkeys(f"{value:.3f}" for value in far))
            text = f"{arrow}{listed}" if side == "left" else f"{listed}{arrow}"
            axes.text(place, base, text if len(far) else "", color=ACCENT, fontsize=8, ha=side, va="center")
    if math.isfinite(quoted):
        axes.axvline(quoted, color=BETTER, linewidth=1.5, zorder=0)
    axes.set_xlim(low, high)
    axes.set_ylim(-1.15 * (len(values) - 1) - 0.2, 0.75)
    heights = [-1.15 * row + 0.2 for row in range(len(values))]
    axes.set_yticks(heights, [f"{name}\n{len(numbers)} ways" for name, numbers in values.items()])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    return svg(
        figure, f"{len(every)} numbers for the same masks, from {every[0]:.3f} to {every[-1]:.3f}", salt="spread"
    )


def reliability_plot(
    confidence: Float[ndarray, " bins"], accuracy: Float[ndarray, " bins"], share: Float[ndarray, " bins"]
) -> Markup:
    """How often the masks are right where they say they are, against how sure they say they are.

    Args:
        confidence: mean of each bin, nan where it is empty.
        accuracy: share of right pixels of each bin, nan where it is empty.
        share: of all pixels, in each bin.
    """
    figure, axes = plot(width=3.8, height=3.0)
    axes.plot([0, 1], [0, 1], color=SAME, linewidth=1, linestyle="--")
    known = np.isfinite(confidence)
    # The area of a dot is the share of pixels, so that bins that hardly matter do not shout.
    sizes = 12 + 260 * share[known] / max(float(share.max(initial=0)), 1e-12)
    axes.plot(confidence[known], accuracy[known], color=ACCENT, linewidth=1.2)
    axes.scatter(confidence[known], accuracy[known], s=sizes, color=ACCENT, alpha=0.45, linewidths=0)
    axes.set_xlim(0, 1.06)
    axes.set_ylim(0, 1.06)
    axes.set_xlabel("probability that was given")
    axes.set_ylabel("share of pixels that were right")
    return svg(figure, f"Reliability diagram of {int(known.sum())} bins", salt="reliability")


def score_histogram(scores: Float[ndarray, " n"], *, label: str) -> Markup:
    """How many images have which score; `scores` in [0, 1], finite, at least one."""
    figure, axes = plot(width=4.0, height=2.2)
    axes.hist(scores, bins=np.linspace(0, 1, 21).tolist(), color=ACCENT, linewidth=0)
    axes.set_xlim(0, 1)
    axes.set_xlabel(label)
    axes.set_ylabel("images")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return svg(figure, f"Histogram of {label} of {scores.size} images", salt="scores")


def _without_far(values: Float[ndarray, " n"]) -> tuple[Float[ndarray, " m"], bool, bool]:
    """Sorted numbers without the few that lie far below or far above, and whether there are such."""
    start, stop = 0, len(values)
    for gap in np.flatnonzero(np.diff(values) > _FAR):
        if gap + 1 <= _FEW * len(values):
            start = int(gap) + 1
        elif len(values) - gap - 1 <= _FEW * len(values):
            stop = min(stop, int(gap) + 1)
    return values[start:stop], start > 0, stop < len(values)


def _piled(values: Float[ndarray, " n"], width: float) -> tuple[Float[ndarray, " n"], Float[ndarray, " n"]]:
    """Places of sorted dots: each at its value, and one step above those of the same pile."""
    heights = np.zeros(len(values))
    start = 0
    for i in range(1, len(values)):
        if values[i] - values[start] > _CLOSEST * width:
            start = i
        heights[i] = i - start
    return values, heights
