"""What a refinement gives back beside the mask: how much of it changed, what the gate thinks of that, how long it took."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from .kinds import CoarseMask
from .shares import with_shares


@dataclass(frozen=True, kw_only=True, slots=True)
class Refined:
    """Refined class probabilities with what the do-no-harm gate says of them.

    Attributes:
        probabilities: float32, (C, H, W), summing to 1.
        gain: expected gain in IoU, mean over the classes that were refined, 0 where the gate refused them all; None where
            there is no gate, or nothing to refine.
        kept: whether the gate refused all that was refined, so that the probabilities are as they came.
    """

    probabilities: Float32[np.ndarray, "c h w"]
    gain: float | None = None
    kept: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RefinementReport:
    """What the refinement of one mask did.

    Attributes:
        changed_pixels: pixels that got another label; of a soft mask, another most probable one.
        changed_share: their share of the image's pixels.
        estimated_gain: IoU that the method's own gate expects to be gained, by its own probabilities and without any
            truth; mean over the classes that were refined, 0 where the gate left the mask as it came. None for methods
            without a gate, and where there was nothing to refine.
        kept: whether the gate left the mask as it came.
        seconds: that the refinement took, without reading and writing of files.
    """

    changed_pixels: int
    changed_share: float
    estimated_gain: float | None
    kept: bool
    seconds: float

    @classmethod
    def of(
        cls, changed: Bool[np.ndarray, "h w"], *, seconds: float, gain: float | None = None, kept: bool = False
    ) -> "RefinementReport":
        """Count the pixels that `changed` marks; the rest is as in the attributes."""
        pixels = int(np.count_nonzero(changed))
        return cls(
            changed_pixels=pixels,
            changed_share=pixels / changed.size,
            estimated_gain=gain,
            kept=kept,
            seconds=seconds,
        )


def reported(
    refine: Callable[[], Refined], coarse: CoarseMask, *, shares: Float32[np.ndarray, "k a b"] | None = None
) -> tuple[Float32[np.ndarray, "k h w"], RefinementReport]:
    """Call `refine`, which refines the probabilities of `coarse`; return the new ones and what was done, timed.

    Args:
        refine: the refinement.
        coarse: the mask at its image's size.
        shares: which the new probabilities shall have, see `with_shares`; None leaves them as they are.
    """
    start = time.perf_counter()
    refined = refine()
    probabilities = refined.probabilities if shares is None else with_shares(refined.probabilities, shares)
    seconds = time.perf_counter() - start
    changed = (probabilities.argmax(0) != coarse.probabilities.argmax(0)) & ~coarse.ignored
    return probabilities, RefinementReport.of(changed, seconds=seconds, gain=refined.gain, kept=refined.kept)
