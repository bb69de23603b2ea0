"""Writing a set of annotations as another format: pictures linked or copied, label maps outlined, tables at the end."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ...errors import DataError, MaskwrightError
from ...files import atomic_write, link_or_copy, write_text
from ...types import IGNORE_INDEX
from ..classes import ClassNames
from ..decode import read_size, suffix_of
from ..io import read_image, write_picture
from .outlines import Region, regions_of
from .record import Annotated, AnnotationSet, Labels, Layout, Target, Written
from .sources import IGNORE_CLASS, is_background

_KEPT = frozenset({".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Suffixes of pictures that every tool reads; others become PNG."""

_LONGEST_NAME = 100
"""Characters of a class name."""


Read: TypeAlias = Callable[[Path, Path | None, ClassNames | None], AnnotationSet]
"""Reads a file or folder. Takes the path, the folder of the images where they do not lie beside it, and the class names (the
background first or left out) where their order is not to be the source's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One annotation format.

    Attributes:
        name: as `maskwright convert` takes it.
        title: as people call it.
        recognise: whether a file or folder looks like it; looks at few files, and at the first kilobytes of these.
        read: see `Read`; raises DataError where nothing can be read.
        layout: how it is written.
    """

    name: str
    title: str
    recognise: Callable[[Path], bool]
    read: Read
    layout: Layout

    def write(
        self, annotations: AnnotationSet, out: Path, *, copy: bool = False, done: Callable[[], None] = lambda: None
    ) -> list[str]:
        """Write all images, past failures; what is there already is kept, but for the tables.

        Args:
            annotations: what was read; its notes get what this format cannot hold.
            out: the folder.
            copy: copy the pictures; otherwise they are linked (hard links) where the disk allows it.
            done: is called after each image.

        Returns:
            What failed, in words; empty where all is written.

        Raises:
            DataError: there is no label left for the background that the format needs.
            WriteError: a table cannot be written.
        """
        if not self.layout.any_first and not is_background(annotations.classes[0]):
            annotations = _behind_background(annotations)
        if not self.layout.any_first:
            annotations = _with_plain_names(annotations)
        target = Target(
            out=out,
            classes=annotations.classes,
            colours=annotations.colours,
            parts=self.layout.fold(frozenset(item.part for item in annotations.items)),
            notes=annotations.notes,
        )
        written, failures = [], []
        for item in annotations.items:
            try:
                written.append((item, _write_one(item, self.layout, target, copy=copy)))
            except MaskwrightError as error:
                failures.append(f"{item.name}: {error}")
            except MemoryError:
                failures.append(f"{item.name}: out of memory for its {item.width} x {item.height} pixels")
            done()
        if written:
            self.layout.finish(written, target)
        return failures


def _behind_background(annotations: AnnotationSet) -> AnnotationSet:
    """Return the set with a background before its first class, which is one like the others."""
    classes = ("background", *annotations.classes)
    if len(classes) > IGNORE_INDEX:
        raise DataError(f"{len(classes) - 1} classes without a background leave no label for one; write it as a folder")
    black = (0, 0, 0)
    colours = annotations.colours
    colours = None if colours is None or black in colours else (black, *colours)
    items = tuple(replace(item, labels=partial(_moved_up, item.labels)) for item in annotations.items)
    return replace(annotations, classes=classes, colours=colours, items=items)


def _with_plain_names(annotations: AnnotationSet) -> AnnotationSet:
    """Return the set with class names that lists of lines and XML hold, and that mean no other class to the readers."""
    classes = _plain_names(annotations.classes)
    for name, plain in zip(annotations.classes, classes, strict=True):
        if name != plain:
            annotations.notes.append(f"the class {name!r:.{_LONGEST_NAME}} is called {plain!r} here")
    return replace(annotations, classes=classes)


def _plain_names(names: Sequence[str]) -> tuple[str, ...]:
    taken: list[str] = []
    for name in names:
        # Control characters and what XML forbids; "#" begins a comment in lists of names.
        text = " ".join(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]", " ", name).split()).lstrip("# ")
        plain = text[:_LONGEST_NAME].strip() or "class"
        number, one = 1, plain
        while one in taken or one == IGNORE_CLASS or (taken and is_background(one)):
            number += 1
            one = f"{plain}_{number}"
        taken.append(one)
    return tuple(taken)


def _moved_up(draw: Callable[[], Labels]) -> Labels:
    labels = draw()
    return np.where(labels == IGNORE_INDEX, labels, labels + np.uint8(1))


def _write_one(item: Annotated, layout: Layout, target: Target, *, copy: bool) -> object:
    part = target.part(item)
    if layout.file is not None and (target.out / layout.file(part, item.name)).exists():
        return None
    if layout.needs_picture and item.image is None and item.embedded is None:
        raise DataError("its picture was not found; name the folder of the pictures with --images")
    labels = item.labels()
    if labels.shape != (item.height, item.width):
        raise DataError(
            f"its mask is {labels.shape[1]} x {labels.shape[0]} pixels; expected {item.width} x {item.height}"
        )
    image = _place_image(item, target.out, layout.images(part), copy=copy)
    return layout.one(Written(item=item, image=image, labels=labels), target.out, target)


def _place_image(item: Annotated, out: Path, folder: Path, *, copy: bool) -> Path | None:
    """Put the picture into its folder, and return its place below `out`."""
    if item.image is None:
        return _write_embedded(item, out, folder)
    size = read_size(item.image)
    if size != (item.height, item.width):
        turned = (
            " They fit when one is turned: EXIF orientation is applied." if size == (item.width, item.height) else ""
        )
        raise DataError(
            f"{item.image} is {size[1]} x {size[0]} pixels, its annotation {item.width} x {item.height}; expected the same "
            f"width and height.{turned}"
        )
    suffix = item.image.suffix.lower()
    if suffix not in _KEPT:
        place = folder / f"{item.name}.png"
        if not (out / place).exists():
            write_picture(out / place, read_image(item.image))
        return place
    place = folder / f"{item.name}{suffix}"
    if not (out / place).exists():
        link_or_copy(item.image, out / place, copy=copy)
    return place


def _write_embedded(item: Annotated, out: Path, folder: Path) -> Path | None:
    if item.embedded is None:
        return None
    content = item.embedded()
    suffix = suffix_of(content)
    if not suffix:
        raise DataError(f"the picture inside its annotation begins with {content[:8]!r}, which is no known picture")
    place = folder / f"{item.name}{suffix}"
    with atomic_write(out / place) as stream:
        stream.write(content)
    return place


def named_regions(labels: Labels, target: Target) -> list[tuple[str, Region]]:
    """Return the regions of a label map with the names of their classes, ignored ones as `IGNORE_CLASS`."""
    names = dict(enumerate(target.classes))
    return [(names.get(region.label, IGNORE_CLASS), region) for region in regions_of(labels)]


def write_compact(path: Path, obj: object) -> None:
    """Write JSON in one line, atomically: coordinates would else take a line each."""
    write_text(path, json.dumps(obj, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")


def write_class_list(written: Sequence[tuple[Annotated, object]], target: Target) -> None:
    """Write the names of the classes, that of ignored pixels first, to `labels.txt`, as labelme reads them."""
    lines = [IGNORE_CLASS, *target.classes]
    write_text(target.out / "labels.txt", "\n".join(lines) + "\n")
