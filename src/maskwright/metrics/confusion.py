"""Exact confusion counts of label maps, one image at a time.

All counts are int64 from the first pixel on. A sum kept in float32 stops growing at 2**24 = 16,777,216 pixels,
which 64 images of 512x512 reach.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer
from numpy.typing import NDArray
from torch import Tensor

from maskwright.errors import ConfigError, DataError
from maskwright.types import IGNORE_INDEX, EvaluationResult

LabelMap = NDArray[np.integer[Any]] | NDArray[np.bool_] | Integer[Tensor, "h w"]
Labels = NDArray[Any]

PIXELS_AT_ONCE = 1 << 16
"""Pixels counted in one go. Their int64 codes fit the cache and the allocator reuses them: 4x faster than 1 << 18."""

LABELS_SHOWN = NAMES_SHOWN = 8
"""Unexpected labels, or names, that an error message lists."""


def count(
    prediction: LabelMap, target: LabelMap, num_classes: int, *, ignore_index: int = IGNORE_INDEX
) -> NDArray[np.int64]:
    """Count the pixels of one image by [truth, prediction].

    Args:
        prediction: labels 0..num_classes-1, any integer type or bool, (H, W), NumPy array or tensor on any device.
            Where the target is ignored, any value is allowed.
        target: the truth, like `prediction`, and `ignore_index` where no pixel is to be scored.
        num_classes: C, at least 2, the background included.
        ignore_index: the label in `target` that is left out.

    Returns:
        int64, (C, C), exact; row = truth, column = prediction.

    Raises:
        DataError: the maps differ in shape, are not two-dimensional or not integer, or hold a label that is no class.
        ConfigError: fewer than two classes.
    """
    if num_classes < 2:
        raise ConfigError(f"num_classes must be at least 2, the background included; got {num_classes}")
    predicted, truth = as_labels(prediction, "prediction"), as_labels(target, "target")
    if predicted.shape != truth.shape:
        raise DataError(
            f"the prediction is {_size(predicted)} but the target is {_size(truth)} (height x width); "
            "resize the logits to the image's own size before taking labels"
        )
    counts = np.zeros(num_classes * num_classes, dtype=np.int64)
    for predicted_part, truth_part in _scored_parts(predicted.reshape(-1), truth.reshape(-1), ignore_index):
        if _has_other_labels(predicted_part, num_classes) or _has_other_labels(truth_part, num_classes):
            raise _label_error(predicted, truth, num_classes, ignore_index)
        cell = truth_part.astype(np.intp)
        cell *= num_classes
        cell += predicted_part.astype(np.intp, copy=False)
        counts += np.bincount(cell, minlength=counts.size)
    return counts.reshape(num_classes, num_classes)


class EvaluationMeter:
    """Collects the counts of a data set image by image; the order and the batches make no difference.

    Args:
        classes: class names, index = label, at least two; class 0 is the background.
        ignore_index: the label of pixels that are not scored.
    """

    def __init__(self, classes: Sequence[str], *, ignore_index: int = IGNORE_INDEX) -> None:
        if len(classes) < 2:
            raise ConfigError(f"classes must name at least 2, the background included; got {tuple(classes)}")
        self.classes = tuple(classes)
        self.ignore_index = ignore_index
        self._confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
        self._counts: dict[str, NDArray[np.int64]] = {}
        self._ignored: dict[str, int] = {}

    def update(self, name: str, prediction: LabelMap, target: LabelMap) -> None:
        """Add one image.

        Args:
            name: of the image; each may come once, for an image counted twice would weigh twice.
            prediction: label map, (H, W); see `count`.
            target: label map, (H, W); see `count`.

        Raises:
            DataError: the name was there before, or the maps do not fit; the meter is then as it was.
        """
        self._refuse_repeated([name])
        try:
            confusion = count(prediction, target, len(self.classes), ignore_index=self.ignore_index)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        self._confusion += confusion
        self._counts[name] = np.stack([confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)])
        self._ignored[name] = int(np.prod(target.shape)) - int(confusion.sum())

    def merge(self, other: "EvaluationMeter") -> None:
        """Add the images of another meter behind those of this one; the other stays as it is.

        Raises:
            DataError: the meters share an image, or differ in classes or ignored label.
        """
        if (self.classes, self.ignore_index) != (other.classes, other.ignore_index):
            raise DataError(
                f"meters that merge must agree on classes and ignored label; got {self.classes}, {self.ignore_index} "
                f"and {other.classes}, {other.ignore_index}"
            )
        self._refuse_repeated(other._counts)
        self._confusion += other._confusion
        self._counts |= other._counts
        self._ignored |= other._ignored

    def result(self) -> EvaluationResult:
        """The counts so far, in the order in which the images came; later updates do not change it."""
        counts = np.zeros((len(self._counts), 3, len(self.classes)), dtype=np.int64)
        for row, image_counts in zip(counts, self._counts.values(), strict=True):
            row[...] = image_counts
        return EvaluationResult(
            classes=self.classes,
            names=tuple(self._counts),
            counts=counts,
            confusion=self._confusion.copy(),
            ignored=np.array(list(self._ignored.values()), dtype=np.int64),
        )

    def _refuse_repeated(self, names: Iterable[str]) -> None:
        repeated = [name for name in names if name in self._counts]
        if repeated:
            raise DataError(
                f"counted twice: {', '.join(repeated[:NAMES_SHOWN])}{' and more' * (len(repeated) > NAMES_SHOWN)}; "
                "score each image once, under a name of its own"
            )


def as_labels(
    labels: LabelMap,
    role: str,
    *,
    advice: str = "take the argmax of the logits over the classes, one image at a time",
) -> Labels:
    """Return the label map as an array (H, W).

    Raises:
        DataError: it is not two-dimensional or not integer; `role` says which map, `advice` what to do.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim != 2 or array.dtype.kind not in "iub":
        raise DataError(
            f"the {role} is {array.dtype} of shape {array.shape}, expected an integer label map (H, W); {advice}"
        )
    return array


def _size(labels: Labels) -> str:
    return "x".join(map(str, labels.shape))


def _scored_parts(predicted: Labels, truth: Labels, ignore_index: int) -> Iterator[tuple[Labels, Labels]]:
    """The scored pixels of both flattened maps, in equally long, never empty parts."""
    for start in range(0, truth.size, PIXELS_AT_ONCE):
        part = slice(start, start + PIXELS_AT_ONCE)
        scored = truth[part] != ignore_index
        if scored.any():
            yield predicted[part][scored], truth[part][scored]


def _has_other_labels(labels: Labels, num_classes: int) -> bool:
    return bool(labels.min() < 0 or labels.max() >= num_classes)


def _label_error(predicted: Labels, truth: Labels, num_classes: int, ignore_index: int) -> DataError:
    """Says which labels of the two maps are no class, and how many pixels carry each."""
    scored = truth != ignore_index
    faults = []
    for role, labels in (("target", truth), ("prediction", predicted)):
        values, pixels = np.unique(labels[scored & ((labels < 0) | (labels >= num_classes))], return_counts=True)
        if values.size:
            listed = ", ".join(f"{v} ({n} px)" for v, n in zip(values[:LABELS_SHOWN], pixels, strict=False))
            more = f" and {values.size - LABELS_SHOWN} labels more" if values.size > LABELS_SHOWN else ""
            faults.append(f"the {role} holds {listed}{more}")
    return DataError(
        f"{'; '.join(faults)}; expected 0..{num_classes - 1}, in the target also {ignore_index} = ignored; "
        "name all classes, or check how the masks are encoded"
    )
