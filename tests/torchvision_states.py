"""Weights as torchvision has them, without its files: laid out in full, or with numbers in a narrow network."""

from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.vgg import VGG, make_layers

from maskwright.models import weights


def laid_out(name: str) -> dict[str, Tensor]:
    """Shapes of torchvision's weights of `name`, without numbers."""
    with torch.device("meta"):
        return get_model(name, weights=None).state_dict()


def narrow_vgg16(width: int, fc_width: int, *, batch_norm: bool = False) -> VGG:
    """torchvision's VGG-16 with other widths, random weights and, of batch norm, random statistics."""
    stages = [[width * times] * count for times, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))]
    with torch.device("meta"):
        vgg = VGG(make_layers([layer for stage in stages for layer in (*stage, "M")], batch_norm), num_classes=5)
    vgg.features.to_empty(device="cpu")
    vgg.classifier[0] = nn.Linear(8 * width * 49, fc_width)
    vgg.classifier[3] = nn.Linear(fc_width, fc_width)
    vgg.classifier[6] = nn.Linear(fc_width, 5)
    generator = torch.Generator().manual_seed(1)
    for key, value in vgg.state_dict().items():
        if key.endswith("running_var") or value.ndim == 0:
            value.fill_(2)
        else:
            fan_in = value[0].numel() if value.ndim > 1 else 100
            value.normal_(std=fan_in**-0.5, generator=generator)
    return vgg.eval()


def serve(monkeypatch: pytest.MonkeyPatch, module: ModuleType, states: dict[str, dict[str, Tensor]]) -> None:
    """Let `module` get `states` by name where it would fetch them."""
    assert module.torchvision_state is weights.torchvision_state
    monkeypatch.setattr(module, "torchvision_state", lambda name: states[name])
