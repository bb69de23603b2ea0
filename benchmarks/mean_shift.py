"""Claim: mean shift of a photograph takes a moment and gives the modes of the exact sums over all pairs.

    python benchmarks/mean_shift.py --images PHOTOGRAPHS --out mean_shift.json [--plot cost.png] [--parts speed agreement …]

PHOTOGRAPHS is a folder of pictures, searched with its subfolders, such as images of BSDS500; those of an even spread over it
are taken. Gaussian blurring mean shift in CIELAB, bandwidth 2.5, 20 steps, infinite radius, labels by round(modes / 4).
One process for ours and the peers; each call is warmed up, medians over pictures of the medians of several calls.

speed       `segment` by the fast method, the exact one, OpenCV's pyrMeanShiftFiltering(10, 10), and once each
            scikit-learn's MeanShift (flat kernel, bin seeding) on the same pixels, and the definition batched with
            torch.cdist in float32, timed on the picture at a quarter of its sides and scaled with the square of the pixels
agreement   of the fast method with the exact one in float64, by pixels: equal labels, modes within 0.05
definition  largest distance of the exact method's modes from the definition's in float64, on one picture
large       a picture enlarged to 4000×3000 with noise of 2 grey levels; time, and the peak of the resident memory (Linux)
cost        seconds over the number of points, pixels of all pictures together; least squares exponent; --plot draws it

Needs opencv-python-headless and scikit-learn, `pip install -e '.[bench]'`. Nothing else should run on the machine.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from sklearn.cluster import MeanShift

import maskwright
from maskwright.cluster import mean_shift, segment
from maskwright.cluster.colour import distinct_colours, lab_of_rgb
from maskwright.data.io import read_image

BANDWIDTH = 2.5
STEPS = 20
CALLS = 5
SPEED_PICTURES = 5
AGREEMENT_PICTURES = 20
NEAR = 0.05
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)


def seconds_of(call: Callable[[], object], calls: int = CALLS) -> float:
    """Median after one call that warms up."""
    if calls > 1:
        call()
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def spread_over(paths: list[Path], count: int) -> list[Path]:
    return [paths[i * len(paths) // count] for i in range(min(count, len(paths)))]


def lab_of(image: np.ndarray) -> np.ndarray:
    """CIELAB of each pixel, float64 (H·W, 3)."""
    return lab_of_rgb(image.reshape(-1, 3) / 255.0)


def batched(points: torch.Tensor) -> torch.Tensor:
    """The definition, some thousand rows of distances at a time."""
    for _ in range(STEPS):
        moved = []
        for rows in points.split(4096):
            pull = torch.exp(torch.cdist(rows, points) ** 2 / (-2 * BANDWIDTH**2))
            moved.append(pull @ points / pull.sum(1, keepdim=True))
        points = torch.cat(moved)
    return points


def speed(paths: list[Path]) -> dict[str, object]:
    rows = []
    for number, path in enumerate(spread_over(paths, SPEED_PICTURES)):
        image = read_image(path)
        height, width = image.shape[:2]
        row: dict[str, object] = {"picture": path.stem, "colours": len(distinct_colours(image)[0])}
        bgr = np.ascontiguousarray(image[..., ::-1])
        row["fast"] = seconds_of(lambda image=image: segment(image, method="fast"))
        row["exact"] = seconds_of(lambda image=image: segment(image, method="exact"), 1)
        row["pyrMeanShiftFiltering"] = seconds_of(lambda bgr=bgr: cv2.pyrMeanShiftFiltering(bgr, 10, 10))
        if number == 0:
            points = lab_of(image)
            row["scikit-learn"] = seconds_of(
                lambda points=points: MeanShift(bandwidth=BANDWIDTH, bin_seeding=True).fit(points), 1
            )
            quarter = np.asarray(Image.fromarray(image).resize((width // 4, height // 4), Image.Resampling.BOX))
            small = torch.from_numpy(lab_of(quarter)).float()
            row["torch.cdist, a quarter"] = seconds_of(lambda small=small: batched(small), 1)
            row["torch.cdist"] = row["torch.cdist, a quarter"] * (height * width / len(small)) ** 2
        rows.append(row)
        print("  ", {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})
    found: dict[str, object] = {
        name: statistics.median(row[name] for row in rows) for name in ("fast", "exact", "pyrMeanShiftFiltering")
    }
    found["pyrMeanShiftFiltering / fast"] = statistics.median(
        row["pyrMeanShiftFiltering"] / row["fast"] for row in rows
    )
    for peer in ("scikit-learn", "torch.cdist"):
        found[f"{peer} / fast"] = rows[0][peer] / rows[0]["fast"]
    return {**found, "pictures": rows}


def agreement(paths: list[Path]) -> dict[str, object]:
    """Of labels and modes, weighted by pixels, and where the labels differ, how far the modes lie apart."""
    pixels = equal = near = watershed = 0.0
    worst, exact_seconds = 1.0, []
    for path in spread_over(paths, AGREEMENT_PICTURES):
        colours, counts, _ = distinct_colours(read_image(path))
        points = lab_of_rgb(colours / 255.0)
        start = time.perf_counter()
        exact = mean_shift(points, bandwidth=BANDWIDTH, steps=STEPS, weights=counts, method="exact")
        exact_seconds.append(time.perf_counter() - start)
        fast = mean_shift(points, bandwidth=BANDWIDTH, steps=STEPS, weights=counts, method="fast")
        same = (np.round(exact / 4) == np.round(fast / 4)).all(1)
        apart = np.linalg.norm(exact - fast, axis=1)
        pixels += counts.sum()
        equal += counts[same].sum()
        near += counts[apart <= NEAR].sum()
        watershed += counts[apart > BANDWIDTH].sum()
        worst = min(worst, counts[same].sum() / counts.sum())
    return {
        "pictures": min(AGREEMENT_PICTURES, len(paths)),
        "pixels": pixels,
        "equal labels": equal / pixels,
        "equal labels, worst picture": worst,
        f"modes within {NEAR}": near / pixels,
        "pixels with other labels": pixels - equal,
        "pixels at another mode, farther than the bandwidth": watershed,
        "seconds of the exact method": statistics.median(exact_seconds),
    }


def definition(paths: list[Path]) -> dict[str, object]:
    colours, counts, _ = distinct_colours(read_image(paths[0]))
    points = lab_of_rgb(colours / 255.0)
    options = {"bandwidth": BANDWIDTH, "steps": STEPS, "weights": counts}
    start = time.perf_counter()
    naive = mean_shift(points, method="naive", **options)
    seconds = time.perf_counter() - start
    apart = np.linalg.norm(mean_shift(points, method="exact", **options) - naive, axis=1)
    return {"colours": len(points), "largest distance": apart.max(), "seconds of the definition": seconds}


def resident_megabytes(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def large(paths: list[Path]) -> dict[str, object]:
    image = Image.fromarray(read_image(paths[0])).resize((4000, 3000), Image.Resampling.LANCZOS)
    noise = np.random.default_rng(0).normal(scale=2, size=(3000, 4000, 3)).astype(np.float32)
    picture = (np.asarray(image) + noise).clip(0, 255).astype(np.uint8)
    del noise
    segment(picture[:1000, :1000])
    before = resident_megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    seconds = seconds_of(lambda: segment(picture), 3)
    return {
        "colours": len(distinct_colours(picture)[0]),
        "seconds": seconds,
        "megabytes above those before": resident_megabytes("VmHWM") - before,
        "megabytes of the process": resident_megabytes("VmHWM"),
    }


def cost(paths: list[Path]) -> dict[str, object]:
    pixels = np.concatenate([read_image(path).reshape(-1, 3) for path in paths])
    generator = np.random.default_rng(0)
    rows = []
    for size in SIZES:
        if size > len(pixels):
            break
        chosen = pixels[generator.choice(len(pixels), size, replace=False)]
        points = lab_of_rgb(chosen / 255.0)
        seconds = seconds_of(lambda points=points: mean_shift(points, bandwidth=BANDWIDTH, method="fast"), 3)
        rows.append({"points": size, "colours": len(np.unique(chosen, axis=0)), "seconds": seconds})
        print("  ", rows[-1])
    logs = np.log([[row["points"], row["seconds"]] for row in rows])
    return {"exponent": np.polyfit(logs[:, 0], logs[:, 1], 1)[0], "sizes": rows}


def draw(rows: list[dict[str, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    sizes, seconds = [row["points"] for row in rows], [row["seconds"] for row in rows]
    axes.loglog(sizes, seconds, "o-", color="#0072B2", label="mean shift, fast")
    linear = [seconds[0] * size / sizes[0] for size in sizes]
    axes.loglog(sizes, linear, "--", color="#666666", label="proportional to the points")
    axes.set_xlabel("points: pixels of photographs, CIELAB")
    axes.set_ylabel("seconds, 20 steps")
    axes.grid(which="major", color="#dddddd")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


PARTS = {"speed": speed, "agreement": agreement, "definition": definition, "large": large, "cost": cost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs, with its subfolders")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--plot", type=Path, help="PNG of the cost over the number of points")
    parser.add_argument("--out", type=Path, default=Path("mean_shift.json"))
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        parser.error(f"{arguments.images} holds no picture")
    record: dict[str, object] = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "opencv": cv2.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "pictures": len(paths),
    }
    for part in arguments.parts:
        print(part, flush=True)
        record[part] = found = PARTS[part](paths)
        for name, value in found.items():
            if not isinstance(value, list):
                print(f"   {name}: {value:.6g}", flush=True)
        arguments.out.write_text(json.dumps(record, indent=2, default=float))
    if arguments.plot and "cost" in record:
        draw(record["cost"]["sizes"], arguments.plot)


if __name__ == "__main__":
    main()
