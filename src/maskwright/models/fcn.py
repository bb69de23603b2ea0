"""FCN-32s, FCN-16s and FCN-8s, Long et al. 2015: VGG-16 made fully convolutional, with scores of finer features added.

The score of fc7, at stride 32, is upsampled by transposed convolutions that start as bilinear interpolation; FCN-16s
adds a score of pool4 at stride 16, FCN-8s one of pool3 at stride 8, too, which start at zero.

Departs from the paper in: same padding instead of 100 pixels around the image; the border is repeated before each
upsampling, so that logits do not fade there; fc7's score starts from small random weights, for all of the network to
learn from the first step; all upsampling is learned; the finer scores learn together with the first, not one net after
the other.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .vgg import FC_WIDTH, STAGES, VGG16, WIDTH, score_layer


def bilinear_up(channels: int, factor: int) -> nn.Sequential:
    """Transposed convolution that starts as bilinear upsampling of each channel (`align_corners=False`).

    Args:
        channels: of input and output.
        factor: by which the sides grow, even; the kernel has twice that side.
    """
    # One cell that repeats the border is added on each side and, enlarged, cut off again.
    cut = factor + factor // 2
    up = nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=cut, bias=False)
    taps = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
    with torch.no_grad():
        up.weight.copy_(torch.eye(channels)[..., None, None] * taps[:, None] * taps)
    return nn.Sequential(nn.ReplicationPad2d(1), up)


class FCN(nn.Module):
    """What FCN-32s, FCN-16s and FCN-8s share; `finest` tells them apart.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        width: channels of the first of VGG-16's stages; the others have up to 8 times as many.
        fc_width: channels of fc6 and fc7.
    """

    stride = 32
    finest = 32
    """Stride of the finest features that are scored, pixels."""

    def __init__(
        self, in_channels: int = 3, out_channels: int = 1, *, width: int = WIDTH, fc_width: int = FC_WIDTH
    ) -> None:
        super().__init__()
        self.encoder = VGG16(in_channels, width=width, fc_width=fc_width)
        self.score = score_layer(fc_width, out_channels)
        self.skip_scores = nn.ModuleList()
        self.ups = nn.ModuleList()
        # Stages 4 and 3 end at strides 16 and 8.
        for stage, stride in ((3, 16), (2, 8)):
            if stride >= self.finest:
                skip = nn.Conv2d(width * STAGES[stage][0], out_channels, 1)
                nn.init.zeros_(skip.weight)
                assert skip.bias is not None
                nn.init.zeros_(skip.bias)
                self.skip_scores.append(skip)
                self.ups.append(bilinear_up(out_channels, 2))
        self.last_up = bilinear_up(out_channels, self.finest)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of 32."""
        *_, pool3, pool4, _, fc7 = self.encoder(image)
        x = self.score(fc7)
        # FCN-32s has no skips, FCN-16s the first only.
        for up, score, features in zip(self.ups, self.skip_scores, (pool4, pool3), strict=False):
            x = up(x) + score(features)
        return self.last_up(x)


class FCN32s(FCN):
    """FCN without skips: logits of stride 32, enlarged. 136,152,917 parameters with 21 classes."""

    finest = 32


class FCN16s(FCN):
    """FCN with the scores of pool4. 134,815,994 parameters with 21 classes."""

    finest = 16


class FCN8s(FCN):
    """FCN with the scores of pool4 and pool3. 134,489,759 parameters with 21 classes."""

    finest = 8
