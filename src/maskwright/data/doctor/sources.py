"""Which files of a folder belong together: pictures and masks side by side, in whatever layout people keep them.

Told apart by names alone: folders of a part (train, val, test), folders of pictures and of masks under their usual names, or
both in one folder, where a mask is a picture with `_mask` or the like behind its name, or a PNG beside a photograph. Nothing
is refused here: a picture without a mask, or with two, is a sample with too few or too many files.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import DataError
from ..folder import read_list
from ..naming import ARRAY_SUFFIXES, IMAGE_SUFFIXES
from .facts import Item

PARTS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "photos", "pictures", "inputs", "input", "data", "x")
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "ann", "gt", "gts"),
    *(
        "ground_truth",
        "groundtruth",
        "truth",
        "segmentation",
        "segmentations",
        "segmentationclass",
        "targets",
        "target",
    ),
    *("trimaps", "instances", "y"),
)
MASK_ENDINGS = (
    *("_mask", "-mask", "_masks", "_label", "_labels", "_gt", "-gt", "_seg", "_segmentation", "_L", "_annotation"),
    *("_labelIds", "_trimap", ".mask", "_matte", "_target"),
)
"""Behind the name of the picture, in the name of its mask."""

_PHOTOGRAPHS = frozenset({".jpeg", ".jpg", ".webp", ".bmp", ".ppm"})
_LICENCES = ("license", "licence", "copying", "readme")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The samples of a data set.

    Attributes:
        items: all of them, sorted by part and name.
        layout: where the files are, in words.
        licences: files beside them that may tell the licence.
    """

    items: tuple[Item, ...]
    layout: str
    licences: tuple[Path, ...] = ()


def find_items(root: Path, *, images: Path | None = None, masks: Path | None = None) -> Found:
    """Pair the files of a folder.

    Args:
        root: the data set.
        images, masks: where its pictures and masks are, if not under a usual name; may be the same folder. Of one that is
            not said the usual names are tried, and then the other's folder.

    Raises:
        DataError: no such folder, or nothing in it looks like pictures and masks.
    """
    for folder in (root, images, masks):
        if folder is not None and not folder.is_dir():
            raise DataError(f"{folder}: is no folder; expected one with pictures and their masks.")
    if images is not None or masks is not None:
        below = _subfolders(root)
        image_folder = images or _first(below, IMAGE_FOLDERS) or masks or root
        folders = [("", image_folder, masks or _first(below, MASK_FOLDERS) or image_folder)]
    else:
        folders = _folders(root)
    items = [item for part, *pair in folders for item in _pair(part, *pair)]
    if not items:
        raise DataError(
            f"{root}: no pictures found; expected images/ and masks/ (or labels/, annotations/, ...), the same in train/, "
            "val/ and test/, or pictures and NAME_mask files in one folder. Say where they are with --images and --masks."
        )
    if len(folders) == 1 and not folders[0][0]:
        items = _by_lists(root, items)
    words = "; ".join(f"{part + ': ' if part else ''}{_shown(root, a)} and {_shown(root, b)}" for part, a, b in folders)
    order = {part: number for number, part in enumerate(("", *PARTS))}
    items.sort(key=lambda item: (order[item.part], item.name))
    return Found(items=tuple(items), layout=words, licences=_licences(root))


def _shown(root: Path, folder: Path) -> str:
    inside = folder.is_relative_to(root) and folder != root
    return f"{folder.relative_to(root) if inside else folder}/"


def _folders(root: Path) -> list[tuple[str, Path, Path]]:
    """Return part, folder of the pictures and folder of the masks."""
    below = _subfolders(root)
    image, mask = _first(below, IMAGE_FOLDERS), _first(below, MASK_FOLDERS)
    if image is not None and mask is not None:
        within = {part: (_part_folder(image, part), _part_folder(mask, part)) for part in PARTS}
        parted = [(part, a or image / part, b or mask / part) for part, (a, b) in within.items() if a or b]
        return parted or [("", image, mask)]
    found = []
    for part in PARTS:
        folder = _part_folder(root, part)
        if folder is None:
            continue
        inner = _subfolders(folder)
        a, b = _first(inner, IMAGE_FOLDERS), _first(inner, MASK_FOLDERS)
        beside = next(
            (
                below[folder.name.lower() + end]
                for end in ("annot", "_masks", "_labels", "masks", "labels")
                if folder.name.lower() + end in below
            ),
            None,
        )
        found.append((part, a or folder, b or beside or a or folder))
    if found:
        return found
    if image is not None:
        return [("", image, image)]
    return [("", root, root)]


def _subfolders(folder: Path) -> dict[str, Path]:
    try:
        return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}.") from error


def _first(folders: dict[str, Path], names: Iterable[str]) -> Path | None:
    return next((folders[name] for name in names if name in folders), None)


def _part_folder(folder: Path, part: str) -> Path | None:
    return _first(_subfolders(folder), PARTS[part])


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    entries = sorted(folder.iterdir())
    known = IMAGE_SUFFIXES | ARRAY_SUFFIXES
    return [entry for entry in entries if entry.suffix.lower() in known and not entry.name.startswith(".")]


def _pair(part: str, image_folder: Path, mask_folder: Path) -> list[Item]:
    """Return the samples of one part; where pictures and masks share a folder, the names tell which is which."""
    if image_folder == mask_folder:
        pictures, masks = _apart(_files(image_folder))
    else:
        pictures, masks = _files(image_folder), _files(mask_folder)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in pictures:
        by_name[path.stem].append(path)
    of: dict[str, list[Path]] = defaultdict(list)
    for path in masks:
        of[_picture_name(path.stem, by_name)].append(path)
    loose = {_plain(name): name for name in by_name if name not in of}
    renamed = {name: loose[_plain(name)] for name in of if name not in by_name and _plain(name) in loose}
    for wrong, right in renamed.items():
        of[right] = of.pop(wrong)
    return [
        Item(
            name=name,
            part=part,
            images=tuple(by_name.get(name, ())),
            masks=tuple(of.get(name, ())),
            renamed=name in renamed.values(),
        )
        for name in sorted(by_name.keys() | of.keys())
    ]


def _apart(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Tell the masks among the files of one folder: by the ending of the name, or as the PNG beside a photograph."""
    stems = {path.stem for path in files}
    masks = [path for path in files if any(path.stem.endswith(end) for end in MASK_ENDINGS)]
    if not masks:
        photographs = {path.stem for path in files if path.suffix.lower() in _PHOTOGRAPHS}
        masks = [path for path in files if path.stem in photographs and path.suffix.lower() not in _PHOTOGRAPHS]
    if not masks and stems:
        return list(files), []
    chosen = set(masks)
    return [path for path in files if path not in chosen], masks


def _picture_name(stem: str, pictures: dict[str, list[Path]]) -> str:
    if stem in pictures:
        return stem
    for end in MASK_ENDINGS:
        if stem.endswith(end) and stem.removesuffix(end) in pictures:
            return stem.removesuffix(end)
    return next((stem.removesuffix(end) for end in MASK_ENDINGS if stem.endswith(end)), stem)


def _plain(name: str) -> str:
    """Return a name without what file systems and people confuse: case, Unicode form, spaces at the ends."""
    return unicodedata.normalize("NFC", name).casefold().strip()


def _by_lists(root: Path, items: list[Item]) -> list[Item]:
    """Sort samples into the parts that `train.txt` and others name; what is in none is of no part."""
    lists = {part: read_list(root / f"{part}.txt") for part in PARTS if (root / f"{part}.txt").is_file()}
    mentions = Counter(name for names in lists.values() for name in set(names))
    part_of = {name: part for part, names in lists.items() for name in names if mentions[name] == 1}
    return [replace(item, part=part_of.get(item.name, "")) for item in items]


def _licences(root: Path) -> tuple[Path, ...]:
    return tuple(path for path in sorted(root.iterdir()) if path.is_file() and path.stem.lower().startswith(_LICENCES))
