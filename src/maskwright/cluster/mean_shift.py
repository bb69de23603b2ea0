"""Gaussian blurring mean shift: every point moves to the weighted mean of all points, all at once, again and again.

    x_i ← Σ_j w_j·K(x_i − x_j)·x_j / Σ_j w_j·K(x_i − x_j),    K(d) = exp(−|d|² / 2σ²), σ = bandwidth,

where the moved points are the data of the next step (Fukunaga & Hostetler 1975; Cheng 1995; Carreira-Perpiñán 2006, who
shows that clusters collapse at a cubic rate). The radius is infinite. After the last step a point's place is its mode.

Three methods:

- `naive`: the definition in float64, N² pairs a step. The oracle of the others.
- `exact`: the same sums in float64 over tiles of near points. Equal points have equal modes, so they are merged once and
  for all, with the sum of their weights; pairs are left out, and moved points merged that all but meet, where that moves no
  point by more than rounding does (`ROUNDING` bandwidths).
- `fast`: in no step is a point moved to a place farther than `tolerance` from where the definition moves it, given where
  all points are. Part of that is spent on merging points that have moved, part on sums by a lattice
  (`ops.gaussian_lattice`), whose points with a larger error are computed by pairs; as soon as few points are left, or
  where there are more than three dimensions, all sums are over pairs, in float32.

An error of one step grows or shrinks in the next as points part or meet: points on the watershed between two modes may
fall to either side.
"""

from collections.abc import Callable
from functools import partial
from math import sqrt
from typing import Literal, TypeAlias, get_args, overload

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ConfigError, DataError
from ..ops import gaussian_lattice
from ..ops.gaussian_sums import UNIT, bounds, gaussian_means, merge_runs, spatial_order

Method: TypeAlias = Literal["auto", "naive", "exact", "fast"]

Step: TypeAlias = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""From points, in bandwidths, and their weights to where one step moves them."""

STEPS = 20

MOST_POINTS = 50_000_000
"""More than these and what is computed of them may not fit in memory."""

EXACT_PAIRS = 2e7
"""Up to so many pairs of distinct points `auto` takes the exact method, which then needs less than a second."""

WIDEST = 1e100
"""Bandwidths that points may span: the square of more than these is no number."""

TOLERANCE = 1 / 100
"""Default of `fast`, in bandwidths."""

ROUNDING = 1e-11
"""What `exact` may be off in one step, in bandwidths."""

MERGING, LEAVING_OUT, LATTICE = 0.4, 0.1, 0.5
"""Shares of the tolerance that are spent on merging points, on pairs left out, and on the error of the lattice."""

PAIR, CELL, POINT = 0.4, 25.0, 800.0
"""Nanoseconds that a pair, a cell of the lattice and a point on it take, for choosing between them."""

MOST_CELLS = 1 << 26
"""Cells of the largest lattice; it takes 1.5 GB."""

FLOAT32 = 1e-6
"""Error of a mean in float32, as a share of the longest side of the box around the points."""

MOST_WEIGHTS = 1e200
"""Ratio of the largest to the smallest weight that float64 holds the sums of."""

WEIGHTS_RANGE = 1e12
"""Ratio of the largest to the smallest weight up to which float32 holds the sums."""

BLOCK = 1 << 22
"""Pairs that `naive` holds in memory at a time."""


@overload
def mean_shift(
    points: Float[np.ndarray, "n d"],
    *,
    bandwidth: float,
    steps: int = ...,
    weights: Float[np.ndarray, " n"] | None = ...,
    tolerance: float | None = ...,
    method: Method = ...,
) -> Float64[np.ndarray, "n d"]: ...


@overload
def mean_shift(
    points: Float[Tensor, "n d"],
    *,
    bandwidth: float,
    steps: int = ...,
    weights: Float[Tensor, " n"] | None = ...,
    tolerance: float | None = ...,
    method: Method = ...,
) -> Float64[Tensor, "n d"]: ...


def mean_shift(
    points: Float[np.ndarray, "n d"] | Float[Tensor, "n d"],
    *,
    bandwidth: float,
    steps: int = STEPS,
    weights: Float[np.ndarray, " n"] | Float[Tensor, " n"] | None = None,
    tolerance: float | None = None,
    method: Method = "auto",
) -> Float64[np.ndarray, "n d"] | Float64[Tensor, "n d"]:
    """Return the place of every point after `steps` steps of Gaussian blurring mean shift.

    Args:
        points: N points in D dimensions, finite; a NumPy array, or a PyTorch tensor on any device.
        bandwidth: standard deviation σ of the Gaussian, > 0, in units of the points.
        steps: ≥ 0.
        weights: of the points, finite, > 0; 1 each where not given.
        tolerance: what `fast` may be off in one step, in units of the points; a hundredth of the bandwidth where not
            given.
        method: `naive`, `exact`, `fast`, see the module, or `auto`: `exact` for a few thousand points, else `fast`. Of a
            tensor on a GPU `naive` and `exact` are computed there, `fast` on the CPU.

    Returns:
        The modes, in the order of the points, float64; an array or, where the points are one, a tensor beside it.

    Raises:
        ConfigError: bandwidth, steps, tolerance or method out of range.
        DataError: points or weights of a wrong shape or dtype, not finite, or weights ≤ 0.
    """
    if isinstance(points, Tensor):
        return _of_tensor(points, bandwidth=bandwidth, steps=steps, weights=weights, tolerance=tolerance, method=method)
    places, masses = _checked(points, weights, bandwidth=bandwidth, steps=steps, tolerance=tolerance, method=method)
    if method == "naive":
        return _naive(places, masses, bandwidth, steps)
    if method == "auto":
        method = "exact" if len(places) ** 2 <= EXACT_PAIRS else "fast"
    allowed = ROUNDING if method == "exact" else TOLERANCE if tolerance is None else tolerance / bandwidth
    if method == "exact":
        step: Step = partial(_by_pairs, tolerance=LEAVING_OUT * allowed, dtype=np.float64)
    else:
        step = partial(_fast_step, tolerance=allowed)
    return _moved(places / bandwidth, masses, steps, step, reach=MERGING / 2 * allowed) * bandwidth


def _checked(
    points: NDArray[np.floating],
    weights: NDArray[np.floating] | Tensor | None,
    *,
    bandwidth: float,
    steps: int,
    tolerance: float | None,
    method: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not isinstance(bandwidth, float | int | np.number) or not 0 < bandwidth < np.inf:
        raise ConfigError(f"bandwidth must be a finite number > 0, in units of the points; got {bandwidth!r}")
    if not isinstance(steps, int | np.integer) or steps < 0:
        raise ConfigError(f"steps must be a whole number ≥ 0, got {steps!r}")
    if tolerance is not None and (not isinstance(tolerance, float | int | np.number) or not 0 < tolerance < np.inf):
        raise ConfigError(f"tolerance must be a finite number > 0, in units of the points; got {tolerance!r}")
    if method not in get_args(Method):
        raise ConfigError(f"method {method!r} is unknown; expected one of {', '.join(get_args(Method))}")
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] == 0:
        raise DataError(f"points have shape {points.shape}; expected (N, D), one row for each point")
    if len(points) > MOST_POINTS:
        raise DataError(
            f"there are {len(points):,} points, expected at most {MOST_POINTS:,}; merge equal ones, whose number is their "
            "weight, or take a part of them"
        )
    if points.dtype.kind not in "fiub":
        raise DataError(f"points have dtype {points.dtype}; expected real numbers")
    places: NDArray[np.float64] = points.astype(np.float64)
    if len(places) == 0:
        raise DataError("there are no points; expected (N, D) with N ≥ 1")
    if not np.isfinite(places).all():
        raise DataError(f"{(~np.isfinite(places)).any(1).sum()} of {len(places)} points are not finite; leave them out")
    span = float((places.max(0) / 2 - places.min(0) / 2).max())
    if span > WIDEST * bandwidth:
        raise ConfigError(
            f"bandwidth {bandwidth!r} is next to nothing beside points that span {2 * span:g}; take a larger one"
        )
    given = np.ones(len(places)) if weights is None else np.asarray(weights)
    if given.shape != places.shape[:1] or given.dtype.kind not in "fiub":
        raise DataError(f"weights have shape {given.shape}; expected one number for each of {len(places)} points")
    masses: NDArray[np.float64] = given.astype(np.float64)
    if not (np.isfinite(masses) & (masses > 0)).all():
        raise DataError("some weights are not finite or not > 0; leave out those points")
    if masses.min() < masses.max() / MOST_WEIGHTS:
        raise DataError(
            f"weights range from {masses.min():g} to {masses.max():g}; leave out points of next to no weight"
        )
    return places, masses


def _naive(
    points: NDArray[np.float64], weights: NDArray[np.float64], bandwidth: float, steps: int
) -> NDArray[np.float64]:
    rows = max(1, BLOCK // len(points))
    for _ in range(steps):
        moved = np.empty_like(points)
        for first in range(0, len(points), rows):
            some = points[first : first + rows]
            squares = (((some[:, None, :] - points) / bandwidth) ** 2).sum(2)
            pull = weights * np.exp(-squares / 2)
            moved[first : first + rows] = pull @ points / pull.sum(1, keepdims=True)
        points = moved
    return points


def _moved(
    points: NDArray[np.float64], weights: NDArray[np.float64], steps: int, step: Step, *, reach: float
) -> NDArray[np.float64]:
    """Return where all points, in bandwidths, are after all steps; those that come within `reach` go on as one."""
    points, weights, owner = _gathered(points, weights / weights.max(), np.arange(len(points)), 0.0)
    for _ in range(steps):
        # After the step: merging before it would displace what the step may enlarge.
        points, weights, owner = _gathered(step(points, weights), weights, owner, reach)
    return points[owner]


def _gathered(
    points: NDArray[np.float64], weights: NDArray[np.float64], owner: NDArray[np.int64], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Merge points within `reach` of one of them, so that none moves by more than twice that; 0 merges equal ones.

    Returns:
        The points in an order in which neighbours are close, their weights, and of all points that there ever were the one
        that they are now.
    """
    order = spatial_order(points, reach / sqrt(points.shape[1]))
    points, weights = points[order], weights[order]
    count, group = merge_runs(points, weights, reach)
    place = np.empty_like(order)
    place[order] = group
    return points[:count], weights[:count], place[owner]


def _fast_step(points: NDArray[np.float64], weights: NDArray[np.float64], *, tolerance: float) -> NDArray[np.float64]:
    lowest, highest = bounds(points)
    size = float((highest - lowest).max())
    single = size * FLOAT32 <= LEAVING_OUT * tolerance and weights.min() * WEIGHTS_RANGE >= 1
    by_pairs = partial(
        _by_pairs, points, weights, tolerance=LEAVING_OUT * tolerance, dtype=np.float32 if single else np.float64
    )
    if not single or points.shape[1] > 3 or size * gaussian_lattice.ROUNDING > LATTICE / 2 * tolerance:
        return by_pairs()
    padded = points if points.shape[1] == 3 else np.pad(points, ((0, 0), (0, 3 - points.shape[1])))
    cells = gaussian_lattice.lattice_cells(padded)
    if cells > MOST_CELLS or len(points) ** 2 * PAIR < cells * CELL + len(points) * POINT:
        return by_pairs()
    means, error = gaussian_lattice.lattice_means(padded, weights)
    unsure = error > LATTICE * tolerance
    means = means[:, : points.shape[1]]
    if unsure.any():
        means[unsure] = by_pairs(chosen=unsure)
    return means


def _by_pairs(
    points: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    tolerance: float,
    dtype: type[np.floating],
    chosen: NDArray[np.bool_] | slice = slice(None),
) -> NDArray[np.float64]:
    """Return the means that the chosen points see; the tolerance is for pairs left out."""
    lowest, highest = bounds(points)
    centre = lowest / 2 + highest / 2
    units = ((points - centre) / UNIT).astype(dtype)
    return gaussian_means(units[chosen], units, weights, tolerance=tolerance / UNIT) * UNIT + centre


def _of_tensor(
    points: Tensor,
    *,
    bandwidth: float,
    steps: int,
    weights: NDArray[np.floating] | Tensor | None,
    tolerance: float | None,
    method: Method,
) -> Tensor:
    """Compute the exact sums on the points' own device if that is no CPU, and all else as of arrays."""
    if isinstance(weights, Tensor):
        weights = weights.detach().cpu().numpy()
    array = points.detach().cpu().numpy()
    if points.device.type == "cpu" or method not in ("naive", "exact"):
        modes = mean_shift(array, bandwidth=bandwidth, steps=steps, weights=weights, tolerance=tolerance, method=method)
        return torch.from_numpy(modes).to(points.device)
    _, masses = _checked(array, weights, bandwidth=bandwidth, steps=steps, tolerance=tolerance, method=method)
    return exact_in_torch(
        points.detach().double(), torch.from_numpy(masses).to(points.device), bandwidth=bandwidth, steps=steps
    )


def exact_in_torch(
    points: Float64[Tensor, "n d"], weights: Float64[Tensor, " n"], *, bandwidth: float, steps: int
) -> Float64[Tensor, "n d"]:
    """Return the modes of points on any device, computed there: distinct points, a block of rows at a time."""
    points, owner = torch.unique(points, dim=0, return_inverse=True)
    weights = points.new_zeros(len(points)).index_add_(0, owner, weights)
    rows = max(1, BLOCK // len(points))
    for _ in range(steps):
        moved = torch.empty_like(points)
        for first in range(0, len(points), rows):
            # Not by products of matrices, which lose half of the digits of small distances.
            distances = torch.cdist(points[first : first + rows], points, compute_mode="donot_use_mm_for_euclid_dist")
            pull = weights * torch.exp(-((distances / bandwidth) ** 2) / 2)
            moved[first : first + rows] = pull @ points / pull.sum(1, keepdim=True)
        points = moved
    return points[owner]
