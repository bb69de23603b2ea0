"""Claim: Boundary IoU of masks takes a fraction of the time of its direct version with OpenCV, and is the same number.

    python benchmarks/boundary_iou.py --predictions coarse/ecssd --targets ecssd/masks --out boundary_iou.json

All pairs of masks of two folders of PNG files of one name, above 127 = object, read before the clock starts. The peer is
the definition as Cheng et al. 2021 publish it: copyMakeBorder with 0, erode by 3×3 as often as the band is wide, subtract;
sums of where the product and the sum of both bands are above 0. Both see one mask after the other in one process; rounds
alternate between them after a warm-up; medians count. Values must agree to 1e-9. Beside it, the seconds of all boundary
scores together. Nothing else should run on the machine.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from math import hypot
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

import maskwright
from maskwright.metrics.boundary import BOUNDARY_IOU_SHARE, boundary_iou, boundary_scores

Mask = np.ndarray


def read_mask(path: Path) -> Mask:
    with Image.open(path) as image:
        return (np.asarray(image.convert("L")) > 127).astype(np.uint8)


def pairs_of(predictions: Path, targets: Path) -> list[tuple[Mask, Mask]]:
    paths = [
        (path, targets / path.name) for path in sorted(predictions.glob("*.png")) if (targets / path.name).is_file()
    ]
    if not paths:
        raise SystemExit(f"{predictions} and {targets} share no .png of one name; expected two folders of masks")
    return [(read_mask(prediction), read_mask(target)) for prediction, target in paths]


def inner_band(mask: Mask) -> Mask:
    height, width = mask.shape
    steps = max(1, round(BOUNDARY_IOU_SHARE * hypot(height, width)))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=steps)
    return mask - eroded[1 : height + 1, 1 : width + 1]


def direct(prediction: Mask, target: Mask) -> float:
    predicted, true = inner_band(prediction), inner_band(target)
    union = ((predicted + true) > 0).sum()
    # Masks that are both empty: ours scores what it is told to, 1 if nothing else.
    return ((predicted * true) > 0).sum() / union if union else 1.0


def ours(prediction: Mask, target: Mask) -> float:
    return boundary_iou(prediction, target, num_classes=2)


def all_scores(prediction: Mask, target: Mask) -> float:
    return boundary_scores(prediction, target, num_classes=2).boundary_iou


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--predictions", type=Path, required=True, help="folder of masks")
    parser.add_argument("--targets", type=Path, required=True, help="folder of true masks of the same names")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("boundary_iou.json"))
    arguments = parser.parse_args()
    pairs = pairs_of(arguments.predictions, arguments.targets)
    ways: dict[str, Callable[[Mask, Mask], float]] = {"ours": ours, "opencv": direct, "all boundary scores": all_scores}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values = {}
    for each_round in range(arguments.rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            values[name] = np.array([way(*pair) for pair in pairs])
            if each_round:
                seconds[name].append(time.perf_counter() - start)
    difference = max(float(np.abs(values["opencv"] - values[name]).max()) for name in ways)
    assert difference <= 1e-9, f"values differ by up to {difference}"
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
        "threads": {"torch": torch.get_num_threads(), "opencv": cv2.getNumThreads()},
        "versions": {"maskwright": maskwright.__version__}
        | {name: version(name) for name in ("numpy", "numba", "opencv-python-headless")},
        "masks": len(pairs),
        "ratio": medians["opencv"] / medians["ours"],
        "largest_difference": difference,
        "seconds": medians,
        "each": seconds,
    }
    print(f"{record['ratio']:.1f} x as fast as OpenCV over {len(pairs)} masks; largest difference {difference:g}")
    for name, median in medians.items():
        print(f"{median * 1e3:8.1f} ms  {name}")
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
