"""Training of the refiner that comes with the package."""

import dataclasses
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.catalog import DataConfig, open_data
from ..data.loading import TrainingBatch
from ..data.refinement import Photograph, RefinementData
from ..errors import ConfigError
from ..files import write_json
from ..models.weights import offline_state
from ..progress import say
from ..refine.refiner import ENCODER, WEIGHTS, MaskRefiner, bundled_refiner
from ..types import IGNORE_INDEX, Dataset
from . import checkpoint
from .config import SegmenterRunConfig, TrainConfig
from .predict import Predictor
from .run import RunFolder, prepare_folder, read_config, require_finished
from .tasks import SegmentationTask
from .train import Job, fit, train_folds

CLASSES = ("background", "object")

CARD = {
    "kind": "maskwright bundled refiner",
    "licence": "Apache-2.0",
    "start": "EfficientNet-Lite0, ImageNet weights, Apache-2.0",
    "data": "Oxford-IIIT Pet, CC BY-SA 4.0; 50 pictures of nuclei of the Data Science Bowl 2018, CC0",
}
"""Stands in the file of the weights."""

PACKAGE = "bundled"
"""What `init` calls the weights that come with the package."""

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
        init: a run of the same kind whose weights it starts from, or `bundled` for those that come with the package;
            empty starts from ImageNet weights.
        also: further data sets of two classes, such as `folder:DIR`, whose training parts have no networks' masks; one
            that is named several times counts so many times as much.
        blend: share of the trained weights in those that are written for the package; the rest are the ones of `init`.
            The mean of both often does better than either, and forgets less (Wortsman et al. 2022).
    """

    coarse: str
    side: int = 192
    train: TrainConfig = field(default_factory=TrainConfig)
    folds: int = 2
    fold_epochs: int = 0
    init: str = ""
    also: list[str] = field(default_factory=list)
    blend: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.blend <= 1:
            raise ConfigError(f"blend must be above 0 and at most 1, got {self.blend}")
        if self.blend < 1 and not self.init:
            raise ConfigError(f"blend is {self.blend}, but there is no init to blend with; leave it at 1")


class BundledTask(SegmentationTask):
    """Training of a `MaskRefiner` on batches whose images hold the mask as the fourth channel."""

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        """Return the loss of the refined logits, plus half of that before propagation."""
        images = self._formatted(batch.images)
        mended, refined = self.network(images[:, :3], torch.logit(images[:, 3:], eps=1e-3))
        weight = _edge_weight(batch.targets)
        return self._weighted(refined, batch, weight) + 0.5 * self._weighted(mended, batch, weight)

    def _weighted(self, logits: Tensor, batch: TrainingBatch, weight: Tensor) -> Tensor:
        """Return the loss that the configuration names, plus cross-entropy that counts more near the edge."""
        truth = (batch.targets == 1).to(logits.dtype)
        each = F.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
        return self.loss(logits, batch.targets, batch.images) + (weight * each).sum() / weight.sum().clamp_min(1)


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
        The run's folder, with the weights in half precision in `refiner.safetensors`, as the package holds them.

    Raises:
        CheckpointError: `config.coarse` or `config.init` is no finished run.
        ConfigError: the coarse run has not two classes.
        DataError, TrainingError, Terminated: as `train_segmenter`.
    """
    folder = RunFolder(root=out)
    coarse_folder = RunFolder(root=Path(config.coarse))
    require_finished(coarse_folder)
    coarse = read_config(coarse_folder, SegmenterRunConfig)
    splits = open_data(coarse.data)
    if len(splits.classes) != 2:
        raise ConfigError(f"{config.coarse} has {len(splits.classes)} classes; expected a run of two")
    if coarse.data.channels != 3:
        raise ConfigError(f"{config.coarse} reads images of {coarse.data.channels} channels; expected RGB")
    if coarse.data.labels:
        raise ConfigError(
            f"{config.coarse} learned from weak labels ({coarse.data.labels}); expected a run on full masks"
        )
    if importlib.util.find_spec("skimage") is None:
        raise ConfigError("scikit-image is not installed; run pip install 'maskwright[train-bundled]'")
    others = {name: _training_part(name) for name in config.also}
    start = _starting_weights(config)
    prepare_folder(folder, config)
    if folder.metrics.exists():
        return out
    runs, fold_of = train_folds(coarse, coarse_folder, splits, folds=config.folds, epochs=config.fold_epochs)
    # The strip along the edge that annotators leave open teaches nothing; the coarse run may have counted it.
    truths = open_data(dataclasses.replace(coarse.data, border="ignore")).train
    say("masks of the training images by the networks of the folds")
    photographs = _photographs(truths, [Predictor.load(run) for run in runs], fold_of)
    for name, other in others.items():
        photographs += _photographs(other, [], np.zeros(len(other))) * config.also.count(name)

    def make_task(train: TrainConfig) -> BundledTask:
        torch.manual_seed(train.seed)
        network = MaskRefiner()
        network.load_state_dict({**network.state_dict(), **start})
        return BundledTask(network, classes=CLASSES, config=train, logit_channels=1)

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
    checkpoint.save(out / WEIGHTS, _halved(_blended(start, checkpoint.load(folder.model)[0], config.blend)), CARD)
    write_json(folder.metrics, {"history": history})
    folder.resume.unlink(missing_ok=True)
    return out


def _blended(start: Mapping[str, Tensor], trained: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return weights between two; counters, which are integers, as they are after the training."""
    if share == 1:
        return dict(trained)
    return {
        name: torch.lerp(start[name], tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in trained.items()
    }


def _halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of layers in half precision, and what is one number per channel as it is."""
    return {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in tensors.items()}


def _starting_weights(config: BundledRunConfig) -> dict[str, Tensor]:
    """Return the weights of `config.init`, or of an encoder that knows ImageNet and is blind to the mask at first."""
    if config.init == PACKAGE:
        return dict(bundled_refiner().state_dict())
    if config.init:
        start = RunFolder(root=Path(config.init))
        require_finished(start)
        weights = checkpoint.load(start.model)[0]
        checkpoint.load_into(MaskRefiner(), weights, what=f"the bundled refiner, from {config.init}")
        return weights
    state = offline_state(ENCODER)
    encoder = MaskRefiner().encoder
    rgb = state["conv_stem.weight"]
    state["conv_stem.weight"] = F.pad(rgb, (0, 0, 0, 0, 0, encoder.conv_stem.in_channels - rgb.shape[1]))
    return {f"encoder.{name}": state[name] for name in encoder.state_dict()}


def _training_part(name: str) -> Dataset:
    splits = open_data(DataConfig(name=name, border="ignore", val_fraction=0))
    if len(splits.classes) != 2:
        raise ConfigError(f"{name} has {len(splits.classes)} classes; expected data of two")
    return splits.train


def _photographs(truths: Dataset, predictors: list[Predictor], fold_of: np.ndarray) -> list[Photograph]:
    photographs = []
    for index in range(len(truths)):
        sample = truths[index]
        assert sample.target is not None
        image, mask = sample.image.numpy(), None
        if predictors:
            logits = predictors[int(fold_of[index])].logits(image.transpose(1, 2, 0))
            mask = (255 * logits[0].sigmoid()).round().to(torch.uint8).numpy()
        photographs.append(Photograph(image=image, truth=sample.target.numpy(), mask=mask))
    return photographs
