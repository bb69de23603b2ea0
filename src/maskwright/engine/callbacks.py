"""What happens around the training steps: checkpoints, history, progress, signals."""

import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.plugins.io import CheckpointIO

from ..data.loading import TrainingLoader
from ..errors import Terminated
from ..progress import Bar, say
from . import checkpoint
from .tasks import Task


class SafeCheckpointIO(CheckpointIO):
    """Lightning's own checkpoints (weights, optimizer, schedules, loops) as safetensors + JSON, never as pickles.

    Args:
        batch_size: kept beside them, since the number of steps counts in batches.
    """

    def __init__(self, *, batch_size: int) -> None:
        self.batch_size = batch_size

    def save_checkpoint(self, state: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write `state` atomically."""
        tensors, tree = checkpoint.pack_state(state)
        checkpoint.save(Path(path), tensors, {"kind": "resume", "batch_size": self.batch_size, "state": tree})

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read and verify what `save_checkpoint` wrote."""
        tensors, metadata = checkpoint.load(Path(path))
        state: dict[str, Any] = checkpoint.unpack_state(tensors, metadata["state"])
        return state

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


class EpochRecord(pl.Callback):
    """Loss and validation score of every epoch; part of the checkpoint, so a resumed run has them all."""

    def __init__(self) -> None:
        self.train_loss: list[float] = []
        self.val_score: list[float] = []
        self.seconds: list[float] = []
        self._losses: list[float] = []
        self._started = 0.0
        self._spent_before = 0.0

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self.train_loss.append(sum(self._losses) / len(self._losses))
        self._losses = []
        self.seconds.append(self._spent())
        self._started, self._spent_before = time.monotonic(), 0.0
        if "val_score" in trainer.callback_metrics:
            self.val_score.append(float(trainer.callback_metrics["val_score"]))
        task.log("train_loss", self.train_loss[-1])

    def state_dict(self) -> dict[str, Any]:
        return {
            "train_loss": self.train_loss,
            "val_score": self.val_score,
            "seconds": self.seconds,
            "losses": self._losses,
            "spent": self._spent(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.train_loss, self.val_score = state_dict["train_loss"], state_dict["val_score"]
        self.seconds, self._losses = state_dict["seconds"], state_dict["losses"]
        self._spent_before = state_dict["spent"]

    def _spent(self) -> float:
        """Seconds of the current epoch, those before a stop included."""
        return self._spent_before + time.monotonic() - self._started


class KeepBest(pl.Callback):
    """Writes the weights of the best validation score, or the last ones where nothing is validated.

    Args:
        path: the checkpoint that is replaced.
        metadata: what `engine.run` needs to build the network again.
        beat: validation score that must be exceeded before anything is written.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any], *, beat: float = -math.inf) -> None:
        self.path = path
        self.metadata = dict(metadata)
        self.best_score = beat
        self.best_epoch = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        score = trainer.callback_metrics.get("val_score")
        better = score is None or float(score) > self.best_score
        if better:
            self.best_score = -math.inf if score is None else float(score)
            self.best_epoch = trainer.current_epoch + 1
        # Without validation only the last weights count; to write them at every epoch would only cost time.
        if better and (score is not None or trainer.current_epoch + 1 == trainer.max_epochs):
            assert isinstance(task, Task)
            checkpoint.save(self.path, task.network.state_dict(), {**self.metadata, "epoch": self.best_epoch})

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]


class Resumable(pl.Callback):
    """Saves the whole training state every so often, and once more when SIGTERM or Ctrl-C asks to stop.

    Args:
        path: the checkpoint that is replaced.
        loader: goes on behind the batches that the checkpoint has seen.
        minutes: between two checkpoints, at most.
    """

    def __init__(self, path: Path, loader: TrainingLoader, *, minutes: float) -> None:
        self.path = path
        self.loader = loader
        self.minutes = minutes
        self.signal: int | None = None
        self._saved = time.monotonic()
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._previous[number] = signal.signal(number, self._ask_to_stop)
            except ValueError:  # signals can be handled in the main thread only
                return

    def on_train_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._give_signals_back()

    def on_exception(self, trainer: pl.Trainer, task: pl.LightningModule, exception: BaseException) -> None:
        self._give_signals_back()

    def on_load_checkpoint(self, trainer: pl.Trainer, task: pl.LightningModule, state: dict[str, Any]) -> None:
        # Every batch is one optimizer step. Lightning's own way of restoring a loader comes too late: the schedule
        # asks for the number of steps first, which already starts the loader.
        self.loader.batches.batches_done = state["global_step"]

    def _give_signals_back(self) -> None:
        # Before Lightning's teardown, which puts back what was there before the two of us.
        while self._previous:
            signal.signal(*self._previous.popitem())

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # At the last batch of an epoch the validation is still to come; the checkpoint then waits for its end.
        if batch_idx + 1 < trainer.num_training_batches:
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._save_if_due(trainer)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise Terminated(
                "stopped at once, at the second signal; the last checkpoint is intact", exit_code=128 + number
            )
        self.signal = number
        say("stopping after this batch; the run can be resumed")

    def _save_if_due(self, trainer: pl.Trainer) -> None:
        if self.signal is None and time.monotonic() - self._saved < 60 * self.minutes:
            return
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()
        if self.signal is not None:
            raise Terminated(
                f"stopped by {signal.Signals(self.signal).name} in epoch {trainer.current_epoch + 1}; the same command "
                f"resumes from {self.path}",
                exit_code=128 + self.signal,
            )


class ShowProgress(pl.Callback):
    """A bar over the batches of the whole training, with the last loss and validation score."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.bar: Bar | None = None
        self.score = ""

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        total = int(trainer.estimated_stepping_batches)
        self.bar = Bar(self.label, total=total, done=trainer.global_step, unit="batches").__enter__()

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self.bar is not None
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.bar.advance(note=f"{epoch} loss {float(outputs['loss']):.3f}{self.score}")

    def on_validation_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        assert isinstance(task, Task)
        self.score = f" {task.monitor} {float(trainer.callback_metrics['val_score']):.4f}"

    def teardown(self, trainer: pl.Trainer, task: pl.LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.__exit__()
            self.bar = None
