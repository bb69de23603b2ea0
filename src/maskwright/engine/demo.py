"""The main job on embedded data: scenes of handwritten digits, a coarse network, two refiners, one page."""

import time
from pathlib import Path

from ..data.catalog import DataConfig
from ..data.transforms import AugmentConfig
from ..models import ModelConfig
from ..progress import say
from ..refine import RefinerConfig
from ..types import EvaluationResult
from .config import RefinerRunConfig, SegmenterRunConfig, TrainConfig
from .reporting import complete_run, report_runs
from .train import train_refiner, train_segmenter

COMMAND = "maskwright demo"


def coarse_config(*, scenes: int = 1200, epochs: int = 12, seed: int = 0) -> SegmenterRunConfig:
    """Return the demo's coarse training: SegNet-lite on seeded scenes."""
    return SegmenterRunConfig(
        data=DataConfig(name="digits", scenes=scenes, split_seed=seed, augment=AugmentConfig(shift=0.1)),
        model=ModelConfig(name="segnet_lite"),
        train=_train_config(epochs, seed),
    )


def refiner_config(kind: str, coarse: Path, *, epochs: int = 3, seed: int = 0) -> RefinerRunConfig:
    """Return the demo's training of one refiner, "cspn" or "dyspn"."""
    return RefinerRunConfig(
        coarse=str(coarse),
        refiner=RefinerConfig(kind="cspn" if kind == "cspn" else "dyspn"),
        train=_train_config(epochs, seed),
    )


def _train_config(epochs: int, seed: int) -> TrainConfig:
    loss = {"cross_entropy": 1.0, "dice_batch": 1.0}
    return TrainConfig(epochs=epochs, batch_size=16, learning_rate=4e-3, precision="bf16", seed=seed, loss=loss)


def run_demo(
    out: Path, *, scenes: int = 1200, epochs: int = 12, refiner_epochs: int = 3, seed: int = 0
) -> dict[str, EvaluationResult]:
    """Train SegNet-lite, then CSPN and DySPN on its out-of-fold masks; score all on scenes none of them saw.

    Finished parts are kept, so an interrupted demo goes on where it stopped.

    Args:
        out: folder of the runs and of `report.html`.
        scenes: training scenes.
        epochs: of the coarse network.
        refiner_epochs: of each refiner.
        seed: of everything.

    Returns:
        The scored stages: coarse, CSPN, DySPN.
    """
    started = time.monotonic()
    command = f"{COMMAND} --out {out}"
    coarse = train_segmenter(coarse_config(scenes=scenes, epochs=epochs, seed=seed), out / "coarse", label="coarse")
    complete_run(coarse, commands=[command])
    runs = [coarse]
    for kind in ("cspn", "dyspn"):
        run = train_refiner(refiner_config(kind, coarse, epochs=refiner_epochs, seed=seed), out / kind)
        complete_run(run, base=coarse, commands=[command])
        runs.append(run)
    title = "maskwright demo: multi-digit scenes"
    results = report_runs(runs, out / "report.html", commands=[command], title=title)
    say(f"demo: {time.monotonic() - started:.0f} s")
    return results
