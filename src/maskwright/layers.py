"""Layers that several networks share: convolutions, atrous pyramid, max-unpooling, the U-shaped encoder-decoder."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNormAct(nn.Sequential):
    """k×k convolution with same padding, batch normalisation, ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd side of the kernel, pixels.
        stride: step of the convolution, pixels.
        dilation: distance of the kernel's taps, pixels (atrous convolution).
        groups: of channels that do not mix; `in_channels` makes it depthwise.
        bias: whether the convolution has a bias although batch normalisation follows.
        act: whether ReLU follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        act: bool = True,
    ) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias),
            nn.BatchNorm2d(out_channels),
            *([nn.ReLU(inplace=True)] if act else []),
        )


class SeparableConv(nn.Sequential):
    """Depthwise-separable convolution: a k×k one of each channel by itself, then a 1×1 one across channels.

    Batch normalisation follows both.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd side of the depthwise kernel, pixels.
        stride: step of the depthwise convolution, pixels.
        dilation: distance of its taps, pixels.
        act: whether ReLU follows each of the two.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__(
            ConvNormAct(
                in_channels,
                in_channels,
                kernel_size=kernel_size,
                stride=stride,
                dilation=dilation,
                groups=in_channels,
                act=act,
            ),
            ConvNormAct(in_channels, out_channels, kernel_size=1, act=act),
        )


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling of DeepLab v3 (Chen et al. 2017): convolutions of several dilations side by side,
    beside a 1×1 one and the mean of the whole image, projected to `out_channels`.

    Args:
        in_channels: channels of the features.
        out_channels: channels of each branch, and of the result.
        rates: dilations of the 3×3 branches, features.
        separable: 3×3 branches are depthwise-separable, as in DeepLab v3+ (Chen et al. 2018).
        dropout: share of the result's values that training drops.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        *,
        rates: Sequence[int],
        separable: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        unit = SeparableConv if separable else ConvNormAct
        self.branches = nn.ModuleList(
            [
                ConvNormAct(in_channels, out_channels, kernel_size=1),
                *(unit(in_channels, out_channels, dilation=rate) for rate in rates),
            ]
        )
        self.image_mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNormAct(in_channels, out_channels, kernel_size=1))
        self.project = nn.Sequential(
            ConvNormAct(out_channels * (len(rates) + 2), out_channels, kernel_size=1), nn.Dropout(dropout)
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o h w"]:
        """Return features of the same size."""
        mean = self.image_mean(x).expand(-1, -1, *x.shape[-2:])
        return self.project(torch.cat([*(branch(x) for branch in self.branches), mean], dim=1))


def max_pool(x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n c h/2 w/2"], Int64[Tensor, "n c h/2 w/2"]]:
    """Return the largest value of each 2×2 block, and where it was, for `max_unpool`; the sides of `x` are even."""
    return F.max_pool2d(x, 2, return_indices=True)


def max_unpool(x: Float[Tensor, "n c h w"], taken_from: Int64[Tensor, "n c h w"]) -> Float[Tensor, "n c 2h 2w"]:
    """Put values back where `max_pool` took them from, zeros elsewhere (SegNet, Badrinarayanan et al. 2017)."""
    return F.max_unpool2d(x, taken_from, (2, 2))


def resize(x: Float[Tensor, "n c h w"], size: Sequence[int]) -> Float[Tensor, "n c H W"]:
    """Resize features or logits to `size` = (height, width), bilinear, `align_corners=False`."""
    return x if x.shape[-2:] == tuple(size) else F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


class DoubleConv(nn.Sequential):
    """Two 3×3 conv-norm-act layers with bias, the unit of the U-Net."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            ConvNormAct(in_channels, out_channels, bias=True),
            ConvNormAct(out_channels, out_channels, bias=True),
        )


class SkipUp(nn.Module):
    """Decoder step of the U-Net: upsample by two, concatenate the encoder's features, two convolutions.

    Args:
        in_channels: channels of the deeper features.
        skip_channels: channels of the encoder's features at the next finer stride.
        out_channels: channels of the result.
        upsampling: "transposed" (2×2 transposed convolution to `out_channels`) or "bilinear"
            (`align_corners=False`, all channels kept).
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, *, upsampling: str) -> None:
        super().__init__()
        if upsampling == "transposed":
            self.up: nn.Module = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
            up_channels = out_channels
        elif upsampling == "bilinear":
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            up_channels = in_channels
        else:
            raise ValueError(f"upsampling must be 'transposed' or 'bilinear', got {upsampling!r}")
        self.conv = DoubleConv(up_channels + skip_channels, out_channels)

    def forward(self, x: Float[Tensor, "n c h w"], skip: Float[Tensor, "n s H W"]) -> Float[Tensor, "n o H W"]:
        """Return features at the size of `skip`, which is twice that of `x`."""
        return self.conv(torch.cat((skip, self.up(x)), dim=1))


class EncoderDecoder(nn.Module):
    """The U-shaped network: `levels` double convolutions going down, one `SkipUp` per level going up, a 1×1 head.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        width: channels of the first level; doubles at each 2×2 max-pooling.
        levels: number of resolutions, the input's included.
        upsampling: "transposed" or "bilinear".

    The sides of the input must be multiples of `stride` = 2 ** (levels − 1) pixels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, width: int, levels: int, upsampling: str = "transposed"
    ) -> None:
        super().__init__()
        if width < 1 or levels < 1:
            raise ValueError(f"width and levels must be at least 1, got {width} and {levels}")
        widths = [width * 2**level for level in range(levels)]
        self.stride = 2 ** (levels - 1)
        self.stem = DoubleConv(in_channels, widths[0])
        self.down = nn.ModuleList(DoubleConv(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.up = nn.ModuleList(
            SkipUp(deep, shallow, shallow, upsampling=upsampling)
            for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return the head's output at the size of `x`."""
        features = [self.stem(x)]
        for down in self.down:
            features.append(down(F.max_pool2d(features[-1], 2)))
        x = features.pop()
        for up in self.up:
            x = up(x, features.pop())
        return self.head(x)


def pad_to_multiple(x: Float[Tensor, "n c h w"], multiple: int, *, smallest: int = 0) -> Float[Tensor, "n c H W"]:
    """Repeat the edge of `x` at the bottom and the right until both sides are multiples of `multiple` pixels.

    They are at least `smallest`, itself a multiple.
    """
    height, width = x.shape[-2:]
    missing_h = max(-height % multiple, smallest - height)
    missing_w = max(-width % multiple, smallest - width)
    if missing_h or missing_w:
        x = F.pad(x, (0, missing_w, 0, missing_h), mode="replicate")
    return x
