"""Masks as the COCO format stores them: polygons, run lengths (Lin et al. 2014), and panoptic PNGs.

Run lengths count pixels down the columns, 0 and 1 in turn, beginning with 0. Polygons are filled by pycocotools, so their
masks are COCO's own. Departs from it in: run lengths are decoded here, since pycocotools reads past the end of those that
do not fill the picture, and takes a polygon of four numbers for a box.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from pycocotools import mask as pycocotools_mask

from ..errors import DataError
from ..types import RLE
from .io import describe_labels, read_image

Runs = Int64[np.ndarray, " runs"]
"""Run lengths of a mask, 0 and 1 in turn, beginning with 0; they sum to height times width."""


def runs_of(segmentation: object, height: int, width: int) -> Runs:
    """Return the run lengths of one annotation's `segmentation`.

    Args:
        segmentation: list of polygons [x1, y1, x2, y2, ...] in pixels, which are united, or {"counts", "size"} with the
            counts as a list or as COCO's compressed text.
        height: of the picture, pixels.
        width: of the picture, pixels.

    Raises:
        DataError: of another form, or not of this size.
    """
    if isinstance(segmentation, dict):
        return _checked_runs(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise DataError(f"segmentation is {_short(segmentation)}; expected polygons or run lengths")
    polygons = [_checked_polygon(polygon, height, width) for polygon in segmentation]
    drawn = pycocotools_mask.merge(pycocotools_mask.frPyObjects(polygons, height, width))
    return _decompressed(drawn["counts"])


def rle_of(segmentation: object, height: int, width: int) -> RLE:
    """Return one annotation's `segmentation` as compressed run lengths; arguments and errors as of `runs_of`."""
    runs = runs_of(segmentation, height, width)
    packed: RLE = pycocotools_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
    return packed


def area_of(runs: Runs) -> int:
    """Return the number of pixels of the mask."""
    return int(runs[1::2].sum())


def mask_of(runs: Runs, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """Return the mask of run lengths that fill the picture."""
    mask: Bool[np.ndarray, "h w"] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    return mask


def read_segment_ids(path: Path) -> Int64[np.ndarray, "h w"]:
    """Decode a panoptic PNG: the segment's number is R + 256 G + 65536 B; 0 belongs to none.

    Raises:
        ImageError: the file cannot be decoded.
    """
    red, green, blue = np.moveaxis(read_image(path).astype(np.int64), -1, 0)
    ids: Int64[np.ndarray, "h w"] = red + 256 * green + 65536 * blue
    return ids


def read_segments(path: Path, listed: Sequence[int]) -> Int64[np.ndarray, "h w"]:
    """Decode a panoptic PNG whose segments are listed.

    Args:
        path: the PNG.
        listed: numbers of the segments, 1 or more.

    Returns:
        0 where there is none, i + 1 where the segment is `listed[i]`.

    Raises:
        ImageError: the file cannot be decoded.
        DataError: numbers that are none or come twice; or the PNG holds segments that are not listed, named with their
            pixels.
    """
    if not all(type(number) is int and 0 < number < 1 << 24 for number in listed) or len(set(listed)) < len(listed):
        raise DataError(
            f"{path}: its segments are listed as {_short(list(listed))}; expected different whole numbers from 1 on"
        )
    numbers = np.array([0, *listed])
    ids = read_segment_ids(path)
    order = np.argsort(numbers)
    place = order[np.searchsorted(numbers, ids, sorter=order).clip(max=len(numbers) - 1)]
    other = numbers[place] != ids
    if other.any():
        raise DataError(f"{path} holds segments that the file does not list: {describe_labels(ids[other])}")
    return place


def _checked_polygon(polygon: object, height: int, width: int) -> list[float]:
    try:
        points = np.array(polygon, np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2:
        raise DataError(f"polygon is {_short(polygon)}; expected x1, y1, x2, y2, x3, y3, ...: at least 6 numbers")
    # A point far outside would cost memory in proportion to its distance.
    if not (np.abs(points) <= 10 * max(height, width)).all():
        raise DataError(f"polygon reaches {np.abs(points).max():g}, far outside of {width} x {height} pixels")
    corners: list[float] = points.tolist()
    return corners


def _checked_runs(coded: dict[str, Any], height: int, width: int) -> Runs:
    size, counts = coded.get("size"), coded.get("counts")
    if size != [height, width]:
        raise DataError(f"run lengths are of size {_short(size)}; expected [height, width] = [{height}, {width}]")
    if isinstance(counts, str):
        runs = _decompressed(counts.encode("utf-8", "surrogatepass"))
    elif isinstance(counts, list) and all(type(count) is int and abs(count) < 2**40 for count in counts):
        runs = np.array(counts, np.int64)
    else:
        raise DataError(f"counts are {_short(counts)}; expected a list of whole numbers below 2**40, or COCO's text")
    if (runs < 0).any() or runs.sum() != height * width:
        raise DataError(
            f"run lengths sum to {runs.sum()}, the smallest is {runs.min(initial=0)}; expected lengths from 0 that sum to "
            f"{width} x {height} = {height * width} pixels"
        )
    return runs


def _decompressed(text: bytes) -> Runs:
    """Decode COCO's text: 5 bits per character, low ones first, bit 6 = more to come; from the third on, lengths are
    differences to the one before the last."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    if len(codes) == 0 or codes.min() < 0 or codes.max() > 63 or ends[-1:].tolist() != [len(codes) - 1]:
        raise DataError(f"counts are {_short(text.decode('ascii', 'replace'))}; that is no text of COCO's run lengths")
    starts = np.concatenate(([0], ends[:-1] + 1))
    digits = ends - starts + 1
    if digits.max() > 8:
        raise DataError("counts hold a number of more than 40 bits; that is no text of COCO's run lengths")
    place = np.arange(len(codes)) - np.repeat(starts, digits)
    values = np.add.reduceat((codes & 31) << (5 * place), starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * digits), 0)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
