"""Weights of torchvision: kept from one time to the next, and named errors where they cannot be had."""

import pickle
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build
from maskwright.models.weights import torchvision_state

VGG16_FILE = "vgg16-397923af.pth"


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
