"""Object-contextual representations, Yuan et al. 2020: every pixel also sees the mean features of each class.

Soft regions, one per class, come from logits of their own, which training should push towards the labels too (weight
0.4, as in the paper). A region's representation is the mean of the features under its softmax over the image; every
pixel attends to all of them. Departs from the paper in: no convolution before batch normalisation has a bias; a binary
network, which has one logit, has two regions, of the logit and of its negative.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import ConvNormAct

REGION_LOSS_WEIGHT = 0.4


def region_features(
    features: Float[Tensor, "n c h w"], region_logits: Float[Tensor, "n r h w"]
) -> Float[Tensor, "n c r 1"]:
    """Return the mean of `features` under each region's softmax over all pixels, as an image of r×1 pixels."""
    weights = region_logits.flatten(2).softmax(-1)
    return (features.flatten(2) @ weights.transpose(1, 2)).unsqueeze(-1)


def attend(
    query: Float[Tensor, "n k h w"], key: Float[Tensor, "n k r 1"], value: Float[Tensor, "n k r 1"]
) -> Float[Tensor, "n k h w"]:
    """Return for every pixel the mean of `value` over regions, weighted by softmax(query·key / √k)."""
    scores = query.flatten(2).transpose(1, 2) @ key.flatten(2) * query.shape[1] ** -0.5
    return (value.flatten(2) @ scores.softmax(-1).transpose(1, 2)).unflatten(-1, query.shape[-2:])


class OCRHead(nn.Module):
    """Features to logits through object-contextual representations.

    Args:
        in_channels: channels of the features.
        out_channels: channels of the logits; 1 means binary.
        width: channels of pixels and regions.
        key_width: channels in which they are compared.
        dropout: share of the last features' channels that training drops.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, width: int = 512, key_width: int = 256, dropout: float = 0.05
    ) -> None:
        super().__init__()
        self.region_logits = nn.Sequential(
            ConvNormAct(in_channels, in_channels, kernel_size=1), nn.Conv2d(in_channels, out_channels, 1)
        )
        self.pixels = ConvNormAct(in_channels, width)
        self.query = _two_projections(width, key_width)
        self.key = _two_projections(width, key_width)
        self.value = ConvNormAct(width, key_width, kernel_size=1)
        self.context = ConvNormAct(key_width, width, kernel_size=1)
        self.fuse = nn.Sequential(ConvNormAct(2 * width, width, kernel_size=1), nn.Dropout2d(dropout))
        self.classify = nn.Conv2d(width, out_channels, 1)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `features`."""
        logits = self.region_logits(features)
        if logits.shape[1] == 1:
            logits = torch.cat((-logits, logits), dim=1)
        pixels = self.pixels(features)
        regions = region_features(pixels, logits)
        context = self.context(attend(self.query(pixels), self.key(regions), self.value(regions)))
        return self.classify(self.fuse(torch.cat((context, pixels), dim=1)))


def _two_projections(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNormAct(in_channels, out_channels, kernel_size=1), ConvNormAct(out_channels, out_channels, kernel_size=1)
    )
