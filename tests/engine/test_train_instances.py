"""Mask R-CNN from training to scores: a tiny network on pictures of squares; what it refuses; how it goes on."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright.cli import main
from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.io import read_image, read_labels
from maskwright.data.loading import TrainingData, TrainingLoader
from maskwright.data.transforms import AugmentConfig
from maskwright.engine import checkpoint
from maskwright.engine.config import SegmenterRunConfig, TrainConfig
from maskwright.engine.detector import Detector, load_detector
from maskwright.engine.instance_task import InstanceTask
from maskwright.engine.predict_instances import OBJECTS, predict_instances
from maskwright.engine.run import RunFolder, load_model
from maskwright.engine.train_instances import train_instances
from maskwright.errors import CheckpointError, ConfigError, DataError, MaskwrightError, Terminated
from maskwright.models import ModelConfig
from maskwright.models.mask_rcnn import targets_of
from tiny_detector import use

NAME = "torchvision:maskrcnn_resnet50_fpn"


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch)


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures of one bright square each."""
    from PIL import Image

    root = tmp_path_factory.mktemp("data") / "nuclei"
    generator = np.random.default_rng(1)
    for folder in ("images", "instances"):
        (root / folder).mkdir(parents=True)
    for index in range(10):
        ids = np.zeros((32, 32), np.uint16)
        top, left = generator.integers(2, 16, 2)
        ids[top : top + 12, left : left + 12] = 40_000 + index
        image = (40 + 150 * (ids > 0)[..., None] + generator.integers(-20, 20, (32, 32, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"n{index:02}.png")
        Image.fromarray(ids).save(root / "instances" / f"n{index:02}.png")
    return root


def config_of(nuclei: Path, **train: object) -> SegmenterRunConfig:
    return SegmenterRunConfig(
        data=DataConfig(name=f"nuclei:{nuclei}", val_fraction=0.25),
        model=ModelConfig(name=NAME, options={"scale": 2.0}),
        train=dataclasses.replace(TrainConfig(epochs=2, batch_size=3, learning_rate=0.003, device="cpu"), **train),
    )


def test_from_training_to_scores(nuclei: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, found, out = tmp_path / "run", tmp_path / "found", tmp_path / "scores"
    train = [
        "--train.epochs",
        "25",
        "--train.batch_size",
        "3",
        "--train.learning_rate",
        "0.004",
        "--train.device",
        "cpu",
    ]
    options = ["--model.options", "{scale: 2.0}", "--data.val_fraction", "0.25"]
    assert main(["train", "--data", f"nuclei:{nuclei}", "--model", NAME, *options, *train, "--out", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "AP50" in printed and "PQ" in printed
    record = json.loads((run / "metrics.json").read_text())
    losses = record["history"]["train_loss"]
    assert losses[-1] < losses[0] / 2
    assert record["part"] == "test" and record["instances"]["run"]["true_objects"] == 2
    assert record["instances"]["run"]["mask"]["ap"] > 0.7
    page = (run / "report.html").read_text()
    assert "Objects by their masks" in page and "AP of masks, validation" in page and "score is 0.5" in page
    images = nuclei / "images"
    assert (
        main(["predict", "--run", str(run), "--images", str(images), "--out", str(found), "--save", "instances"]) == 0
    )
    scored = ["--predictions", str(found), "--data", f"nuclei:{nuclei}", "--instances", "--threshold", "0.5"]
    assert main(["evaluate", *scored, "--out", str(out)]) == 0
    again = json.loads((out / "metrics.json").read_text())["instances"]["predictions"]
    for kind in ("mask", "panoptic"):
        for score, value in record["instances"]["run"][kind].items():
            if isinstance(value, float):
                assert again[kind][score] == pytest.approx(value), (kind, score)
    middle = float(np.median([one["score"] for one in json.loads((found / OBJECTS).read_text())]))
    sure = predict_instances(run, images, tmp_path / "sure", threshold=middle)
    listed = json.loads((tmp_path / "sure" / OBJECTS).read_text())
    assert listed and all(one["score"] >= middle - 1e-6 for one in listed)
    detector = Detector(load_detector(run), device="cpu", threshold=middle)
    for path in sure[:2]:
        objects = detector.find(read_image(images / path.name), name=path.stem)
        own = [one for one in listed if one["file_name"] == path.name]
        assert len(objects.masks) == len(own) >= read_labels(path).max()
    with pytest.raises(ConfigError, match="threshold"):
        predict_instances(run, images, tmp_path / "sure", threshold=0.99)
    with pytest.raises(ConfigError, match="flip"):
        predict_instances(run, images, tmp_path / "flipped", flip=True)
    with pytest.raises(CheckpointError, match="save instances"):
        load_model(run)
    with pytest.raises(CheckpointError, match="fit"):
        train_instances(dataclasses.replace(config_of(nuclei), init=str(_other_run(tmp_path))), tmp_path / "third")


def _other_run(tmp_path: Path) -> Path:
    """The checkpoint of a network of other layers."""
    path = tmp_path / "other.safetensors"
    tensors, metadata = checkpoint.load(RunFolder(root=tmp_path / "run").model)
    checkpoint.save(path, tensors, {**metadata, "classes": ["background", "a", "b"]})
    return path


def test_a_stopped_training_goes_on_bit_for_bit(nuclei: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_instances(config_of(nuclei), tmp_path / "whole")
    step = InstanceTask.training_step
    steps = 0

    def stopping(task: InstanceTask, batch: object, batch_index: int) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == 2:
            import signal

            signal.raise_signal(signal.SIGTERM)
        return step(task, batch, batch_index)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(InstanceTask, "training_step", stopping)
        with pytest.raises(Terminated):
            train_instances(config_of(nuclei), tmp_path / "parts")
    parts = train_instances(config_of(nuclei), tmp_path / "parts")
    assert RunFolder(root=parts).model.read_bytes() == RunFolder(root=whole).model.read_bytes()
    assert not RunFolder(root=parts).resume.exists()


def test_objects_move_with_the_image_and_stay_apart(nuclei: Path) -> None:
    train = open_data(DataConfig(name=f"nuclei:{nuclei}", val_fraction=0)).train
    changes = AugmentConfig(
        horizontal_flip=True, rotation=180, scale=0.2, shift=0.2, elastic=20.0, crop=24, paste=1.0, color=0.2
    )
    samples = TrainingData(train, size=64, augmentation=changes, seed=0, objects=True)
    loader = TrainingLoader(samples, batch_size=8, workers=0, seed=0)
    (batch,) = loader
    assert batch.targets.shape == (8, 2, 24, 24) and batch.targets.dtype == torch.int64
    counts = set()
    for image, (labels, numbers) in zip(batch.images, batch.targets, strict=True):
        inside = labels == 1
        assert not (inside & (numbers == 0)).any()
        if inside.any() and (labels == 0).any():
            assert image.mean(0)[inside].mean() > image.mean(0)[labels == 0].mean() + 0.2
        counts.add(len(targets_of(labels, numbers)["boxes"]))
    assert counts & {2} and max(counts) <= 2


def test_labels_and_numbers_are_those_of_the_files(nuclei: Path) -> None:
    train = open_data(DataConfig(name=f"nuclei:{nuclei}", val_fraction=0)).train
    samples = TrainingData(train, size=0, augmentation=AugmentConfig(), seed=0, objects=True)
    _, target, _ = samples[0, 3]
    stored = read_labels(nuclei / "instances" / f"{train.names[3]}.png")
    assert np.array_equal(target.numpy(), np.stack([stored > 0, stored > 0]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": TrainConfig(loss={"dice": 1.0})}, ["train.loss", "dice"]),
        ({"train": TrainConfig(precision="bf16")}, ["train.precision", "bf16", "fp32"]),
        ({"method": "guided"}, ["method", "guided"]),
        ({"data": DataConfig(name="nuclei:x", contour=1)}, ["data.contour", "border"]),
        ({"data": DataConfig(name="nuclei:x", labels="points:x")}, ["data.labels", "points"]),
    ],
)
def test_settings_that_do_not_fit_are_named(
    change: dict[str, object], words: list[str], nuclei: Path, tmp_path: Path
) -> None:
    with pytest.raises(MaskwrightError) as caught:
        train_instances(dataclasses.replace(config_of(nuclei), **change), tmp_path / "run")
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "run").exists()


def test_data_without_objects_is_named(squares: Path, nuclei: Path, tmp_path: Path) -> None:
    data = DataConfig(name=f"folder:{squares}")
    with pytest.raises(ConfigError, match="nuclei:DIR"):
        train_instances(dataclasses.replace(config_of(nuclei), data=data), tmp_path / "run")
    with pytest.raises(DataError, match="apart"):
        TrainingData(open_data(data).train, size=0, augmentation=AugmentConfig(), seed=0, objects=True)
