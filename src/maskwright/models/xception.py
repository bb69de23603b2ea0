"""Aligned Xception-65: Chollet 2017, made deeper by Qi et al. 2017, as the encoder of DeepLab v3+ (Chen et al. 2018).

Every pooling is a strided depthwise-separable convolution, so atrous convolution can take the place of any stride.
37,867,312 parameters. Written after the authors' released network, whose ImageNet weights fit. There, unlike in the
paper's figure, a ReLU stands before each separable convolution and none after the depthwise one; only the last three
have one after both. Border padding is that of PyTorch.
"""

from collections.abc import Mapping
from itertools import pairwise

import timm
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ConfigError
from ..layers import ConvNormAct, SeparableConv
from . import weights
from .weights import Normalisation

ENTRY = ((128, 128, 128), (256, 256, 256), (728, 728, 728))
MIDDLE = (728, 728, 728)
EXIT = (728, 1024, 1024)
LAST = (1536, 1536, 2048)
"""Channels of the three separable convolutions of each block; the blocks of `ENTRY` and `EXIT` halve the size."""

MIDDLE_BLOCKS = 16
FINE_CHANNELS = ENTRY[1][1]
CHANNELS = LAST[-1]
EPSILON = 1e-3
"""What batch normalisation adds to the variance, where the weights were trained."""

HUB_NAME = "xception65.tf_in1k"


class XceptionBlock(nn.Module):
    """Three times ReLU and separable convolution, beside a shortcut: the identity, or a 1×1 convolution where the
    channels change.

    Args:
        in_channels: channels of the input.
        widths: channels of the three convolutions.
        stride: step of the last one, pixels.
        dilation: distance of the taps of all three, pixels.
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int], *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != widths[-1]:
            self.shortcut = ConvNormAct(in_channels, widths[-1], kernel_size=1, stride=stride, act=False)
        self.first = nn.Sequential(
            _activated_conv(in_channels, widths[0], dilation=dilation),
            _activated_conv(widths[0], widths[1], dilation=dilation),
        )
        self.last = _activated_conv(widths[1], widths[2], stride=stride, dilation=dilation)

    def with_fine(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n m h w"], Float[Tensor, "n o H W"]]:
        """Return the features before the stride, and the result."""
        fine = self.first(x)
        return fine, self.shortcut(x) + self.last(fine)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o H W"]:
        """Return the result alone."""
        return self.with_fine(x)[1]


def _activated_conv(in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    # Not in place: the shortcut and the decoder read what comes in.
    return nn.Sequential(
        nn.ReLU(), SeparableConv(in_channels, out_channels, stride=stride, dilation=dilation, act=False)
    )


class AlignedXception(nn.Module):
    """Image to fine features of stride 4 and deep features of stride `output_stride`.

    Args:
        in_channels: channels of the image.
        output_stride: pixels, 8, 16 or 32; where the size is not halved, later convolutions are dilated instead.
        middle_blocks: number of blocks in the middle; 16 makes it Xception-65, 8 Xception-41.

    Raises:
        ValueError: another stride; a negative number of blocks.
    """

    def __init__(self, in_channels: int = 3, *, output_stride: int = 16, middle_blocks: int = MIDDLE_BLOCKS) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        if middle_blocks < 0:
            raise ValueError(f"middle_blocks must be at least 0, got {middle_blocks}")
        self.stem = nn.Sequential(ConvNormAct(in_channels, 32, stride=2), ConvNormAct(32, 64))
        self.blocks = nn.ModuleList()
        channels, reached, dilation = 64, 2, 1
        for widths, stride in (*((w, 2) for w in ENTRY), *[(MIDDLE, 1)] * middle_blocks, (EXIT, 2)):
            kept = stride if reached < output_stride else 1
            self.blocks.append(XceptionBlock(channels, widths, stride=kept, dilation=dilation))
            reached *= kept
            dilation *= stride // kept
            channels = widths[-1]
        self.last = nn.Sequential(*(SeparableConv(a, b, dilation=dilation) for a, b in pairwise((channels, *LAST))))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = EPSILON

    def forward(
        self, image: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n 256 h/4 w/4"], Float[Tensor, "n 2048 h/s w/s"]]:
        """Return fine and deep features; of the fine ones, ReLU is not yet taken."""
        first, second, *rest = self.blocks
        assert isinstance(second, XceptionBlock)
        fine, x = second.with_fine(first(self.stem(image)))
        for block in rest:
            x = block(x)
        return fine, self.last(x)


def load_imagenet(encoder: AlignedXception) -> Normalisation:
    """Load the authors' ImageNet weights, as timm keeps them on a hub, in place; return how they want images.

    Raises:
        ConfigError: they cannot be fetched; the encoder is no Xception-65.
    """
    with weights.hub_errors(f"the ImageNet weights of {HUB_NAME!r}"):
        trained = timm.create_model(HUB_NAME, pretrained=True, num_classes=0)
    encoder.load_state_dict(renamed(trained.state_dict(), encoder))
    return Normalisation(trained.pretrained_cfg["mean"], trained.pretrained_cfg["std"])


def renamed(state: Mapping[str, Tensor], encoder: AlignedXception) -> dict[str, Tensor]:
    """Return the tensors of timm's `xception65` under the names of `encoder`: their order is the same.

    Those of the first convolution are for the encoder's channels, see `weights.for_channels_of`.

    Raises:
        ConfigError: number or shapes differ, as for another number of middle blocks.
    """
    own = encoder.state_dict()
    given = [weights.for_channels_of(a, b) for a, b in zip(own.values(), state.values(), strict=False)]
    if len(own) != len(state) or any(a.shape != b.shape for a, b in zip(own.values(), given, strict=True)):
        raise ConfigError(
            f"the ImageNet weights are those of Xception-65; they need middle_blocks={MIDDLE_BLOCKS}, "
            "or set model.pretrained to none"
        )
    return dict(zip(own, given, strict=True))
