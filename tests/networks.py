"""Sizes of networks, counted without computing anything, and a hub that needs no network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from torch import Tensor, nn


def unallocated(builder: Callable[[], nn.Module]) -> nn.Module:
    """Build a network whose tensors have shapes alone."""
    with torch.device("meta"):
        return builder().eval()


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def running_statistics_of(network: nn.Module) -> int:
    return sum(b.numel() for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var")))


def multiply_adds_of(network: nn.Module, height: int, width: int) -> int:
    """Multiply-adds of the convolutions of an `unallocated` network for one RGB image."""
    total = 0

    def count(module: nn.Conv2d, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.empty(1, 3, height, width, device="meta"))
    return total


def randomise(network: nn.Module, seed: int = 0) -> None:
    """Give batch normalisation statistics and weights that a trained network could have, all different."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
            ):
                nn.init.uniform_(tensor, low, high, generator=generator)


def pretend_hub(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Let timm's pretrained networks be random ones; return the list that they are put into."""
    fetched: list[nn.Module] = []
    create = timm.create_model

    def create_model(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        network = create(name, pretrained=False, **options)
        if pretrained:
            randomise(network)
            fetched.append(network)
        return network

    monkeypatch.setattr(timm, "create_model", create_model)
    return fetched


def over_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Weights of a convolution for RGB, repeated over more channels and scaled to the same sum."""
    return weight[:, torch.arange(in_channels) % 3] * (3 / in_channels)


def no_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Let every download fail, as without network; `cache` is an empty folder."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
