"""Every tool's mIoU, Dice and accuracy, from the same exact counts: what each would report for the same masks.

    values = convention_scores(result)                      # {"smp.iou.micro": 0.81, "nnunet.dice...": 0.90, ...}
    convention("smp.iou.micro").definition                  # what it averages, and what empty masks count
    convention_intervals(result)                            # the same between bounds, over the images

`CONVENTIONS` is the table; a row is the choices that its tool makes (`Choices`), and one function computes them all.
"""

from maskwright.metrics.conventions.choices import Choices, Drawn, describe, evaluate
from maskwright.metrics.conventions.convention import Convention
from maskwright.metrics.conventions.table import (
    CONVENTIONS,
    convention,
    convention_draws,
    convention_intervals,
    convention_scores,
)

__all__ = [
    "CONVENTIONS",
    "Choices",
    "Convention",
    "Drawn",
    "convention",
    "convention_draws",
    "convention_intervals",
    "convention_scores",
    "describe",
    "evaluate",
]
