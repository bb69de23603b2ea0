"""What all files of COCO's format share (Lin et al. 2014; panoptic: Kirillov et al. 2019): reading, categories, images.

Labels follow the order of the file's categories, whoever reads it, so that what was trained on a file can be scored
against it.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import DataError
from .classes import ClassTable
from .decode import MAX_PIXELS
from .folder import first_ten


def read_content(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: not readable, or no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; expected an annotation file of COCO's format, such as "
            "instances_train2017.json of annotations_trainval2017.zip (241 MB), from https://cocodataset.org/#download"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON: {error}; take the file anew") from error


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a file of annotations.

    Raises:
        DataError: not readable, no JSON, or no mapping.
    """
    content = read_content(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}; expected images, categories and annotations")
    return content


def is_panoptic(content: object) -> bool:
    """Whether the content of a file lists segments of panoptic PNGs."""
    annotations = content.get("annotations") if isinstance(content, dict) else None
    return isinstance(annotations, list) and any(
        isinstance(one, dict) and "segments_info" in one for one in annotations
    )


@contextmanager
def named_faults(path: Path, expected: str = "images, categories and annotations") -> Iterator[None]:
    """Turn what goes wrong within the content of a file into a DataError that names the file."""
    try:
        yield
    except KeyError as error:
        raise DataError(f"{path}: lacks {error}; expected {expected} of COCO's format") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: is not of COCO's format: {error}; expected {expected}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_categories(
    entries: Sequence[Mapping[str, Any]], *, background: str | None
) -> tuple[dict[Any, int], tuple[str, ...]]:
    """Return category id → label, and the class names, index = label.

    Args:
        entries: the file's categories, whose order is that of the labels.
        background: name of label 0, also of a category that is called so; None has no such label.

    Raises:
        DataError: no, too many or equal names, or equal ids.
    """
    names = [str(entry["name"]) for entry in entries]
    if background is not None:
        names = [background, *(name for name in names if name != background)]
    table = ClassTable(names=tuple(names))
    labels = {entry["id"]: names.index(str(entry["name"])) for entry in entries}
    if len(labels) < len(entries):
        raise DataError("two categories share an id; give each its own")
    return labels, table.names or ()


def read_listed(entries: Sequence[Mapping[str, Any]]) -> dict[Any, tuple[str, int, int]]:
    """Return image id → file name, height and width in pixels.

    Raises:
        DataError: none, equal ids, or sizes that no picture has.
    """
    listed = {entry["id"]: (str(entry["file_name"]), int(entry["height"]), int(entry["width"])) for entry in entries}
    if not listed:
        raise DataError("lists no images")
    if len(listed) < len(entries):
        raise DataError(f"{len(entries) - len(listed)} images have the id of another; give each its own")
    wrong = [
        file for file, height, width in listed.values() if not (height > 0 < width and height * width <= MAX_PIXELS)
    ]
    if wrong:
        raise DataError(f"{len(wrong)} images have no possible height and width: {first_ten(wrong)}")
    return listed


def sample_names(files: Sequence[str]) -> list[str]:
    """Return the stems of the files, with the folders before them where stems alone are not different.

    Raises:
        DataError: a file is listed twice.
    """
    names = [Path(file).stem for file in files]
    if len(set(names)) < len(names):
        names = ["_".join(Path(file).with_suffix("").parts) for file in files]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"{len(twice)} image files are listed more than once: {first_ten(twice)}")
    return names
