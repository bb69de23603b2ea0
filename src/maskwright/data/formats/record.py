"""What every annotation format is read into and written from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from ..colours import Colour

Labels: TypeAlias = UInt8[np.ndarray, "h w"]
"""A label map: 0 = background, 255 = ignored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotated:
    """One annotated image.

    Attributes:
        name: unique within its set in any case of letters, and safe as a file's stem.
        image: the picture; None where it was not found.
        height: of the upright picture, pixels, as the annotation says.
        width: likewise.
        part: "train", "val", "test", or "" where the source does not say.
        labels: draws or reads the label map (height, width); raises ImageError or DataError where that cannot be done.
        embedded: gives the picture's bytes where the annotation holds them and there is no file.
    """

    name: str
    image: Path | None
    height: int
    width: int
    part: str
    labels: Callable[[], Labels]
    embedded: Callable[[], bytes] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotationSet:
    """All that a source holds.

    Attributes:
        format: name of the format that it was read from.
        classes: index = label, the background first, then in the source's own order.
        colours: RGB of the classes; None where the source has none.
        items: the annotated images, in the source's order.
        notes: what is odd, with its file: shapes that were left out, missing images, and so on. Drawing label maps adds
            overlaps of different classes.
        broken: files that could not be read at all, and why.
    """

    format: str
    classes: tuple[str, ...]
    colours: tuple[Colour, ...] | None
    items: tuple[Annotated, ...]
    notes: list[str]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """One image on its way out.

    Attributes:
        item: what was read.
        image: the picture's new place below the folder that is written; None where there is no picture.
        labels: the label map.
    """

    item: Annotated
    image: Path | None
    labels: Labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The folder that is written to, with what holds for all of its images.

    Attributes:
        out: the folder.
        classes: index = label, the background first.
        colours: RGB of the classes; None where they have none.
        parts: the folder's part of every part of the source.
        notes: get what the format cannot hold.
    """

    out: Path
    classes: tuple[str, ...]
    colours: tuple[Colour, ...] | None
    parts: Mapping[str, str]
    notes: list[str]

    def part(self, item: Annotated) -> str:
        """Return the folder's part of an image."""
        return self.parts[item.part]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a format is written.

    Attributes:
        images: folder of a picture, below the folder that is written, by the picture's part.
        file: the annotation file of one image, below that folder, by part and name; None where one file holds all images.
        one: writes that file; or returns what stands for one image in the file that holds all.
        finish: writes what is there once, from what `one` returned; where files of an earlier call were kept, that is
            None.
        needs_picture: whether an image without its picture is none to the readers of the format, so that it is not written.
        any_first: whether class 0 may be one like the others; else a background is put before it, and labels move up by one.
        fold: puts parts together where the format does not know all of them; from the parts that occur, to the folder's.
    """

    images: Callable[[str], Path]
    file: Callable[[str, str], Path] | None
    one: Callable[[Written, Path, Target], object]
    finish: Callable[[Sequence[tuple[Annotated, object]], Target], None]
    needs_picture: bool = False
    any_first: bool = False
    fold: Callable[[frozenset[str]], Mapping[str, str]] = lambda parts: {part: part for part in parts}
