"""Masks of any tool: what a file stores, before anybody says what its values mean (that is `mask_kinds`).

A file stores integers (H, W), floats (C, H, W), or colours (H, W, 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ImageError
from ..ops.counting import value_counts
from .colours import Colour, labels_of_colours
from .decode import load_array, named_failures
from .io import read_colours, read_labels, read_probabilities

Kind = Literal["auto", "labels", "binary", "colours", "probabilities", "logits"]
Storage = Literal["integers", "floats", "colours"]

MASK_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".npz", ".png", ".tif", ".tiff", ".webp"})
"""Lower-case suffixes that are listed as masks."""

VALUES_KEPT = 300
"""Different integers of a file that are kept in memory; more are counted only."""

_ARCHIVE_KINDS: dict[str, Kind] = {
    "probabilities": "probabilities",
    "probs": "probabilities",
    "softmax": "probabilities",
    "logits": "logits",
    "labels": "labels",
}
"""Name of an array in an archive → what it holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What one file stores.

    Attributes:
        storage: integers (H, W), floats (C, H, W), or colours: uint8 (H, W, 3).
        values: so.
        named: what an archive calls them; "auto" where nothing does.
    """

    storage: Storage
    values: NDArray[Any]
    named: Kind = "auto"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.values.shape[:2] if self.storage == "colours" else self.values.shape[-2:]
        return height, width


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What is kept of a file that was looked at.

    Attributes:
        path: the file.
        storage, size, named: as `Stored` says.
        channels: of floats; else 1.
        integers: different values, ascending, of integers; at most VALUES_KEPT, the largest among them.
        distinct: how many there are.
        largest: the greatest value that the integers' type holds where it is 255 or 65535; else 0.
        low, high: least and greatest value.
        whole: whether all floats are whole numbers.
    """

    path: Path
    storage: Storage
    size: tuple[int, int]
    named: Kind
    channels: int
    integers: tuple[int, ...]
    distinct: int
    largest: int
    low: float
    high: float
    whole: bool


def read_stored(
    path: Path,
    *,
    like: tuple[int, int] | None = None,
    num_classes: int | None = None,
    colours: Sequence[Colour] = (),
    ignore: Sequence[Colour] = (),
) -> Stored:
    """Read what a mask file stores.

    Arrays of three axes are (C, H, W) or (H, W, C): the one that agrees with `like`, else with `num_classes`, else the one
    whose classes are the shortest axis. Class masks of 0 and 1 become labels. A palette picture gives its indices, or its
    colours where each of them is one of `colours` or `ignore`.

    Args:
        path: PNG, TIFF, BMP, GIF, JPEG or WebP (lossy ones as probabilities alone), `.npy` or `.npz`.
        like: height and width that the mask should have.
        num_classes: how many there are, where that is known.
        colours: of the classes; colour pictures are refused without any.
        ignore: colours of ignored pixels.

    Raises:
        ImageError: not readable; in colours that nothing explains.
        DataError: NaN, infinite values, or a shape that is no mask's.
    """
    if path.suffix.lower() in (".npy", ".npz"):
        return _stored_array(path, like, num_classes)
    if colours:
        rgb = read_colours(path)
        if rgb is None and (shown := read_colours(path, palette=True)) is not None:
            rgb = shown if not labels_of_colours(shown, colours, ignore=ignore)[1] else None
        if rgb is not None:
            return Stored(storage="colours", values=rgb)
    try:
        return Stored(storage="integers", values=read_labels(path))
    except ImageError as error:
        # Floats of a TIFF, and lossy pictures, are no labels, but may be probabilities.
        try:
            return Stored(storage="floats", values=read_probabilities(path))
        except (ImageError, DataError):
            raise error from None


def contents_of(stored: Stored, path: Path) -> Contents:
    """Return what is kept of a file."""
    values = stored.values
    integers: tuple[int, ...] = ()
    distinct, largest = 0, 0
    if stored.storage == "integers":
        found, _ = value_counts(values)
        kept = found if len(found) <= VALUES_KEPT else np.append(found[: VALUES_KEPT - 1], found[-1])
        integers, distinct = tuple(int(value) for value in kept), len(found)
        largest = int(np.iinfo(values.dtype).max) if values.dtype in (np.uint8, np.uint16) else 0
    floats = stored.storage == "floats"
    return Contents(
        path=path,
        storage=stored.storage,
        size=stored.size,
        named=stored.named,
        channels=len(values) if floats else 1,
        integers=integers,
        distinct=distinct,
        largest=largest,
        low=float(values.min()),
        high=float(values.max()),
        whole=floats and bool((values == np.rint(values)).all()),
    )


def _stored_array(path: Path, like: tuple[int, int] | None, num_classes: int | None) -> Stored:
    named: Kind = "auto"
    key = "labels"
    with named_failures(path):
        if path.suffix.lower() == ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                known = [name for name in archive.files if name in _ARCHIVE_KINDS]
            # nnU-Net and others keep several things in one archive; the softest that is known says most.
            key = next((name for name in _ARCHIVE_KINDS if name in known), "labels")
            named = _ARCHIVE_KINDS[key] if key in known else "auto"
        array = load_array(path, key=key)
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise DataError(f"{path}: holds {array.dtype} of shape {array.shape}; expected numbers (H, W) or (C, H, W)")
    if not np.isfinite(array).all():
        raise DataError(
            f"{path}: {np.count_nonzero(~np.isfinite(array))} of {array.size} values are NaN or infinite; expected finite "
            "ones. Mend them where they are made."
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    array = _three_axes(path, array)
    if array.dtype.kind == "f":
        return Stored(
            storage="floats", values=_channels_first(path, array, like, num_classes).astype(np.float32), named=named
        )
    if array.ndim == 2 or 1 in (array.shape[0], array.shape[2]):
        return Stored(storage="integers", values=_channels_first(path, array, like, 1)[0], named=named)
    return _stored_channels(path, array, like, num_classes)


def _stored_channels(path: Path, array: NDArray[Any], like: tuple[int, int] | None, num_classes: int | None) -> Stored:
    """Return integers of several channels: class masks of 0 and 1 as labels, (H, W, 3) of 8 bits as colours."""
    if array.max() <= 1 and array.min() >= 0:
        planes = _channels_first(path, array, like, num_classes)
        if (planes.sum(axis=0) == 1).all():
            return Stored(storage="integers", values=planes.argmax(axis=0).astype(np.uint8))
    if array.dtype == np.uint8 and array.shape[2] == 3 and (like is None or array.shape[:2] == like):
        return Stored(storage="colours", values=array)
    raise DataError(
        f"{path}: holds {array.dtype} of shape {array.shape}; expected labels (H, W), class masks of 0 and 1 of which each "
        "pixel has one, or float probabilities (C, H, W)"
    )


def _three_axes(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """Leave out axes of length 1 until there are three at most."""
    while array.ndim > 3 and 1 in array.shape:
        array = array.squeeze(axis=array.shape.index(1))
    if array.ndim not in (2, 3):
        raise DataError(f"{path}: has shape {array.shape}; expected (H, W), (C, H, W) or (H, W, C)")
    return array


def _channels_first(
    path: Path, array: NDArray[Any], like: tuple[int, int] | None, num_classes: int | None
) -> NDArray[Any]:
    if array.ndim == 2:
        return array[None]
    shape = array.shape
    first = np.array([shape[1:] == like, shape[0] in (1, num_classes), shape[0] < min(shape[1:])])
    last = np.array([shape[:2] == like, shape[2] in (1, num_classes), shape[2] < min(shape[:2])])
    telling = np.flatnonzero(first != last)
    if len(telling) == 0:
        raise DataError(
            f"{path}: has shape {shape}, which may be (C, H, W) or (H, W, C); write the classes first, at the size of the "
            "true mask"
        )
    return array if first[telling[0]] else np.moveaxis(array, 2, 0)
