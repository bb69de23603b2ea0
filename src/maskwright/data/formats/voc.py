"""PASCAL VOC's segmentation layout (Everingham et al. 2015), also CVAT's "Segmentation mask 1.1".

`JPEGImages/`, `SegmentationClass/` (palette or RGB PNGs), `ImageSets/Segmentation/` (lists of the parts), and CVAT's
`labelmap.txt` (names and colours); without it VOC's 21 classes and colours hold. Masks are read by the colours that they
show; a palette whose colours no class has, by its indices. VOC's outline colour (224, 224, 192) is ignored, unless a class
has it. Written, masks are palette PNGs whose indices are the labels. Label maps come back exactly.
"""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import DataError, ImageError
from ...files import write_text
from ...types import IGNORE_INDEX
from ..classes import ClassNames, read_class_names
from ..colours import Colour, describe_colours, labels_of_colours
from ..decode import read_size
from ..folder import read_list
from ..io import read_colours, read_labels, write_mask
from ..voc import CLASSES, colour_map
from .record import Annotated, AnnotationSet, Labels, Layout, Target, Written
from .sources import Images, is_background, part_of, pictures_below, unique_names
from .writing import Format

_LISTS = Path("ImageSets") / "Segmentation"
_MASKS = "SegmentationClass"
_OUTLINE = (224, 224, 192)


def recognise(path: Path) -> bool:
    """Whether a folder, or a folder VOC... in it, has `SegmentationClass/`."""
    return _root(path) is not None


def read(path: Path, images: Path | None = None, classes: ClassNames | None = None) -> AnnotationSet:
    """Read the masks that lists name, in their order, then the others.

    Raises:
        DataError: no such layout, or an unusable class table or list.
    """
    root = _root(path)
    if root is None:
        raise DataError(f"{path}: has no {_MASKS}/; expected VOC's layout: JPEGImages/, {_MASKS}/, {_LISTS}/")
    names, colours = _table(root, classes)
    notes: list[str] = []
    masks = _masks(root / _MASKS)
    parts = _parts(root, masks.keys())
    for listed in parts.keys() - masks.keys():
        notes.append(f"{root / _LISTS}: {listed} is listed but has no mask")
    order = [listed for listed in parts if listed in masks] + [found for found in masks if found not in parts]
    finder = Images([images] if images else [root / "JPEGImages", root / "images"])
    items, broken = [], []
    for stem, name in zip(order, unique_names([f"{stem}.png" for stem in order], notes), strict=True):
        mask = masks[stem]
        try:
            height, width = read_size(mask)
        except ImageError as error:
            broken.append(str(error))
            continue
        image = finder.find(f"{stem}.jpg")
        if image is None:
            notes.append(f"{mask}: its image {stem}.jpg is missing")
        labels = partial(_read_mask, mask, colours)
        items.append(
            Annotated(name=name, image=image, height=height, width=width, part=parts.get(stem, ""), labels=labels)
        )
    return AnnotationSet(
        format="voc", classes=names, colours=colours, items=tuple(items), notes=notes, broken=tuple(broken)
    )


def _root(path: Path) -> Path | None:
    candidates = [path, path / "VOC2012", path / "VOCdevkit" / "VOC2012"]
    return next((root for root in candidates if (root / _MASKS).is_dir()), None)


def _table(root: Path, given: ClassNames | None) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Return names and colours, the background first."""
    found = root / "labelmap.txt"
    names, colours = read_class_names(found) if found.is_file() else (CLASSES, colour_map(len(CLASSES)))
    if given is not None:
        names, colours = given.names, given.colours or _coloured(given.names, names, colours)
    table = dict(zip(names, colours or colour_map(len(names)), strict=True))
    first = next((name for name in table if is_background(name)), None)
    if first is None:
        first, table = "background", {"background": (0, 0, 0), **table}
    table = {first: table[first], **table}
    if len(set(table.values())) < len(table) or len(table) > IGNORE_INDEX or len(table) < 2:
        raise DataError(f"{found}: names {len(table)} classes of {len(set(table.values()))} colours; expected 2 to 255")
    return tuple(table), tuple(table.values())


def _coloured(
    given: Sequence[str], names: Sequence[str], colours: Sequence[Colour] | None
) -> tuple[Colour, ...] | None:
    """Return the file's colours for the names that are given, None where it has not all of them."""
    known = dict(zip(names, colours or (), strict=False))
    return tuple(known[name] for name in given) if all(name in known for name in given) else None


def _parts(root: Path, masks: Collection[str]) -> dict[str, str]:
    """Return what the lists name → part, in their order; a line may also tell classes behind the name."""
    found: dict[str, str] = {}
    lists = sorted((root / _LISTS).glob("*.txt")) if (root / _LISTS).is_dir() else []
    for path in sorted(lists, key=lambda path: ("train", "val", "test", "").index(part_of(path.stem))):
        for line in read_list(path):
            whole = line.strip('"').replace("\\", "/")
            stem = whole if whole in masks else whole.split()[0].strip("/")
            found.setdefault(stem, part_of(path.stem))
    return found


def _masks(folder: Path) -> dict[str, Path]:
    """Return path below the folder, without suffix → mask; CVAT keeps the folders that pictures had."""
    return {mask.relative_to(folder).with_suffix("").as_posix(): mask for mask in pictures_below(folder)}


def _read_mask(path: Path, colours: Sequence[Colour]) -> Labels:
    ignore = [] if _OUTLINE in colours else [_OUTLINE]
    rgb = read_colours(path, palette=True)
    unknown: dict[Colour, int] = {}
    if rgb is not None:
        labels, unknown = labels_of_colours(rgb, colours, ignore=ignore)
        if not unknown:
            return labels
    try:
        stored = read_labels(path)
    except ImageError as error:
        if not unknown:
            raise
        raise DataError(
            f"{path}: holds the colours {describe_colours(unknown)}, which no class has; name them in labelmap.txt"
        ) from error
    other = (stored < 0) | ((stored >= len(colours)) & (stored != IGNORE_INDEX))
    if other.any():
        raise DataError(
            f"{path}: holds the labels {np.unique(stored[other])[:5].tolist()}; expected 0..{len(colours) - 1} or 255"
        )
    return stored.astype(np.uint8)


def _one(written: Written, out: Path, target: Target) -> None:
    write_mask(out / _mask_file("", written.item.name), written.labels, palette=_palette(target))


def _palette(target: Target) -> np.ndarray:
    palette = np.array(colour_map(256), np.uint8)
    colours = target.colours
    if colours is not None and _OUTLINE not in colours and len(set(colours)) == len(colours):
        palette[: len(colours)] = colours
    return palette


def _mask_file(part: str, name: str) -> Path:
    return Path(_MASKS) / f"{name}.png"


def _finish(written: Sequence[tuple[Annotated, object]], target: Target) -> None:
    lines = ["# label:color_rgb:parts:actions"]
    for name, colour in zip(target.classes, _palette(target).tolist(), strict=False):
        lines.append(f"{name}:{','.join(map(str, colour))}::")
    write_text(target.out / "labelmap.txt", "\n".join(lines) + "\n")
    for part in sorted({target.part(item) for item, _ in written}):
        names = [item.name for item, _ in written if target.part(item) == part]
        write_text(target.out / _LISTS / f"{part}.txt", "\n".join(names) + "\n")


FORMAT = Format(
    name="voc",
    title="PASCAL VOC segmentation (CVAT: Segmentation mask 1.1)",
    recognise=recognise,
    read=read,
    layout=Layout(
        images=lambda part: Path("JPEGImages"),
        file=_mask_file,
        one=_one,
        finish=_finish,
        fold=lambda parts: {part: part or "default" for part in parts},
    ),
)
