"""Peak memory of predicting and of training with a run's network, measured in a process of its own.

    python -m maskwright.engine.footprint RUN HEIGHT WIDTH

prints JSON. Memory that a process once had is never given back in its peak, so one network needs one process. On a CPU the
peak is that of the whole process, Python and PyTorch included; on a GPU what PyTorch took of the device.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..data.loading import TrainingBatch
from ..errors import MaskwrightError
from ..models import logit_channels
from .config import SegmenterRunConfig
from .predict import Predictor, autocast
from .run import RunFolder, read_config
from .tasks import SegmentationTask, build_optimizer, parameter_groups

STEPS = 2
"""Training steps: the moments of the optimizer exist from the first one on."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Peak memory in bytes: of predicting one image, and of training with the run's batches; None where unknown."""

    predicting: int | None
    training: int | None


def measure_footprint(run: Path, *, height: int, width: int) -> Footprint:
    """Measure a finished run's network in a new process; what cannot be measured there is None.

    Args:
        run: the run's folder.
        height, width: of the images as the network sees them, pixels.
    """
    command = [sys.executable, "-m", __name__, str(run), str(height), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Footprint(predicting=None, training=None)
    found = json.loads(done.stdout.splitlines()[-1])
    return Footprint(predicting=found["predicting"], training=found["training"])


def _measure_here(run: Path, *, height: int, width: int) -> Footprint:
    config = read_config(RunFolder(root=run), SegmenterRunConfig)
    predictor = Predictor.load(run, device=config.train.device)
    device = predictor.device

    def images(count: int) -> torch.Tensor:
        return torch.rand(count, 3, height, width, device=device).contiguous(memory_format=torch.channels_last)

    def predict() -> None:
        with torch.inference_mode(), autocast(device, predictor.model.precision):
            predictor.network(images(1))

    channels = logit_channels(len(predictor.model.classes))
    task = SegmentationTask(
        predictor.network, classes=predictor.model.classes, config=config.train, logit_channels=channels
    )

    def train() -> None:
        task.train()
        optimizer = build_optimizer(parameter_groups(task.network, config.train), config.train)
        batch = config.train.batch_size
        targets = torch.zeros(batch, height, width, dtype=torch.long, device=device)
        for _ in range(STEPS):
            with autocast(device, config.train.precision):
                loss = task.batch_loss(TrainingBatch(images(batch), targets, torch.arange(batch)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return Footprint(predicting=_peak_of(predict, device), training=_peak_of(train, device))


def _peak_of(work: Callable[[], None], device: torch.device) -> int | None:
    """Peak so far; each piece of work needs more than those before it, so that its own peak is the process's."""
    try:
        work()
    except (torch.OutOfMemoryError, MemoryError, RuntimeError):
        return None
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()


def peak_memory() -> int | None:
    """Return the largest resident size of this process so far, bytes; None where the system does not tell."""
    try:
        # Not getrusage: a new process inherits its parent's peak there.
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


if __name__ == "__main__":
    try:
        measured = _measure_here(Path(sys.argv[1]), height=int(sys.argv[2]), width=int(sys.argv[3]))
    except MaskwrightError as failure:
        sys.exit(f"maskwright: {failure}")
    print(json.dumps({"predicting": measured.predicting, "training": measured.training}))
