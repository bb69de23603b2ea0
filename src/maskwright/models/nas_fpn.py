"""NAS-FPN for segmentation: the searched feature pyramid of Ghiasi et al. 2019 with the head of Zoph et al. 2020.

The encoder is timm's, an EfficientNet by default. Its features of strides 8 to 32 (P3 to P5) are projected to one
width, P6 and P7 pooled from P5; `cells` copies of the published cell follow, seven merges each. All levels are then
upsampled to stride 4 and summed; three 3×3 convolutions and a 1×1 one give logits.

As in the authors' released code, the coarser of two features gates the finer one by the sigmoid of its maximum over the
image; inputs of a cell that no merge reads are added to the output of their level; coarser features are upsampled by
repeating pixels, finer ones max-pooled. Departs from it in: no DropBlock; no bias before batch normalisation; at sides
that are no multiples of 128, pooling and upsampling keep the top-left corners aligned.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import timm
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import ConvNormAct, resize
from . import weights
from .weights import Normalisation

LEVELS = (3, 4, 5, 6, 7)
"""Of the pyramid; level l has stride 2 ** l pixels."""

FUSED_LEVEL = 2
HEAD_CONVOLUTIONS = 3


class Merge(NamedTuple):
    """One merging cell.

    Attributes:
        output: its node; P3 to P7 are the cell's inputs, those with ″ its outputs.
        level: of the output.
        operation: "sum"; or "gate" (the paper's global pooling), where the first input is the coarser one.
        inputs: the nodes that are merged.
        unread: input of the same level that no merge reads; it is added.
    """

    output: str
    level: int
    operation: Literal["sum", "gate"]
    inputs: tuple[str, str]
    unread: str | None = None


CELL = (
    Merge("A", 4, "gate", ("P6", "P4")),
    Merge("B", 4, "sum", ("P4", "A")),
    Merge("P3″", 3, "sum", ("P3", "B")),
    Merge("P4″", 4, "sum", ("B", "P3″")),
    Merge("P5″", 5, "gate", ("P4″", "P3″"), "P5"),
    Merge("P7″", 7, "gate", ("P5″", "B"), "P7"),
    Merge("P6″", 6, "gate", ("P7″", "P5″")),
)
"""The published cell, found by search: Figure 7f of the paper, `NASFPN_BLOCK_SPECS` of the released code."""


def gate(coarse: Float[Tensor, "n c h w"], fine: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Return coarse + sigmoid(maximum of coarse over the image) · fine."""
    return coarse + coarse.amax((2, 3), keepdim=True).sigmoid() * fine


def coarser(x: Float[Tensor, "n c h w"], levels: int) -> Float[Tensor, "n c H W"]:
    """Max-pool to a stride 2 ** `levels` times as large; pixels that are left over at the end make one more."""
    return F.max_pool2d(x, 2**levels, ceil_mode=True) if levels else x


def finer(
    x: Float[Tensor, "n c h w"], levels: int, size: Sequence[int], *, mode: Literal["nearest", "bilinear"]
) -> Float[Tensor, "n c H W"]:
    """Upsample to a stride 2 ** `levels` times as small, and crop to `size` = (height, width)."""
    if not levels:
        return x
    align_corners = False if mode == "bilinear" else None
    larger = F.interpolate(x, scale_factor=2**levels, mode=mode, align_corners=align_corners)
    return larger[..., : size[0], : size[1]]


class NasFPNCell(nn.Module):
    """The merges of `CELL`, each followed by ReLU, 3×3 convolution, batch normalisation.

    Args:
        width: channels of all features.
        separable: the convolutions are depthwise-separable.
    """

    def __init__(self, width: int, *, separable: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_activated_conv(width, separable=separable) for _ in CELL)

    def forward(self, pyramid: Mapping[int, Float[Tensor, "n c _h _w"]]) -> dict[int, Float[Tensor, "n c _h _w"]]:
        """Return features of the same sizes; levels 3 to 7."""
        nodes = {f"P{level}": (level, x) for level, x in pyramid.items()}
        for merge, conv in zip(CELL, self.convs, strict=True):
            size = pyramid[merge.level].shape[-2:]
            first, second = (_at_level(*nodes[name], merge.level, size) for name in merge.inputs)
            merged = gate(first, second) if merge.operation == "gate" else first + second
            if merge.unread is not None:
                merged = merged + nodes[merge.unread][1]
            nodes[merge.output] = (merge.level, conv(merged))
        return {level: nodes[f"P{level}″"][1] for level in pyramid}


def _at_level(level: int, x: Tensor, target: int, size: Sequence[int]) -> Tensor:
    return coarser(x, target - level) if level < target else finer(x, level - target, size, mode="nearest")


def _activated_conv(width: int, *, separable: bool) -> nn.Sequential:
    if separable:
        conv = [nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False), nn.Conv2d(width, width, 1, bias=False)]
    else:
        conv = [nn.Conv2d(width, width, 3, padding=1, bias=False)]
    return nn.Sequential(nn.ReLU(), *conv, nn.BatchNorm2d(width))


class NasFPN(nn.Module):
    """EfficientNet, NAS-FPN, a head over all levels at stride 4.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        encoder: timm's name of it; any network with features of strides 8, 16 and 32.
        cells: how often the cell is repeated.
        width: channels of the pyramid and the head.
        separable: the cells' convolutions are depthwise-separable, as in Zoph et al.; otherwise as in Ghiasi et al.

    Raises:
        ValueError: an encoder without such features; no cells, no channels.
        RuntimeError: timm has no such encoder.
    """

    stride = 32

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        *,
        encoder: str = "tf_efficientnet_lite0",
        cells: int = 7,
        width: int = 256,
        separable: bool = True,
    ) -> None:
        super().__init__()
        if cells < 1 or width < 1:
            raise ValueError(f"cells and width must be at least 1, got {cells} and {width}")
        self.encoder_name = encoder
        self.encoder = timm.create_model(encoder, features_only=True, out_indices=(-3, -2, -1), in_chans=in_channels)
        if (strides := self.encoder.feature_info.reduction()) != [8, 16, 32]:
            raise ValueError(f"encoder {encoder!r} has features of strides {strides}; NAS-FPN needs 8, 16 and 32")
        self.project = nn.ModuleList(
            ConvNormAct(channels, width, kernel_size=1, act=False) for channels in self.encoder.feature_info.channels()
        )
        self.cells = nn.ModuleList(NasFPNCell(width, separable=separable) for _ in range(cells))
        self.head = nn.Sequential(
            *(ConvNormAct(width, width) for _ in range(HEAD_CONVOLUTIONS)), nn.Conv2d(width, out_channels, 1)
        )

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of 32."""
        features = [project(x) for project, x in zip(self.project, self.encoder(image), strict=True)]
        while len(features) < len(LEVELS):
            features.append(coarser(features[-1], 1))
        pyramid = dict(zip(LEVELS, features, strict=True))
        for cell in self.cells:
            pyramid = cell(pyramid)
        size = [side // 2**FUSED_LEVEL for side in image.shape[-2:]]
        fused = sum(finer(x, level - FUSED_LEVEL, size, mode="bilinear") for level, x in pyramid.items())
        return resize(self.head(fused), image.shape[-2:])


def load_imagenet(net: nn.Module) -> Normalisation:
    """Load ImageNet weights from a hub into the encoder, as `weights.load_hub`."""
    assert isinstance(net, NasFPN)
    return weights.load_hub(net.encoder, net.encoder_name)


def load_offline(net: nn.Module) -> Normalisation:
    """Load ImageNet weights from an installed package into the encoder, as `weights.load_offline`."""
    assert isinstance(net, NasFPN)
    return weights.load_offline(net.encoder, net.encoder_name)
