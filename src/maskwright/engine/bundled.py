"""Training of the refiner that comes with the package."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.catalog import open_data
from ..data.loading import TrainingBatch
from ..data.refinement import Photograph, RefinementData
from ..errors import ConfigError
from ..files import write_json
from ..models.weights import offline_state
from ..progress import say
from ..refine.refiner import ENCODER, MaskRefiner
from ..types import IGNORE_INDEX, Dataset
from .config import SegmenterRunConfig, TrainConfig
from .predict import Predictor
from .run import RunFolder, prepare_folder, read_config, require_finished
from .tasks import SegmentationTask
from .train import Job, fit, train_folds

CLASSES = ("background", "object")

EDGE_REACH = 8
"""Pixels on either side of the truth's edge, or of the strip that hides it, that count more."""

EDGE_WEIGHT = 3.0
"""How much more."""


@dataclass(frozen=True, kw_only=True)
class BundledRunConfig:
    """One training of the bundled refiner.

    Args:
        coarse: finished run of a segmenter of two classes; the networks of its folds make wrong masks of its training
            images.
        side: of the crops, pixels.
        train: how to train.
        folds: number of those networks.
        fold_epochs: epochs of each; 0 takes the run's.
    """

    coarse: str
    side: int = 192
    train: TrainConfig = field(default_factory=TrainConfig)
    folds: int = 2
    fold_epochs: int = 0


class BundledTask(SegmentationTask):
    """Training of a `MaskRefiner` on batches whose images hold the mask as the fourth channel."""

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        """Return the loss of the refined logits, plus half of that before propagation."""
        images = self._formatted(batch.images)
        mended, refined = self.network(images[:, :3], torch.logit(images[:, 3:], eps=1e-3))
        weight = _edge_weight(batch.targets)
        return self._weighted(refined, batch.targets, weight) + 0.5 * self._weighted(mended, batch.targets, weight)

    def _weighted(self, logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        """Return the loss that the configuration names, plus cross-entropy that counts more near the edge."""
        truth = (targets == 1).to(logits.dtype)
        each = F.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
        return self.loss(logits, targets) + (weight * each).sum() / weight.sum().clamp_min(1)


def _edge_weight(targets: Tensor) -> Tensor:
    """Return (N, H, W): 0 where ignored, `EDGE_WEIGHT` near the edge, otherwise 1."""
    side = 2 * EDGE_REACH + 1
    ignored = targets == IGNORE_INDEX
    near = [
        F.max_pool2d((part | ignored).float()[:, None], side, stride=1, padding=EDGE_REACH)[:, 0]
        for part in (targets == 1, targets == 0)
    ]
    return (1 + (EDGE_WEIGHT - 1) * near[0] * near[1]) * ~ignored


def train_bundled(config: BundledRunConfig, out: Path) -> Path:
    """Train the refiner on the photographs of a segmenter's run, or resume.

    Returns:
        The run's folder.
    """
    folder = RunFolder(root=out)
    coarse_folder = RunFolder(root=Path(config.coarse))
    require_finished(coarse_folder)
    coarse = read_config(coarse_folder, SegmenterRunConfig)
    splits = open_data(coarse.data)
    if len(splits.classes) != 2:
        raise ConfigError(f"{config.coarse} has {len(splits.classes)} classes; expected a run of two")
    prepare_folder(folder, config)
    if folder.metrics.exists():
        return out
    runs, fold_of = train_folds(coarse, coarse_folder, splits, folds=config.folds, epochs=config.fold_epochs)
    # The strip along the edge that annotators leave open teaches nothing; the coarse run may have counted it.
    truths = open_data(dataclasses.replace(coarse.data, border="ignore")).train
    say("masks of the training images by the networks of the folds")
    photographs = _photographs(truths, [Predictor.load(run) for run in runs], fold_of)

    def make_task(train: TrainConfig) -> BundledTask:
        torch.manual_seed(train.seed)
        return BundledTask(_pretrained_refiner(), classes=CLASSES, config=train, logit_channels=1)

    job = Job(
        train_set=truths,
        samples=RefinementData(photographs, side=config.side, seed=config.train.seed),
        val_set=None,
        data=coarse.data,
        train=config.train,
        folder=folder,
        metadata={"kind": "bundled"},
        label="refiner",
    )
    history = fit(make_task, job)
    write_json(folder.metrics, {"history": history})
    folder.resume.unlink(missing_ok=True)
    return out


def _pretrained_refiner() -> MaskRefiner:
    """Return a refiner whose encoder knows ImageNet, and is blind to the mask at first."""
    network = MaskRefiner()
    state = offline_state(f"tu-{ENCODER}")
    rgb = state["conv_stem.weight"]
    state["conv_stem.weight"] = F.pad(rgb, (0, 0, 0, 0, 0, network.encoder.conv_stem.in_channels - rgb.shape[1]))
    network.encoder.load_state_dict({name: state[name] for name in network.encoder.state_dict()})
    return network


def _photographs(truths: Dataset, predictors: list[Predictor], fold_of: np.ndarray) -> list[Photograph]:
    photographs = []
    for index in range(len(truths)):
        sample = truths[index]
        assert sample.target is not None
        image = sample.image.numpy()
        logits = predictors[int(fold_of[index])].logits(image.transpose(1, 2, 0))
        mask = (255 * logits[0].sigmoid()).round().to(torch.uint8).numpy()
        photographs.append(Photograph(image=image, truth=sample.target.numpy(), mask=mask))
    return photographs
