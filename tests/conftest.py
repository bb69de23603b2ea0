"""What several test files share: one thread per process, a tiny data set, and runs that were trained on it once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from maskwright.data.catalog import DataConfig
from maskwright.engine import checkpoint
from maskwright.engine.config import RefinerRunConfig, SegmenterRunConfig, TrainConfig
from maskwright.engine.train import train_refiner, train_segmenter
from maskwright.models import ModelConfig
from maskwright.refine import RefinerConfig

torch.set_num_threads(1)

# The same examples in every run: a failure is that of the change at hand, and anybody can repeat it.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

SIDE = 32
PARTS = {"train": 6, "val": 3, "test": 3}

ConfigOf = Callable[..., SegmenterRunConfig]


def write_square(folder: Path, name: str, *, generator: np.random.Generator) -> None:
    """Write one noisy image of a bright square on dark ground, and its mask of 0 and 1."""
    side = int(generator.integers(8, 20))
    top, left = generator.integers(0, SIDE - side + 1, size=2)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + side, left : left + side] = 1
    image = (60 + 120 * mask[..., None] + generator.integers(-40, 40, (SIDE, SIDE, 3))).astype(np.uint8)
    for kind, pixels in (("images", image), ("masks", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / kind / f"{name}.png")


@pytest.fixture
def any_threads() -> Iterator[None]:
    """The test may set PyTorch's number of threads."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder data set of 12 images of 32×32 pixels: 6 to train, 3 to validate, 3 to test."""
    root = tmp_path_factory.mktemp("data") / "squares"
    generator = np.random.default_rng(0)
    for part, count in PARTS.items():
        for number in range(count):
            write_square(root / part, f"{part}_{number}", generator=generator)
    (root / "classes.yaml").write_text("[background, square]\n", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def config_of(squares: Path) -> ConfigOf:
    """Return a tiny segmenter's configuration, 3 batches per epoch; keyword arguments change its `train` part."""

    def make(*, data: DataConfig | None = None, **train: object) -> SegmenterRunConfig:
        return SegmenterRunConfig(
            data=data or DataConfig(name=f"folder:{squares}"),
            model=ModelConfig(name="unet", options={"width": 4}),
            train=replace(TrainConfig(epochs=2, batch_size=2, learning_rate=0.02, device="cpu"), **train),
        )

    return make


@pytest.fixture(scope="session")
def coarse_config(config_of: ConfigOf) -> SegmenterRunConfig:
    """The configuration of `trained_run`: long enough to find the squares, IoU about 0.9."""
    return config_of(epochs=8)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, coarse_config: SegmenterRunConfig) -> Path:
    """The folder of a finished segmenter run."""
    return train_segmenter(coarse_config, tmp_path_factory.mktemp("runs") / "coarse")


@pytest.fixture(scope="session")
def refiner_config(trained_run: Path) -> RefinerRunConfig:
    """A tiny DySPN on top of the segmenter run."""
    return RefinerRunConfig(
        coarse=str(trained_run),
        refiner=RefinerConfig(kind="dyspn", steps=2, width=4, levels=2),
        train=TrainConfig(epochs=1, batch_size=2, learning_rate=0.02, device="cpu"),
    )


@pytest.fixture(scope="session")
def refined_run(trained_run: Path, refiner_config: RefinerRunConfig) -> Path:
    """The folder of a finished refiner run."""
    return train_refiner(refiner_config, trained_run.with_name("refined"))


def with_heads(run: Path, copy: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """Write the model of a refiner's run again with other heads of its affinity network; return the new folder."""
    tensors, metadata = checkpoint.load(run / "model.safetensors")
    heads = {name for name in tensors if ".affinity_net.net.head." in name}
    assert heads
    kept = {name: change(value) if name in heads else value for name, value in tensors.items()}
    checkpoint.save(copy / "model.safetensors", kept, metadata)
    return copy


@pytest.fixture(scope="session")
def untrained_run(refined_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The refiner run with the head of its affinity network at zero, as before the training."""
    return with_heads(refined_run, tmp_path_factory.mktemp("untrained") / "run", torch.zeros_like)


@pytest.fixture(scope="session")
def bold_run(refined_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The refiner run with equal weights for all neighbours, which round the corners of hard masks."""
    return with_heads(refined_run, tmp_path_factory.mktemp("bold") / "run", lambda head: torch.full_like(head, 3.0))
