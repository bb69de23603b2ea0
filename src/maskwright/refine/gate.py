"""Do no harm: a refined mask is taken only where the refiner expects it to be clearly less wrong than the mask that came.

The bound is on a ratio, so that it means the same for one large object and for many small ones, of which a smaller IoU is
to be expected.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float32

LARGEST_ERRORS = 0.8, 0.85
"""Share of the error, 1 − expected IoU, that may remain after the second pass, and after the first; see docs/refiner.md."""

UNLIKELY = 0.05
"""Smaller probabilities count as 0: over all of a large picture they would add up to more than a small object."""


def first_sure(
    coarse: Float32[np.ndarray, "h w"],
    refined: Iterable[Float32[np.ndarray, "h w"]],
    belief: Float32[np.ndarray, "h w"],
) -> tuple[Float32[np.ndarray, "h w"], float] | None:
    """Return the first refined mask that is to be taken and the IoU that is expected to be gained; None where none is.

    Args:
        coarse: foreground probabilities of the mask that came.
        refined: of its refined forms, one for each of `LARGEST_ERRORS`.
        belief: by which the IoU with the truth is expected.
    """
    before = 1 - expected_iou(coarse >= 0.5, belief)
    for mask, share in zip(refined, LARGEST_ERRORS, strict=False):
        after = 1 - expected_iou(mask >= 0.5, belief)
        if after <= share * before:
            return mask, before - after
    return None


def expected_iou(mask: Bool[np.ndarray, "h w"], probabilities: Float32[np.ndarray, "h w"]) -> float:
    """Return Σ p·m / Σ (p + m − p·m): intersection over union with a truth whose pixels are object with probability p.

    The ratio of the expectations, which for many pixels is nearly the expectation of the ratio; p below `UNLIKELY` is 0.
    1 where mask and probabilities are 0 everywhere.
    """
    likely = np.where(probabilities < UNLIKELY, 0, probabilities)
    inside = float(likely[mask].sum(dtype=np.float64))
    union = float(likely.sum(dtype=np.float64)) + int(np.count_nonzero(mask)) - inside
    return inside / union if union > 0 else 1.0
