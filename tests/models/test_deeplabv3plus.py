"""DeepLab v3+ on aligned Xception-65: the reference implementations' sizes, features and weights."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build
from maskwright.models.deeplabv3plus import DeepLabV3Plus
from maskwright.models.xception import AlignedXception, renamed
from networks import (
    multiply_adds_of,
    no_hub,
    over_channels,
    parameters_of,
    pretend_hub,
    randomise,
    running_statistics_of,
    unallocated,
)


def dilations(network: nn.Module) -> list[int]:
    return [m.dilation[0] for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]


def test_the_encoder_has_the_parameters_of_xception_65() -> None:
    # timm's takes the authors' weights; without the classifier, 2048·1000 weights and 1000 biases.
    assert parameters_of(unallocated(AlignedXception)) == 37_867_312 == 39_916_312 - 2_049_000


def test_half_of_the_middle_makes_it_xception_41() -> None:
    xception_41 = unallocated(lambda: timm.create_model("xception41", num_classes=0))
    assert parameters_of(unallocated(lambda: AlignedXception(middle_blocks=8))) == parameters_of(xception_41)


def test_the_whole_has_the_parameters_of_the_reference() -> None:
    # keras-deeplab-v3-plus prints 41,258,213 for 21 classes; Keras counts the statistics of batch normalisation too.
    network = unallocated(lambda: DeepLabV3Plus(3, 21))
    assert parameters_of(network) == 41_055_413
    assert parameters_of(network) + running_statistics_of(network) == 41_258_213


def test_the_whole_costs_what_the_authors_say() -> None:
    # The authors' list of models: 54.17 billion for 513×513 pixels at output stride 16, not of the convolutions alone.
    assert multiply_adds_of(unallocated(lambda: DeepLabV3Plus(3, 21)), 513, 513) == pytest.approx(54.17e9, rel=0.005)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_features_equal_those_of_the_reference(output_stride: int) -> None:
    reference = timm.create_model("xception41", output_stride=output_stride, num_classes=0).eval()
    randomise(reference)
    encoder = AlignedXception(output_stride=output_stride, middle_blocks=8).eval()
    encoder.load_state_dict(renamed(reference.state_dict(), encoder))
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fine, deep = encoder(image)
        expected, features = reference.forward_intermediates(image)
    torch.testing.assert_close(deep, expected)
    torch.testing.assert_close(fine.relu(), features[1])
    assert (fine < 0).any()
    assert fine.shape == (1, 256, 16, 24)
    assert deep.shape == (1, 2048, 64 // output_stride, 96 // output_stride)


@pytest.mark.parametrize(
    ("output_stride", "encoder", "pyramid"),
    [
        (16, [1, 1, *[1] * 3 * 3, *[1] * 2 * 3, *[1] * 3, *[2] * 3], [6, 12, 18]),
        (8, [1, 1, *[1] * 3 * 3, *[2] * 2 * 3, *[2] * 3, *[4] * 3], [12, 24, 36]),
    ],
)
def test_atrous_convolutions_take_the_place_of_strides(
    output_stride: int, encoder: list[int], pyramid: list[int]
) -> None:
    # Stem, three entry blocks, here two in the middle, the exit block, the last three convolutions.
    network = unallocated(lambda: DeepLabV3Plus(output_stride=output_stride, middle_blocks=2))
    assert dilations(network.encoder) == encoder
    assert dilations(network.pyramid) == pyramid
    assert network.stride == output_stride


def test_nothing_is_pooled_but_the_whole_image() -> None:
    pools = [m for m in unallocated(DeepLabV3Plus).modules() if "Pool" in type(m).__name__]
    assert [type(pool) for pool in pools] == [nn.AdaptiveAvgPool2d]


def test_the_decoder_sees_deep_and_fine_features() -> None:
    network = DeepLabV3Plus(3, 2, middle_blocks=0).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        logits = network(image)
        for part in (network.project[0], network.pyramid.project[0][0]):
            kept = part.weight.clone()
            part.weight.zero_()
            assert not torch.equal(network(image), logits)
            part.weight.copy_(kept)


@pytest.mark.parametrize("in_channels", [3, 4])
def test_pretrained_weights_fill_the_encoder(in_channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = pretend_hub(monkeypatch)
    config = ModelConfig(name="deeplabv3plus", pretrained="imagenet")
    segmenter = build(config, num_classes=3, in_channels=in_channels)
    (trained,) = fetched
    stem, *others = zip(segmenter.net.encoder.state_dict().values(), trained.state_dict().values(), strict=True)
    torch.testing.assert_close(stem[0], over_channels(stem[1], in_channels))
    assert all(torch.equal(own, theirs) for own, theirs in others)
    assert segmenter.mean.flatten().tolist() == [0.5] * in_channels
    assert segmenter.std.flatten().tolist()[:3] == [0.5] * 3


def test_pretrained_weights_of_another_depth_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_hub(monkeypatch)
    config = ModelConfig(name="deeplabv3plus", pretrained="imagenet", options={"middle_blocks": 8})
    with pytest.raises(ConfigError, match="middle_blocks=16"):
        build(config, num_classes=2)


def test_pretrained_weights_without_network_are_a_named_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_hub(monkeypatch, tmp_path)
    with pytest.raises(ConfigError, match="xception65.*none"):
        build(ModelConfig(name="deeplabv3plus", pretrained="imagenet"), num_classes=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"output_stride": 32}, "16 or 8, got 32"), ({"middle_blocks": -1}, "at least 0, got -1")],
)
def test_unfit_options_are_named(options: dict[str, int], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build(ModelConfig(name="deeplabv3plus", options=options), num_classes=2)


def test_an_encoder_of_another_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="output_stride must be 8, 16 or 32, got 4"):
        AlignedXception(output_stride=4)
