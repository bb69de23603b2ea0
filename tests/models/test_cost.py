"""Parameters and multiply-accumulates: against counts by hand, and without touching the network."""

import pytest
import torch
from torch import nn

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build
from maskwright.models.cost import macs, parameters


def test_counts_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),  # 3·8·9 at 10 × 12
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),  # 8·9 at 5 × 6
        nn.ConvTranspose2d(8, 2, 2, stride=2),  # each of the 5 × 6 inputs: 8·2·4
    )
    assert macs(network, height=10, width=12) == 216 * 120 + 72 * 30 + 64 * 30
    assert parameters(network) == (216 + 8) + 16 + (72 + 8) + (64 + 2)


@pytest.mark.parametrize("name", ["unet", "resnet34_unet", "segnet_lite", "smp:Unet/tu-lcnet_050"])
def test_every_network_is_counted_as_it_was(name: str) -> None:
    options: dict[str, int | float | str | bool] = {"width": 4} if name == "unet" else {}
    network = build(ModelConfig(name=name, options=options), num_classes=3, in_channels=4)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    small = macs(network, height=64, width=64, channels=4)
    # Nearly, as the squeeze of an encoder costs the same at any size.
    assert macs(network, height=128, width=128, channels=4) == pytest.approx(4 * small, rel=0.01)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_network_that_looks_at_values_is_counted_too() -> None:
    class Looks(nn.Conv2d):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return super().forward(image) * image.mean().item()

    assert macs(Looks(3, 2, 1), height=5, width=4) == 5 * 4 * 3 * 2


def test_counting_leaves_no_hooks() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    with pytest.raises(ConfigError):
        macs(network, height=8, width=8, channels=2)
    macs(network, height=8, width=8)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_known_unet() -> None:
    assert parameters(build("unet", num_classes=2)) == 31_043_521


def test_a_size_that_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot take images of 8×8"):
        macs(nn.Conv2d(3, 1, 20), height=8, width=8)
    network = nn.Conv2d(1, 1, 1).eval()
    with pytest.raises(ConfigError):
        macs(network, height=8, width=8)
    assert not network.training
