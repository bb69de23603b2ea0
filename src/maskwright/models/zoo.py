"""From a model's name to the model: one literal table, and the adapter to segmentation-models-pytorch."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import segmentation_models_pytorch as smp
from torch import nn

from ..errors import ConfigError
from . import weights
from .resnet34_unet import ResNet34UNet
from .segmenter import Segmenter
from .segnet_lite import SegNetLite
from .unet import UNet

Pretrained = Literal["none", "imagenet", "imagenet-offline"]


class Network(Protocol):
    """What a builder returns: an `nn.Module` that knows its stride in pixels."""

    stride: int


MODELS: dict[str, Callable[..., Network]] = {
    "unet": UNet,
    "resnet34_unet": ResNet34UNet,
    "segnet_lite": SegNetLite,
}

SMP_STRIDE = 32
CENTRED = ((0.5,) * 3, (0.25,) * 3)
"""Mean and standard deviation for networks that start from random weights."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network.

    Args:
        name: `unet`, `resnet34_unet`, `segnet_lite`, or `smp:ARCHITECTURE/ENCODER` such as `smp:Unet/resnet34`.
        pretrained: encoder weights of `smp:` models: `none`, `imagenet` (from a hub), or `imagenet-offline`
            (from the extra `offline-weights`; EfficientNet-Lite0, 1 and 2).
        options: arguments of the architecture, such as `{width: 16, upsampling: bilinear}` for `unet`.
    """

    name: str = "unet"
    pretrained: Pretrained = "none"
    options: dict[str, int | float | str | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pretrained not in get_args(Pretrained):
            raise ConfigError(
                f"model.pretrained must be one of {', '.join(get_args(Pretrained))}; got {self.pretrained!r}"
            )


def logit_channels(num_classes: int) -> int:
    """Channels of the logits: 1 (sigmoid) for background and one foreground class, else one per class."""
    return 1 if num_classes == 2 else num_classes


def build(config: ModelConfig | str, *, num_classes: int) -> Segmenter:
    """Build a segmenter.

    Args:
        config: a `ModelConfig`, or just the name.
        num_classes: classes with the background, at least 2; 2 gives one logit channel.

    Raises:
        ConfigError: unknown name, encoder or option; weights that cannot be had.
    """
    if isinstance(config, str):
        config = ModelConfig(name=config)
    if num_classes < 2:
        raise ConfigError(f"a segmenter needs at least 2 classes (background included), got {num_classes}")
    channels = logit_channels(num_classes)
    if config.name.startswith("smp:"):
        return _build_smp(config, channels)
    if config.pretrained != "none":
        raise ConfigError(
            f"model {config.name!r} has no pretrained weights; set model.pretrained to none, or choose an smp: model"
        )
    builder = MODELS.get(config.name)
    if builder is None:
        near = difflib.get_close_matches(config.name, MODELS) or list(MODELS)
        raise ConfigError(
            f"unknown model {config.name!r}; did you mean {' or '.join(near)}, or smp:ARCHITECTURE/ENCODER?"
        )
    allowed = set(inspect.signature(builder).parameters) - {"in_channels", "out_channels"}
    if unknown := set(config.options) - allowed:
        raise ConfigError(
            f"model {config.name!r} has no option {', '.join(sorted(unknown))}; "
            f"it has {', '.join(sorted(allowed)) or 'none'}"
        )
    try:
        net = builder(3, channels, **config.options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"model.options of {config.name!r}: {error}") from error
    assert isinstance(net, nn.Module)
    mean, std = CENTRED
    return Segmenter(net, stride=net.stride, mean=mean, std=std)


def _build_smp(config: ModelConfig, channels: int) -> Segmenter:
    architecture, _, encoder = config.name.removeprefix("smp:").partition("/")
    if not encoder:
        raise ConfigError(
            f"model {config.name!r} names no encoder; write it as smp:ARCHITECTURE/ENCODER, "
            "for instance smp:Unet/resnet34"
        )
    # smp wants `True` for timm's universal encoders, which have one set of weights, and a name for its own.
    hub_weights: str | bool = True if encoder.startswith("tu-") else "imagenet"
    try:
        net = smp.create_model(
            architecture,
            encoder_name=encoder,
            encoder_weights=hub_weights if config.pretrained == "imagenet" else None,
            classes=channels,
            **config.options,
        )
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"segmentation-models-pytorch cannot build {config.name!r}: {error}") from error
    except OSError as error:
        raise ConfigError(
            f"the ImageNet weights of {encoder!r} cannot be fetched ({type(error).__name__}); without "
            "network use model.pretrained=imagenet-offline with one of "
            f"{', '.join(weights.OFFLINE_PACKAGES)}, or none"
        ) from error
    if config.pretrained == "imagenet-offline":
        weights.load_offline(net.encoder, encoder)
        return Segmenter(net, stride=SMP_STRIDE, mean=weights.OFFLINE_MEAN, std=weights.OFFLINE_STD)
    return Segmenter(net, stride=SMP_STRIDE, mean=weights.IMAGENET_MEAN, std=weights.IMAGENET_STD)
