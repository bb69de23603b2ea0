"""FCN: the counts of the published layers, and upsampling that starts as bilinear interpolation."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskwright.models import ModelConfig, build, vgg, weights
from maskwright.models.fcn import FCN, FCN8s, FCN16s, FCN32s, bilinear_up
from torchvision_states import narrow_vgg16, serve

# 13 convolutions, fc6 and fc7 of VGG-16 (see test_vgg.py).
VGG = 14_714_688 + 102_764_544 + 16_781_312


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "expected"),
    # With k classes: 1×1 scores of fc7 (4,096 channels), pool4 (512), pool3 (256), each with k biases; transposed
    # convolutions k·k·(2f)² without biases for factors f: 2 after each skip's coarser score, and the rest at the end.
    [
        ("fcn32s", VGG + 4_097 * 21 + 21 * 21 * 64**2),
        ("fcn16s", VGG + (4_097 + 513) * 21 + 21 * 21 * (4**2 + 32**2)),
        ("fcn8s", VGG + (4_097 + 513 + 257) * 21 + 21 * 21 * (4**2 + 4**2 + 16**2)),
    ],
)
def test_networks_have_the_published_number_of_parameters(name: str, expected: int) -> None:
    with torch.device("meta"):
        segmenter = build(name, num_classes=21)
    assert sum(p.numel() for p in segmenter.parameters()) == expected
    assert f"{expected:,} parameters with 21 classes" in (type(segmenter.net).__doc__ or "")
    assert segmenter.stride == 32


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_upsampling_starts_as_bilinear_interpolation_up_to_the_border(factor: int) -> None:
    x = noise(2, 3, 4, 5)
    with torch.no_grad():
        result = bilinear_up(3, factor)(x)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)


def test_upsampling_keeps_constants_and_continues_ramps() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 6, 8)
    with torch.no_grad():
        up = bilinear_up(1, 8)
        constant, sloped = up(torch.full((1, 1, 6, 8), 7.0)), up(ramp)
    torch.testing.assert_close(constant, torch.full((1, 1, 48, 64), 7.0))
    between = sloped[0, 0, :, 4:-4]
    torch.testing.assert_close(between, ((torch.arange(56.0) + 0.5) / 8).expand(48, 56))


@pytest.mark.parametrize("kind", [FCN32s, FCN16s, FCN8s])
def test_untrained_skips_add_nothing(kind: type[FCN]) -> None:
    torch.manual_seed(0)
    network = kind(3, 4, width=4, fc_width=16).eval()
    x = noise(1, 3, 64, 96)
    with torch.no_grad():
        # Two bilinear upsamplings in a row are not the one: hence a constant score.
        network.score.weight.zero_()
        network.score.bias.copy_(torch.arange(4.0))
        torch.testing.assert_close(network(x), torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 64, 96))


@pytest.mark.parametrize(("kind", "strides"), [(FCN32s, []), (FCN16s, [16]), (FCN8s, [16, 8])])
def test_skips_score_pool4_and_pool3(kind: type[FCN], strides: list[int]) -> None:
    network = kind(3, 2, width=4, fc_width=8).eval()
    seen: list[tuple[int, ...]] = []
    for score in network.skip_scores:
        score.register_forward_hook(lambda _module, inputs, _output: seen.append(tuple(inputs[0].shape[1:])))
    with torch.no_grad():
        before = network(noise(1, 3, 64, 64))
        for score in network.skip_scores:
            nn.init.ones_(score.bias)
        after = network(noise(1, 3, 64, 64))
    assert seen[: len(strides)] == [({16: 32, 8: 16}[stride], 64 // stride, 64 // stride) for stride in strides]
    torch.testing.assert_close(after - before, torch.full_like(before, len(strides)), rtol=1e-4, atol=1e-4)


def test_imagenet_weights_reach_the_network_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    state = narrow_vgg16(4, 16).state_dict()
    serve(monkeypatch, vgg, {"vgg16": state})
    config = ModelConfig(name="fcn8s", pretrained="imagenet", options={"width": 4, "fc_width": 16})
    segmenter = build(config, num_classes=3, in_channels=4)
    encoder = segmenter.net.encoder
    assert torch.equal(encoder.stages[4][2][0].weight, state["features.28.weight"])
    assert torch.equal(encoder.fc7[0].weight.flatten(1), state["classifier.3.weight"])
    torch.testing.assert_close(segmenter.mean.flatten()[:3], torch.tensor(weights.IMAGENET.mean))
