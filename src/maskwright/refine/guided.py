"""Guided filter with a colour guide, He, Sun & Tang 2010 and 2013: in every window the mask is an affine function of colour.

In a window k with mean colour μ, covariance Σ and mean probability p̄: a = (Σ + ε·1)⁻¹ (mean(I·p) − μ·p̄), b = p̄ − a·μ.
The result is mean(a)·I + mean(b), over all windows that a pixel lies in. A window is cut off at the border, so its means
are over pixels of the image alone.

Departs from the papers in: the result is clipped to [0, 1], and classes are made to sum to 1 again.
"""

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from ..errors import ConfigError
from .inputs import check_inputs


def guided_filter(
    probabilities: Float[np.ndarray, "c h w"],
    image: UInt8[np.ndarray, "h w 3"],
    *,
    radius: int = 8,
    epsilon: float = 1e-4,
) -> Float32[np.ndarray, "c h w"]:
    """Smooth probabilities within windows, but not across the edges of the image.

    Args:
        probabilities: any float dtype, in [0, 1]; C = 1 is the foreground, else they sum to 1 over the classes within
            0.01.
        image: RGB, 0 to 255, of the same height and width.
        radius: of the windows in pixels, ≥ 1; their side is 2·radius + 1.
        epsilon: > 0, variance of colours in [0, 1] below which a window counts as flat.

    Returns:
        Probabilities, float32, in [0, 1]; where C ≥ 2 they sum to 1.

    Raises:
        ConfigError: radius or epsilon is out of range.
        DataError: probabilities or image of the wrong shape, dtype or range.
    """
    check_inputs(probabilities, image, fewest_classes=1)
    if not isinstance(radius, int) or radius < 1:
        raise ConfigError(f"radius must be a whole number of pixels ≥ 1, got {radius!r}")
    if not 0 < epsilon < np.inf:
        raise ConfigError(f"epsilon must be a finite number > 0, got {epsilon!r}")
    guide = np.moveaxis(image, 2, 0) / 255.0
    means = np.stack([_box_mean(channel, radius) for channel in guide])
    factors = _factorised(guide, means, radius=radius, epsilon=epsilon)
    refined = np.empty(probabilities.shape, np.float32)
    for out, plane in zip(refined, probabilities.astype(np.float64), strict=True):
        mean = _box_mean(plane, radius)
        slopes = _solved(
            factors, [_box_mean(g * plane, radius) - mu * mean for g, mu in zip(guide, means, strict=True)]
        )
        offset = mean - sum(a * mu for a, mu in zip(slopes, means, strict=True))
        out[:] = _box_mean(offset, radius) + sum(_box_mean(a, radius) * g for a, g in zip(slopes, guide, strict=True))
    np.clip(refined, 0, 1, out=refined)
    if len(refined) > 1:
        refined /= refined.sum(0)
    return refined


def _box_mean(plane: Float64[np.ndarray, "h w"], radius: int) -> Float64[np.ndarray, "h w"]:
    """Return the mean over the window of every pixel, as far as it lies inside the image."""
    side = 2 * radius + 1
    total = uniform_filter(plane, side, mode="constant") * side**2
    return total / np.outer(*(_window_lengths(length, radius) for length in plane.shape))


def _window_lengths(length: int, radius: int) -> NDArray[np.int64]:
    places = np.arange(length)
    return np.minimum(places + radius, length - 1) - np.maximum(places - radius, 0) + 1


def _factorised(
    guide: Float64[np.ndarray, "3 h w"], means: Float64[np.ndarray, "3 h w"], *, radius: int, epsilon: float
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Return L·D·Lᵀ = Σ + ε·1 of every window: D at (i, i), the unit triangle L at (i, j), j < i."""
    factors: dict[tuple[int, int], NDArray[np.float64]] = {}
    for i in range(3):
        for j in range(i + 1):
            entry = _box_mean(guide[i] * guide[j], radius) - means[i] * means[j]
            for k in range(j):
                entry -= factors[i, k] * factors[j, k] * factors[k, k]
            factors[i, j] = entry + epsilon if i == j else entry / factors[j, j]
    return factors


def _solved(
    factors: dict[tuple[int, int], NDArray[np.float64]], right: list[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Return x of L·D·Lᵀ x = right, for every window."""
    x = list(right)
    for i in range(3):
        for k in range(i):
            x[i] = x[i] - factors[i, k] * x[k]
    for i in reversed(range(3)):
        x[i] = x[i] / factors[i, i]
        for k in range(i + 1, 3):
            x[i] = x[i] - factors[k, i] * x[k]
    return x
