"""Scoring: a run on the part of its data that it never saw, or any folder of masks against the truth."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ..data.catalog import DataConfig, open_data
from ..data.classes import ClassTable, load_classes
from ..data.io import read_labels
from ..data.pets import Border
from ..errors import ConfigError, DataError
from ..files import write_json
from ..metrics import BOUNDARY_STATISTICS, BoundaryMeter, BoundaryResult, EvaluationMeter, change
from ..metrics.bootstrap import Change, bootstrap
from ..metrics.boundary_meter import has_boundary
from ..metrics.scores import scores
from ..progress import track
from ..types import IGNORE_INDEX, Dataset, EvaluationResult, Prediction, RefinedMask, Splits
from .borders import with_border
from .masks import masks_by_name, pair_by_stem, read_coarse
from .network import decide
from .predict import Predictor
from .run import RunFolder, require_finished


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scored stages of one run.

    Attributes:
        part: "test" or "val": the part of the data that was scored.
        stages: name → counts, a `BoundaryResult` where boundary scores were asked for; the coarse stage first where the
            run has a refiner.
    """

    part: str
    stages: Mapping[str, EvaluationResult]


def scored_part(splits: Splits) -> tuple[str, Dataset]:
    """Return the part to report: test, else validation.

    Raises:
        DataError: the data has neither.
    """
    if splits.test is not None:
        return "test", splits.test
    if splits.val is not None:
        return "val", splits.val
    raise DataError(
        "the data has no test and no validation part to score; add one, or, of a run, train with data.val_fraction > 0"
    )


def evaluate_run(
    run: Path, *, device: str = "auto", boundary: bool = False, border: Border | None = None
) -> Evaluation:
    """Score a run on its test part (validation where there is none), at the images' own sizes.

    The counts are kept in the run's `evaluation.json` and read from there the next time, boundary scores with them. A run
    that was scored without these is scored anew where they are asked for.

    Args:
        run: the run's folder.
        device: "auto", "cpu" or "cuda".
        boundary: whether boundary scores are needed; they take longer than the counts.
        border: `pets` only: the convention of the border, kept in a file of its own; None is that of the run.
    """
    folder = RunFolder(root=run)
    stored = folder.evaluation if border is None else folder.evaluation_with(border)
    if stored.exists():
        evaluation = _load(stored)
        if not boundary or has_boundary(evaluation.stages.values()):
            return evaluation
    require_finished(folder)
    predictor = Predictor.load(run, device=device)
    part, dataset = scored_part(open_data(with_border(predictor.model.data, border)))
    meters = {name: _meter(predictor.model.classes, boundary=boundary) for name in predictor.stage_names}
    for prediction, target in track(predictor.dataset(dataset), label=f"evaluate {run.name}", total=len(dataset)):
        states = prediction.steps if isinstance(prediction, RefinedMask) else [prediction.logits]
        for meter, logits in zip(meters.values(), states, strict=True):
            meter.update(prediction.name, decide(logits), target)
    evaluation = Evaluation(part=part, stages={name: meter.result() for name, meter in meters.items()})
    _save(stored, evaluation)
    return evaluation


def evaluate_validation(run: Path, *, device: str = "auto") -> EvaluationResult:
    """Score the masks of a segmenter's run on its validation part, at the images' own sizes.

    The counts are kept in the run's `evaluation_val.json` and read from there the next time.

    Args:
        run: the run's folder.
        device: "auto", "cpu" or "cuda".

    Raises:
        DataError: the data has no validation part.
    """
    folder = RunFolder(root=run)
    stored = folder.evaluation_of_val
    if stored.exists():
        return next(iter(_load(stored).stages.values()))
    require_finished(folder)
    predictor = Predictor.load(run, device=device)
    dataset = open_data(predictor.model.data).val
    if dataset is None:
        raise DataError(f"{run}: the data has no validation part to choose on; set data.val_fraction > 0")
    meter = EvaluationMeter(predictor.model.classes)
    for prediction, target in track(predictor.dataset(dataset), label=f"validate {run.name}", total=len(dataset)):
        assert isinstance(prediction, Prediction)
        meter.update(prediction.name, decide(prediction.logits), target)
    _save(stored, Evaluation(part="val", stages={predictor.model.name: meter.result()}))
    return meter.result()


def compare(base: EvaluationResult, other: EvaluationResult) -> dict[str, Change]:
    """Return the change of the two headline scores from `base` to `other`, paired over images, and that of the boundary
    scores where both hold them."""
    main = "iou_dataset" if len(base.classes) == 2 else "miou_present"
    boundary = BOUNDARY_STATISTICS if has_boundary([base, other]) else ()
    return {name: change(base, other, name) for name in ("iou_per_image", main, *boundary)}


def evaluate_folders(
    predictions: Path,
    targets: Path,
    *,
    classes: Path | None = None,
    num_classes: int | None = None,
    boundary: bool = False,
) -> EvaluationResult:
    """Score a folder of masks against a folder of true ones; files belong together by their stem.

    Args:
        predictions: masks of any tool: label maps, 0/255, probabilities, logits; see `masks.read_coarse`.
        targets: label maps; 255 is ignored.
        classes: a `classes.yaml` with names and rules (see `data.classes`); None takes `targets/classes.yaml` or
            `targets/../classes.yaml` where there is one.
        num_classes: number of classes where there is no such file; None takes the largest true label + 1, at
            least 2.
        boundary: whether to score the boundaries too, which takes longer; the result is then a `BoundaryResult`.

    Raises:
        DataError: missing pairs, all named at once; sizes or labels that do not fit.
    """
    pairs = pair_by_stem(predictions, targets)
    table = find_classes(targets, classes)
    truths = {stem: table.encode(read_labels(truth), path=truth) for stem, (_, truth) in pairs.items()}
    if table.binary_foreground is None:
        _refuse_binary(truths)
    names = table.names or _default_classes(truths, num_classes)
    meter = _meter(names, boundary=boundary)
    for stem, (prediction, _) in track(pairs.items(), label="evaluate", total=len(pairs)):
        meter.update(stem, read_prediction(prediction, num_classes=len(names)), truths[stem])
    return meter.result()


def evaluate_on_data(folders: Mapping[str, Path], data: DataConfig, *, boundary: bool = False) -> Evaluation:
    """Score folders of masks on the test part of a data set (validation where there is none).

    Args:
        folders: stage name → masks of any tool, see `evaluate_folders`; those of other images are left alone.
        data: the data set.
        boundary: as in `evaluate_folders`.

    Raises:
        DataError: images without a mask in one of the folders; sizes or labels that do not fit.
    """
    part, dataset = scored_part(open_data(data))
    masks = {stage: masks_by_name(folder, dataset.names) for stage, folder in folders.items()}
    meters = {stage: _meter(dataset.classes, boundary=boundary) for stage in folders}
    for index, name in track(enumerate(dataset.names), label="evaluate", total=len(dataset)):
        target = dataset[index].target
        assert target is not None
        for stage, meter in meters.items():
            meter.update(name, read_prediction(masks[stage][name], num_classes=len(dataset.classes)), target.numpy())
    return Evaluation(part=part, stages={stage: meter.result() for stage, meter in meters.items()})


def _meter(classes: Sequence[str], *, boundary: bool) -> EvaluationMeter | BoundaryMeter:
    return BoundaryMeter(classes) if boundary else EvaluationMeter(classes)


def find_classes(targets: Path, classes: Path | None) -> ClassTable:
    """Read the class table that was named, or the one in or beside the folder of true masks, if there is one."""
    if classes is not None and not classes.is_file():
        raise ConfigError(f"{classes} does not exist; expected a classes.yaml")
    within = targets / "classes.yaml"
    return load_classes(classes or (within if within.is_file() else targets.parent / "classes.yaml"))


def _refuse_binary(truths: Mapping[str, np.ndarray]) -> None:
    if {int(value) for truth in truths.values() for value in np.unique(truth)} == {0, IGNORE_INDEX}:
        raise DataError(
            "the true masks hold 0 and 255 only; expected labels 0..C-1 with 255 = ignored. If 255 is the "
            "foreground, put `binary_foreground: 255` and `names: [background, object]` into a classes.yaml"
        )


def _default_classes(truths: Mapping[str, np.ndarray], num_classes: int | None) -> tuple[str, ...]:
    if num_classes is not None and not 2 <= num_classes <= IGNORE_INDEX:
        raise ConfigError(f"num_classes must be between 2 and {IGNORE_INDEX}, got {num_classes}")
    labels = {int(value) for truth in truths.values() for value in np.unique(truth)} - {IGNORE_INDEX}
    count = num_classes or max(max(labels, default=1) + 1, 2)
    if count == 2:
        return ("background", "foreground")
    return ("background", *(f"class {i}" for i in range(1, count)))


def read_prediction(path: Path, *, num_classes: int) -> UInt8[np.ndarray, "h w"]:
    """Read a predicted mask of any kind as a label map: labels as they are, probabilities and logits decided."""
    return decide(read_coarse(path, num_classes=num_classes, kind="auto")).numpy().astype(np.uint8)


def record_of(results: Mapping[str, EvaluationResult]) -> dict[str, Any]:
    """Return the scores of all stages as JSON, and the change from the first one to each of the others."""
    base, *others = results
    record: dict[str, Any] = {"scores": {name: summary(result) for name, result in results.items()}}
    if others:
        record["change"] = {name: change_dict(compare(results[base], results[name])) for name in others}
    return record


def summary(result: EvaluationResult) -> dict[str, Any]:
    """Return every score of a result with its definition-free name, and the intervals of the headline scores.

    Boundary scores, where the result holds them, stand under "boundary": mean over the images that have one, interval,
    and the number of these images.
    """
    intervals = {name: bootstrap(result, name) for name in ("iou_per_image", "iou_dataset", "miou_present")}
    record = {
        **scores(result).as_dict(),
        "intervals": {name: [_finite(v) for v in (i.value, i.low, i.high)] for name, i in intervals.items()},
    }
    return {**record, "boundary": _boundary_summary(result)} if isinstance(result, BoundaryResult) else record


def _boundary_summary(result: BoundaryResult) -> dict[str, Any]:
    intervals = {name: bootstrap(result, name) for name in BOUNDARY_STATISTICS}
    return {
        **{
            name: {
                "mean": _finite(i.value),
                "low": _finite(i.low),
                "high": _finite(i.high),
                "images": int(np.isfinite(result.boundary[name]).sum()),
            }
            for name, i in intervals.items()
        },
        "border_share": result.border_share,
        "empty_value": result.empty_value,
    }


def change_dict(changes: Mapping[str, Change]) -> dict[str, Any]:
    """Return changes as JSON: value, interval, shares of images made better and worse."""
    return {
        name: {
            "change": _finite(c.interval.value),
            "low": _finite(c.interval.low),
            "high": _finite(c.interval.high),
            "better": _finite(c.better),
            "worse": _finite(c.worse),
            "threshold": c.threshold,
        }
        for name, c in changes.items()
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _save(path: Path, evaluation: Evaluation) -> None:
    stages = {
        name: {
            "classes": list(r.classes),
            "names": list(r.names),
            "counts": r.counts.tolist(),
            "confusion": r.confusion.tolist(),
            "ignored": r.ignored.tolist(),
            **({"boundary": _boundary_dict(r)} if isinstance(r, BoundaryResult) else {}),
        }
        for name, r in evaluation.stages.items()
    }
    # As a list: the stages have an order, the keys of the file are sorted.
    write_json(path, {"part": evaluation.part, "stages": [{"name": name, **stage} for name, stage in stages.items()]})


def _boundary_dict(result: BoundaryResult) -> dict[str, Any]:
    return {
        "scores": {name: [_finite(v) for v in values] for name, values in result.boundary.items()},
        "border_share": result.border_share,
        "empty_value": result.empty_value,
    }


def _load(path: Path) -> Evaluation:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Evaluation(part=stored["part"], stages={stage["name"]: _result(stage) for stage in stored["stages"]})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it, and the run is scored again") from error


def _result(stage: Mapping[str, Any]) -> EvaluationResult:
    counted: dict[str, Any] = {
        "classes": tuple(stage["classes"]),
        "names": tuple(stage["names"]),
        "counts": np.array(stage["counts"], np.int64),
        "confusion": np.array(stage["confusion"], np.int64),
        "ignored": np.array(stage["ignored"], np.int64),
    }
    if "boundary" not in stage:
        return EvaluationResult(**counted)
    boundary = stage["boundary"]
    return BoundaryResult(
        **counted,
        # None, the file's word for nan, becomes nan.
        boundary={name: np.array(boundary["scores"][name], np.float64) for name in BOUNDARY_STATISTICS},
        border_share=boundary["border_share"],
        empty_value=boundary["empty_value"],
    )
