"""Claim: mean shift segments the pictures of BSDS500 about as well as published for it, at one bandwidth for all.

    python benchmarks/mean_shift_regions.py --data BSDS500 --out mean_shift_regions.json
    python benchmarks/mean_shift_regions.py --data BSDS500 --bandwidths 5 --spatial 0 30 --min-regions 0 100

BSDS500 holds images/{train,val}/*.jpg and groundTruth/{train,val}/*.mat, each .mat with the segmentations of several people.
Every image is segmented with every setting of the grid, --bandwidths x --spatial x --min-regions x --fuse, modes nearer
than the bandwidth being one and pieces that do not touch apart. With positions and without, everything is chosen on train,
in three ways: one setting for all pictures and scores; one bandwidth for all, and what is left for each score by itself;
and each score's own setting. The first two take what has the highest sum of the three scores, each as a share of the best
that any setting has in it. Train and val are scored apart and together. ODS, OIS and best over the grid, as in the
benchmark's code, are there to compare with published figures of mean shift (Arbelaez et al. 2011, on the test part,
ODS/OIS/best): covering .54/.58/.66, PRI .79/.81, VI 1.85/1.64. Intervals are bootstrapped over images. Seconds are medians
over images of the segmentation alone, on all threads.
"""

import argparse
import itertools
import json
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

import maskwright
from maskwright import cluster
from maskwright.data.io import read_image
from maskwright.errors import DataError
from maskwright.metrics import (
    SETTING_STATISTICS,
    PartitionScores,
    SettingScores,
    over_settings,
    partition_scores,
    settings_interval,
)

SCORES = ("covering", "probabilistic_rand_index", "variation_of_information")


@dataclass(frozen=True, slots=True)
class Setting:
    """Of mean shift; `spatial` 0 clusters colours alone."""

    bandwidth: float
    spatial: float
    min_region: int
    fuse: float


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the data: the scores of each image with each setting, and the seconds each took."""

    table: list[list[PartitionScores]]
    seconds: list[list[float]]


def all_regions(image: np.ndarray, arguments: argparse.Namespace) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the region of each pixel, int (H, W), and the seconds of the segmentation, for one setting after the other.

    Modes are computed once for all smallest regions and fusions.
    """
    for bandwidth, spatial in itertools.product(arguments.bandwidths, arguments.spatial):
        start = time.perf_counter()
        labels, modes = cluster.segment(image, bandwidth=bandwidth, spatial=spatial, merge="modes", connected=True)
        seconds = time.perf_counter() - start
        for smallest in arguments.min_regions:
            start = time.perf_counter()
            regions = cluster.merge_small(labels, modes[..., :3], smallest)
            for fuse in arguments.fuse:
                yield cluster.merge_near(regions, modes[..., :3], fuse), seconds + time.perf_counter() - start


def truths_of(path: Path) -> list[np.ndarray]:
    """The segmentations of one image, uint16 (H, W), one per person."""
    return [person["Segmentation"][0, 0] for person in loadmat(path)["groundTruth"][0]]


def scored_part(data: Path, name: str, arguments: argparse.Namespace) -> Part:
    """Segment and score every image of a part with every setting."""
    paths = sorted((data / "images" / name).glob("*.jpg"))[:: arguments.every]
    if not paths:
        raise DataError(f"{data / 'images' / name} holds no .jpg; --data is the folder with images and groundTruth")
    part = Part([], [])
    for path in paths:
        image = read_image(path)
        truths = truths_of(data / "groundTruth" / name / f"{path.stem}.mat")
        scores, seconds = [], []
        for labels, took in all_regions(image, arguments):
            seconds.append(took)
            scores.append(partition_scores(labels, truths))
        part.table.append(scores)
        part.seconds.append(seconds)
        print(f"{name} {len(part.table)}/{len(paths)} {path.stem}: {sum(seconds):.1f} s", flush=True)
    return part


def at_settings(part: Part, settings: list[Setting], chosen: dict[str, int]) -> dict[str, object]:
    """Return each score of a part at the setting that is chosen for it, with its interval."""
    found: dict[str, object] = {}
    for score, index in chosen.items():
        interval = settings_interval([[row[index]] for row in part.table], f"{score}_ods")
        found[score] = [interval.value, interval.low, interval.high]
        print(f"  {score:>32}: {interval} at {settings[index]}")
    return found


def size_and_time(part: Part, index: int) -> dict[str, float]:
    """Return medians of a part at one setting."""
    regions = statistics.median(row[index].regions for row in part.table)
    seconds = statistics.median(row[index] for row in part.seconds)
    print(f"  {regions:.0f} regions, {seconds:.3f} s per image (medians)")
    return {"regions": regions, "seconds": seconds}


def over_grid(part: Part, settings: list[Setting]) -> dict[str, object]:
    """ODS, OIS and best of a part, with their intervals and the settings that ODS takes."""
    scores = over_settings(part.table)
    found: dict[str, object] = {"images": scores.images}
    for statistic in SETTING_STATISTICS:
        interval = settings_interval(part.table, statistic)
        found[statistic] = [interval.value, interval.low, interval.high]
        print(f"  {statistic:>32}: {interval}")
    for score in SCORES:
        found[f"{score}_setting"] = asdict(settings[getattr(scores, f"{score}_setting")])
    return found


def relative_sum(scores: SettingScores, best: SettingScores) -> float:
    """How near the three scores together come to the best of each; 3 at most."""
    return (
        scores.covering_ods / best.covering_ods
        + scores.probabilistic_rand_index_ods / best.probabilistic_rand_index_ods
        + best.variation_of_information_ods / scores.variation_of_information_ods
    )


def best_for_each(table: list[list[PartitionScores]], some: list[int]) -> dict[str, int]:
    """Return which of some settings is best for each score."""
    scores = over_settings([[row[index] for index in some] for row in table])
    return {score: some[getattr(scores, f"{score}_setting")] for score in SCORES}


def choices_on(table: list[list[PartitionScores]], settings: list[Setting]) -> dict[str, dict[str, int]]:
    """Choose the settings of each score in the three ways that the module names."""
    best = over_settings(table)

    def standing(some: list[int]) -> float:
        return relative_sum(over_settings([[row[index] for index in some] for row in table]), best)

    one = max(range(len(settings)), key=lambda index: standing([index]))
    bandwidths = sorted({setting.bandwidth for setting in settings})
    alike = [[i for i, setting in enumerate(settings) if setting.bandwidth == value] for value in bandwidths]
    return {
        "one setting": dict.fromkeys(SCORES, one),
        "one bandwidth": best_for_each(table, max(alike, key=standing)),
        "each score's own setting": best_for_each(table, list(range(len(settings)))),
    }


def compared(kind: str, parts: dict[str, Part], some: list[int], settings: list[Setting]) -> dict[str, object]:
    """Choose among some settings on train, and score both parts, and both together, with what was chosen and over all of
    those settings."""
    of_kind = {
        name: Part([[row[i] for i in some] for row in part.table], [[row[i] for i in some] for row in part.seconds])
        for name, part in parts.items()
    }
    of_kind["train + val"] = Part(
        of_kind["train"].table + of_kind["val"].table, of_kind["train"].seconds + of_kind["val"].seconds
    )
    settings = [settings[i] for i in some]
    ways = choices_on(of_kind["train"].table, settings)
    record: dict[str, object] = {
        "chosen": {
            way: {score: asdict(settings[index]) for score, index in chosen.items()} for way, chosen in ways.items()
        }
    }
    for name, part in of_kind.items():
        at_chosen = {}
        for way, chosen in ways.items():
            print(f"{kind}, {name}, {len(part.table)} images, chosen on train, {way}:")
            at_chosen[way] = at_settings(part, settings, chosen)
        print(f"{kind}, {name}, one setting:")
        at_one = size_and_time(part, ways["one setting"]["covering"])
        print(f"{kind}, {name}, over {len(settings)} settings:")
        record[name] = {**at_chosen, **at_one, "over_grid": over_grid(part, settings)}
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with images and groundTruth")
    parser.add_argument("--bandwidths", type=float, nargs="+", default=[4.0, 5.0])
    parser.add_argument("--spatial", type=float, nargs="+", default=[0.0, 40.0, 80.0], help="pixels; 0: colours alone")
    parser.add_argument("--min-regions", type=int, nargs="+", default=[400, 1000], help="pixels")
    parser.add_argument("--fuse", type=float, nargs="+", default=[0.0, 5.0, 9.0], help="CIELAB units")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image only, from the first on")
    parser.add_argument("--out", type=Path, default=Path("mean_shift_regions.json"))
    arguments = parser.parse_args()
    grid = itertools.product(arguments.bandwidths, arguments.spatial, arguments.min_regions, arguments.fuse)
    settings = [Setting(*values) for values in grid]
    parts = {name: scored_part(arguments.data, name, arguments) for name in ("train", "val")}
    record: dict[str, object] = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "machine": platform.machine(),
        "arguments": {name: str(value) for name, value in vars(arguments).items()},
    }
    for kind, some in (
        ("colour", [i for i, setting in enumerate(settings) if not setting.spatial]),
        ("colour and position", [i for i, setting in enumerate(settings) if setting.spatial]),
    ):
        if some:
            record[kind] = compared(kind, parts, some, settings)
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
