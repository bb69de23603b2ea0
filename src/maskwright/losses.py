"""Training losses over logits. Pixels of the ignored label take part in none of them.

Binary logits (C = 1) go through a sigmoid, others through a softmax; the loss does it, once, from the logits.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import ConfigError
from .types import IGNORE_INDEX

Resize = Literal["logits", "labels"]


def dice_loss(
    logits: Float[Tensor, "n c h w"],
    target: Int64[Tensor, "n h w"],
    *,
    per_image: bool = True,
    ignore_index: int = IGNORE_INDEX,
    smooth: float = 1.0,
) -> Float[Tensor, ""]:
    """Soft Dice loss, 1 − (2·Σ p·t + s) / (Σ p + Σ t + s), Milletari et al. 2016 without the squares.

    Args:
        logits: C = 1 gives the Dice of the foreground; otherwise the mean over all C classes.
        target: labels 0..C − 1 (0 or 1 for C = 1), or `ignore_index`.
        per_image: sums over each image, then the mean over images; otherwise sums over the whole batch.
        ignore_index: label that is left out.
        smooth: s, pixels; an empty truth with an empty prediction costs 0.
    """
    valid = (target != ignore_index).unsqueeze(1)
    labels = target.masked_fill(~valid.squeeze(1), 0)
    if logits.shape[1] == 1:
        probabilities, truth = logits.sigmoid(), labels.unsqueeze(1).to(logits.dtype)
    else:
        probabilities = logits.softmax(1)
        truth = torch.zeros_like(probabilities).scatter_(1, labels.unsqueeze(1), 1.0)
    probabilities, truth = probabilities * valid, truth * valid
    pixels = (2, 3) if per_image else (0, 2, 3)
    overlap = (probabilities * truth).sum(pixels)
    size = probabilities.sum(pixels) + truth.sum(pixels)
    return 1 - ((2 * overlap + smooth) / (size + smooth)).mean()


def bce_loss(
    logits: Float[Tensor, "n 1 h w"], target: Int64[Tensor, "n h w"], *, ignore_index: int = IGNORE_INDEX
) -> Float[Tensor, ""]:
    """Binary cross-entropy from logits, the mean over the pixels that are not ignored; 0 when all are."""
    valid = target != ignore_index
    loss = F.binary_cross_entropy_with_logits(logits.squeeze(1), (target == 1).to(logits.dtype), reduction="none")
    return (loss * valid).sum() / valid.sum().clamp_min(1)


def cross_entropy_loss(
    logits: Float[Tensor, "n c h w"], target: Int64[Tensor, "n h w"], *, ignore_index: int = IGNORE_INDEX
) -> Float[Tensor, ""]:
    """Cross-entropy over classes, the mean over the pixels that are not ignored; 0 when all are."""
    total = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="sum")
    return total / (target != ignore_index).sum().clamp_min(1)


def match_sizes(
    logits: Float[Tensor, "n c h w"], target: Int64[Tensor, "n H W"], resize: Resize
) -> tuple[Tensor, Tensor]:
    """Bring logits and labels to one size.

    Args:
        logits: of a network whose output may be smaller than the labels.
        target: label maps.
        resize: "logits": logits to the labels' size, bilinear, `align_corners=False`. "labels": labels to the
            logits' size, nearest (the exact pixel centres).
    """
    if logits.shape[-2:] == target.shape[-2:]:
        return logits, target
    if resize == "logits":
        return F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False), target
    small = F.interpolate(target.unsqueeze(1).float(), logits.shape[-2:], mode="nearest-exact")
    return logits, small.squeeze(1).long()


TERMS = {
    "dice": dice_loss,
    "dice_batch": lambda logits, target: dice_loss(logits, target, per_image=False),
    "bce": bce_loss,
    "cross_entropy": cross_entropy_loss,
}


class SegmentationLoss(nn.Module):
    """Weighted sum of losses, computed in float32.

    Args:
        terms: weight of each of `dice` (per image), `dice_batch`, `bce` (binary only), `cross_entropy`
            (more than two classes only).
        logit_channels: channels of the logits, to refuse a loss that cannot apply before training starts.
        resize: see `match_sizes`.

    Raises:
        ConfigError: unknown or unfitting term, no term, negative weight.
    """

    def __init__(self, terms: Mapping[str, float], *, logit_channels: int, resize: Resize = "logits") -> None:
        super().__init__()
        if not terms:
            raise ConfigError(f"train.loss is empty; expected weights for some of {', '.join(TERMS)}")
        for name, weight in terms.items():
            if name not in TERMS:
                raise ConfigError(f"train.loss names {name!r}; expected {', '.join(TERMS)}")
            if weight < 0:
                raise ConfigError(f"train.loss weight of {name!r} must be ≥ 0; got {weight}")
        wrong = "cross_entropy" if logit_channels == 1 else "bce"
        if wrong in terms:
            right = "bce" if logit_channels == 1 else "cross_entropy"
            raise ConfigError(f"train.loss {wrong!r} does not fit {logit_channels} logit channel(s); use {right!r}")
        if resize not in get_args(Resize):
            raise ConfigError(f"train.label_resize must be {' or '.join(get_args(Resize))}; got {resize!r}")
        self.terms = dict(terms)
        self.resize = resize

    def forward(self, logits: Float[Tensor, "n c h w"], target: Int64[Tensor, "n H W"]) -> Float[Tensor, ""]:
        """Return the loss; `target` holds labels or the ignored label."""
        logits, target = match_sizes(logits.float(), target, self.resize)
        return sum((weight * TERMS[name](logits, target) for name, weight in self.terms.items()), logits.new_zeros(()))
