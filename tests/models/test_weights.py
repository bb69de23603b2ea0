"""Weights of torchvision: kept from one time to the next, and named errors where they cannot be had."""

import importlib.util
import pickle
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build
from maskwright.models.config import Pretrained
from maskwright.models.weights import MODELS_WITH, OFFLINE_PACKAGES, for_channels_of, torchvision_state

VGG16_FILE = "vgg16-397923af.pth"
LRASPP = "torchvision:lraspp_mobilenet_v3_large"


class Payload:
    """What runs code where it is unpickled."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.sentinel,)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of fetched files, empty, on a machine without network."""

    def refuse(*_args: object, **_options: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_a_file_that_was_fetched_before_is_read(kept: Path) -> None:
    torch.save({"features.0.bias": torch.arange(3.0)}, kept / VGG16_FILE)
    assert torch.equal(torchvision_state("vgg16")["features.0.bias"], torch.arange(3.0))


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("fcn32s", "vgg16"),
        ("fcn16s", "vgg16"),
        ("fcn8s", "vgg16"),
        ("segnet", "vgg16_bn"),
        ("deeplabv1", "vgg16"),
        ("deeplabv2", "resnet101"),
    ],
)
def test_no_network_points_to_the_offline_weights(model: str, weights: str, kept: Path) -> None:
    with torch.device("meta"), pytest.raises(ConfigError) as caught:
        build(ModelConfig(name=model, pretrained="imagenet"), num_classes=2)
    assert f"the ImageNet weights of {weights!r} cannot be fetched (URLError)" in str(caught.value)
    assert "imagenet-offline" in str(caught.value)
    assert list(kept.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_named(content: bytes, kept: Path) -> None:
    (kept / VGG16_FILE).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        torchvision_state("vgg16")
    assert "weights of 'vgg16' are damaged" in str(caught.value)
    assert str(kept) in str(caught.value)


def test_code_in_a_file_of_weights_is_not_run(kept: Path, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    (kept / VGG16_FILE).write_bytes(pickle.dumps(Payload(sentinel), protocol=2))
    with pytest.raises(ConfigError, match="damaged"):
        torchvision_state("vgg16")
    torch.save(Payload(sentinel), kept / VGG16_FILE)
    with pytest.raises(ConfigError, match="damaged"):
        torchvision_state("vgg16")
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("pretrained", "file"),
    [("imagenet", "mobilenet_v3_large-8738ca79.pth"), ("full", "lraspp_mobilenet_v3_large-d234d4ea.pth")],
)
def test_nor_is_code_in_a_file_of_an_adapted_model(
    pretrained: Pretrained, file: str, kept: Path, tmp_path: Path
) -> None:
    sentinel = tmp_path / "ran"
    torch.save(Payload(sentinel), kept / file)
    with pytest.raises(ConfigError, match="damaged"):
        build(ModelConfig(name=LRASPP, pretrained=pretrained), num_classes=21)
    assert not sentinel.exists()


@pytest.mark.skipif(
    importlib.util.find_spec(OFFLINE_PACKAGES["tf_efficientnet_lite0"]) is None, reason="needs `offline-weights`"
)
def test_models_that_errors_offer_have_offline_weights() -> None:
    for name in MODELS_WITH["imagenet-offline"].split(" or "):
        build(ModelConfig(name=name, pretrained="imagenet-offline"), num_classes=2)


@pytest.mark.parametrize(
    ("name", "pretrained"),
    [("unet", "imagenet"), ("fcn8s", "imagenet-offline"), (LRASPP, "imagenet-offline"), ("hrnet", "full")],
)
def test_a_model_without_such_weights_names_one_that_has_them(name: str, pretrained: Pretrained) -> None:
    with torch.device("meta"), pytest.raises(ConfigError) as caught:
        build(ModelConfig(name=name, pretrained=pretrained), num_classes=2)
    assert f"{name!r} has no {pretrained} weights" in str(caught.value)
    assert str(caught.value).endswith(f"or choose {MODELS_WITH[pretrained]}")


def test_only_the_channels_of_a_first_convolution_may_differ() -> None:
    learnt = torch.rand(4, 3, 5, 5)
    torch.testing.assert_close(for_channels_of(torch.empty(4, 6, 5, 5), learnt), torch.cat((learnt, learnt), 1) / 2)
    torch.testing.assert_close(for_channels_of(torch.empty(4, 1, 5, 5), learnt), learnt.sum(1, keepdim=True))
    for own in [(4, 3, 5, 5), (8, 6, 5, 5), (4, 6, 3, 3), (4,)]:
        assert for_channels_of(torch.empty(own), learnt) is learnt
    deeper = torch.rand(4, 2, 5, 5)
    assert for_channels_of(torch.empty(4, 6, 5, 5), deeper) is deeper
