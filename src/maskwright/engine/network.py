"""What runs after training: coarse network and refiner as one, and the step from logits to label maps."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..models import ModelConfig, Segmenter, build, logit_channels
from ..refine import CSPN, DySPN, RefinerConfig, build_refiner


class RefinedSegmenter(nn.Module):
    """A coarse segmenter and the refiner of its logits, which may see the image in more detail.

    Args:
        coarse: the segmenter.
        refiner: CSPN or DySPN.
        scale: the segmenter sees the image at 1/scale of the size that the refiner sees.
    """

    def __init__(self, coarse: Segmenter, refiner: CSPN | DySPN, *, scale: int = 1) -> None:
        super().__init__()
        self.coarse = coarse
        self.refiner = refiner
        self.scale = scale

    def forward(self, image: Float[Tensor, "n i h w"], *, return_steps: bool = False) -> Float[Tensor, "*t n c h w"]:
        """Return refined logits, or with `return_steps` all states, the coarse logits first."""
        return self.refiner(image, logits_of_smaller(self.coarse, image, self.scale), return_steps=return_steps)


SPARE_FEATURES = 15
"""Maps that a feature network gives beside those that the auxiliary loss trains to be the logits of a mask."""


def build_refined(
    coarse: Segmenter, refiner: RefinerConfig, features: ModelConfig, *, scale: int, num_classes: int
) -> RefinedSegmenter:
    """Put an untrained refiner on top of `coarse`, with a feature network where `features` has a name."""
    channels, image_channels = logit_channels(num_classes), coarse.in_channels
    network, maps = None, 0
    if features.name:
        maps = channels + SPARE_FEATURES
        network = build(features, num_classes=maps, in_channels=image_channels)
    untrained = build_refiner(
        refiner, logit_channels=channels, image_channels=image_channels, features=network, feature_channels=maps
    )
    return RefinedSegmenter(coarse, untrained, scale=scale)


def logits_of_smaller(segmenter: nn.Module, image: Float[Tensor, "n i h w"], scale: int) -> Float[Tensor, "n c h w"]:
    """Segment the image at 1/scale of its size (bilinear, antialiased); return the logits at the image's own size."""
    if scale == 1:
        return segmenter(image)
    height, width = image.shape[-2:]
    smaller = (max(height // scale, 1), max(width // scale, 1))
    shrunk = F.interpolate(image, smaller, mode="bilinear", align_corners=False, antialias=True)
    return resize_logits(segmenter(shrunk), (height, width))


def decide(logits: Float[Tensor, "c h w"]) -> Int64[Tensor, "h w"]:
    """Return the label map: the class of the largest logit; for C = 1 label 1 where the logit is ≥ 0."""
    return (logits[0] >= 0).long() if len(logits) == 1 else logits.argmax(0)


def labels_at(logits: Float[Tensor, "c h w"], size: Sequence[int]) -> Int64[Tensor, "H W"]:
    """Resize logits to `size` = (height, width), then `decide`."""
    return decide(resize_logits(logits, size))


def resize_logits(logits: Float[Tensor, "*n c h w"], size: Sequence[int]) -> Float[Tensor, "*n c H W"]:
    """Resize logits to `size` = (height, width), bilinear, `align_corners=False`, in float32."""
    batched = logits.float().reshape(-1, *logits.shape[-3:])
    if batched.shape[-2:] != tuple(size):
        batched = F.interpolate(batched, tuple(size), mode="bilinear", align_corners=False)
    return batched.reshape(*logits.shape[:-2], *size)


def choose_device(device: str) -> str:
    """Return "cuda" for "auto" where there is one, else "cpu"; other names as they are.

    Raises:
        ConfigError: "cuda" where there is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda was asked for, but PyTorch finds none here; use cpu or auto")
    return device
