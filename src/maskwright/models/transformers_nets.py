"""Networks of transformers as networks that map images to logits.

Semantic networks give logits at a part of the image's size, which are resized. Universal ones (MaskFormer, Cheng et al.
2021, and those that follow it) give a class distribution p and a mask m for each of some queries q; their semantic logits
are log Σ_q p_q(class)·sigmoid(m_q), whose softmax weighs the classes as transformers' own
`post_process_semantic_segmentation` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import resize

SMALLEST_SUM = 1e-30
"""Sums are taken for at least this, so that the logarithm of a class that no query has stays finite."""

TASKS = ("semantic", "instance", "panoptic")
"""What a universal network may be asked for; only OneFormer is told which."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Which images a network takes.

    Attributes:
        stride: sides are multiples of it, pixels.
        square: height and width must be equal: shorter sides are edge-padded.
        side: the only side that it takes, pixels, to which images are resized; 0 takes any.
    """

    stride: int
    square: bool = False
    side: int = 0


class SemanticNetwork(nn.Module):
    """A semantic network of transformers.

    Args:
        network: takes `pixel_values`, returns an object with `logits` (n, k, h, w).
        shape: which images it takes.
        bgr: the first three channels are blue, green and red for it.
        as_difference: it has two classes, of which one logit is made.
        arguments: further ones of its `forward`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        shape: Shape,
        bgr: bool = False,
        as_difference: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.shape = shape
        self.bgr = bgr
        self.as_difference = as_difference
        self.arguments = dict(arguments or {})

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits, float32, at the size of `image`, whose sides are multiples of the stride."""
        fitted = self.fitted(image)
        return self.one_or_all(self.at_size(self.outputs(fitted).logits.float(), fitted, image))

    def outputs(self, fitted: Float[Tensor, "n c H W"]) -> Any:
        """Return what the library's network returns for images of a size that it takes."""
        return self.network(pixel_values=fitted, **self.arguments)

    def fitted(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
        """Bring images to the size and order of channels that the network takes."""
        if self.bgr:
            image = torch.cat((image[:, :3].flip(1), image[:, 3:]), 1)
        if self.shape.side:
            size = (self.shape.side, self.shape.side)
            if image.shape[-2:] == size:
                return image
            return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
        height, width = image.shape[-2:]
        if self.shape.square and height != width:
            longer = max(height, width)
            image = F.pad(image, (0, longer - width, 0, longer - height), mode="replicate")
        return image

    def at_size(
        self, values: Float[Tensor, "n k h w"], fitted: Float[Tensor, "n c H W"], image: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n k h w"]:
        """Bring values of `fitted` back to where they belong in `image`."""
        height, width = image.shape[-2:]
        target = (height, width) if self.shape.side else fitted.shape[-2:]
        return resize(values, target)[..., :height, :width]

    def one_or_all(self, logits: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k h w"]:
        """Make one logit of two, where that is wanted: their difference, since softmax then equals sigmoid."""
        return logits[:, 1:] - logits[:, :1] if self.as_difference else logits


class QueryNetwork(SemanticNetwork):
    """A universal network of transformers, whose queries are summed to semantic logits.

    Args:
        network: takes `pixel_values`, returns an object with `class_queries_logits` (n, q, k + 1), the last for nothing,
            and `masks_queries_logits` (n, q, h, w).
        masks_first: masks get the image's size before the sigmoid, as transformers does for some networks; else the sums
            do, which takes less memory.
        task_tokens: of OneFormer, one row for each of `TASKS`.
        others: see `SemanticNetwork`.
    """

    task_tokens: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        *,
        shape: Shape,
        masks_first: bool,
        task_tokens: Int64[Tensor, "3 l"] | None = None,
        bgr: bool = False,
        as_difference: bool = False,
    ) -> None:
        super().__init__(network, shape=shape, bgr=bgr, as_difference=as_difference)
        self.masks_first = masks_first
        self.register_buffer("task_tokens", task_tokens)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return semantic logits, float32, at the size of `image`, whose sides are multiples of the stride."""
        fitted = self.fitted(image)
        outputs = self.outputs(fitted)
        masks = outputs.masks_queries_logits.float()
        if self.masks_first:
            masks = resize(masks, fitted.shape[-2:])
        shares = self.at_size(class_shares(outputs.class_queries_logits, masks), fitted, image)
        return self.one_or_all(shares.clamp_min(SMALLEST_SUM).log())

    def outputs(
        self, fitted: Float[Tensor, "n c H W"], *, task: Literal["semantic", "instance", "panoptic"] = "semantic"
    ) -> Any:
        """Return what the library's network returns for images of a size that it takes."""
        if self.task_tokens is None:
            return self.network(pixel_values=fitted)
        tokens = self.task_tokens[TASKS.index(task)].expand(len(fitted), -1)
        return self.network(pixel_values=fitted, task_inputs=tokens)


def class_shares(classes: Float[Tensor, "n q k+1"], masks: Float[Tensor, "n q h w"]) -> Float[Tensor, "n k h w"]:
    """Return Σ_q p_q(class)·sigmoid(m_q), float32, without the class of nothing, which is the last.

    Args:
        classes: logits of each query's class.
        masks: logits of each query's mask.
    """
    # Under autocast the sum over a hundred queries would be rounded to bfloat16.
    with torch.autocast(masks.device.type, enabled=False):
        return torch.einsum("nqk,nqhw->nkhw", classes.float().softmax(-1)[..., :-1], masks.float().sigmoid())
