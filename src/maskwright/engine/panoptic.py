"""Scoring of panoptic files: predicted segments against the truth, one image in memory at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import UInt8

from ..data.coco_panoptic import PanopticTruth, SegmentFile, read_panoptic_predictions
from ..metrics import EvaluationMeter
from ..metrics.panoptic import (
    Group,
    PanopticMeter,
    PanopticResult,
    Quality,
    class_quality,
    panoptic_interval,
    panoptic_quality,
)
from ..progress import track
from ..types import IGNORE_INDEX, EvaluationResult, Segments
from .instances import finite, interval_list

GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, kw_only=True)
class PanopticEvaluation:
    """One panoptic prediction, scored.

    Attributes:
        masks: counts of pixels by class, segments of a class together; void and crowds of the truth are ignored.
        panoptic: matches for PQ.
        files: image's name → predicted segments.
    """

    masks: EvaluationResult
    panoptic: PanopticResult
    files: Mapping[str, SegmentFile]


def evaluate_panoptic(predictions: Path, truth: PanopticTruth) -> PanopticEvaluation:
    """Score the panoptic quality of a file of predictions, and the pixels of each class.

    Args:
        predictions: a panoptic JSON file with its folder of PNGs; images that the truth does not have are left alone.
        truth: from `read_panoptic_truth`.

    Raises:
        DataError: images without prediction, files that do not fit each other, unknown categories, or other sizes.
        ImageError: a PNG cannot be decoded.
    """
    found = read_panoptic_predictions(predictions, truth)
    masks = EvaluationMeter(truth.classes)
    meter = PanopticMeter(truth.classes, things=truth.things, stuff=truth.stuff)
    for image, file in track(truth.images.items(), label="evaluate", total=len(truth.images)):
        true, own = file.read(), found[image].read()
        meter.update(own, true)
        masks.update(file.name, segment_labels(own, void=0), segment_labels(true, void=IGNORE_INDEX))
    return PanopticEvaluation(
        masks=masks.result(), panoptic=meter.result(), files={file.name: file for file in found.values()}
    )


def segment_labels(segments: Segments, *, void: int) -> UInt8[np.ndarray, "h w"]:
    """Return the class of each pixel's segment, `void` where there is none, and 255 of crowds."""
    labels = segments.classes.copy()
    if segments.crowd is not None and void == IGNORE_INDEX:
        labels[segments.crowd] = IGNORE_INDEX
    return np.concatenate([[void], labels]).astype(np.uint8)[segments.ids]


def panoptic_record(results: Mapping[str, PanopticEvaluation]) -> dict[str, Any]:
    """Return the scores of segments of all stages as JSON, the first with which the others are compared."""
    base = next(iter(results.values()))
    return {name: _stage_record(one.panoptic, base.panoptic) for name, one in results.items()}


def _stage_record(one: PanopticResult, base: PanopticResult) -> dict[str, Any]:
    quality, counts = class_quality(one), one.counts.sum(0)
    record: dict[str, Any] = {
        group: {score: finite(value) for score, value in panoptic_quality(one, group)._asdict().items()}
        for group in GROUPS
    }
    record["intervals"] = {group: interval_list(panoptic_interval(one, group=group)) for group in GROUPS}
    record["classes"] = {
        one.classes[label]: {
            **{score: finite(quality[row, label]) for row, score in enumerate(Quality._fields)},
            **dict(zip(("matched", "spurious", "missed"), counts[:, label].tolist(), strict=True)),
            "thing": label in one.things,
        }
        for label in sorted(one.things + one.stuff)
    }
    if one is not base:
        record["change"] = {group: interval_list(panoptic_interval(one, group=group, base=base)) for group in GROUPS}
    return record
