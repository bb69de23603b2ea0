"""A folder of images and masks as a data set: `folder:DIR`.

Three layouts, told apart by what stands in DIR:

- `images/` and `masks/`: everything is training data, unless `train.txt` and, as wanted, `val.txt` and `test.txt` stand
  in DIR and name the samples of each part, one file stem per line;
- `train/images/` and `train/masks/`, likewise `val/` and `test/`;
- `images/train/` and `masks/train/`, likewise `val/` and `test/`.

The mask of `cat.jpg` is `cat.png` or `cat_mask.png` (or `.tif`, `.tiff`, `.npy`). `classes.yaml` in DIR is a list of
class names, or a mapping with any of the keys `names` (list, or mapping of index to name), `ignore` (the label that
means ignored, besides 255), `binary_foreground` (the value of the foreground in masks of 0 and one other value),
`colours` ([r, g, b] by label, or name to [r, g, b]: what RGB masks are read by) and `ignore_colours` (a list of them).
Without names all masks are read once to find the labels. Nothing in DIR is ever changed.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Integer, UInt8

from ..errors import DataError
from ..types import IGNORE_INDEX, Sample, Splits
from .classes import ClassTable, load_classes
from .colours import read_coloured
from .io import read_image_of, read_labels
from .naming import ARRAY_SUFFIXES, list_images

_LOG = logging.getLogger("maskwright")

_PARTS = ("train", "val", "test")
_IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_MASK_SUFFIXES = frozenset({".npy", ".png", ".tif", ".tiff"})
_LAYOUTS = (("{part}/images", "{part}/masks"), ("images/{part}", "masks/{part}"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """The files of one sample; `name` is the stem of the image, and `mask` is None where weak labels take its place."""

    name: str
    image: Path
    mask: Path | None


class FolderDataset:
    """Pairs of image and mask files, decoded when a sample is read; satisfies `Dataset`.

    Args:
        pairs: one per sample, in the order of the data set; their names differ.
        table: the class names (not None) and the encoding of the masks.
        channels: of the images; other than 3 are read by `read_channels`.
        read: gives the integers that a mask file stores.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        table: ClassTable,
        *,
        channels: int = 3,
        read: Callable[[Path], Integer[np.ndarray, "h w"]] = read_labels,
    ) -> None:
        self.pairs = tuple(pairs)
        self.table = table
        self.channels = channels
        self.read = read
        self.classes = table.names or ()
        self.names = tuple(pair.name for pair in pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Decode one sample.

        Raises:
            ImageError: a file cannot be decoded.
            DataError: image and mask differ in size, or a label lies outside the classes.
        """
        pair = self.pairs[index]
        target = None if pair.mask is None else self.table.encode(self.read(pair.mask), path=pair.mask)
        return read_sample(pair.name, pair.image, target, mask=str(pair.mask), channels=self.channels)


def read_sample(
    name: str, path: Path, target: UInt8[np.ndarray, "h w"] | None, *, mask: str, channels: int = 3
) -> Sample:
    """Decode the image of a label map.

    Args:
        name: of the sample.
        path: the image.
        target: the label map, or None where there is none.
        mask: where it came from, for the message.
        channels: of the image.

    Raises:
        ImageError: the image cannot be decoded.
        DataError: it differs in size from the label map.
    """
    image = read_image_of(path, channels=channels)
    if target is not None and image.shape[:2] != target.shape:
        turned = " They fit when one is turned: draw the mask on the upright picture (EXIF orientation applied)."
        raise DataError(
            f"{path} is {image.shape[1]} x {image.shape[0]} pixels, its mask {mask} "
            f"{target.shape[1]} x {target.shape[0]}; expected the same width and height."
            + (turned if image.shape[1::-1] == target.shape else "")
        )
    return Sample(
        name=name,
        image=torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        target=None if target is None else torch.from_numpy(target),
    )


def open_folder(root: Path, *, channels: int = 3, train_masks: bool = True) -> Splits:
    """Pair the files of a data set folder and check what can be checked without decoding every file.

    Masks are decoded until each part has shown a foreground label, all of them where the classes have no names.
    Pictures that are in two parts, byte for byte, are named in a warning of the "maskwright" logger.

    Args:
        root: the folder described above.
        channels: of the images, see `FolderDataset`; images may be `.npy` arrays where it is not 3.
        train_masks: training images need masks; otherwise those without one have no target.

    Raises:
        DataError: no known layout, missing pairs, several files of one stem, unusable split lists or classes, or a part
            whose masks hold 0 and 255 (ignored) only.
        ImageError: a mask that was read for its labels cannot be decoded.
    """
    suffixes = _IMAGE_SUFFIXES if channels == 3 else _IMAGE_SUFFIXES | ARRAY_SUFFIXES
    parts = _find_parts(root, suffixes=suffixes, train_masks=train_masks)
    table = load_classes(root / "classes.yaml")
    for part, pairs in parts.items():
        _require_foreground(root, part, pairs, table)
    if table.names is None:
        table = replace(table, names=_find_names(parts, table))
    read = reader_of(table)
    data = {part: FolderDataset(pairs, table, channels=channels, read=read) for part, pairs in parts.items()}
    splits = Splits(train=data["train"], val=data.get("val"), test=data.get("test"))
    copies = duplicate_images(splits)
    if copies:
        shown = [f"{first} = {second}" for first, second in copies]
        _LOG.warning("the same picture stands in two parts, so scores will flatter: %s", first_ten(shown))
    return splits


def duplicate_images(splits: Splits) -> list[tuple[str, str]]:
    """Find image files of one part of a folder data set that are, byte for byte (SHA-256), in another part too.

    Only files whose size occurs in two parts are read. Parts that are not a `FolderDataset` have no files to compare.

    Returns:
        The two paths of every such pair, train before val before test.
    """
    parts = [part for part in (splits.train, splits.val, splits.test) if isinstance(part, FolderDataset)]
    sizes = [{pair.image: pair.image.stat().st_size for pair in part.pairs} for part in parts]
    occurs = Counter(size for part in sizes for size in set(part.values()))
    copies = []
    digests = [_digests(path for path, size in part.items() if occurs[size] > 1) for part in sizes]
    for first, second in combinations(digests, 2):
        copies += [
            (str(a), str(b)) for digest in first.keys() & second.keys() for a in first[digest] for b in second[digest]
        ]
    return sorted(copies)


def _digests(paths: Iterable[Path]) -> dict[bytes, list[Path]]:
    files = defaultdict(list)
    for path in paths:
        with path.open("rb") as stream:
            files[hashlib.file_digest(stream, "sha256").digest()].append(path)
    return files


def reader_of(table: ClassTable) -> Callable[[Path], Integer[np.ndarray, "h w"]]:
    """Return what gives the stored integers of a mask: of colour pictures by the table's colours, where it has some."""
    if table.colours is None:
        return read_labels
    return partial(read_coloured, colours=table.colours, ignore=table.ignore_colours)


def _read_target(mask: Path, table: ClassTable) -> np.ndarray:
    return table.encode(reader_of(table)(mask), path=mask)


def _masks(pairs: Sequence[Pair]) -> list[Path]:
    return [pair.mask for pair in pairs if pair.mask is not None]


def _require_foreground(root: Path, part: str, pairs: Sequence[Pair], table: ClassTable) -> None:
    """Read masks until one holds a label other than 0 and ignored; a part without any teaches and tests nothing."""
    ignored = 0
    masks = _masks(pairs)
    for mask in masks:
        target = _read_target(mask, table)
        if ((target > 0) & (target != IGNORE_INDEX)).any():
            return
        ignored += int((target == IGNORE_INDEX).any())
    expected = "0..C-1" if table.names is None else f"0..{len(table.names) - 1}"
    if ignored:
        raise DataError(
            f"{root}: the {len(masks)} masks of {part} hold 0 and 255 only, and 255 means ignored ({ignored} masks "
            f"have it); expected labels {expected}. If 255 is the foreground, write `binary_foreground: 255` into "
            f"{root / 'classes.yaml'}."
        )
    if part == "train" and masks:
        raise DataError(f"{root}: the {len(masks)} masks of {part} hold 0 only; expected labels {expected}.")


def _find_names(parts: dict[str, list[Pair]], table: ClassTable) -> tuple[str, ...]:
    """Name the classes after the labels of all masks: background, class_1, ..."""
    if table.binary_foreground is not None:
        return ("background", "foreground")
    seen = np.zeros(256, bool)
    for pairs in parts.values():
        for mask in _masks(pairs):
            seen[np.unique(_read_target(mask, table))] = True
    if not seen[1:IGNORE_INDEX].any():
        raise DataError("no mask tells which classes there are; name them in classes.yaml, the background first.")
    last = int(np.flatnonzero(seen[:IGNORE_INDEX])[-1])
    absent = [str(label) for label in np.flatnonzero(~seen[:last])]
    if absent:
        _LOG.warning("no mask holds the labels %s, yet %d occurs; is the numbering right?", first_ten(absent), last)
    return ("background", *(f"class_{label}" for label in range(1, last + 1)))


def _find_parts(root: Path, *, suffixes: frozenset[str], train_masks: bool) -> dict[str, list[Pair]]:
    for images, masks in _LAYOUTS:
        if (root / images.format(part="train")).is_dir():
            folders = {part: (root / images.format(part=part), root / masks.format(part=part)) for part in _PARTS}
            present = {part: pair for part, pair in folders.items() if pair[0].is_dir() or pair[1].is_dir()}
            found = {
                part: _pair_up(*pair, suffixes=suffixes, need_masks=train_masks or part != "train")
                for part, pair in present.items()
            }
            return dict(zip(found, all_pairs(found.values()), strict=True))
    if not (root / "images").is_dir():
        raise DataError(
            f"{root}: has no images; expected images/ and masks/, or train/images/ and train/masks/, or images/train/ "
            "and masks/train/ (and so for val and test)."
        )
    (pairs,) = all_pairs([_pair_up(root / "images", root / "masks", suffixes=suffixes, need_masks=train_masks)])
    parts = _split_by_lists(root, pairs)
    raise_all(
        f"images of {part} without a mask in {root / 'masks'}: {first_ten(bare)}"
        for part, pairs in parts.items()
        if part != "train" and (bare := [pair.image.name for pair in pairs if pair.mask is None])
    )
    return parts


def _pair_up(
    image_folder: Path, mask_folder: Path, *, suffixes: frozenset[str], need_masks: bool
) -> tuple[list[Pair], list[str]]:
    """Return the pairs by name, and in words every file that is not in exactly one pair."""
    images, masks = defaultdict(list), defaultdict(list)
    for path in list_images(image_folder, suffixes=suffixes):
        images[path.stem].append(path)
    for path in list_images(mask_folder, suffixes=_MASK_SUFFIXES) if need_masks or mask_folder.is_dir() else []:
        masks[path.stem if path.stem in images else path.stem.removesuffix("_mask")].append(path)
    problems = {
        f"images in {image_folder} without a mask in {mask_folder}": _files(
            images, images.keys() - masks.keys() if need_masks else ()
        ),
        f"masks in {mask_folder} without an image in {image_folder}": _files(masks, masks.keys() - images.keys()),
        f"images in {image_folder} that share a stem": _files(
            images, [n for n, same in images.items() if len(same) > 1]
        ),
        f"masks in {mask_folder} for one and the same image": _files(
            masks, [name for name, same in masks.items() if name in images and len(same) > 1]
        ),
    }
    if not images:
        return [], [f"no images in {image_folder} ({', '.join(sorted(suffixes))})"]
    named = sorted(images.keys() & masks.keys() if need_masks else images)
    pairs = [Pair(name=name, image=images[name][0], mask=masks[name][0] if name in masks else None) for name in named]
    return pairs, [f"{len(files)} {what}: {first_ten(files)}" for what, files in problems.items() if files]


def _files(by_stem: dict[str, list[Path]], stems: Iterable[str]) -> list[str]:
    return [path.name for stem in sorted(stems) for path in by_stem[stem]]


def _split_by_lists(root: Path, pairs: list[Pair]) -> dict[str, list[Pair]]:
    lists = {part: read_list(root / f"{part}.txt") for part in _PARTS if (root / f"{part}.txt").exists()}
    if not lists:
        return {"train": pairs}
    if "train" not in lists:
        raise DataError(f"{root}: has {', '.join(f'{part}.txt' for part in lists)} but no train.txt. Add it.")
    by_name = {pair.name: pair for pair in pairs}
    mentions = Counter(name for names in lists.values() for name in names)
    twice = sorted(name for name, count in mentions.items() if count > 1)
    unknown = sorted(mentions.keys() - by_name.keys())
    problems = {
        "stems are listed more than once in the split files": twice,
        "listed stems have no image (a stem is `cat`, not `cat.jpg`)": unknown,
        "split files are empty": [f"{part}.txt" for part, names in lists.items() if not names],
    }
    raise_all(f"{root}: {len(names)} {what}: {first_ten(names)}" for what, names in problems.items() if names)
    unlisted = sorted(by_name.keys() - mentions.keys())
    if unlisted:
        _LOG.warning("%s: %d samples are in no split file and left out: %s", root, len(unlisted), first_ten(unlisted))
    return {part: [by_name[name] for name in sorted(names)] for part, names in lists.items()}


def read_list(path: Path) -> list[str]:
    """Read the lines of a list of samples, without the empty ones.

    Raises:
        DataError: no readable text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}; expected one file stem per line.") from error
    return [line.strip() for line in lines if line.strip()]


def raise_all(problems: Iterable[str]) -> None:
    """Raise one DataError with every problem, if there is one."""
    found = list(problems)
    if found:
        raise DataError("The data set is not usable until this is mended:\n- " + "\n- ".join(found))


def all_pairs(found: Iterable[tuple[list[Pair], list[str]]]) -> list[list[Pair]]:
    """Return the pairs of several folders, each with its problems in words, or raise one DataError with all of these."""
    found = list(found)
    raise_all(problem for _, problems in found for problem in problems)
    return [pairs for pairs, _ in found]


def first_ten(names: Sequence[str]) -> str:
    """List the first ten for a message, and count the rest."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
