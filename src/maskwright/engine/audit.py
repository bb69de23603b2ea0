"""The audit: masks of any tool against the truth, counted once, so that every tool's score can be derived from the counts.

One image is in memory at a time. An audit must not leave images out silently: whatever cannot be scored is named, all of it
at once, and only `skip_broken` goes on without it, which every output then says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..data.any_mask import Kind
from ..data.io import describe_labels
from ..errors import ConfigError, DataError, MaskwrightError
from ..metrics import BoundaryMeter, EvaluationMeter
from ..metrics.calibration import CalibrationMeter, CalibrationResult
from ..progress import track
from ..types import IGNORE_INDEX, EvaluationResult
from .audit_files import open_masks, open_targets, truth_of_data
from .audit_records import Labels, Masks, Predicted, Size, Truth
from .detector import check_threshold

Resize = Literal["refuse", "nearest"]

BROKEN_SHOWN = 20
"""Files that an error names, one on each line."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What to audit.

    Args:
        predictions: folders of masks, or COCO files of results; the first is the one that others are compared with.
        targets: folder of true masks, or COCO file of annotations.
        data: in place of `targets`, a data set such as `pets:DIR`.
        classes: table of classes, see `data.classes.read_class_table`.
        images: folder of the images, with the stems of the true masks.
        train: folder of the training images, which should not be among those of the test.
        kind: what the values of predicted masks mean.
        target_kind: what those of true masks mean.
        resize: predictions of another size than their truth are refused, or brought to it by the nearest pixel.
        skip_broken: whether images with a file that cannot be scored are left out.
        boundary: whether to score the edges too.
        threshold: score, 0–1, that an object of a COCO file of results must reach.

    Raises:
        ConfigError: settings that exclude each other, or out of range.
    """

    predictions: tuple[Path, ...]
    targets: Path | None = None
    data: str = ""
    classes: Path | None = None
    images: Path | None = None
    train: Path | None = None
    kind: Kind = "auto"
    target_kind: Kind = "auto"
    resize: Resize = "refuse"
    skip_broken: bool = False
    boundary: bool = False
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not self.predictions:
            raise ConfigError("expected at least one folder of predictions (--predictions)")
        if (self.targets is None) == (not self.data):
            raise ConfigError("expected --targets, a folder of true masks, or --data, such as pets:DIR, and not both")
        for name, given in (("images", self.images), ("classes", self.classes)):
            if self.data and given is not None:
                raise ConfigError(f"--{name} is given beside --data, which has its own; leave it out")
        if self.data and self.target_kind != "auto":
            raise ConfigError("--target_kind is given beside --data, whose masks are known; leave it out")
        if self.train is not None and self.images is None and not self.data:
            raise ConfigError("--train compares images: give those of the test with --images")
        if self.resize not in get_args(Resize):
            raise ConfigError(f"resize must be refuse or nearest, got {self.resize!r}")
        check_threshold(self.threshold)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """One folder of predictions, counted.

    Attributes:
        name: as pages call it.
        source: folder or file.
        taken: what its files were taken for, in words.
        result: exact counts, a `BoundaryResult` where edges were asked for.
        calibration: how far its probabilities can be believed; None where it has none.
        resized: how many predictions were of another size than their truth.
        sizes: their sizes, height and width.
        constant: images whose prediction is one label all over.
    """

    name: str
    source: Path
    taken: str
    result: EvaluationResult
    calibration: CalibrationResult | None
    resized: int
    sizes: frozenset[Size]
    constant: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """Everything that was counted.

    Attributes:
        truth: what was scored against.
        stages: by name, in the order given.
        masks: the same, to read the masks again.
        skipped: name → why it was left out.
        sizes: height and width of the true masks that were scored, in the order of the names.
    """

    truth: Truth
    stages: Mapping[str, Scored]
    masks: Mapping[str, Masks]
    skipped: Mapping[str, str]
    sizes: tuple[Size, ...]


def count_masks(config: AuditConfig) -> Audited:
    """Read and count all masks.

    Raises:
        ConfigError, DataError: files that are missing, cannot be read or do not fit; all of a kind are named at once.
    """
    names = stage_names(config.predictions)
    if config.targets is None:
        truth = truth_of_data(config.data)
    else:
        truth = open_targets(config.targets, classes=config.classes, images=config.images, kind=config.target_kind)
    masks = {
        name: open_masks(path, truth, kind=config.kind, threshold=config.threshold, others=bool(config.data))
        for name, path in names.items()
    }
    broken = dict(truth.broken)
    for one in masks.values():
        broken |= one.broken
    counter = _Counter(class_names(truth, masks.values()), masks, config=config)
    sizes = []
    readable = [name for name in truth.names if name not in broken]
    for name in track(readable, label="audit", total=len(readable)):
        try:
            target = truth.read(name)
            predictions = counter.read(name, target)
            # Once it is known that nothing will be scored, the rest is only looked at, to name all that is wrong.
            if config.skip_broken or not broken:
                counter.add(name, target, predictions)
                sizes.append((target.shape[0], target.shape[1]))
        except MaskwrightError as error:
            broken[name] = str(error)
    if broken and not config.skip_broken:
        raise _all_broken(broken, len(truth.names))
    if len(broken) == len(truth.names):
        raise DataError(f"no image is left to score: {next(iter(broken.values()))}")
    return Audited(truth=truth, stages=counter.scored(), masks=masks, skipped=broken, sizes=tuple(sizes))


def stage_names(paths: Sequence[Path]) -> dict[str, Path]:
    """Name the folders: by their own names, or with that of the folder above where these are the same.

    Raises:
        ConfigError: the same folder twice, or no different names.
    """
    for parts in (1, 2, 3):
        names = ["/".join(path.resolve().parts[-parts:]) for path in paths]
        if len(set(names)) == len(paths):
            return dict(zip(names, paths, strict=True))
    raise ConfigError(
        f"the predictions {', '.join(map(str, paths))} need different folders, by which to tell them apart"
    )


def class_names(truth: Truth, masks: Iterable[Masks]) -> tuple[str, ...]:
    """Return the names of the table; without one, as many as truth and predictions hold classes."""
    if truth.table.names:
        return truth.table.names
    count = max(truth.count, *(one.count for one in masks))
    return ("background", "foreground") if count == 2 else ("background", *(f"class {i}" for i in range(1, count)))


class _Counter:
    """Counts of all folders, image by image: an image enters all of them, or none."""

    def __init__(self, classes: tuple[str, ...], masks: Mapping[str, Masks], *, config: AuditConfig) -> None:
        self.classes = classes
        self.masks = masks
        self.resize = config.resize
        self.meters = {name: BoundaryMeter(classes) if config.boundary else EvaluationMeter(classes) for name in masks}
        self.calibration = {
            name: CalibrationMeter(len(classes))
            for name, one in masks.items()
            if one.soft and one.count == len(classes)
        }
        self.sizes: dict[str, set[Size]] = {name: set() for name in masks}
        self.resized = dict.fromkeys(masks, 0)
        self.constant = dict.fromkeys(masks, 0)

    def read(self, name: str, target: Labels) -> dict[str, tuple[Predicted, Predicted]]:
        """Return by stage the prediction of one image as it is stored, and at the size of its truth.

        Raises:
            MaskwrightError: a prediction that cannot be read or does not fit.
        """
        size = (target.shape[0], target.shape[1])
        predictions = {}
        for stage, masks in self.masks.items():
            what = f"{masks.source}: the prediction of {name}"
            stored = masks.read(name, size)
            fitted = fit(stored, size, resize=self.resize, what=what)
            _check_labels(fitted.labels, target, len(self.classes), what=what)
            predictions[stage] = (stored, fitted)
        return predictions

    def add(self, name: str, target: Labels, predictions: Mapping[str, tuple[Predicted, Predicted]]) -> None:
        """Count one image, of which `read` gave the predictions."""
        for stage, (stored, fitted) in predictions.items():
            self.meters[stage].update(name, fitted.labels, target)
            if stage in self.calibration and fitted.probabilities is not None:
                self.calibration[stage].update(fitted.probabilities, target)
            if _size(stored) != _size(fitted):
                self.sizes[stage].add(_size(stored))
                self.resized[stage] += 1
            self.constant[stage] += bool((stored.labels == stored.labels.flat[0]).all())

    def scored(self) -> dict[str, Scored]:
        """Return what was counted, by stage."""
        return {
            name: Scored(
                name=name,
                source=masks.source,
                taken=masks.taken,
                result=self.meters[name].result(),
                calibration=self.calibration[name].result() if name in self.calibration else None,
                resized=self.resized[name],
                sizes=frozenset(self.sizes[name]),
                constant=self.constant[name],
            )
            for name, masks in self.masks.items()
        }


def fit(predicted: Predicted, size: Size, *, resize: Resize, what: str) -> Predicted:
    """Return a prediction at the size of its truth, brought to it by the nearest pixel where that is wanted.

    Raises:
        DataError: another size, and no leave to change it.
    """
    own = _size(predicted)
    if own == size:
        return predicted
    if resize == "refuse":
        turned = " They fit when one is turned: a photograph's EXIF orientation may be applied to one only." * (
            own == size[::-1]
        )
        raise DataError(
            f"{what} is {own[1]} x {own[0]} pixels, its true mask {size[1]} x {size[0]}; resize the logits before taking "
            f"labels, or score with --resize nearest.{turned}"
        )
    rows, columns = (((2 * np.arange(new) + 1) * old) // (2 * new) for new, old in zip(size, own, strict=True))
    rows = rows[:, None]
    soft = predicted.probabilities
    return Predicted(
        labels=predicted.labels[rows, columns], probabilities=None if soft is None else soft[:, rows, columns]
    )


def _size(predicted: Predicted) -> Size:
    return predicted.labels.shape[0], predicted.labels.shape[1]


def _check_labels(labels: NDArray[Any], target: Labels, count: int, *, what: str) -> None:
    if labels.min() >= 0 and labels.max() < count:
        return
    wrong = ((labels < 0) | (labels >= count)) & (target != IGNORE_INDEX)
    if wrong.any():
        raise DataError(
            f"{what} holds {describe_labels(labels[wrong])}; expected labels 0..{count - 1}. Name all classes with "
            "--classes; if the values are no labels, say with --kind what they are."
        )


def _all_broken(broken: Mapping[str, str], images: int) -> DataError:
    shown = "\n  ".join(list(broken.values())[:BROKEN_SHOWN])
    more = f"\n  and {len(broken) - BROKEN_SHOWN} more" if len(broken) > BROKEN_SHOWN else ""
    return DataError(
        f"{len(broken)} of {images} images cannot be scored:\n  {shown}{more}\nmend them; or --skip_broken scores the "
        "others, and says so wherever it shows a number"
    )
