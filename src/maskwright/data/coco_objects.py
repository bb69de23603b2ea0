"""Objects in COCO's JSON files (Lin et al. 2014): the truth (`instances_*.json`) and results (a list of found objects).

A segmentation is a list of polygons, run lengths as numbers, or compressed run lengths. In results without one, the
object is its box. Images are known by `image_id`; results that also say `file_name`, as maskwright's do, by its stem.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ..errors import DataError
from ..files import write_json
from ..types import RLE, Instances
from .coco_format import named_faults, read_annotations, read_categories, read_content, read_listed
from .coco_masks import rle_of
from .folder import first_ten

Entry = Mapping[str, Any]

BACKGROUND = "background"
"""Name of label 0, and of a category whose regions are no objects."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoTruth:
    """The truth of a COCO file.

    Attributes:
        classes: "background" and the names of the categories in the order of the file; index = label.
        labels: category → label.
        images: image's number → true objects; their `name` is the stem of `file_name`, or the number where it has none.
    """

    classes: tuple[str, ...]
    labels: Mapping[int, int]
    images: Mapping[int, Instances]


def read_truth(path: Path) -> CocoTruth:
    """Read `images`, `categories` and `annotations` of a COCO file.

    Raises:
        DataError: not readable as JSON, without these keys, with annotations of unknown images or categories, or with
            images whose files have one stem.
    """
    content = read_annotations(path)
    with named_faults(path):
        labels, classes = read_categories(content["categories"], background=BACKGROUND)
        listed = read_listed([{"file_name": str(one["id"]), **one} for one in content["images"]])
        entries: dict[int, list[Entry]] = {int(image): [] for image in listed}
        strangers = [str(one["image_id"]) for one in content["annotations"] if int(one["image_id"]) not in entries]
        if strangers:
            raise DataError(f"{len(strangers)} annotations are of images that are not listed: {first_ten(strangers)}")
        for one in content["annotations"]:
            entries[int(one["image_id"])].append(one)
        stems = {int(image): Path(file).stem for image, (file, _, _) in listed.items()}
        if len(set(stems.values())) < len(stems):
            raise DataError("holds images whose file names have the same stem; expected different ones")
        by_number = {int(category): label for category, label in labels.items()}
    images = {
        int(image): objects(
            stems[int(image)], (height, width), entries[int(image)], labels=by_number, truth=True, path=path
        )
        for image, (_, height, width) in listed.items()
    }
    return CocoTruth(classes=classes, labels=by_number, images=images)


def read_results(path: Path) -> dict[str | int, list[Entry]]:
    """Read a list of found objects: stem of `file_name`, or `image_id` where there is none → its objects.

    Raises:
        DataError: not readable as JSON, or not such a list.
    """
    content = read_content(path)
    found: dict[str | int, list[Entry]] = defaultdict(list)
    try:
        if not isinstance(content, list):
            raise TypeError(f"holds {type(content).__name__}")
        for one in content:
            key = Path(str(one["file_name"])).stem if "file_name" in one else int(one["image_id"])
            found[key].append(one)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} holds no results of COCO ({type(error).__name__}: {error}); expected a list of objects with image_id, "
            "category_id, score and segmentation or bbox"
        ) from error
    return dict(found)


def objects(
    name: str,
    size: tuple[int, int],
    entries: Sequence[Entry],
    *,
    labels: Mapping[int, int] | None,
    path: Path,
    truth: bool = False,
) -> Instances:
    """Return the objects of one image.

    Args:
        name: of the image.
        size: its height and width.
        entries: its annotations or results.
        labels: category → label; None takes categories as labels.
        path: the file, for messages.
        truth: annotations of the truth, which have areas and crowds instead of scores.

    Raises:
        DataError: an unknown category, a segmentation that cannot be read or is of another size, a score that is no
            number.
    """
    try:
        entries = [one for one in entries if labels is None or labels.get(int(one["category_id"])) != 0]
        categories = [int(one["category_id"]) for one in entries]
        masks = tuple(_mask(one, size) for one in entries)
        scores = np.array([1.0 if truth else one["score"] for one in entries], np.float32)
        boxes = None
        if entries and all("bbox" in one for one in entries):
            boxes = np.array([one["bbox"] for one in entries], np.float32).reshape(-1, 4)
        areas = crowd = None
        if truth and entries:
            areas = np.array(
                [one.get("area", coco_mask.area(m)) for one, m in zip(entries, masks, strict=True)], np.float64
            )
            crowd = np.array([bool(one.get("iscrowd", 0)) for one in entries])
        if not np.isfinite(scores).all():
            raise ValueError("a score is not finite")
    except DataError as error:
        raise DataError(f"{path}: an object of {name} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"{path}: an object of {name} cannot be read ({type(error).__name__}: {error})") from error
    unknown = set() if labels is None else {one for one in categories if one not in labels}
    if unknown:
        raise DataError(f"{path}: {name} has category {min(unknown)}, which the truth does not name")
    return Instances(
        name=name,
        size=size,
        masks=masks,
        classes=np.array(categories if labels is None else [labels[one] for one in categories], np.int64),
        scores=scores,
        boxes=boxes,
        areas=areas,
        crowd=crowd,
    )


def entries_of(instances: Instances, *, file_name: str) -> list[dict[str, Any]]:
    """Return objects as results of COCO, but for `image_id`, which belongs to a set of images.

    Boxes are left out: pycocotools makes them from the masks, and would else take the boxes' areas for the objects'.
    """
    return [
        {
            "file_name": file_name,
            "category_id": int(label),
            "score": round(float(score), 6),
            "segmentation": {"size": list(instances.size), "counts": mask["counts"].decode("ascii")},
        }
        for mask, label, score in zip(instances.masks, instances.classes, instances.scores, strict=True)
    ]


def write_results(path: Path, entries: Mapping[str, Sequence[Entry]]) -> None:
    """Write results of COCO, atomically.

    Args:
        path: the JSON file.
        entries: file name of every image → its objects, from `entries_of`. `image_id` is the number that is the stem of
            the file name, as COCO's are, or, where one stem is none, the place in the order of names, from 1.
    """
    stems = {name: Path(name).stem for name in entries}
    numbered = all(stem.isascii() and stem.isdigit() for stem in stems.values())
    numbered = numbered and len({int(stem) for stem in stems.values()}) == len(stems)
    numbers = {name: int(stems[name]) if numbered else i for i, name in enumerate(sorted(entries), start=1)}
    write_json(path, [{**one, "image_id": numbers[name]} for name in sorted(entries) for one in entries[name]])


def _mask(entry: Entry, size: tuple[int, int]) -> RLE:
    stored = entry.get("segmentation")
    if stored is None or stored == []:
        left, top, wide, high = entry["bbox"]
        stored = [[left, top, left + wide, top, left + wide, top + high, left, top + high]]
    return rle_of(stored, *size)
