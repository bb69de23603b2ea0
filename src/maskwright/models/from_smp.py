"""Networks of segmentation-models-pytorch: `smp:ARCHITECTURE/ENCODER`.

Encoders are smp's own, or with `tu-` before the name any of timm that gives a pyramid of features; DPT takes Vision
Transformers of timm alone, which learn here to take images of any size (timm's `dynamic_img_size`).
"""

import difflib
import math
import warnings

import segmentation_models_pytorch as smp
import timm
from torch import nn

from ..errors import ConfigError
from . import weights
from .config import ModelConfig
from .segmenter import Segmenter

ARCHITECTURES: dict[str, type[nn.Module]] = smp.MODEL_ARCHITECTURES_MAPPING
"""Name in lower case → class."""

NEAR = 3
"""Names that an error suggests, of some 1,400."""


def build_smp(config: ModelConfig, *, in_channels: int, out_channels: int) -> Segmenter:
    """Build the network that `config.name` names; architectures in upper or lower case.

    Args:
        config: its options are arguments of the architecture.
        in_channels: channels of the image.
        out_channels: channels of the logits.

    Raises:
        ConfigError: unknown architecture, encoder or option; weights that cannot be had.
    """
    architecture, encoder = _names(config)
    if config.pretrained == "full":
        raise ConfigError(
            f"model {config.name!r} has no full weights, only those of its encoder; set model.pretrained to imagenet, "
            f"imagenet-offline or none, or choose {weights.MODELS_WITH['full']}"
        )
    # smp wants `True` for timm's universal encoders, which have one set of weights, and a name for its own.
    hub_weights: str | bool = True if encoder.startswith("tu-") else "imagenet"
    options = dict(config.options)
    if architecture == "dpt":
        options.setdefault("dynamic_img_size", True)
    try:
        with weights.hub_errors(f"the ImageNet weights of {encoder!r}"), warnings.catch_warnings():
            # Of names of encoders that smp will drop one day, and of ViTs without class token: neither calls for a change.
            warnings.simplefilter("ignore")
            net = smp.create_model(
                architecture,
                encoder_name=encoder,
                encoder_weights=hub_weights if config.pretrained == "imagenet" else None,
                in_channels=in_channels,
                classes=out_channels,
                **options,
            )
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise ConfigError(f"segmentation-models-pytorch cannot build {config.name!r}: {error}") from error
    normalisation = weights.IMAGENET
    if config.pretrained == "imagenet-offline":
        # Encoders of smp itself, which have no offline weights, hold no network of timm.
        encoder_net = getattr(net.encoder, "model", net.encoder)
        normalisation = weights.load_offline(encoder_net, encoder.removeprefix("tu-"))
    stride, smallest = _sizes(config, architecture, net)
    return Segmenter.normalised(net, normalisation, stride=stride, in_channels=in_channels, smallest=smallest)


def describe() -> str:
    """Return how many networks there are."""
    own, of_timm = len(smp.encoders.encoders), len(timm.list_models())
    return f"{len(ARCHITECTURES)} architectures, {own} encoders and tu-NAME for {of_timm:,} networks of timm"


def _names(config: ModelConfig) -> tuple[str, str]:
    """Return architecture, in lower case, and encoder."""
    written, _, encoder = config.name.removeprefix("smp:").partition("/")
    architecture = written.lower()
    if not encoder:
        raise ConfigError(
            f"model {config.name!r} names no encoder; write it as smp:ARCHITECTURE/ENCODER, "
            "for instance smp:Unet/resnet34"
        )
    if architecture not in ARCHITECTURES:
        names = {key: kind.__name__ for key, kind in ARCHITECTURES.items()}
        near = [names[key] for key in difflib.get_close_matches(architecture, names, n=1)]
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"model {config.name!r}: smp has no architecture {written!r}; {hint}It has {', '.join(names.values())}"
        )
    # timm tells a network's weights apart by what follows the dot; smp translates the names that begin with timm-.
    name = encoder.removeprefix("tu-").partition(".")[0]
    known = timm.is_model(name) if encoder.startswith("tu-") else encoder in smp.encoders.encoders
    if not known and not encoder.startswith("timm-"):
        near = _near_encoders(encoder)
        raise ConfigError(f"model {config.name!r}: smp has no encoder {encoder!r}; the nearest: {', '.join(near)}")
    return architecture, encoder


def _near_encoders(encoder: str) -> list[str]:
    """Return the few most alike names, some of them always."""
    names = [*smp.encoders.encoders, *(f"tu-{name}" for name in timm.list_models())]
    return difflib.get_close_matches(encoder, names, n=NEAR, cutoff=0.0)


def _sizes(config: ModelConfig, architecture: str, net: nn.Module) -> tuple[int, int]:
    """Return the multiple that the sides of images must be, and the smallest side, pixels."""
    stride = int(net.encoder.output_stride)  # type: ignore[union-attr, arg-type]
    if architecture == "pan":
        # Its pyramid pools the deepest features three times.
        return stride, 8 * stride
    if architecture == "dpt":
        if 32 % stride:
            raise ConfigError(
                f"model {config.name!r}: smp's DPT takes encoders with patches of 4, 8, 16 or 32 pixels, not {stride}"
            )
        return math.lcm(stride, 32), 0
    return stride, 0
