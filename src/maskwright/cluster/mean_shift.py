"""Gaussian blurring mean shift: every point moves to the weighted mean of all points, all at once, again and again.

    x_i ← Σ_j w_j·K(x_i − x_j)·x_j / Σ_j w_j·K(x_i − x_j),    K(d) = exp(−|d|² / 2σ²), σ = bandwidth,

where the moved points are the data of the next step (Fukunaga & Hostetler 1975; Cheng 1995; Carreira-Perpiñán 2006, who
shows that clusters collapse at a cubic rate). The radius is infinite. After the last step a point's place is its mode.

Equal points have equal modes, so they are merged once and for all, with the sum of their weights. Three methods:

- `naive`: the definition in float64, N² pairs a step. The oracle of the others.
"""

from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float, Float64
from numpy.typing import NDArray

from ..errors import ConfigError, DataError

Method: TypeAlias = Literal["auto", "naive", "exact", "fast"]

STEPS = 20

_BLOCK = 1 << 22
"""Pairs that `naive` holds in memory at a time."""


def mean_shift(
    points: Float[np.ndarray, "n d"],
    *,
    bandwidth: float,
    steps: int = STEPS,
    weights: Float[np.ndarray, " n"] | None = None,
    tolerance: float | None = None,
    method: Method = "auto",
) -> Float64[np.ndarray, "n d"]:
    """Return the place of every point after `steps` steps of Gaussian blurring mean shift.

    Args:
        points: N points in D dimensions, finite.
        bandwidth: standard deviation σ of the Gaussian, > 0, in units of the points.
        steps: ≥ 0.
        weights: of the points, finite, > 0; 1 each where not given.
        tolerance: what `fast` may be off in one step, in units of the points.
        method: see the module.

    Raises:
        ConfigError: bandwidth, steps, tolerance or method out of range.
        DataError: points or weights of a wrong shape or dtype, not finite, or weights ≤ 0.
    """
    points, weights = _checked(points, weights, bandwidth=bandwidth, steps=steps, tolerance=tolerance, method=method)
    return _naive(points, weights, bandwidth, steps)


def _checked(
    points: NDArray[np.floating],
    weights: NDArray[np.floating] | None,
    *,
    bandwidth: float,
    steps: int,
    tolerance: float | None,
    method: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not 0 < bandwidth < np.inf:
        raise ConfigError(f"bandwidth must be a finite number > 0, in units of the points; got {bandwidth!r}")
    if not isinstance(steps, int | np.integer) or steps < 0:
        raise ConfigError(f"steps must be a whole number ≥ 0, got {steps!r}")
    if tolerance is not None and not 0 < tolerance < np.inf:
        raise ConfigError(f"tolerance must be a finite number > 0, in units of the points; got {tolerance!r}")
    if method not in get_args(Method):
        raise ConfigError(f"method {method!r} is unknown; expected one of {', '.join(get_args(Method))}")
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] == 0:
        raise DataError(f"points have shape {points.shape}; expected (N, D), one row for each point")
    if points.dtype.kind not in "fiub":
        raise DataError(f"points have dtype {points.dtype}; expected real numbers")
    places: NDArray[np.float64] = points.astype(np.float64)
    if len(places) == 0:
        raise DataError("there are no points; expected (N, D) with N ≥ 1")
    if not np.isfinite(places).all():
        raise DataError(f"{(~np.isfinite(places)).any(1).sum()} of {len(places)} points are not finite; leave them out")
    weights = np.ones(len(places)) if weights is None else np.asarray(weights)
    if weights.shape != places.shape[:1] or weights.dtype.kind not in "fiub":
        raise DataError(f"weights have shape {weights.shape}; expected one number for each of {len(places)} points")
    masses: NDArray[np.float64] = weights.astype(np.float64)
    if not (np.isfinite(masses) & (masses > 0)).all():
        raise DataError("some weights are not finite or not > 0; leave out those points")
    return places, masses


def _naive(
    points: NDArray[np.float64], weights: NDArray[np.float64], bandwidth: float, steps: int
) -> NDArray[np.float64]:
    rows = max(1, _BLOCK // len(points))
    for _ in range(steps):
        moved = np.empty_like(points)
        for first in range(0, len(points), rows):
            some = points[first : first + rows]
            squares = ((some[:, None, :] - points) ** 2).sum(2)
            pull = weights * np.exp(squares / (-2 * bandwidth**2))
            moved[first : first + rows] = pull @ points / pull.sum(1, keepdims=True)
        points = moved
    return points
