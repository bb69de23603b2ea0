"""What a network costs: its parameters, and the multiplications of one pass, in all and by layer.

Counted by PyTorch (`torch.utils.flop_counter`): convolutions, matrix products and attention; normalisation, activations,
pooling and resizing are left out, as the tables of papers leave them out. One multiplication with its addition is one MAC,
half of PyTorch's two operations. The pass goes through shapes alone (the meta device), unless a network looks at values.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from ..errors import ConfigError


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


def parameters(network: nn.Module) -> int:
    """Return the number of trained numbers; buffers such as running means are none."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, *, height: int, width: int, channels: int = 3) -> int:
    """Return the multiply-accumulates of predicting one image: arguments and errors as of `layers`."""
    return sum(layer.macs for layer in layers(network, height=height, width=width, channels=channels))


def layers(network: nn.Module, *, height: int, width: int, channels: int = 3) -> tuple[Layer, ...]:
    """Return the layers that compute, have parameters, or hold no other, in the order in which they were made.

    The network stays as it is.

    Args:
        network: maps images (N, channels, H, W) to whatever it likes.
        height, width: of the image, pixels, as the network sees it.
        channels: of the image.

    Raises:
        ConfigError: the network cannot take images of this size.
    """
    tensors = dict(chain(network.named_parameters(), network.named_buffers()))
    # A network that reads a value, such as a size, from a tensor cannot run on shapes alone.
    devices = dict.fromkeys([torch.device("meta"), *(tensor.device for tensor in tensors.values())])
    was_training = network.training
    network.eval()
    try:
        for device in devices:
            try:
                return _counted(network, tensors, torch.zeros(1, channels, height, width, device=device))
            except (AssertionError, ValueError, RuntimeError) as error:
                fault = error
    finally:
        network.train(was_training)
    raise ConfigError(f"the network cannot take images of {width}×{height} pixels: {fault}") from fault


def _counted(network: nn.Module, tensors: Mapping[str, Tensor], image: Tensor) -> tuple[Layer, ...]:
    moved = {name: tensor.detach().to(image.device) for name, tensor in tensors.items()}
    trace = _Trace(network)
    try:
        with trace.counter, torch.no_grad():
            functional_call(network, moved, (image,))
    finally:
        trace.remove()
    return trace.layers()


class _Trace:
    """Counts what each module of a network does by itself in one forward pass."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.counter = FlopCounterMode(display=False)
        self.flops: Counter[nn.Module] = Counter()
        self.outputs: dict[nn.Module, tuple[int, ...] | None] = {}
        self.running: list[list[int]] = []
        self.hooks = [
            hook
            for module in network.modules()
            for hook in (module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave))
        ]

    def remove(self) -> None:
        """Leave the network as it was."""
        for hook in self.hooks:
            hook.remove()

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers that are worth a row."""
        seen: set[int] = set()
        found = []
        for path, module in self.network.named_modules():
            own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
            seen |= {id(p) for p in own}
            parameters, macs = sum(p.numel() for p in own), self.flops[module] // 2
            if parameters or macs or not any(module.children()):
                found.append(
                    Layer(
                        path=path,
                        kind=type(module).__name__,
                        output=self.outputs.get(module),
                        parameters=parameters,
                        macs=macs,
                    )
                )
        return tuple(found)

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
