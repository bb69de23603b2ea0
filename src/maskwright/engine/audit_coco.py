"""Objects of COCO files as masks of an audit: the truth of annotations, and results of any detector as label maps."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..data.classes import ClassTable
from ..data.coco_objects import objects, read_results
from ..errors import DataError
from ..instances import surest
from ..report.records import Look
from ..types import Instances
from .audit_records import Labels, Masks, Predicted, Size, Truth, image_reader, images_in
from .instances import found_in, label_map, open_truth
from .pairing import pair


def coco_truth(path: Path, images: Path | None) -> Truth:
    """Open a file of annotations as true masks; `images` is the folder of its images."""
    truth = open_truth(path, "")
    image_files = images_in(images, truth.names)

    def read(name: str) -> Labels:
        return label_map(truth.read(name))

    return Truth(
        names=truth.names,
        table=ClassTable(names=truth.classes),
        count=len(truth.classes),
        read=read,
        image=image_reader(image_files),
        image_files=image_files,
        look=Look(),
        source=str(path),
        taken="objects of a COCO file; of those that overlap the first shows, crowds are ignored",
        sizes={name: truth.read(name).size for name in truth.names},
        broken={},
        objects=truth,
    )


def coco_results(path: Path, truth: Truth, threshold: float) -> Masks:
    """Open a file of results as predicted masks: objects whose score reaches the threshold, the surest on top.

    Raises:
        DataError: no such file, or objects of images without a true mask.
    """
    found = _objects_by_stem(path, truth) if truth.objects is None else found_in(path, truth.objects)

    def read(name: str, size: Size) -> Predicted:
        return Predicted(labels=label_map(surest(found(name, size), threshold)))

    return Masks(
        source=path,
        read=read,
        taken=f"objects of a COCO file with a score of at least {threshold:g}; of those that overlap the surest shows",
        count=truth.count,
        soft=False,
        broken={},
    )


def _objects_by_stem(path: Path, truth: Truth) -> Callable[[str, Size], Instances]:
    """Read results whose images are named by `file_name`, or by the number that the stem of the true mask is."""
    numbers = {int(name): name for name in truth.names if name.isascii() and name.isdigit()}
    entries: dict[str, list[Mapping[str, Any]]] = {name: [] for name in truth.names}
    unknown = []
    for key, ones in read_results(path).items():
        name = numbers.get(key, "") if isinstance(key, int) else next(iter(pair(truth.names, [Path(key)]).paths), "")
        if name in entries:
            entries[name] += ones
        else:
            unknown.append(str(key))
    if unknown:
        raise DataError(
            f"{path} has objects of {len(unknown)} images without a true mask in {truth.source}: {', '.join(unknown[:10])}; "
            "expected file names with the stems of the true masks"
        )
    return lambda name, size: objects(name, size, entries[name], labels=None, path=path)
