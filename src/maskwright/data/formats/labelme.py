"""labelme (Wada): a JSON file per image, with polygons, rectangles, circles and masks.

A source is one file; or a folder with files in it or in its subfolders, of which `train`, `val` and `test` are parts.
`labels.txt` in it gives the order of the classes, which are otherwise sorted; `_background_` is label 0, `__ignore__` is
ignored. A rectangle has two corners, or four; a circle its centre and a point on it; a mask a PNG and its place. Points
and lines are no regions and are left out. Groups are not told apart.

Written, a region is a polygon, or a mask where it has holes (labelme 5.3 and later reads those). Label maps come back
exactly.
"""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import DataError, MaskwrightError
from ..classes import ClassNames, read_class_names
from ..decode import decode_png, read_size
from .outlines import Region, mask_of
from .record import Annotated, AnnotationSet, Layout, Target, Written
from .shapes import Bitmap, Cut, Drawing, Polygon, Shape, box_ring, ellipse_ring, ring_of
from .sources import (
    Images,
    checked_size,
    class_table,
    ends_of,
    part_of,
    read_json,
    some_files,
    unique_names,
)
from .writing import Format, named_regions, write_class_list, write_compact


def recognise(path: Path) -> bool:
    """Whether a JSON file has shapes as labelme's, or a folder or a part in it has one."""
    if path.is_dir():
        return any(recognise(file) for folder in (path, *_parts(path)) for file in some_files(folder, ".json"))
    text = ends_of(path)
    return text.startswith("{") and '"shapes"' in text and ('"imagePath"' in text or '"imageHeight"' in text)


def read(path: Path, images: Path | None = None, classes: ClassNames | None = None) -> AnnotationSet:
    """Read one file or all of a folder; files that are not labelme's are in `broken`.

    Raises:
        DataError: no file can be read, or no class is named.
    """
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: has no JSON files; expected labelme's, one per image")
    notes: list[str] = []
    broken: list[str] = []
    read_files: list[tuple[Path, _File]] = []
    finders: dict[Path, Images] = {}
    for file in files:
        folders = [images] if images else [file.parent, file.parent / "images", file.parent.parent / "images"]
        finder = finders.setdefault(file.parent, Images([*folders, file.parent.parent]))
        try:
            read_files.append((file, _read_file(file, finder, notes)))
        except MaskwrightError as error:
            broken.append(str(error))
    if not read_files:
        raise DataError(broken[0])
    table_file = (path if path.is_dir() else path.parent) / "labels.txt"
    listed = list(read_class_names(table_file)[0]) if table_file.is_file() else None
    found = [shape.name for _, one in read_files for shape in one.shapes]
    table, labels = class_table(found, listed=listed, given=classes, where=path, notes=notes)
    root = path if path.is_dir() else path.parent
    names = unique_names([str(file.relative_to(root)) for file, _ in read_files], notes)
    items = [one.annotated(name, file, labels, notes) for name, (file, one) in zip(names, read_files, strict=True)]
    return AnnotationSet(
        format="labelme", classes=table, colours=None, items=tuple(items), notes=notes, broken=tuple(broken)
    )


class _File:
    """What one file holds; the picture inside it is left there."""

    def __init__(self, size: tuple[int, int], image: Path | None, shapes: Sequence[Shape], *, embedded: bool) -> None:
        self.size = size
        self.image = image
        self.shapes = tuple(shapes)
        self.embedded = embedded

    def annotated(self, name: str, file: Path, labels: Mapping[str, int], notes: list[str]) -> Annotated:
        height, width = self.size
        return Annotated(
            name=name,
            image=self.image,
            height=height,
            width=width,
            part=part_of(file.parent.name),
            labels=Drawing(height=height, width=width, shapes=self.shapes, labels=labels, where=str(file), notes=notes),
            embedded=partial(_embedded, file) if self.embedded else None,
        )


def _parts(folder: Path) -> list[Path]:
    return [path for name in ("train", "val", "valid", "test") if (path := folder / name).is_dir()]


def _files(folder: Path) -> list[Path]:
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = [path for one in (folder, *inside) for path in sorted(one.iterdir()) if path.suffix.lower() == ".json"]
    return [path for path in files if not path.name.startswith(".") and path.is_file()]


def _read_file(file: Path, finder: Images, notes: list[str]) -> _File:
    content = read_json(file)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise DataError(f"{file}: has no list of shapes; expected labelme's JSON")
    named = str(content.get("imagePath") or file.with_suffix(".jpg").name)
    image = finder.find(named)
    embedded = image is None and isinstance(content.get("imageData"), str)
    if image is None and not embedded:
        notes.append(f"{file}: its image {named} is missing")
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if (height is None or width is None) and image is not None:
        height, width = read_size(image)
    try:
        size = checked_size(height, width)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    drawn: list[Shape] = []
    for number, shape in enumerate(shapes, start=1):
        try:
            drawn.append(_shape(shape, size, file))
        except DataError as error:
            notes.append(f"{file}: shape {number} is left out: {error}")
    return _File(size, image, drawn, embedded=embedded)


def _shape(shape: object, size: tuple[int, int], file: Path) -> Shape:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
        raise DataError("it has no label")
    kind = shape.get("shape_type") or "polygon"
    points = shape.get("points")
    if not isinstance(points, list):
        raise DataError("it has no points")
    if kind == "mask":
        return Bitmap(shape["label"], _mask_decoder(points, shape.get("mask"), file))
    corners = _CORNERS.get(kind) if isinstance(kind, str) else None
    if corners is None:
        raise DataError(f"a {kind!r} is no region")
    try:
        return Polygon(shape["label"], ring_of(corners(points), *size))
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError(f"its points are no points of a {kind}") from error


def _rectangle(points: list[Any]) -> list[Any]:
    if len(points) != 2:
        return points
    (left, top), (right, bottom) = points
    return box_ring(left, top, right, bottom)


def _circle(points: list[Any]) -> list[Any]:
    (x, y), (edge_x, edge_y) = points
    radius = math.hypot(edge_x - x, edge_y - y)
    return ellipse_ring(x, y, radius, radius)


_CORNERS: Mapping[str, Callable[[list[Any]], list[Any]]] = {
    "polygon": lambda points: points,
    "rectangle": _rectangle,
    "oriented_rectangle": lambda points: points,
    "circle": _circle,
}


def _mask_decoder(points: list[Any], coded: object, file: Path) -> Callable[[], Cut]:
    try:
        left, top = (round(float(value)) for value in points[0])
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError("its place is no point") from error
    if not isinstance(coded, str):
        raise DataError("it has no mask")
    return partial(_decode_mask, coded, top, left, file)


def _decode_mask(coded: str, top: int, left: int, file: Path) -> Cut:
    try:
        samples = decode_png(base64.b64decode(coded), path=file)
    except (ValueError, MaskwrightError) as error:
        raise DataError(f"its mask cannot be decoded: {error}") from error
    if samples.ndim != 2:
        raise DataError(f"its mask has {samples.shape[2]} channels; expected one")
    return top, left, samples > 0


def _embedded(file: Path) -> bytes:
    try:
        return base64.b64decode(read_json(file)["imageData"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: its imageData cannot be decoded: {error}") from error


def _one(written: Written, out: Path, target: Target) -> None:
    height, width = written.labels.shape
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [_written_shape(name, region) for name, region in named_regions(written.labels, target)],
        "imagePath": written.image.name if written.image else f"{written.item.name}.jpg",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    write_compact(out / _json_file(target.part(written.item), written.item.name), content)


def _written_shape(name: str, region: Region) -> dict[str, Any]:
    shape: dict[str, Any] = {"label": name, "group_id": None, "description": "", "flags": {}}
    if not region.holes:
        return {**shape, "shape_type": "polygon", "points": region.outer.tolist(), "mask": None}
    top, left, mask = mask_of(region)
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(stream, "PNG")
    height, width = mask.shape
    corners = [[left, top], [left + width - 1, top + height - 1]]
    coded = base64.b64encode(stream.getvalue()).decode("ascii")
    return {**shape, "shape_type": "mask", "points": corners, "mask": coded}


def _json_file(part: str, name: str) -> Path:
    return Path(part) / f"{name}.json"


FORMAT = Format(
    name="labelme",
    title="labelme",
    recognise=recognise,
    read=read,
    layout=Layout(images=Path, file=_json_file, one=_one, finish=write_class_list),
)
