"""Claim: the dense CRF is at least twice as fast as pydensecrf2 on two cores, and gives the same labels.

    python benchmarks/dense_crf.py --out dense_crf.json [--image PHOTO]

One process, 375×500 pixels, 10 steps, 2 and 21 classes, the same unaries for both. What is timed is everything from
probabilities and picture to probabilities, the lattices included, after one warm-up call of each; rounds alternate
between the two and the medians count. Needs pydensecrf2, `pip install -e '.[bench]'`. Nothing else should run on the
machine.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numba
import numpy as np
import pydensecrf.densecrf as peer
from PIL import Image
from scipy.ndimage import gaussian_filter

import maskwright
from maskwright.refine.dense_crf import PRESETS, dense_crf

HEIGHT, WIDTH = 375, 500
STEPS = 10
CLASSES = (2, 21)


def synthetic_picture() -> np.ndarray:
    """Smooth coloured regions, shading and noise of 4 grey levels; uint8 (H, W, 3)."""
    generator = np.random.default_rng(0)
    regions = np.stack([gaussian_filter(generator.normal(size=(HEIGHT, WIDTH)), 25) for _ in range(6)]).argmax(0)
    colours = generator.uniform(30, 225, (6, 3))
    shading = gaussian_filter(generator.normal(size=(HEIGHT, WIDTH, 3)), (40, 40, 0))
    pixels = colours[regions] + 20 * shading / shading.std() + generator.normal(scale=4, size=(HEIGHT, WIDTH, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def photograph(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def probabilities_of(classes: int) -> np.ndarray:
    """Blobs of every class with noise, as a coarse network might give them."""
    generator = np.random.default_rng(classes)
    logits = gaussian_filter(generator.normal(size=(classes, HEIGHT, WIDTH)), (0, 12, 12))
    logits = 3 * logits / logits.std() + generator.normal(scale=0.5, size=logits.shape)
    powers = np.exp(logits - logits.max(0))
    return (powers / powers.sum(0)).astype(np.float32)


def by_pydensecrf(probabilities: np.ndarray, image: np.ndarray, preset: str) -> np.ndarray:
    parameters = PRESETS[preset]
    classes = len(probabilities)
    crf = peer.DenseCRF2D(WIDTH, HEIGHT, classes)
    crf.setUnaryEnergy(-np.log(np.maximum(probabilities, 1e-5)).reshape(classes, -1))
    crf.addPairwiseGaussian(sxy=parameters.gaussian_sigma, compat=parameters.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=parameters.bilateral_sigma,
        srgb=parameters.bilateral_levels,
        rgbim=image,
        compat=parameters.bilateral_weight,
    )
    return np.array(crf.inference(STEPS)).reshape(probabilities.shape)


def seconds_of(work: Callable[[], np.ndarray]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(image: np.ndarray, *, classes: int, preset: str, rounds: int) -> dict[str, float]:
    probabilities = probabilities_of(classes)
    ways = {
        "ours": lambda: dense_crf(probabilities, image, steps=STEPS, preset=preset),
        "pydensecrf2": lambda: by_pydensecrf(probabilities, image, preset),
    }
    labels = {name: work().argmax(0) for name, work in ways.items()}  # the warm-up, numba's compilation included
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            seconds[name].append(seconds_of(work))
    ours, theirs = (statistics.median(seconds[name]) for name in ways)
    return {
        "ratio": theirs / ours,
        "ours, s": ours,
        "pydensecrf2, s": theirs,
        "equal labels": float((labels["ours"] == labels["pydensecrf2"]).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("dense_crf.json"))
    parser.add_argument("--image", type=Path, help="a photograph, resized to 375×500; otherwise a synthetic picture")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="pydensecrf")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    image = photograph(arguments.image) if arguments.image else synthetic_picture()
    results = {}
    print(f"{'classes':>7} {'ratio':>7} {'ours, s':>9} {'pydensecrf2, s':>15} {'equal labels':>13}")
    for classes in CLASSES:
        found = measure(image, classes=classes, preset=arguments.preset, rounds=arguments.rounds)
        results[f"{classes} classes"] = found
        ratio, ours, theirs, equal = found.values()
        print(f"{classes:>7} {ratio:>7.2f} {ours:>9.4f} {theirs:>15.4f} {equal:>13.5f}", flush=True)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "pydensecrf2": version("pydensecrf2"),
        "numba": numba.__version__,
        "machine": f"{platform.machine()}, {numba.get_num_threads()} threads",
        "picture": arguments.image.name if arguments.image else "synthetic",
        "pixels": [HEIGHT, WIDTH],
        "steps": STEPS,
        "preset": arguments.preset,
        "results": results,
    }
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
