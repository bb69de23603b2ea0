"""What CSPN and DySPN share: the network that reads image and coarse mask, and the checks of their arguments."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..layers import EncoderDecoder, pad_to_multiple


class AffinityNet(nn.Module):
    """Small U-shaped network over image, coarse probabilities and their entropy.

    Its head starts at zero: affinity zero, attention one half, for which CSPN and DySPN are the identity.

    Args:
        logit_channels: channels of the coarse logits, 1 for binary.
        out_channels: affinity (and attention) channels.
        image_channels: channels of the image.
        width: channels of the finest level.
        levels: number of resolutions; the stride is 2 ** (levels − 1) pixels.
        features: a network whose maps (N, feature_channels, H, W) of the image are read too, such as one with a
            pretrained encoder: it knows edges and objects that few training images do not teach.
        feature_channels: number of those maps.
    """

    def __init__(
        self,
        logit_channels: int,
        out_channels: int,
        *,
        image_channels: int = 3,
        width: int = 16,
        levels: int = 4,
        features: nn.Module | None = None,
        feature_channels: int = 0,
    ) -> None:
        super().__init__()
        self.logit_channels = logit_channels
        self.features = features
        in_channels = image_channels + logit_channels + 1 + feature_channels
        self.net = EncoderDecoder(in_channels, out_channels, width=width, levels=levels)
        nn.init.zeros_(self.head.weight)
        self.shift_head(0.0)

    def shift_head(self, value: float) -> None:
        """Set the bias of the last layer, all channels alike."""
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, value)

    @property
    def head(self) -> nn.Conv2d:
        """The last layer, a 1×1 convolution."""
        return self.net.head

    def forward(self, image: Float[Tensor, "n i h w"], logits: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return raw affinities at the size of `image`, in [0, 1]; of `logits` only probabilities are read."""
        height, width = image.shape[-2:]
        probabilities, entropy = probabilities_and_entropy(logits)
        maps = [(image - 0.5) * 4, probabilities, entropy]
        if self.features is not None:
            maps.append(self.features(image))
        return self.net(pad_to_multiple(torch.cat(maps, dim=1), self.net.stride))[..., :height, :width]


def probabilities_and_entropy(logits: Float[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
    """Return probabilities (N, C, H, W) and their entropy (N, 1, H, W), scaled to [0, 1]; sigmoid where C = 1."""
    logits = float_logits(logits)
    if logits.shape[1] == 1:
        probabilities = logits.sigmoid()
        both = torch.cat((probabilities, 1 - probabilities), dim=1)
    else:
        probabilities = both = logits.softmax(1)
    # Away from 0, where a sigmoid or softmax saturates: there the gradient of p·log p is not finite.
    both = both.clamp_min(torch.finfo(both.dtype).tiny)
    entropy = torch.special.entr(both).sum(1, keepdim=True) / math.log(both.shape[1])
    return probabilities, entropy


def float_logits(x: Tensor) -> Tensor:
    """Half precisions to float32, float32 and float64 as they are: propagation needs the bits."""
    return x if x.dtype == torch.float64 else x.float()


def kernel_of(logits: Tensor, affinity: Tensor) -> int:
    """Return the kernel side K that `affinity` (N, K·K − 1, H, W) belongs to.

    Raises:
        ValueError: the shapes do not fit `logits`, or the channels are not K·K − 1 for an odd K ≥ 3.
    """
    kernel_size = math.isqrt(affinity.shape[1] + 1) if affinity.ndim == 4 else 0
    fits = logits.ndim == 4 and affinity.shape[0] == logits.shape[0] and affinity.shape[-2:] == logits.shape[-2:]
    if not fits or kernel_size < 3 or kernel_size % 2 == 0 or kernel_size**2 - 1 != affinity.shape[1]:
        raise ValueError(
            f"affinity is {tuple(affinity.shape)}, logits are {tuple(logits.shape)}; expected (N, K·K − 1, "
            "H, W) for an odd K ≥ 3 and logits (N, C, H, W) of the same N, H, W"
        )
    return kernel_size
