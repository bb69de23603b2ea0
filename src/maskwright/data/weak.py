"""Weak labels in place of full masks: scribbles, points or boxes, `scribble:DIR`, `points:DIR`, `boxes:DIR`.

They become label maps in which 255 stands for unlabelled, so partial cross-entropy is all that training needs:

- scribbles are label maps already, one per image (Lin et al. 2016, "ScribbleSup");
- a point labels the disc around it (Bearman et al. 2016, "What's the Point");
- boxes say that everything outside them is background. Inside, the middle fifth of the area gets the box's label and the
  rest stays open: the rule Box^i of Khoreva et al. 2017, "Simple Does It". Of boxes that overlap, the smaller one is in
  front, as there.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from ..errors import ConfigError, DataError
from ..types import IGNORE_INDEX, Dataset, Sample, Splits
from .classes import ClassTable, load_classes
from .folder import first_ten
from .io import read_labels
from .naming import list_images
from .splits import Subset
from .tables import Row, read_rows, read_table

_LOG = logging.getLogger("maskwright")

POINT_RADIUS = 3.0
"""Radius in pixels of the disc that a point labels where its row says none."""

CERTAIN_SHARE = 0.2
"""Share of a box's area, in its middle, that gets the box's label (Khoreva et al. 2017)."""

BOX = ("x0", "y0", "x1", "y1", "label")
"""Columns of a table of boxes."""

SCRIBBLE_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
TABLE_SUFFIXES = (".csv", ".json")

ReadLabels = Callable[[str, tuple[int, int]], UInt8[np.ndarray, "h w"]]
"""From an image's name, height and width to its label map."""


class WeakDataset:
    """The images of `dataset` with weak labels in place of their truths; satisfies `Dataset`.

    Args:
        dataset: its truths are not looked at.
        read: gives the weak label map of an image.
    """

    def __init__(self, dataset: Dataset, read: ReadLabels) -> None:
        self.dataset = dataset
        self.read = read
        self.classes = dataset.classes
        self.names = dataset.names

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Read image and weak label.

        Raises:
            DataError: the label does not fit the image or the classes.
            ImageError: a file cannot be decoded.
        """
        sample = self.dataset[index]
        height, width = sample.image.shape[-2:]
        return replace(sample, target=torch.from_numpy(self.read(sample.name, (height, width))))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """Where the weak labels lie: which images have one, and how it is read."""

    names: frozenset[str]
    read: ReadLabels


def with_weak_labels(dataset: Dataset, labels: str) -> Dataset:
    """Return the images that have a weak label, with it; those without are left out and named in a warning.

    Args:
        dataset: the training part.
        labels: `scribble:DIR`, `points:DIR` or `boxes:DIR`; docs/weak_labels.md has the formats.

    Raises:
        ConfigError: another kind, or no folder named.
        DataError: no image has a label, no label shows a foreground, or a table cannot be used.
    """
    kind, root = parse_labels(labels)
    source = _SOURCES[kind](root, dataset.classes)
    kept = [i for i, name in enumerate(dataset.names) if name in source.names]
    missing = [name for name in dataset.names if name not in source.names]
    if missing:
        message = f"{root}: {len(missing)} of {len(dataset)} training images have no {kind} label: {first_ten(missing)}"
        if not kept:
            raise DataError(f"{message}. A label is found by the stem of its image, such as {missing[0]}.")
        _LOG.warning("%s; they are left out", message)
    weak = WeakDataset(Subset(dataset, kept) if missing else dataset, source.read)
    _require_foreground(weak, labels)
    return weak


def require_background(labels: str, splits: Splits) -> None:
    """Refuse boxes, outside which is background, where class 0 is a class like the others.

    Raises:
        ConfigError: such labels of such data.
    """
    if parse_labels(labels)[0] == "boxes" and not splits.background:
        raise ConfigError(
            f"data.labels is {labels!r}, but the data has no background to be outside of boxes, class 0 is "
            f"{splits.classes[0]!r}; use scribble:DIR or points:DIR"
        )


def parse_labels(labels: str) -> tuple[str, Path]:
    """Split `KIND:DIR`.

    Raises:
        ConfigError: unknown kind or no folder.
    """
    kind, _, path = labels.partition(":")
    if kind not in _SOURCES or not path:
        raise ConfigError(f"data.labels is {labels!r}; expected scribble:DIR, points:DIR or boxes:DIR")
    return kind, Path(path).expanduser()


def draw_points(points: Sequence[tuple[float, float, float, int]], shape: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Return the label map of discs; pixels on which discs of different labels meet stay unlabelled.

    Args:
        points: x, y, radius in pixels, label; (0, 0) is the middle of the pixel at the top left.
        shape: height, width.
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    labels = np.full(shape, IGNORE_INDEX, np.uint8)
    doubtful = np.zeros(shape, np.bool_)
    for x, y, radius, label in points:
        disc = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        disc[min(round(y), shape[0] - 1), min(round(x), shape[1] - 1)] = True  # however small the radius
        doubtful |= disc & (labels != IGNORE_INDEX) & (labels != label)
        labels[disc] = label
    labels[doubtful] = IGNORE_INDEX
    return labels


def draw_boxes(boxes: Sequence[tuple[float, float, float, float, int]], shape: tuple[int, int]) -> np.ndarray:
    """Return the label map of boxes by the rule in the module's docstring, uint8 (H, W).

    Args:
        boxes: x0, y0, x1, y1 in pixels, label; the pixels with x0 ≤ x < x1 and y0 ≤ y < y1.
        shape: height, width.
    """
    labels = np.zeros(shape, np.uint8)
    for x0, y0, x1, y1, label in sorted(boxes, key=lambda box: (box[0] - box[2]) * (box[3] - box[1])):
        labels[_window(y0, y1, shape[0]), _window(x0, x1, shape[1])] = IGNORE_INDEX
        margins = (1 - CERTAIN_SHARE**0.5) / 2 * np.array([x1 - x0, y1 - y0])
        inner = (x0 + margins[0], y0 + margins[1], x1 - margins[0], y1 - margins[1])
        labels[_window(inner[1], inner[3], shape[0]), _window(inner[0], inner[2], shape[1])] = label
    return labels


def _window(low: float, high: float, size: int) -> slice:
    """Return the pixels from `low` to `high`, at least one."""
    first = min(max(round(low), 0), size - 1)
    return slice(first, max(min(round(high), size), first + 1))


def _scribbles(root: Path, classes: Sequence[str]) -> _Source:
    _require_folder(root)
    paths = _by_stem(root, SCRIBBLE_SUFFIXES)
    table = load_classes(root / "classes.yaml")
    if table.names is not None and table.names != tuple(classes):
        raise DataError(
            f"{root / 'classes.yaml'}: names {list(table.names)}; the data has {list(classes)}. Remove them."
        )
    table = ClassTable(names=tuple(classes), ignore=table.ignore, binary_foreground=table.binary_foreground)

    def read(name: str, shape: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
        labels = table.encode(read_labels(paths[name]), path=paths[name])
        if labels.shape != shape:
            raise DataError(
                f"{paths[name]} is {labels.shape[1]} x {labels.shape[0]} pixels, its image {shape[1]} x {shape[0]}; "
                "expected the same width and height."
            )
        return labels

    return _Source(names=frozenset(paths), read=read)


def _points(root: Path, classes: Sequence[str]) -> _Source:
    rows_of, names = _rows_by_image(root, "points")

    def read(name: str, shape: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
        points = []
        for row in rows_of(name):
            x, y = row.number("x", -0.5, shape[1] - 0.5), row.number("y", -0.5, shape[0] - 0.5)
            radius = row.number("radius", 0, 1e6, default=POINT_RADIUS)
            points.append((x, y, radius, row.label(classes)))
        return draw_points(points, shape)

    return _Source(names=names, read=read)


def _boxes(root: Path, classes: Sequence[str]) -> _Source:
    rows_of, names = _rows_by_image(root, "boxes")

    def read(name: str, shape: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
        boxes = []
        for row in rows_of(name):
            if row.is_empty(BOX):  # the image is known to hold nothing
                continue
            x0, x1 = row.number("x0", 0, shape[1]), row.number("x1", 0, shape[1])
            y0, y1 = row.number("y0", 0, shape[0]), row.number("y1", 0, shape[0])
            label = row.label(classes)
            if x1 <= x0 or y1 <= y0 or label == 0:
                problem = "its label is the background" if label == 0 else "it holds no pixel"
                raise DataError(f"{row.where}: the box {x0:g}, {y0:g}, {x1:g}, {y1:g} of {name} is none: {problem}.")
            boxes.append((x0, y0, x1, y1, label))
        return draw_boxes(boxes, shape)

    return _Source(names=names, read=read)


_SOURCES: Mapping[str, Callable[[Path, Sequence[str]], _Source]] = {
    "scribble": _scribbles,
    "points": _points,
    "boxes": _boxes,
}


def _rows_by_image(root: Path, kind: str) -> tuple[Callable[[str], Sequence[Row]], frozenset[str]]:
    """Return what gives the rows of an image, and the images that have some: of one table, or of one file each."""
    tables = (
        [root] if root.is_file() else [root / f"{kind}{s}" for s in TABLE_SUFFIXES if (root / f"{kind}{s}").is_file()]
    )
    if len(tables) > 1:
        raise DataError(
            f"{root} has both {tables[0].name} and {tables[1].name}; expected one of them. Remove the other."
        )
    if tables:
        grouped = read_table(tables[0])
        return grouped.__getitem__, frozenset(grouped)
    _require_folder(root)
    paths = _by_stem(root, TABLE_SUFFIXES)
    return lambda name: read_rows(paths[name]), frozenset(paths)


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected the weak labels of data.labels there.")


def _by_stem(root: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for path in list_images(root, suffixes=frozenset(suffixes)):
        if path.stem in paths:
            raise DataError(f"{root}: {paths[path.stem].name} and {path.name} label the same image; remove one.")
        paths[path.stem] = path
    return paths


def _require_foreground(weak: WeakDataset, labels: str) -> None:
    """Read labels until one shows a foreground: without any, all pictures would become background."""
    for index in range(len(weak)):
        target = weak[index].target
        assert target is not None
        if ((target > 0) & (target != IGNORE_INDEX)).any():
            return
    remedy = (
        " If 255 is the foreground there and another value means unlabelled, write `binary_foreground: 255` into a "
        "classes.yaml beside them."
        if labels.startswith("scribble")
        else ""
    )
    raise DataError(
        f"data.labels {labels}: the labels of {len(weak)} images hold no class but {weak.classes[0]!r} and 255 "
        f"(unlabelled); expected some of {', '.join(weak.classes[1:])}.{remedy}"
    )
