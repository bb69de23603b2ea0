"""Networks of segmentation-models-pytorch: `smp:ARCHITECTURE/ENCODER`."""

import segmentation_models_pytorch as smp

from ..errors import ConfigError
from . import weights
from .config import ModelConfig
from .segmenter import Segmenter

STRIDE = 32


def build_smp(config: ModelConfig, *, in_channels: int, out_channels: int) -> Segmenter:
    """Build the network that `config.name` names.

    Args:
        config: its options are arguments of the architecture.
        in_channels: channels of the image.
        out_channels: channels of the logits.

    Raises:
        ConfigError: unknown architecture, encoder or option; weights that cannot be had.
    """
    architecture, _, encoder = config.name.removeprefix("smp:").partition("/")
    if not encoder:
        raise ConfigError(
            f"model {config.name!r} names no encoder; write it as smp:ARCHITECTURE/ENCODER, "
            "for instance smp:Unet/resnet34"
        )
    # smp wants `True` for timm's universal encoders, which have one set of weights, and a name for its own.
    hub_weights: str | bool = True if encoder.startswith("tu-") else "imagenet"
    try:
        with weights.hub_errors(encoder):
            net = smp.create_model(
                architecture,
                encoder_name=encoder,
                encoder_weights=hub_weights if config.pretrained == "imagenet" else None,
                in_channels=in_channels,
                classes=out_channels,
                **config.options,
            )
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"segmentation-models-pytorch cannot build {config.name!r}: {error}") from error
    normalisation = weights.IMAGENET
    if config.pretrained == "imagenet-offline":
        # Encoders of smp itself, which have no offline weights, hold no network of timm.
        weights.load_offline(getattr(net.encoder, "model", net.encoder), encoder.removeprefix("tu-"))
        normalisation = weights.OFFLINE
    return Segmenter.normalised(net, normalisation, stride=STRIDE, in_channels=in_channels)
