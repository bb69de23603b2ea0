"""ResNet34-UNet: the residual blocks of ResNet-34 (He et al. 2016) as the encoder of a U-Net.

Departs from ResNet-34 in: a 3×3 stem of stride 1 without pooling, so the finest features keep the image's size and the
deepest have stride 8. The 3-4-6-3 residual blocks are torchvision's; the decoder upsamples by transposed convolution.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from ..layers import ConvNormAct, SkipUp

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Channels and number of residual blocks of each encoder stage."""


def residual_stage(in_channels: int, out_channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    """Residual blocks, the first of which changes channels and stride through a 1×1 projection."""
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        shortcut = ConvNormAct(in_channels, out_channels, kernel_size=1, stride=stride, act=False)
    first = BasicBlock(in_channels, out_channels, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)))


class ResNet34UNet(nn.Module):
    """Residual encoder, U-Net decoder.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        upsampling: "transposed" or "bilinear".
    """

    stride = 8

    def __init__(self, in_channels: int = 3, out_channels: int = 1, *, upsampling: str = "transposed") -> None:
        super().__init__()
        widths = [width for width, _ in STAGES]
        self.stem = ConvNormAct(in_channels, widths[0])
        self.encoder = nn.ModuleList(
            residual_stage(widths[max(i - 1, 0)], width, blocks, stride=1 if i == 0 else 2)
            for i, (width, blocks) in enumerate(STAGES)
        )
        self.decoder = nn.ModuleList(
            SkipUp(deep, shallow, shallow, upsampling=upsampling)
            for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of 8."""
        x = self.stem(image)
        features = []
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        x = features.pop()
        for up in self.decoder:
            x = up(x, features.pop())
        return self.head(x)
