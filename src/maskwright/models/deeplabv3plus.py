"""DeepLab v3+, Chen et al. 2018, on aligned Xception-65.

Atrous spatial pyramid pooling over the encoder's deep features; its result is upsampled to stride 4, concatenated with
the encoder's fine features projected to 48 channels, and refined by two separable 3×3 convolutions of 256 channels. As
in the authors' released network, the fine features are those before the stride of the second block. Departs from it
in: bilinear upsampling with `align_corners=False`. 41,055,413 parameters with 21 classes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import ASPP, ConvNormAct, SeparableConv, resize
from . import xception
from .weights import Normalisation
from .xception import AlignedXception

WIDTH = 256
FINE_WIDTH = 48
RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Output stride → dilations of the pyramid."""


class DeepLabV3Plus(nn.Module):
    """Xception-65, atrous spatial pyramid pooling, a decoder at stride 4.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        output_stride: pixels, of the encoder's deep features: 16, or 8, which is more precise and four times the work.
        middle_blocks: of the encoder; 16 makes it Xception-65.

    Raises:
        ValueError: another stride; a negative number of blocks.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        *,
        output_stride: int = 16,
        middle_blocks: int = xception.MIDDLE_BLOCKS,
    ) -> None:
        super().__init__()
        if output_stride not in RATES:
            raise ValueError(f"output_stride must be 16 or 8, got {output_stride}")
        self.stride = output_stride
        self.encoder = AlignedXception(in_channels, output_stride=output_stride, middle_blocks=middle_blocks)
        self.pyramid = ASPP(xception.CHANNELS, WIDTH, rates=RATES[output_stride], separable=True)
        self.project = ConvNormAct(xception.FINE_CHANNELS, FINE_WIDTH, kernel_size=1)
        self.decoder = nn.Sequential(SeparableConv(WIDTH + FINE_WIDTH, WIDTH), SeparableConv(WIDTH, WIDTH))
        self.head = nn.Conv2d(WIDTH, out_channels, 1)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of `output_stride`."""
        fine, deep = self.encoder(image)
        fine = self.project(fine)
        x = torch.cat((resize(self.pyramid(deep), fine.shape[-2:]), fine), dim=1)
        return resize(self.head(self.decoder(x)), image.shape[-2:])


def load_imagenet(net: nn.Module) -> Normalisation:
    """Load ImageNet weights into the encoder, as `xception.load_imagenet`."""
    assert isinstance(net, DeepLabV3Plus)
    return xception.load_imagenet(net.encoder)
