"""Claim: label maps are counted many times as fast as by torchmetrics and scikit-learn, and faster than by bincount.

    python benchmarks/measuring.py --out measuring.json

mIoU and the confusion matrix of 1,000 label maps of 512×512 with 21 classes, in one process, on all threads: random blocks
of labels with a tenth of the pixels wrong, once uint8, once int64, as `argmax` gives them. Ours is `EvaluationMeter`, image
by image and in stacks of `--stack`, with the scores at the end. Peers, each as its documentation has it: torchmetrics'
`MeanIoU`, its mIoU of segmentation, beside `MulticlassConfusionMatrix`, image by image, and `MulticlassJaccardIndex` in its
place; scikit-learn's `confusion_matrix`, image by image, summed; NumPy's `bincount` as `fast_hist` of the FCN code (Long et
al. 2015) uses it, which leaves out labels that are no class; and bare, where a label out of range would be counted as
another pair.

Peers take the first maps only (`--peer-maps`), since they are slow; their seconds are scaled in proportion to the maps. A
round is one pass of each, after a warm-up; medians over the rounds count. Every matrix must equal ours to the last pixel.
Nothing else should run on the machine: ours takes all maps in one go, and a busy machine interrupts it where it spares short
passes of the peers.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import confusion_matrix
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

import maskwright
from maskwright.metrics import EvaluationMeter
from maskwright.metrics.scores import scores

CLASSES, SIDE, BLOCK = 21, 512, 32
NAMES = [f"class {label}" for label in range(CLASSES)]

Maps = np.ndarray
Way = Callable[[Maps, Maps], np.ndarray]


def label_maps(images: int) -> tuple[Maps, Maps]:
    """Predictions and truths, uint8, (N, H, W): blocks of labels, a tenth of the predicted pixels drawn anew."""
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, CLASSES, (images, SIDE // BLOCK, SIDE // BLOCK), dtype=np.uint8)
    targets = blocks.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)
    predictions = targets.copy()
    for prediction in predictions:
        wrong = generator.random(prediction.shape, dtype=np.float32) < 0.1
        prediction[wrong] = generator.integers(0, CLASSES, wrong.sum(), dtype=np.uint8)
    return predictions, targets


def one_by_one(predictions: Maps, targets: Maps) -> np.ndarray:
    meter = EvaluationMeter(NAMES)
    for index, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        meter.update(str(index), prediction, target)
    return _with_miou(meter)


def in_stacks(predictions: Maps, targets: Maps, *, of: int) -> np.ndarray:
    meter = EvaluationMeter(NAMES)
    for first in range(0, len(targets), of):
        names = [str(index) for index in range(first, min(first + of, len(targets)))]
        meter.update_many(names, predictions[first : first + of], targets[first : first + of])
    return _with_miou(meter)


def _with_miou(meter: EvaluationMeter) -> np.ndarray:
    result = meter.result()
    assert 0 < scores(result).miou_present <= 1
    return result.confusion


def torchmetrics_way(predictions: Maps, targets: Maps) -> np.ndarray:
    return _by_torchmetrics(MeanIoU(CLASSES, input_format="index"), predictions, targets)


def torchmetrics_jaccard_way(predictions: Maps, targets: Maps) -> np.ndarray:
    return _by_torchmetrics(MulticlassJaccardIndex(CLASSES), predictions, targets)


def _by_torchmetrics(miou: Metric, predictions: Maps, targets: Maps) -> np.ndarray:
    metrics = miou, MulticlassConfusionMatrix(CLASSES)
    for prediction, target in zip(torch.from_numpy(predictions), torch.from_numpy(targets), strict=True):
        for metric in metrics:
            metric.update(prediction[None].long(), target[None].long())
    values = [metric.compute() for metric in metrics]
    return values[1].numpy()


def scikit_learn_way(predictions: Maps, targets: Maps) -> np.ndarray:
    labels = np.arange(CLASSES)
    pairs = zip(predictions, targets, strict=True)
    return sum(confusion_matrix(target.ravel(), prediction.ravel(), labels=labels) for prediction, target in pairs)


def bincount_way(predictions: Maps, targets: Maps) -> np.ndarray:
    total = np.zeros(CLASSES * CLASSES, dtype=np.int64)
    for prediction, target in zip(predictions, targets, strict=True):
        cells = target.astype(np.int64) * CLASSES + prediction
        total += np.bincount(cells.ravel(), minlength=total.size)
    return total.reshape(CLASSES, CLASSES)


def fast_hist_way(predictions: Maps, targets: Maps) -> np.ndarray:
    total = np.zeros(CLASSES * CLASSES, dtype=np.int64)
    for prediction, target in zip(predictions, targets, strict=True):
        scored = (target >= 0) & (target < CLASSES)
        cells = CLASSES * target[scored].astype(int) + prediction[scored]
        total += np.bincount(cells, minlength=total.size)
    return total.reshape(CLASSES, CLASSES)


PEERS: dict[str, Way] = {
    "torchmetrics": torchmetrics_way,
    "torchmetrics, Jaccard": torchmetrics_jaccard_way,
    "scikit-learn": scikit_learn_way,
    "fast_hist": fast_hist_way,
    "bare bincount": bincount_way,
}


def measure(predictions: Maps, targets: Maps, arguments: argparse.Namespace) -> dict[str, object]:
    """Seconds of each way for all maps, scaled where it took fewer, and how many times as long as ours the peers take."""
    ours: dict[str, Way] = {
        "one by one": one_by_one,
        "in stacks": lambda predicted, true: in_stacks(predicted, true, of=arguments.stack),
    }
    part = min(arguments.peer_maps, len(targets))
    expected = bincount_way(predictions[:part], targets[:part])
    seconds: dict[str, list[float]] = {name: [] for name in (*ours, *PEERS)}
    for each_round in range(arguments.rounds + 1):
        for name, way in {**ours, **PEERS}.items():
            maps = part if name in PEERS or each_round == 0 else len(targets)
            start = time.perf_counter()
            counts = way(predictions[:maps], targets[:maps])
            took = time.perf_counter() - start
            if maps == part:
                assert np.array_equal(counts, expected), f"{name} counts otherwise"
            assert counts.sum() == maps * SIDE * SIDE
            if each_round:
                seconds[name].append(took * len(targets) / maps)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {f"{peer} / {name}": medians[peer] / medians[name] for name in ours for peer in PEERS}
    return {"ratios": ratios, "seconds": medians, "each": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--peer-maps", type=int, default=50, help="maps that the peers count; their seconds are scaled")
    parser.add_argument("--stack", type=int, default=250, help="maps that `update_many` gets at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("measuring.json"))
    arguments = parser.parse_args()
    predictions, targets = label_maps(arguments.maps)
    record: dict[str, object] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
        "versions": {"maskwright": maskwright.__version__}
        | {name: version(name) for name in ("numpy", "numba", "torch", "torchmetrics", "scikit-learn")},
        "scaled": f"peers took {min(arguments.peer_maps, arguments.maps)} maps; seconds are for {arguments.maps}",
        "arguments": {name: str(value) for name, value in vars(arguments).items()},
    }
    for dtype in (np.uint8, np.int64):
        found = measure(predictions.astype(dtype, copy=False), targets.astype(dtype, copy=False), arguments)
        record[np.dtype(dtype).name] = found
        for name, ratio in found["ratios"].items():
            print(f"{np.dtype(dtype).name:>6}  {ratio:7.1f} x  {name}")
        for name, seconds in found["seconds"].items():
            print(f"{np.dtype(dtype).name:>6}  {seconds:7.3f} s  {name}")
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
