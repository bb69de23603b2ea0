"""Peak memory of predicting and of training with a run's network, measured in a process of its own.

    python -m maskwright.engine.footprint RUN HEIGHT WIDTH

prints JSON. What earlier work left behind in a process would be counted, or hide what is to be counted, so one network needs
one process. On a CPU it is the peak of the process's resident memory less what it held before the network was read, which
leaves Python and the libraries out; on a GPU what PyTorch took of the device.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
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
    """Peak memory in bytes, the network included: of predicting one image, and of training with the run's batches; None
    where unknown."""

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


def footprint_here(run: Path, *, height: int, width: int) -> Footprint:
    """Measure in this process; see `measure_footprint`."""
    config = read_config(RunFolder(root=run), SegmenterRunConfig)
    before = _memory("VmRSS")
    _forget_peak()
    predictor = Predictor.load(run, device=config.train.device)
    device = predictor.device

    def images(count: int) -> torch.Tensor:
        made_up = torch.rand(count, config.data.channels, height, width, device=device)
        return made_up.contiguous(memory_format=torch.channels_last)

    def predict() -> None:
        with torch.inference_mode(), autocast(device, predictor.model.precision):
            predictor.network(images(1))

    channels = logit_channels(len(predictor.model.classes))
    task = SegmentationTask(
        predictor.network,
        classes=predictor.model.classes,
        config=config.train,
        logit_channels=channels,
        weak=bool(config.data.labels),
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
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return Footprint(predicting=_peak_of(predict, device, before), training=_peak_of(train, device, before))


def _peak_of(work: Callable[[], None], device: torch.device, before: int | None) -> int | None:
    """Peak so far beyond `before`; training follows predicting, of which it needs more, so that the peak is its own."""
    try:
        work()
    except (torch.OutOfMemoryError, MemoryError, RuntimeError):
        return None
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = _memory("VmHWM")
    return None if peak is None or before is None else peak - before


def _memory(field: str) -> int | None:
    """Return what this process holds (VmRSS) or held at most (VmHWM), bytes; None where the system does not tell."""
    try:
        # Not getrusage: a new process inherits its parent's peak there.
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def _forget_peak() -> None:
    """Let the peak begin anew, since reading the libraries may have needed more than a small network does."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    try:
        measured = footprint_here(Path(sys.argv[1]), height=int(sys.argv[2]), width=int(sys.argv[3]))
    except MaskwrightError as failure:
        sys.exit(f"maskwright: {failure}")
    print(json.dumps({"predicting": measured.predicting, "training": measured.training}))
