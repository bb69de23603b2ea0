"""The files of an audit: the truth and the predictions of any tool, read one image at a time.

Every file is looked at once before anything is scored: what a folder holds is told from all of its files
(`data.any_mask`), and those that cannot be read are named together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data.any_mask import Contents, Kind, Stored, contents_of, read_stored
from ..data.catalog import DataConfig, official_colours, open_data
from ..data.classes import ClassTable, read_class_table
from ..data.colours import describe_colours, labels_of_colours
from ..data.io import as_colours
from ..data.mask_kinds import LARGEST_16_BITS, kind_of, labels_of, probabilities_of
from ..errors import ConfigError, DataError, ImageError
from ..progress import track
from ..report.records import Look
from ..types import IGNORE_INDEX
from .audit_coco import coco_results, coco_truth
from .audit_records import Labels, Masks, Predicted, Size, Truth, image_reader, images_in
from .evaluate import find_classes, scored_part
from .pairing import named_masks, pair_folder

TARGETS, PREDICTIONS, TARGET_KIND, KIND = "--targets", "--predictions", "--target_kind", "--kind"


def open_targets(targets: Path, *, classes: Path | None, images: Path | None, kind: Kind) -> Truth:
    """Open a folder of true masks, or a COCO file of annotations.

    Args:
        targets: the folder or the file.
        classes: a table of classes of any form that `read_class_table` knows; None takes the `classes.yaml` in or beside
            the folder, if there is one.
        images: folder of the images with the same stems.
        kind: of the masks.

    Raises:
        ConfigError, DataError: as the module says.
    """
    if is_coco(targets, TARGETS):
        if classes is not None:
            raise ConfigError(f"--classes is given beside the COCO file {targets}, which has its own; leave it out")
        return coco_truth(targets, images)
    table = find_classes(targets, None) if classes is None else read_table(classes)
    paths = named_masks(targets)
    contents, broken = _survey(paths, label=f"look at {targets.name}", table=table)
    if not contents:
        raise DataError(f"none of the {len(paths)} masks of {targets} can be read: {next(iter(broken.values()))}")
    known = list(contents.values())
    count = 2 if table.binary_foreground is not None else len(table.names) if table.names else None
    kind = kind_of(
        known, num_classes=count, truth=True, folder=targets, option=TARGET_KIND, kind=kind, ignore=table.ignore
    )
    table = _with_foreground(table, known, targets) if kind == "binary" else table

    image_files = images_in(images, tuple(paths))

    def read(name: str) -> Labels:
        stored = _stored(paths[name], table, count=count)
        return _true_labels(stored, kind, table, paths[name])

    return Truth(
        names=tuple(paths),
        table=table,
        count=count or _classes_held(kind, known),
        read=read,
        image=image_reader(image_files),
        image_files=image_files,
        look=Look(colours=table.colours or ()),
        source=str(targets),
        taken=_words(kind, known, foreground=table.binary_foreground),
        sizes={name: one.size for name, one in contents.items()},
        broken=broken,
    )


def truth_of_data(name: str) -> Truth:
    """Open the test part of a data set, or the validation part where there is none."""
    data = DataConfig(name=name, val_fraction=0)
    splits = open_data(data)
    part, dataset = scored_part(splits)
    index = {one: number for number, one in enumerate(dataset.names)}
    colours = official_colours(data, len(dataset.classes))

    def read(one: str) -> Labels:
        target = dataset[index[one]].target
        if target is None:
            raise DataError(f"{one}: has no true mask in {name}")
        return target.numpy()

    return Truth(
        names=dataset.names,
        table=ClassTable(names=tuple(dataset.classes), colours=colours or None),
        count=len(dataset.classes),
        read=read,
        image=lambda one: as_colours(dataset[index[one]].image.permute(1, 2, 0).numpy()),
        look=Look(colours=colours, background=splits.background),
        source=name,
        taken=f"the {part} part of the data set",
        sizes={},
        broken={},
        image_files={},
    )


def open_masks(predictions: Path, truth: Truth, *, kind: Kind, threshold: float, others: bool) -> Masks:
    """Open a folder of predicted masks, or a COCO file of results.

    Args:
        predictions: the folder or the file.
        truth: that they are scored against.
        kind: of the masks of a folder.
        threshold: score that an object of a COCO file must reach.
        others: whether masks of other images may lie there, too.

    Raises:
        DataError: masks that are missing or of no image, all at once; or as the module says.
    """
    if is_coco(predictions, PREDICTIONS):
        return coco_results(predictions, truth, threshold)
    paths = pair_folder(predictions, truth.names, truth=truth.source, others=others)
    contents, broken = _survey(
        paths, label=f"look at {predictions.name}", table=truth.table, count=truth.count, like=truth.sizes
    )
    if not contents:
        raise DataError(f"none of the {len(paths)} masks of {predictions} can be read: {next(iter(broken.values()))}")
    known = list(contents.values())
    told = kind_of(known, num_classes=truth.count, truth=False, folder=predictions, option=KIND, kind=kind)
    if kind == "auto" and told == "labels" and not truth.table.names:
        _refuse_stretched(known, truth.count, predictions)

    def read(name: str, size: Size) -> Predicted:
        stored = _stored(paths[name], truth.table, count=truth.count, like=size)
        return _prediction(stored, told, truth, paths[name])

    return Masks(
        source=predictions,
        read=read,
        taken=_words(told, known),
        count=_classes_held(told, known),
        soft=told in ("probabilities", "logits"),
        broken=broken,
    )


def is_coco(path: Path, option: str) -> bool:
    """Whether the path is a COCO file rather than a folder.

    Raises:
        DataError: another file.
    """
    if path.is_file() and path.suffix.lower() != ".json":
        raise DataError(f"{path} is a file; expected a folder of masks for {option}, or a COCO file (.json)")
    return path.is_file()


def read_table(path: Path) -> ClassTable:
    """Read the table of classes that `--classes` names."""
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist; expected a table of classes: classes.yaml, CSV, labelmap.txt or JSON"
        )
    return read_class_table(path)


def _survey(
    paths: Mapping[str, Path],
    *,
    label: str,
    table: ClassTable,
    count: int | None = None,
    like: Mapping[str, Size] | None = None,
) -> tuple[dict[str, Contents], dict[str, str]]:
    """Look at every file: name → what it holds, and name → why it cannot be read."""
    contents, broken = {}, {}
    for name, path in track(paths.items(), label=label, total=len(paths), unit="masks"):
        try:
            stored = _stored(path, table, count=count, like=(like or {}).get(name))
            contents[name] = contents_of(stored, path)
        except (ImageError, DataError) as error:
            broken[name] = str(error)
    return contents, broken


def _stored(path: Path, table: ClassTable, *, count: int | None, like: Size | None = None) -> Stored:
    colours, ignore = table.colours or (), table.ignore_colours
    return read_stored(path, like=like, num_classes=count, colours=colours, ignore=ignore)


def _classes_held(kind: Kind, contents: Sequence[Contents]) -> int:
    """The number of classes up to the greatest label, or of the channels, at least 2; 255 and what is beyond name none."""
    if kind != "labels":
        return max(2, *(one.channels for one in contents))
    labels = (value for one in contents for value in one.integers if 0 <= value < IGNORE_INDEX)
    return max(2, 1 + max(labels, default=0))


def _refuse_stretched(contents: Sequence[Contents], count: int, folder: Path) -> None:
    """Refuse 0, 50, 100, 150 where the truth has 0..3: each number would become a class, and the scores nonsense."""
    values = sorted({value for one in contents for value in one.integers} - {IGNORE_INDEX})
    if values and len(values) <= count and values[-1] >= 2 * count:
        shown = ", ".join(map(str, values[:5])) + ", ..." * (len(values) > 5)
        raise DataError(
            f"{folder} holds the values {shown}, the truth the classes 0..{count - 1}; were they stretched to be seen? If "
            f"these are numbers of classes, name the classes with --classes, or say {KIND} labels"
        )


def _with_foreground(table: ClassTable, contents: Iterable[Contents], folder: Path) -> ClassTable:
    values = {value for one in contents for value in one.integers} - {0, table.ignore}
    foreground = table.binary_foreground or (values - {IGNORE_INDEX} or {IGNORE_INDEX}).pop()
    others = values - {foreground, IGNORE_INDEX}
    if others:
        raise DataError(
            f"{folder} holds {len(others) + 1} values beside 0, such as {foreground} and {min(others)}; expected one, the "
            f"foreground, for {TARGET_KIND} binary"
        )
    return replace(table, binary_foreground=IGNORE_INDEX if foreground == LARGEST_16_BITS else foreground)


def _true_labels(stored: Stored, kind: Kind, table: ClassTable, path: Path) -> Labels:
    if stored.storage == "colours":
        return _by_colours(stored, table, path)
    if kind in ("probabilities", "logits"):
        return labels_of(stored, kind, path=path)
    values = stored.values
    if kind == "binary":
        # A table knows 8 bits: white of 16 bits is its 255.
        values = np.where(values == LARGEST_16_BITS, IGNORE_INDEX, values)
    return table.encode(values, path=path)


def _by_colours(stored: Stored, table: ClassTable, path: Path) -> Labels:
    if table.colours is None:
        raise DataError(f"{path}: is in colours; name those of the classes with --classes")
    labels, unknown = labels_of_colours(stored.values, table.colours, ignore=table.ignore_colours)
    if unknown:
        raise DataError(
            f"{path}: holds the colours {describe_colours(unknown)}, which are of no class; complete the table of --classes"
        )
    return labels


def _prediction(stored: Stored, kind: Kind, truth: Truth, path: Path) -> Predicted:
    if stored.storage == "colours":
        return Predicted(labels=_by_colours(stored, truth.table, path))
    if kind in ("probabilities", "logits"):
        soft = probabilities_of(stored, kind, path=path)
        channels = 2 if len(soft) == 1 else len(soft)
        if channels < truth.count or (truth.table.names and channels > truth.count):
            raise DataError(
                f"{path}: has {len(soft)} channel(s) of {kind}; expected one for each of the {truth.count} classes"
            )
        return Predicted(labels=labels_of(stored, kind, path=path), probabilities=soft)
    if kind == "binary":
        values = np.unique(stored.values)
        if len(values) > 2 or (len(values) == 2 and values[0] != 0):
            raise DataError(f"{path}: holds the values {values[:5].tolist()}; a binary mask has 0 and one other value")
        return Predicted(labels=(stored.values != 0).astype(np.uint8))
    return Predicted(labels=stored.values)


def _words(kind: Kind, contents: Sequence[Contents], *, foreground: int | None = None) -> str:
    """Say what the files of a folder were taken for."""
    one = contents[0]
    if kind == "labels":
        return "label maps: each integer is the number of a class"
    if kind == "binary":
        others = {value for some in contents for value in some.integers} - {0}
        values = [foreground] if foreground and LARGEST_16_BITS not in others else sorted(others)
        return f"masks of 0 and {' or '.join(map(str, values)) or 'another value'}, which is the foreground"
    if kind == "colours":
        return "colours, by the table of classes"
    stored = (
        f"integers from 0 to {one.largest}"
        if one.storage == "integers"
        else f"floats, {one.channels} channel{'s' if one.channels > 1 else ''}"
    )
    rule = "the foreground from 0.5 on" if one.channels == 1 else "the most probable class"
    return f"{kind} ({stored}): {rule}"
