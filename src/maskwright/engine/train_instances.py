"""Training of a network that finds objects one by one, its scores on the test part, and its page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ..data.catalog import open_data
from ..data.loading import TrainingData
from ..errors import ConfigError
from ..files import write_json
from ..models.mask_rcnn import build_mask_rcnn, is_mask_rcnn, untrained
from ..progress import say
from ..report import Curve
from ..types import Instances, Splits
from . import checkpoint
from .config import SegmenterRunConfig, TrainConfig
from .detector import Detector, load_detector
from .evaluate import record_of
from .instance_task import DETECTIONS, InstanceTask
from .instances import InstanceEvaluation, instance_record, of_sample, score_objects, truth_of_data
from .report_instances import report_instances
from .reporting import machine_facts
from .run import INSTANCES, RunFolder, model_metadata, prepare_folder, require_finished
from .train import Job, fit

SURE = 0.5
"""Score that an object must reach to count for panoptic quality and for the pixels' scores of a run's page."""


def finds_objects(config: SegmenterRunConfig) -> bool:
    """Whether the configuration's model finds objects one by one, so that `train_instances` trains it."""
    return is_mask_rcnn(config.model)


def train_instances(config: SegmenterRunConfig, out: Path) -> Path:
    """Train a network that finds objects, or resume an unfinished training, or do nothing for a finished one.

    Args:
        config: data that tells objects apart, model, training; the losses are the network's own.
        out: the run's folder.

    Returns:
        The run's folder, now with `model.safetensors` and `metrics.json`.

    Raises:
        CheckpointError: `config.init` has no weights, or those of another model.
        ConfigError: settings that do not fit; data that tells no objects apart; `out` belongs to another run.
        DataError: data that is not as it should be.
        TrainingError: the loss is not finite, memory or a data worker is lost.
        Terminated: SIGTERM or Ctrl-C; the state was saved.
    """
    _refuse_settings_for_masks(config)
    folder = RunFolder(root=out)
    splits = open_data(config.data)
    _require_objects(config, splits)
    start = load_detector(Path(config.init)).network.state_dict() if config.init else None
    prepare_folder(folder, config)
    if folder.metrics.exists():
        return out
    truth = _true_objects(splits)

    def make_task(train: TrainConfig) -> InstanceTask:
        torch.manual_seed(train.seed)
        build = build_mask_rcnn if start is None else untrained
        network = build(config.model, num_classes=len(splits.classes), in_channels=config.data.channels)
        if start is not None:
            checkpoint.load_into(network, start, what=f"model {config.model.name} with {len(splits.classes)} classes")
        return InstanceTask(network, classes=splits.classes, config=train, truth=truth)

    samples = TrainingData(
        splits.train,
        size=config.data.size,
        augmentation=config.data.augment,
        seed=config.train.seed,
        objects=True,
    )
    job = Job(
        train_set=splits.train,
        val_set=splits.val,
        data=config.data,
        train=config.train,
        folder=folder,
        metadata=model_metadata(
            INSTANCES, classes=splits.classes, data=config.data, precision=config.train.precision, model=config.model
        ),
        label="train",
        samples=samples,
    )
    history = fit(make_task, job)
    write_json(folder.metrics, {"history": history})
    folder.resume.unlink(missing_ok=True)
    return out


def complete_instances(run: Path, *, commands: Sequence[str], device: str = "auto") -> dict[str, InstanceEvaluation]:
    """Score a trained run on its test part (validation where there is none), and write its metrics and page.

    Panoptic quality and the pixels' scores are of objects that reach the score 0.5.

    Args:
        run: the run's folder.
        commands: command lines that make it again.
        device: "auto", "cpu" or "cuda".

    Returns:
        The scores by the run's name; none where the data has no part to score.
    """
    folder = RunFolder(root=run)
    require_finished(folder)
    detector = Detector(load_detector(run), device=device)
    data = detector.model.data
    splits = open_data(data)
    if splits.test is None and splits.val is None:
        say(f"{run}: the data has no test and no validation part, so there is nothing to score")
        return {}
    truth = truth_of_data(data)
    pixels = truth.pixels
    assert pixels is not None
    objects = {name: detector.find(pixels(name), name=name) for name in truth.names}
    name = detector.model.name

    def found(image: str, size: tuple[int, int]) -> Instances:
        return objects[image]

    most = max(DETECTIONS, detector.network.most)
    results = {name: score_objects(found, truth, max_detections=most, threshold=SURE)}
    record = json.loads(folder.metrics.read_text(encoding="utf-8"))
    history = record["history"]
    record = {
        **record,
        **record_of({name: one.masks for name, one in results.items()}),
        "part": "val" if splits.test is None else "test",
        "instances": instance_record(results),
    }
    write_json(folder.metrics, record)
    report_instances(
        folder.report,
        results,
        {name: found},
        truth=truth,
        images=None,
        commands=commands,
        threshold=SURE,
        curves=[_curve(name, history)],
        facts={
            "data": data.name,
            "training images": str(len(splits.train)),
            "training time": f"{sum(history['seconds']) / 60:.1f} min",
            **machine_facts(),
        },
        config=folder.config.read_text(encoding="utf-8"),
    )
    return results


def _curve(name: str, history: Mapping[str, Sequence[float]]) -> Curve:
    return Curve(
        name=name,
        train_loss=tuple(history["train_loss"]),
        val_score=tuple(history["val_score"]),
        val_name="AP of masks, validation",
    )


def _refuse_settings_for_masks(config: SegmenterRunConfig) -> None:
    """Refuse what networks that give logits know only."""
    name = config.model.name
    for setting, value, advice in (
        ("train.loss", config.train.loss, "its losses are those of torchvision; leave it out"),
        ("method", config.method, "it refines masks of classes; leave it out"),
        ("data.labels", config.data.labels, "it needs the objects in full; leave it out"),
        ("data.contour", config.data.contour, "it tells objects apart without a border class; set it to 0"),
    ):
        if value:
            raise ConfigError(f"{setting} is {value!r} beside model {name!r}: {advice}")
    if config.train.precision != "fp32":
        raise ConfigError(
            f"train.precision is {config.train.precision!r}, but model {name!r} reckons with coordinates of boxes, which "
            "bf16 rounds to several pixels; set it to fp32"
        )


def _require_objects(config: SegmenterRunConfig, splits: Splits) -> None:
    if len(splits.train) and splits.train[0].instances is None:
        raise ConfigError(
            f"model {config.model.name!r} learns single objects, but the data set {config.data.name} tells none apart; use "
            "nuclei:DIR, or another model"
        )


def _true_objects(splits: Splits) -> dict[str, Instances]:
    if splits.val is None:
        return {}
    return {(sample := splits.val[number]).name: of_sample(sample) for number in range(len(splits.val))}
