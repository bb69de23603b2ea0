"""Claim: the bundled refiner mends masks of another tool better than a dense CRF or a guided filter, and harms few.

    python benchmarks/refiners.py --data pets:DIR --masks MASKS --out refiners.json
    python benchmarks/refiners.py --data folder:DIR --masks MASKS --out refiners.json
    python benchmarks/refiners.py --data folder:DIR --coarsen 8 --shares bundled dense_crf guided none --out refiners.json
    python benchmarks/refiners.py --data pets:DIR --border pet --masks MASKS --refiners runs/mine_cspn runs/mine_dyspn

MASKS holds one grey picture of foreground probabilities per image, of its stem and size; without them, the truth is
averaged over cells of so many pixels and enlarged bilinearly, which works for any number of classes. The images are those
of the test part, of the validation part where there is no other, or all. Every method gets the same masks at the images'
size, and so do runs of train-refiner, which work at the size that they learned. Methods named by `--shares` run again as
"METHOD, shares", given the averages, too, as exact shares of the cells; "none, shares" is what these are worth without a
look at the picture. Images are scored one by one at their own size, and `better` and `worse` are the shares of images whose
IoU moved by more than 0.01. Where pixels are ignored, as Pet's border (unless `--border pet`), the nearest edge counts as
lying among them (`border_share` inf). Intervals are bootstrapped over images, of changes paired. Seconds are medians over
images on all threads; nothing else should run on the machine when they are to be quoted.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import maskwright
from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.io import read_probabilities
from maskwright.data.pets import Border
from maskwright.engine.trained import TrainedRefiner
from maskwright.metrics.bootstrap import bootstrap, change
from maskwright.metrics.boundary_meter import BoundaryMeter
from maskwright.refine.dense_crf import dense_crf
from maskwright.refine.methods import METHODS, Method, apply_method
from maskwright.refine.shares import with_shares
from maskwright.types import Dataset

SCORES = ("trimap_iou", "boundary_iou", "iou_per_image")

WAYS: dict[str, Method] = {
    "coarse": METHODS["none"],
    "guided": METHODS["guided"],
    "dense_crf": METHODS["dense_crf"],
    "dense_crf, pydensecrf": lambda probabilities, image: dense_crf(probabilities, image, preset="pydensecrf"),
    "bundled": METHODS["bundled"],
}


def test_images(
    dataset: Dataset, masks: Path | None, *, coarsen: int, chosen: Sequence[int]
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yield name, image (H, W, 3), probabilities (C, H, W), truth (H, W), and the averages (C, K, L) unless from files."""
    for index in chosen:
        sample = dataset[index]
        assert sample.target is not None
        if masks is None:
            shares, probabilities = coarsened(sample.target, len(dataset.classes), coarsen)
        else:
            (foreground,) = read_probabilities(masks / f"{sample.name}.png")
            shares, probabilities = None, np.stack((1 - foreground, foreground))
        image = sample.image.permute(1, 2, 0).contiguous().numpy()
        yield sample.name, image, probabilities, sample.target.numpy(), shares


def coarsened(truth: Tensor, classes: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Average the classes over cells of `side` pixels, and enlarge that bilinearly; ignored pixels count for none.

    Returns:
        Averages and enlarged ones.
    """
    height, width = truth.shape
    each = torch.stack([(truth == label).float() for label in range(classes)])
    small = F.adaptive_avg_pool2d(each, (-(-height // side), -(-width // side))) + 1e-6
    small /= small.sum(0)
    enlarged = F.interpolate(small[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    return small.numpy(), enlarged.numpy()


def refined_with_shares(probabilities: np.ndarray, image: np.ndarray, shares: np.ndarray, *, method: str) -> np.ndarray:
    """Refine as `refine_mask` does with `smaller="shares"`."""
    return with_shares(apply_method(probabilities, image, method=method, gated=False).probabilities, shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="pets:DIR or folder:DIR")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--masks", type=Path)
    source.add_argument("--coarsen", type=int, metavar="SIDE")
    parser.add_argument("--methods", nargs="+", choices=WAYS, default=list(WAYS), help="besides coarse")
    parser.add_argument("--shares", nargs="*", choices=METHODS, default=[], help="methods that get the averages, too")
    parser.add_argument("--refiners", nargs="*", type=Path, default=[], help="runs of train-refiner")
    parser.add_argument("--border", choices=get_args(Border), default="ignore", help="pets only: what the border is")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image only, from the first on")
    parser.add_argument(
        "--leave", type=int, default=0, help="leave every n-th out, such as those that choices were made on"
    )
    parser.add_argument("--out", type=Path, default=Path("refiners.json"))
    arguments = parser.parse_args()
    if arguments.shares and not arguments.coarsen:
        parser.error("--shares needs --coarsen, which makes them")
    ways = {way: refine for way, refine in WAYS.items() if way in ("coarse", *arguments.methods)}
    # On the CPU like all others, so that the seconds compare.
    ways |= {str(run): TrainedRefiner(run, device="cpu") for run in arguments.refiners}
    splits = open_data(DataConfig(name=arguments.data, border=arguments.border, val_fraction=0))
    dataset = next(part for part in (splits.test, splits.val, splits.train) if part is not None)
    names = [*ways, *(f"{method}, shares" for method in arguments.shares)]
    meters = {way: BoundaryMeter(dataset.classes, border_share=math.inf) for way in names}
    seconds: dict[str, list[float]] = {way: [] for way in names}
    chosen = [i for i in range(0, len(dataset), arguments.every) if not arguments.leave or i % arguments.leave]
    images = test_images(dataset, arguments.masks, coarsen=arguments.coarsen, chosen=chosen)
    for name, image, probabilities, truth, shares in images:
        given_shares = {
            f"{method}, shares": partial(refined_with_shares, shares=shares, method=method)
            for method in arguments.shares
        }
        for way, refine in {**ways, **given_shares}.items():
            start = time.perf_counter()
            refined = refine(probabilities, image)
            seconds[way].append(time.perf_counter() - start)
            meters[way].update(name, refined.argmax(0).astype(np.uint8), truth)
    results = {way: meter.result() for way, meter in meters.items()}
    found = {}
    for way, result in results.items():
        values = {score: bootstrap(result, score) for score in SCORES}
        changes = {score: change(results["coarse"], result, score, threshold=0.01) for score in SCORES}
        of_iou = changes["iou_per_image"]
        found[way] = {
            **{score: [interval.value, interval.low, interval.high] for score, interval in values.items()},
            **{
                f"change of {score}": [c.interval.value, c.interval.low, c.interval.high]
                for score, c in changes.items()
            },
            "better": of_iou.better,
            "worse": of_iou.worse,
            "seconds": statistics.median(seconds[way]),
        }
        shown = ", ".join(f"{score} {values[score].value:.4f}" for score in SCORES)
        print(
            f"{way:>22}: {shown}, better {of_iou.better:.0%}, worse {of_iou.worse:.1%}, {found[way]['seconds']:.3f} s",
            flush=True,
        )
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "images": len(seconds["coarse"]),
        "arguments": {name: str(value) for name, value in vars(arguments).items()},
        "border": arguments.border,
        "results": found,
    }
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
