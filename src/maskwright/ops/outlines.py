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
    return _traced(pieces)


@njit(cache=True, nogil=True)
def _other(pieces: NDArray[np.int32], row: int, column: int, piece: int) -> bool:
    """Whether the place is outside of the picture or of another piece."""
    height, width = pieces.shape
    return row < 0 or column < 0 or row >= height or column >= width or pieces[row, column] != piece


@njit(cache=True, nogil=True)
def _traced(pieces: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    height, width = pieces.shape
    # Sides 0 to 3: top, walked to the right; right, down; bottom, to the left; left, up.
    ahead_row, ahead_column = (0, 1, 0, -1), (1, 0, -1, 0)
    corner_row, corner_column = (0, 0, 1, 1), (0, 1, 1, 0)
    sides, rings = 0, 0
    for row in range(height):
        for column in range(width):
            piece = pieces[row, column]
            if piece >= 0:
                for side in range(4):
                    # Outside of side s lies what is ahead when side s - 1 is walked.
                    back = (side + 3) % 4
                    sides += _other(pieces, row + ahead_row[back], column + ahead_column[back], piece)
                rings += _other(pieces, row - 1, column, piece)
    points = np.empty((sides, 2), np.int32)
    ends, owners = np.empty(rings, np.int32), np.empty(rings, np.int32)
    walked = np.zeros((height, width), np.bool_)  # of top sides, which every ring has
    count, ring = 0, 0
    for first_row in range(height):
        for first_column in range(width):
            piece = pieces[first_row, first_column]
            if piece < 0 or walked[first_row, first_column] or not _other(pieces, first_row - 1, first_column, piece):
                continue
            row, column, side = first_row, first_column, 0
            while True:
                if side == 0:
                    if walked[row, column]:
                        break
                    walked[row, column] = True
                down, right = row + ahead_row[side], column + ahead_column[side]
                back = (side + 3) % 4
                if _other(pieces, down, right, piece):
                    side = (side + 1) % 4
                elif _other(pieces, down + ahead_row[back], right + ahead_column[back], piece):
                    row, column = down, right
                    continue
                else:
                    row, column, side = down + ahead_row[back], right + ahead_column[back], back
                points[count, 0] = column + corner_column[side]
                points[count, 1] = row + corner_row[side]
                count += 1
            ends[ring], owners[ring] = count, piece
            ring += 1
    return points[:count], ends[:ring], owners[:ring]
