"""YOLO segmentation as Ultralytics reads it: a text file of polygons per image, in shares of its width and height.

`data.yaml` names the classes (`names`) and the folders or lists of images of each part (`train`, `val`, `test`, below
`path`); labels lie where `images` in an image's path is `labels`. Without it, `images/` and `labels/` (each with parts, or
each in parts) are read, and `classes.txt` names the classes. Folders in these are looked into. Paths are looked for below
the source only. A line of five numbers is a box of the detection format: no mask, so it is left out.

Written, label maps come back exactly, but for ignored pixels, which the format has not: they become background. Holes are
joined to the outer ring by a line without width. Ultralytics itself fills polygons with their outline, half a pixel more.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...errors import DataError, MaskwrightError
from ...files import write_text
from ...types import IGNORE_INDEX
from ..classes import ClassNames, read_class_names
from ..decode import read_size
from ..naming import IMAGE_SUFFIXES
from .outlines import bridged, regions_of
from .record import Annotated, AnnotationSet, Layout, Target, Written
from .shapes import Drawing, Polygon, Shape, ring_of
from .sources import Images, class_table, is_background, pictures_below, some_files, unique_names
from .writing import Format

_PARTS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def recognise(path: Path) -> bool:
    """Whether there is a YAML file with names and a training part, or text files in labels/ beside images/."""
    if path.is_file():
        return path.suffix.lower() in (".yaml", ".yml") and _settings(path) is not None
    if any(_settings(file) is not None for file in _yaml_files(path)):
        return True
    pairs = [("images", "labels"), *((f"images/{part}", f"labels/{part}") for part in _PARTS)]
    pairs += [(f"{part}/images", f"{part}/labels") for part in _PARTS]
    return any((path / images).is_dir() and some_files(path / labels, ".txt") for images, labels in pairs)


def read(path: Path, images: Path | None = None, classes: ClassNames | None = None) -> AnnotationSet:
    """Read the images of all parts with their polygons; an image without a text file shows the background only.

    Raises:
        DataError: no image, or no class is named.
    """
    root = path if path.is_dir() else path.parent
    file = next((one for one in _yaml_files(path) if _settings(one) is not None), None)
    settings = (_settings(file) if file else None) or {}
    notes: list[str] = []
    broken: list[str] = []
    pictures = _pictures(root, settings, images, notes)
    if not pictures:
        raise DataError(f"{path}: no images were found for YOLO's labels; their sizes are needed. Name their folder.")
    names = unique_names([str(picture.relative_to(images or root)) for picture, _, _ in pictures], notes)
    drawn: list[tuple[str, Path, Path, str, tuple[int, int], tuple[Shape, ...]]] = []
    for name, (picture, labels, part) in zip(names, pictures, strict=True):
        try:
            size = read_size(picture)
            drawn.append((name, picture, labels, part, size, _shapes(labels, size, notes)))
        except MaskwrightError as error:
            broken.append(str(error))
    # Shapes are named by number until the table is known.
    own = _own_names(root, settings)
    counts = Counter(shape.name for *_, shapes in drawn for shape in shapes)
    listed = own or [f"class_{number}" for number in range(max(map(int, counts), default=-1) + 1)]
    table, labels_by_name = class_table([], listed=listed, given=classes, where=path, notes=notes)
    in_order = [name for name in classes.names if not is_background(name)] if classes and own is None else listed
    labels_by_number = {str(n): labels_by_name[name] for n, name in enumerate(in_order) if name in labels_by_name}
    for number, count in sorted(counts.items()):
        if number not in labels_by_number:
            notes.append(f"{path}: {count} shapes are of the unknown category {number} and left out")
    items = [
        Annotated(
            name=name,
            image=picture,
            height=size[0],
            width=size[1],
            part=part,
            labels=Drawing(
                height=size[0],
                width=size[1],
                shapes=shapes,
                labels=labels_by_number,
                where=str(text),
                notes=notes,
            ),
        )
        for name, picture, text, part, size, shapes in drawn
    ]
    return AnnotationSet(
        format="yolo", classes=table, colours=None, items=tuple(items), notes=notes, broken=tuple(broken)
    )


def _yaml_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() in (".yaml", ".yml") else []
    return [*some_files(path, ".yaml"), *some_files(path, ".yml")]


def _settings(file: Path) -> dict[str, Any] | None:
    """Return the content of a data.yaml, None where it is none."""
    try:
        if file.stat().st_size > 2**20:
            return None
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    is_data = isinstance(content, dict) and "names" in content and bool({"train", "val"} & content.keys())
    return content if is_data else None


def _own_names(root: Path, settings: Mapping[str, Any]) -> list[str] | None:
    names = settings.get("names")
    if isinstance(names, dict) and all(isinstance(key, int) and 0 <= key < IGNORE_INDEX for key in names):
        return [str(names.get(number, f"class_{number}")) for number in range(max(names, default=-1) + 1)]
    if isinstance(names, list):
        return [str(name) for name in names]
    if names is not None:
        raise DataError(f"{root}: names in its YAML file are {names!r:.100}; expected a list, or number: name")
    file = root / "classes.txt"
    return list(read_class_names(file)[0]) if file.is_file() else None


def _pictures(
    root: Path, settings: Mapping[str, Any], images: Path | None, notes: list[str]
) -> list[tuple[Path, Path, str]]:
    """Return every picture once, with its text file and part."""
    if images is not None:
        return _pictures_elsewhere(root, images, notes)
    found: dict[Path, tuple[Path, str]] = {}
    for folder, part in _folders(root, settings, notes):
        for picture in _listed(root, folder, notes):
            found.setdefault(picture, (_labels_of(picture), part))
    return [(picture, text, part) for picture, (text, part) in found.items()]


def _pictures_elsewhere(root: Path, images: Path, notes: list[str]) -> list[tuple[Path, Path, str]]:
    """Return the picture of each text file, looked for in the folder that is given and in its part of that."""
    finders: dict[str, Images] = {}
    found = []
    for text in sorted(root.rglob("*.txt")):
        folders = text.relative_to(root).parts[:-1]
        if "labels" not in folders:
            continue
        inside = next((folder for folder in folders if folder in _PARTS), "")
        if inside not in finders:
            finders[inside] = Images([images / inside / "images", images / inside, images])
        picture = finders[inside].find(f"{text.stem}.jpg")
        if picture is None:
            notes.append(f"{text}: its image is missing")
        else:
            found.append((picture, text, _PARTS.get(inside, "")))
    return found


def _folders(root: Path, settings: Mapping[str, Any], notes: list[str]) -> list[tuple[Path, str]]:
    if settings:
        named = []
        for key, part in _PARTS.items():
            entries = settings.get(key) or []
            for entry in [entries] if isinstance(entries, str) else entries if isinstance(entries, list) else []:
                place = _below(root, str(settings.get("path") or ""), str(entry))
                if place is None:
                    notes.append(f"{root}: its part {key}, {entry}, is not there")
                else:
                    named.append((place, part))
        return named
    inside = [(root / "images" / key, part) for key, part in _PARTS.items()]
    inside += [(root / key / "images", part) for key, part in _PARTS.items()]
    # The last: what lies in a folder of a part is of that part.
    inside.append((root / "images", ""))
    return [(folder, part) for folder, part in inside if folder.is_dir()]


def _below(root: Path, base: str, entry: str) -> Path | None:
    """Return the path that a YAML file of any machine means, looked for below the source only."""
    parts = [part for part in f"{base}/{entry}".replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        place = root.joinpath(*parts[start:])
        if "\0" not in entry + base and place.exists():
            return place
    return root if not parts else None


def _listed(root: Path, place: Path, notes: list[str]) -> list[Path]:
    """Return the pictures of a folder, or those that a text file lists."""
    if place.is_dir():
        return pictures_below(place)
    pictures = []
    for line in place.read_text(encoding="utf-8", errors="replace").splitlines() if place.suffix == ".txt" else []:
        picture = _below(root, "", line.strip()) if line.strip() else None
        if picture is not None and picture.suffix.lower() in IMAGE_SUFFIXES:
            pictures.append(picture)
        elif line.strip():
            notes.append(f"{place}: the image {line.strip()} is missing")
    return pictures


def _labels_of(picture: Path) -> Path:
    """Return where the labels of a picture are: the last `images` of its path replaced by `labels`."""
    parts = list(picture.with_suffix(".txt").parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts)


def _shapes(text: Path, size: tuple[int, int], notes: list[str]) -> tuple[Shape, ...]:
    if not text.exists():
        return ()
    try:
        lines = text.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{text}: cannot be read: {error}; expected lines of a class and a polygon") from error
    shapes: list[Shape] = []
    height, width = size
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            shapes.append(Polygon(str(int(words[0])), _ring(words[1:], height, width)))
        except (ValueError, DataError) as error:
            notes.append(f"{text}, line {number}: it is left out: {error}")
    return tuple(shapes)


def _ring(words: Sequence[str], height: int, width: int) -> np.ndarray:
    if len(words) == 4:
        raise DataError("it is a box, or a polygon of 2 corners, which are no mask")
    if len(words) % 2:
        raise DataError(f"it has {len(words)} coordinates; expected pairs")
    shares = np.array([float(word) for word in words]).reshape(-1, 2)
    return ring_of(shares * (width, height), height, width)


def _one(written: Written, out: Path, target: Target) -> None:
    height, width = written.labels.shape
    lines = []
    lost = int((written.labels == IGNORE_INDEX).sum())
    if lost:
        target.notes.append(f"{written.item.name}: {lost} ignored pixels become background, YOLO has none")
    for region in regions_of(np.where(written.labels == IGNORE_INDEX, np.uint8(0), written.labels)):
        shares = bridged(region) / (width, height)
        lines.append(f"{region.label - 1} {' '.join(f'{share:.7g}' for share in shares.ravel().tolist())}\n")
    write_text(out / _text_file(target.part(written.item), written.item.name), "".join(lines))


def _text_file(part: str, name: str) -> Path:
    return Path("labels") / part / f"{name}.txt"


def _finish(written: Sequence[tuple[Annotated, object]], target: Target) -> None:
    parts = {target.part(item) for item, _ in written}
    first = next(part for part in ("train", "val", "test") if part in parts)
    # Ultralytics wants both keys; a part that is not there is the one that is.
    folders = {part: f"images/{part if part in parts else first}" for part in ("train", "val")}
    folders |= {"test": "images/test"} if "test" in parts else {}
    content = {**folders, "names": dict(enumerate(target.classes[1:]))}
    write_text(target.out / "data.yaml", yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


FORMAT = Format(
    name="yolo",
    title="YOLO segmentation (Ultralytics)",
    recognise=recognise,
    read=read,
    layout=Layout(
        images=lambda part: Path("images") / part,
        file=_text_file,
        one=_one,
        finish=_finish,
        needs_picture=True,
        fold=lambda parts: {part: part or "train" for part in parts},
    ),
)
