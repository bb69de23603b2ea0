"""Networks of transformers: `hf:REPO`, a name on the hub or a local folder; code of repositories is never run.

Semantic networks (SegFormer, UperNet, BEiT, DPT, MobileViT, ...) and universal ones (MaskFormer, Mask2Former, OneFormer,
EoMT) alike; see `transformers_nets` for how queries become logits and `segments` for instances. Auxiliary heads, which
serve a second loss in training only, are left out. Weights are read from safetensors files alone.

What a checkpoint needs to build the network again without the repository is a JSON text, the option `repository`.
"""

import importlib.util
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from . import weights
from .config import ModelConfig
from .segmenter import Segmenter
from .transformers_nets import TASKS, QueryNetwork, SemanticNetwork, Shape

_LOG = logging.getLogger("maskwright")

UNIVERSAL = {"mask2former": True, "eomt": True, "eomt_dinov3": True, "maskformer": False, "oneformer": False}
"""Type of a universal network → whether its masks are resized before the sigmoid; see `QueryNetwork`."""

FIXED = ("eomt", "eomt_dinov3")
"""Types whose positions hold for one size of image."""

SQUARE = ("dpt",)
"""Types that take square images only."""

INTERPOLATED = ("beit", "data2vec-vision")
"""Types that interpolate positions if asked."""

STRIDE = 32
"""Of networks with a pyramid of features, pixels."""

LARGEST_PYRAMID_PATCH = 4
"""Patches of a pyramid's first level, pixels; Vision Transformers without one have larger ones."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """What a repository says of its network, without the weights.

    Attributes:
        config: its config.json.
        mean: subtracted from RGB in [0, 1].
        std: what is left is divided by it.
        bgr: its images have blue first.
    """

    config: dict[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool


def build_transformers(config: ModelConfig, *, in_channels: int, out_channels: int) -> Segmenter:
    """Build the network that `config.name` names.

    Args:
        config: its options replace settings of the repository's config.json; `pretrained` is `none` (random weights) or
            `full`: all of the repository's, but for a head of other classes.
        in_channels: channels of the image.
        out_channels: channels of the logits.

    Raises:
        ConfigError: transformers is not installed; no such repository, or no network for segmentation in it; unknown
            option; weights that cannot be had.
    """
    _require()
    if config.pretrained not in ("none", "full"):
        raise ConfigError(
            f"model {config.name!r} has no {config.pretrained} weights; set model.pretrained to full (all weights of the "
            f"repository) or none, or choose {weights.MODELS_WITH[config.pretrained]}"
        )
    from transformers import AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation

    repository = _repository(config)
    settings = _settings(config, repository, in_channels=in_channels, out_channels=out_channels)
    kind = settings.model_type
    auto = AutoModelForUniversalSegmentation if kind in UNIVERSAL else AutoModelForSemanticSegmentation
    try:
        network: nn.Module = auto.from_config(settings, trust_remote_code=False, dtype=torch.float32)
        if config.pretrained == "full":
            weights.load_fitting(network, _learnt_state(config, repository, auto), what=config.name)
        shape = _shape(settings)
    except (ValueError, TypeError, RuntimeError, AttributeError, KeyError) as error:
        raise ConfigError(f"transformers cannot build {config.name!r}: {error}") from error
    as_difference = out_channels == 1 and settings.num_labels == 2
    bgr = repository.bgr and in_channels >= 3
    net: SemanticNetwork
    if kind in UNIVERSAL:
        tokens = _task_tokens(config, settings) if kind == "oneformer" else None
        net = QueryNetwork(
            network,
            shape=shape,
            masks_first=UNIVERSAL[kind],
            task_tokens=tokens,
            bgr=bgr,
            as_difference=as_difference,
        )
    else:
        arguments = {"interpolate_pos_encoding": True} if kind in INTERPOLATED else {}
        net = SemanticNetwork(network, shape=shape, bgr=bgr, as_difference=as_difference, arguments=arguments)
    normalisation = weights.Normalisation(repository.mean, repository.std)
    return Segmenter.normalised(net, normalisation, stride=shape.stride, in_channels=in_channels)


def class_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of the repository's own classes, index = label."""
    _require()
    settings = _config_of(_repository(config).config)
    names = tuple(str(settings.id2label[index]) for index in sorted(settings.id2label))
    return ("background", *names) if len(names) == 1 else names


def self_contained(config: ModelConfig) -> ModelConfig:
    """Return the same with what the repository says in the option `repository`."""
    _require()
    text = json.dumps(asdict(_repository(config)), sort_keys=True)
    return replace(config, options={**config.options, "repository": text})


def describe() -> str:
    """Return how many types of networks there are."""
    if importlib.util.find_spec("transformers") is None:
        return "needs pip install 'maskwright[transformers]'"
    return f"{len(_semantic_types())} semantic and {len(UNIVERSAL)} universal architectures, any repository or folder"


def _require() -> None:
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError("models of hf: need transformers; install it with `pip install 'maskwright[transformers]'`")


def _semantic_types() -> list[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES

    return list(MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)


def _path(config: ModelConfig) -> str:
    path = config.name.removeprefix("hf:")
    if not path:
        raise ConfigError(f"model {config.name!r} names no repository; write it as hf:REPO, such as hf:nvidia/mit-b0")
    return path


@contextmanager
def _fetching(config: ModelConfig, what: str) -> Iterator[None]:
    """Turn what transformers says of a missing repository, file or network into a `ConfigError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{what} of {config.name!r} cannot be had ({type(error).__name__}: {reason}); check the name, or give a local "
            "folder as hf:FOLDER; without network, model.pretrained=imagenet-offline works for "
            f"{weights.MODELS_WITH['imagenet-offline']}"
        ) from error


def _repository(config: ModelConfig) -> Repository:
    """Read what the repository says, or the option that says the same."""
    if "repository" in config.options:
        try:
            return Repository(**json.loads(str(config.options["repository"])))
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"model.options.repository of {config.name!r} is not what a run writes: {error}"
            ) from error
    from transformers import AutoConfig

    with _fetching(config, "the configuration"):
        settings = AutoConfig.from_pretrained(_path(config), trust_remote_code=False)
    mean, std, bgr = _normalisation(config)
    return Repository(config=json.loads(settings.to_json_string(use_diff=False)), mean=mean, std=std, bgr=bgr)


def _normalisation(config: ModelConfig) -> tuple[Any, Any, bool]:
    """Return mean and standard deviation of RGB in [0, 1], and whether blue comes first, from preprocessor_config.json."""
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(_path(config), trust_remote_code=False)
    except (OSError, ValueError):
        _LOG.warning("%s: no preprocessor_config.json; images are normalised as those of ImageNet", config.name)
        return (*weights.IMAGENET, False)
    # The processor rescales levels 0–255; here images are in [0, 1].
    scale = 255 * processor.rescale_factor if processor.do_rescale else 255.0
    mean, std = (0.0,) * 3, (1.0,) * 3
    if processor.do_normalize:
        mean, std = (tuple(values) * (3 // len(values)) for values in (processor.image_mean, processor.image_std))
    bgr = bool(getattr(processor, "do_flip_channel_order", False))
    if bgr:
        mean, std = mean[::-1], std[::-1]
    return tuple(m / scale for m in mean), tuple(s / scale for s in std), bgr


def _config_of(values: dict[str, Any]) -> Any:
    """Return transformers' configuration of a network for segmentation."""
    from transformers import CONFIG_MAPPING

    kind = values.get("model_type")
    known = [*_semantic_types(), *UNIVERSAL]
    if kind not in known or kind not in CONFIG_MAPPING:
        raise ConfigError(f"hf: has no network for segmentation of type {kind!r}; it has {', '.join(sorted(known))}")
    # `auto_map` names code of a repository.
    return CONFIG_MAPPING[kind].from_dict({key: value for key, value in values.items() if key != "auto_map"})


def _settings(config: ModelConfig, repository: Repository, *, in_channels: int, out_channels: int) -> Any:
    """Return the configuration for these classes, channels and options, without auxiliary heads."""
    settings = _config_of(repository.config)
    for name, value in config.options.items():
        if name == "repository":
            continue
        if name not in settings.to_dict():
            raise ConfigError(f"model {config.name!r} has no option {name!r}; expected a setting of its config.json")
        setattr(settings, name, value)
    labels = out_channels
    if out_channels == 1:
        # One logit of their difference; a semantic network of one class has that logit itself.
        labels = 1 if settings.num_labels == 1 and settings.model_type not in UNIVERSAL else 2
    if settings.num_labels != labels:
        settings.num_labels = labels
    for part in (settings, getattr(settings, "backbone_config", None)):
        if hasattr(part, "num_channels"):
            part.num_channels = in_channels  # type: ignore[union-attr]
    for switch in ("use_auxiliary_head", "is_training"):
        if hasattr(settings, switch):
            setattr(settings, switch, False)
    return settings


def _learnt_state(config: ModelConfig, repository: Repository, auto: Any) -> dict[str, Tensor]:
    """Return the weights of the repository's own network; what it lacks is left out."""
    own = _config_of(repository.config)
    with _fetching(config, "the weights (model.safetensors)"):
        network, report = auto.from_pretrained(
            _path(config),
            config=own,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    lacking = set(report["missing_keys"])
    return {name: value for name, value in network.state_dict().items() if name not in lacking}


def _shape(settings: Any) -> Shape:
    """Return which images a network takes."""
    kind = settings.model_type
    if kind in FIXED:
        return Shape(stride=1, side=settings.image_size)
    patch = getattr(settings, "patch_size", None) or getattr(
        getattr(settings, "backbone_config", None), "patch_size", 1
    )
    # Twice, because the coarsest features of Vision Transformers are pooled from two by two patches.
    stride = 2 * patch if isinstance(patch, int) and patch > LARGEST_PYRAMID_PATCH else STRIDE
    return Shape(stride=stride, square=kind in SQUARE)


def _task_tokens(config: ModelConfig, settings: Any) -> Tensor:
    """Return OneFormer's texts "the task is ..." as tokens, or room for those that a checkpoint brings."""
    if "repository" in config.options:
        return torch.zeros(len(TASKS), settings.task_seq_len, dtype=torch.int64)
    from transformers import AutoTokenizer

    with _fetching(config, "the tokenizer, which tells OneFormer its task,"):
        tokenizer = AutoTokenizer.from_pretrained(_path(config), trust_remote_code=False)
    texts = [f"the task is {task}" for task in TASKS]
    tokens = tokenizer(
        texts, padding="max_length", max_length=settings.task_seq_len, truncation=True, return_tensors="pt"
    )
    return tokens["input_ids"] * tokens["attention_mask"]
