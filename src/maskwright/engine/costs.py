"""What each candidate of a comparison costs in time and memory, measured when no training is running.

Times are those of the network alone, on random images of the size that it sees: no files, no resizing. Each is the median
of several passes after a warm-up. What was measured is kept beside the candidate's runs, with what it depends on, and
measured again where any of that is different.
"""

import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from ..files import write_json
from ..report.choice import MeasuredCost
from .batch import digest_of
from .footprint import measure_footprint
from .predict import Predictor, autocast
from .reporting import machine_facts
from .run import model_file

WARM_UP = 2
FEWEST, MOST = 5, 50
"""Timed passes."""
ENOUGH_SECONDS = 2.0
"""After so long, and FEWEST passes, no more are timed."""

FILE = "cost.json"


def measured_cost(run: Path, *, batch_size: int, height: int, width: int, device: str) -> MeasuredCost:
    """Return what the network of a finished run costs, from its candidate's `cost.json` where nothing has changed.

    Args:
        run: one of the candidate's runs.
        batch_size: images per batch.
        height, width: of the images as the network sees them, pixels.
        device: "auto", "cpu" or "cuda".
    """
    kept = run.parent / FILE
    circumstances = {
        "model": digest_of(model_file(run)),
        "batch_size": batch_size,
        "size": [height, width],
        "device": device,
        "threads": torch.get_num_threads(),
        **machine_facts(),
    }
    try:
        stored = json.loads(kept.read_text(encoding="utf-8"))
        if stored["circumstances"] == circumstances:
            return MeasuredCost(**stored["cost"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing there, or nothing that this version wrote
    predictor = Predictor.load(run, device=device)
    footprint = measure_footprint(run, height=height, width=width)
    cost = MeasuredCost(
        images_per_second=1 / seconds_per_pass(predictor, count=1, height=height, width=width),
        images_per_second_batch=batch_size / seconds_per_pass(predictor, count=batch_size, height=height, width=width),
        predicting_bytes=footprint.predicting,
        training_bytes=footprint.training,
    )
    record: dict[str, Any] = {"circumstances": circumstances, "cost": dataclasses.asdict(cost)}
    write_json(kept, record)
    return cost


def seconds_per_pass(predictor: Predictor, *, count: int, height: int, width: int) -> float:
    """Return the median time of predicting `count` images of this size at once, seconds."""
    device = predictor.device
    images = torch.rand(count, predictor.model.data.channels, height, width, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds: list[float] = []
    with torch.inference_mode(), autocast(device, predictor.model.precision):
        for _ in range(WARM_UP):
            predictor.network(images)
        while len(seconds) < FEWEST or (sum(seconds) < ENOUGH_SECONDS and len(seconds) < MOST):
            _wait_for(device)
            start = time.perf_counter()
            predictor.network(images)
            _wait_for(device)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
