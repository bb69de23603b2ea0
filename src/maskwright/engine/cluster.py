"""Grouping the pixels of a folder's images by mean shift: label maps, pictures of the segments, a table and a page."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter

from ..cluster import outlines, segment
from ..cluster.mean_shift import STEPS, Method
from ..cluster.segment import Merge
from ..data.io import read_image, read_labels, write_labels, write_mask, write_picture
from ..data.naming import list_images, output_names
from ..errors import BatchError, ConfigError, DataError, ImageError
from ..files import sweep_temporary
from ..report.clusters import MAX_PICTURES, ClusteredImage, ClusterPictures, ClusterReport, write_cluster_report
from ..report.pictures import label_palette
from ..types import IGNORE_INDEX
from .batch import run_batch
from .table import BatchTable, utf8

TABLE = "clusters.csv"
PAGE = "report.html"
LABELS, FILLED, OUTLINED = "labels", "filled", "outlined"
"""Folders of the outputs."""

MAX_LABELS = 2**16
"""Labels that a 16-bit picture holds."""

LINE_COLOUR = (255, 225, 0)
PIXELS_PER_LINE = 1500
"""Lines are one pixel wide, and one more for each so many pixels of the longer side, so that they show on a screen."""

THUMBNAIL_SIDE = 480


class ClusterTable(BatchTable[ClusteredImage]):
    """`clusters.csv` while a batch groups pixels."""

    columns = ("name", "width", "height", "colours", "segments", "seconds")

    @staticmethod
    def cells(row: ClusteredImage) -> tuple[object, ...]:
        return row.width, row.height, row.colours, row.segments, f"{row.seconds:.4f}"

    @staticmethod
    def row_of(*cells: str) -> ClusteredImage:
        *numbers, seconds = cells
        width, height, colours, segments = map(int, numbers)
        return ClusteredImage(width=width, height=height, colours=colours, segments=segments, seconds=float(seconds))


def cluster_folder(
    images: Path,
    out: Path,
    *,
    bandwidth: float = 2.5,
    steps: int = STEPS,
    spatial: float = 0.0,
    reduce: int | None = None,
    merge: Merge | None = None,
    connected: bool = False,
    min_region: int = 0,
    fuse: float = 0.0,
    tolerance: float | None = None,
    method: Method = "auto",
    commands: Sequence[str] = (),
) -> list[Path]:
    """Group the pixels of every image of a folder (or of one image); what is already there is not done again.

    `out` gets `labels/` (PNG: 8 bits with a palette up to 255 labels, which leaves 255 for ignored; else 16-bit grey),
    `filled/` (each segment in its mean sRGB colour), `outlined/` (lines between segments), `clusters.csv`, and
    `report.html` with the pictures of at most MAX_PICTURES images. An image's labels are written last.

    Args:
        images: a folder, or one file.
        out: folder of the results, created if need be.
        bandwidth, steps, spatial, reduce, merge, connected, min_region, fuse, tolerance, method: see `segment`.
        commands: command lines that the page shows.

    Returns:
        The label maps, in the order of the images.

    Raises:
        BatchError: some images failed; all others are written, and the page shows them.
        ConfigError: an option out of range; `out` is the images' folder, or holds results of other images or options.
        DataError: no image there.
    """
    paths = _inputs(images)
    folder = images if images.is_dir() else images.parent
    if os.path.realpath(folder) in {os.path.realpath(out / name) for name in ("", LABELS, FILLED, OUTLINED)}:
        raise ConfigError(f"{folder} holds the images; choose another folder for --out")
    names = output_names(paths)
    outputs = {path: out / LABELS / f"{names[path]}.png" for path in paths}

    def grouped(image: NDArray[np.uint8]) -> NDArray[np.int32]:
        return segment(
            image,
            bandwidth=bandwidth,
            steps=steps,
            spatial=spatial,
            reduce=reduce,
            merge=merge,
            connected=connected,
            min_region=min_region,
            fuse=fuse,
            tolerance=tolerance,
            method=method,
        )[0]

    grouped(np.zeros((1, 1, 3), np.uint8))  # options out of range are told at once, not for each image
    settings: dict[str, str | int | None] = {
        "bandwidth": str(float(bandwidth)),
        "steps": steps,
        "spatial": str(float(spatial)),
        "reduce": reduce,
        "merge": merge or ("modes" if spatial else "round"),
        "connected": bool(connected or min_region or fuse),
        "min_region": min_region,
        "fuse": str(float(fuse)),
        "tolerance": None if tolerance is None else str(tolerance),
        "method": method,
    }
    for name in ("", FILLED, OUTLINED):
        sweep_temporary(out / name)
    with ClusterTable(out / TABLE, {names[path]: output for path, output in outputs.items()}) as table:

        def one(path: Path) -> None:
            image = read_image(path)
            start = time.perf_counter()
            labels = grouped(image)
            seconds = time.perf_counter() - start
            _require_labels(path, labels)
            write_picture(out / FILLED / outputs[path].name, filled(image, labels))
            write_picture(out / OUTLINED / outputs[path].name, outlined(image, labels))
            table.add(names[path], _row(image, labels, seconds))
            _write_labels(outputs[path], labels)

        advice = "segment a smaller copy"
        try:
            origin: dict[str, str | int | None] = {"images": os.path.realpath(folder)}
            run_batch(outputs, one, label="cluster", settings=settings | origin, memory_advice=advice)
        except BatchError:
            _write_page(out, outputs, names, table.rows, settings, commands)
            raise
    _write_page(out, outputs, names, table.rows, settings, commands)
    return list(outputs.values())


def filled(image: UInt8[np.ndarray, "h w 3"], labels: Int32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the segments in their mean sRGB colours; labels are 0 … K − 1."""
    flat = labels.ravel()
    sizes = np.bincount(flat)
    means = np.stack([np.bincount(flat, image[..., channel].ravel()) / sizes for channel in range(3)], 1)
    return np.rint(means).astype(np.uint8)[labels]


def outlined(image: UInt8[np.ndarray, "h w 3"], labels: Int32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image with lines between its segments, which their shadows below and to the right set off bright ground."""
    thickness = 1 + max(labels.shape) // PIXELS_PER_LINE
    lines = outlines(labels)
    if thickness > 1:
        lines = maximum_filter(lines, thickness)
    shadow = np.zeros_like(lines)
    shadow[thickness:, thickness:] = lines[:-thickness, :-thickness]
    drawn = image.copy()
    drawn[shadow] //= 2
    drawn[lines] = LINE_COLOUR
    return drawn


def _inputs(images: Path) -> list[Path]:
    if not images.exists():
        raise DataError(f"{images} does not exist; expected a folder of images, or one image")
    paths = list_images(images) if images.is_dir() else [images]
    if not paths:
        raise DataError(f"{images} holds no image; expected PNG, JPEG, WebP or TIFF files")
    return paths


def _require_labels(path: Path, labels: NDArray[np.int32]) -> None:
    if labels.max() >= MAX_LABELS:
        raise DataError(
            f"{path}: has {labels.max() + 1} segments; a label picture holds {MAX_LABELS}. Join small ones "
            "(`--min-region 20`), or take a larger `--bandwidth`"
        )


def _write_labels(path: Path, labels: NDArray[np.int32]) -> None:
    """Write 8 bits where that leaves 255 for ignored, else 16."""
    if labels.max() < IGNORE_INDEX:
        write_mask(path, labels, palette=label_palette(int(labels.max()) + 1))
    else:
        write_labels(path, labels)


def _row(image: NDArray[np.uint8], labels: NDArray[np.int32], seconds: float) -> ClusteredImage:
    red, green, blue = np.moveaxis(image.astype(np.int32), -1, 0)
    seen = np.zeros(2**24, bool)
    seen[(red << 16) | (green << 8) | blue] = True
    height, width = labels.shape
    return ClusteredImage(
        width=width,
        height=height,
        colours=int(np.count_nonzero(seen)),
        segments=int(labels.max()) + 1,
        seconds=seconds,
    )


def _write_page(
    out: Path,
    outputs: Mapping[Path, Path],
    names: Mapping[Path, str],
    rows: Mapping[str, ClusteredImage],
    settings: Mapping[str, str | int | None],
    commands: Sequence[str],
) -> None:
    done = {path: output for path, output in outputs.items() if output.exists()}
    report = ClusterReport(
        commands=tuple(commands),
        settings={name: str(value) for name, value in settings.items() if value is not None},
        images={names[path]: rows[utf8(names[path])] for path in done if utf8(names[path]) in rows},
        missing=tuple(names[path] for path in outputs if path not in done),
        pictures=_pictures(out, done, names),
    )
    write_cluster_report(out / PAGE, report)


def _pictures(out: Path, done: Mapping[Path, Path], names: Mapping[Path, str]) -> Iterator[ClusterPictures]:
    """Yield small pictures of at most MAX_PICTURES images, evenly spread over all; lines are drawn anew, to stay thin."""
    paths = list(done)
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), MAX_PICTURES)).round().astype(int))
    for path in (paths[index] for index in chosen):
        try:
            image, labels = read_image(path), read_labels(done[path])
            colours = read_image(out / FILLED / done[path].name)
        except ImageError:
            continue  # taken away since; its row remains
        small = _shrunk(image, Image.Resampling.BOX)
        lines = _shrunk(labels.astype(np.int32), Image.Resampling.NEAREST)
        yield ClusterPictures(
            name=names[path],
            image=small,
            filled=_shrunk(colours, Image.Resampling.NEAREST),
            outlined=outlined(small, lines),
        )


def _shrunk(array: NDArray[np.generic], how: Image.Resampling) -> NDArray[np.generic]:
    """Return an image or labels with at most THUMBNAIL_SIDE pixels a side."""
    picture = Image.fromarray(array)
    shrink = min(1.0, THUMBNAIL_SIDE / max(picture.size))
    size = max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink))
    return np.asarray(picture.resize(size, how))
