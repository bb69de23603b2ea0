"""SegNet-lite: the SegNet of Badrinarayanan et al. 2017 with one convolution per level and four levels.

The encoder is convolution, batch normalisation, ReLU and 2×2 max-pooling per level; the decoder puts every value back
where the pooling took it from (max-unpooling with the stored indices) and convolves. No skip connections.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ..layers import ConvNormAct, max_pool, max_unpool

WIDTHS = (32, 64, 128, 256)


class SegNetLite(nn.Module):
    """3→32→64→128→256 down, 256→128→64→32→32 up, 1×1 head.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
    """

    stride = 16

    def __init__(self, in_channels: int = 3, out_channels: int = 11) -> None:
        super().__init__()
        down = (in_channels, *WIDTHS)
        up = (*WIDTHS[::-1], WIDTHS[0])
        self.encoder = nn.ModuleList(ConvNormAct(a, b, bias=True) for a, b in zip(down[:-1], down[1:], strict=True))
        self.decoder = nn.ModuleList(ConvNormAct(a, b, bias=True) for a, b in zip(up[:-1], up[1:], strict=True))
        self.head = nn.Conv2d(up[-1], out_channels, 1)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of 16."""
        x = image
        taken_from = []
        for level in self.encoder:
            x, indices = max_pool(level(x))
            taken_from.append(indices)
        for level in self.decoder:
            x = level(max_unpool(x, taken_from.pop()))
        return self.head(x)
