"""Labels of packed colours, R·65536 + G·256 + B: neighbours mostly share a colour, so it is looked up where it changes."""

# mypy: allow-untyped-decorators

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from numba import njit
from numpy.typing import NDArray


def look_up(
    pixels: UInt8[np.ndarray, "n 3"], codes: Int32[np.ndarray, " k"], labels: UInt8[np.ndarray, " k"]
) -> tuple[UInt8[np.ndarray, " n"], Bool[np.ndarray, " n"] | None]:
    """Return the label of each pixel's colour, and which pixels are of a colour that has none.

    Args:
        pixels: RGB, C-contiguous.
        codes: packed colours in rising order, at least one.
        labels: of the codes.

    Returns:
        Labels, 255 where there is none; and where there is none, or None where every pixel has one.
    """
    found = np.empty(len(pixels), np.uint8)
    lacking = np.zeros(len(pixels), np.bool_)
    return found, lacking if _looked_up(pixels, codes, labels, found, lacking) else None


@njit(cache=True, nogil=True)
def _looked_up(
    pixels: NDArray[np.uint8],
    codes: NDArray[np.int32],
    labels: NDArray[np.uint8],
    found: NDArray[np.uint8],
    lacking: NDArray[np.bool_],
) -> int:
    last = np.int32(-1)
    label = np.uint8(255)
    count = 0
    unknown = True
    for pixel in range(len(pixels)):
        code = (np.int32(pixels[pixel, 0]) << 16) | (np.int32(pixels[pixel, 1]) << 8) | np.int32(pixels[pixel, 2])
        if code != last:
            last = code
            place = np.searchsorted(codes, code)
            unknown = bool(place == len(codes)) or bool(codes[place] != code)
            label = np.uint8(255) if unknown else labels[place]
        found[pixel] = label
        if unknown:
            lacking[pixel] = True
            count += 1
    return count
