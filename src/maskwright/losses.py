"""Training losses over logits. Pixels of the ignored label take part in none of them but `crf_loss`, which has no labels.

Binary logits (C = 1) go through a sigmoid, others through a softmax; the loss does it, once, from the logits.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import ConfigError
from .types import IGNORE_INDEX

Resize = Literal["logits", "labels"]

CRF_SHRINK = 2
"""Side in pixels of the blocks of the image that `crf_loss` takes as one."""

CRF_SIGMA = 0.1
"""Standard deviation of its kernel over places, as a share of the image's longer side."""

CRF_LEVELS = 15.0
"""Standard deviation of its kernel over each of R, G and B, in grey levels (0 to 255)."""


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


def crf_loss(
    logits: Float[Tensor, "n c h w"],
    images: Float[Tensor, "n k H W"],
    *,
    shrink: int = CRF_SHRINK,
    sigma: float = CRF_SIGMA,
    levels: float = CRF_LEVELS,
) -> Float[Tensor, ""]:
    """Dense-CRF loss, Tang et al. 2018, "On Regularized Losses for Weakly-supervised CNN Segmentation".

    1/M · Σ_c p_cᵀ W (1 − p_c) over the M pixels: what pixels that are alike in place and colour pay for different classes.
    No label takes part: it carries labels from where they are to where none is. W is the Gaussian over place and colour,
    by the permutohedral lattice, on the CPU.

    Departs from the paper in: W is normalised on both sides by the root of its sums, so that the loss lies between 0 and
    about 1 at any size of the image; reach and size are relative to the image.

    Args:
        logits: C = 1 stands for two classes.
        images: in [0, 1]; the first three channels are R, G and B.
        shrink: images, and probabilities where they are larger, are first averaged over such blocks, pixels.
        sigma: see `CRF_SIGMA`.
        levels: see `CRF_LEVELS`.
    """
    probabilities = logits.softmax(1) if logits.shape[1] > 1 else torch.cat((logits.sigmoid(), (-logits).sigmoid()), 1)
    height, width = (min(-(-a // shrink), b) for a, b in zip(images.shape[-2:], logits.shape[-2:], strict=True))
    colours = F.adaptive_avg_pool2d(images[:, :3].float(), (height, width)) * (255 / levels)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((rows, columns)).float() / (sigma * max(height, width))
    features = torch.cat((places.expand(len(images), 2, height, width).to(colours.device), colours), 1)
    cost: Tensor = _PairwiseCost.apply(F.adaptive_avg_pool2d(probabilities, (height, width)), features)
    return cost / (len(images) * height * width)


class _PairwiseCost(torch.autograd.Function):
    """Σ_c p_cᵀ W (1 − p_c), summed over images, and its gradient W 1 − 2 W p, for the symmetric W of `crf_loss`."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, features: Tensor) -> Tensor:
        """Take probabilities (N, C, h, w) and features (N, D, h, w) in standard deviations; keep the gradient."""
        # Imported at the first call: numba takes a moment, and most trainings do without it.
        from .ops.permutohedral import Lattice
        from .ops.threads import kernel_threads

        every = torch.cat((probabilities, torch.ones_like(probabilities[:, :1])), 1)
        points, values = (
            part.detach().float().flatten(2).transpose(1, 2).contiguous().cpu().numpy() for part in (features, every)
        )
        with kernel_threads():
            filtered = [Lattice.build(p).normalised().filter(v) for p, v in zip(points, values, strict=True)]
        sums = torch.from_numpy(np.stack(filtered)).transpose(1, 2).reshape(every.shape)
        sums = sums.to(probabilities.device)
        own, all_classes = sums[:, :-1], sums[:, -1:]
        ctx.save_for_backward((all_classes - 2 * own).to(probabilities.dtype))
        return (probabilities * (all_classes - own)).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the probabilities; the features have none."""
        return gradients[0] * ctx.saved_tensors[0], None


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

IMAGE_TERMS = {"crf": crf_loss}
"""Terms of logits and images."""


class SegmentationLoss(nn.Module):
    """Weighted sum of losses, computed in float32.

    Args:
        terms: weight of each of `dice` (per image), `dice_batch`, `bce` (binary only), `cross_entropy`
            (more than two classes only), `crf` (of the images, beside one of the others).
        logit_channels: channels of the logits, to refuse a loss that cannot apply before training starts.
        resize: see `match_sizes`.

    Raises:
        ConfigError: unknown or unfitting term, no term, negative weight.
    """

    def __init__(self, terms: Mapping[str, float], *, logit_channels: int, resize: Resize = "logits") -> None:
        super().__init__()
        if not terms:
            raise ConfigError(f"train.loss is empty; expected weights for some of {', '.join((*TERMS, *IMAGE_TERMS))}")
        for name, weight in terms.items():
            if name not in TERMS and name not in IMAGE_TERMS:
                raise ConfigError(f"train.loss names {name!r}; expected {', '.join((*TERMS, *IMAGE_TERMS))}")
            if weight < 0:
                raise ConfigError(f"train.loss weight of {name!r} must be ≥ 0; got {weight}")
        wrong, right = ("cross_entropy", "bce") if logit_channels == 1 else ("bce", "cross_entropy")
        if wrong in terms:
            raise ConfigError(f"train.loss {wrong!r} does not fit {logit_channels} logit channel(s); use {right!r}")
        if not terms.keys() & TERMS.keys():
            raise ConfigError(f"train.loss has no term that learns from labels, only {', '.join(terms)}; add {right!r}")
        if resize not in get_args(Resize):
            raise ConfigError(f"train.label_resize must be {' or '.join(get_args(Resize))}; got {resize!r}")
        self.terms = dict(terms)
        self.resize = resize

    def forward(
        self, logits: Float[Tensor, "n c h w"], target: Int64[Tensor, "n H W"], images: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """Return the loss; `target` holds labels or the ignored label, `images` what the logits are of, for `crf`.

        Raises:
            ConfigError: a term needs the images and there are none.
        """
        logits, target = match_sizes(logits.float(), target, self.resize)
        loss = logits.new_zeros(())
        for name, weight in self.terms.items():
            if name in TERMS:
                loss = loss + weight * TERMS[name](logits, target)
            elif images is None:
                raise ConfigError(f"train.loss {name!r} compares pixels of the images; expected them beside the labels")
            else:
                loss = loss + weight * IMAGE_TERMS[name](logits, images)
        return loss
