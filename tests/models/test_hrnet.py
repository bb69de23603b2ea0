"""HRNet with both heads: the papers' sizes, the mathematics of OCR, weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build
from maskwright.models.hrnet import HRNet
from maskwright.models.ocr import OCRHead, attend, region_features
from networks import multiply_adds_of, no_hub, over_channels, parameters_of, pretend_hub, unallocated

SMALL = "hrnet_w18_small"


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("encoder", "head", "millions"),
    [
        ("hrnet_w48", "hrnetv2", 65.9),
        ("hrnet_w18", "hrnetv2", 9.6),
        ("hrnet_w18_small_v2", "hrnetv2", 3.9),
        ("hrnet_w18_small", "hrnetv2", 1.5),
        ("hrnet_w48", "ocr", 70.4),
    ],
)
def test_parameters_are_the_published_ones(encoder: str, head: str, millions: float) -> None:
    # With the 19 classes of Cityscapes.
    network = unallocated(lambda: HRNet(3, 19, encoder=encoder, head=head))
    assert round(parameters_of(network) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("encoder", "giga"), [("hrnet_w48", 696.2), ("hrnet_w18_small_v2", 71.6), ("hrnet_w18_small", 31.1)]
)
def test_the_cost_is_the_published_one(encoder: str, giga: float) -> None:
    # The authors' list, 1024×2048 pixels; their giga is 2**30, for all three alike.
    network = unallocated(lambda: HRNet(3, 19, encoder=encoder))
    assert round(multiply_adds_of(network, 1024, 2048) / 2**30, 1) == giga


def test_the_head_sees_four_branches_at_stride_4() -> None:
    network = HRNet(3, 5, encoder=SMALL).eval()
    seen: list[tuple[int, ...]] = []
    network.head.register_forward_pre_hook(lambda _module, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        logits = network(torch.rand(1, 3, 64, 96))
        branches = network.encoder(torch.rand(1, 3, 64, 96))
    assert [tuple(b.shape[1:]) for b in branches] == [(16, 16, 24), (32, 8, 12), (64, 4, 6), (128, 2, 3)]
    assert seen == [(1, 16 + 32 + 64 + 128, 16, 24)]
    assert logits.shape == (1, 5, 64, 96)
    assert network.stride == 32


def test_a_region_is_the_mean_of_features_under_its_softmax() -> None:
    pixels, logits = features(2, 3, 4, 5), 3 * features(2, 6, 4, 5, seed=1)
    regions = region_features(pixels, logits)
    assert regions.shape == (2, 3, 6, 1)
    for n in range(2):
        for r in range(6):
            weights = logits[n, r].exp() / logits[n, r].exp().sum()
            for c in range(3):
                torch.testing.assert_close(regions[n, c, r, 0], (weights * pixels[n, c]).sum())


def test_every_pixel_attends_to_all_regions() -> None:
    query, key, value = features(2, 4, 3, 5), features(2, 4, 6, 1, seed=1), features(2, 4, 6, 1, seed=2)
    context = attend(query, key, value)
    assert context.shape == (2, 4, 3, 5)
    for n in range(2):
        for row in range(3):
            for column in range(5):
                scores = [float(query[n, :, row, column] @ key[n, :, r, 0]) / 2 for r in range(6)]
                weights = torch.tensor(scores, dtype=torch.float64).exp()
                expected = sum(w * value[n, :, r, 0] for r, w in enumerate(weights / weights.sum()))
                torch.testing.assert_close(context[n, :, row, column], expected)


@pytest.mark.parametrize(("classes", "regions"), [(1, 2), (2, 2), (5, 5)])
def test_there_is_a_region_for_each_class(classes: int, regions: int) -> None:
    head = OCRHead(6, classes, width=8, key_width=4).eval()
    seen: list[int] = []
    head.key.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape[2]))
    with torch.no_grad():
        assert head(torch.randn(1, 6, 4, 4)).shape == (1, classes, 4, 4)
    assert seen == [regions]


def test_the_regions_of_a_binary_network_lie_where_the_others_do_not() -> None:
    head = OCRHead(6, 1, width=8, key_width=4).eval()
    seen: list[Tensor] = []
    head.key.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 6, 4, 4)
    with torch.no_grad():
        head(x)
        pixels, logits = head.pixels(x), head.region_logits(x)
        torch.testing.assert_close(seen[0][:, :, 1:], region_features(pixels, logits))
        torch.testing.assert_close(seen[0][:, :, :1], region_features(pixels, -logits))


@pytest.mark.parametrize("in_channels", [3, 4])
def test_pretrained_weights_fill_the_encoder(in_channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = pretend_hub(monkeypatch)
    config = ModelConfig(name="hrnet", pretrained="imagenet", options={"encoder": SMALL})
    segmenter = build(config, num_classes=3, in_channels=in_channels)
    (trained,) = fetched
    theirs = trained.state_dict()
    theirs["conv1.weight"] = over_channels(theirs["conv1.weight"], in_channels)
    for name, own in segmenter.net.encoder.state_dict().items():
        torch.testing.assert_close(own, theirs[name], msg=name)
    torch.testing.assert_close(segmenter.mean.flatten()[:3], torch.tensor([0.485, 0.456, 0.406]))


def test_pretrained_weights_without_network_are_a_named_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_hub(monkeypatch, tmp_path)
    with pytest.raises(ConfigError, match="hrnet_w18_small.*none"):
        build(ModelConfig(name="hrnet", pretrained="imagenet", options={"encoder": SMALL}), num_classes=2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"encoder": "resnet18"}, "hrnet_w18, .*got 'resnet18'"), ({"head": "fcn"}, "hrnetv2, ocr; got 'fcn'")],
)
def test_unfit_options_are_named(options: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build(ModelConfig(name="hrnet", options=options), num_classes=2)
