"""Claim: the bundled refiner takes a moment for a picture, and for a photograph what its edges cost.

    python benchmarks/refiner_time.py --out refiner_time.json

Made pictures: ragged blobs of one texture on another, and a mask of 128 pixels on the longer side, enlarged. Of 500×375
pixels and of 4000×3000, with one object, whose outline is about as long as those of pets in their pictures (3.2 widths on
average), and with twelve. Median of several calls on all threads, after a warm-up, and the peak of the resident memory
(Linux) during a call above what the process held before. Nothing else should run beside it.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

import maskwright
from maskwright.refine.methods import METHODS

SCENES = {"500x375, 1 object": (375, 500, 1), "12 MP, 1 object": (3000, 4000, 1), "12 MP, 12 objects": (3000, 4000, 12)}
MASK_SIDE = 128


def scene(height: int, width: int, objects: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return image (H, W, 3), probabilities (2, H, W), and the length of the outline in widths of the image."""
    generator = np.random.default_rng(0)
    small = np.zeros((480, 640), np.bool_)
    rows, columns = np.indices(small.shape)
    ragged = ndimage.gaussian_filter(generator.standard_normal(small.shape), 12)
    ragged = 0.12 * ragged / ragged.std()
    rows_of_objects, side = round(np.sqrt(objects * 3 / 4)), 480 / round(np.sqrt(objects * 3 / 4))
    per_row = objects // rows_of_objects
    for number in range(objects):
        y, x = (number // per_row + 0.5) * side, (number % per_row + 0.5) * 640 / per_row
        small |= np.hypot(rows - y, columns - x) / (0.32 * side) + ragged < 1
    truth = enlarged(small.astype(np.float32), (height, width)) >= 0.5
    texture = generator.integers(-20, 20, (height, width, 3), dtype=np.int8)
    image = np.clip(80 + 90 * truth[..., None] + texture, 0, 255).astype(np.uint8)
    size = [round(MASK_SIDE * side / max(height, width)) for side in (height, width)]
    coarse = F.interpolate(torch.from_numpy(small)[None, None].float(), size=size, mode="bilinear", antialias=True)
    foreground = enlarged(coarse[0, 0].numpy(), (height, width))
    outline = np.count_nonzero(truth[1:] != truth[:-1]) + np.count_nonzero(truth[:, 1:] != truth[:, :-1])
    return image, np.stack((1 - foreground, foreground)), outline / width


def enlarged(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return F.interpolate(torch.from_numpy(plane)[None, None], size=size, mode="bilinear", align_corners=False)[
        0, 0
    ].numpy()


def resident_megabytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("refiner_time.json"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    refine, results = METHODS["bundled"], {}
    for name, shape in SCENES.items():
        image, probabilities, outline = scene(*shape)
        refine(probabilities, image)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before, seconds = resident_megabytes("VmRSS"), []
        for _ in range(arguments.rounds):
            start = time.perf_counter()
            refine(probabilities, image)
            seconds.append(time.perf_counter() - start)
        peak = resident_megabytes("VmHWM")
        results[name] = {
            "outline, widths": outline,
            "seconds": statistics.median(seconds),
            "MB above inputs": peak - before,
            "MB of the process": peak,
        }
        print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in results[name].items()), flush=True)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "results": results,
    }
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
