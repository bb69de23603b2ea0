"""Label Studio's exports JSON and JSON-MIN: polygons, rectangles, ellipses and brushes, of all images in one file.

Positions are in percent of the image. A brush is a compressed picture of four channels (`ops.bit_runs`), of which the
last, opacity, is the mask. Of several annotations of one task the first that was not cancelled is read; predictions are
not. Key points and the like are no regions and are left out. Labels for all shapes (`<Labels>`) are read like those of one.

The order of the classes is that of `label_config.xml` beside the file, the labelling interface, else sorted. The image of a
task is looked for by the name in its address, also without the 8 digits that an upload puts before it.

Written, a region is a polygon, or a brush where it has holes; ignored regions are of a class `__ignore__`. The tasks can be
imported with `images/` as local files. Label maps come back exactly.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from ...errors import DataError
from ...files import write_text
from ...ops.bit_runs import pack, unpack
from ..classes import ClassNames
from ..colours import hexadecimal
from ..decode import read_size
from .outlines import Region, mask_of
from .record import Annotated, AnnotationSet, Layout, Target, Written
from .shapes import Bitmap, Cut, Drawing, Polygon, Shape, box_ring, ellipse_ring, ring_of, turned
from .sources import (
    IGNORE_CLASS,
    Images,
    checked_size,
    class_table,
    ends_of,
    part_of,
    read_json,
    some_files,
    unique_names,
)
from .writing import Format, named_regions, write_compact

_FILE = "tasks.json"
_CONFIG = "label_config.xml"
_MOST_STRANGERS = 1000
"""Entries that are no tasks, after which a file is none of the tool's."""

_LABELS = ("polygonlabels", "rectanglelabels", "ellipselabels", "brushlabels", "labels")
_GEOMETRY = {"rle": "brushlabels", "points": "polygonlabels", "radiusX": "ellipselabels", "height": "rectanglelabels"}
"""What tells the shape of a region whose labels are of the kind for all shapes."""


def recognise(path: Path) -> bool:
    """Whether a JSON file lists tasks, or a folder has such a file."""
    if path.is_dir():
        return any(recognise(file) for file in some_files(path, ".json"))
    text = ends_of(path)
    has_shapes = any(f'"{key}"' in text for key in _LABELS) and '"original_width"' in text
    return text.startswith("[") and (has_shapes or ('"annotations"' in text and '"data"' in text))


def read(path: Path, images: Path | None = None, classes: ClassNames | None = None) -> AnnotationSet:
    """Read all tasks of a file.

    Raises:
        DataError: no such file, no list of tasks, or no class is named.
    """
    file = path if path.is_file() else next((one for one in some_files(path, ".json") if recognise(one)), None)
    if file is None:
        raise DataError(f"{path}: has no JSON export of Label Studio")
    tasks = read_json(file)
    if not isinstance(tasks, list):
        raise DataError(f"{file}: holds a {type(tasks).__name__}; expected a list of tasks")
    notes: list[str] = []
    broken: list[str] = []
    finder = Images([images] if images else [file.parent / "images", file.parent, file.parent / "upload"])
    found = []
    for number, task in enumerate(tasks, start=1):
        try:
            found.append(_task(task, f"{file}, task {number}", finder, notes))
        except DataError as error:
            broken.append(f"{file}, task {number}: {error}")
        if number == _MOST_STRANGERS and not found:
            raise DataError(f"{file}: none of its first {number} entries is a task; {broken[0]}")
    if not found:
        raise DataError(broken[0] if broken else f"{file}: lists no tasks")
    names = [shape.name for one in found for shape in one.shapes]
    table, labels = class_table(names, listed=_listed(file.parent / _CONFIG), given=classes, where=file, notes=notes)
    items = []
    for one, name in zip(found, unique_names([one.name for one in found], notes), strict=True):
        height, width = one.size
        drawing = Drawing(
            height=height, width=width, shapes=one.shapes, labels=labels, where=f"{file}, image {name}", notes=notes
        )
        items.append(Annotated(name=name, image=one.image, height=height, width=width, part=one.part, labels=drawing))
    return AnnotationSet(
        format="label_studio", classes=table, colours=None, items=tuple(items), notes=notes, broken=tuple(broken)
    )


class _Task:
    """One task of the file."""

    def __init__(
        self, name: str, image: Path | None, size: tuple[int, int], part: str, shapes: Sequence[Shape]
    ) -> None:
        self.name = name
        self.image = image
        self.size = size
        self.part = part
        self.shapes = tuple(shapes)


def _listed(config: Path) -> list[str] | None:
    """Return the classes of a labelling interface, None where there is none."""
    if not config.is_file() or "<!DOCTYPE" in ends_of(config):
        return None
    try:
        labels = [element.get("value") or "" for element in ElementTree.parse(config).iter("Label")]
    except (ElementTree.ParseError, OSError, ValueError):
        return None
    return list(dict.fromkeys(label for label in labels if label)) or None


def _task(task: object, where: str, finder: Images, notes: list[str]) -> _Task:
    if not isinstance(task, dict):
        raise DataError(f"it is a {type(task).__name__}; expected an object")
    data = task.get("data", task)
    address = _address(data if isinstance(data, dict) else {})
    results = _results(task, where, notes)
    size = next((size for result in results if (size := _size(result)) is not None), None)
    names = _names_of(address)
    image = next((found for name in names if (found := finder.find(name)) is not None), None)
    if image is None:
        notes.append(f"{where}: its image {address} is missing")
    if size is None:
        size = read_size(image) if image is not None else _told_size(data)
    shapes = []
    # Such a region stands there twice, first without its label.
    told_apart = {str(result.get("id")) for result in results if result.get("labels")}
    for number, result in enumerate(results, start=1):
        if str(result.get("id")) in told_apart and not any(result.get(key) for key in _LABELS):
            continue
        try:
            shapes.append(_shape(result, size))
        except DataError as error:
            notes.append(f"{where}, region {number}: it is left out: {error}")
    part = part_of(str(data.get("part", ""))) if isinstance(data, dict) else ""
    return _Task(image.name if image else names[0], image, size, part, shapes)


def _told_size(data: object) -> tuple[int, int]:
    """Return the size in a task's data, where tasks that are written here have it; regions are not always there."""
    if not isinstance(data, dict) or "height" not in data:
        raise DataError("it has neither regions, which would tell its size, nor an image")
    return checked_size(data["height"], data.get("width"))


def _address(data: Mapping[str, Any]) -> str:
    """Return where the image is: the field `image`, else the first that looks like a file."""
    for key in ("image", *data):
        value = data.get(key)
        if isinstance(value, str) and re.search(r"\.\w{3,4}(\?|$)", value):
            return value
    raise DataError("it names no image")


def _names_of(address: str) -> list[str]:
    """Return the names that the image of an address may have as a file."""
    parts = urlsplit(address)
    path = unquote(parts.query.partition("d=")[2] if "local-files" in parts.path else parts.path)
    name = path.replace("\\", "/").rpartition("/")[2]
    return [path, name, re.sub(r"^[0-9a-f]{8}-", "", name)]


def _results(task: Mapping[str, Any], where: str, notes: list[str]) -> list[dict[str, Any]]:
    """Return the regions of a task, each with the size of its image and its own value in one object."""
    if "annotations" in task or "completions" in task:
        made = task.get("annotations", task.get("completions"))
        kept = (
            [one for one in made if isinstance(one, dict) and not one.get("was_cancelled")]
            if isinstance(made, list)
            else []
        )
        if len(kept) > 1:
            notes.append(f"{where}: has {len(kept)} annotations; the first one is read")
        regions = kept[0].get("result") if kept else []
        return [_flat(region) for region in regions if isinstance(region, dict)] if isinstance(regions, list) else []
    lists = [value for value in task.values() if isinstance(value, list)]
    return [_flat(one) for value in lists for one in value if isinstance(one, dict) and "original_width" in one]


def _flat(region: Mapping[str, Any]) -> dict[str, Any]:
    value = region.get("value")
    return {**region, **value, "value": None} if isinstance(value, dict) else dict(region)


def _size(result: Mapping[str, Any]) -> tuple[int, int] | None:
    if "original_height" not in result:
        return None
    return checked_size(result["original_height"], result.get("original_width"))


def _shape(result: Mapping[str, Any], size: tuple[int, int]) -> Shape:
    kind = next((key for key in _LABELS if result.get(key)), None)
    if kind is None:
        raise DataError(f"a {result.get('type') or 'region without a label'} is no region of a class")
    names = result[kind]
    if kind == "labels":
        kind = next((of_kind for key, of_kind in _GEOMETRY.items() if key in result), kind)
    if not isinstance(names, list) or not isinstance(names[0], str):
        raise DataError(f"its {kind} are {names!r:.60}; expected a list of names")
    if result.get("image_rotation"):
        raise DataError("its image was turned in the tool, which is not supported")
    if kind == "brushlabels":
        return Bitmap(names[0], _brush(result, size))
    if kind not in _CORNERS:
        raise DataError(f"labels of a {result.get('type')} are no region")
    try:
        return Polygon(names[0], ring_of(_CORNERS[kind](result, *size), *size))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"its position is not of a {result.get('type', kind)}: {error}") from error


def _polygon(result: Mapping[str, Any], height: int, width: int) -> object:
    return np.array(result["points"], np.float64) * (width / 100, height / 100)


def _rectangle(result: Mapping[str, Any], height: int, width: int) -> object:
    left, top = float(result["x"]) * width / 100, float(result["y"]) * height / 100
    across, down = float(result["width"]) * width / 100, float(result["height"]) * height / 100
    return turned(box_ring(left, top, left + across, top + down), (left, top), float(result.get("rotation") or 0))


def _ellipse(result: Mapping[str, Any], height: int, width: int) -> object:
    x, y = float(result["x"]) * width / 100, float(result["y"]) * height / 100
    radius_x, radius_y = float(result["radiusX"]) * width / 100, float(result["radiusY"]) * height / 100
    return ellipse_ring(x, y, radius_x, radius_y, float(result.get("rotation") or 0))


_CORNERS: Mapping[str, Callable[[Mapping[str, Any], int, int], object]] = {
    "polygonlabels": _polygon,
    "rectanglelabels": _rectangle,
    "ellipselabels": _ellipse,
}


def _brush(result: Mapping[str, Any], size: tuple[int, int]) -> Callable[[], Cut]:
    rle = result.get("rle")
    try:
        return partial(_decode, bytes(rle if isinstance(rle, list) else [-1]), *size)
    except (TypeError, ValueError) as error:
        raise DataError("its brush has no run lengths, a list of 0 to 255") from error


def _decode(stream: bytes, height: int, width: int) -> Cut:
    values = unpack(np.frombuffer(stream, np.uint8), 4 * height * width)
    if values is None:
        raise DataError(f"its run lengths are damaged, or not of {width} x {height} pixels of four channels")
    return 0, 0, values.reshape(height, width, 4)[..., 3] > 0


def _one(written: Written, out: Path, target: Target) -> dict[str, Any]:
    place = written.image.as_posix() if written.image else f"images/{written.item.name}.jpg"
    part = target.part(written.item)
    data: dict[str, Any] = {"image": f"/data/local-files/?d={quote(place)}", **({"part": part} if part else {})}
    data |= {"width": written.item.width, "height": written.item.height}
    size = {"original_width": written.item.width, "original_height": written.item.height, "image_rotation": 0}
    result = [
        {"id": f"r{number}", "to_name": "image", **size, **_region(name, region, written.labels.shape)}
        for number, (name, region) in enumerate(named_regions(written.labels, target), start=1)
    ]
    return {"data": data, "annotations": [{"result": result}]}


def _region(name: str, region: Region, shape: tuple[int, ...]) -> dict[str, Any]:
    height, width = shape
    if not region.holes:
        points = (region.outer * (100 / width, 100 / height)).tolist()
        value: dict[str, Any] = {"points": points, "closed": True, "polygonlabels": [name]}
        return {"from_name": "polygon", "type": "polygonlabels", "value": value}
    top, left, mask = mask_of(region)
    opaque = np.zeros((height, width), np.uint8)
    opaque[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = 255
    stream = pack(np.repeat(opaque.ravel(), 4)).tolist()
    value = {"format": "rle", "rle": stream, "brushlabels": [name]}
    return {"from_name": "brush", "type": "brushlabels", "value": value}


def _finish(written: Sequence[tuple[Annotated, object]], target: Target) -> None:
    colours = target.colours or (None,) * len(target.classes)
    labels = [*zip(target.classes, colours, strict=True), (IGNORE_CLASS, None)]
    lines = ["<View>", '  <Image name="image" value="$image"/>']
    for tag, name in (("PolygonLabels", "polygon"), ("BrushLabels", "brush")):
        lines.append(f'  <{tag} name="{name}" toName="image">')
        for label, colour in labels:
            shown = f' background="{hexadecimal(colour)}"' if colour else ""
            lines.append(f"    <Label value={quoteattr(label)}{shown}/>")
        lines.append(f"  </{tag}>")
    write_text(target.out / _CONFIG, "\n".join([*lines, "</View>"]) + "\n")
    write_compact(target.out / _FILE, [task for _, task in written])


FORMAT = Format(
    name="label_studio",
    title="Label Studio (JSON, JSON-MIN)",
    recognise=recognise,
    read=read,
    layout=Layout(images=lambda part: Path("images") / part, file=None, one=_one, finish=_finish),
)
