"""Do no harm: a refined mask is taken only where the refiner expects it to be clearly less wrong than the mask that came.

The bound is on a ratio, so that it means the same for one large object and for many small ones, of which a smaller IoU is
to be expected.
"""

import numpy as np
from jaxtyping import Bool, Float32

LARGEST_ERROR = 0.85
"""Refined masks of which a larger share of the error, 1 − expected IoU, remains are not taken. Choice: docs/refiner.md."""

UNLIKELY = 0.05
"""Smaller probabilities count as 0: over all of a large picture they would add up to more than a small object."""


def is_worthwhile(before: float, after: float) -> bool:
    """Whether to take a mask whose expected IoU is `after` in place of one whose expected IoU is `before`."""
    return after > before and 1 - after <= LARGEST_ERROR * (1 - before)


def expected_iou(mask: Bool[np.ndarray, "h w"], probabilities: Float32[np.ndarray, "h w"]) -> float:
    """Return Σ p·m / Σ (p + m − p·m): intersection over union with a truth whose pixels are object with probability p.

    The ratio of the expectations, which for many pixels is nearly the expectation of the ratio; p below `UNLIKELY` is 0.
    1 where mask and probabilities are 0 everywhere.
    """
    likely = np.where(probabilities < UNLIKELY, 0, probabilities)
    inside = float(likely[mask].sum(dtype=np.float64))
    union = float(likely.sum(dtype=np.float64)) + int(np.count_nonzero(mask)) - inside
    return inside / union if union > 0 else 1.0
