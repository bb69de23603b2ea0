"""What readers of annotation formats share: names, parts, class tables, images, and JSON."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...types import IGNORE_INDEX
from ..classes import ClassNames, ClassTable
from ..decode import MAX_PIXELS
from ..naming import IMAGE_SUFFIXES, list_images

IGNORE_CLASS = "__ignore__"
"""Class of ignored regions in formats that have none of their own; labelme's name."""

MAX_JSON_BYTES = 2**31
"""Larger files are refused before they are read."""

_BACKGROUNDS = frozenset({"background", "_background_", "__background__"})

_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

_MAX_STEM_BYTES = 150

_MOST_ENTRIES = 100_000
"""Of a folder that is looked at to tell its format."""


def part_of(text: str) -> str:
    """Return "train", "val" or "test" for what tools call these parts, and "" for anything else."""
    return _PARTS.get(text.lower(), "")


def safe_name(text: str) -> str:
    """Return a file's stem made of a path of any system: folders joined by "_", no dots that lead elsewhere."""
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if parts and "." in parts[-1].lstrip("."):
        parts[-1] = parts[-1][: parts[-1].rindex(".")]
    joined = re.sub(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]', "_", "_".join(parts)).lstrip(".").strip()
    cut = joined.encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
    return cut or "image"


def unique_names(wanted: Sequence[str], notes: list[str]) -> list[str]:
    """Return a safe name for each path or name; stems alone where these differ, in any case of letters."""
    stems = [safe_name(text.replace("\\", "/").rpartition("/")[2]) for text in wanted]
    if len({stem.casefold() for stem in stems}) < len(stems):
        stems = [safe_name(text) for text in wanted]
    taken: set[str] = set()
    names = []
    for text, stem in zip(wanted, stems, strict=True):
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}_{number}"
        if number > 1:
            notes.append(f"{text}: its name comes more than once; this one is called {name}")
        taken.add(name.casefold())
        names.append(name)
    return names


def class_table(
    found: Iterable[str],
    *,
    listed: Sequence[str] | None,
    given: ClassNames | None,
    where: Path,
    notes: list[str],
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the class names, the background first, and the label of each name that shapes have.

    Args:
        found: the name of every shape.
        listed: the source's own table; None where it has none, so that the names are sorted.
        given: what the user says instead.
        where: the source, for messages.
        notes: get the names that no table has.

    Raises:
        DataError: no class at all, or more than there are labels.
    """
    counts = Counter(found)
    names = given.names if given is not None else listed if listed is not None else sorted(counts)
    names = [name for name in dict.fromkeys(names) if name != IGNORE_CLASS]
    behind = [name for name in names if not is_background(name)]
    first = next((name for name in names if is_background(name)), "background")
    if not behind:
        raise DataError(f"{where}: names no class beside the background; expected shapes or a table of classes")
    try:
        ClassTable(names=(first, *behind))
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    labels = {IGNORE_CLASS: IGNORE_INDEX, **{name: label for label, name in enumerate((first, *behind))}}
    labels |= {name: 0 for name in counts if is_background(name)}
    for name, count in sorted(counts.items()):
        if name not in labels:
            notes.append(f"{where}: {count} shapes are of the unknown category {name!r} and left out")
    return (first, *behind), labels


def is_background(name: str) -> bool:
    """Whether a class is what tools call the background."""
    return name.lower() in _BACKGROUNDS


def checked_size(height: object, width: object) -> tuple[int, int]:
    """Return a height and width that a picture can have.

    Raises:
        DataError: no whole numbers, not positive, or more pixels than are decoded.
    """
    try:
        size = int(height), int(width)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        size = 0, 0
    if not 0 < size[0] * size[1] <= MAX_PIXELS or min(size) < 1:
        raise DataError(
            f"its size is {width!r} x {height!r}; expected a width and height of at most {MAX_PIXELS} pixels"
        )
    return size


class Images:
    """Finds pictures by the names that annotations have for them, below given folders only.

    Args:
        folders: where to look, the likeliest first.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
        self.by_stem: dict[str, Path] | None = None

    def find(self, name: str) -> Path | None:
        """Return the file of that path, or of its last parts, or of its stem; None where there is none."""
        parts = [
            part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..") and "\0" not in part
        ]
        for start in range(len(parts)):
            for folder in self.folders:
                path = folder.joinpath(*parts[start:])
                if is_picture(path):
                    return path
        return self._stems().get(Path(parts[-1]).stem) if parts else None

    def _stems(self) -> Mapping[str, Path]:
        if self.by_stem is None:
            listed = [
                folder / name for folder in reversed(self.folders) for name in sorted(os.listdir(folder), reverse=True)
            ]
            self.by_stem = {path.stem: path for path in listed if path.suffix.lower() in IMAGE_SUFFIXES}
        return self.by_stem


def is_picture(path: Path) -> bool:
    """Whether there is a file of that name with the suffix of a picture."""
    try:
        return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    except (OSError, ValueError):  # a name too long, or one that no file can have
        return False


def pictures_below(folder: Path) -> list[Path]:
    """Return the pictures of a folder, then those of the folders in it."""
    deeper = [path for path in sorted(folder.rglob("*")) if path.is_dir()]
    return [picture for inside in (folder, *deeper) for picture in list_images(inside)]


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: not readable, too large, or no JSON.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path}: has {path.stat().st_size} bytes; at most {MAX_JSON_BYTES} are read. Split it.")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; expected a JSON file.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON: {error}; export it anew.") from error


def ends_of(path: Path, *, size: int = 2**16) -> str:
    """Return the first and last bytes of a file as text, to tell what it may be; "" where it cannot be read."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            head = stream.read(size)
            stream.seek(max(path.stat().st_size - size // 4, len(head)))
            return (head + stream.read(size // 4)).decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    except (OSError, ValueError):
        return ""


def some_files(folder: Path, suffix: str, *, most: int = 3) -> list[Path]:
    """Return a few of the folder's files with the suffix; none where it is no folder, or cannot be listed."""
    try:
        names = os.listdir(folder)[:_MOST_ENTRIES] if folder.is_dir() else []
    except (OSError, ValueError):
        return []
    found = sorted(name for name in names if name.lower().endswith(suffix) and not name.startswith("."))
    return [folder / name for name in found[:most]]
