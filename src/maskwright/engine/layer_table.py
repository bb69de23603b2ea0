"""What a network is made of: its layers with their outputs, parameters and multiply-accumulates.

Counted by `maskwright.models.cost`, of a network whose weights are shapes alone, unless it looks at values.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..errors import ConfigError
from ..models import MODELS, ModelConfig, Segmenter, build
from ..models.cost import Layer, layers


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """A network and its layers, in the order in which they were made.

    Attributes:
        name: of the model.
        size: side of the image, pixels.
        classes: with the background.
        channels: of the image.
        stride: pixels; sides of images are padded to multiples of it.
        layers: those that compute, have parameters, or hold no other.
    """

    name: str
    size: int
    classes: int
    channels: int
    stride: int
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """All that are learnt; shared ones count once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return sum(layer.macs for layer in self.layers)

    def record(self) -> dict[str, Any]:
        """Return it for JSON, totals included."""
        return {**asdict(self), "parameters": self.parameters, "macs": self.macs}


def layer_table(
    config: ModelConfig | str, *, size: int = 224, num_classes: int = 21, in_channels: int = 3
) -> LayerTable:
    """Return the layers of a model.

    Args:
        config: a `ModelConfig`, or just the name; weights are left out.
        size: side of the square image, pixels.
        num_classes: classes with the background.
        in_channels: channels of the image.

    Raises:
        ConfigError: a size below 1; as `maskwright.models.build`.
    """
    if size < 1:
        raise ConfigError(f"size must be at least 1 pixel, got {size}")
    if isinstance(config, str):
        config = ModelConfig(name=config)
    config = ModelConfig(name=config.name, options=config.options)
    try:
        segmenter, rows = _counted(config, "meta", size=size, num_classes=num_classes, in_channels=in_channels)
    except (ConfigError, RuntimeError) as error:
        # What cannot be fetched is not asked for twice; else a network that looks at values gets some.
        if isinstance(error.__cause__, OSError):
            raise
        segmenter, rows = _counted(config, "cpu", size=size, num_classes=num_classes, in_channels=in_channels)
    return LayerTable(
        name=config.name,
        size=size,
        classes=num_classes,
        channels=in_channels,
        stride=segmenter.stride,
        layers=rows,
    )


def own_models(*, size: int = 224, num_classes: int = 21, in_channels: int = 3) -> list[LayerTable]:
    """Return the layers of every model that is written here, at its defaults.

    Raises:
        ConfigError: as `layer_table`.
    """
    return [layer_table(name, size=size, num_classes=num_classes, in_channels=in_channels) for name in MODELS]


def _counted(
    config: ModelConfig, device: str, *, size: int, num_classes: int, in_channels: int
) -> tuple[Segmenter, tuple[Layer, ...]]:
    with torch.device(device):
        segmenter = build(config, num_classes=num_classes, in_channels=in_channels)
    return segmenter, layers(segmenter, height=size, width=size, channels=in_channels)
