"""Stopping: a training that was stopped and resumed ends bit for bit like one that never was."""

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from maskwright.data.catalog import DataConfig
from maskwright.data.transforms import AugmentConfig
from maskwright.engine.config import SegmenterRunConfig
from maskwright.engine.tasks import SegmentationTask
from maskwright.engine.train import train_segmenter
from maskwright.errors import Terminated
from training_steps import BATCHES, around_steps, assert_same, history, nothing, stop_at, weights

ConfigOf = Callable[..., SegmenterRunConfig]

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than the machine has cores

AUGMENT = AugmentConfig(horizontal_flip=True, rotation=20, shift=0.1, color=0.2)


@dataclasses.dataclass
class Uninterrupted:
    """A training without a stop: its configuration, last weights, best weights and history."""

    config: SegmenterRunConfig
    last: dict[str, Tensor]
    best: dict[str, Tensor]
    history: dict[str, list[float]]


@pytest.fixture(scope="module")
def uninterrupted(config_of: ConfigOf, squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    config = config_of(data=DataConfig(name=f"folder:{squares}", augment=AUGMENT))
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        tasks = around_steps(patch, nothing)
        train_segmenter(config, run)
    return Uninterrupted(
        config=config, last=tasks[0].network.state_dict(), best=weights(run / "model.safetensors"), history=history(run)
    )


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Keep a failing test from changing the signals of the others."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("workers", "step"),
    [(0, 1), (0, BATCHES + 2), (2, 2), (0, BATCHES), (2, BATCHES), (0, 2 * BATCHES)],
    ids=["first batch", "second epoch", "workers", "end of an epoch", "end of an epoch, workers", "last batch"],
)
def test_stop_and_resume_is_bit_for_bit_the_uninterrupted_training(
    workers: int, step: int, uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(
        uninterrupted.config, train=dataclasses.replace(uninterrupted.config.train, workers=workers)
    )
    tasks = around_steps(monkeypatch, stop_at(step))
    with pytest.raises(Terminated, match="SIGTERM.*resumes") as caught:
        train_segmenter(config, tmp_path / "run")
    assert caught.value.exit_code == 143
    assert (tmp_path / "run" / "resume.safetensors").is_file()

    train_segmenter(config, tmp_path / "run")
    assert_same(tasks[0].network.state_dict(), uninterrupted.last)
    assert_same(weights(tmp_path / "run" / "model.safetensors"), uninterrupted.best)
    resumed = history(tmp_path / "run")
    assert resumed["train_loss"] == uninterrupted.history["train_loss"]
    assert resumed["val_score"] == uninterrupted.history["val_score"]
    assert not (tmp_path / "run" / "resume.safetensors").exists()


@pytest.mark.parametrize("step", [2, BATCHES])
def test_the_seconds_of_a_resumed_epoch_are_its_own(
    step: int, config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around_steps(monkeypatch, stop_at(step))
    with pytest.raises(Terminated):
        train_segmenter(config_of(), tmp_path / "run")
    train_segmenter(config_of(), tmp_path / "run")
    seconds = history(tmp_path / "run")["seconds"]
    assert len(seconds) == 2
    assert all(0 < spent < 120 for spent in seconds), seconds


def test_resuming_goes_on_with_the_random_numbers_of_dropout(
    config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = SegmentationTask.training_logits

    def with_dropout(task: SegmentationTask, batch: Any) -> Tensor:
        return nn.functional.dropout(plain(task, batch), 0.5)

    monkeypatch.setattr(SegmentationTask, "training_logits", with_dropout)
    with monkeypatch.context() as patch:
        tasks = around_steps(patch, nothing)
        train_segmenter(config_of(), tmp_path / "whole")
        whole = tasks[0].network.state_dict()
    with monkeypatch.context() as patch:
        tasks = around_steps(patch, stop_at(2))
        with pytest.raises(Terminated):
            train_segmenter(config_of(), tmp_path / "stopped")
        train_segmenter(config_of(), tmp_path / "stopped")
    assert_same(tasks[0].network.state_dict(), whole)


def test_ctrl_c_stops_after_the_batch_with_130(
    config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    around_steps(monkeypatch, stop_at(1, by=signal.SIGINT))
    with pytest.raises(Terminated, match="SIGINT") as caught:
        train_segmenter(config_of(), tmp_path / "run")
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_pressed_twice_stops_at_once(
    config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def twice(task: SegmentationTask, step: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    around_steps(monkeypatch, twice)
    try:
        with pytest.raises((KeyboardInterrupt, Terminated)):
            train_segmenter(config_of(), tmp_path / "run")
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_fails_gives_the_signals_back(
    number: signal.Signals, config_of: ConfigOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(SegmentationTask, "training_logits", lambda task, batch: 1 / 0)
    try:
        with pytest.raises(ZeroDivisionError):
            train_segmenter(config_of(), tmp_path / "run")
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, before)


def test_a_training_that_ends_gives_the_signals_back(config_of: ConfigOf, tmp_path: Path) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    train_segmenter(config_of(epochs=1), tmp_path / "run")
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_training_may_run_in_a_thread(config_of: ConfigOf, tmp_path: Path) -> None:
    thread = threading.Thread(target=train_segmenter, args=(config_of(epochs=1), tmp_path / "run"))
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "metrics.json").is_file()
