"""DeepLab v2: torchvision's ResNet at stride 8, the sum of four dilated scores, the largest logit over scales."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build, deeplabv2, weights
from maskwright.models.deeplabv2 import DeepLabV2, read_scales
from torchvision_states import laid_out, serve


class Cells(nn.Module):
    """An encoder that hands on every eighth pixel."""

    def forward(self, image: Tensor) -> Tensor:
        return image[..., ::8, ::8]


def without_encoder(scales: str) -> DeepLabV2:
    """DeepLab v2 whose two logits are the first two channels of the image at every eighth pixel."""
    with torch.device("meta"):
        network = DeepLabV2(2, 2, encoder="resnet50", scales=scales)
    network.encoder = Cells()
    network.head = nn.ModuleList([nn.Identity()])
    return network.eval()


def smooth_image(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack((x, 50 - y))[None]


@pytest.mark.parametrize(
    ("encoder", "trunk"),
    # torchvision's networks of 25,557,032 and 44,549,160 without the 2,048·1,000 + 1,000 of the classifier.
    [("resnet50", 25_557_032 - 2_049_000), ("resnet101", 44_549_160 - 2_049_000)],
)
def test_network_has_the_published_number_of_parameters(encoder: str, trunk: int) -> None:
    with torch.device("meta"):
        segmenter = build(ModelConfig(name="deeplabv2", options={"encoder": encoder}), num_classes=21)
    expected = trunk + 4 * (9 * 2_048 + 1) * 21
    assert sum(p.numel() for p in segmenter.parameters()) == expected
    assert encoder == "resnet50" or f"{expected:,} parameters" in (DeepLabV2.__doc__ or "")
    assert segmenter.stride == 8


def test_stages_4_and_5_are_dilated_by_2_and_4() -> None:
    with torch.device("meta"):
        network = DeepLabV2()
        features = network.encoder(torch.empty(1, 3, 65, 129))
    assert features.shape == (1, 2_048, 9, 17)
    # torchvision's first block of a stage still has the dilation of the stage before it.
    dilations = [[block.conv2.dilation[0] for block in getattr(network.encoder, f"layer{i}")] for i in (1, 2, 3, 4)]
    assert dilations == [[1] * 3, [1] * 4, [1] + [2] * 22, [2, 4, 4]]
    assert [branch.dilation[0] for branch in network.head] == [6, 12, 18, 24]


def test_the_scores_of_four_dilations_are_added() -> None:
    torch.manual_seed(0)
    network = DeepLabV2(3, 2, encoder="resnet50", scales="1").eval()
    image = torch.rand(1, 3, 33, 41)
    with torch.no_grad():
        # The last row and column of the image repeat those before them, as the network itself does.
        image[..., -1, :] = image[..., -2, :]
        image[..., -1] = image[..., -2]
        features = network.encoder(image)
        expected = sum(
            F.conv2d(features, branch.weight, branch.bias, padding=rate, dilation=rate)
            for branch, rate in zip(network.head, (6, 12, 18, 24), strict=True)
        )
        logits = network(image[..., :-1, :-1])
    assert expected.shape == (1, 2, 5, 6)
    # Features lie on every eighth pixel.
    torch.testing.assert_close(logits[..., ::8, ::8], expected[..., :-1, :-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scales", ["1", "0.5", "0.5,0.75,1"])
def test_logits_lie_where_the_image_has_them_at_every_scale(scales: str) -> None:
    # The repeated last row and column bend the ramp within the last cells only.
    image = smooth_image(64, 96)
    logits = without_encoder(scales)(image)
    assert logits.shape == image.shape
    torch.testing.assert_close(logits[..., :48, :80], image[..., :48, :80], rtol=0, atol=1e-3)


def test_each_logit_is_the_largest_over_the_scales() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 2, 64, 96)
    single = torch.stack([without_encoder(scale)(image) for scale in ("0.5", "0.75", "1")])
    assert torch.equal(without_encoder("1,0.5,0.75")(image), single.amax(0))
    assert (single.argmax(0).unique() == torch.arange(3)).all()


def test_scales_that_come_to_the_same_size_cost_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    network = without_encoder("0.5,0.75,1")
    sizes: list[tuple[int, ...]] = []
    network.encoder.register_forward_hook(lambda _module, inputs, _output: sizes.append(tuple(inputs[0].shape[2:])))
    network(torch.rand(1, 2, 8, 8))
    assert sizes == [(9, 9)]
    sizes.clear()
    network(torch.rand(1, 2, 32, 64))
    assert sizes == [(17, 33), (25, 49), (33, 65)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0.5, 0.75,1", (0.5, 0.75, 1.0)), (1, (1.0,)), (0.5, (0.5,)), ([1, 1.5], (1.0, 1.5)), ("2", (2.0,))],
)
def test_scales_are_text_a_number_or_numbers(given: object, expected: tuple[float, ...]) -> None:
    assert read_scales(given) == expected


@pytest.mark.parametrize("scales", ["", "half", "0.5,,1", 0, -1.0, "nan", "inf", []])
def test_other_scales_are_named(scales: object) -> None:
    with pytest.raises(ConfigError) as caught:
        build(ModelConfig(name="deeplabv2", options={"encoder": "resnet50", "scales": scales}), num_classes=2)
    assert f"scales must be positive numbers such as 0.5,0.75,1, got {scales!r}" in str(caught.value)


def test_another_encoder_is_named() -> None:
    with pytest.raises(ConfigError, match="encoder must be one of resnet50, resnet101, resnet152, got 'resnet18'"):
        build(ModelConfig(name="deeplabv2", options={"encoder": "resnet18"}), num_classes=2)


def test_the_published_weights_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, deeplabv2, {"resnet101": laid_out("resnet101")})
    with torch.device("meta"):
        network = DeepLabV2()
        assert deeplabv2.load_resnet(network) == weights.IMAGENET


def test_features_equal_those_of_torchvision_with_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    theirs = get_model("resnet50", weights=None, replace_stride_with_dilation=[False, True, True]).eval()
    serve(monkeypatch, deeplabv2, {"resnet50": theirs.state_dict()})
    config = ModelConfig(name="deeplabv2", pretrained="imagenet", options={"encoder": "resnet50"})
    ours = build(config, num_classes=2).net.encoder.eval()
    theirs.avgpool = nn.Identity()
    theirs.fc = nn.Identity()
    image = torch.rand(1, 3, 33, 33)
    with torch.no_grad():
        torch.testing.assert_close(ours(image).flatten(1), theirs(image))
    four = build(config, num_classes=2, in_channels=4).net.encoder.conv1.weight
    rgb = theirs.conv1.weight
    torch.testing.assert_close(four, torch.cat((rgb, rgb[:, :1]), 1) * 3 / 4)
