"""DeepLab v1, Chen et al. 2015, in its form LargeFOV: VGG-16 with atrous convolutions, logits of stride 8.

The last two poolings keep the resolution; conv5 has dilation 2, and fc6 is a 3×3 convolution of dilation 12 with 1024
channels, which sees as far as the published 7×7 one of stride 32. The logits are enlarged bilinearly; the paper's dense
CRF is a refiner of its own, `dense_crf`.

Departs from the authors' files in: the first three poolings are 2×2, as in VGG-16, so that features lie in the middle
of their 8×8 pixels; no averaging after pool5; training sees the enlarged logits, not labels reduced to stride 8.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ..layers import resize
from .vgg import VGG16, WIDTH, score_layer


class DeepLabV1(nn.Module):
    """DeepLab-LargeFOV. 20,505,429 parameters with 21 classes.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        width: channels of the first of VGG-16's stages; the others have up to 8 times as many.
        fc_width: channels of fc6 and fc7.
    """

    stride = 8

    def __init__(
        self, in_channels: int = 3, out_channels: int = 1, *, width: int = WIDTH, fc_width: int = 1024
    ) -> None:
        super().__init__()
        self.encoder = VGG16(
            in_channels, width=width, fc_width=fc_width, fc_kernel=3, fc_dilation=12, output_stride=self.stride
        )
        self.head = score_layer(fc_width, out_channels)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of 8."""
        return resize(self.head(self.encoder(image)[-1]), image.shape[-2:])
