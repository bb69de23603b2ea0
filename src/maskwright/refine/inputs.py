"""What the refinement methods that need no training of one's own ask of their inputs."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from ..errors import DataError

TOLERANCE = 1e-2
"""By how much a probability may exceed 1, and their sum in a pixel miss it: enough for 8-bit maps and half precision."""


def check_inputs(
    probabilities: Float[np.ndarray, "c h w"], image: UInt8[np.ndarray, "h w 3"], *, fewest_classes: int = 2
) -> None:
    """Refuse what is not class probabilities with their RGB image.

    Args:
        probabilities: any float dtype, in [0, 1], summing to 1 where C ≥ 2.
        image: RGB, uint8, of the same height and width.
        fewest_classes: 1 where probabilities of the foreground alone will do.

    Raises:
        DataError: no array, or one of the wrong shape, dtype or range.
    """
    for name, array in (("probabilities", probabilities), ("image", image)):
        if not isinstance(array, np.ndarray):
            raise DataError(f"{name} must be a numpy array, got {type(array).__name__}")
    if probabilities.ndim != 3 or len(probabilities) < fewest_classes or probabilities.size == 0:
        raise DataError(
            f"probabilities are {probabilities.shape}, expected (C, H, W) with at least {fewest_classes} classes and one "
            "pixel; give a binary mask p as np.stack((1 - p, p))"
        )
    if not np.issubdtype(probabilities.dtype, np.floating):
        raise DataError(f"probabilities are {probabilities.dtype}, expected floats in [0, 1]; divide 8-bit maps by 255")
    if image.shape != (*probabilities.shape[1:], 3) or image.dtype != np.uint8:
        raise DataError(
            f"image is {image.dtype} {image.shape}, expected uint8 {(*probabilities.shape[1:], 3)}: RGB, "
            f"of the same height and width as the probabilities {probabilities.shape}"
        )
    smallest, largest = probabilities.min(), probabilities.max()
    if not (smallest >= 0 and largest <= 1 + TOLERANCE):  # NaN fails, too
        raise DataError(
            f"probabilities range from {smallest:g} to {largest:g}, expected 0 to 1 and no NaN; "
            "logits need a softmax first"
        )
    sums = probabilities.sum(0, dtype=np.float32)
    if len(probabilities) > 1 and np.abs(sums - 1).max() > TOLERANCE:
        raise DataError(
            f"probabilities of a pixel sum to {sums.min():g} to {sums.max():g}, expected 1 within {TOLERANCE:g}; "
            "divide them by their sum"
        )


def check_same_size(
    size: Sequence[int], image: UInt8[np.ndarray, "h w 3"], *, name: str = "mask", advice: str = ""
) -> None:
    """Refuse a mask of another size than its image.

    Args:
        size: (height, width) of the mask.
        image: RGB.
        name: of the mask, for the message.
        advice: its end.

    Raises:
        DataError: the sizes differ.
    """
    if tuple(size) != image.shape[:2]:
        raise DataError(
            f"{name} is {size[1]}×{size[0]}, its image {image.shape[1]}×{image.shape[0]} pixels; expected the same{advice}"
        )
