"""Every tool's mIoU, Dice and accuracy, from the same exact counts: what each would report for the same masks.

    values = convention_scores(result)                      # {"smp.iou.micro": 0.81, "nnunet.dice...": 0.90, ...}
    convention("smp.iou.micro").definition                  # what it averages, and what empty masks count
    convention_intervals(result)                            # the same between bounds, over the images
    groups(values)                                          # which agree on these masks
    str(why("cityscapes.iou", "smp.iou.macro-imagewise", result.counts))    # why two of them do not
    recommended(result).sentence                            # which number to quote, and how
    warnings(result)                                        # what the numbers hide

`CONVENTIONS` is the table; a row is the choices that its tool makes (`Choices`), and one function computes them all.
"""

from maskwright.metrics.conventions.advice import Caution, Recommendation, recommended, warnings
from maskwright.metrics.conventions.choices import Choices, Drawn, describe, evaluate
from maskwright.metrics.conventions.convention import Convention
from maskwright.metrics.conventions.reasons import Explanation, Group, Reason, groups, why
from maskwright.metrics.conventions.table import (
    CONVENTIONS,
    convention,
    convention_draws,
    convention_intervals,
    convention_scores,
)

__all__ = [
    "CONVENTIONS",
    "Caution",
    "Choices",
    "Convention",
    "Drawn",
    "Explanation",
    "Group",
    "Reason",
    "Recommendation",
    "convention",
    "convention_draws",
    "convention_intervals",
    "convention_scores",
    "describe",
    "evaluate",
    "groups",
    "recommended",
    "warnings",
    "why",
]
