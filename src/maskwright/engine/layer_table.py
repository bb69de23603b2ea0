"""What a network is made of: its layers with their outputs, parameters and multiply-accumulates.

Multiply-accumulates (MACs) are half of the floating-point operations that PyTorch's counter finds in one forward pass in
evaluation mode: those of convolutions, matrix products and attention. Normalisation, activations, pooling and resizing
are not counted, as in papers. The pass goes through shapes alone (the meta device), unless a network looks at values.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..errors import ConfigError
from ..models import MODELS, ModelConfig, Segmenter, build


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One module, without what belongs to the modules inside it.

    Attributes:
        path: where it lies in the network, as in the names of its weights.
        kind: its class.
        output: shape of the first tensor that its last call returned, with the batch of one image; None if not called.
        parameters: its own.
        macs: its own, in all calls.
    """

    path: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    macs: int


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
        segmenter, layers = _traced(config, "meta", size=size, num_classes=num_classes, in_channels=in_channels)
    except (RuntimeError, NotImplementedError):
        # A network that reads a value, such as a size, from a tensor cannot run on shapes alone.
        segmenter, layers = _traced(config, "cpu", size=size, num_classes=num_classes, in_channels=in_channels)
    return LayerTable(
        name=config.name,
        size=size,
        classes=num_classes,
        channels=in_channels,
        stride=segmenter.stride,
        layers=layers,
    )


def own_models(*, size: int = 224, num_classes: int = 21, in_channels: int = 3) -> list[LayerTable]:
    """Return the layers of every model that is written here, at its defaults.

    Raises:
        ConfigError: as `layer_table`.
    """
    return [layer_table(name, size=size, num_classes=num_classes, in_channels=in_channels) for name in MODELS]


def _traced(
    config: ModelConfig, device: str, *, size: int, num_classes: int, in_channels: int
) -> tuple[Segmenter, tuple[Layer, ...]]:
    with torch.device(device):
        segmenter = build(config, num_classes=num_classes, in_channels=in_channels).eval().requires_grad_(False)
    trace = _Trace(segmenter)
    with torch.no_grad(), trace.counter:
        segmenter(torch.zeros(1, in_channels, size, size, device=device))
    return segmenter, trace.layers()


class _Trace:
    """Counts what each module of a network does by itself in one forward pass."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.counter = FlopCounterMode(display=False)
        self.flops: Counter[nn.Module] = Counter()
        self.outputs: dict[nn.Module, tuple[int, ...] | None] = {}
        self.running: list[list[int]] = []
        for module in network.modules():
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers that are worth a row."""
        seen: set[int] = set()
        layers = []
        for path, module in self.network.named_modules():
            own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
            seen |= {id(p) for p in own}
            parameters, macs = sum(p.numel() for p in own), self.flops[module] // 2
            if parameters or macs or not any(module.children()):
                layers.append(
                    Layer(
                        path=path,
                        kind=type(module).__name__,
                        output=self.outputs.get(module),
                        parameters=parameters,
                        macs=macs,
                    )
                )
        return tuple(layers)

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        # What it began with, and what the modules inside it did since.
        self.running.append([self.counter.get_total_flops(), 0])

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        began, inside = self.running.pop()
        spent = self.counter.get_total_flops() - began
        self.flops[module] += spent - inside
        if self.running:
            self.running[-1][1] += spent
        self.outputs[module] = _first_shape(output)


def _first_shape(output: Any) -> tuple[int, ...] | None:
    """Return the shape of the first tensor in what a module returned."""
    if isinstance(output, Tensor):
        return tuple(output.shape)
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, Sequence) else ()
    return next((shape for value in values if (shape := _first_shape(value)) is not None), None)
