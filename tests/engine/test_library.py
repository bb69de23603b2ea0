"""Prediction with a library's own weights: masks of classes, objects, names of the classes, and what it refuses."""

import json
import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from maskwright.cli import main
from maskwright.data.io import read_image, read_labels
from maskwright.engine.library import predict_with_library
from maskwright.engine.predict_instances import OBJECTS
from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build, mask_rcnn
from maskwright.models.mask_rcnn import MaskRCNNOptions
from tiny_detector import tiny, use
from tiny_transformers import write

RCNN = "torchvision:maskrcnn_resnet50_fpn"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, size in enumerate([(40, 64, 3), (33, 50, 3)]):
        pixels = np.random.default_rng(number).integers(0, 255, size).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"i{number}.png")
    return folder


def test_masks_of_classes_are_those_of_the_network(images: Path, tmp_path: Path) -> None:
    write("segformer", tmp_path / "net")
    name, out = f"hf:{tmp_path / 'net'}", tmp_path / "out"
    assert main(["predict", "--model", name, "--images", str(images), "--out", str(out), "--device", "cpu"]) == 0
    segmenter = build(ModelConfig(name=name, pretrained="full"), num_classes=4).eval()
    for path in images.iterdir():
        image = torch.from_numpy(read_image(path)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            expected = segmenter(image)[0].argmax(0)
        assert np.array_equal(read_labels(out / path.name), expected.numpy())
    assert yaml.safe_load((out / "classes.yaml").read_text())["names"] == [f"LABEL_{i}" for i in range(4)]
    (probabilities,) = predict_with_library(name, images / "i0.png", tmp_path / "p", save="probabilities", size=32)
    assert np.load(probabilities)["probabilities"].shape == (4, 40, 64)
    with pytest.raises(ConfigError, match="size"):
        predict_with_library(name, images, out, size=32)
    with pytest.raises(ConfigError, match="Mask2Former"):
        predict_with_library(name, images, tmp_path / "objects", save="instances")


def test_objects_of_a_universal_network(images: Path, tmp_path: Path) -> None:
    write("mask2former", tmp_path / "net")
    name, out = f"hf:{tmp_path / 'net'}", tmp_path / "out"
    maps = predict_with_library(name, images, out, save="instances", device="cpu", threshold=0.0)
    listed = json.loads((out / OBJECTS).read_text())
    names = yaml.safe_load((out / "classes.yaml").read_text())["names"]
    assert names == ["background", "LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]
    assert listed and {one["category_id"] for one in listed} <= {1, 2, 3, 4}
    for path in maps:
        own = [one for one in listed if one["file_name"] == path.name]
        assert read_labels(path).max() <= len(own)
    with pytest.raises(ConfigError, match="leave it out"):
        predict_with_library(name, images, tmp_path / "sized", save="instances", size=64)


class Weights:
    """Stands for torchvision's, without network."""

    def __init__(self) -> None:
        self.meta = {"categories": ["__background__", "cat", "dog"]}

    def get_state_dict(self, **options: Any) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        return tiny(RCNN, MaskRCNNOptions(), num_classes=3).state_dict()


def test_objects_of_mask_rcnn(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch)
    monkeypatch.setattr(mask_rcnn, "learnt_weights", lambda config: Weights())
    monkeypatch.setattr(mask_rcnn, "COCO_CLASSES", 3)
    common = ["--images", str(images), "--out", str(tmp_path), "--save", "instances", "--device", "cpu"]
    assert main(["predict", "--model", RCNN, *common]) == 0
    assert yaml.safe_load((tmp_path / "classes.yaml").read_text())["names"] == ["__background__", "cat", "dog"]
    assert (tmp_path / OBJECTS).exists() and (tmp_path / "i0.png").exists()
    with pytest.raises(ConfigError, match="save instances"):
        predict_with_library(RCNN, images, tmp_path / "labels")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["--run", "--model"]),
        (["--run", "x", "--model", RCNN], ["--run", "--model", "both"]),
        (["--model", "unet"], ["unet", "torchvision:", "hf:"]),
        (["--model", RCNN, "--threshold", "0.5"], ["--threshold", "--save instances"]),
        (["--model", RCNN, "--save", "instances", "--flip", "true"], ["flip", RCNN]),
        (["--run", "x", "--size", "8"], ["--size", "--run"]),
    ],
)
def test_what_does_not_fit_is_named(
    options: list[str], words: list[str], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--images", str(images), "--out", str(tmp_path / "out"), *options]) != 0
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not (tmp_path / "out").exists()


def test_a_missing_network_is_named(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: object, **options: object) -> NoReturn:
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", offline)
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be fetched"):
        predict_with_library("torchvision:lraspp_mobilenet_v3_large", images, tmp_path / "out")
