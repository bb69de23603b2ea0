"""Weak labels made from a data set's masks, and trainings that learn from them."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from layouts import put_mask, put_photo
from maskwright.cli import main
from maskwright.data.catalog import DataConfig, open_data, open_training_data
from maskwright.data.io import read_mask
from maskwright.engine.config import SegmenterRunConfig
from maskwright.engine.evaluate import evaluate_run
from maskwright.engine.tasks import CRF_WEIGHT, SegmentationTask, default_loss
from maskwright.engine.train import train_segmenter
from maskwright.engine.weak import WeakKind, make_weak_labels
from maskwright.errors import ConfigError, DataError
from maskwright.metrics.scores import scores

ConfigOf = Callable[..., SegmenterRunConfig]


@pytest.fixture
def data(squares: Path) -> DataConfig:
    return DataConfig(name=f"folder:{squares}")


def test_scribbles_of_all_training_images(data: DataConfig, tmp_path: Path) -> None:
    report = make_weak_labels(data, tmp_path / "labels", share=0.05)
    assert report.share == pytest.approx(0.05, abs=0.005)
    assert report.agreement == 1
    train = open_data(data).train
    assert sorted(path.stem for path in (tmp_path / "labels").iterdir()) == sorted(train.names)
    for i, name in enumerate(train.names):
        labels = read_mask(tmp_path / "labels" / f"{name}.png")
        assert set(np.unique(labels)) == {0, 1, 255}
        assert (labels[labels != 255] == train[i].target.numpy()[labels != 255]).all()


def test_the_same_seed_gives_the_same_files(data: DataConfig, tmp_path: Path) -> None:
    for folder, seed in (("first", 0), ("again", 0), ("other", 1)):
        make_weak_labels(data, tmp_path / folder, seed=seed)
    names = [path.name for path in (tmp_path / "first").iterdir()]
    first, again, other = ([(tmp_path / f / n).read_bytes() for n in names] for f in ("first", "again", "other"))
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", ["scribble", "points", "boxes"])
def test_what_was_made_is_what_training_reads(data: DataConfig, tmp_path: Path, kind: WeakKind) -> None:
    report = make_weak_labels(data, tmp_path / "labels", kind=kind)
    weak = open_training_data(replace(data, labels=f"{kind}:{tmp_path / 'labels'}")).train
    full = open_data(data).train
    assert weak.names == full.names
    for i, share in enumerate(report.share):
        assert (weak[i].target != 255).float().mean().item() == pytest.approx(share)
    if kind == "boxes":  # of squares, each box is the square itself
        with (tmp_path / "labels" / "boxes.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert [row["name"] for row in rows] == list(full.names)
        assert report.agreement == 1


def test_images_without_an_object_are_trained_on_as_background(tmp_path: Path) -> None:
    for number in range(3):
        put_photo(tmp_path / "data/images" / f"{number}.png")
        put_mask(tmp_path / "data/masks" / f"{number}.png", *((0, 1) if number else (0,)))
    data = DataConfig(name=f"folder:{tmp_path / 'data'}", val_fraction=0)
    report = make_weak_labels(data, tmp_path / "labels", kind="boxes")
    weak = open_training_data(replace(data, labels=f"boxes:{tmp_path / 'labels'}")).train
    assert weak.names == ("0", "1", "2") and report.share[0] == 1
    assert (weak[0].target == 0).all()


def test_a_folder_that_holds_something_is_refused(data: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    make_weak_labels(data, tmp_path / "mine")
    with pytest.raises(ConfigError, match="mine holds something"):
        make_weak_labels(data, tmp_path / "mine")


@pytest.mark.parametrize("options", [{"share": 0.0}, {"share": 1.1}, {"seed": -1}, {"kind": "lines"}])
def test_settings_out_of_range_are_refused(data: DataConfig, tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=str(next(iter(options.values())))):
        make_weak_labels(data, tmp_path / "labels", **options)
    assert not (tmp_path / "labels").exists()


def test_the_loss_of_weak_labels_unless_another_is_named(config_of: ConfigOf) -> None:
    assert default_loss(1, weak=True) == {"bce": 1.0, "crf": CRF_WEIGHT}
    assert default_loss(3, weak=True) == {"cross_entropy": 1.0, "crf": CRF_WEIGHT}
    assert default_loss(1, weak=False) == {"bce": 1.0, "dice": 1.0}
    assert default_loss(3, weak=False) == {"cross_entropy": 1.0}
    for loss, expected in (({}, {"bce": 1.0, "crf": CRF_WEIGHT}), ({"dice": 1.0}, {"dice": 1.0})):
        config = config_of(loss=loss).train
        task = SegmentationTask(torch.nn.Identity(), classes=("a", "b"), config=config, logit_channels=1, weak=True)
        assert task.loss.terms == expected


def test_training_from_scribbles_finds_the_squares_and_is_scored_without_the_labels(
    data: DataConfig, config_of: ConfigOf, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    make_weak_labels(data, labels, share=0.05)
    config = config_of(data=replace(data, labels=f"scribble:{labels}"), epochs=8)
    run = train_segmenter(config, tmp_path / "run")
    for path in labels.iterdir():
        path.unlink()
    result = evaluate_run(run, device="cpu").stages
    assert scores(next(iter(result.values()))).iou_per_image > 0.7


def test_missing_labels_stop_the_training_before_it_leaves_anything(
    data: DataConfig, config_of: ConfigOf, tmp_path: Path
) -> None:
    (tmp_path / "labels").mkdir()
    config = config_of(data=replace(data, labels=f"scribble:{tmp_path / 'labels'}"))
    with pytest.raises(DataError, match="6 of 6 training images have no scribble label: train_0"):
        train_segmenter(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_commands(squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "labels"
    command = ["scribble", "--data", f"folder:{squares}", "--out", str(labels), "--kind", "boxes"]
    assert main(command) == 0
    assert "6 images" in capsys.readouterr().out
    assert main(command) == 2
    train = ["train", "--data", f"folder:{squares}", "--labels", f"boxes:{labels}", "--model", "unet"]
    small = ["--model.options", "{width: 4}", "--train.epochs", "1", "--train.batch_size", "2", "--train.device", "cpu"]
    assert main([*train, *small, "--out", str(tmp_path / "run")]) == 0
    assert "labels" in (tmp_path / "run" / "config.yaml").read_text()
    assert main([*train[:3], "--labels", f"points:{labels}", *small, "--out", str(tmp_path / "other")]) == 2
    assert "have no points label" in capsys.readouterr().err
