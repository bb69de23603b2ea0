"""SegNet: the count of the published layers, the mirror of its encoder, pooling undone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models import ModelConfig, build, vgg
from maskwright.models.segnet import SegNet
from torchvision_states import narrow_vgg16, serve

DOWN = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]


@pytest.mark.parametrize(("num_classes", "millions"), [(11, 29.45), (21, 29.46)])
def test_network_has_the_published_number_of_parameters(num_classes: int, millions: float) -> None:
    with torch.device("meta"):
        segmenter = build("segnet", num_classes=num_classes)
    # 3×3 weights and biases of 3→64→…→512 and of the same way back, two values of batch norm for each channel but the
    # logits'.
    channels = [3, *DOWN, *DOWN[-2::-1], num_classes]
    convolutions = sum(9 * a * b + b for a, b in zip(channels[:-1], channels[1:], strict=True))
    expected = convolutions + 2 * sum(channels[1:-1])
    assert sum(p.numel() for p in segmenter.parameters()) == expected
    assert round(expected / 1e6, 2) == millions
    assert f"{expected:,} " in (SegNet.__doc__ or "")
    assert segmenter.stride == 32


def test_the_decoder_mirrors_the_13_convolutions_of_the_encoder() -> None:
    with torch.device("meta"):
        network = SegNet(3, 11)
    layers = [(m.in_channels, m.out_channels) for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert layers[:13] == list(zip([3, *DOWN[:-1]], DOWN, strict=True))
    assert layers[13:-1] == [(b, a) for a, b in layers[12:0:-1]]
    assert layers[-1] == (64, 11)


def test_values_come_back_where_they_were_taken() -> None:
    # With all convolutions the identity of the first channel, what is left are the largest values of 32×32 blocks.
    network = SegNet(3, 1, width=2).eval()
    values = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                module.weight[0, 0, 1, 1] = 1
                module.bias.zero_()
        kept = network(values)[0, 0]
    largest, where = F.max_pool2d(values[:, :1], 32, return_indices=True)
    expected = torch.zeros(64 * 96)
    expected[where.flatten()] = largest.flatten()
    torch.testing.assert_close(kept, expected.view(64, 96), rtol=1e-3, atol=0)


def test_imagenet_weights_reach_the_network_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    state = narrow_vgg16(4, 16, batch_norm=True).state_dict()
    serve(monkeypatch, vgg, {"vgg16_bn": state})
    config = ModelConfig(name="segnet", pretrained="imagenet", options={"width": 4})
    encoder = build(config, num_classes=3).net.encoder
    assert torch.equal(encoder[0][0][0].weight, state["features.0.weight"])
    assert torch.equal(encoder[4][2][1].running_var, state["features.41.running_var"])
