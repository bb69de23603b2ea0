"""Commands about annotation formats: `convert`."""

from pathlib import Path
from typing import Literal

FormatName = Literal["voc", "yolo", "cvat", "coco", "labelme", "label_studio", "geojson", "folder"]
"""A name of `data.formats.FORMATS`."""


def convert(
    source: Path,
    out: Path,
    to: FormatName,
    from_format: FormatName | None = None,
    images: Path | None = None,
    classes: Path | None = None,
    copy: bool = False,
) -> None:
    """Turn the annotations of one tool into those of another, or into a folder that `train --data folder:` takes.

    Nothing in the source is changed; one bad image does not stop the others; the same command again does what is missing.

    Args:
        source: a file or folder of annotations.
        out: new folder.
        to: format that is written.
        from_format: format that is read (--from is short for it); it is recognised where it is not given.
        images: folder of the images, where they do not lie beside the annotations.
        classes: class table, for the order of the labels and their colours: classes.yaml, CSV with name,r,g,b,
            labelmap.txt, a text with a name per line, or a JSON list.
        copy: copy the images instead of linking them.
    """
    from ..engine.convert import convert as run
    from ..engine.convert import summary

    done = run(source, out, to=to, from_format=from_format, images=images, classes=classes, copy=copy)
    print(summary(done, out))
    if to == "folder":
        print(f"train from it with --data folder:{out}")
