"""torchvision's networks: the library's own numbers, any channels and classes, and weights that fit where they can."""

import logging
import socket
from typing import Any, NoReturn

import pytest
import torch
import torchvision
from torch import Tensor

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build, class_names, from_torchvision, weights
from maskwright.models.from_torchvision import NAMES

SMALL = "torchvision:lraspp_mobilenet_v3_large"


def picture(*size: int, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0))


def fault(config: ModelConfig | str, num_classes: int = 3) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config, num_classes=num_classes)
    return str(caught.value)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"])
def test_logits_are_the_library_s_own(name: str) -> None:
    torch.manual_seed(0)
    segmenter = build(f"torchvision:{name}", num_classes=5).eval()
    library = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=5).eval()
    library.load_state_dict(segmenter.net.network.state_dict())
    image = picture(64, 96)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = library((image - mean) / std)["out"]
        torch.testing.assert_close(segmenter(image), expected, rtol=1e-6, atol=1e-6)
        for size in [(1, 1), (33, 20)]:
            assert segmenter(picture(*size)).shape == (1, 5, *size)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_of_the_registry_is_built(name: str) -> None:
    with torch.device("meta"):
        segmenter = build(f"torchvision:{name}", num_classes=2, in_channels=4).eval()
        assert segmenter(torch.zeros(1, 4, 33, 20)).shape == (1, 1, 33, 20)
    assert segmenter.stride == (16 if "mobilenet" in name else 8)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_every_channel_is_read(channels: int) -> None:
    torch.manual_seed(0)
    segmenter = build(SMALL, num_classes=3, in_channels=channels).eval()
    image = picture(48, 48, channels=channels)
    with torch.no_grad():
        logits = segmenter(image)
        for channel in range(channels):
            changed = image.clone()
            changed[:, channel] = 1 - changed[:, channel]
            assert not torch.equal(segmenter(changed), logits), f"channel {channel} is not read"


class Weights:
    """Stands for torchvision's, without network."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.state = network.state_dict()

    def get_state_dict(self, **options: Any) -> dict[str, Tensor]:
        return self.state


@pytest.mark.parametrize(("num_classes", "kept"), [(21, True), (5, False)])
def test_full_weights_keep_the_head_where_its_classes_fit(
    num_classes: int, kept: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    learnt = torchvision.models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None)
    monkeypatch.setattr(from_torchvision, "_full", lambda name: Weights(learnt))
    with caplog.at_level(logging.WARNING, logger="maskwright"):
        network = build(ModelConfig(name=SMALL, pretrained="full"), num_classes=num_classes, in_channels=4).net.network
    state = network.state_dict()
    stem = "backbone.0.0.weight"
    for name, value in learnt.state_dict().items():
        if name == stem:
            torch.testing.assert_close(state[name], torch.cat((value, value[:, :1]), 1) * 3 / 4)
        elif "classifier.low_classifier" not in name and "classifier.high_classifier" not in name:
            assert torch.equal(state[name], value), name
    head = "classifier.high_classifier.weight"
    assert (state[head].shape == learnt.state_dict()[head].shape) == kept
    assert (not caplog.text) == kept
    assert kept or ("high_classifier" in caplog.text and SMALL in caplog.text)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "fcn_resnet50"])
def test_imagenet_weights_fill_the_backbone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = name.partition("_")[2]
    learnt = torchvision.models.get_model(backbone, weights=None).state_dict()
    asked: list[str] = []

    def state_of(name: str) -> dict[str, Tensor]:
        asked.append(name)
        return learnt

    monkeypatch.setattr(weights, "torchvision_state", state_of)
    network = build(ModelConfig(name=f"torchvision:{name}", pretrained="imagenet"), num_classes=3).net.network
    assert asked == [backbone]
    prefix = "features." if "mobilenet" in backbone else ""
    for key, value in network.backbone.state_dict().items():
        assert torch.equal(value, learnt[prefix + key]), key


def test_full_weights_know_the_classes_of_voc() -> None:
    names = class_names(SMALL)
    assert len(names) == 21 and names[0] == "__background__" and names[15] == "person"


@pytest.mark.parametrize(
    ("pretrained", "what"),
    [("imagenet", "ImageNet weights of 'mobilenet_v3_large'"), ("full", f"weights of {SMALL!r}")],
)
def test_a_missing_network_is_named_with_what_works_offline(
    pretrained: Any, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    def offline(*arguments: object, **options: object) -> NoReturn:
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", offline)
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    message = fault(ModelConfig(name=SMALL, pretrained=pretrained), 21)
    assert f"the {what} cannot be fetched" in message and "imagenet-offline" in message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ModelConfig(name="torchvision:deeplab_resnet50"), ["deeplab_resnet50", "deeplabv3_resnet50"]),
        (ModelConfig(name=SMALL, options={"width": 4}), ["width", "no options"]),
        (ModelConfig(name=SMALL, pretrained="imagenet-offline"), ["imagenet-offline", "tf_efficientnet_lite0", "smp:"]),
    ],
)
def test_what_it_has_not_is_named(config: ModelConfig, words: list[str]) -> None:
    message = fault(config)
    assert all(word in message for word in words), message
