"""COCO instances (Lin et al. 2014): polygons, run lengths (compressed or not) and crowds, in one JSON file per part.

Drawn as `data.coco` draws them: from the largest region to the smallest, crowds ignored where no single object lies. A
source is one file; or a folder with files in it, in `annotations/`, or in `train/`, `valid/`, `test/` as Roboflow has
them. Written, each connected region is an annotation: a polygon, or compressed run lengths where it has holes, which a
polygon cannot have; ignored regions are crowds. Label maps come back exactly.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...ops.runs import paint
from ...types import IGNORE_INDEX
from ..classes import ClassNames
from ..coco import Picture, Region, drawing_order
from ..coco_format import is_panoptic, named_faults
from ..coco_masks import rle_of
from . import outlines
from .record import Annotated, AnnotationSet, Labels, Layout, Target, Written
from .sources import Images, checked_size, class_table, ends_of, part_of, read_json, some_files, unique_names
from .writing import Format, write_compact

_FOLDERS = ("annotations", ".", "train", "valid", "val", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Drawing:
    """The `labels` of a COCO image."""

    picture: Picture
    where: str
    notes: list[str]

    def __call__(self) -> Labels:
        picture = self.picture
        canvas = np.zeros((picture.width, picture.height), np.uint8)
        covered = 0
        for region, _, runs in drawing_order(picture, refused=self._note):
            covered += paint(canvas.reshape(-1), runs, IGNORE_INDEX if region.crowd else region.label)
        if covered:
            self._note(f"regions of different classes overlap in {covered} pixels; the smaller one is seen")
        return np.ascontiguousarray(canvas.T)

    def _note(self, fault: object) -> None:
        text = f"{self.where}: {fault}"
        if text not in self.notes:
            self.notes.append(text)


def recognise(path: Path) -> bool:
    """Whether a JSON file begins like COCO's, or a folder has one where tools put it."""
    if path.is_dir():
        return bool(_files(path))
    text = ends_of(path)
    return text.startswith("{") and len(re.findall(r'"(?:images|annotations|categories)"\s*:\s*\[', text)) >= 2


def read(path: Path, images: Path | None = None, classes: ClassNames | None = None) -> AnnotationSet:
    """Read one file or all of a folder; files that are not of the format are in `broken`.

    Raises:
        DataError: no file can be read, or no class is named.
    """
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: has no JSON file of COCO's format; expected one in it or in annotations/")
    notes: list[str] = []
    broken: list[str] = []
    contents: dict[Path, Mapping[str, Any]] = {}
    for file in files:
        try:
            contents[file] = _content(file)
        except DataError as error:
            broken.append(str(error))
    if not contents:
        raise DataError(broken[0])
    names = {file: _categories(file, content) for file, content in contents.items()}
    listed = [name for by_id in names.values() for name in by_id.values()]
    table, labels = class_table([], listed=listed, given=classes, where=path, notes=notes)
    wanted = [(file, entry) for file, content in contents.items() for entry in content["images"]]
    unique = unique_names([str(entry.get("file_name", entry.get("id"))) for _, entry in wanted], notes)
    regions = {file: _regions(file, content, names[file], labels, notes) for file, content in contents.items()}
    finders = {file: Images([images] if images else _image_folders(file)) for file in contents}
    items = []
    for (file, entry), name in zip(wanted, unique, strict=True):
        try:
            items.append(_item(file, entry, name, regions[file], finders[file], notes))
        except DataError as error:
            broken.append(f"{file}, image {name}: {error}")
    return AnnotationSet(
        format="coco", classes=table, colours=None, items=tuple(items), notes=notes, broken=tuple(broken)
    )


def _files(folder: Path) -> list[Path]:
    found = [
        path
        for inside in _FOLDERS
        for path in some_files(folder / inside, ".json", most=50)
        if path.name[:1] != "." and recognise(path)
    ]
    # COCO's archives also hold captions and keypoints of the same images.
    instances = [path for path in found if path.name.startswith("instances")]
    return instances or found


def _content(file: Path) -> Mapping[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict):
        raise DataError(f"{file}: holds a {type(content).__name__}; expected images, categories and annotations")
    if is_panoptic(content):
        raise DataError(f"{file}: is of COCO's panoptic format; expected instances. Train from it with coco:{file}.")
    for key in ("images", "categories", "annotations"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{file}: its {key} are no list of objects; expected COCO's format")
    return content


def _categories(file: Path, content: Mapping[str, Any]) -> dict[Any, str]:
    with named_faults(file):
        return {entry["id"]: str(entry["name"]) for entry in content["categories"]}


def _regions(
    file: Path, content: Mapping[str, Any], names: Mapping[Any, str], labels: Mapping[str, int], notes: list[str]
) -> dict[Any, list[Region]]:
    """Return the regions of each image that can be drawn; note the others."""
    found: dict[Any, list[Region]] = defaultdict(list)
    listed = {repr(entry.get("id")) for entry in content["images"]}
    for entry in content["annotations"]:
        where = f"{file}: annotation {entry.get('id')!r}"
        category, image = entry.get("category_id"), entry.get("image_id")
        if not isinstance(category, int | str) or names.get(category) not in labels:
            notes.append(f"{where} is of the unknown category {category!r} and left out")
        elif repr(image) not in listed:
            notes.append(f"{where} is of the image {image!r}, which is not listed, and left out")
        elif not entry.get("segmentation"):
            notes.append(f"{where} has no segmentation; a box alone is no mask, it is left out")
        else:
            crowd, label = bool(entry.get("iscrowd", 0)), labels[names[category]]
            found[repr(image)].append(
                Region(number=entry.get("id", 0), label=label, crowd=crowd, segmentation=entry["segmentation"])
            )
    return found


def _item(
    file: Path,
    entry: Mapping[str, Any],
    name: str,
    regions: Mapping[Any, list[Region]],
    finder: Images,
    notes: list[str],
) -> Annotated:
    height, width = checked_size(entry.get("height"), entry.get("width"))
    listed = str(entry.get("file_name", ""))
    image = finder.find(listed)
    if image is None:
        notes.append(f"{file}: its image {listed} is missing")
    picture = Picture(
        name=name,
        path=image or Path(listed),
        height=height,
        width=width,
        regions=tuple(regions.get(repr(entry.get("id")), ())),
    )
    drawing = _Drawing(picture=picture, where=f"{file}, image {name}", notes=notes)
    return Annotated(name=name, image=image, height=height, width=width, part=_part(file), labels=drawing)


def _part(file: Path) -> str:
    """Return the part that a file is of by its name, such as instances_train2017.json, or by its folder's."""
    words = [*re.findall("[a-z]+", file.stem.lower()), file.parent.name]
    return next((part for word in reversed(words) if (part := part_of(word))), "")


def _image_folders(file: Path) -> list[Path]:
    part = file.stem.rpartition("_")[2]
    inside = ("images", f"images/{part}", part, ".")
    return [above / folder for above in (file.parent, file.parent.parent) for folder in inside]


def _one(written: Written, out: Path, target: Target) -> dict[str, Any]:
    """Return the annotations of one image, but for their numbers."""
    height, width = written.labels.shape
    entries = []
    for region in outlines.regions_of(written.labels):
        (left, top), (right, bottom) = region.outer.min(axis=0).tolist(), region.outer.max(axis=0).tolist()
        crowd = region.label == IGNORE_INDEX
        runs = bool(region.holes) or crowd
        entries.append(
            {
                "category_id": 1 if crowd else region.label,
                "iscrowd": int(crowd),
                "bbox": [left, top, right - left, bottom - top],
                "area": outlines.area_of(region),
                "segmentation": _run_lengths(region, height, width) if runs else [region.outer.ravel().tolist()],
            }
        )
    return {"image": written.image, "annotations": entries}


def _run_lengths(region: outlines.Region, height: int, width: int) -> dict[str, Any]:
    rle = rle_of([outlines.bridged(region).ravel().tolist()], height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def _finish(written: Sequence[tuple[Annotated, object]], target: Target) -> None:
    categories = [{"id": label, "name": name} for label, name in enumerate(target.classes) if label]
    for part in sorted({target.part(item) for item, _ in written}):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for item, record in written:
            if target.part(item) != part or not isinstance(record, dict):
                continue
            name = f"{item.name}.jpg" if record["image"] is None else record["image"].name
            number = len(images) + 1
            images.append({"id": number, "file_name": name, "height": item.height, "width": item.width})
            for entry in record["annotations"]:
                annotations.append({"id": len(annotations) + 1, "image_id": number, **entry})
        content = {"images": images, "categories": categories, "annotations": annotations}
        write_compact(target.out / "annotations" / f"instances_{part}.json", content)


FORMAT = Format(
    name="coco",
    title="COCO instances",
    recognise=recognise,
    read=read,
    layout=Layout(
        images=lambda part: Path("images") / part,
        file=None,
        one=_one,
        finish=_finish,
        fold=lambda parts: {part: part or "default" for part in parts},
    ),
)
