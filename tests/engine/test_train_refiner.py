"""Training a refiner: on masks of networks that never saw the image, beside a coarse network that stays as it is."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from maskwright.data.catalog import open_data
from maskwright.data.loading import TrainingBatch
from maskwright.engine import train as training
from maskwright.engine.config import RefinerRunConfig, SegmenterRunConfig, TrainConfig
from maskwright.engine.evaluate import evaluate_run
from maskwright.engine.network import RefinedSegmenter, build_refined
from maskwright.engine.predict import Predictor
from maskwright.engine.run import RunFolder, load_model
from maskwright.engine.tasks import RefinerTask
from maskwright.engine.train import train_folds, train_refiner
from maskwright.errors import CheckpointError, ConfigError, Terminated
from maskwright.models import ModelConfig, Segmenter
from maskwright.refine import RefinerConfig, build_refiner
from maskwright.types import Dataset
from training_steps import BATCHES, around_steps, assert_same, history, nothing, stop_at, weights

ConfigOf = Callable[..., SegmenterRunConfig]


def coarse_part(run: Path) -> dict[str, Tensor]:
    tensors = weights(run / "model.safetensors")
    return {name.removeprefix("coarse."): tensor for name, tensor in tensors.items() if name.startswith("coarse.")}


@pytest.mark.parametrize(
    "wrong",
    [
        {"folds": 1},
        {"folds": -1},
        {"scale": 0},
        {"fold_epochs": -1},
        {"joint_epochs": -1},
        {"joint_learning_rate": 0.0},
    ],
)
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


def test_the_networks_of_the_folds_may_train_longer_and_lie_beside_the_others(
    config_of: ConfigOf, refiner_config: RefinerRunConfig, trained_run: Path, tmp_path: Path
) -> None:
    coarse = shutil.copytree(trained_run, tmp_path / "coarse", ignore=shutil.ignore_patterns("folds"))
    for epochs in (0, 2):
        config = dataclasses.replace(refiner_config, coarse=str(coarse), fold_epochs=epochs)
        train_refiner(config, tmp_path / f"refined{epochs}")
    trained = {run.name: len(history(run)["train_loss"]) for run in (coarse / "folds").iterdir()}
    usual = len(history(coarse)["train_loss"])
    assert trained == {"1-of-2": usual, "2-of-2": usual, "1-of-2-2-epochs": 2, "2-of-2-2-epochs": 2}


def test_without_folds_the_refiner_learns_from_the_coarse_networks_own_masks(
    refiner_config: RefinerRunConfig, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = shutil.copytree(trained_run, tmp_path / "coarse", ignore=shutil.ignore_patterns("folds"))
    tasks = around_steps(monkeypatch, nothing)
    train_refiner(dataclasses.replace(refiner_config, coarse=str(coarse), folds=0), tmp_path / "out")
    assert not (coarse / "folds").exists()
    (own,) = tasks[0].fold_networks  # type: ignore[attr-defined]
    assert_same(own.state_dict(), weights(coarse / "model.safetensors"))
    assert_same(coarse_part(tmp_path / "out"), weights(coarse / "model.safetensors"))


class Constant(nn.Module):
    """A coarse network that answers the same logit everywhere, and remembers the size of what it saw."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value
        self.seen: tuple[int, ...] = ()

    def forward(self, image: Tensor) -> Tensor:
        self.seen = tuple(image.shape[-2:])
        return torch.full_like(image[:, :1], self.value)


@pytest.mark.parametrize("scale", [1, 2])
def test_every_training_mask_comes_from_the_network_of_its_own_fold(scale: int) -> None:
    refiner = build_refiner(RefinerConfig(kind="cspn", width=4, levels=2), logit_channels=1)
    fold_of = torch.tensor([2, 0, 1, 0])
    folds = [Constant(0.0), Constant(1.0), Constant(2.0)]
    task = RefinerTask(
        RefinedSegmenter(Constant(9.0), refiner, scale=scale),  # type: ignore[arg-type]
        fold_networks=folds,  # type: ignore[arg-type]
        fold_of=fold_of,
        classes=("background", "square"),
        config=TrainConfig(),
        logit_channels=1,
    )
    indices = torch.tensor([3, 2, 0])
    images = torch.rand(len(indices), 3, 8, 8)
    batch = TrainingBatch(images, torch.zeros(len(indices), 8, 8, dtype=torch.int64), indices)
    # An untrained refiner is the identity, so what comes out is the coarse mask that went in.
    logits = task.training_logits(batch)
    assert logits.shape == (3, 1, 8, 8)
    assert logits[:, 0, 0, 0].tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert [fold.seen for fold in folds] == 3 * [(8 // scale, 8 // scale)]


def test_the_frozen_coarse_network_keeps_weights_and_statistics(trained_run: Path, refined_run: Path) -> None:
    assert_same(coarse_part(refined_run), weights(trained_run / "model.safetensors"))


def test_a_refiner_of_a_larger_scale_works_at_that_size_ever_after(
    config_of: ConfigOf, refiner_config: RefinerRunConfig, trained_run: Path, tmp_path: Path
) -> None:
    coarse = shutil.copytree(trained_run, tmp_path / "coarse", ignore=shutil.ignore_patterns("folds"))
    of_size = config_of(epochs=1)
    of_size = dataclasses.replace(of_size, data=dataclasses.replace(of_size.data, size=12))
    (coarse / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(of_size)))
    config = dataclasses.replace(refiner_config, coarse=str(coarse), scale=2, joint_epochs=1)
    run = train_refiner(config, tmp_path / "sharp")
    refined = load_model(run)
    assert refined.size == 24
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    assert Predictor(refined).logits(image).shape == (1, 40, 30)
    assert set(evaluate_run(run).stages) == {"coarse", "DySPN"}


def test_a_larger_scale_of_images_of_their_own_size_is_refused_before_anything_is_trained(
    refiner_config: RefinerRunConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"data\.size is 0"):
        train_refiner(dataclasses.replace(refiner_config, scale=2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def run_with_features(refiner_config: RefinerRunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    features = ModelConfig(name="unet", options={"width": 2})
    config = dataclasses.replace(refiner_config, features=features, folds=0)
    return train_refiner(config, tmp_path_factory.mktemp("features") / "run")


def test_a_refiner_with_a_feature_network_is_one_model(run_with_features: Path, trained_run: Path) -> None:
    model = load_model(run_with_features)
    assert isinstance(model.network, RefinedSegmenter)
    assert isinstance(model.network.refiner.affinity_net.features, Segmenter)
    assert_same(coarse_part(run_with_features), weights(trained_run / "model.safetensors"))
    assert set(evaluate_run(run_with_features).stages) == {"coarse", "DySPN"}


def test_the_feature_network_learns_to_segment(refiner_config: RefinerRunConfig, trained_run: Path) -> None:
    coarse = load_model(trained_run).network
    assert isinstance(coarse, Segmenter)
    features = ModelConfig(name="unet", options={"width": 2})
    network = build_refined(coarse, refiner_config.refiner, features, scale=1, num_classes=2)
    indices = torch.arange(2)
    task = RefinerTask(
        network,
        fold_networks=[coarse],
        fold_of=torch.zeros(2, dtype=torch.int64),
        classes=("background", "square"),
        config=TrainConfig(),
        logit_channels=1,
    ).train()
    batch = TrainingBatch(torch.rand(2, 3, 16, 16), torch.randint(0, 2, (2, 16, 16)), indices)
    maps = network.refiner.affinity_net.features
    assert maps is not None
    total = task.batch_loss(batch)
    assert task.feature_maps is not None and task.feature_maps.shape == (2, 16, 16, 16)
    parts = task.loss(task.training_logits(batch), batch.targets) + task.loss(task.feature_maps[:, :1], batch.targets)
    torch.testing.assert_close(total, parts)
    total.backward()
    # The refiner is still the identity, so nothing but the auxiliary loss reaches them.
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for n, p in maps.named_parameters() if n.endswith("head.weight")
    )
    assert torch.equal(network.refiner(batch.images, task.training_logits(batch)), task.training_logits(batch))


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
