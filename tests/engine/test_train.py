"""Training: a fault has a name, a finished run is left alone, the same seed gives the same losses."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import get_worker_info

import tiny_transformers
from maskwright.data.arrays import ArrayDataset
from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.splits import Subset
from maskwright.engine import checkpoint
from maskwright.engine import train as training
from maskwright.engine.config import RefinerRunConfig, SegmenterRunConfig, TrainConfig
from maskwright.engine.run import RunFolder, load_model, prepare_folder, read_config
from maskwright.engine.tasks import SegmentationTask, build_optimizer, build_schedule, parameter_groups
from maskwright.engine.train import train_folds, train_refiner, train_segmenter
from maskwright.errors import CheckpointError, ConfigError, DataError, TrainingError
from maskwright.models import ModelConfig, build
from maskwright.types import Dataset, Sample, Splits
from training_steps import BATCHES, around_steps, assert_same, history, nothing, weights

ConfigOf = Callable[..., SegmenterRunConfig]

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than the machine has cores


def test_a_loss_that_is_not_finite_is_named_and_the_best_weights_stay(
    config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    after_one_epoch = bytearray()

    def spoil(task: SegmentationTask, step: int) -> None:
        if step == BATCHES + 2:
            after_one_epoch.extend((run / "model.safetensors").read_bytes())
            monkeypatch.setattr(task.loss, "forward", lambda logits, target, images: logits.sum() * float("nan"))

    around_steps(monkeypatch, spoil)
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 2, batch 2.*learning_rate"):
        train_segmenter(config_of(), run)
    assert (run / "model.safetensors").read_bytes() == after_one_epoch
    assert not (run / "metrics.json").exists()


class Deadly:
    """The samples of another data set; a data worker that reads one of them is killed, or meets a broken file."""

    def __init__(self, dataset: Dataset, *, fatal: int, error: Exception | None = None) -> None:
        self.dataset, self.fatal, self.error = dataset, fatal, error
        self.classes, self.names = dataset.classes, dataset.names

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if index == self.fatal and get_worker_info() is not None:
            if self.error is not None:
                raise self.error
            os.kill(os.getpid(), signal.SIGKILL)
        return self.dataset[index]


@pytest.fixture
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the data workers read the files, as they do for data sets that do not fit in memory."""
    monkeypatch.setattr("maskwright.data.loading.CACHE_BYTES", 0)


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("uncached")
def test_a_killed_data_worker_is_a_named_error(config_of: ConfigOf, tmp_path: Path) -> None:
    config = config_of(workers=1)
    splits = open_data(config.data)
    deadly = Splits(train=Deadly(splits.train, fatal=4), val=splits.val, test=None)
    with pytest.raises(TrainingError, match=r"data worker died.*same command again.*train.workers=0"):
        train_segmenter(config, tmp_path / "run", splits=deadly)


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "Connection reset by peer"), EOFError(), BrokenPipeError()]
)
def test_a_worker_that_dies_while_it_hands_over_a_batch_has_the_same_error(
    error: Exception, config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: SegmentationTask, batch: Any) -> Tensor:
        raise error

    monkeypatch.setattr(SegmentationTask, "training_logits", broken)
    with pytest.raises(TrainingError, match=r"data worker died.*same command again"):
        train_segmenter(config_of(workers=1), tmp_path / "run")


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("uncached")
def test_a_broken_file_that_a_data_worker_meets_is_named_without_a_traceback(
    config_of: ConfigOf, tmp_path: Path
) -> None:
    config = config_of(workers=1)
    splits = open_data(config.data)
    broken = Splits(train=Deadly(splits.train, fatal=4, error=DataError("cat.png is broken")), val=None, test=None)
    with pytest.raises(DataError, match=r"cat\.png is broken") as caught:
        train_segmenter(config, tmp_path / "run", splits=broken)
    assert "Traceback" not in str(caught.value)


def out_of_memory_above(batch_size: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let larger batches run out of memory; return the list of the batch sizes that came."""
    sizes: list[int] = []
    plain = SegmentationTask.training_logits

    def limited(task: SegmentationTask, batch: Any) -> Tensor:
        sizes.append(len(batch.images))
        if len(batch.images) > batch_size:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(task, batch)

    monkeypatch.setattr(SegmentationTask, "training_logits", limited)
    return sizes


def test_out_of_memory_halves_the_batch(config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = out_of_memory_above(2, monkeypatch)
    small = train_segmenter(config_of(batch_size=2), tmp_path / "small")
    sizes.clear()
    train_segmenter(config_of(batch_size=5), tmp_path / "run")
    assert sizes == [5, *[2] * 2 * BATCHES]
    assert "out of memory; starting again with batches of 2" in (tmp_path / "run" / "log").read_text()
    # What is left of the first attempt is nothing: the run equals one that began with batches of two.
    assert_same(weights(tmp_path / "run" / "model.safetensors"), weights(small / "model.safetensors"))


def test_out_of_memory_with_one_image_is_a_named_error(
    config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = out_of_memory_above(0, monkeypatch)
    with pytest.raises(TrainingError, match=r"one image per batch.*data.size"):
        train_segmenter(config_of(), tmp_path / "run")
    assert sizes == [2, 1]


def test_ten_losses_of_a_seeded_training(config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = json.loads((Path(__file__).parent / "losses.json").read_text())
    losses: list[float] = []
    step = SegmentationTask.training_step

    def recorded(task: SegmentationTask, batch: Any, batch_index: int) -> Tensor:
        loss = step(task, batch, batch_index)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(SegmentationTask, "training_step", recorded)
    train_segmenter(config_of(epochs=4), tmp_path / "run")
    assert losses[:10] == pytest.approx(stored, rel=1e-3)
    assert losses[-1] < losses[0]


def test_a_finished_run_is_not_trained_again(
    coarse_config: SegmenterRunConfig, trained_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "fit", lambda *a, **k: pytest.fail("trained again"))
    before = {path: path.read_bytes() for path in sorted(trained_run.glob("*.*")) if path.is_file()}
    assert train_segmenter(coarse_config, trained_run) == trained_run
    assert {path: path.read_bytes() for path in sorted(trained_run.glob("*.*")) if path.is_file()} == before


def test_the_folder_of_another_configuration_is_refused(
    config_of: ConfigOf, coarse_config: SegmenterRunConfig, trained_run: Path
) -> None:
    with pytest.raises(ConfigError, match=r"another configuration; choose another --out"):
        train_segmenter(config_of(epochs=7), trained_run)
    with pytest.raises(ConfigError):
        train_refiner(RefinerRunConfig(coarse=str(trained_run)), trained_run)
    assert read_config(RunFolder(root=trained_run), SegmenterRunConfig) == coarse_config


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": DataConfig(name="folder:no/such/folder")},
        {"loss": {"cross_entropy": 1.0}},
    ],
    ids=["data", "loss"],
)
def test_settings_that_never_trained_do_not_block_the_folder(
    wrong: dict[str, Any], config_of: ConfigOf, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, DataError)):
        train_segmenter(config_of(**wrong), tmp_path / "run")
    train_segmenter(config_of(epochs=1), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_a_configuration_file_that_lacks_settings_is_a_named_error(config_of: ConfigOf, tmp_path: Path) -> None:
    for content in ("{}", "data: 3", "- a list", "data: {name: [}", "data: {nmae: x}"):
        (tmp_path / "config.yaml").write_text(content)
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(ConfigError):
            train_segmenter(config_of(), tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
        {"workers": -1},
        {"optimizer": "adamax"},
        {"schedule": "step"},
        {"precision": "fp16"},
        {"label_resize": "both"},
        {"device": "gpu"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_wrong_training_setting_is_refused_by_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainConfig(**wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has a GPU")
def test_a_gpu_that_is_not_there_is_a_named_error(config_of: ConfigOf, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cuda"):
        train_segmenter(config_of(device="cuda"), tmp_path / "run")


@pytest.mark.parametrize("name", ["adam", "adamw", "radam", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "poly"])
def test_every_optimizer_and_schedule_keeps_its_promise(name: Any, schedule: Any) -> None:
    config = TrainConfig(learning_rate=0.5, weight_decay=0.25, optimizer=name, schedule=schedule)
    parameter = nn.Parameter(torch.ones(1))
    optimizer = build_optimizer([parameter], config)
    rates, steps = [], 20
    scheduler = build_schedule(optimizer, config, steps)
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(rates) < steps else None
    assert type(optimizer).__name__.lower() == name
    assert optimizer.param_groups[0]["weight_decay"] == 0.25
    assert max(rates) == pytest.approx(0.5, rel=0.01)
    assert min(rates) == 0.5 if schedule == "constant" else rates[-1] < 0.1


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "poly"])
def test_an_encoder_may_have_a_rate_of_its_own(schedule: Any) -> None:
    network = build(ModelConfig(name="smp:Unet/resnet18"), num_classes=2)
    config = TrainConfig(learning_rate=0.5, encoder_rate=0.1, schedule=schedule)
    optimizer = build_optimizer(parameter_groups(network, config), config)
    scheduler = build_schedule(optimizer, config, 10)
    rest, encoder = optimizer.param_groups
    assert set(encoder["params"]) == set(network.net.encoder.parameters())  # type: ignore[union-attr,operator]
    assert {*rest["params"], *encoder["params"]} == set(network.parameters())
    for _ in range(9):
        optimizer.step()
        scheduler.step()
        assert encoder["lr"] == pytest.approx(0.1 * rest["lr"])


def test_a_rate_for_an_encoder_that_is_not_there_is_a_named_error(config_of: ConfigOf, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="encoder_rate"):
        train_segmenter(config_of(encoder_rate=0.5), tmp_path / "run")


def test_patience_stops_a_training_that_does_not_get_better(config_of: ConfigOf, tmp_path: Path) -> None:
    train_segmenter(config_of(epochs=30, patience=2, learning_rate=1e-12), tmp_path / "run")
    assert len(history(tmp_path / "run")["val_score"]) == 3


def test_without_validation_the_last_weights_are_kept(
    config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = around_steps(monkeypatch, nothing)
    config = config_of()
    splits = open_data(config.data)
    train_segmenter(config, tmp_path / "run", splits=Splits(train=splits.train, val=None, test=None))
    assert_same(weights(tmp_path / "run" / "model.safetensors"), tasks[0].network.state_dict())
    assert history(tmp_path / "run")["val_score"] == []


def test_a_validation_part_without_foreground_still_leaves_a_model(config_of: ConfigOf, tmp_path: Path) -> None:
    config = config_of(epochs=1)
    splits = open_data(config.data)

    class Blank(Deadly):
        def __getitem__(self, index: int) -> Sample:
            sample = self.dataset[index]
            assert sample.target is not None
            return dataclasses.replace(sample, target=torch.zeros_like(sample.target))

    assert splits.val is not None
    blank = Splits(train=splits.train, val=Blank(splits.val, fatal=-1), test=None)
    train_segmenter(config, tmp_path / "run", splits=blank)
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_another_architecture_trains_by_name(squares: Path, tmp_path: Path) -> None:
    config = SegmenterRunConfig(
        data=DataConfig(name=f"folder:{squares}", size=16),
        model=ModelConfig(name="segnet_lite"),
        train=TrainConfig(epochs=1, batch_size=6, precision="bf16", gradient_clip=1.0, device="cpu"),
    )
    train_segmenter(config, tmp_path / "run")
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run" / "model.safetensors").values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_are_clipped_by_their_norm(
    precision: Literal["fp32", "bf16"], config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms: list[float] = []

    def note(task: SegmentationTask, *batch: Any) -> None:
        gradients = [p.grad.ravel() for p in task.parameters() if p.grad is not None]
        norms.append(torch.cat(gradients).norm().item())

    monkeypatch.setattr(SegmentationTask, "on_train_batch_end", note)
    train_segmenter(config_of(epochs=1, precision=precision, gradient_clip=1e-3), tmp_path / "run")
    assert len(norms) == BATCHES
    assert norms == pytest.approx(BATCHES * [1e-3], rel=1e-2)


def test_scores_of_a_model_that_is_replaced_are_forgotten(
    trained_run: Path, coarse_config: SegmenterRunConfig, tmp_path: Path
) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    (run / "evaluation.json").write_text("{}", encoding="utf-8")
    (run / "metrics.json").unlink()
    prepare_folder(RunFolder(root=run), coarse_config)
    assert not (run / "evaluation.json").exists()


def test_settings_that_cannot_change_the_result_do_not_bind_the_folder(
    trained_run: Path, coarse_config: SegmenterRunConfig
) -> None:
    train = dataclasses.replace(coarse_config.train, workers=3, checkpoint_minutes=1.0)
    prepare_folder(RunFolder(root=trained_run), dataclasses.replace(coarse_config, train=train))
    with pytest.raises(ConfigError, match="another configuration"):
        prepare_folder(
            RunFolder(root=trained_run),
            dataclasses.replace(coarse_config, train=dataclasses.replace(coarse_config.train, seed=9)),
        )
    prepare_folder(RunFolder(root=trained_run), coarse_config)


def test_a_validation_part_without_a_label_fails_after_the_first_epoch(config_of: ConfigOf, tmp_path: Path) -> None:
    images = np.zeros((4, 16, 16), np.uint8)
    some, none = np.zeros((4, 16, 16), np.uint8), np.full((4, 16, 16), 255, np.uint8)
    some[:, :8] = 1
    train, val = (
        ArrayDataset(images, targets, classes=("background", "square"), prefix=name)
        for name, targets in (("train", some), ("val", none))
    )
    with pytest.raises(DataError, match="none of its pixels is labelled"):
        train_segmenter(config_of(epochs=3), tmp_path / "run", splits=Splits(train=train, val=val, test=None))
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_resume_goes_on_with_the_batch_size_that_memory_forced(
    config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(batch_size=8)
    prepare_folder(RunFolder(root=tmp_path), config)
    checkpoint.save(tmp_path / "resume.safetensors", {}, {"kind": "resume", "batch_size": 2, "state": None})
    sizes = []

    def once(task: SegmentationTask, job: training.Job) -> training.History:
        sizes.append(job.train.batch_size)
        return {"train_loss": [], "val_score": [], "seconds": []}

    monkeypatch.setattr(training, "_fit_once", once)
    train_segmenter(config, tmp_path)
    assert sizes == [2]


def test_a_run_goes_on_from_the_weights_of_another(
    coarse_config: SegmenterRunConfig, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, Tensor]] = []

    def note(task: SegmentationTask) -> None:
        started.append({name: value.clone() for name, value in task.network.state_dict().items()})

    monkeypatch.setattr(SegmentationTask, "on_train_start", note)
    run = train_segmenter(dataclasses.replace(coarse_config, init=str(trained_run)), tmp_path / "further")
    assert_same(started[0], weights(trained_run / "model.safetensors"))
    assert any(not torch.equal(value, started[0][name]) for name, value in weights(run / "model.safetensors").items())
    with pytest.raises(ConfigError, match="folds to 0"):
        train_folds(
            read_config(RunFolder(root=run), SegmenterRunConfig),
            RunFolder(root=run),
            open_data(coarse_config.data),
            folds=2,
        )


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(
    coarse_config: SegmenterRunConfig, trained_run: Path, refined_run: Path, tmp_path: Path
) -> None:
    for init, error, words in (
        (refined_run, ConfigError, "a refined run"),
        (tmp_path / "nothing", CheckpointError, "nothing"),
    ):
        with pytest.raises(error, match=words):
            train_segmenter(dataclasses.replace(coarse_config, init=str(init)), tmp_path / "run")
    wider = dataclasses.replace(coarse_config, init=str(trained_run), model=ModelConfig(name="segnet_lite"))
    with pytest.raises(CheckpointError, match="segnet_lite with 2 classes"):
        train_segmenter(wider, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("batch_size", "images", "cure"),
    [(1, 6, "set train.batch_size to at least 2"), (2, 1, "more images")],
)
def test_a_batch_of_one_image_that_a_model_cannot_train_on_is_named(
    batch_size: int, images: int, cure: str, squares: Path, config_of: ConfigOf, tmp_path: Path
) -> None:
    data = DataConfig(name=f"folder:{squares}")
    config = dataclasses.replace(
        config_of(data=data, batch_size=batch_size, epochs=1), model=ModelConfig(name="smp:DeepLabV3/tu-lcnet_050")
    )
    splits = open_data(data)
    splits = dataclasses.replace(splits, train=Subset(splits.train, range(images)))
    with pytest.raises(TrainingError, match=cure):
        train_segmenter(config, tmp_path / "run", splits=splits)


def test_a_run_of_a_repository_s_network_outlives_the_repository(config_of: ConfigOf, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    tiny_transformers.write("segformer", repository)
    model = ModelConfig(name=f"hf:{repository}", pretrained="full")
    config = dataclasses.replace(config_of(epochs=1, encoder_rate=0.5), model=model)
    run = train_segmenter(config, tmp_path / "run")
    shutil.rmtree(repository)
    network = load_model(run).network
    with torch.no_grad():
        assert network(torch.rand(1, 3, 33, 20)).shape == (1, 1, 33, 20)
    assert read_config(RunFolder(root=run), SegmenterRunConfig).model == model


def test_the_backbones_of_torchvision_have_a_rate_of_their_own() -> None:
    network = build("torchvision:lraspp_mobilenet_v3_large", num_classes=2)
    config = TrainConfig(learning_rate=0.5, encoder_rate=0.1)
    rest, encoder = parameter_groups(network, config)
    assert {id(p) for p in encoder["params"]} == {id(p) for p in network.net.network.backbone.parameters()}
    assert len(rest["params"]) == len(list(network.net.network.classifier.parameters()))
