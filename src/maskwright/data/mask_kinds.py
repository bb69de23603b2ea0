"""What the masks of a folder mean, told from all of its files together by stated rules.

From all together, so that a soft mask that happens to hold 0 and 255 alone is not taken for a label map among soft masks:

- colours: classes by the colours of the class table; without such a table there is no reading;
- floats: what the `.npz` archive calls them; else probabilities where all lie in [0, 1] or close to it, else logits;
- integers that all name classes (of the truth also 255, ignored): labels;
- 0 and one other value, where there are two classes: binary; where nothing says how many classes there are, only 0 and
  255, or 0 and 65535;
- 8- or 16-bit integers of 16 and more values, where there are two classes: probabilities, the largest integer is 1;
- all other integers: labels.

Where two rules could apply, nothing is guessed: the error says which option decides.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from ..types import IGNORE_INDEX
from .any_mask import Contents, Kind, Stored

FEWEST_GREYS = 16
"""Integers are taken for probabilities where a folder has so many different values."""

LARGEST_16_BITS = 65535
"""White of a mask of 16 bits; of labels there are at most 255."""

OVERSHOOT = 0.1
"""Floats that leave [0, 1] by no more are probabilities that interpolation spoilt, not logits."""

SUM_TOLERANCE = 0.01
"""By how much the class probabilities of a pixel may miss 1."""


def kind_of(
    contents: Sequence[Contents],
    *,
    num_classes: int | None,
    truth: bool,
    folder: Path,
    option: str,
    kind: Kind = "auto",
    ignore: int | None = None,
) -> Kind:
    """Tell what the masks of one folder mean, by the module's rules; never "auto".

    Args:
        contents: of each file, at least one.
        num_classes: how many there are, where that is known.
        truth: whether they are true masks, in which 255 is ignored and probabilities must be asked for.
        folder: for messages.
        option: the option that decides, for messages.
        kind: what the user says; "auto" tells by the values.
        ignore: of the truth, a value besides 255 that the class table calls ignored.

    Raises:
        ConfigError: an unknown kind.
        DataError: files of different storage, values that the kind does not allow, or that may mean two things.
    """
    if kind not in get_args(Kind):
        raise ConfigError(f"unknown {option} {kind!r}; expected one of {', '.join(get_args(Kind))}")
    by_storage = {one.storage: one for one in contents}
    if "floats" in by_storage and len(by_storage) > 1:
        one, other = by_storage["floats"], next(one for one in contents if one.storage != "floats")
        raise DataError(
            f"{folder} holds floats ({one.path.name}) and {other.storage} ({other.path.name}); expected masks of one kind. "
            "Put them into folders of their own."
        )
    by_channels = {one.channels: one for one in contents}
    if len(by_channels) > 1:
        (few, one), (many, other), *_ = sorted(by_channels.items())
        raise DataError(
            f"{folder} holds masks of {few} channel(s) ({one.path.name}) and of {many} ({other.path.name}); expected the "
            "same number everywhere"
        )
    if "colours" in by_storage:
        _refuse_other(kind, ("colours",), by_storage["colours"], option)
        return "colours"
    if "floats" in by_storage:
        guessed = _float_kind(contents, folder, option) if kind == "auto" else kind
        _refuse_other(guessed, ("probabilities", "logits"), by_storage["floats"], option)
    else:
        ignored = {IGNORE_INDEX, ignore} if truth else set()
        guessed = kind
        if kind == "auto":
            guessed = (
                "labels" if ignore == IGNORE_INDEX else _integer_kind(contents, num_classes, ignored, folder, option)
            )
        _refuse_other(guessed, ("labels", "binary", "probabilities"), by_storage["integers"], option)
    if truth and kind == "auto" and guessed in ("probabilities", "logits"):
        raise DataError(
            f"{folder} holds {guessed}; expected true masks that say one class for each pixel. If it was meant so, "
            f"{option} {guessed} takes the more probable class."
        )
    return guessed


def probabilities_of(stored: Stored, kind: Kind, *, path: Path) -> Float32[np.ndarray, "c h w"]:
    """Return what a file of the kind "probabilities" or "logits" says: C = 1 is the foreground, else one per class.

    Raises:
        DataError: probabilities outside [0, 1], or that do not sum to 1; integers without a stated whole.
    """
    values = stored.values
    if stored.storage == "integers":
        if values.dtype not in (np.uint8, np.uint16):
            raise DataError(f"{path}: holds {values.dtype}; expected probabilities as float, uint8 or uint16")
        return (values[None] / np.float32(np.iinfo(values.dtype).max)).astype(np.float32)
    if kind == "logits":
        return _from_logits(values)
    low, high = float(values.min()), float(values.max())
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise DataError(f"{path}: holds {low:g} to {high:g}; expected probabilities in 0..1. Are they logits?")
    shares = values.clip(0, 1)
    if len(shares) > 1:
        sums = values.sum(axis=0)
        if np.abs(sums - 1).max() > SUM_TOLERANCE:
            raise DataError(
                f"{path}: {len(values)} channels that sum to {sums.min():.3g}..{sums.max():.3g} in a pixel; expected class "
                "probabilities that sum to 1. The kind `logits` takes the class of the largest value all the same."
            )
    return shares


def labels_of(stored: Stored, kind: Kind, *, path: Path) -> NDArray[np.uint8]:
    """Return the label map of a file of the kind "probabilities" or "logits": of one channel the foreground from 0.5, or
    logit 0, on; of two the second where it is at least as large; of more the largest.

    Raises:
        DataError: as `probabilities_of`.
    """
    # Logits are decided as they stand: close to 0 their sigmoid rounds to 0.5.
    channels = stored.values if kind == "logits" else probabilities_of(stored, kind, path=path)
    if len(channels) == 1:
        return (channels[0] >= (0 if kind == "logits" else 0.5)).astype(np.uint8)
    if len(channels) == 2:
        return (channels[1] >= channels[0]).astype(np.uint8)
    return channels.argmax(axis=0).astype(np.uint8)


def _from_logits(values: NDArray[Any]) -> NDArray[np.float32]:
    wide = values.astype(np.float64)
    if len(wide) == 1:
        # By the side of the sign, so that exp never overflows.
        small = np.exp(-np.abs(wide))
        return np.where(wide >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
    shares = np.exp(wide - wide.max(axis=0))
    return (shares / shares.sum(axis=0)).astype(np.float32)


def _float_kind(contents: Sequence[Contents], folder: Path, option: str) -> Kind:
    named = {one.named for one in contents}
    if len(named) == 1 and named != {"auto"}:
        return named.pop()
    low, high = min(one.low for one in contents), max(one.high for one in contents)
    single = contents[0].channels == 1
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        if single and low < 0 and high <= 0.5:
            raise DataError(
                f"{folder} holds floats from {low:g} to {high:g}, which may be faint probabilities or logits; say "
                f"{option} probabilities or {option} logits"
            )
        return "probabilities"
    if single and low >= 0 and all(one.whole for one in contents):
        raise DataError(
            f"{folder} holds whole numbers from {low:g} to {high:g} as floats, which may be labels or logits; save labels "
            f"as integers, or say {option} logits"
        )
    return "logits"


def _integer_kind(
    contents: Sequence[Contents], num_classes: int | None, ignored: set[int | None], folder: Path, option: str
) -> Kind:
    values = {value for one in contents for value in one.integers} - (ignored - {IGNORE_INDEX})
    labels = values - ignored
    if values == {IGNORE_INDEX} and num_classes in (None, 2):
        if ignored:
            raise DataError(
                f"{folder} holds nothing but 255, which may be ignored or the foreground; say {option} labels or {option} "
                "binary"
            )
        return "binary"
    if values in ({0, IGNORE_INDEX}, {0, LARGEST_16_BITS}):
        return "labels" if num_classes is not None and num_classes > 2 else "binary"
    if not labels or max(labels) <= 1 or (num_classes is not None and (num_classes > 2 or max(labels) < num_classes)):
        return "labels"
    if len(values) == 2 and 0 in values:
        if num_classes == 2:
            return "binary"
        other = max(values)
        raise DataError(
            f"{folder} holds 0 and {other} alone: {other} may be the foreground or the number of a class; say {option} "
            f"binary or {option} labels, or name the classes with --classes"
        )
    distinct = max(len(values), *(one.distinct for one in contents))
    whole = min(one.largest for one in contents)
    if distinct < FEWEST_GREYS or not whole:
        return "labels"
    top = max(value for value in values if value != IGNORE_INDEX)
    if top <= whole // 2:
        raise DataError(
            f"{folder} holds {distinct} different integers up to {top}, which may be labels or faint probabilities; say "
            f"{option} labels or {option} probabilities"
        )
    return "probabilities"


def _refuse_other(kind: Kind, expected: tuple[Kind, ...], one: Contents, option: str) -> None:
    if kind not in (*expected, "auto"):
        raise DataError(
            f"{one.path}: holds {one.storage}, which cannot be {kind}; expected {option} {' or '.join(expected)} for them"
        )
