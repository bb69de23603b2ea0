"""Training: a segmenter; the out-of-fold networks of a run; a refiner on top of it.

Lightning runs the loop. Each training leaves a run folder (see `run`) and resumes from it bit for bit.
"""

import dataclasses
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor

from ..data.catalog import DataConfig, open_training_data
from ..data.loading import Samples, TrainingData, TrainingLoader, scoring_loader
from ..data.splits import Subset, fold_of_each
from ..errors import ConfigError, MaskwrightError, TrainingError
from ..files import sweep_temporary, write_json
from ..models import Segmenter, build, logit_channels
from ..progress import say
from ..types import Dataset, Splits
from . import checkpoint
from .callbacks import EpochRecord, KeepBest, Resumable, SafeCheckpointIO, ShowProgress
from .config import RefinerRunConfig, SegmenterRunConfig, TrainConfig
from .failures import named, without_traceback
from .memory import is_out_of_memory
from .network import RefinedSegmenter, build_refined, choose_device
from .run import RunFolder, load_model, model_metadata, prepare_folder, read_config, require_finished
from .tasks import RefinerTask, SegmentationTask, Task

SMALLEST_BATCH = 1

OUT_OF_MEMORY = "out of memory; starting again with batches of"
"""What the log of a run says where memory forced smaller batches than were asked for."""

History = dict[str, list[float]]
"""Per epoch `train_loss`, `val_score` and `seconds`."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One call of Lightning: what to train on, how, and where the checkpoints go.

    Attributes:
        train_set: images to learn from.
        val_set: images that choose the best weights, or None.
        data: size and augmentation.
        train: how to train.
        folder: of the run.
        metadata: of the model's checkpoint.
        label: of the progress bar.
        beat: validation score that must be exceeded before the model's checkpoint is replaced.
        folds: fold of each training image where coarse masks are out-of-fold; see `TrainingData`.
        samples: what to train on, addressed by (epoch, index), instead of the resized and augmented `train_set`.
    """

    train_set: Dataset
    val_set: Dataset | None
    data: DataConfig
    train: TrainConfig
    folder: RunFolder
    metadata: Mapping[str, Any]
    label: str
    beat: float = -math.inf
    folds: NDArray[np.int64] | None = None
    samples: Samples | None = None


def train_segmenter(
    config: SegmenterRunConfig, out: Path, *, splits: Splits | None = None, label: str = "train"
) -> Path:
    """Train a segmenter, or resume an unfinished training, or do nothing for a finished one.

    Args:
        config: data, model, training.
        out: the run's folder.
        splits: the opened data, where it is not all that `config.data` names; None opens it.
        label: of the progress bar.

    Returns:
        The run's folder, now with `model.safetensors` and `metrics.json`.

    Raises:
        CheckpointError: `config.init` has no weights, or those of another model.
        ConfigError: settings that do not fit; `out` belongs to another run.
        DataError: data that is not as it should be.
        TrainingError: the loss is not finite, memory or a data worker is lost.
        Terminated: SIGTERM or Ctrl-C; the state was saved.
    """
    folder = RunFolder(root=out)
    # Before anything is written, so that a wrong data set leaves no folder behind.
    splits = splits or open_training_data(config.data)
    start = _weights_to_start_from(config, num_classes=len(splits.classes))
    prepare_folder(folder, config)
    if folder.metrics.exists():
        return out
    classes = splits.classes
    channels = logit_channels(len(classes))

    def make_task(train: TrainConfig) -> SegmentationTask:
        torch.manual_seed(train.seed)
        network = build(config.model, num_classes=len(classes), in_channels=config.data.channels)
        if start is not None:
            network.load_state_dict(start)
        return SegmentationTask(
            network, classes=classes, config=train, logit_channels=channels, weak=bool(config.data.labels)
        )

    metadata = model_metadata(
        "segmenter", classes=classes, data=config.data, precision=config.train.precision, model=config.model
    )
    metadata["method"] = config.method
    job = Job(
        train_set=splits.train,
        val_set=splits.val,
        data=config.data,
        train=config.train,
        folder=folder,
        metadata=metadata,
        label=label,
    )
    history = fit(make_task, job)
    write_json(folder.metrics, {"history": history})
    folder.resume.unlink(missing_ok=True)
    return out


def _weights_to_start_from(config: SegmenterRunConfig, *, num_classes: int) -> dict[str, Tensor] | None:
    if not config.init:
        return None
    model = load_model(Path(config.init))
    if isinstance(model.network, RefinedSegmenter) or len(model.classes) != num_classes:
        kind = "a refined run" if isinstance(model.network, RefinedSegmenter) else f"of {len(model.classes)} classes"
        raise ConfigError(f"init: {config.init} is {kind}; expected the run of a segmenter with {num_classes} classes")
    start = model.network.state_dict()
    without_weights = dataclasses.replace(config.model, pretrained="none")
    untrained = build(without_weights, num_classes=num_classes, in_channels=config.data.channels)
    checkpoint.load_into(untrained, start, what=f"model {config.model.name} with {num_classes} classes")
    return start


def train_refiner(config: RefinerRunConfig, out: Path) -> Path:
    """Train a refiner of a finished segmenter run on out-of-fold coarse masks, then both together if asked.

    Args:
        config: coarse run, refiner, training.
        out: the run's folder.

    Returns:
        The run's folder; its model holds the coarse network too, so it predicts on its own.

    Raises:
        CheckpointError: `config.coarse` is no finished run.
        ConfigError, DataError, TrainingError, Terminated: as `train_segmenter`.
    """
    folder = RunFolder(root=out)
    coarse_folder = RunFolder(root=Path(config.coarse))
    require_finished(coarse_folder)
    coarse_config = read_config(coarse_folder, SegmenterRunConfig)
    data = coarse_config.data.scaled(config.scale)
    prepare_folder(folder, config)
    if folder.metrics.exists():
        return out
    splits = open_training_data(coarse_config.data)
    fold_runs, fold_of = train_folds(
        coarse_config, coarse_folder, splits, folds=config.folds, epochs=config.fold_epochs
    )

    def make_task(train: TrainConfig) -> RefinerTask:
        fold_networks = [load_model(run).network for run in fold_runs]
        return RefinerTask(
            _untrained_refinement(config, splits.classes, seed=train.seed),
            fold_networks=[n for n in fold_networks if isinstance(n, Segmenter)],
            fold_of=torch.from_numpy(fold_of),
            classes=splits.classes,
            config=train,
            logit_channels=logit_channels(len(splits.classes)),
            weak=bool(data.labels),
        )

    job = Job(
        train_set=splits.train,
        val_set=splits.val,
        data=data,
        train=config.train,
        folder=folder,
        metadata=_refined_metadata(config, coarse_config, splits.classes, data=data),
        folds=fold_of,
        label=config.refiner.kind,
    )
    history = _fit_frozen_then_jointly(config, job, splits.classes, make_task)
    write_json(folder.metrics, {"history": history})
    for done in (folder.frozen, folder.resume):
        done.unlink(missing_ok=True)
    return out


def _untrained_refinement(config: RefinerRunConfig, classes: Sequence[str], *, seed: int) -> RefinedSegmenter:
    """Return the coarse run's network with a new refiner on top."""
    torch.manual_seed(seed)
    coarse = load_model(Path(config.coarse)).network
    assert isinstance(coarse, Segmenter)
    return build_refined(coarse, config.refiner, config.features, scale=config.scale, num_classes=len(classes))


def _refined_metadata(
    config: RefinerRunConfig, coarse: SegmenterRunConfig, classes: Sequence[str], *, data: DataConfig
) -> dict[str, Any]:
    """Return what the checkpoint says of its model; `data` is the coarse run's at the refiner's scale."""
    metadata = model_metadata(
        "refined",
        classes=classes,
        data=data,
        precision=config.train.precision,
        model=coarse.model,
        refiner=config.refiner,
        features=config.features,
    )
    return {**metadata, "scale": config.scale}


def train_folds(
    config: SegmenterRunConfig, coarse: RunFolder, splits: Splits, *, folds: int, epochs: int = 0
) -> tuple[list[Path], NDArray[np.int64]]:
    """Train one network per fold on the other folds' images, as the coarse run was trained; finished ones are kept.

    Args:
        config: of the coarse run.
        coarse: its folder.
        splits: its data.
        folds: number of networks; 0 trains none, and the coarse run itself is the only one.
        epochs: of each; 0 takes the coarse run's.

    The validation images choose the best weights of every fold, as they did for the coarse run.

    Returns:
        The runs, one per fold, and the fold of each training image, int64.
    """
    if folds == 0:
        return [coarse.root], np.zeros(len(splits.train), np.int64)
    if config.init and load_model(Path(config.init)).data.name == config.data.name:
        raise ConfigError(
            f"{coarse.root} started from the weights of {config.init}, which saw the same images, so its folds would be "
            "none; set folds to 0"
        )
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=epochs or config.train.epochs))
    fold_of = fold_of_each(len(splits.train), folds, seed=config.train.seed)
    runs = []
    for fold in range(folds):
        rest = Subset(splits.train, [i for i, other in enumerate(fold_of) if other != fold])
        run = coarse.folds / (f"{fold + 1}-of-{folds}" + (f"-{epochs}-epochs" if epochs else ""))
        part = Splits(train=rest, val=splits.val, test=None)
        runs.append(train_segmenter(config, run, splits=part, label=f"fold {fold + 1} of {folds}"))
    return runs, fold_of


def _fit_frozen_then_jointly(
    config: RefinerRunConfig,
    job: Job,
    classes: Sequence[str],
    make_frozen_task: Callable[[TrainConfig], SegmentationTask],
) -> History:
    """Train the refiner beside the frozen coarse network, then, if asked, both together, kept where that gets better.

    Returns:
        The history of both trainings.
    """
    if not config.joint_epochs:
        return fit(make_frozen_task, job)
    if not job.folder.frozen.exists():
        frozen: dict[str, Any] = {**job.metadata, "history": fit(make_frozen_task, job)}
        checkpoint.save(job.folder.frozen, checkpoint.load(job.folder.model)[0], frozen)
        job.folder.resume.unlink(missing_ok=True)
    tensors, metadata = checkpoint.load(job.folder.frozen)
    before: Any = metadata["history"]

    def make_task(train: TrainConfig) -> SegmentationTask:
        network = _untrained_refinement(config, classes, seed=train.seed)
        checkpoint.load_into(network, tensors, what=str(job.folder.frozen))
        channels = logit_channels(len(classes))
        return SegmentationTask(
            network, classes=classes, config=train, logit_channels=channels, weak=bool(job.data.labels)
        )

    train = dataclasses.replace(config.train, epochs=config.joint_epochs, learning_rate=config.joint_learning_rate)
    beat = max(before["val_score"], default=-math.inf)
    after = fit(make_task, dataclasses.replace(job, train=train, label=f"{job.label} jointly", beat=beat, folds=None))
    return {name: before[name] + after[name] for name in after}


def fit(make_task: Callable[[TrainConfig], Task], job: Job) -> History:
    """Run one training to its end; where memory runs out, again with half the batch.

    Args:
        make_task: builds the task anew for a training configuration.
        job: everything else.

    Returns:
        Per epoch `train_loss`, `val_score` and `seconds`.
    """
    sweep_temporary(job.folder.root)
    if job.folder.resume.exists():
        # Memory may have forced a smaller batch before the stop; the checkpoint counts in such batches.
        batch_size: Any = checkpoint.load(job.folder.resume)[1]["batch_size"]
        job = dataclasses.replace(job, train=dataclasses.replace(job.train, batch_size=batch_size))
    while True:
        try:
            return _fit_once(make_task(job.train), job)
        except MaskwrightError as error:
            raise without_traceback(error) from None
        except (torch.OutOfMemoryError, MemoryError, RuntimeError, ConnectionError, EOFError, ValueError) as error:
            if not is_out_of_memory(error):
                raise named(error, images=len(job.samples or job.train_set)) from error
            if job.train.batch_size <= SMALLEST_BATCH:
                raise TrainingError(
                    f"out of memory with one image per batch; lower data.size (now {job.data.size}) or choose a "
                    "smaller model"
                ) from error
        job = dataclasses.replace(job, train=dataclasses.replace(job.train, batch_size=job.train.batch_size // 2))
        job.folder.resume.unlink(missing_ok=True)
        job.folder.log(f"{OUT_OF_MEMORY} {job.train.batch_size}")
        say(f"{OUT_OF_MEMORY} {job.train.batch_size}")


def _fit_once(task: Task, job: Job) -> History:
    train, folder, size = job.train, job.folder, job.data.size
    if train.channels_last:
        task = task.to(memory_format=torch.channels_last)
    record = EpochRecord()
    samples = job.samples or TrainingData(
        job.train_set,
        size=size,
        groups=job.folds,
        augmentation=job.data.augment,
        seed=train.seed,
        sparse=bool(job.data.labels),
    )
    loader = TrainingLoader(
        samples,
        batch_size=train.batch_size,
        workers=train.workers,
        seed=train.seed,
    )
    callbacks: list[pl.Callback] = [
        record,
        KeepBest(folder.model, job.metadata, beat=job.beat),
        ShowProgress(job.label),
    ]
    if train.patience and job.val_set is not None:
        callbacks.append(EarlyStopping("val_score", mode="max", patience=train.patience))
    # Last, so that what it saves holds the others' state of the same moment.
    callbacks.append(Resumable(folder.resume, loader, minutes=train.checkpoint_minutes))
    val_loader = None
    if job.val_set is not None:
        val_loader = scoring_loader(job.val_set, size=size, batch_size=train.batch_size)
    resume = str(folder.resume) if folder.resume.exists() else None
    folder.log(f"{job.label}: {'resume' if resume else 'start'}, {len(job.train_set)} images, {train.epochs} epochs")
    with _quiet_lightning(), closing(loader):
        trainer = pl.Trainer(
            max_epochs=train.epochs,
            accelerator="gpu" if choose_device(train.device) == "cuda" else "cpu",
            devices=1,
            precision="bf16-mixed" if train.precision == "bf16" else "32-true",
            gradient_clip_val=train.gradient_clip or None,
            callbacks=callbacks,
            plugins=[SafeCheckpointIO(batch_size=train.batch_size)],
            logger=TensorBoardLogger(folder.root, name="", version="tensorboard"),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        trainer.fit(task, loader, val_loader, ckpt_path=resume, weights_only=False)
    folder.log(f"{job.label}: finished")
    return {"train_loss": record.train_loss, "val_score": record.val_score, "seconds": record.seconds}


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advertisements and its advice on what is decided here on purpose."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
