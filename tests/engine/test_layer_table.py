"""Layer tables: rows that sum to the totals, and totals that are those of the formulas."""

from typing import NoReturn

import pytest
import torch
from torch import nn

from maskwright.engine.layer_table import layer_table, own_models
from maskwright.errors import ConfigError
from maskwright.models import MODELS, ModelConfig, build

SMALL = ModelConfig(name="unet", options={"width": 4})


def test_rows_have_the_parameters_and_macs_of_the_formulas() -> None:
    table = layer_table(SMALL, size=33, num_classes=5, in_channels=2)
    network = build(SMALL, num_classes=5, in_channels=2)
    modules = dict(network.named_modules())
    assert table.stride == 16 and table.parameters == sum(p.numel() for p in network.parameters())
    counted = 0
    for layer in table.layers:
        module = modules[layer.path]
        assert layer.kind == type(module).__name__
        assert layer.parameters == sum(p.numel() for p in module.parameters(recurse=False))
        if isinstance(module, nn.Conv2d):
            assert layer.output is not None and layer.output[1] == module.out_channels
            area = layer.output[2] * layer.output[3]
            assert layer.macs == area * module.weight.numel()
            counted += layer.macs
        elif isinstance(module, nn.ConvTranspose2d):
            assert layer.output is not None
            counted += layer.output[2] * layer.output[3] * module.weight.numel() // 4
    assert table.macs == counted
    assert table.layers[0].output == (1, 4, 48, 48), "33 pixels are padded to 48"


def test_what_a_module_does_itself_is_its_own_row() -> None:
    # The attention of a Vision Transformer multiplies matrices outside of its layers.
    table = layer_table("smp:DPT/tu-test_vit", size=64)
    rows = {layer.path: layer for layer in table.layers}
    attention = rows["net.encoder.model.blocks.0.attn"]
    tokens, width = 16 + 1, 64
    assert attention.macs == 2 * tokens**2 * width and attention.parameters == 0
    assert rows["net.encoder.model.blocks.0.attn.qkv"].macs == tokens * width * 3 * width
    assert table.parameters == sum(p.numel() for p in build("smp:DPT/tu-test_vit", num_classes=21).parameters())


def test_macs_grow_with_the_area() -> None:
    small, large = (layer_table("segnet_lite", size=size) for size in (64, 128))
    assert large.macs == 4 * small.macs and large.parameters == small.parameters


def test_known_networks_have_their_published_numbers() -> None:
    # torchvision states 42,004,074 parameters with the auxiliary classifier, and 178.722 GFLOPs, as it calls MACs.
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 257 * 21
    table = layer_table("torchvision:deeplabv3_resnet50", size=520)
    assert table.parameters == 42_004_074 - auxiliary
    auxiliary_macs = 65 * 65 * (9 * 1024 * 256 + 256 * 21)
    assert (table.macs + auxiliary_macs) / 1e9 == pytest.approx(178.722, abs=0.001)


def test_every_own_model_is_listed() -> None:
    tables = own_models(size=64)
    assert [table.name for table in tables] == list(MODELS)
    assert all(table.parameters > 0 and table.macs > 0 for table in tables)
    assert all(sum(row["macs"] for row in table.record()["layers"]) == table.record()["macs"] for table in tables)


def test_a_network_that_looks_at_values_is_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Looks(nn.Module):
        stride = 1

        def __init__(self, in_channels: int, out_channels: int) -> None:
            super().__init__()
            self.head = nn.Conv2d(in_channels, out_channels, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.head(image) * image.mean().item()

    from maskwright.models.zoo import Architecture

    monkeypatch.setitem(MODELS, "looks", Architecture(builder=Looks, source="here"))
    assert layer_table("looks", size=8).macs == 8 * 8 * 3 * 21


def test_a_network_that_cannot_be_built_of_shapes_alone_is_counted_too() -> None:
    # The encoder reads numbers from a tensor when it is made.
    table = layer_table("smp:Segformer/mit_b0", size=32, num_classes=2)
    assert table.parameters == sum(p.numel() for p in build("smp:Segformer/mit_b0", num_classes=2).parameters())
    assert table.macs > 0


def test_a_size_that_a_network_does_not_take_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot take images of 64×64 pixels.*224"):
        layer_table("smp:FPN/tu-swin_tiny_patch4_window7_224", size=64)


def test_what_cannot_be_fetched_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(config: ModelConfig, **_channels: int) -> NoReturn:
        asked.append(config.name)
        raise ConfigError("no network") from OSError()

    monkeypatch.setattr("maskwright.engine.layer_table.build", refuse)
    with pytest.raises(ConfigError, match="no network"):
        layer_table("hf:nobody/nothing")
    assert asked == ["hf:nobody/nothing"]


@pytest.mark.parametrize("size", [0, -1])
def test_an_image_has_pixels(size: int) -> None:
    with pytest.raises(ConfigError, match=str(size)):
        layer_table("unet", size=size)
