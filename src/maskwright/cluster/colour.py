"""From RGB to CIELAB, where equal distances look about equally large.

sRGB (IEC 61966-2-1) under D65, 2° observer, as scikit-image's `rgb2lab` has it: L in 0–100, a and b within ±128.
"""

# mypy: allow-untyped-defs, allow-untyped-decorators, allow-untyped-calls

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped, UInt8, UInt32
from numba import njit
from numpy.typing import NDArray

from ..errors import DataError

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])


def lab_of_rgb(rgb: Float[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
    """Return L, a and b of sRGB in [0, 1]."""
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    relative = linear @ (_TO_XYZ / _WHITE[:, None]).T
    # CIE 15: a straight line near black, where the cube root is too steep.
    x, y, z = np.moveaxis(np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116), -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), -1)


def colours_in_unit_range(image: Shaped[np.ndarray, "h w 3"]) -> NDArray[np.float64]:
    """Return the colours of an image in [0, 1].

    Raises:
        DataError: a dtype that is neither uint8, uint16 nor floating; values that are not finite or outside [0, 1].
    """
    if image.dtype in (np.uint8, np.uint16):
        return image / float(np.iinfo(image.dtype).max)
    if not np.issubdtype(image.dtype, np.floating):
        raise DataError(f"image has dtype {image.dtype}; expected uint8, uint16 or float in [0, 1]")
    # A nan fails this comparison, too.
    if not (image.min() >= 0 and image.max() <= 1):
        raise DataError(
            f"image has values from {image.min():g} to {image.max():g}; expected floats in [0, 1], or uint8 in 0..255"
        )
    return image.astype(np.float64)


def distinct_colours(
    image: UInt8[np.ndarray, "h w 3"],
) -> tuple[UInt8[np.ndarray, "k 3"], Int64[np.ndarray, " k"], UInt32[np.ndarray, " n"]]:
    """Return the distinct colours, how many pixels each has, and the colour of every pixel, row by row."""
    codes, counts, index = _distinct(np.ascontiguousarray(image).reshape(-1, 3))
    return np.stack((codes >> 16, codes >> 8 & 255, codes & 255), 1).astype(np.uint8), counts, index


@njit(cache=True, nogil=True)
def _distinct(pixels):
    """Number the colours in the order of their first pixels, by a table of all 2²⁴."""
    number = np.zeros(1 << 24, np.uint32)
    index = np.empty(len(pixels), np.uint32)
    codes = np.empty(min(len(pixels), 1 << 24), np.uint32)
    count = np.uint32(0)
    for i in range(len(pixels)):
        code = np.uint32(pixels[i, 0]) << 16 | np.uint32(pixels[i, 1]) << 8 | np.uint32(pixels[i, 2])
        if number[code] == 0:
            codes[count] = code
            count += np.uint32(1)
            number[code] = count
        index[i] = number[code] - np.uint32(1)
    counts = np.zeros(count, np.int64)
    for i in range(len(pixels)):
        counts[index[i]] += 1
    return codes[:count].copy(), counts, index
