"""Training a refiner: on masks of networks that never saw the image, beside a coarse network that stays as it is."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maskwright.data.catalog import open_data
from maskwright.data.loading import TrainingBatch
from maskwright.engine import train as training
from maskwright.engine.config import RefinerRunConfig, SegmenterRunConfig, TrainConfig
from maskwright.engine.network import RefinedSegmenter
from maskwright.engine.run import RunFolder
from maskwright.engine.tasks import RefinerTask
from maskwright.engine.train import train_folds, train_refiner
from maskwright.errors import CheckpointError, ConfigError, Terminated
from maskwright.refine import RefinerConfig, build_refiner
from maskwright.types import Dataset
from training_steps import BATCHES, around_steps, assert_same, history, nothing, stop_at, weights

ConfigOf = Callable[..., SegmenterRunConfig]


def coarse_part(run: Path) -> dict[str, Tensor]:
    tensors = weights(run / "model.safetensors")
    return {name.removeprefix("coarse."): tensor for name, tensor in tensors.items() if name.startswith("coarse.")}


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"joint_epochs": -1}, {"joint_learning_rate": 0.0}])
def test_a_wrong_refiner_run_setting_is_refused_by_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        RefinerRunConfig(coarse="runs/x", **wrong)


def test_no_run_is_no_coarse_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        train_refiner(RefinerRunConfig(coarse=str(tmp_path / "missing")), tmp_path / "out")


def test_an_unfinished_run_is_no_coarse_run(
    refiner_config: RefinerRunConfig, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = shutil.copytree(trained_run, tmp_path / "coarse")
    (coarse / "metrics.json").unlink()
    monkeypatch.setattr(training, "fit", lambda *a, **k: pytest.fail("trained on weights that are still to change"))
    with pytest.raises((CheckpointError, ConfigError), match="finished"):
        train_refiner(dataclasses.replace(refiner_config, coarse=str(coarse)), tmp_path / "out")


def test_the_networks_of_the_folds_never_saw_the_images_whose_masks_they_make(
    config_of: ConfigOf, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = shutil.copytree(trained_run, tmp_path / "coarse", ignore=shutil.ignore_patterns("folds"))
    seen: list[set[str]] = []
    prepare = training.TrainingData

    def recorded(dataset: Dataset, **settings: Any) -> Any:
        seen.append(set(dataset.names))
        return prepare(dataset, **settings)

    monkeypatch.setattr(training, "TrainingData", recorded)
    splits = open_data(config_of(epochs=2).data)
    runs, fold_of = train_folds(config_of(epochs=2), RunFolder(root=coarse), splits, folds=3)
    assert len(runs) == len(seen) == 3
    assert sorted(fold_of.tolist()) == [0, 0, 1, 1, 2, 2]
    for fold in range(3):
        own = {name for name, other in zip(splits.train.names, fold_of.tolist(), strict=True) if other == fold}
        assert seen[fold] == set(splits.train.names) - own
    # The second refiner finds them finished.
    again, same = train_folds(config_of(epochs=2), RunFolder(root=coarse), splits, folds=3)
    assert again == runs and same.tolist() == fold_of.tolist() and len(seen) == 3


class Constant(nn.Module):
    """A coarse network that answers the same logit everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, image: Tensor) -> Tensor:
        return torch.full_like(image[:, :1], self.value)


def test_every_training_mask_comes_from_the_network_of_its_own_fold() -> None:
    refiner = build_refiner(RefinerConfig(kind="cspn", width=4, levels=2), logit_channels=1)
    fold_of = torch.tensor([2, 0, 1, 0])
    task = RefinerTask(
        RefinedSegmenter(Constant(9.0), refiner),  # type: ignore[arg-type]
        fold_networks=[Constant(0.0), Constant(1.0), Constant(2.0)],  # type: ignore[list-item]
        fold_of=fold_of,
        classes=("background", "square"),
        config=TrainConfig(),
        logit_channels=1,
    )
    indices = torch.tensor([3, 2, 0])
    images = torch.rand(len(indices), 3, 8, 8)
    batch = TrainingBatch(images, torch.zeros(len(indices), 8, 8, dtype=torch.int64), indices)
    # An untrained refiner is the identity, so what comes out is the coarse mask that went in.
    assert task.training_logits(batch)[:, 0, 0, 0].tolist() == pytest.approx([0.0, 1.0, 2.0])


def test_the_frozen_coarse_network_keeps_weights_and_statistics(trained_run: Path, refined_run: Path) -> None:
    assert_same(coarse_part(refined_run), weights(trained_run / "model.safetensors"))


def test_joint_epochs_train_the_coarse_network_too(
    refiner_config: RefinerRunConfig, trained_run: Path, refined_run: Path, tmp_path: Path
) -> None:
    # At a rate that surely betters the score of one epoch: what does not, is not kept.
    config = dataclasses.replace(refiner_config, joint_epochs=3, joint_learning_rate=3e-3)
    run = train_refiner(config, tmp_path / "joint")
    assert max(history(run)["val_score"][1:]) > history(run)["val_score"][0]
    before, after = weights(trained_run / "model.safetensors"), coarse_part(run)
    learned = [name for name in before if name.endswith("weight")]
    assert learned and all(not torch.equal(before[name], after[name]) for name in learned)


@pytest.fixture(scope="module")
def joint_weights(
    refiner_config: RefinerRunConfig, refined_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Tensor]:
    """The last weights of a refiner that was then trained jointly for an epoch, without a stop."""
    with pytest.MonkeyPatch.context() as patch:
        tasks = around_steps(patch, nothing)
        config = dataclasses.replace(refiner_config, joint_epochs=1)
        train_refiner(config, tmp_path_factory.mktemp("joint") / "whole")
    return tasks[0].network.state_dict()


@pytest.mark.parametrize("step", [1, BATCHES, BATCHES + 2, 2 * BATCHES])
def test_a_refiner_resumes_in_both_of_its_trainings(
    step: int,
    refiner_config: RefinerRunConfig,
    joint_weights: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(refiner_config, joint_epochs=1)
    tasks = around_steps(monkeypatch, stop_at(step))
    with pytest.raises(Terminated):
        train_refiner(config, tmp_path / "run")
    train_refiner(config, tmp_path / "run")
    assert len(history(tmp_path / "run")["train_loss"]) == 2
    if step < 2 * BATCHES:  # after the last step there is none that would show the weights
        assert_same(tasks[0].network.state_dict(), joint_weights)


def test_the_best_of_both_trainings_is_kept(
    refiner_config: RefinerRunConfig, refined_run: Path, tmp_path: Path
) -> None:
    # A rate at which the joint training can only do harm.
    config = dataclasses.replace(refiner_config, joint_epochs=1, joint_learning_rate=0.1)
    run = train_refiner(config, tmp_path / "run")
    alone, jointly = history(run)["val_score"]
    assert alone == history(refined_run)["val_score"][0] > jointly
    assert_same(weights(run / "model.safetensors"), weights(refined_run / "model.safetensors"))


def test_more_folds_than_images_is_a_named_error(
    refiner_config: RefinerRunConfig, refined_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"folds must be between 2 and .*6.*; got 7"):
        train_refiner(dataclasses.replace(refiner_config, folds=7), tmp_path / "run")
