"""Do no harm: a refined mask is taken only where the refiner is sure of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

LEAST_EXPECTED_IOU = 0.85
"""Refined masks of which less is expected are not taken. On masks that the refiner harms it is unsure: with this bound the
share of harmed images of a data set that it was not trained on fell to about a third (docs/refiner.md)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is expected of a refined mask, by the refined probabilities themselves; it is an estimate and no measurement.

    Attributes:
        accepted: whether the refined mask is taken.
        expected_iou: of the refined mask with the truth, in [0, 1].
        gain: by how much that exceeds what is expected of the coarse mask; about 0 or more.
        changed: share of the pixels that change their label.
    """

    accepted: bool
    expected_iou: float
    gain: float
    changed: float


def judge(coarse: Float32[np.ndarray, "h w"], refined: Float32[np.ndarray, "h w"]) -> Verdict:
    """Judge foreground probabilities before and after refinement."""
    before, after = coarse >= 0.5, refined >= 0.5
    expected = expected_iou(after, refined)
    return Verdict(
        accepted=expected >= LEAST_EXPECTED_IOU,
        expected_iou=expected,
        gain=expected - expected_iou(before, refined),
        changed=float((before != after).mean()),
    )


def expected_iou(mask: Bool[np.ndarray, "h w"], probabilities: Float32[np.ndarray, "h w"]) -> float:
    """Return Σ p·m / Σ (p + m − p·m): intersection over union with a truth whose pixels are object with probability p.

    The ratio of the expectations, which for many pixels is nearly the expectation of the ratio. 1 where mask and
    probabilities are 0 everywhere.
    """
    inside = float(probabilities[mask].sum(dtype=np.float64))
    union = float(probabilities.sum(dtype=np.float64)) + np.count_nonzero(mask) - inside
    # Of an object that is not there, less than a pixel may be expected.
    return inside / union if union > 1 or mask.any() else 1.0
