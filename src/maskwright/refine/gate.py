"""Do no harm: a refined mask is taken only where the refiner is sure of it."""

import numpy as np
from jaxtyping import Bool, Float32

LEAST_EXPECTED_IOU = 0.85
"""Refined masks of which less is expected are not taken. On masks that the refiner harms it is unsure: docs/refiner.md."""

UNLIKELY = 0.05
"""Smaller probabilities count as 0: over all of a large picture they would add up to more than a small object."""


def is_sure(refined: Float32[np.ndarray, "h w"]) -> bool:
    """Whether to take refined foreground probabilities, as far as they themselves tell."""
    return expected_iou(refined >= 0.5, refined) >= LEAST_EXPECTED_IOU


def expected_gain(coarse: Float32[np.ndarray, "h w"], refined: Float32[np.ndarray, "h w"]) -> float:
    """Return the expected IoU of the refined mask minus that of the coarse one, both by the refined probabilities.

    Args:
        coarse: foreground probabilities before.
        refined: foreground probabilities after, which are believed.
    """
    return expected_iou(refined >= 0.5, refined) - expected_iou(coarse >= 0.5, refined)


def expected_iou(mask: Bool[np.ndarray, "h w"], probabilities: Float32[np.ndarray, "h w"]) -> float:
    """Return Σ p·m / Σ (p + m − p·m): intersection over union with a truth whose pixels are object with probability p.

    The ratio of the expectations, which for many pixels is nearly the expectation of the ratio; p below `UNLIKELY` is 0.
    1 where mask and probabilities are 0 everywhere.
    """
    likely = np.where(probabilities < UNLIKELY, 0, probabilities)
    inside = float(likely[mask].sum(dtype=np.float64))
    union = float(likely.sum(dtype=np.float64)) + int(np.count_nonzero(mask)) - inside
    return inside / union if union > 0 else 1.0
