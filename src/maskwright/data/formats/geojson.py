"""GeoJSON (RFC 7946): a FeatureCollection, or a list of features, per image, with (multi)polygons and their holes.

A source is one file; or a folder with files in it or in its subfolders, of which `train`, `val` and `test` are parts. The
class of a feature is one of its properties: `label`, `class`, `class_name`, `category`, `classification` (QuPath) or
`name`. The order of the classes is that of `labels.txt` in the folder, else sorted.

Coordinates are pixels where the file says `"pixel_coordinates": true`, as written here; where the image has a world file
(`.pgw`, `.jgw`, `.tfw`, `.wld`, ...), they are of its system, degrees too where it is Web Mercator in metres. Else they
are pixels if any of all files' coordinates cannot be degrees, and otherwise the file is refused: nobody knows.

Written, label maps come back exactly; ignored regions are of a class `__ignore__`. Holes are rings of their polygon.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, MaskwrightError
from ..classes import ClassNames, read_class_names
from ..decode import read_size
from .record import Annotated, AnnotationSet, Layout, Target, Written
from .shapes import Drawing, Shape, polygons_of
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

_SUFFIXES = (".geojson", ".json")
_KEYS = ("label", "class", "class_name", "category", "classification", "name")
_EARTH = 6378137.0
"""Radius of the sphere of Web Mercator, metres."""

_LIMITS = np.array([180.0, 90.0])

Place = Callable[[np.ndarray], np.ndarray]
"""From coordinates to pixels."""


def recognise(path: Path) -> bool:
    """Whether a file looks like a FeatureCollection or a list of features, or a folder or a part in it has one that does."""
    if path.is_dir():
        folders = (path, *(path / part for part in ("train", "val", "valid", "test")))
        return any(recognise(file) for folder in folders for suffix in _SUFFIXES for file in some_files(folder, suffix))
    text = ends_of(path) if path.suffix.lower() in _SUFFIXES else ""
    return '"FeatureCollection"' in text or (text.startswith("[") and bool(re.search(r'"type"\s*:\s*"Feature"', text)))


def read(path: Path, images: Path | None = None, classes: ClassNames | None = None) -> AnnotationSet:
    """Read one file or all of a folder.

    Raises:
        DataError: no file can be read, or no class is named.
    """
    root = path if path.is_dir() else path.parent
    notes: list[str] = []
    broken: list[str] = []
    finders: dict[Path, Images] = {}
    found = []
    for file in _files(path) if path.is_dir() else [path]:
        folders = [images] if images else [file.parent, file.parent / "images", file.parent.parent / "images"]
        try:
            found.append(_File(file, finders.setdefault(file.parent, Images(folders)), notes))
        except MaskwrightError as error:
            broken.append(str(error))
    pixels = any(one.cannot_be_degrees for one in found)
    drawn = []
    for one in found:
        try:
            drawn.append((one, one.shapes(one.place(pixels=pixels), notes)))
        except DataError as error:
            broken.append(str(error))
    if not drawn:
        raise DataError(broken[0] if broken else f"{path}: has no GeoJSON files, one per image")
    listed = list(read_class_names(root / "labels.txt")[0]) if (root / "labels.txt").is_file() else None
    names = [shape.name for _, shapes in drawn for shape in shapes]
    table, labels = class_table(names, listed=listed, given=classes, where=path, notes=notes)
    unique = unique_names([str(one.file.relative_to(root)) for one, _ in drawn], notes)
    items = []
    for (one, shapes), name in zip(drawn, unique, strict=True):
        height, width = one.size
        drawing = Drawing(
            height=height, width=width, shapes=tuple(shapes), labels=labels, where=str(one.file), notes=notes
        )
        part = part_of(one.file.parent.name)
        items.append(Annotated(name=name, image=one.image, height=height, width=width, part=part, labels=drawing))
    return AnnotationSet(
        format="geojson", classes=table, colours=None, items=tuple(items), notes=notes, broken=tuple(broken)
    )


def _files(folder: Path) -> list[Path]:
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = [path for one in (folder, *inside) for path in sorted(one.iterdir()) if path.suffix.lower() in _SUFFIXES]
    return [path for path in files if not path.name.startswith(".") and path.is_file()]


class _File:
    """One file: its features as rings, its image, and what tells where they lie."""

    def __init__(self, file: Path, finder: Images, notes: list[str]) -> None:
        content = read_json(file)
        if isinstance(content, list) and all(isinstance(one, dict) for one in content):  # QuPath can leave the rest out
            content = {"features": content}
        features = content.get("features") if isinstance(content, dict) else None
        if not isinstance(features, list):
            raise DataError(f"{file}: has no list of features; expected a FeatureCollection")
        self.file = file
        self.image = finder.find(file.with_suffix(".png").name)
        if self.image is None:
            notes.append(f"{file}: its image, of the same stem, is missing")
        self.declared = content.get("pixel_coordinates") is True
        self.size = self._size(content)
        self.features: list[tuple[str, list[np.ndarray]]] = []
        for number, feature in enumerate(features, start=1):
            try:
                name = _class_of(feature)
                self.features += [(name, rings) for rings in _polygons(feature.get("geometry"))]
            except DataError as error:
                notes.append(f"{file}: feature {number} is left out: {error}")
        rings = [ring for _, polygon in self.features for ring in polygon]
        self.cannot_be_degrees = any((np.abs(ring) > _LIMITS).any() for ring in rings)

    def _size(self, content: Mapping[str, Any]) -> tuple[int, int]:
        if self.image is not None:
            return read_size(self.image)
        try:
            return checked_size(content.get("height"), content.get("width"))
        except DataError as error:
            raise DataError(f"{self.file}: it has no image to tell its size; name the folder of the images") from error

    def place(self, *, pixels: bool) -> Place:
        """Return what turns the file's coordinates into pixels.

        Args:
            pixels: coordinates without a world file are pixels.
        """
        world = _world_file(self.image) if self.image is not None else None
        if not self.declared and world is not None:
            return _from_world(world, degrees=not self.cannot_be_degrees)
        if self.declared or pixels:
            return lambda points: points
        raise DataError(
            f"{self.file}: its coordinates may be degrees or pixels; put the image's world file beside the image (such as "
            f'{self.file.stem}.pgw), or write "pixel_coordinates": true into the file'
        )

    def shapes(self, place: Place, notes: list[str]) -> list[Shape]:
        """Return the polygons in pixels; note those that cannot be drawn."""
        drawn: list[Shape] = []
        for name, rings in self.features:
            try:
                drawn.append(polygons_of([place(ring) for ring in rings], name, *self.size))
            except DataError as error:
                notes.append(f"{self.file}: a polygon of {name!r} is left out: {error}")
        return drawn


def _class_of(feature: object) -> str:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    for key in _KEYS:
        value = properties.get(key) if isinstance(properties, dict) else None
        if isinstance(value, dict):
            # QuPath's derived classes have several names.
            several = value.get("names")
            value = ": ".join(map(str, several)) if isinstance(several, list) else value.get("name")
        if isinstance(value, str | int) and str(value):
            return str(value)
    raise DataError(f"it has no class; expected a property called {', '.join(_KEYS)}")


def _polygons(geometry: object) -> Iterator[list[np.ndarray]]:
    """Give the rings of each polygon, the outer one first."""
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    coordinates = geometry.get("coordinates") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, list):
        raise DataError(f"a {kind} is no region")
    for polygon in [coordinates] if kind == "Polygon" else coordinates:
        try:
            # A third coordinate is the height above ground.
            rings = [np.array(ring, np.float64)[:, :2] for ring in polygon]
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise DataError("its coordinates are no pairs of numbers") from error
        if rings:
            yield rings


def _world_file(image: Path) -> Path | None:
    suffix = image.suffix.lower()
    names = (f"{suffix[:2]}{suffix[-1]}w", f"{suffix}w", ".wld")
    return next((path for name in names if (path := image.with_suffix(name)).is_file()), None)


def _from_world(world: Path, *, degrees: bool) -> Place:
    """Return the inverse of a world file's six numbers, which place the centre of the upper left pixel."""
    try:
        numbers = [float(word) for word in world.read_text(encoding="ascii").split()]
        a, d, b, e, c, f = numbers
    except (OSError, ValueError) as error:
        raise DataError(f"{world}: is no world file: {error}; expected six numbers") from error
    matrix = np.array([[a, b], [d, e]])
    if not np.isfinite(numbers).all() or np.linalg.det(matrix) == 0:
        raise DataError(f"{world}: its numbers {numbers} do not place an image")
    inverse = np.linalg.inv(matrix)
    metres = degrees and bool(abs(c) > _LIMITS[0] or abs(f) > _LIMITS[1])

    def to_pixels(points: np.ndarray) -> np.ndarray:
        placed = _mercator(points) if metres else points
        pixels: np.ndarray = (placed - (c, f)) @ inverse.T + 0.5
        return pixels

    return to_pixels


def _mercator(points: np.ndarray) -> np.ndarray:
    longitude, latitude = np.radians(points).T
    northing = np.log(np.tan(math.pi / 4 + np.clip(latitude, -1.484, 1.484) / 2))
    return _EARTH * np.stack([longitude, northing], axis=1)


def _one(written: Written, out: Path, target: Target) -> None:
    height, width = written.labels.shape
    features = []
    for name, region in named_regions(written.labels, target):
        rings = [[*ring.tolist(), ring[0].tolist()] for ring in (region.outer, *region.holes)]
        geometry = {"type": "Polygon", "coordinates": rings}
        features.append({"type": "Feature", "properties": {"label": name}, "geometry": geometry})
    content = {"type": "FeatureCollection", "pixel_coordinates": True, "width": width, "height": height}
    write_compact(out / _file(target.part(written.item), written.item.name), {**content, "features": features})


def _file(part: str, name: str) -> Path:
    return Path(part) / f"{name}.geojson"


FORMAT = Format(
    name="geojson",
    title="GeoJSON (Mapbox, QuPath)",
    recognise=recognise,
    read=read,
    layout=Layout(images=Path, file=_file, one=_one, finish=write_class_list),
)
