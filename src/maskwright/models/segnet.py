"""SegNet, Badrinarayanan et al. 2017: the 13 convolutions of VGG-16 down, 13 up, with max-unpooling between.

Each decoder stage puts values back where the encoder's 2×2 max-pooling took them from, zeros elsewhere, and mirrors the
encoder's convolutions. Batch normalisation and ReLU follow every convolution but the last, which gives the logits. Any
number of classes, such as the 11 of CamVid and the 21 of Pascal VOC.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ..layers import max_pool, max_unpool
from .vgg import STAGES, WIDTH, conv_norm_relu, score_layer, vgg16_stages


class SegNet(nn.Module):
    """13 convolutions down, 13 up. 29,449,355 parameters with 11 classes, 29,455,125 with 21.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        width: channels of the first and the last stage; those between have up to 8 times as many.
    """

    stride = 32

    def __init__(self, in_channels: int = 3, out_channels: int = 1, *, width: int = WIDTH) -> None:
        super().__init__()
        self.encoder = vgg16_stages(in_channels, width=width, batch_norm=True)
        widths = [width * times for times, _ in STAGES]
        self.decoder = nn.ModuleList()
        for stage in range(len(STAGES) - 1, -1, -1):
            own, count = widths[stage], STAGES[stage][1]
            layers = [conv_norm_relu(own, own) for _ in range(count - 1)]
            if stage > 0:
                layers.append(conv_norm_relu(own, widths[stage - 1]))
            self.decoder.append(nn.Sequential(*layers))
        self.head = score_layer(width, out_channels, kernel_size=3)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of 32."""
        x = image
        taken_from = []
        for stage in self.encoder:
            x, indices = max_pool(stage(x))
            taken_from.append(indices)
        for stage in self.decoder:
            x = stage(max_unpool(x, taken_from.pop()))
        return self.head(x)
