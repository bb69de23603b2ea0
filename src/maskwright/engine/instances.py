"""Scoring of objects: predicted ones of any tool against the truth of a folder, a data set or a COCO file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ..data.catalog import DataConfig, open_data
from ..data.classes import load_classes
from ..data.coco import CocoDataset
from ..data.coco_objects import Entry, objects, read_results, read_truth
from ..data.io import read_labels
from ..errors import ConfigError, DataError
from ..instances import of_map, surest, to_map, to_segments
from ..metrics import EvaluationMeter
from ..metrics.bootstrap import Interval
from ..metrics.instance import (
    INSTANCE_STATISTICS,
    InstanceMeter,
    InstanceResult,
    class_values,
    instance_interval,
    instance_value,
)
from ..metrics.panoptic import PanopticMeter, PanopticResult, Quality, class_quality, panoptic_interval
from ..progress import track
from ..types import IGNORE_INDEX, EvaluationResult, Instances, Sample
from .detector import check_threshold
from .evaluate import scored_part
from .masks import masks_by_name, pair_by_stem
from .predict_instances import OBJECTS

OBJECT_CLASSES = ("background", "object")
"""Classes of maps of numbers that nothing else names."""

INTERVALS = ("ap", "ap50")
"""Statistics that get an interval: those that are compared."""

Found = Callable[[str, tuple[int, int]], Instances]
"""From an image's name and size, (height, width), to the objects that were found in it."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """True objects, read one image at a time.

    Attributes:
        classes: class names, index = label.
        names: of the images.
        read: from a name to its true objects.
        labels: category → label of results that count categories as a COCO file does; None where they are labels.
        numbers: `image_id` → name, of a COCO file; empty otherwise.
        what: the truth in words, for the page.
        pixels: from a name to the image, RGB uint8 (H, W, 3); None where there is none to show.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    read: Callable[[str], Instances]
    labels: Mapping[int, int] | None
    numbers: Mapping[int, str]
    what: str
    pixels: Callable[[str], UInt8[np.ndarray, "h w 3"]] | None = None


@dataclass(frozen=True, kw_only=True)
class InstanceEvaluation:
    """One set of predicted objects, scored.

    Attributes:
        masks: counts of pixels by class, objects of a class together.
        objects: matches for AP and AR.
        panoptic: matches for PQ; all classes but the background are things.
    """

    masks: EvaluationResult
    objects: InstanceResult
    panoptic: PanopticResult


def open_truth(targets: Path | None, data: str, *, classes: Path | None = None) -> Truth:
    """Open the true objects of a folder of maps of numbers, of a COCO file, or of a data set that tells objects apart.

    Args:
        targets: a folder, whose maps (16-bit PNG, TIFF, .npy) hold 0 or an object's number, and whose `instances.json`,
            if it has one, gives their classes; or a COCO file of annotations; None takes `data`.
        data: name of a data set, such as `nuclei:DIR` or `coco:train.json,val=val.json`; of the latter, the file itself is
            the truth, as if it were `targets`.
        classes: a `classes.yaml` that names the labels of a folder; None takes that in the folder, if there is one.

    Raises:
        ConfigError: a data set that tells no objects apart.
        DataError: nothing there, or not readable.
    """
    if targets is None:
        return truth_of_data(DataConfig(name=data, val_fraction=0))
    if targets.is_file():
        return _truth_of_coco(targets)
    return _truth_of_folder(targets, classes)


def evaluate_instances(
    predictions: Path, truth: Truth, *, max_detections: int = 100, threshold: float = 0.0
) -> InstanceEvaluation:
    """Score predicted objects: AP and AR, panoptic quality, and the pixels of each class.

    Args:
        predictions: a folder as `maskwright predict --save instances` writes it, a folder of maps of numbers alone (one
            class, all equally sure), or a list of results in COCO's format.
        truth: from `open_truth`.
        max_detections: predicted objects of each image and class that count at most for AP and AR.
        threshold: score that an object must reach, 0–1, to count for panoptic quality and for the pixels; AP and AR need
            all, in the order of their scores.

    Raises:
        ConfigError: a threshold outside 0–1.
        DataError: images without predictions (of a folder), predictions of unknown images (of a list); sizes or labels
            that do not fit.
    """
    return score_objects(found_in(predictions, truth), truth, max_detections=max_detections, threshold=threshold)


def score_objects(
    found: Found, truth: Truth, *, max_detections: int = 100, threshold: float = 0.0
) -> InstanceEvaluation:
    """Score objects as `evaluate_instances`, from what returns them image by image."""
    check_threshold(threshold)
    masks = EvaluationMeter(truth.classes)
    matches = InstanceMeter(truth.classes, max_detections=max_detections)
    panoptic = PanopticMeter(truth.classes, things=range(1, len(truth.classes)))
    for name in track(truth.names, label="evaluate", total=len(truth.names)):
        true = truth.read(name)
        own = found(name, true.size)
        matches.update(own, true)
        sure = surest(own, threshold)
        panoptic.update(to_segments(sure), to_segments(true))
        masks.update(name, label_map(sure), label_map(true))
    return InstanceEvaluation(masks=masks.result(), objects=matches.result(), panoptic=panoptic.result())


def found_in(predictions: Path, truth: Truth) -> Found:
    """Return what reads the objects of each image from a folder or a file of predictions, see `evaluate_instances`."""
    return _found_in_file(predictions, truth) if predictions.is_file() else _found_in_folder(predictions, truth)


def label_map(instances: Instances) -> UInt8[np.ndarray, "h w"]:
    """Return the class of the object that shows at each pixel, 0 where none does; crowds are ignored."""
    labels = instances.classes.copy()
    if instances.crowd is not None:
        labels[instances.crowd] = IGNORE_INDEX
    return np.concatenate([[0], labels]).astype(np.uint8)[to_map(instances)]


def instance_record(
    results: Mapping[str, InstanceEvaluation],
) -> dict[str, Any]:
    """Return the scores of objects of all stages as JSON, the first with which the others are compared."""
    base = next(iter(results.values()))
    return {name: _stage_record(one, None if one is base else base) for name, one in results.items()}


def _stage_record(one: InstanceEvaluation, base: InstanceEvaluation | None) -> dict[str, Any]:
    quality = class_quality(one.panoptic)
    record: dict[str, Any] = {
        kind: {
            **{name: finite(instance_value(one.objects, name, kind=kind)) for name in INSTANCE_STATISTICS},
            "intervals": {name: interval_list(instance_interval(one.objects, name, kind=kind)) for name in INTERVALS},
            "classes": {
                name: {
                    label: finite(value)
                    for label, value in zip(
                        one.objects.classes[1:], class_values(one.objects, name, kind=kind), strict=True
                    )
                }
                for name in ("ap", "ap50", "ar")
            },
        }
        for kind in one.objects.matches
    }
    record["panoptic"] = {
        **{score: interval_list(panoptic_interval(one.panoptic, score))[0] for score in ("pq", "sq", "rq")},
        "intervals": {"pq": interval_list(panoptic_interval(one.panoptic))},
        "classes": {
            label: {score: finite(quality[row, number]) for row, score in enumerate(Quality._fields)}
            for number, label in enumerate(one.panoptic.classes)
            if number in one.panoptic.things
        },
    }
    if base is not None:
        record["change"] = {
            **{name: interval_list(instance_interval(one.objects, name, base=base.objects)) for name in INTERVALS},
            "pq": interval_list(panoptic_interval(one.panoptic, base=base.panoptic)),
        }
    return {
        **record,
        "max_detections": one.objects.max_detections,
        "true_objects": one.objects.true_objects,
        "predicted_objects": one.objects.predicted_objects,
        "crowded_images": one.objects.crowded_images,
    }


def finite(value: float) -> float | None:
    """Return a number as JSON has it."""
    return float(value) if np.isfinite(value) else None


def interval_list(interval: Interval) -> list[float | None]:
    """Return value, low and high as JSON."""
    return [finite(value) for value in (interval.value, interval.low, interval.high)]


def truth_of_data(data: DataConfig) -> Truth:
    """Return the true objects of a data set's test part (validation where there is none).

    Raises:
        ConfigError: the data set tells no objects apart.
        DataError: it has neither part.
    """
    name = data.name
    part, dataset = scored_part(open_data(data))
    if len(dataset) and dataset[0].instances is None:
        raise ConfigError(
            f"--instances: the data set {name} tells no objects apart; use one that does, as nuclei:DIR or coco:FILE.json "
            "with instances; segments of a panoptic file are scored with --targets FILE.json"
        )
    index = {sample: number for number, sample in enumerate(dataset.names)}
    what = f"{len(dataset)} {part} images of {name.partition(':')[0]}"

    def read(sample: str) -> Instances:
        return of_sample(dataset[index[sample]])

    def pixels(sample: str) -> UInt8[np.ndarray, "h w 3"]:
        return dataset[index[sample]].image.permute(1, 2, 0).numpy()

    if isinstance(dataset, CocoDataset):
        # The file itself knows overlaps, areas and crowds, which a map of numbers does not.
        return replace(_truth_of_coco(dataset.source), what=what, pixels=pixels)
    return Truth(
        classes=dataset.classes,
        names=dataset.names,
        read=read,
        labels=None,
        numbers={},
        what=what,
        pixels=pixels,
    )


def of_sample(sample: Sample) -> Instances:
    """Return the true objects of a sample of a data set that tells them apart."""
    assert sample.instances is not None and sample.target is not None
    ids, target = sample.instances.numpy(), sample.target.numpy()
    numbers, first = np.unique(ids, return_index=True)
    return of_map(sample.name, ids, classes=target.ravel()[first[numbers > 0]].astype(np.int64))


def _truth_of_coco(path: Path) -> Truth:
    truth = read_truth(path)
    if len(truth.classes) > IGNORE_INDEX:
        raise DataError(f"{path} names {len(truth.classes) - 1} categories; at most {IGNORE_INDEX - 1} are scored")
    by_name = {one.name: one for one in truth.images.values()}
    return Truth(
        classes=truth.classes,
        names=tuple(sorted(by_name)),
        read=by_name.__getitem__,
        labels=truth.labels,
        numbers={number: one.name for number, one in truth.images.items()},
        what=f"{len(by_name)} images of {path}",
    )


def _truth_of_folder(folder: Path, classes: Path | None) -> Truth:
    if classes is not None and not classes.is_file():
        raise ConfigError(f"{classes} does not exist; expected a classes.yaml")
    paths = {stem: pair[0] for stem, pair in pair_by_stem(folder, folder).items()}
    entries = read_results(folder / OBJECTS) if (folder / OBJECTS).is_file() else None
    names = load_classes(classes or folder / "classes.yaml").names
    if names is None:
        labels = [int(one["category_id"]) for ones in (entries or {}).values() for one in ones]
        names = ("background", *(f"class {i}" for i in range(1, max(labels, default=1) + 1)))
        names = OBJECT_CLASSES if len(names) == 2 else names

    def read(stem: str) -> Instances:
        return _read_map(paths[stem], stem, entries, folder / OBJECTS)

    return Truth(
        classes=names, names=tuple(paths), read=read, labels=None, numbers={}, what=f"{len(paths)} maps of {folder}"
    )


def _read_map(path: Path, name: str, entries: Mapping[str | int, Sequence[Entry]] | None, listed: Path) -> Instances:
    """Read a map of numbers, or, where a list of results lies beside it, the objects of that image in the list."""
    ids = read_labels(path)
    if entries is None:
        return of_map(name, ids)
    size = (ids.shape[0], ids.shape[1])
    return objects(name, size, entries.get(name, []), labels=None, path=listed)


def _found_in_folder(folder: Path, truth: Truth) -> Found:
    paths = masks_by_name(folder, truth.names)
    listed = folder / OBJECTS
    entries = read_results(listed) if listed.is_file() else None
    return lambda name, size: _read_map(paths[name], name, entries, listed)


def _found_in_file(path: Path, truth: Truth) -> Found:
    entries: dict[str, list[Entry]] = {}
    unknown, known = [], set(truth.names)
    for key, ones in read_results(path).items():
        name = truth.numbers.get(key) if isinstance(key, int) else key
        if name is None or name not in known:
            unknown.append(str(key))
        else:
            entries.setdefault(name, []).extend(ones)
    if unknown:
        raise DataError(
            f"{path} has objects of {len(unknown)} images that {truth.what} do not hold: {', '.join(unknown[:10])}; "
            "expected the file names, or the image_id, of the truth"
        )
    return lambda name, size: objects(name, size, entries.get(name, []), labels=truth.labels, path=path)
