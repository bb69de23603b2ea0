"""Annotations of one tool as those of another: `maskwright convert`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.classes import ClassNames, read_class_names
from ..data.colours import Colour
from ..data.folder import first_ten
from ..data.formats import FORMATS, AnnotationSet, recognise_format
from ..errors import ConfigError, DataError
from ..files import sweep_temporary, write_text
from ..progress import Bar
from .batch import RECORD, claim, raise_failures

NOTES = "notes.txt"
"""File of what was odd, a line each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What was converted.

    Attributes:
        format: name of the format that was read.
        images: number of images that are written.
        classes: index = label.
        notes: what was odd, each with its file; `NOTES` has them too.
    """

    format: str
    images: int
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def convert(
    source: Path,
    out: Path,
    *,
    to: str,
    from_format: str | None = None,
    images: Path | None = None,
    classes: Path | None = None,
    copy: bool = False,
) -> Conversion:
    """Read annotations of any format of `FORMATS`, and write them as another.

    One bad image does not stop the others. The same call again goes on where it was stopped. Nothing in the source is
    changed, and nothing replaced that another call wrote.

    Args:
        source: file or folder of the annotations.
        out: new folder.
        to: format that is written.
        from_format: format that is read; None recognises it.
        images: folder of the images where they do not lie beside the annotations.
        classes: class table of any tool, see `read_class_table`: the order of the labels, and colours.
        copy: copy the images instead of linking them.

    Raises:
        ConfigError: an unknown format; `out` lies within the source, or holds something else.
        DataError: the source cannot be read.
        BatchError: some images could not be read or written; the others are.
        WriteError: no space, no permission.
    """
    if not source.exists():
        raise DataError(f"{source}: is not there; expected a file or folder of annotations")
    name = from_format or _recognised(source)
    for one in (name, to):
        if one not in FORMATS:
            raise ConfigError(f"unknown format {one!r}; expected one of {', '.join(FORMATS)}")
    if images is not None and not images.is_dir():
        raise DataError(f"--images {images}: is no folder; expected the one that holds the pictures")
    _check_place(source, out)
    table = read_class_names(classes) if classes is not None else None
    annotations = _with_colours(FORMATS[name].read(source, images, table), table)
    settings = {"from": name, "to": to, "images": _text(images), "classes": _text(classes), "copy": copy}
    _claim(out, {"command": "convert", "source": _text(source), **settings})
    with Bar("convert", total=len(annotations.items)) as bar:
        failures = FORMATS[to].write(annotations, out, copy=copy, done=bar.advance)
    notes = _write_notes(out, annotations)
    failures = [*annotations.broken, *failures]
    raise_failures(failures, total=len(annotations.items) + len(annotations.broken))
    return Conversion(format=name, images=len(annotations.items), classes=annotations.classes, notes=notes)


def _recognised(source: Path) -> str:
    name = recognise_format(source)
    if name is None and source.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z"):
        raise DataError(f"{source}: is an archive; unpack it, and name the folder")
    if name is None:
        raise DataError(
            f"{source}: looks like no format that is known ({', '.join(FORMATS)}); expected a file or folder of one of "
            "them. If it is one, name it with --from, which tells what is missing."
        )
    return name


def _check_place(source: Path, out: Path) -> None:
    inside, outside = os.path.realpath(out), os.path.realpath(source)
    if inside == outside or inside.startswith(outside + os.sep):
        raise ConfigError(f"{out} lies within the source, which stays as it is; choose another folder for --out")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; choose another --out")


def _claim(out: Path, settings: Mapping[str, str | int | None]) -> None:
    """Take the folder, or refuse it where it holds anything but a part of the same conversion."""
    begun = out.is_dir() and any(entry.name != RECORD for entry in out.iterdir())
    claim(out, settings, begun=begun)
    for folder, _, _ in os.walk(out) if begun else ():
        sweep_temporary(Path(folder))


def _text(path: Path | None) -> str | None:
    return None if path is None else os.path.realpath(path)


def _with_colours(annotations: AnnotationSet, table: ClassNames | None) -> AnnotationSet:
    """Return the set with the colours of the table that was given, where it has one for each class."""
    if table is None or table.colours is None:
        return annotations
    by_name = dict(zip(table.names, table.colours, strict=True))
    black: Colour = (0, 0, 0)
    found = [by_name.get(name, black if label == 0 else None) for label, name in enumerate(annotations.classes)]
    colours = tuple(colour for colour in found if colour is not None)
    return replace(annotations, colours=colours) if len(set(colours)) == len(annotations.classes) else annotations


def _write_notes(out: Path, annotations: AnnotationSet) -> tuple[str, ...]:
    """Write what was odd, with what an earlier call noted of images that are not drawn again."""
    file = out / NOTES
    earlier = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    lines = [" ".join(note.split()) for note in annotations.notes]
    notes = tuple(dict.fromkeys([*earlier, *lines]))
    if notes:
        write_text(file, "\n".join(notes) + "\n")
    return notes


def summary(conversion: Conversion, out: Path) -> str:
    """Say what was converted, and the first of what was odd."""
    lines = [f"{conversion.images} images of {conversion.format} in {out}, classes: {first_ten(conversion.classes)}"]
    if conversion.notes:
        lines.append(f"{len(conversion.notes)} notes, all in {out / NOTES}:")
        lines += [f"  {note}" for note in conversion.notes[:10]]
    return "\n".join(lines)
