"""Claims: `maskwright doctor` finds one fault of each of 25 kinds among 500 pairs and calls nothing else an error, its clean
copy has the true labels back, and 10,000 pairs of 500 × 375 are inspected in a minute on two cores.

    python benchmarks/doctor.py --faults --out doctor_faults.json
    python benchmarks/doctor.py --time --pairs 10000 --out doctor_time.json

`--faults` makes shapes with a texture, plants the faults, inspects, writes the clean copy, compares every label map with the
true one, and trains a small network on the copy and on the same samples of the set as it was before the faults.
`--time` writes pairs to a temporary folder and times `maskwright doctor` as a command. As many pairs are also read by one
process with Pillow and NumPy alone (decoding both files and counting values), which is the least that any inspection does.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import maskwright
from maskwright.data.doctor.inspection import Options
from maskwright.data.io import read_mask
from maskwright.engine.doctor import check_data, write_copy
from planted_faults import draw_shapes, make_clean, plant_all, save_palette

DISTINCT = 60
"""Different pictures of `--time`; the others are these, moved around their edges."""

EPOCHS = 3


def find_faults(folder: Path, pairs: int) -> dict[str, object]:
    """Plant, inspect, mend, compare and train; return what came out."""
    faulty, clean = folder / "faulty", folder / "clean"
    samples = make_clean(faulty, pairs)
    make_clean(clean, pairs)
    faults = plant_all(faulty, samples)
    checkup = check_data(str(faulty), Options())
    errors = [
        (finding.code, str(Path(one.name).with_suffix("")).lower())
        for finding in checkup.findings
        if finding.kind.severity in ("error", "warning")
        for one in finding.concerns
    ]
    severe = {finding.code for finding in checkup.findings if finding.kind.severity == "error"}
    found = [fault.code for fault in faults if any((fault.code, file) in errors for file in fault.files)]
    planted = {Path(file).name for fault in faults for file in fault.files}
    false = [one for one in errors if one[0] in severe and Path(one[1]).name not in planted]
    copy = folder / "copy"
    kept, left_out = write_copy(checkup, copy, workers=2)
    equal, ignored, wrong = 0, 0, []
    for sample in samples:
        path = copy / sample.mask.parts[-3] / "masks" / f"{sample.image.stem}.png"
        if path.exists():
            labels = read_mask(path)
            equal += np.array_equal(labels, sample.labels)
            ignored += not np.array_equal(labels, sample.labels) and bool(
                ((labels == sample.labels) | (labels == 255)).all()
            )
            if ((labels != sample.labels) & (labels != 255)).any():
                wrong.append(sample.name)
        else:
            for name in (sample.image, sample.mask):
                (clean / name.relative_to(faulty)).unlink()
    return {
        "pairs": pairs,
        "planted": len(faults),
        "found": len(found),
        "missed": sorted({fault.code for fault in faults} - set(found)),
        "false_errors": false,
        "kept": kept,
        "left_out": left_out,
        "equal_to_the_truth": equal,
        "equal_but_for_ignored_pixels": ignored,
        "wrong": wrong,
        "validation_part_equal": all(
            (copy / part / sample.image.name).read_bytes() == sample.image.read_bytes()
            and np.array_equal(read_mask(copy / "val" / "masks" / sample.mask.name), sample.labels)
            for sample in samples
            if (part := sample.image.parent.relative_to(faulty)).parts[0] == "val"
        ),
        "errors_in_the_copy": check_data(str(copy), Options()).has_errors,
        "trained_on_the_copy": train(copy, folder / "run_copy"),
        "trained_on_the_clean_set": train(clean, folder / "run_clean"),
    }


def train(data: Path, out: Path) -> object:
    """Train a small network, and return its validation score after each epoch."""
    words = f"train --data folder:{data} --data.size 64 --model unet --train.epochs {EPOCHS} --out {out}"
    command = [sys.executable, "-m", "maskwright", *words.split(), "--model.options", '{"width": 8}']
    subprocess.run(command, check=True, capture_output=True)
    return json.loads((out / "metrics.json").read_text())["history"]["val_score"]


def measure_time(folder: Path, pairs: int, workers: int) -> dict[str, object]:
    """Time the command, and the least work that any inspection does."""
    write_pairs(folder, pairs)
    command = [sys.executable, "-m", "maskwright", "doctor", str(folder), "--workers", str(workers)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    usage = os.times()
    started = time.perf_counter()
    few = min(pairs, 500)
    for number in range(few):
        np.asarray(Image.open(folder / "images" / f"{number:05d}.jpg"))
        np.unique(np.asarray(Image.open(folder / "masks" / f"{number:05d}.png")))
    least = (time.perf_counter() - started) / few
    return {
        "pairs": pairs,
        "seconds": seconds,
        "pairs_per_second": pairs / seconds,
        "cpu_seconds_of_all_processes": usage.children_user + usage.children_system,
        "plain_decoding_seconds_per_pair": least,
        "ratio_to_plain_decoding_in_one_process": least * pairs / seconds,
        "exit_code": done.returncode,
        "verdict": (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""])[-1],
        "load_before": os.getloadavg()[0],
    }


def write_pairs(folder: Path, pairs: int) -> None:
    """Write JPEG images and palette masks of 500 × 375."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    scenes = [draw_shapes(rng, 500, 375) for _ in range(min(DISTINCT, pairs))]
    for number in range(pairs):
        image, labels = scenes[number % len(scenes)]
        move = tuple(int(step) for step in rng.integers(0, 375, 2))
        Image.fromarray(np.roll(image, move, (0, 1))).save(folder / "images" / f"{number:05d}.jpg", quality=90)
        save_palette(folder / "masks" / f"{number:05d}.png", np.roll(labels, move, (0, 1)))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--pairs", type=int, default=0, help="500 for --faults, 10000 for --time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    record: dict[str, object] = {
        "maskwright": maskwright.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    with tempfile.TemporaryDirectory() as folder:
        if args.faults:
            record["faults"] = find_faults(Path(folder) / "faults", args.pairs or 500)
        if args.time:
            record["time"] = measure_time(Path(folder) / "time", args.pairs or 10_000, args.workers)
    args.out.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
