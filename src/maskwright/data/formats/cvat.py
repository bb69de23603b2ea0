"""CVAT's own XML, "CVAT for images 1.1": polygons, boxes, ellipses and masks of all images in one file.

A source is the file, or the folder with `annotations.xml` and `images/`. The order of the classes and their colours are
those of the file. Shapes are drawn by their z_order, equal ones in the file's order; CVAT marks no holes: shapes of the
background cut. Masks are run lengths, 0 and 1 in turn, along the rows of their box. Lines, points, skeletons and
cuboids are no regions and are left out. Tracks ("CVAT for video") are refused.

Written, a region is a polygon, or a mask where it has holes; ignored regions are of a class `__ignore__`. Label maps come
back exactly.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from ...errors import DataError
from ...files import write_text
from ..classes import ClassNames
from ..colours import Colour, hexadecimal
from ..decode import MAX_PIXELS
from .outlines import Region, mask_of
from .record import Annotated, AnnotationSet, Layout, Target, Written
from .shapes import Bitmap, Cut, Drawing, Polygon, Shape, box_ring, ellipse_ring, ring_of, turned
from .sources import IGNORE_CLASS, Images, checked_size, class_table, ends_of, part_of, some_files, unique_names
from .writing import Format, named_regions

_FILE = "annotations.xml"


def recognise(path: Path) -> bool:
    """Whether an XML file, or one in a folder, is of annotations."""
    if path.is_dir():
        return any(recognise(file) for file in some_files(path, ".xml"))
    text = ends_of(path)
    return text.startswith("<") and "<annotations" in text and ("<image " in text or "<meta>" in text)


def read(path: Path, images: Path | None = None, classes: ClassNames | None = None) -> AnnotationSet:
    """Read all images of the file.

    Raises:
        DataError: no such file, no XML, tracks instead of images, or no class is named.
    """
    file = path if path.is_file() else next((one for one in some_files(path, ".xml") if recognise(one)), None)
    if file is None:
        raise DataError(f"{path}: has no XML file of CVAT's; expected {_FILE}")
    notes: list[str] = []
    broken: list[str] = []
    declared, found = _parse(file, notes, broken)
    names = [shape.name for one in found for shape in one.shapes]
    table, labels = class_table(names, listed=list(declared) or None, given=classes, where=file, notes=notes)
    finder = Images([images] if images else [file.parent / "images", file.parent])
    items = []
    for one, name in zip(found, unique_names([one.name for one in found], notes), strict=True):
        image = finder.find(one.name)
        if image is None:
            notes.append(f"{file}: its image {one.name} is missing")
        height, width = one.size
        drawing = Drawing(
            height=height, width=width, shapes=one.shapes, labels=labels, where=f"{file}, image {name}", notes=notes
        )
        items.append(Annotated(name=name, image=image, height=height, width=width, part=one.part, labels=drawing))
    return AnnotationSet(
        format="cvat",
        classes=table,
        colours=_colours(table, declared),
        items=tuple(items),
        notes=notes,
        broken=tuple(broken),
    )


class _Image:
    """One image of the file."""

    def __init__(self, name: str, size: tuple[int, int], part: str, shapes: Sequence[Shape]) -> None:
        self.name = name
        self.size = size
        self.part = part
        self.shapes = tuple(shapes)


def _parse(file: Path, notes: list[str], broken: list[str]) -> tuple[dict[str, Colour | None], list[_Image]]:
    """Return the declared classes with their colours, and the images, without holding the whole file as a tree."""
    if "<!DOCTYPE" in ends_of(file):
        raise DataError(f"{file}: declares a document type, which CVAT's files have not; it is not read")
    declared: dict[str, Colour | None] = {}
    found = []
    try:
        for _, element in ElementTree.iterparse(file):
            # The points of a skeleton are labels with a parent.
            if element.tag == "label" and element.find("name") is not None and element.find("parent") is None:
                declared.setdefault(element.findtext("name") or "", _colour(element.findtext("color") or ""))
            elif element.tag == "track":
                raise DataError(f"{file}: holds tracks of a video; export it as CVAT for images 1.1")
            elif element.tag == "image":
                try:
                    found.append(_image(element, file, notes))
                except DataError as error:
                    broken.append(f"{file}, image {element.get('name')}: {error}")
                element.clear()
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:  # the last: no such encoding
        raise DataError(f"{file}: is no XML: {error}; export it anew") from error
    return declared, found


def _image(element: ElementTree.Element, file: Path, notes: list[str]) -> _Image:
    name = element.get("name") or ""
    size = checked_size(element.get("height"), element.get("width"))
    shapes = []
    for child in element:
        if child.tag in ("tag", "attribute"):
            continue
        try:
            shapes.append((_number(child, "z_order", 0), _shape(child, size)))
        except DataError as error:
            notes.append(f"{file}, image {name}: a {child.tag} of {child.get('label')!r} is left out: {error}")
    shapes.sort(key=lambda one: one[0])
    return _Image(name, size, part_of(element.get("subset") or ""), [shape for _, shape in shapes])


def _shape(element: ElementTree.Element, size: tuple[int, int]) -> Shape:
    label = element.get("label")
    if label is None:
        raise DataError("it has no label")
    if element.tag == "mask":
        return Bitmap(label, _mask_decoder(element))
    if element.tag not in _CORNERS:
        raise DataError("it is no region")
    return Polygon(label, ring_of(_CORNERS[element.tag](element), *size))


def _number(element: ElementTree.Element, key: str, default: float | None = None) -> float:
    try:
        return float(element.attrib[key])
    except KeyError as error:
        if default is None:
            raise DataError(f"it has no {key}") from error
        return default
    except ValueError as error:
        raise DataError(f"its {key} is {element.get(key)!r}; expected a number") from error


def _polygon(element: ElementTree.Element) -> list[list[float]]:
    try:
        return [[float(value) for value in pair.split(",")] for pair in (element.get("points") or "").split(";")]
    except ValueError as error:
        raise DataError("its points are no pairs of numbers") from error


def _box(element: ElementTree.Element) -> list[tuple[float, float]]:
    left, top, right, bottom = (_number(element, key) for key in ("xtl", "ytl", "xbr", "ybr"))
    corners = box_ring(left, top, right, bottom)
    return turned(corners, ((left + right) / 2, (top + bottom) / 2), _number(element, "rotation", 0))


def _ellipse(element: ElementTree.Element) -> list[tuple[float, float]]:
    x, y, radius_x, radius_y = (_number(element, key) for key in ("cx", "cy", "rx", "ry"))
    return ellipse_ring(x, y, radius_x, radius_y, _number(element, "rotation", 0))


_CORNERS: Mapping[str, Callable[[ElementTree.Element], object]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
}


def _mask_decoder(element: ElementTree.Element) -> Callable[[], Cut]:
    try:
        top, left, height, width = (int(element.attrib[key]) for key in ("top", "left", "height", "width"))
        runs = np.array([int(run) for run in element.attrib["rle"].split(",")], np.int64)
    except (KeyError, ValueError, OverflowError) as error:
        raise DataError(f"its place or run lengths are no whole numbers: {error}") from error
    if not 0 < height * width <= MAX_PIXELS or height < 1 or (runs < 0).any() or runs.sum() != height * width:
        raise DataError(f"its run lengths sum to {runs.sum()}; expected {width} x {height} pixels")
    return partial(_decode, runs, top, left, height, width)


def _decode(runs: np.ndarray, top: int, left: int, height: int, width: int) -> Cut:
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return top, left, mask


def _colour(text: str) -> Colour | None:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue


def _colours(table: Sequence[str], declared: Mapping[str, Colour | None]) -> tuple[Colour, ...] | None:
    """Return the colours of all classes, black for a background that is not declared; None where they are not told."""
    found = [declared.get(name, (0, 0, 0) if label == 0 else None) for label, name in enumerate(table)]
    colours = tuple(colour for colour in found if colour is not None)
    return colours if len(colours) == len(table) == len(set(colours)) else None


def _one(written: Written, out: Path, target: Target) -> str:
    """Return the image's element, but for its number."""
    height, width = written.labels.shape
    # The name within images/, as CVAT has it.
    name = written.image.relative_to("images").as_posix() if written.image else f"{written.item.name}.jpg"
    part = target.part(written.item)
    subset = f" subset={quoteattr(part.capitalize())}" if part else ""
    lines = [f' name={quoteattr(name)}{subset} width="{width}" height="{height}">']
    lines += [_element(label, region) for label, region in named_regions(written.labels, target)]
    return "\n".join([*lines, "  </image>"])


def _element(label: str, region: Region) -> str:
    shared = f'label={quoteattr(label)} source="manual" occluded="0"'
    if not region.holes:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in region.outer.tolist())
        return f'    <polygon {shared} points="{points}" z_order="0"></polygon>'
    top, left, mask = mask_of(region)
    flat = mask.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = ", ".join(map(str, np.diff(changes, prepend=0, append=flat.size).tolist()))
    place = f'left="{left}" top="{top}" width="{mask.shape[1]}" height="{mask.shape[0]}"'
    return f'    <mask {shared} rle="{runs}" {place} z_order="0"></mask>'


def _finish(written: Sequence[tuple[Annotated, object]], target: Target) -> None:
    colours = target.colours or (None,) * len(target.classes)
    declared = [*zip(target.classes, colours, strict=True), (IGNORE_CLASS, None)]
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations>",
        "  <version>1.1</version>",
        "  <meta><task><labels>",
    ]
    for name, colour in declared:
        shown = f"<color>{hexadecimal(colour)}</color>" if colour else ""
        lines.append(f"    <label><name>{escape(name)}</name>{shown}<attributes></attributes></label>")
    lines.append("  </labels></task></meta>")
    lines += [f'  <image id="{number}"{element}' for number, (_, element) in enumerate(written)]
    write_text(target.out / _FILE, "\n".join([*lines, "</annotations>"]) + "\n")


FORMAT = Format(
    name="cvat",
    title="CVAT for images 1.1",
    recognise=recognise,
    read=read,
    layout=Layout(images=lambda part: Path("images") / part, file=None, one=_one, finish=_finish),
)
