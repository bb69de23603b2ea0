"""Semantic networks of torchvision: `torchvision:ARCHITECTURE`, such as `torchvision:deeplabv3_resnet50`.

FCN and DeepLab v3 on dilated ResNets, DeepLab v3 and LR-ASPP on dilated MobileNetV3; the names are those of torchvision's
registry. Without the auxiliary classifier, which serves a second loss in training only.
"""

import difflib
from collections import OrderedDict

import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import segmentation

from ..errors import ConfigError
from . import mask_rcnn, weights
from .config import ModelConfig
from .segmenter import Segmenter

NAMES: tuple[str, ...] = tuple(torchvision.models.list_models(module=segmentation))

STRIDES = {"resnet50": 8, "resnet101": 8, "mobilenet_v3_large": 16}
"""Backbone → pixels between its last features."""


class OutOfDictionary(nn.Module):
    """A network of torchvision, which returns a dictionary, as one that returns logits.

    Args:
        network: its output has the logits under "out".
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        """Return logits at the size of `image`."""
        outputs: OrderedDict[str, Tensor] = self.network(image)
        return outputs["out"]


def build_torchvision(config: ModelConfig, *, in_channels: int, out_channels: int) -> Segmenter:
    """Build the network that `config.name` names.

    Args:
        config: `pretrained` may be `none`, `imagenet` (the backbone's), or `full`: learnt on the images of COCO that show
            one of the 20 classes of Pascal VOC; the head, too, where there are 21 classes.
        in_channels: channels of the image.
        out_channels: channels of the logits.

    Raises:
        ConfigError: unknown name; options, of which there are none; weights that cannot be had.
    """
    name = _known_name(config)
    if config.options:
        raise ConfigError(f"model {config.name!r} has no options, got {', '.join(config.options)}; leave them out")
    if config.pretrained == "imagenet-offline":
        raise ConfigError(
            f"model {config.name!r} has no imagenet-offline weights; set model.pretrained to imagenet, full or none, or "
            f"choose {weights.MODELS_WITH['imagenet-offline']}"
        )
    backbone = _backbone(name)
    network = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=out_channels, aux_loss=False
    )
    if config.pretrained == "imagenet":
        _load_backbone(network, backbone)
    elif config.pretrained == "full":
        state = weights.fetched(_full(name), what=f"the weights of {config.name!r}")
        weights.load_fitting(network, state, what=config.name)
    weights.adapt_first_convolution(network, in_channels, learnt=config.pretrained != "none")
    return Segmenter.normalised(
        OutOfDictionary(network), weights.IMAGENET, stride=STRIDES[backbone], in_channels=in_channels
    )


def class_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the classes of the `full` weights: the background and the 20 of Pascal VOC; of Mask R-CNN, those of COCO."""
    if mask_rcnn.is_mask_rcnn(config):
        return mask_rcnn.class_names(config)
    return tuple(_full(_known_name(config)).meta["categories"])


def describe() -> str:
    """Return which networks there are."""
    return ", ".join([*sorted(NAMES), *(f"{name.partition(':')[2]} (objects)" for name in mask_rcnn.NAMES)])


def _known_name(config: ModelConfig) -> str:
    name = config.name.removeprefix("torchvision:")
    if mask_rcnn.is_mask_rcnn(config):
        raise ConfigError(
            f"model {config.name!r} finds objects and gives no logits of classes; `maskwright train` trains it on data that "
            "tells objects apart, such as nuclei:DIR, and `predict --save instances` runs it"
        )
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=2) or NAMES
        raise ConfigError(f"torchvision has no model {name!r} for segmentation; did you mean {' or '.join(near)}?")
    return name


def _backbone(name: str) -> str:
    return next(backbone for backbone in STRIDES if name.endswith(backbone))


def _load_backbone(network: nn.Module, name: str) -> None:
    """Load the ImageNet weights that torchvision's own recipes for segmentation start from, in place."""
    # Of a MobileNet, the backbone is what the classifying network calls its features.
    state = {key.removeprefix("features."): value for key, value in weights.torchvision_state(name).items()}
    weights.load_encoder(network.get_submodule("backbone"), state, what=f"the ImageNet weights of {name!r}")


def _full(name: str) -> torchvision.models.WeightsEnum:
    return torchvision.models.get_model_weights(name).DEFAULT
