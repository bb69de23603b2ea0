"""DeepLab v2, Chen et al. 2017: an atrous ResNet, atrous spatial pyramid pooling, the maximum over several scales.

Stages 4 and 5 of the ResNet have dilations 2 and 4 in place of strides, which leaves stride 8. Four 3×3 convolutions of
dilations 6, 12, 18 and 24 give logits side by side, which are added. The network sees the image at several scales; each
pixel takes the largest logit of each class. The paper's dense CRF is a refiner of its own, `dense_crf`.

Departs from the paper in: torchvision's residual blocks, which have their stride in the 3×3 convolution, so that the
first block of a dilated stage keeps the dilation of the stage before; batch normalisation is trained, not frozen; the
loss sees the maximum alone and not each scale, too.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model

from .vgg import score_layer
from .weights import IMAGENET, Normalisation, adapt_first_convolution, load_encoder, torchvision_state

ENCODERS = ("resnet50", "resnet101", "resnet152")
RATES = (6, 12, 18, 24)
SCALES = (0.5, 0.75, 1.0)
FEATURES = 2048
"""Channels that each of `ENCODERS` gives."""


class DeepLabV2(nn.Module):
    """DeepLab v2. 44,048,532 parameters with ResNet-101 and 21 classes.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits; 1 means binary.
        encoder: torchvision's name of the ResNet, one of `ENCODERS`.
        scales: of the image, whose largest logits are taken; `"1"` sees it once, with 55 % of the work. As text,
            separated by commas.

    Raises:
        ValueError: another encoder; scales that are not positive numbers.
    """

    stride = 8

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        *,
        encoder: str = "resnet101",
        scales: str | float | Sequence[float] = SCALES,
    ) -> None:
        super().__init__()
        self.scales = read_scales(scales)
        self.encoder_name = encoder
        self.encoder = atrous_resnet(encoder, in_channels)
        self.head = nn.ModuleList(score_layer(FEATURES, out_channels, kernel_size=3, dilation=rate) for rate in RATES)

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`, whose sides are multiples of 8."""
        height, width = image.shape[-2:]
        # The ResNet's features lie on every eighth pixel from the first on, hence sides of 8·n + 1, as the authors have.
        image = F.pad(image, (0, 1, 0, 1), mode="replicate")
        sizes = {self._size(image, scale) for scale in self.scales}
        logits = [_resize_grid(self._logits(_resize_grid(image, size)), image.shape[-2:]) for size in sorted(sizes)]
        return torch.stack(logits).amax(dim=0)[..., :height, :width]

    def _size(self, image: Tensor, scale: float) -> tuple[int, int]:
        height, width = (self.stride * max(1, round(scale * (side - 1) / self.stride)) + 1 for side in image.shape[-2:])
        return height, width

    def _logits(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k H W"]:
        features = self.encoder(image)
        return torch.stack([branch(features) for branch in self.head]).sum(dim=0)


def read_scales(scales: str | float | Sequence[float]) -> tuple[float, ...]:
    """Return the scales that text such as `0.5,0.75,1`, a number or a sequence of numbers says.

    Raises:
        ValueError: there are none, or one is not a positive number.
    """
    parts = scales.split(",") if isinstance(scales, str) else scales if isinstance(scales, Sequence) else [scales]
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if not values or not all(0 < value < math.inf for value in values):
        raise ValueError(f"scales must be positive numbers such as 0.5,0.75,1, got {scales!r}")
    return values


def atrous_resnet(name: str, in_channels: int) -> nn.Sequential:
    """Return torchvision's ResNet without its classifier, dilated to stride 8, under torchvision's names.

    Raises:
        ValueError: the name is none of `ENCODERS`.
    """
    if name not in ENCODERS:
        raise ValueError(f"encoder must be one of {', '.join(ENCODERS)}, got {name!r}")
    resnet = get_model(name, weights=None, replace_stride_with_dilation=[False, True, True])
    layers = OrderedDict((key, layer) for key, layer in resnet.named_children() if key not in ("avgpool", "fc"))
    encoder = nn.Sequential(layers)
    adapt_first_convolution(encoder, in_channels, learnt=False)
    return encoder


def load_resnet(network: nn.Module) -> Normalisation:
    """Load torchvision's ImageNet weights into the encoder of a `DeepLabV2`, in place.

    Raises:
        ConfigError: they cannot be had.
    """
    assert isinstance(network, DeepLabV2)
    name = network.encoder_name
    load_encoder(network.encoder, torchvision_state(name), what=f"the ImageNet weights of {name!r}")
    return IMAGENET


def _resize_grid(x: Float[Tensor, "n c h w"], size: Sequence[int]) -> Float[Tensor, "n c H W"]:
    """Resize so that the outermost pixels, or features, stay in the corners: bilinear, `align_corners=True`."""
    return x if x.shape[-2:] == tuple(size) else F.interpolate(x, tuple(size), mode="bilinear", align_corners=True)
