"""Weak labels of a data set that has full masks: written to files, to train from and compare."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64, UInt8

from ..data.catalog import DataConfig, open_data
from ..data.io import write_mask
from ..data.scribbles import one_box_each, one_point_each, scribbles
from ..data.weak import BOX, draw_boxes, draw_points, require_background
from ..errors import ConfigError, DataError
from ..files import write_text
from ..progress import track
from ..report.pictures import label_palette
from ..types import IGNORE_INDEX, Sample

WeakKind = Literal["scribble", "points", "boxes"]

COLUMNS = {"points": ("x", "y", "radius", "label"), "boxes": BOX}
"""Kind → columns of its table behind the image's name, in the order in which `draw_points` and `draw_boxes` take them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeakReport:
    """What was made, as training reads it.

    Attributes:
        share: (N,), share of the pixels of each image's mask, ignored ones left out, that have a weak label.
        agreement: share of all these labels that equal the mask; only those in the middle of a box may differ.
    """

    share: Float64[np.ndarray, " n"]
    agreement: float


def make_weak_labels(
    data: DataConfig, out: Path, *, kind: WeakKind = "scribble", share: float = 0.03, seed: int = 0
) -> WeakReport:
    """Make weak labels of the training images from their masks: see `data.scribbles`.

    `data.labels` takes them as `KIND:OUT`. Images that are held out for validation have some, too, so that they serve
    for any `data.val_fraction`.

    Args:
        data: which pictures; size and augmentation do not matter.
        out: new or empty folder, which gets a PNG for each image of `scribble`, else `points.csv` or `boxes.csv`.
        kind: `scribble`, `points` (one in each region) or `boxes` (one around each region).
        share: of the pixels that scribbles cover, in (0, 1].
        seed: of all choices, together with the place of an image in the data set.

    Raises:
        ConfigError: another kind, boxes of data without a background, a share or a seed out of range, or `out` holds
            something.
        DataError: an image has no mask.
        WriteError: a file cannot be written.
    """
    if kind not in get_args(WeakKind):
        raise ConfigError(f"kind must be one of {', '.join(get_args(WeakKind))}; got {kind!r}")
    if not 0 < share <= 1 or seed < 0:
        raise ConfigError(f"share must be above 0 and at most 1, seed at least 0; got {share} and {seed}")
    splits = open_data(dataclasses.replace(data, val_fraction=0, labels=""))
    require_background(f"{kind}:{out}", splits)
    dataset = splits.train
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} holds something already; choose another --out, or delete it")
    rows: list[Mapping[str, float | str]] = []
    labelled, correct, all_pixels = (np.zeros(len(dataset)) for _ in range(3))
    for index in track(range(len(dataset)), label=kind, total=len(dataset)):
        sample = dataset[index]
        truth = _truth(sample)
        generator = np.random.default_rng([seed, index])
        if kind == "scribble":
            labels = scribbles(truth, share=share, generator=generator)
            write_mask(out / f"{sample.name}.png", labels, palette=label_palette(len(dataset.classes)))
        else:
            found = one_point_each(truth, generator) if kind == "points" else one_box_each(truth)
            labels = _drawn(kind, found, truth.shape)
            # Of boxes, a row of a name alone says that there is nothing in the image.
            said = found or ([{}] if kind == "boxes" else [])
            rows += [{"name": sample.name, **row} for row in said]
        known = truth != IGNORE_INDEX
        all_pixels[index] = known.sum()
        labelled[index] = (known & (labels != IGNORE_INDEX)).sum()
        correct[index] = (known & (labels == truth)).sum()
    if kind != "scribble":
        _write_rows(out / f"{kind}.csv", rows, ("name", *COLUMNS[kind]))
    return WeakReport(share=labelled / all_pixels.clip(1), agreement=float(correct.sum() / max(labelled.sum(), 1)))


def _truth(sample: Sample) -> UInt8[np.ndarray, "h w"]:
    if sample.target is None:
        raise DataError(f"{sample.name} has no mask; weak labels are made from full masks of the training images")
    return sample.target.numpy()


def _drawn(kind: WeakKind, rows: Sequence[Mapping[str, float]], shape: tuple[int, ...]) -> UInt8[np.ndarray, "h w"]:
    """Return the label map that training will see."""
    draw = draw_points if kind == "points" else draw_boxes
    labels: np.ndarray = draw([tuple(row[column] for column in COLUMNS[kind]) for row in rows], shape)  # type: ignore
    return labels


def _write_rows(path: Path, rows: Sequence[Mapping[str, float | str]], columns: Sequence[str]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
