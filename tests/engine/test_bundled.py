"""Training of the refiner that comes with the package."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.loading import TrainingBatch
from maskwright.engine import bundled, checkpoint
from maskwright.engine.bundled import BundledRunConfig, BundledTask, train_bundled
from maskwright.engine.config import SegmenterRunConfig, TrainConfig
from maskwright.engine.run import RunFolder, read_config
from maskwright.engine.train import Job
from maskwright.errors import CheckpointError, ConfigError
from maskwright.refine.refiner import MaskRefiner, bundled_refiner

TRAIN = TrainConfig(epochs=1, batch_size=3, device="cpu")


def test_it_learns_from_masks_of_networks_that_never_saw_the_photograph(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bundled.Photograph] = []

    class Noted(bundled.RefinementData):
        def __init__(self, photographs: list[bundled.Photograph], *, side: int, seed: int) -> None:
            given.extend(photographs)
            super().__init__(photographs, side=side, seed=seed)

    monkeypatch.setattr(bundled, "RefinementData", Noted)
    coarse = shutil.copytree(trained_run, tmp_path / "coarse")
    run = train_bundled(BundledRunConfig(coarse=str(coarse), side=64, train=TRAIN), tmp_path / "run")
    assert len(given) == 6
    masks = [photograph.mask for photograph in given]
    assert all(mask is not None and mask.shape == (32, 32) for mask in masks)
    assert any(np.ptp(mask) > 0 for mask in masks if mask is not None)
    trained = MaskRefiner()
    trained.load_state_dict(checkpoint.load(run / "model.safetensors")[0])
    assert trained.head.weight.abs().sum() > 0
    # Finished: nothing is trained again.
    monkeypatch.setattr(bundled, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert train_bundled(BundledRunConfig(coarse=str(coarse), side=64, train=TRAIN), tmp_path / "run") == run


def test_it_goes_on_from_the_package_and_reads_further_data_as_often_as_named(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bundled.Photograph] = []
    started: list[dict[str, torch.Tensor]] = []

    def no_training(make_task: Any, job: Job) -> dict[str, list[float]]:
        given.extend(job.samples.photographs)
        started.append(make_task(job.train).network.state_dict())
        checkpoint.save(job.folder.model, started[0], {})
        return {}

    monkeypatch.setattr(bundled, "fit", no_training)
    coarse = shutil.copytree(trained_run, tmp_path / "coarse")
    name = read_config(RunFolder(root=coarse), SegmenterRunConfig).data.name
    config = BundledRunConfig(coarse=str(coarse), side=64, train=TRAIN, init="bundled", also=[name, name])
    train_bundled(config, tmp_path / "run")
    masks = [photograph.mask is not None for photograph in given]
    assert sum(masks) == 6 and masks.count(False) == 2 * len(open_data(DataConfig(name=name, val_fraction=0)).train)
    assert all(torch.equal(started[0][key], value) for key, value in bundled_refiner().state_dict().items())


def test_no_run_and_a_run_of_many_classes_are_named_errors(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        train_bundled(BundledRunConfig(coarse=str(tmp_path / "missing"), train=TRAIN), tmp_path / "run")
    with pytest.raises(CheckpointError, match="bundled refiner"):
        train_bundled(BundledRunConfig(coarse=str(trained_run), init=str(trained_run), train=TRAIN), tmp_path / "run")
    opened = bundled.open_data

    def three_classes(config: object) -> object:
        splits = opened(config)  # type: ignore[arg-type]
        splits.train.classes = ("ground", "one", "two")
        return splits

    monkeypatch.setattr(bundled, "open_data", three_classes)
    with pytest.raises(ConfigError, match="3 classes"):
        train_bundled(BundledRunConfig(coarse=str(trained_run), train=TRAIN), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ignored_pixels_cost_nothing_and_those_at_the_edge_the_most() -> None:
    task = BundledTask(MaskRefiner(), classes=bundled.CLASSES, config=TRAIN, logit_channels=1)
    targets = torch.zeros(1, 64, 64, dtype=torch.int64)
    targets[:, :, 32:] = 1

    def loss_with(column: int, labels: torch.Tensor) -> float:
        images = torch.full((1, 4, 64, 64), 0.5)
        images[:, 3] = (targets == 1).float()
        images[:, 3, :, column] = 1 - images[:, 3, :, column]  # wrong along this column
        with torch.no_grad():
            return float(task.eval().batch_loss(TrainingBatch(images, labels, torch.zeros(1, dtype=torch.int64))))

    hidden = targets.clone()
    hidden[:, :, 30:34] = 255
    assert loss_with(5, targets) < loss_with(29, targets)
    assert loss_with(31, hidden) < 0.5 * loss_with(31, targets)


def test_the_configuration_stands_in_the_folder(trained_run: Path, tmp_path: Path) -> None:
    config = BundledRunConfig(coarse=str(trained_run), side=64, train=TRAIN)
    run = train_bundled(config, tmp_path / "run")
    other = dataclasses.replace(config, side=32)
    with pytest.raises(ConfigError, match="another configuration"):
        train_bundled(other, run)


def test_written_weights_lie_between_those_before_and_after() -> None:
    before, after = {"a": torch.zeros(3), "steps": torch.tensor(2)}, {"a": torch.ones(3), "steps": torch.tensor(5)}
    blended = bundled._blended(before, after, 0.25)
    assert torch.equal(blended["a"], torch.full((3,), 0.25)) and blended["steps"] == 5
    assert torch.equal(bundled._blended({}, after, 1)["a"], after["a"])
    for options, message in (({"blend": 0.0}, "above 0"), ({"blend": 0.5}, "no init")):
        with pytest.raises(ConfigError, match=message):
            BundledRunConfig(coarse="runs/coarse", **options)
