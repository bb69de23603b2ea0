"""Panoptic segments as COCO stores them (Kirillov et al. 2019): a JSON file, and a folder of PNGs beside it.

The truth (`panoptic_val2017.json`) and predictions have one form: for each image `file_name`, the PNG whose colours are the
numbers of the segments, and `segments_info`, their categories. The PNGs lie in the folder that is called as the file
without `.json`. Segment 0 is void. Only the truth needs categories, with `isthing`, and has crowds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from ..errors import DataError
from ..types import Segments
from .coco_format import named_faults, read_annotations, read_categories, sample_names
from .coco_masks import read_segments
from .folder import first_ten

NO_SEGMENT = "no segment"
"""Name of label 0: what no segment covers."""

Entry = Mapping[str, Any]

_EXPECTED = "annotations with image_id, file_name and segments_info"


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentFile:
    """The segments of one image, of which the PNG is not read yet.

    Attributes:
        name: of the image.
        path: the PNG.
        numbers: of the segments, as the PNG stores them.
        classes: int64, their labels, 1 or more.
        crowd: bool, see `Segments`.
    """

    name: str
    path: Path
    numbers: tuple[int, ...]
    classes: Int64[np.ndarray, " s"]
    crowd: Bool[np.ndarray, " s"]

    def read(self) -> Segments:
        """Decode the PNG.

        Raises:
            ImageError: it cannot be decoded.
            DataError: it and the list hold different segments, or a number is none or comes twice.
        """
        ids = read_segments(self.path, self.numbers)
        pixels = np.bincount(ids.ravel(), minlength=len(self.numbers) + 1)[1:]
        empty = [str(number) for number, count in zip(self.numbers, pixels, strict=True) if count == 0]
        if empty:
            raise DataError(
                f"{self.path} holds no pixel of {len(empty)} segments that its JSON file lists: {first_ten(empty)}; take "
                "them out, or take both files anew"
            )
        return Segments(name=self.name, ids=ids.astype(np.int32), classes=self.classes, crowd=self.crowd)


@dataclass(frozen=True, kw_only=True, slots=True)
class PanopticTruth:
    """The truth of a panoptic file.

    Attributes:
        path: the JSON file.
        classes: `NO_SEGMENT` and the names of the categories in the order of the file; index = label.
        labels: category → label.
        things: labels of categories whose objects are told apart.
        images: image id → its true segments; the names of the images differ.
    """

    path: Path
    classes: tuple[str, ...]
    labels: Mapping[Any, int]
    things: tuple[int, ...]
    images: Mapping[Any, SegmentFile]

    @property
    def stuff(self) -> tuple[int, ...]:
        """Labels of the other categories."""
        return tuple(label for label in range(1, len(self.classes)) if label not in self.things)


def lists_segments(path: Path) -> bool:
    """Whether a file is panoptic: told by a key that it holds, unparsed, because files of objects may be large."""
    try:
        return b'"segments_info"' in path.read_bytes()
    except OSError:
        return False


def read_panoptic_truth(path: Path) -> PanopticTruth:
    """Read a panoptic file with its categories.

    An image is called as its picture, where the file lists `images`, else as its PNG: the stem of the file name, with the
    folders before it where stems alone are not different.

    Raises:
        DataError: not readable, not of the format, unknown categories, images that come twice, or missing PNGs; several
            are named at once.
    """
    content = read_annotations(path)
    with named_faults(path, f"categories with isthing, and {_EXPECTED},"):
        labels, classes = read_categories(content["categories"], background=NO_SEGMENT)
        things = sorted(labels[one["id"]] for one in content["categories"] if int(one["isthing"]))
        entries = _by_image(content["annotations"])
        pictures = {one["id"]: str(one["file_name"]) for one in content.get("images", [])}
        names = sample_names([pictures.get(image, str(one["file_name"])) for image, one in entries.items()])
        images = _files(path, entries, dict(zip(entries, names, strict=True)), labels)
    return PanopticTruth(path=path, classes=classes, labels=labels, things=tuple(things), images=images)


def read_panoptic_predictions(path: Path, truth: PanopticTruth) -> dict[Any, SegmentFile]:
    """Read a file of predictions: image id → predicted segments, for the images of the truth; others may be there.

    Raises:
        DataError: not readable, not of the format, categories that the truth does not name, images without prediction or
            with two, or missing PNGs; several are named at once.
    """
    content = read_annotations(path)
    with named_faults(path, f"{_EXPECTED},"):
        entries = _by_image(content["annotations"])
        missing = [file.name for image, file in truth.images.items() if image not in entries]
        if missing:
            raise DataError(
                f"has no prediction of {len(missing)} of the {len(truth.images)} images of {truth.path}: "
                f"{first_ten(missing)}; expected one of each, with its image_id"
            )
        names = {image: file.name for image, file in truth.images.items()}
        return _files(path, {image: entries[image] for image in names}, names, truth.labels)


def _by_image(entries: Sequence[Entry]) -> dict[Any, Entry]:
    by_image = {one["image_id"]: one for one in entries}
    if not by_image:
        raise DataError("lists no annotations")
    if len(by_image) < len(entries):
        raise DataError(f"{len(entries) - len(by_image)} annotations are of an image that has one already")
    return by_image


def _files(
    path: Path, entries: Mapping[Any, Entry], names: Mapping[Any, str], labels: Mapping[Any, int]
) -> dict[Any, SegmentFile]:
    folder = path.with_suffix("")
    files = {image: _segment_file(folder, names[image], one, labels) for image, one in entries.items()}
    missing = [file.path.name for file in files.values() if not file.path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of its {len(files)} PNGs are missing: {first_ten(missing)}; expected them in {folder}"
        )
    return files


def _segment_file(folder: Path, name: str, entry: Entry, labels: Mapping[Any, int]) -> SegmentFile:
    segments = entry["segments_info"]
    unknown = [str(one["category_id"]) for one in segments if labels.get(one["category_id"], 0) == 0]
    if unknown:
        raise DataError(f"{name} has segments of categories that the truth does not name: {first_ten(unknown)}")
    return SegmentFile(
        name=name,
        path=folder / str(entry["file_name"]),
        numbers=tuple(one["id"] for one in segments),
        classes=np.array([labels[one["category_id"]] for one in segments], np.int64),
        crowd=np.array([bool(one.get("iscrowd", 0)) for one in segments], np.bool_),
    )
