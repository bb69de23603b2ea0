"""Mask R-CNN (He et al. 2017) of torchvision, which finds objects one by one: `torchvision:maskrcnn_resnet50_fpn` and `_v2`.

Network, anchors, losses and normalisation are torchvision's. Departs from it in:

- a mask stays as the network makes it, 28×28 in its box, until `pasted` puts it into the image; torchvision pastes all at
  once, which takes 5 GB for 100 objects of a photograph of 12 megapixels;
- with the option `scale`, images are resized by a fixed factor, so that objects have the same size in crops, from which
  the network learns, and in whole images; torchvision resizes the shorter side to `min_size` pixels either way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torchvision
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d, masks_to_boxes

from ..errors import ConfigError
from ..types import IGNORE_INDEX
from . import weights
from .config import ModelConfig

NAMES = ("torchvision:maskrcnn_resnet50_fpn", "torchvision:maskrcnn_resnet50_fpn_v2")

SMALLEST_PIECE = 4
"""Pixels that an object, cut off by a crop, must have left to be learnt from."""

COCO_CLASSES = 91
"""Of the `full` weights: the background, and COCO's numbers of categories, some of which are not in use."""


@dataclass(frozen=True, kw_only=True)
class MaskRCNNOptions:
    """The `model.options` of Mask R-CNN; names are torchvision's.

    Args:
        scale: factor on both sides of every image; 0 resizes by `min_size` and `max_size` instead.
        min_size: the shorter side of an image becomes so many pixels,
        max_size: unless the longer one would have more than so many.
        box_score_thresh: score, 0–1, that a found object must exceed.
        box_detections_per_img: objects of an image that are found at most.
        trainable_backbone_layers: 0–5 of the five stages of a pretrained ResNet that are trained, from the last on.
    """

    scale: float = 0.0
    min_size: int = 800
    max_size: int = 1333
    box_score_thresh: float = 0.05
    box_detections_per_img: int = 100
    trainable_backbone_layers: int = 3

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("scale", 0, 16),
            ("min_size", 1, 8192),
            ("max_size", self.min_size, 65_536),
            ("box_score_thresh", 0, 1),
            ("box_detections_per_img", 1, 65_535),
            ("trainable_backbone_layers", 0, 5),
        ):
            if not lowest <= getattr(self, name) <= highest:
                raise ConfigError(f"model.options.{name} must be from {lowest} to {highest}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Detections:
    """The N objects found in one image, the surest first.

    Attributes:
        boxes: left, top, right, bottom in pixels of the image that the network was given.
        labels: 1 or more.
        scores: 0–1.
        masks: probability of each pixel of the box, stretched over it.
    """

    boxes: Float[Tensor, "n 4"]
    labels: Int64[Tensor, " n"]
    scores: Float[Tensor, " n"]
    masks: Float[Tensor, "n 28 28"]


class LazyTransform(GeneralizedRCNNTransform):
    """torchvision's resizing and normalisation, with a fixed factor where one is given, and without pasting masks."""

    def __init__(self, own: GeneralizedRCNNTransform, *, scale: float) -> None:
        super().__init__(own.min_size, own.max_size, own.image_mean, own.image_std, own.size_divisible)
        self.scale = scale

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Resize an image, and boxes and masks with it."""
        if self.scale:
            self.min_size, self.max_size = (self.scale * min(image.shape[-2:]),), float("inf")
        resized: tuple[Tensor, dict[str, Tensor] | None] = super().resize(image, target)
        return resized

    def postprocess(self, result: Any, image_shapes: Any, original_image_sizes: Any) -> Any:
        """Bring boxes back to the image that came; masks stay as they are."""
        masks = [one.pop("masks", None) for one in result]
        found = super().postprocess(result, image_shapes, original_image_sizes)
        for one, own in zip(found, masks, strict=True):
            one["masks"] = own
        return found


class MaskRCNN(nn.Module):
    """Mask R-CNN: images in [0, 1] go in; in evaluation objects come out, in training a loss.

    Args:
        network: torchvision's.
        scale: see `MaskRCNNOptions`.
    """

    def __init__(self, network: detection.MaskRCNN, *, scale: float = 0.0) -> None:
        super().__init__()
        self.network = network
        network.transform = LazyTransform(network.transform, scale=scale)

    @property
    def most(self) -> int:
        """Objects of an image that are found at most."""
        return int(self.network.roi_heads.detections_per_img)

    def forward(self, images: Float[Tensor, "n c h w"]) -> list[Detections]:
        """Return the objects of each image, of a network in evaluation mode."""
        return [
            Detections(boxes=one["boxes"], labels=one["labels"], scores=one["scores"], masks=one["masks"][:, 0])
            for one in self.network(list(images))
        ]

    def losses(self, images: Float[Tensor, "n c h w"], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return torchvision's five losses of a network in training mode; `targets` from `targets_of`."""
        losses: dict[str, Tensor] = self.network(list(images), targets)
        return losses


def is_mask_rcnn(config: ModelConfig) -> bool:
    """Whether the model finds objects one by one, instead of giving logits of classes."""
    return config.name in NAMES


def untrained(config: ModelConfig, *, num_classes: int, in_channels: int = 3) -> MaskRCNN:
    """Build the network that `config.name` names, random, but laid out as its pretrained weights want it.

    Args:
        config: `options` are those of `MaskRCNNOptions`; `pretrained` decides how the backbone normalises.
        num_classes: classes with the background, at least 2.
        in_channels: channels of the image; of three or more, the first are red, green and blue.

    Raises:
        ConfigError: unknown options; offline weights, of which there are none.
    """
    if config.pretrained == "imagenet-offline":
        raise ConfigError(
            f"model {config.name!r} has no imagenet-offline weights; set model.pretrained to imagenet, full or none"
        )
    options = _options(config)
    network = torchvision_network(config.name.removeprefix("torchvision:"), options, num_classes=num_classes)
    learnt = config.pretrained != "none"
    if learnt and not config.name.endswith("_v2"):
        # torchvision's layout: statistics of the pretraining stay; those of COCO were learnt without an epsilon.
        _freeze_norm(network.backbone.body, eps=0.0 if config.pretrained == "full" else 1e-5)
    weights.adapt_first_convolution(network, in_channels, learnt=False)
    colours = 3 if in_channels >= 3 else 0
    transform = network.transform
    transform.image_mean, transform.image_std = (
        [*known[:colours], *[other[0]] * (in_channels - colours)]
        for known, other in zip(weights.IMAGENET, weights.CENTRED, strict=True)
    )
    if learnt:
        _freeze_stages(network.backbone.body, trained=options.trainable_backbone_layers)
    return MaskRCNN(network, scale=options.scale)


def build_mask_rcnn(config: ModelConfig, *, num_classes: int, in_channels: int = 3) -> MaskRCNN:
    """Build the network that `config.name` names, with its weights.

    Args:
        config: `pretrained` is `none`, `imagenet` (the ResNet) or `full`: all that was learnt on COCO, but for the last
            layers of the heads where there are not its 91 classes.
        num_classes: as in `untrained`, likewise `in_channels`.

    Raises:
        ConfigError: as `untrained`; weights that cannot be had.
    """
    detector = untrained(config, num_classes=num_classes, in_channels=in_channels)
    if config.pretrained == "imagenet":
        state = weights.torchvision_state("resnet50")
        weights.load_fitting(detector.network.backbone.body, state, what=config.name)
    elif config.pretrained == "full":
        with weights.hub_errors(config.name):
            state = learnt_weights(config).get_state_dict(check_hash=True)
        # Through the network itself, which knows how older files call their layers.
        library = untrained(config, num_classes=COCO_CLASSES).network
        library.load_state_dict(state)
        weights.load_fitting(detector.network, library.state_dict(), what=config.name)
    return detector


def class_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the classes of the `full` weights, index = COCO's number of the category."""
    return tuple(learnt_weights(config).meta["categories"])


def learnt_weights(config: ModelConfig) -> torchvision.models.WeightsEnum:
    """Return torchvision's entry of the weights that were learnt on COCO."""
    return torchvision.models.get_model_weights(config.name.removeprefix("torchvision:")).DEFAULT


def torchvision_network(name: str, options: MaskRCNNOptions, *, num_classes: int) -> detection.MaskRCNN:
    """Return torchvision's own network with random weights."""
    network: detection.MaskRCNN = torchvision.models.get_model(
        name,
        weights=None,
        weights_backbone=None,
        num_classes=num_classes,
        min_size=options.min_size,
        max_size=options.max_size,
        box_score_thresh=options.box_score_thresh,
        box_detections_per_img=options.box_detections_per_img,
    )
    return network


def _options(config: ModelConfig) -> MaskRCNNOptions:
    known = {field.name: field.type for field in fields(MaskRCNNOptions)}
    for name, value in config.options.items():
        if name not in known:
            raise ConfigError(f"model {config.name!r} has no option {name!r}; it has {', '.join(known)}")
        if not isinstance(value, (int, float) if known[name] is float else int) or isinstance(value, bool):
            raise ConfigError(f"model.options.{name} must be a number ({known[name].__name__}), got {value!r}")  # type: ignore[union-attr]
    options: Mapping[str, Any] = config.options
    return MaskRCNNOptions(**options)


def _freeze_norm(body: nn.Module, *, eps: float) -> None:
    for name, module in list(body.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            body.set_submodule(name, FrozenBatchNorm2d(module.num_features, eps=eps))


def _freeze_stages(body: nn.Module, *, trained: int) -> None:
    """Leave all but the last `trained` stages of a ResNet as they are."""
    stages = ["layer4", "layer3", "layer2", "layer1", "conv1"][:trained]
    if trained == 5:
        stages.append("bn1")
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(stages)))


def targets_of(labels: Int64[Tensor, "h w"], numbers: Int64[Tensor, "h w"]) -> dict[str, Tensor]:
    """Return the objects of an image as torchvision's detectors learn them: `boxes`, `labels`, `masks`; there may be none.

    Args:
        labels: 0 = background, 255 = ignored: there are no objects.
        numbers: of each pixel's object, 0 = none. Those of fewer than `SMALLEST_PIECE` pixels are left out.
    """
    numbers = numbers.where((labels > 0) & (labels != IGNORE_INDEX), 0)
    ids, counts = numbers.unique(return_counts=True)  # type: ignore[no-untyped-call]
    ids = ids[(ids > 0) & (counts >= SMALLEST_PIECE)]
    masks = numbers == ids[:, None, None]
    boxes = masks_to_boxes(masks)
    boxes[:, 2:] += 1  # from the last pixel to its end
    masks = masks.to(torch.uint8)
    first = masks.flatten(1).argmax(1)
    return {"boxes": boxes, "labels": labels.flatten()[first], "masks": masks}


def pasted(detections: Detections, *, of: tuple[int, int], size: tuple[int, int]) -> Iterator[Bool[Tensor, "h w"]]:
    """Yield the mask of each object in the image, one by one.

    Args:
        detections: of one image.
        of: height and width of the image that the network was given.
        size: height and width of the masks, to which that image had been resized.
    """
    factors = torch.tensor([size[1] / of[1], size[0] / of[0]] * 2)
    boxes, masks = detections.boxes.cpu().float() * factors, detections.masks.cpu().float()
    for box, mask in zip(boxes, masks, strict=True):
        yield paste_masks_in_image(mask[None, None], box[None], size)[0, 0] >= 0.5
