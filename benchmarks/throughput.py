"""Claim: training and predicting through maskwright costs no more than a plain hand-written PyTorch loop.

    python benchmarks/throughput.py --out throughput.json

For each model, in one process: images/s of a training epoch and of prediction, ours against a plain loop over the same
arrays with the same model, loss and optimizer. Rounds alternate between the two; the first epoch of each is warm-up and
the median of the others counts. Ours in bf16 with channels-last is also set against the plain fp32 loop.
Nothing else should run on the machine.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

import maskwright
from maskwright.data.arrays import ArrayDataset
from maskwright.data.catalog import DataConfig
from maskwright.engine.config import TrainConfig
from maskwright.engine.predict import Predictor
from maskwright.engine.run import RunFolder, TrainedModel
from maskwright.engine.tasks import SegmentationTask
from maskwright.engine.train import Job, fit
from maskwright.losses import SegmentationLoss
from maskwright.models import ModelConfig, Segmenter, build

CLASSES = ("background", "object")
LOSS = {"bce": 1.0, "dice": 1.0}
MODELS = {
    "unet": (ModelConfig(name="unet"), 24, 4),
    "smp:Unet/tu-tf_efficientnet_lite0": (ModelConfig(name="smp:Unet/tu-tf_efficientnet_lite0"), 96, 16),
}
"""Name → (model, images, batch)."""


def random_arrays(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return images, (images[..., 0] > 128).astype(np.uint8)


def train_ours(
    model: ModelConfig, arrays: tuple[np.ndarray, np.ndarray], batch: int, *, fast: bool, epochs: int
) -> float:
    """Return images/s of the median epoch, the first left out."""
    dataset = ArrayDataset(*arrays, classes=CLASSES, prefix="image")
    train = TrainConfig(
        epochs=epochs,
        batch_size=batch,
        optimizer="adam",
        weight_decay=0.0,
        schedule="constant",
        loss=LOSS,
        precision="bf16" if fast else "fp32",
        channels_last=fast,
        device="cpu",
    )

    def make_task(config: TrainConfig) -> SegmentationTask:
        torch.manual_seed(0)
        return SegmentationTask(build(model, num_classes=2), classes=CLASSES, config=config, logit_channels=1)

    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            train_set=dataset,
            val_set=None,
            data=DataConfig(name="arrays"),
            train=train,
            folder=RunFolder(root=Path(folder)),
            metadata={},
            label="ours",
        )
        seconds = fit(make_task, job)["seconds"]
    return len(dataset) / statistics.median(seconds[1:])


def train_plain(model: ModelConfig, arrays: tuple[np.ndarray, np.ndarray], batch: int, *, epochs: int) -> float:
    """The loop that anybody would write: fp32, a shuffling DataLoader over tensors, Adam."""
    torch.manual_seed(0)
    network = build(model, num_classes=2).train()
    loss_of = SegmentationLoss(LOSS, logit_channels=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images = torch.from_numpy(arrays[0]).permute(0, 3, 1, 2).contiguous()
    loader = DataLoader(TensorDataset(images, torch.from_numpy(arrays[1])), batch_size=batch, shuffle=True)
    seconds = []
    for _ in range(epochs):
        start = time.monotonic()
        for image, target in loader:
            loss = loss_of(network(image.float() / 255), target.long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        seconds.append(time.monotonic() - start)
    return len(images) / statistics.median(seconds[1:])


def predict_ours(network: Segmenter, arrays: tuple[np.ndarray, np.ndarray], batch: int, *, precision: str) -> float:
    dataset = ArrayDataset(*arrays, classes=CLASSES, prefix="image")
    model = TrainedModel(
        network=network,
        classes=CLASSES,
        data=DataConfig(name="arrays"),
        size=arrays[0].shape[1],
        precision=precision,
        name="benchmark",
    )
    predictor = Predictor(model, device="cpu")
    return rate(lambda: sum(1 for _ in predictor.dataset(dataset, batch_size=batch)))


def predict_plain(network: Segmenter, arrays: tuple[np.ndarray, np.ndarray], batch: int) -> float:
    network = network.to(memory_format=torch.contiguous_format).eval()
    images = torch.from_numpy(arrays[0]).permute(0, 3, 1, 2).contiguous()

    def once() -> int:
        with torch.inference_mode():
            return sum(len(network(part.float() / 255)) for part in images.split(batch))

    return rate(once)


def rate(work: Callable[[], int]) -> float:
    """Images/s of the median of five calls after one for warm-up."""
    work()
    seconds = []
    for _ in range(5):
        start = time.monotonic()
        count = work()
        seconds.append(time.monotonic() - start)
    return count / statistics.median(seconds)


def measure(model: ModelConfig, count: int, batch: int, *, size: int, rounds: int) -> dict[str, float]:
    arrays = random_arrays(count, size)
    runs: dict[str, list[float]] = {}
    network = build(model, num_classes=2)
    for _ in range(rounds):
        for name, run in {
            "train plain fp32": lambda: train_plain(model, arrays, batch, epochs=4),
            "train ours fp32": lambda: train_ours(model, arrays, batch, fast=False, epochs=4),
            "train ours bf16 channels-last": lambda: train_ours(model, arrays, batch, fast=True, epochs=4),
            "predict plain fp32": lambda: predict_plain(network, arrays, batch),
            "predict ours fp32": lambda: predict_ours(network, arrays, batch, precision="fp32"),
            "predict ours bf16 channels-last": lambda: predict_ours(network, arrays, batch, precision="bf16"),
        }.items():
            runs.setdefault(name, []).append(run())
    result = {name: statistics.median(values) for name, values in runs.items()}
    for task in ("train", "predict"):
        for way in ("fp32", "bf16 channels-last"):
            result[f"{task} ratio {way}"] = result[f"{task} ours {way}"] / result[f"{task} plain fp32"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("throughput.json"))
    parser.add_argument("--size", type=int, default=128, help="side of the images, pixels")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    results = {}
    for name, (model, count, batch) in MODELS.items():
        results[name] = measure(model, count, batch, size=arguments.size, rounds=arguments.rounds)
        for key, value in results[name].items():
            print(f"{name:<36} {key:<36} {value:8.2f}", flush=True)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "images per second": results,
    }
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
