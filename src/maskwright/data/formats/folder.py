"""maskwright's own layout: see `data.folder`. Label maps come back exactly.

Written with parts as `train/images/`, `train/masks/` and so on, where there is a training part; else as `images/` and
`masks/`. Images that are of no part then go to the training part.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...errors import DataError, ImageError
from ...files import write_text
from ..classes import ClassNames, ClassTable
from ..decode import load_array, named_failures, read_size
from ..folder import FolderDataset, Pair, open_folder, reader_of
from ..io import write_mask
from ..voc import colour_map
from .record import Annotated, AnnotationSet, Labels, Layout, Target, Written
from .sources import unique_names
from .writing import Format


def recognise(path: Path) -> bool:
    """Whether images and masks stand side by side."""
    pairs = [("images", "masks"), ("train/images", "train/masks"), ("images/train", "masks/train")]
    return any((path / images).is_dir() and (path / masks).is_dir() for images, masks in pairs)


def read(path: Path, images: Path | None = None, classes: ClassNames | None = None) -> AnnotationSet:
    """Read a folder data set by all rules of `open_folder`.

    Raises:
        DataError: see `open_folder`; or other classes or another folder of images are given, which it has itself.
    """
    if images is not None or classes is not None:
        raise DataError(
            f"{path}: is a folder data set, which has its images and classes.yaml; leave --images, --classes out"
        )
    splits = open_folder(path)
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    single = splits.val is None and splits.test is None and not _has_parts(path)
    items, broken = [], []
    notes: list[str] = []
    assert isinstance(splits.train, FolderDataset)
    table = splits.train.table
    found = [(part, pair) for part, data in parts.items() if isinstance(data, FolderDataset) for pair in data.pairs]
    # Only within its part is the name of a pair its own.
    names = unique_names([f"{part}/{pair.image.name}" for part, pair in found], notes)
    for name, (part, pair) in zip(names, found, strict=True):
        try:
            items.append(_item(name, pair, table, "" if single else part))
        except ImageError as error:
            broken.append(str(error))
    return AnnotationSet(
        format="folder",
        classes=table.names or (),
        colours=table.colours,
        items=tuple(items),
        notes=notes,
        broken=tuple(broken),
    )


def _has_parts(path: Path) -> bool:
    return any((path / name).exists() for name in ("train", "images/train", "train.txt"))


def _item(name: str, pair: Pair, table: ClassTable, part: str) -> Annotated:
    assert pair.mask is not None
    height, width = _size(pair.mask)
    return Annotated(
        name=name,
        image=pair.image,
        height=height,
        width=width,
        part=part,
        labels=partial(_read_mask, pair.mask, table),
    )


def _size(mask: Path) -> tuple[int, int]:
    if mask.suffix.lower() != ".npy":
        return read_size(mask)
    with named_failures(mask):
        height, width = load_array(mask, key="labels").shape
        return height, width


def _read_mask(mask: Path, table: ClassTable) -> Labels:
    return table.encode(reader_of(table)(mask), path=mask)


def _inside(part: str, kind: str) -> Path:
    return Path(part) / kind


def _one(written: Written, out: Path, target: Target) -> None:
    palette = np.array(target.colours or colour_map(len(target.classes)), np.uint8)
    write_mask(out / _mask_file(target.part(written.item), written.item.name), written.labels, palette=palette)


def _mask_file(part: str, name: str) -> Path:
    return _inside(part, "masks") / f"{name}.png"


def _finish(written: Sequence[tuple[Annotated, object]], target: Target) -> None:
    content: dict[str, Any] = {"names": list(target.classes)}
    if target.colours is not None:
        content["colours"] = [list(colour) for colour in target.colours]
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, default_flow_style=None, width=2**16)
    write_text(target.out / "classes.yaml", text)


def _fold(parts: frozenset[str]) -> Mapping[str, str]:
    return {part: part or "train" for part in parts} if "train" in parts else dict.fromkeys(parts, "")


FORMAT = Format(
    name="folder",
    title="maskwright's folder",
    recognise=recognise,
    read=read,
    layout=Layout(
        images=lambda part: _inside(part, "images"),
        file=_mask_file,
        one=_one,
        finish=_finish,
        needs_picture=True,
        any_first=True,
        fold=_fold,
    ),
)
