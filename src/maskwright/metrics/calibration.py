"""Calibration: whether pixels of which a model is 80 % sure are right in 80 % of the cases.

Expected and maximum calibration error of Guo et al. 2017, "On Calibration of Modern Neural Networks": pixels are sorted
by the probability of the predicted label into M = 15 bins of equal width, (0, 1/M], (1/M, 2/M], ...; ECE is the mean
over the pixels of the gap between a bin's accuracy and its mean confidence, MCE the largest gap of a bin that is not
empty. The Brier score (Brier 1950) needs no bins: the mean squared distance between probabilities and truth.

Departs from the paper in one thing: a confidence of 0, which a foreground probability can be, belongs to the first bin.
torchmetrics closes its bins on the other side and gives a probability of exactly 1 a bin of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.confusion import LabelMap, as_labels, count
from maskwright.types import IGNORE_INDEX

Probabilities = NDArray[np.floating[Any]] | Float[Tensor, "..."]
Confidence = Literal["top", "foreground"]

SUM_TOLERANCE = 0.05
"""How far probabilities of a pixel may add up to something else than 1: 21 classes in 8 bits reach 0.04."""

ROUNDING = 1e-6
"""How far a probability may lie outside of 0 … 1: resized in float32, a one becomes 1.0000001."""

PIXELS_AT_ONCE = 1 << 16
"""Pixels sorted in one go, to bound the memory beside the probabilities."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CalibrationResult:
    """How sure a model was, and how often it was right.

    Attributes:
        confidence_of: "top", the probability of the predicted label; "foreground", that of the foreground, whatever is
            predicted: then accuracy is the share of foreground.
        edges: of the bins, float64, (M + 1,), from 0 to 1; a bin holds its upper edge.
        pixels: in each bin, int64, (M,).
        confidence: mean of each bin, float64, (M,); nan where it is empty.
        accuracy: share of each bin's pixels that are right, float64, (M,); nan where it is empty.
        ece: expected calibration error, in [0, 1]; nan without pixels.
        mce: maximum calibration error, in [0, 1]; nan without pixels.
        brier: Brier score: the squared distance summed over the classes, in [0, 2], for maps with a channel per class;
            that of the foreground alone, in [0, 1], for foreground probabilities; nan without pixels.
    """

    confidence_of: Confidence
    edges: NDArray[np.float64]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    ece: float
    mce: float
    brier: float

    def as_dict(self) -> dict[str, Any]:
        """Every field as plain Python that JSON can hold; nan becomes None."""
        arrays = {name: getattr(self, name).tolist() for name in ("edges", "pixels", "confidence", "accuracy")}
        numbers = {name: getattr(self, name) for name in ("ece", "mce", "brier")}
        return {"confidence_of": self.confidence_of, **{k: _plain(v) for k, v in (arrays | numbers).items()}}


class CalibrationMeter:
    """Collects the reliability of probabilities image by image; counts are exact, order makes no difference to them.

    Args:
        num_classes: C, at least 2, the background included.
        bins: M, at least 1.
        confidence: "top", or with two classes "foreground"; see `CalibrationResult`.
        ignore_index: the label of pixels that are not scored.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        bins: int = 15,
        confidence: Confidence = "top",
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        if num_classes < 2:
            raise ConfigError(f"num_classes must be at least 2, the background included; got {num_classes}")
        if bins < 1:
            raise ConfigError(f"bins must be at least 1; got {bins}")
        if confidence not in ("top", "foreground"):
            raise ConfigError(f"confidence must be 'top' or 'foreground'; got {confidence!r}")
        if confidence == "foreground" and num_classes != 2:
            raise ConfigError(f"the confidence of the foreground needs two classes; got {num_classes}: use 'top'")
        self.num_classes = num_classes
        self.confidence: Confidence = confidence
        self.ignore_index = ignore_index
        self._edges = np.arange(bins + 1) / bins
        self._pixels = np.zeros(bins, dtype=np.int64)
        self._right = np.zeros(bins, dtype=np.int64)
        self._sure = np.zeros(bins, dtype=np.float64)
        self._squares = 0.0
        self._channels = 0

    def update(self, probabilities: Probabilities, target: LabelMap) -> None:
        """Add one image.

        Args:
            probabilities: float, in [0, 1], (C, H, W), adding up to 1 over the classes; or with two classes (H, W), that
                of the foreground. NumPy array or tensor. Where the target is ignored, any value is allowed.
            target: label map, (H, W); see `confusion.count`.

        Raises:
            DataError: the shapes differ, a value is no probability, or a label no class; the meter is then as it was.
        """
        truth = as_labels(target, "target")
        planes = self._planes(probabilities, truth)
        scored = truth.reshape(-1) != self.ignore_index
        values, labels = planes.reshape(len(planes), -1)[:, scored], truth.reshape(-1)[scored]
        self._check(values)
        predicted = _predicted(values)
        count(predicted[None], labels[None], self.num_classes, ignore_index=self.ignore_index)
        self._channels = len(planes)
        for start in range(0, labels.size, PIXELS_AT_ONCE):
            part = slice(start, start + PIXELS_AT_ONCE)
            self._add(values[:, part].astype(np.float64), predicted[part], labels[part].astype(np.intp))

    def merge(self, other: "CalibrationMeter") -> None:
        """Add the pixels of another meter; the other stays as it is.

        Raises:
            DataError: the meters count in different ways.
        """
        ways = [
            (meter.num_classes, len(meter._pixels), meter.confidence, meter.ignore_index) for meter in (self, other)
        ]
        kinds = {meter._channels for meter in (self, other)} - {0}
        if ways[0] != ways[1] or len(kinds) > 1:
            raise DataError(
                "meters that merge must agree on classes, bins, confidence, ignored label and the kind of probabilities; "
                f"got {ways[0]}, {self._channels} channels and {ways[1]}, {other._channels} channels"
            )
        self._channels = self._channels or other._channels
        self._pixels += other._pixels
        self._right += other._right
        self._sure += other._sure
        self._squares += other._squares

    def result(self) -> CalibrationResult:
        """The calibration so far; later updates do not change it."""
        total = int(self._pixels.sum())
        filled = self._pixels > 0
        confidence, accuracy = (
            np.divide(part, self._pixels, out=np.full(filled.shape, np.nan), where=filled)
            for part in (self._sure, self._right)
        )
        gaps = np.abs(accuracy - confidence)[filled]
        return CalibrationResult(
            confidence_of=self.confidence,
            edges=self._edges.copy(),
            pixels=self._pixels.copy(),
            confidence=confidence,
            accuracy=accuracy,
            ece=float((gaps * self._pixels[filled]).sum() / total) if total else np.nan,
            mce=float(gaps.max()) if total else np.nan,
            brier=self._squares / total if total else np.nan,
        )

    def _planes(self, probabilities: Probabilities, truth: NDArray[Any]) -> NDArray[np.floating[Any]]:
        """The probabilities as (C, H, W), or (1, H, W) of the foreground."""
        if isinstance(probabilities, Tensor):
            probabilities = probabilities.detach().cpu()
            # NumPy has no bfloat16, in which models run under autocast.
            probabilities = (probabilities.float() if probabilities.dtype == torch.bfloat16 else probabilities).numpy()
        array = np.asarray(probabilities)
        shapes: Sequence[tuple[int, ...]] = [(self.num_classes, *truth.shape)]
        if self.num_classes == 2:
            shapes = [*shapes, truth.shape, (1, *truth.shape)]
        if array.dtype.kind != "f" or array.shape not in shapes:
            raise DataError(
                f"the probabilities are {array.dtype} of shape {array.shape}, expected floats of shape "
                f"{' or '.join(map(str, shapes))} for a target of shape {truth.shape}"
            )
        planes = array if array.ndim == 3 else array[None]
        if self._channels not in (0, len(planes)):
            raise DataError(
                f"probabilities of {len(planes)} channels after such of {self._channels}: their Brier scores do not add "
                "up; give the foreground's alone, or one channel per class, throughout"
            )
        return planes

    def _check(self, values: NDArray[np.floating[Any]]) -> None:
        if values.size == 0:
            return
        if not (values.min() >= -ROUNDING and values.max() <= 1 + ROUNDING):
            raise DataError(
                f"the probabilities reach from {values.min():g} to {values.max():g}, expected 0 to 1; "
                "take the softmax or sigmoid of logits, and divide 8-bit maps by 255"
            )
        off = float(np.abs(values.sum(axis=0) - 1).max()) if len(values) > 1 else 0.0
        if off > SUM_TOLERANCE:
            raise DataError(
                f"the probabilities of a pixel add up to something else than 1 (off by {off:.3f}); take the softmax over "
                "the classes"
            )

    def _add(self, values: NDArray[np.float64], predicted: NDArray[np.intp], labels: NDArray[np.intp]) -> None:
        pixel = np.arange(labels.size)
        if len(values) == 1:
            foreground = values[0]
            self._squares += float(((foreground - labels) ** 2).sum())
        else:
            foreground = values[1]
            at_truth = values[labels, pixel]
            self._squares += float((values**2).sum() - 2 * at_truth.sum() + labels.size)
        if self.confidence == "foreground":
            sure, right = foreground, labels == 1
        else:
            top = np.maximum(foreground, 1 - foreground) if len(values) == 1 else values[predicted, pixel]
            sure, right = top, labels == predicted
        bins = len(self._pixels)
        index = np.maximum(np.searchsorted(self._edges[:-1], sure, side="left") - 1, 0)
        self._pixels += np.bincount(index, minlength=bins)
        self._right += np.bincount(index[right], minlength=bins)
        self._sure += np.bincount(index, weights=sure, minlength=bins)


def _predicted(values: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """The label of the highest probability, the lower one of equals, (P,) from (C, P) or (1, P)."""
    if len(values) == 1:
        return (values[0] > 0.5).astype(np.intp)
    return values.argmax(axis=0)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
