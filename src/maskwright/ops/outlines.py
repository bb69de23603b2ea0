"""Outlines of the connected pieces of a label map along the edges of its pixels.

Each side of a pixel whose neighbour is of another piece is walked once, with the piece on the right. Where two pixels of
a piece touch at a corner only, the walk turns right, so that outlines may touch but never cross.
"""

# mypy: allow-untyped-decorators

import numpy as np
from jaxtyping import Int32
from numba import njit
from numpy.typing import NDArray


def trace(
    pieces: Int32[np.ndarray, "h w"],
) -> tuple[Int32[np.ndarray, "n 2"], Int32[np.ndarray, " rings"], Int32[np.ndarray, " rings"]]:
    """Return the outlines of all pieces whose number is not negative.

    Args:
        pieces: number of each pixel's piece, connected by sides; C-contiguous.

    Returns:
        Corners (x, y) of all rings, one behind the other, in pixels from the upper left corner of the picture; where each
        ring ends among them; and the number of its piece. The first ring of a piece is its outer one, the others holes.
    """
    height, width = pieces.shape
    # A border of nothing spares the question whether a neighbour lies within the picture.
    framed = np.full((height + 2, width + 2), -1, np.int32)
    framed[1:-1, 1:-1] = pieces
    return _traced(framed.ravel(), width + 2)


@njit(cache=True, nogil=True)
def _traced(pieces: NDArray[np.int32], stride: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    sides, rings = 0, 0
    for pixel in range(stride, len(pieces) - 1):
        here, left, above = pieces[pixel], pieces[pixel - 1], pieces[pixel - stride]
        if here != left:
            sides += (here >= 0) + (left >= 0)
        if here != above:
            sides += (here >= 0) + (above >= 0)
            rings += here >= 0
    points = np.empty((sides, 2), np.int32)
    ends, owners = np.empty(rings, np.int32), np.empty(rings, np.int32)
    walked = np.zeros(len(pieces), np.bool_)  # of top sides, which every ring has
    # Sides 0 to 3: top, walked to the right; right, down; bottom, to the left; left, up.
    ahead = np.array([1, stride, -1, -stride])
    corner_x, corner_y = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    count, ring = 0, 0
    for first in range(stride, len(pieces) - stride):
        piece = pieces[first]
        if piece < 0 or walked[first] or pieces[first - stride] == piece:
            continue
        pixel, side = first, 0
        while True:
            if side == 0:
                if walked[pixel]:
                    break
                walked[pixel] = True
            back = (side + 3) & 3
            after = pixel + ahead[side]
            if pieces[after] != piece:
                side = (side + 1) & 3
            elif pieces[after + ahead[back]] != piece:
                pixel = after
                continue
            else:
                pixel, side = after + ahead[back], back
            # The corner where the new side begins; the frame is taken off again.
            points[count, 0] = pixel % stride - 1 + corner_x[side]
            points[count, 1] = pixel // stride - 1 + corner_y[side]
            count += 1
        ends[ring], owners[ring] = count, piece
        ring += 1
    return points[:count], ends[:ring], owners[:ring]
