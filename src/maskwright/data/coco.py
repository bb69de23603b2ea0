"""Any annotation file of the COCO format (Lin et al. 2014; panoptic: Kirillov et al. 2019) as label maps: `coco:FILE.json`.

Further parts and folders follow behind commas: `coco:train.json,images=DIR,val=val.json,val_images=DIR`, and so `test`,
`masks` (the folder of panoptic PNGs), `val_masks` and so on. Folders that are not named are looked for beside the file:
`images/`, `train2017/` and `images/train2017/` of `instances_train2017.json`, there and one level up; the PNGs of
`panoptic_val2017.json` in `panoptic_val2017/`.

Instances (polygons, run lengths): label 0 is the background, then the categories in the order of the file; a category called
"background" is label 0. Regions are drawn from the largest to the smallest, so that a small object on a large one is seen;
of equal ones the later in the file lies on top. Crowd regions are ignored where no single object is drawn. The number of
each pixel's object is the place of its region among those of the image, from 1; crowds and the background have none.

Panoptic: the categories in the order of the file, no background; pixels of no segment, and crowd segments, are ignored.
Objects are not told apart.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int32, UInt8

from ..errors import ConfigError, DataError
from ..types import IGNORE_INDEX, Sample, Splits
from .coco_format import is_panoptic, named_faults, read_annotations, read_categories, read_listed, sample_names
from .coco_masks import Runs, area_of, mask_of, read_segments, runs_of
from .folder import first_ten, raise_all, read_sample

_PARTS = ("train", "val", "test")
_KEYS = ("images", "masks", *(f"{part}{kind}" for part in _PARTS[1:] for kind in ("", "_images", "_masks")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """One annotated region.

    Attributes:
        number: the annotation's or segment's own id.
        label: of its category.
        crowd: whether it holds several objects that are not told apart.
        segmentation: as the file has it; None of panoptic segments.
    """

    number: int
    label: int
    crowd: bool
    segmentation: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One image of a file.

    Attributes:
        name: of the sample.
        path: the image.
        height: pixels, as the file says.
        width: likewise.
        regions: in the file's order.
        mask: the panoptic PNG; None of instances.
    """

    name: str
    path: Path
    height: int
    width: int
    regions: tuple[Region, ...]
    mask: Path | None = None


Drawn = tuple[UInt8[np.ndarray, "h w"], Int32[np.ndarray, "h w"] | None]
"""Labels, and the numbers of the objects, 0 = none."""


class CocoDataset:
    """The images of one annotation file, in its order; satisfies `Dataset`.

    Args:
        source: the annotation file, for messages.
        pictures: their names differ.
        classes: class names, index = label.
        draw: gives a picture's label map, and the numbers of its objects where the file tells them apart.
    """

    def __init__(
        self,
        source: Path,
        pictures: Sequence[Picture],
        classes: tuple[str, ...],
        *,
        draw: Callable[[Picture], Drawn],
    ) -> None:
        self.source = source
        self.pictures = tuple(pictures)
        self.classes = classes
        self.names = tuple(picture.name for picture in pictures)
        self.draw = draw

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample:
        """Draw the labels and objects of one image and decode it.

        Raises:
            ImageError: a file cannot be decoded.
            DataError: a segmentation is not of the format, or image and annotation differ in size.
        """
        picture = self.pictures[index]
        try:
            target, ids = self.draw(picture)
        except DataError as error:
            raise DataError(f"{self.source}, image {picture.name}: {error}; correct the file") from error
        sample = read_sample(picture.name, picture.path, target, mask=f"in {picture.mask or self.source}")
        return sample if ids is None else replace(sample, instances=torch.from_numpy(ids))


def draw_instances(picture: Picture) -> Drawn:
    """Draw polygons and run lengths by the module's rule.

    Raises:
        DataError: a segmentation that is not of the format, named by the annotation's id.
    """
    target = np.zeros((picture.height, picture.width), np.uint8)
    ids = np.zeros((picture.height, picture.width), np.int32)
    for region, number, runs in drawing_order(picture):
        mask = mask_of(runs, picture.height, picture.width)
        target[mask] = IGNORE_INDEX if region.crowd else region.label
        ids[mask] = number if region.label and not region.crowd else 0
    return target, ids


def drawing_order(
    picture: Picture, *, refused: Callable[[DataError], None] | None = None
) -> list[tuple[Region, int, Runs]]:
    """Return the regions with their places in the file, from 1, and run lengths, in the order in which they are drawn.

    Args:
        picture: of instances.
        refused: takes the fault of a region, which is then left out; without it the fault is raised.

    Raises:
        DataError: a segmentation that is not of the format, named by the annotation's id.
    """
    drawn = []
    for number, region in enumerate(picture.regions, start=1):
        try:
            runs = runs_of(region.segmentation, picture.height, picture.width)
        except DataError as error:
            fault = DataError(f"annotation {region.number}: {error}")
            if refused is None:
                raise fault from error
            refused(fault)
            continue
        drawn.append((not region.crowd, -area_of(runs), number, region, runs))
    return [(region, number, runs) for _, _, number, region, runs in sorted(drawn, key=lambda one: one[:3])]


def draw_panoptic(picture: Picture) -> Drawn:
    """Turn the segment numbers of the PNG into labels by the module's rule.

    Raises:
        DataError: see `read_segments`.
    """
    assert picture.mask is not None
    numbers = [region.number for region in picture.regions]
    labels = [IGNORE_INDEX if region.crowd else region.label for region in picture.regions]
    return np.array([IGNORE_INDEX, *labels], np.uint8)[read_segments(picture.mask, numbers)], None


def open_coco(text: str) -> Splits:
    """Open `FILE.json`, with the options behind it.

    Args:
        text: as the module says, without `coco:`.

    Raises:
        ConfigError: unknown options.
        DataError: a file is missing or not of the format; images that it lists are missing, all named at once; or the parts
            have different categories.
    """
    options = _options(text)
    parts = {}
    for part in _PARTS:
        prefix = "" if part == "train" else f"{part}_"
        if part in options:
            parts[part] = _open_file(options[part], options.get(f"{prefix}images"), options.get(f"{prefix}masks"))
    for part, data in parts.items():
        if data.classes != parts["train"].classes or data.draw is not parts["train"].draw:
            raise DataError(
                f"{data.source} has the classes {first_ten(data.classes)}, {parts['train'].source} "
                f"{first_ten(parts['train'].classes)}; expected {part} to have those of the training part"
            )
    background = parts["train"].draw is draw_instances
    return Splits(train=parts["train"], val=parts.get("val"), test=parts.get("test"), background=background)


def _options(text: str) -> dict[str, Path]:
    """Split at the commas before `key=`; other commas belong to a path."""
    first, *rest = re.split(r",(?=\w+=)", text)
    given = dict(option.split("=", 1) for option in rest)
    unknown = [key for key in given if key not in _KEYS]
    loose = [key for key in given if "_" in key and key.partition("_")[0] not in given]
    if unknown or loose or len(given) < len(rest):
        raise ConfigError(
            f"data.name 'coco:{text}': cannot use {', '.join(unknown or loose) or 'an option twice'}; expected "
            f"coco:FILE.json and behind commas any of {', '.join(f'{key}=PATH' for key in _KEYS)}, each once, those of a "
            "part beside the part"
        )
    return {key: Path(path).expanduser() for key, path in {"train": first, **given}.items()}


def _open_file(path: Path, images: Path | None, masks: Path | None) -> CocoDataset:
    content = read_annotations(path)
    panoptic = is_panoptic(content)
    with named_faults(path):
        labels, classes = read_categories(content["categories"], background=None if panoptic else "background")
        listed = read_listed(content["images"])
        found = _segments(content["annotations"], labels) if panoptic else _regions(content["annotations"], labels)
        names = sample_names([name for name, _, _ in listed.values()])
    files = [name for name, _, _ in listed.values()]
    images = images or _find_images(path, files[0])
    masks = masks or path.with_suffix("")
    pictures = [
        Picture(
            name=name,
            path=images / file,
            height=height,
            width=width,
            regions=tuple(found[number][1]) if number in found else (),
            mask=masks / found[number][0] if number in found and panoptic else None,
        )
        for name, (number, (file, height, width)) in zip(names, listed.items(), strict=True)
    ]
    _require_files(path, pictures, strangers=found.keys() - listed.keys(), panoptic=panoptic)
    return CocoDataset(path, pictures, classes, draw=draw_panoptic if panoptic else draw_instances)


def _regions(entries: Sequence[Mapping[str, Any]], labels: Mapping[Any, int]) -> dict[Any, tuple[str, list[Region]]]:
    found: dict[Any, tuple[str, list[Region]]] = defaultdict(lambda: ("", []))
    boxes = [str(entry["id"]) for entry in entries if not entry.get("segmentation")]
    if boxes:
        raise DataError(
            f"{len(boxes)} annotations have no segmentation: {first_ten(boxes)}; a box alone is no mask, take them out"
        )
    for entry in entries:
        region = _region(entry, labels, segmentation=entry["segmentation"])
        found[entry["image_id"]][1].append(region)
    return dict(found)


def _segments(entries: Sequence[Mapping[str, Any]], labels: Mapping[Any, int]) -> dict[Any, tuple[str, list[Region]]]:
    return {
        entry["image_id"]: (entry["file_name"], [_region(segment, labels) for segment in entry["segments_info"]])
        for entry in entries
    }


def _region(entry: Mapping[str, Any], labels: Mapping[Any, int], *, segmentation: Any = None) -> Region:
    if entry["category_id"] not in labels:
        raise DataError(f"annotation {entry['id']} is of category {entry['category_id']!r}, which is not listed")
    return Region(
        number=entry["id"],
        label=labels[entry["category_id"]],
        crowd=bool(entry.get("iscrowd", 0)),
        segmentation=segmentation,
    )


def _find_images(path: Path, file: str) -> Path:
    """Return the folder, of the usual ones, that holds the first image."""
    part = path.stem.rpartition("_")[2]
    folders = [
        above / inside
        for above in (path.parent, path.parent.parent)
        for inside in ("images", part, f"images/{part}", "")
    ]
    for folder in folders:
        if (folder / file).is_file():
            return folder
    raise DataError(
        f"{path}: its images, such as {file}, are in none of {', '.join(map(str, folders))}; name their folder: "
        f"coco:{path},images=DIR (behind val= it is val_images=DIR)"
    )


def _require_files(path: Path, pictures: Sequence[Picture], *, strangers: set[Any], panoptic: bool) -> None:
    images = [str(picture.path) for picture in pictures if not picture.path.is_file()]
    masks = [str(picture.mask) for picture in pictures if picture.mask and not picture.mask.is_file()]
    blank = [picture.name for picture in pictures if panoptic and picture.mask is None]
    problems = {
        "images that it lists are missing": images,
        "panoptic PNGs that it lists are missing": masks,
        "images have no panoptic annotation": blank,
        "image ids of annotations are not listed": sorted(map(str, strangers)),
    }
    raise_all(f"{path}: {len(names)} {what}: {first_ten(names)}" for what, names in problems.items() if names)
