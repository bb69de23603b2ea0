"""Annotation formats of other tools, read into one record and written from it: the table `FORMATS`."""

from collections.abc import Mapping
from pathlib import Path

from . import coco, cvat, folder, geojson, label_studio, labelme, voc, yolo
from .record import Annotated, AnnotationSet
from .writing import Format

__all__ = ["FORMATS", "Annotated", "AnnotationSet", "Format", "recognise_format"]

FORMATS: Mapping[str, Format] = {
    "voc": voc.FORMAT,
    "yolo": yolo.FORMAT,
    "cvat": cvat.FORMAT,
    "coco": coco.FORMAT,
    "labelme": labelme.FORMAT,
    "label_studio": label_studio.FORMAT,
    "geojson": geojson.FORMAT,
    "folder": folder.FORMAT,
}
"""All formats by name, in the order in which a source is tried."""


def recognise_format(path: Path) -> str | None:
    """Return the name of the format that a file or folder looks like, None where it looks like none.

    Few files are opened, and of these the first kilobytes read, however large the folder is; nothing is raised.
    """
    for name, one in FORMATS.items():
        try:
            if one.recognise(path):
                return name
        except (OSError, ValueError):  # a folder that may not be entered, or a path that cannot be
            continue
    return None
