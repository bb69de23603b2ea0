"""What the tests of training share: to act before a step, to stop at one, to compare what came out."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwright.engine import checkpoint
from maskwright.engine.tasks import SegmentationTask

BATCHES = 3
"""Per epoch of the tiny data set."""

Step = Callable[..., Tensor]


def around_steps(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[SegmentationTask, int], None]
) -> list[SegmentationTask]:
    """Call `act(task, number of the step)` before each training step; return a list that will hold the last task."""
    tasks: list[SegmentationTask] = []
    step: Step = SegmentationTask.training_step
    count = 0

    def counted(task: SegmentationTask, batch: Any, batch_index: int) -> Tensor:
        nonlocal count
        count += 1
        tasks[:] = [task]
        act(task, count)
        return step(task, batch, batch_index)

    monkeypatch.setattr(SegmentationTask, "training_step", counted)
    return tasks


def stop_at(number: int, *, by: signal.Signals = signal.SIGTERM) -> Callable[[SegmentationTask, int], None]:
    """Send this process a signal in one training step."""
    return lambda task, step: os.kill(os.getpid(), by) if step == number else None


def nothing(task: SegmentationTask, step: int) -> None:
    """Let the training run."""


def weights(path: Path) -> dict[str, Tensor]:
    return checkpoint.load(path)[0]


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert not differing, f"{len(differing)} of {len(one)} tensors differ, such as {differing[0]}"


def history(run: Path) -> dict[str, list[float]]:
    return json.loads((run / "metrics.json").read_text())["history"]
