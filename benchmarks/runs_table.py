"""Claim: what networks of one data set reach, with and without a method behind them, and what that takes.

    python benchmarks/runs_table.py runs/camvid_segnet runs/camvid_lite0 --methods none dense_crf --out camvid_table.json

Every run is scored on the part of its data that it never learned from (test, else validation), at the images' own size, as
it is ("none") and with each method behind it: mIoU of the classes present and Boundary IoU, with intervals bootstrapped over
images. The gain of a method is paired over images. Seconds are medians over images: network, resizing and
method, on all threads; nothing else should run beside it. Minutes of training are those that the run noted.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import maskwright
from maskwright.data.catalog import open_data
from maskwright.engine.evaluate import scored_part
from maskwright.engine.network import decide
from maskwright.engine.predict import Predictor
from maskwright.metrics import BoundaryMeter, BoundaryResult, change
from maskwright.metrics.bootstrap import bootstrap
from maskwright.progress import track

SCORES = ("miou_present", "boundary_iou")


def scored(run: Path, method: str) -> tuple[BoundaryResult, float]:
    """Return the scores of a run with a method behind it, and the median of the seconds per image."""
    predictor = Predictor.load(run, method=method)
    part, dataset = scored_part(open_data(predictor.model.data))
    meter, seconds = BoundaryMeter(dataset.classes), []
    for index in track(range(len(dataset)), label=f"{run.name}, {method}, {part}", total=len(dataset)):
        sample = dataset[index]
        image = sample.image.permute(1, 2, 0).numpy()
        start = time.perf_counter()
        labels = decide(predictor.logits(image))
        seconds.append(time.perf_counter() - start)
        meter.update(sample.name, labels, sample.target)
    return meter.result(), statistics.median(seconds)


def row(run: Path, method: str, result: BoundaryResult, seconds: float, base: BoundaryResult) -> dict[str, Any]:
    """Return one row of the table; print it."""
    found: dict[str, Any] = {
        "run": run.name,
        "method": method,
        "images": len(result.names),
        "seconds per image": seconds,
    }
    history = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["history"]
    found["minutes of training"] = sum(history["seconds"]) / 60
    for score in SCORES:
        interval = bootstrap(result, score)
        found[score] = [interval.value, interval.low, interval.high]
        print(f"  {score:>16}: {interval}")
        if result is not base:
            gain = change(base, result, score).interval
            found[f"{score}, gain"] = [gain.value, gain.low, gain.high]
            print(f"  {'gain':>16}: {gain}")
    print(f"  {seconds:.3f} s per image, {found['minutes of training']:.1f} minutes of training", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--methods", nargs="+", default=["none"], help="the first is what the others are compared with")
    parser.add_argument("--out", type=Path, default=Path("runs_table.json"))
    arguments = parser.parse_args()
    rows = []
    for run in arguments.runs:
        base = None
        for method in arguments.methods:
            result, seconds = scored(run, method)
            base = base or result
            print(f"{run.name}, {method}")
            rows.append(row(run, method, result, seconds, base))
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
