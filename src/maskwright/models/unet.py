"""U-Net, Ronneberger et al. 2015.

Departs from the paper in: same padding (the output has the input's size) and batch normalisation after every
convolution. 31,043,521 parameters at the defaults.
"""

from ..layers import EncoderDecoder


class UNet(EncoderDecoder):
    """Five-level U-Net.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        width: channels of the first level.
        upsampling: "transposed" or "bilinear".
    """

    def __init__(
        self, in_channels: int = 3, out_channels: int = 1, *, width: int = 64, upsampling: str = "transposed"
    ) -> None:
        super().__init__(in_channels, out_channels, width=width, levels=5, upsampling=upsampling)
