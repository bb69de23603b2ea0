"""Exact confusion counts of label maps, image by image, by the kernels of `ops.counting`.

All counts are int64 from the first pixel on. A sum kept in float32 stops growing at 2**24 = 16,777,216 pixels,
which 64 images of 512x512 reach. Maps on a GPU are counted there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import torch
from jaxtyping import Int64, Integer
from numpy.typing import NDArray
from torch import Tensor

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.distributed import in_turns, of_all_processes
from maskwright.types import IGNORE_INDEX, EvaluationResult

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

LabelMap = NDArray[np.integer[Any]] | NDArray[np.bool_] | Integer[Tensor, "h w"]
LabelMaps = NDArray[np.integer[Any]] | NDArray[np.bool_] | Integer[Tensor, "n h w"]
Labels = NDArray[Any]

MOST_CLASSES = 65_535
"""Classes that the pairs of labels have room for in 32 bits; their table alone would take 32 GiB."""

CELLS_AT_ONCE = 1 << 22
"""Pairs of labels, of all images together, that a meter holds tables of at once: 32 MiB."""

LABEL_MAP, LABEL_MAPS = "an integer label map (H, W)", "integer label maps (N, H, W)"
"""What is expected, in words."""

CPU = torch.device("cpu")

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
        int64, (C, C), exact; row = truth, column = prediction. Two tensors of one GPU are counted there.

    Raises:
        DataError: the maps differ in shape, are not two-dimensional or not integer, or hold a label that is no class.
        ConfigError: fewer than two classes, or more than 65,535.
    """
    counts, wrong = _counts(prediction, target, num_classes, ignore_index, LABEL_MAP)
    if wrong >= 0:
        raise _label_error(prediction, target, num_classes, ignore_index)
    return counts[0]


def count_stack(
    predictions: LabelMaps, targets: LabelMaps, num_classes: int, *, ignore_index: int = IGNORE_INDEX
) -> Int64[np.ndarray, "n c c"]:
    """Count the pixels of N images of one size at once, on all threads.

    Args:
        predictions: (N, H, W), otherwise as in `count`.
        targets: (N, H, W), otherwise as in `count`.
        num_classes: see `count`.
        ignore_index: see `count`.

    Returns:
        int64, (N, C, C): of each image what `count` gives.

    Raises:
        DataError: see `count`; of a label that is no class it says in which image it is.
        ConfigError: see `count`.
    """
    counts, wrong = _counts(predictions, targets, num_classes, ignore_index, LABEL_MAPS)
    if wrong >= 0:
        error = _label_error(predictions[wrong], targets[wrong], num_classes, ignore_index)
        raise DataError(f"image {wrong + 1} of {len(targets)}: {error}")
    return counts


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """One image: its pairs of labels, truth · C + prediction, in ascending order, and the pixels of each pair."""

    pairs: NDArray[np.uint32]
    pixels: NDArray[np.int64]
    ignored: int

    def equals(self, other: "_Counted") -> bool:
        return (
            self.ignored == other.ignored
            and np.array_equal(self.pairs, other.pairs)
            and np.array_equal(self.pixels, other.pixels)
        )


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
        # The pairs of each image, not their sum, so that an image that several processes scored can be counted once.
        self._images: dict[str, _Counted] = {}

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
        self._images |= _counted([name], confusion[None], np.shape(target))

    def update_many(self, names: Sequence[str], predictions: LabelMaps, targets: LabelMaps) -> None:
        """Add N images of one size, counted on all threads.

        Args:
            names: of the images, N.
            predictions: label maps, (N, H, W); see `count_stack`.
            targets: label maps, (N, H, W); see `count_stack`.

        Raises:
            DataError: see `update`, or there are not as many names as maps; the meter is then as it was.
        """
        if not len(names) == len(predictions) == len(targets):
            raise DataError(
                f"{len(names)} names came with {len(predictions)} predictions and {len(targets)} targets; give one of each "
                "for every image"
            )
        self._refuse_repeated(names)
        added: dict[str, _Counted] = {}
        at_once = max(1, CELLS_AT_ONCE // len(self.classes) ** 2)
        for first in range(0, len(names), at_once):
            part = slice(first, first + at_once)
            counts, wrong = _counts(predictions[part], targets[part], len(self.classes), self.ignore_index, LABEL_MAPS)
            if wrong >= 0:
                image = first + wrong
                error = _label_error(predictions[image], targets[image], len(self.classes), self.ignore_index)
                raise DataError(f"{names[image]}: {error}")
            added |= _counted(names[part], counts, np.shape(targets[part])[1:])
        self._images |= added

    def merge(self, other: "EvaluationMeter") -> None:
        """Add the images of another meter behind those of this one; the other stays as it is.

        Raises:
            DataError: the meters share an image, or differ in classes or ignored label.
        """
        self._refuse_other_settings(other)
        self._refuse_repeated(other._images)
        self._images |= other._images

    def gathered(self, group: Optional["ProcessGroup"] = None) -> "EvaluationMeter":
        """Return a meter of the images of all processes of `torch.distributed`, the same in each; all must call it.

        The images come in turns, one of each process: with a DistributedSampler that does not shuffle, in the order of
        the data set. Such samplers repeat images so that all processes get as many; those count once.

        Args:
            group: the processes; None is all of them. Where none were started, there are the images of this meter.

        Raises:
            DataError: processes counted different pixels under one name, or differ in classes or ignored label.
        """
        return joined(of_all_processes(self, group))

    def result(self) -> EvaluationResult:
        """The counts so far, in the order in which the images came; later updates do not change it."""
        images, classes = list(self._images.values()), len(self.classes)
        counts = np.zeros((len(images), 3, classes), dtype=np.int64)
        confusion = np.zeros(classes * classes, dtype=np.int64)
        if images:
            row = np.repeat(np.arange(len(images)), [image.pairs.size for image in images])
            pairs = np.concatenate([image.pairs for image in images]).astype(np.intp)
            pixels = np.concatenate([image.pixels for image in images])
            truth, predicted = np.divmod(pairs, classes)
            right = truth == predicted
            counts[row[right], 0, truth[right]] = pixels[right]
            np.add.at(counts.reshape(-1), (3 * row + 1) * classes + predicted, pixels)
            np.add.at(counts.reshape(-1), (3 * row + 2) * classes + truth, pixels)
            np.add.at(confusion, pairs, pixels)
        return EvaluationResult(
            classes=self.classes,
            names=tuple(self._images),
            counts=counts,
            confusion=confusion.reshape(classes, classes),
            ignored=np.array([image.ignored for image in images], dtype=np.int64),
        )

    def _refuse_other_settings(self, other: "EvaluationMeter") -> None:
        if (self.classes, self.ignore_index) != (other.classes, other.ignore_index):
            raise DataError(
                f"meters that merge must agree on classes and ignored label; got {self.classes}, {self.ignore_index} "
                f"and {other.classes}, {other.ignore_index}"
            )

    def _refuse_repeated(self, names: Iterable[str]) -> None:
        repeated, new = [], set[str]()
        for name in names:
            if name in self._images or name in new:
                repeated.append(name)
            new.add(name)
        if repeated:
            raise DataError(
                f"counted twice: {', '.join(repeated[:NAMES_SHOWN])}{' and more' * (len(repeated) > NAMES_SHOWN)}; "
                "score each image once, under a name of its own"
            )


def joined(meters: Sequence[EvaluationMeter]) -> EvaluationMeter:
    """One meter of the images of several, which come in turns, one of each; an image that came alike counts once.

    Raises:
        DataError: meters counted different pixels under one name, or differ in classes or ignored label.
    """
    together = EvaluationMeter(meters[0].classes, ignore_index=meters[0].ignore_index)
    for meter in meters:
        together._refuse_other_settings(meter)
    together._images = in_turns([meter._images for meter in meters], _Counted.equals)
    return together


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
    array = _on_host(labels)
    _refuse_other_kinds(array, role, LABEL_MAP, advice)
    return array


def _on_host(labels: LabelMap | LabelMaps) -> Labels:
    if isinstance(labels, Tensor):
        return labels.detach().cpu().numpy()
    try:
        return np.asarray(labels)
    except ValueError as error:
        raise DataError(f"label maps of one call must have one size; got a list of others ({error})") from error


def _refuse_other_kinds(labels: Labels | Tensor, role: str, expected: str, advice: str) -> None:
    """Raise DataError unless the labels are integers of the dimensions that `expected` ends with."""
    if isinstance(labels, Tensor):
        integer = not (labels.is_floating_point() or labels.is_complex())
    else:
        integer = labels.dtype.kind in "iub"
    if not integer or labels.ndim != expected.count(",") + 1:
        dtype = str(labels.dtype).removeprefix("torch.")
        raise DataError(f"the {role} is {dtype} of shape {tuple(labels.shape)}, expected {expected}; {advice}")


def _counts(
    prediction: LabelMap | LabelMaps, target: LabelMap | LabelMaps, num_classes: int, ignore_index: int, expected: str
) -> tuple[Int64[np.ndarray, "n c c"], int]:
    """What `joint_counts` gives for one image or a stack, whichever is `expected`; on the GPU that holds both."""
    # Imported at the first call: numba takes a moment, and much of the package does without it.
    from maskwright.ops.counting import joint_counts, joint_counts_on_device

    if not 2 <= num_classes <= MOST_CLASSES:
        bound = "at least 2, the background included" if num_classes < 2 else f"at most {MOST_CLASSES:,}"
        raise ConfigError(f"num_classes must be {bound}; got {num_classes}")
    if isinstance(prediction, Tensor) and isinstance(target, Tensor) and prediction.device == target.device != CPU:
        _refuse_misfits(prediction, target, expected)
        prediction, target = (labels if labels.ndim == 3 else labels[None] for labels in (prediction, target))
        return joint_counts_on_device(prediction, target, num_classes, ignore_index)
    predicted, truth = _on_host(prediction), _on_host(target)
    _refuse_misfits(predicted, truth, expected)
    predicted, truth = (labels if labels.ndim == 3 else labels[None] for labels in (predicted, truth))
    return joint_counts(predicted, truth, num_classes, ignore_index)


def _refuse_misfits(prediction: Labels | Tensor, target: Labels | Tensor, expected: str) -> None:
    for role, labels in (("prediction", prediction), ("target", target)):
        _refuse_other_kinds(labels, role, expected, "take the argmax of the logits over the classes")
    if tuple(prediction.shape) != tuple(target.shape):
        raise DataError(
            f"the prediction is {_size(prediction)} but the target is {_size(target)} (height x width); "
            "resize the logits to the image's own size before taking labels"
        )


def _size(labels: Labels | Tensor) -> str:
    return "x".join(map(str, labels.shape))


def _counted(names: Sequence[str], counts: Int64[np.ndarray, "n c c"], shape: Sequence[int]) -> dict[str, _Counted]:
    """The records of images of one shape (H, W) from their counts."""
    cells = counts.reshape(len(names), -1)
    image, pair = np.nonzero(cells)
    pairs, pixels = pair.astype(np.uint32), cells[image, pair]
    ignored = shape[0] * shape[1] - cells.sum(axis=1)
    bounds = np.searchsorted(image, np.arange(len(names) + 1)).tolist()
    return {
        name: _Counted(pairs[first:end], pixels[first:end], int(left_out))
        for name, first, end, left_out in zip(names, bounds[:-1], bounds[1:], ignored, strict=True)
    }


def _label_error(prediction: LabelMap, target: LabelMap, num_classes: int, ignore_index: int) -> DataError:
    """Says which labels of the two maps are no class, and how many pixels carry each."""
    # A bool cannot be compared with every label.
    predicted, truth = (labels * np.uint8(1) for labels in (_on_host(prediction), _on_host(target)))
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
