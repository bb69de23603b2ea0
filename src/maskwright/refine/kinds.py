"""What the values of a mask mean, wherever it came from: as class probabilities, and back in its own form."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, Integer, UInt8
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax

from ..errors import ConfigError, DataError
from ..types import IGNORE_INDEX
from .inputs import TOLERANCE, check_same_size
from .shares import enlarged

MaskKind = Literal["auto", "labels", "binary", "probabilities", "logits"]

Smaller = Literal["refuse", "estimate", "shares"]
"""What to do with a mask smaller than its image. "estimate": it is enlarged, and its values may be wrong as others are.
"shares": they are the exact shares of the classes in each cell of the image, which the refined mask then has, too."""

HARD_PROBABILITY = 0.9
"""Probability that a hard mask's own class gets: certain enough to hold, not so certain that nothing can move it."""

FEWEST_GREYS = 16
"""8- or 16-bit integers are guessed to be probabilities where they have so many different values."""

OVERSHOOT = 0.1
"""Floats that leave [0, 1] by no more are guessed to be probabilities that interpolation spoilt, not logits."""

MOST_LABELS = 255
"""So many labels, 0 to 254, a mask may hold beside 255 = ignored."""


def guess_kind(
    values: NDArray[Any], *, num_classes: int | None = None, name: str = "mask"
) -> Literal["labels", "binary", "probabilities", "logits"]:
    """Tell what a mask holds.

    - floats: probabilities where they lie in [0, 1] or close to it, else logits;
    - several channels of bool or integers: probabilities;
    - bool: binary;
    - integers below `num_classes`, or any where there are more than two classes: labels;
    - 0 and 255 alone: binary;
    - uint8 or uint16 of 16 and more values: probabilities;
    - all else: labels.

    Args:
        values: (H, W) or (C, H, W), any dtype.
        num_classes: how many there are, where that is known.
        name: of the mask, for messages.

    Raises:
        DataError: integers that may be either labels or probabilities; floats that are no kind of mask.
    """
    if values.dtype.kind == "f":
        return _guess_float_kind(values, name)
    if values.dtype.kind == "b":
        return "binary" if _is_plane(values) else "probabilities"
    if not _is_plane(values):
        return "probabilities"
    distinct = np.unique(values)
    if num_classes is not None and (distinct[-1] < num_classes or num_classes > 2):
        return "labels"
    if set(distinct.tolist()) <= {0, 255}:
        return "binary"
    # A few values beyond the classes are wrong labels, which must not pass for small probabilities.
    if len(distinct) < FEWEST_GREYS or not _may_be_fractions(values):
        return "labels"
    largest = distinct[distinct != IGNORE_INDEX][-1]
    if num_classes is None and largest <= np.iinfo(values.dtype).max // 2:
        raise DataError(
            f"{name} holds {len(distinct)} different integers up to {largest}, which may be labels or faint "
            f"probabilities of {values.dtype}; say which kind it is"
        )
    return "probabilities"


def check_smaller(smaller: str) -> None:
    """Refuse what is no `Smaller`.

    Raises:
        ConfigError: it is none.
    """
    if smaller not in get_args(Smaller):
        raise ConfigError(f"unknown smaller {smaller!r}; expected one of {', '.join(get_args(Smaller))}")


def hard_probabilities(labels: Integer[np.ndarray, "h w"], num_classes: int) -> Float32[np.ndarray, "c h w"]:
    """Return `HARD_PROBABILITY` for the label of a pixel, and the rest in equal parts for the other classes.

    Args:
        labels: 0..C − 1.
        num_classes: C; a single class has the probability 1.
    """
    if num_classes == 1:
        return np.ones((1, *labels.shape), np.float32)
    probabilities = np.full((num_classes, *labels.shape), (1 - HARD_PROBABILITY) / (num_classes - 1), np.float32)
    np.put_along_axis(probabilities, labels[None].astype(np.int64), np.float32(HARD_PROBABILITY), axis=0)
    return probabilities


def to_logits(probabilities: Float32[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c h w"]:
    """Return logits whose sigmoid (C = 1) or softmax these are, from those of 0.001, or log 0.0001, on."""
    if len(probabilities) == 1:
        bounded: NDArray[np.float32] = logit(np.clip(probabilities, 1e-3, 1 - 1e-3))
        return bounded
    return np.log(np.maximum(probabilities, np.float32(1e-4)))


def binary_labels(values: NDArray[Any], *, name: str = "mask") -> Integer[np.ndarray, "h w"]:
    """Return 0 where a mask of 0 and one other value is 0, else 1.

    Raises:
        DataError: other values.
    """
    distinct = np.unique(values)
    if len(distinct) > 2 or (len(distinct) == 2 and distinct[0] != 0):
        raise DataError(f"{name} holds the values {distinct[:5].tolist()}; a binary mask has 0 and one other value")
    return (values != 0).astype(np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoarseMask:
    """A mask as class probabilities, which knows the way back to its own form.

    Attributes:
        values: as they came, (H, W) or (C, H, W).
        kind: what they mean, never "auto".
        probabilities: float32, (K, H, W), summing to 1. Soft masks of one channel and binary masks of both values have
            K = 2, background first; label maps one channel for each label that they hold.
        labels: the K stored values of a label map or binary mask; empty where the mask is soft.
    """

    values: NDArray[Any]
    kind: MaskKind
    probabilities: Float32[np.ndarray, "k h w"]
    labels: NDArray[Any]

    @classmethod
    def of(
        cls, values: NDArray[Any], *, kind: MaskKind = "auto", num_classes: int | None = None, name: str = "mask"
    ) -> "CoarseMask":
        """Read the values of a mask.

        A label map's label 255 is ignored: such pixels may be any class alike, and keep their label. Hard masks, and
        probabilities of 0 and 1 alone, are taken to be sure by `HARD_PROBABILITY`.

        Args:
            values: (H, W) or (1, H, W); or (C, H, W), probabilities or logits of classes. Bool, any integers or floats;
                integers that are probabilities are uint8 or uint16, where the largest possible value is 1.
            kind: what they mean; "auto" has `guess_kind` tell.
            num_classes: how many classes there are, where that is known.
            name: of the mask, for messages.

        Raises:
            ConfigError: an unknown kind.
            DataError: no mask of this kind.
        """
        if kind not in get_args(MaskKind):
            raise ConfigError(f"unknown kind of mask {kind!r}; expected one of {', '.join(get_args(MaskKind))}")
        if values.ndim not in (2, 3) or values.size == 0 or values.dtype.kind not in "biuf":
            raise DataError(
                f"{name} is {values.dtype} of shape {values.shape}; expected numbers (H, W), or (C, H, W) with the "
                "classes first"
            )
        if not np.isfinite(values).all():
            raise DataError(f"{name} holds {np.count_nonzero(~np.isfinite(values))} values that are NaN or infinite")
        kind = guess_kind(values, num_classes=num_classes, name=name) if kind == "auto" else kind
        labels = np.empty(0, values.dtype)
        if kind == "logits":
            probabilities = _from_logits(values, name)
        elif kind == "probabilities":
            probabilities = _from_fractions(values, name)
        else:
            probabilities, labels = _from_labels(values, kind, name)
        return cls(values=values, kind=kind, probabilities=probabilities, labels=labels)

    @property
    def ignored(self) -> Bool[np.ndarray, "h w"]:
        """Where a label map says that nobody knows."""
        if self.kind != "labels":
            return np.zeros(self.probabilities.shape[1:], np.bool_)
        return _plane(self.values) == IGNORE_INDEX

    def restored(self, refined: Float32[np.ndarray, "k h w"]) -> NDArray[Any]:
        """Return refined probabilities in the form of `values`: kind, shape, dtype and range.

        Pixels whose probabilities are as they were keep their values exactly.
        """
        changed = (refined != self.probabilities).any(0)
        if len(self.labels):
            changed &= ~self.ignored
        return np.where(changed, self._in_own_form(refined), self.values).astype(self.values.dtype)

    def at_size_of(
        self, image: UInt8[np.ndarray, "h w 3"], *, smaller: Smaller = "refuse", name: str = "mask"
    ) -> tuple["CoarseMask", Float32[np.ndarray, "k a b"] | None]:
        """Return the mask at its image's size, and the shares that a refined one shall have, or None.

        Args:
            image: RGB.
            smaller: what to do with a smaller mask; one of the image's size is itself, without shares.
            name: of the mask, for messages.

        Raises:
            ConfigError: an unknown `smaller`.
            DataError: a mask of another size that may not be enlarged, or that tells no shares.
        """
        check_smaller(smaller)
        own, size = self.probabilities.shape[1:], (image.shape[0], image.shape[1])
        fits = own[0] <= size[0] and own[1] <= size[1]
        if smaller == "refuse" or not fits:
            advice = "; a smaller mask is taken if smaller is set to estimate or shares" if fits else ""
            check_same_size(own, image, name=name, advice=advice)
        if own == size:
            return self, None
        shares = self.shares(name=name) if smaller == "shares" else None
        return self.enlarged(size), shares

    def enlarged(self, size: tuple[int, int]) -> "CoarseMask":
        """Return the mask at the size (height, width) of its image: probabilities bilinearly, ignored ones as cells."""
        probabilities = enlarged(self.probabilities, size)
        values = self._in_own_form(probabilities).astype(self.values.dtype)
        if self.ignored.any():
            rows, columns = (
                np.arange(side) * cells // side for side, cells in zip(size, self.ignored.shape, strict=True)
            )
            values[..., self.ignored[np.ix_(rows, columns)]] = IGNORE_INDEX
        return replace(self, values=values, probabilities=probabilities)

    def shares(self, *, name: str = "mask") -> Float32[np.ndarray, "k h w"]:
        """Return the probabilities as shares of the cells that the mask's pixels are: 0 and 1 are meant as they stand.

        Args:
            name: of the mask, for messages.

        Raises:
            DataError: a hard mask, which tells no shares.
        """
        if len(self.labels):
            raise DataError(
                f"{name} is of the kind {self.kind}, which tells no shares of the classes; expected probabilities or "
                "logits. Say the kind where it is one of these."
            )
        if self.kind == "probabilities" and _is_hard(self.values):
            return _one_hot(self.probabilities)
        return self.probabilities

    def _in_own_form(self, refined: Float32[np.ndarray, "k h w"]) -> NDArray[Any]:
        """Return probabilities of any size as what `values` hold, of a dtype that holds them all."""
        if len(self.labels):
            new = self.labels[refined.argmax(0)]
        else:
            if self.kind == "probabilities" and _is_hard(self.values):
                refined = _one_hot(refined)
            new = refined[1:] if _is_plane(self.values) else refined
            if self.kind == "logits":
                new = to_logits(new)
            elif self.values.dtype.kind in "iu":
                new = np.rint(new * _whole(self.values))
        return new.reshape(*self.values.shape[:-2], *refined.shape[1:])

    @property
    def _classes(self) -> NDArray[np.int64]:
        """The class of each label: of a binary mask 0 and 1, else the label itself."""
        return (self.labels != 0 if self.kind == "binary" else self.labels).astype(np.int64)

    def of_classes(self, num_classes: int, *, name: str = "mask") -> Float32[np.ndarray, "c h w"]:
        """Return probabilities of C ≥ 2 classes that are known, those that the mask does not hold included.

        Args:
            num_classes: C; labels are below it, and soft masks have C channels, or one where C = 2.
            name: of the mask, for messages.

        Raises:
            DataError: another number of channels; labels from C on.
        """
        if not len(self.labels):
            if len(self.probabilities) != num_classes:
                channels = 1 if _is_plane(self.values) else len(self.values)
                raise DataError(f"{name} has {channels} channel(s); expected {num_classes}, one for each class")
            return self.probabilities
        if self._classes[-1] >= num_classes:
            raise DataError(
                f"{name} holds label {self._classes[-1]}, expected 0..{num_classes - 1}; a mask of 0 and one other value "
                "is of the kind `binary`"
            )
        own = self._classes[self.probabilities.argmax(0)]
        return np.where(self.ignored, np.float32(1 / num_classes), hard_probabilities(own, num_classes))

    def own_channels(self, refined: Float32[np.ndarray, "c h w"]) -> Float32[np.ndarray, "k h w"]:
        """Return refined probabilities of C classes, see `of_classes`, as those of the labels that the mask holds."""
        if not len(self.labels):
            return refined
        own = refined[self._classes]
        return own / own.sum(0).clip(np.finfo(np.float32).tiny)

    def channels(self, refined: Float32[np.ndarray, "k h w"], *, name: str = "mask") -> Float32[np.ndarray, "c h w"]:
        """Return refined probabilities with the label as the index; C = 1 is the foreground, where there are two classes.

        Args:
            refined: (K, H, W).
            name: of the mask, for messages.

        Raises:
            DataError: labels beyond 254.
        """
        if not len(self.labels):
            return refined[1:] if _is_plane(self.values) else refined
        labels = self._classes
        if labels[-1] >= MOST_LABELS:
            raise DataError(f"{name} holds label {labels[-1]}; expected 0..{MOST_LABELS - 1}, or 255 = ignored")
        channels = np.zeros((max(int(labels[-1]) + 1, 2), *refined.shape[1:]), np.float32)
        channels[labels] = refined
        return channels[1:] if len(channels) == 2 else channels


def _guess_float_kind(values: NDArray[Any], name: str) -> Literal["probabilities", "logits"]:
    low, high = values.min(), values.max()
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return "probabilities"
    if low >= 0 and (values == np.rint(values)).all():
        raise DataError(
            f"{name} holds whole numbers from {low:g} to {high:g} as {values.dtype}, which seem to be neither "
            "probabilities nor logits; convert labels to integers, or say which kind it is"
        )
    return "logits"


def _from_logits(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    if values.dtype.kind != "f":
        raise DataError(f"{name} holds {values.dtype}; expected float logits. Is it a label map?")
    logits = values.astype(np.float64)
    if _is_plane(values):
        return _both(expit(_plane(logits)))
    probabilities: NDArray[np.float32] = softmax(logits, axis=0).astype(np.float32)
    return probabilities


def _from_fractions(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    if not _may_be_fractions(values):
        raise DataError(f"{name} holds {values.dtype}; expected probabilities as float, uint8 or uint16")
    if values.dtype.kind == "u" and values.max() == 1:
        raise DataError(f"{name} holds 0 and 1 of {_whole(values)}: labels. Divide class masks by their sum as floats.")
    fractions = values.astype(np.float32) / np.float32(_whole(values))
    low, high = fractions.min(), fractions.max()
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise DataError(f"{name} holds {low:g} to {high:g}; expected probabilities in 0..1. Are they logits?")
    fractions = np.clip(fractions, 0, 1)
    if _is_plane(values):
        fractions = _both(_plane(fractions))
    sums = fractions.sum(0)
    if np.abs(sums - 1).max() > TOLERANCE:
        raise DataError(
            f"{name} has {len(values)} channels that sum to {sums.min():.3g}..{sums.max():.3g} in a pixel; expected class "
            "probabilities that sum to 1, channels first: (C, H, W). Refine masks that overlap one by one."
        )
    if _is_hard(values):
        return hard_probabilities(fractions.argmax(0), len(fractions))
    return fractions / sums


def _from_labels(values: NDArray[Any], kind: MaskKind, name: str) -> tuple[Float32[np.ndarray, "k h w"], NDArray[Any]]:
    """Return the probabilities of a hard mask, and the stored value of each channel."""
    if not _is_plane(values):
        raise DataError(f"{name} has shape {values.shape}; expected (H, W) where the kind is {kind}")
    plane = _plane(values)
    if kind == "binary":
        indices = binary_labels(plane, name=name)
        labels = np.unique(plane)
        return hard_probabilities(indices, len(labels)), labels
    if plane.dtype.kind == "f":
        raise DataError(f"{name} holds {plane.dtype}; expected integer labels")
    labels = np.unique(plane)
    if labels[0] < 0:
        raise DataError(f"{name} holds label {labels[0]}; expected labels ≥ 0, or 255 = ignored")
    labels = labels[labels != IGNORE_INDEX] if (labels != IGNORE_INDEX).any() else np.zeros(1, plane.dtype)
    if len(labels) > MOST_LABELS:
        raise DataError(f"{name} holds {len(labels)} labels; expected at most {MOST_LABELS}. Refine a part of them.")
    probabilities = hard_probabilities(np.minimum(np.searchsorted(labels, plane), len(labels) - 1), len(labels))
    probabilities[:, plane == IGNORE_INDEX] = 1 / len(labels)
    return probabilities, labels


def _one_hot(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 for the most probable class, 0 for the others."""
    return (np.arange(len(probabilities))[:, None, None] == probabilities.argmax(0)).astype(np.float32)


def _is_plane(values: NDArray[Any]) -> bool:
    return values.ndim == 2 or len(values) == 1


def _plane(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(values.shape[-2:]) if _is_plane(values) else values


def _both(foreground: NDArray[Any]) -> NDArray[np.float32]:
    return np.stack((1 - foreground, foreground)).astype(np.float32)


def _may_be_fractions(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "bf" or (values.dtype.kind == "u" and values.dtype.itemsize <= 2)


def _whole(values: NDArray[Any]) -> int:
    """The stored value that stands for the probability 1."""
    return int(np.iinfo(values.dtype).max) if values.dtype.kind == "u" else 1


def _is_hard(values: NDArray[Any]) -> bool:
    return bool(np.isin(values, (0, _whole(values))).all())
