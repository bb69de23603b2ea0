"""From a model's name to the model: one literal table of what is written here, one of adapters to libraries."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import nn

from ..errors import ConfigError
from . import deeplabv3plus, from_smp, from_torchvision, from_transformers, hrnet, nas_fpn, weights
from .config import ModelConfig
from .deeplabv1 import DeepLabV1
from .deeplabv2 import DeepLabV2, load_resnet
from .deeplabv3plus import DeepLabV3Plus
from .fcn import FCN8s, FCN16s, FCN32s
from .hrnet import HRNet
from .nas_fpn import NasFPN
from .resnet34_unet import ResNet34UNet
from .segmenter import Segmenter
from .segnet import SegNet
from .segnet_lite import SegNetLite
from .unet import UNet
from .vgg import load_vgg16, load_vgg16_bn
from .weights import Normalisation


class Network(Protocol):
    """What a builder returns: an `nn.Module` that knows its stride in pixels."""

    stride: int


Loader = Callable[[nn.Module], Normalisation]
"""Loads pretrained weights into a network's encoder, in place; returns how that wants its images. What it fetches from a
hub stands within `weights.hub_errors`."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network that is written here.

    Attributes:
        builder: called with the channels of image and logits, in this order, and the options by name.
        source: the paper and its year.
        pretrained: `imagenet` or `imagenet-offline` → what loads these weights.
    """

    builder: Callable[..., Network]
    source: str
    pretrained: Mapping[str, Loader] = field(default_factory=dict)


MODELS: dict[str, Architecture] = {
    "unet": Architecture(builder=UNet, source="Ronneberger et al. 2015"),
    "resnet34_unet": Architecture(builder=ResNet34UNet, source="He et al. 2016, Ronneberger et al. 2015"),
    "segnet_lite": Architecture(builder=SegNetLite, source="Badrinarayanan et al. 2017, reduced"),
    "segnet": Architecture(builder=SegNet, source="Badrinarayanan et al. 2017", pretrained={"imagenet": load_vgg16_bn}),
    "fcn32s": Architecture(builder=FCN32s, source="Long et al. 2015", pretrained={"imagenet": load_vgg16}),
    "fcn16s": Architecture(builder=FCN16s, source="Long et al. 2015", pretrained={"imagenet": load_vgg16}),
    "fcn8s": Architecture(builder=FCN8s, source="Long et al. 2015", pretrained={"imagenet": load_vgg16}),
    "deeplabv1": Architecture(builder=DeepLabV1, source="Chen et al. 2015", pretrained={"imagenet": load_vgg16}),
    "deeplabv2": Architecture(builder=DeepLabV2, source="Chen et al. 2017", pretrained={"imagenet": load_resnet}),
    "deeplabv3plus": Architecture(
        builder=DeepLabV3Plus, source="Chen et al. 2018", pretrained={"imagenet": deeplabv3plus.load_imagenet}
    ),
    "hrnet": Architecture(
        builder=HRNet,
        source="Sun et al. 2019, Wang et al. 2020; OCR: Yuan et al. 2020",
        pretrained={"imagenet": hrnet.load_imagenet},
    ),
    "nas_fpn": Architecture(
        builder=NasFPN,
        source="Ghiasi et al. 2019, Zoph et al. 2020",
        pretrained={"imagenet": nas_fpn.load_imagenet, "imagenet-offline": nas_fpn.load_offline},
    ),
}


class Adapter(Protocol):
    """Builds a network of a library; raises `ConfigError` for what the library does not have."""

    def __call__(self, config: ModelConfig, *, in_channels: int, out_channels: int) -> Segmenter: ...


ADAPTERS: dict[str, Adapter] = {
    "smp": from_smp.build_smp,
    "torchvision": from_torchvision.build_torchvision,
    "hf": from_transformers.build_transformers,
}
"""What stands before the colon of a name → the adapter."""

DESCRIPTIONS: dict[str, Callable[[], str]] = {
    "smp:ARCHITECTURE/ENCODER": from_smp.describe,
    "torchvision:ARCHITECTURE": from_torchvision.describe,
    "hf:REPO": from_transformers.describe,
}
"""How names of adapted models are written → what says which and how many networks there are."""

FORMS = tuple(DESCRIPTIONS)

OWN_CLASSES: dict[str, Callable[[ModelConfig], tuple[str, ...]]] = {
    "torchvision": from_torchvision.class_names,
    "hf": from_transformers.class_names,
}
"""What stands before the colon of a name → names of the classes of `full` weights."""


def logit_channels(num_classes: int) -> int:
    """Channels of the logits: 1 (sigmoid) for background and one foreground class, else one per class."""
    return 1 if num_classes == 2 else num_classes


def class_names(config: ModelConfig | str) -> tuple[str, ...]:
    """Return the classes that a library's or repository's own weights (`full`) tell apart, index = label.

    A network built with as many classes and these weights predicts without training.

    Raises:
        ConfigError: a model without such weights; a repository that cannot be had.
    """
    if isinstance(config, str):
        config = ModelConfig(name=config)
    library = config.name.partition(":")[0]
    if library not in OWN_CLASSES:
        raise ConfigError(f"model {config.name!r} has no classes of its own; torchvision: and hf: models have")
    return OWN_CLASSES[library](config)


def self_contained(config: ModelConfig) -> ModelConfig:
    """Return the same model in terms of this package and its libraries alone, as a checkpoint needs it.

    Raises:
        ConfigError: a repository that cannot be had.
    """
    return from_transformers.self_contained(config) if config.name.startswith("hf:") else config


def build(config: ModelConfig | str, *, num_classes: int, in_channels: int = 3) -> Segmenter:
    """Build a segmenter.

    Args:
        config: a `ModelConfig`, or just the name.
        num_classes: classes with the background, at least 2; 2 gives one logit channel.
        in_channels: channels of the image, at least 1; of three or more, the first are red, green and blue.

    Raises:
        ConfigError: unknown name, encoder or option; weights that cannot be had.
    """
    if isinstance(config, str):
        config = ModelConfig(name=config)
    if num_classes < 2:
        raise ConfigError(f"a segmenter needs at least 2 classes (background included), got {num_classes}")
    if in_channels < 1:
        raise ConfigError(f"a segmenter needs at least 1 input channel, got {in_channels}")
    channels = logit_channels(num_classes)
    library, colon, _ = config.name.partition(":")
    if colon and library in ADAPTERS:
        return ADAPTERS[library](config, in_channels=in_channels, out_channels=channels)
    return _build_own(config, in_channels=in_channels, out_channels=channels)


def _build_own(config: ModelConfig, *, in_channels: int, out_channels: int) -> Segmenter:
    architecture = MODELS.get(config.name)
    if architecture is None:
        near = difflib.get_close_matches(config.name, MODELS) or list(MODELS)
        raise ConfigError(f"unknown model {config.name!r}; did you mean {' or '.join(near)}, or {' or '.join(FORMS)}?")
    if config.pretrained != "none" and config.pretrained not in architecture.pretrained:
        has = " or ".join(["none", *architecture.pretrained])
        raise ConfigError(
            f"model {config.name!r} has no {config.pretrained} weights; set model.pretrained to {has}, or choose "
            f"{weights.MODELS_WITH[config.pretrained]}"
        )
    allowed = set(inspect.signature(architecture.builder).parameters) - {"in_channels", "out_channels"}
    if unknown := set(config.options) - allowed:
        raise ConfigError(
            f"model {config.name!r} has no option {', '.join(sorted(unknown))}; "
            f"it has {', '.join(sorted(allowed)) or 'none'}"
        )
    try:
        net = architecture.builder(in_channels, out_channels, **config.options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"model.options of {config.name!r}: {error}") from error
    assert isinstance(net, nn.Module)
    normalisation = weights.CENTRED
    if config.pretrained != "none":
        normalisation = architecture.pretrained[config.pretrained](net)
    return Segmenter.normalised(net, normalisation, stride=net.stride, in_channels=in_channels)
