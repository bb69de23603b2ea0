"""VGG-16, Simonyan & Zisserman 2015: the encoder of FCN, SegNet and DeepLab v1.

Thirteen 3×3 convolutions in five stages, each of which a 2×2 max-pooling ends, then the fully connected layers fc6 and
fc7 as convolutions (Long et al. 2015). Departs from the paper in: the last poolings may keep the resolution, and what
follows is dilated (Chen et al. 2015). Such a pooling sees 3×3 pixels, as one of 2×2 would move the features by half a
pixel. Tensors follow, in order and shape, those of torchvision's `vgg16` and `vgg16_bn`, whose weights therefore fit.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..layers import ConvNormAct
from .weights import IMAGENET, Normalisation, for_channels_of, torchvision_state

STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Channels, in widths, and convolutions of each stage."""
WIDTH = 64
FC_WIDTH = 4096
FC_KERNEL = 7
"""Of the published network: channels of the first stage and of fc6 and fc7, side of the kernel of fc6."""


def he_normal(layers: nn.Sequential) -> nn.Sequential:
    """Draw the weights of the first layer, a convolution, as He et al. 2015: values keep their size over ReLUs."""
    nn.init.kaiming_normal_(layers.get_parameter("0.weight"), nonlinearity="relu")
    nn.init.zeros_(layers.get_parameter("0.bias"))
    return layers


def conv_relu(in_channels: int, out_channels: int, *, kernel_size: int = 3, dilation: int = 1) -> nn.Sequential:
    """Convolution with same padding and ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=dilation * (kernel_size // 2), dilation=dilation)
    return he_normal(nn.Sequential(conv, nn.ReLU(inplace=True)))


def conv_norm_relu(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """3×3 convolution with bias, batch normalisation and ReLU."""
    return he_normal(ConvNormAct(in_channels, out_channels, dilation=dilation, bias=True))


def score_layer(in_channels: int, out_channels: int, *, kernel_size: int = 1, dilation: int = 1) -> nn.Conv2d:
    """The convolution that gives logits, from small random weights (standard deviation 0.01, as Chen et al. 2015)."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=dilation * (kernel_size // 2), dilation=dilation)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def vgg16_stages(
    in_channels: int, *, width: int = WIDTH, batch_norm: bool = False, dilations: tuple[int, ...] = (1,) * len(STAGES)
) -> nn.ModuleList:
    """The convolutions of VGG-16, without the poolings between its five stages.

    Args:
        in_channels: channels of the image.
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        batch_norm: whether batch normalisation stands between convolution and ReLU.
        dilations: of the convolutions of each stage, features.

    Raises:
        ValueError: `width` is below 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    layer = conv_norm_relu if batch_norm else conv_relu
    stages = nn.ModuleList()
    for (times, count), dilation in zip(STAGES, dilations, strict=True):
        widths = (in_channels, *(width * times,) * count)
        stages.append(nn.Sequential(*(layer(a, b, dilation=dilation) for a, b in pairwise(widths))))
        in_channels = widths[-1]
    return stages


class VGG16(nn.Module):
    """VGG-16 with fc6 and fc7 as convolutions, each with dropout of one half, and without the last layer, fc8.

    Args:
        in_channels: channels of the image.
        width: channels of the first stage, as of `vgg16_stages`.
        fc_width: channels of fc6 and fc7.
        fc_kernel: odd side of the kernel of fc6, features.
        fc_dilation: distance of its taps, features.
        output_stride: of the last features, pixels: 32, 16 or 8; poolings beyond it keep the resolution.

    Raises:
        ValueError: a width is below 1.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        width: int = WIDTH,
        fc_width: int = FC_WIDTH,
        fc_kernel: int = FC_KERNEL,
        fc_dilation: int = 1,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        if fc_width < 1:
            raise ValueError(f"fc_width must be at least 1, got {fc_width}")
        strides = [2**number for number in range(1, len(STAGES) + 1)]
        self.halves = [stride <= output_stride for stride in strides]
        dilations = tuple(max(1, stride // 2 // output_stride) for stride in strides)
        self.stages = vgg16_stages(in_channels, width=width, dilations=dilations)
        deepest = width * STAGES[-1][0]
        self.fc6 = conv_relu(deepest, fc_width, kernel_size=fc_kernel, dilation=fc_dilation)
        self.fc7 = conv_relu(fc_width, fc_width, kernel_size=1)

    def forward(self, image: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """Return the features after each of the five poolings, and of fc7; sides are multiples of the stride."""
        features = [image]
        for stage, halve in zip(self.stages, self.halves, strict=True):
            x = stage(features[-1])
            features.append(F.max_pool2d(x, 2) if halve else F.max_pool2d(x, 3, stride=1, padding=1))
        x = F.dropout(self.fc6(features[-1]), training=self.training)
        return [*features[1:], F.dropout(self.fc7(x), training=self.training)]


def load_vgg16(network: nn.Module) -> Normalisation:
    """Load torchvision's `vgg16` into `network.encoder`, a `VGG16`, in place; fc8 is left out.

    A smaller fc6 or fc7 takes filters and taps at equal distances from those of the published one, as the authors of
    DeepLab did: 3×3 of 7×7 taps are the corners, the middles of the sides and the centre.

    Raises:
        ConfigError: the weights cannot be had, or the network has other widths.
    """
    encoder = network.get_submodule("encoder")
    assert isinstance(encoder, VGG16)
    state = torchvision_state("vgg16")
    load_stages(encoder.stages, state)
    for own, given, side in (("fc6.0", "classifier.0", FC_KERNEL), ("fc7.0", "classifier.3", 1)):
        weight, bias = state[f"{given}.weight"], state[f"{given}.bias"]
        for name, value in (("weight", weight.view(len(weight), -1, side, side)), ("bias", bias)):
            target = encoder.get_parameter(f"{own}.{name}")
            _copy(target, _thinned(value, target.shape))
    return IMAGENET


def load_vgg16_bn(network: nn.Module) -> Normalisation:
    """Load torchvision's `vgg16_bn` into `network.encoder`, what `vgg16_stages` returns, in place.

    Raises:
        ConfigError: as `load_vgg16`.
    """
    load_stages(network.get_submodule("encoder"), torchvision_state("vgg16_bn"))
    return IMAGENET


def load_stages(stages: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy the convolutions, and batch normalisations, of torchvision's VGG-16 into `stages`.

    Args:
        stages: what `vgg16_stages` returns; of any number of input channels, see `for_channels_of`.
        state: torchvision's, in its own order.

    Raises:
        ConfigError: `stages` have another width.
    """
    # torchvision's files are older than the count of batches, which no result depends on.
    own = [value for key, value in stages.state_dict().items() if not key.endswith("num_batches_tracked")]
    given = [v for k, v in state.items() if k.startswith("features.") and not k.endswith("num_batches_tracked")]
    given[0] = for_channels_of(own[0], given[0])
    for target, value in zip(own, given, strict=True):
        _copy(target, value)


def _thinned(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Take entries at equal distances, first and last among them, along each axis that is longer than `shape` says."""
    for axis, (has, wants) in enumerate(zip(tensor.shape, shape, strict=True)):
        if wants < has:
            taken = torch.linspace(0, has - 1, wants, dtype=torch.float64, device=tensor.device).round().long()
            tensor = tensor.index_select(axis, taken)
    return tensor


def _copy(target: Tensor, value: Tensor) -> None:
    if target.shape != value.shape:
        raise ConfigError(
            f"the ImageNet weights of VGG-16 do not fit: a layer has {tuple(target.shape)}, the weights "
            f"{tuple(value.shape)}; leave the options width at {WIDTH} and fc_width at {FC_WIDTH} or less, or set "
            "model.pretrained to none"
        )
    with torch.no_grad():
        target.copy_(value)
