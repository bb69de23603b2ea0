"""DeepLab-LargeFOV: the published count, and what a logit sees."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models import ModelConfig, build, vgg
from maskwright.models.deeplabv1 import DeepLabV1
from torchvision_states import narrow_vgg16, serve


def test_network_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        segmenter = build("deeplabv1", num_classes=21)
    # VGG-16's convolutions, fc6 of 3×3 from 512 to 1,024 channels, fc7, fc8: the 20.5 million of the paper's table.
    expected = 14_714_688 + (9 * 512 + 1) * 1_024 + 1_025 * 1_024 + 1_025 * 21
    assert sum(p.numel() for p in segmenter.parameters()) == expected
    assert f"{expected:,} parameters with 21 classes" in (DeepLabV1.__doc__ or "")
    assert round(expected / 1e6, 1) == 20.5
    assert segmenter.stride == 8


def test_a_logit_sees_412_pixels_around_its_own_eight() -> None:
    # From the layers' table, kernels and poolings in steps of 1, 2, 4 and 8 pixels: 1 + 2·2 + 1 + 2·2·2 + 2 + 3·2·4 + 4
    # + 3·2·8 + 2·8 + 3·2·16 + 2·8 + 2·12·8 = 412. What is not a number reaches all that see it.
    network = DeepLabV1(1, 1, width=1, fc_width=1).double().eval()
    length, spot = 960, 480
    row = torch.zeros(1, 1, 8, length, dtype=torch.float64)
    row[..., spot] = torch.nan
    with torch.no_grad():
        cells = network.head(network.encoder(row)[-1])[0, 0, 0]
    middles = 8 * torch.arange(length // 8) + 3.5
    assert torch.equal(cells.isnan(), (middles - spot).abs() <= (412 - 1) / 2)


def test_dilations_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        network = DeepLabV1()
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [m.dilation[0] for m in convolutions] == [1] * 10 + [2] * 3 + [12, 1, 1]
    assert [m.kernel_size[0] for m in convolutions] == [3] * 14 + [1, 1]


def test_logits_are_enlarged_bilinearly() -> None:
    torch.manual_seed(0)
    network = DeepLabV1(3, 4, width=4, fc_width=16).eval()
    image = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        coarse = network.head(network.encoder(image)[-1])
        assert coarse.shape == (1, 4, 5, 7)
        expected = F.interpolate(coarse, scale_factor=8, mode="bilinear", align_corners=False)
        torch.testing.assert_close(network(image), expected)


def test_imagenet_weights_reach_the_network_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    state = narrow_vgg16(4, 64).state_dict()
    serve(monkeypatch, vgg, {"vgg16": state})
    config = ModelConfig(name="deeplabv1", pretrained="imagenet", options={"width": 4, "fc_width": 16})
    encoder = build(config, num_classes=3).net.encoder
    assert torch.equal(encoder.stages[0][0][0].weight, state["features.0.weight"])
    first = state["classifier.0.weight"][0].view(32, 7, 7)
    assert torch.equal(encoder.fc6[0].weight[0], first[:, ::3, ::3])
