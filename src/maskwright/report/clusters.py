"""The page of `maskwright cluster`: pictures beside their segments, and a table of all images."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskwright.files import write_text
from maskwright.report.gallery import Row, Tile
from maskwright.report.page import environment
from maskwright.report.pictures import image_uri, is_small
from maskwright.report.records import RGB

MAX_PICTURES = 48
"""Images that a page shows, so that it stays below about 10 MB; the table has all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusteredImage:
    """What grouping gave for one image.

    Attributes:
        width, height: pixels.
        colours: distinct colours of the image.
        segments: number of labels.
        seconds: that the grouping took, without reading and writing.
    """

    width: int
    height: int
    colours: int
    segments: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterPictures:
    """One image, its segments in their colours, and its outlines: RGB of one size, already as small as they are shown."""

    name: str
    image: RGB
    filled: RGB
    outlined: RGB


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterReport:
    """Everything that the page shows.

    Attributes:
        commands: command lines that make it again.
        settings: options by name.
        images: by name, in order.
        missing: names of images that failed.
        pictures: of some of the images; taken once.
    """

    commands: tuple[str, ...]
    settings: Mapping[str, str]
    images: Mapping[str, ClusteredImage]
    missing: tuple[str, ...]
    pictures: Iterable[ClusterPictures]


def write_cluster_report(path: Path, report: ClusterReport) -> None:
    """Writes the page as one self-contained HTML file, atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    images = list(report.images.values())
    page = environment().get_template("clusters.html.jinja").render(
        report=report,
        median_segments=statistics.median_low(image.segments for image in images) if images else 0,
        median_seconds=statistics.median(image.seconds for image in images) if images else 0.0,
        rows=[(pictures.name, _row(pictures)) for pictures in report.pictures],
    )  # fmt: skip
    write_text(path, page)


def _row(pictures: ClusterPictures) -> Row:
    shown = {"picture": pictures.image, "segments": pictures.filled, "outlines": pictures.outlined}
    tiles = [
        Tile(uri=image_uri(image, max_side=max(image.shape)), caption=caption, pixelated=is_small(image))
        for caption, image in shown.items()
    ]
    height, width = pictures.image.shape[:2]
    return Row(heading="", tiles=tiles, ratio=float(np.clip(width / height, 0.6, 1.8)))
