"""The page's tables of objects: COCO's AP and AR, panoptic quality, by stage and by class."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from maskwright.metrics.bootstrap import Interval
from maskwright.metrics.instance import (
    INSTANCE_DEFINITIONS,
    INTERVAL_DETECTIONS,
    InstanceResult,
    Kind,
    class_values,
    instance_interval,
    instance_value,
)
from maskwright.metrics.panoptic import PANOPTIC_DEFINITIONS, PanopticResult, class_quality, panoptic_interval
from maskwright.report.tables import Cell, outcome_word

INSTANCE_LABELS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small",
    "ap_medium": "AP medium",
    "ap_large": "AP large",
    "ar_1": "AR 1",
    "ar_10": "AR 10",
    "ar": "AR",
}
PANOPTIC_LABELS = {"pq": "PQ", "sq": "SQ", "rq": "RQ"}

WITH_INTERVAL = ("ap", "ap50", "pq")
"""Scores that show an interval and a change: the headlines, of which a draw is quick enough."""


class ScoredObjects(Protocol):
    """The scored objects of one stage."""

    @property
    def objects(self) -> InstanceResult: ...

    @property
    def panoptic(self) -> PanopticResult: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A table of further scores on the page.

    Attributes:
        heading: above it.
        labels: score → heading of its column.
        rows: name of the row → a cell for each column.
        definitions: heading of a column → what it is, in words; `names` between backticks.
        remarks: below it, a sentence each.
    """

    heading: str
    labels: Mapping[str, str]
    rows: Mapping[str, list[Cell]]
    definitions: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def instance_sections(stages: Mapping[str, ScoredObjects]) -> tuple[Section, ...]:
    """Return the tables of scored objects; the first stage is the base that the others are compared with."""
    base = next(iter(stages.values()))
    masks = Section(
        heading="Objects by their masks",
        labels={**INSTANCE_LABELS, **PANOPTIC_LABELS},
        rows={
            name: [*_coco_cells(base, stage, "mask"), *_panoptic_cells(base, stage)] for name, stage in stages.items()
        },
        definitions={
            **{INSTANCE_LABELS[name]: text + "." for name, text in INSTANCE_DEFINITIONS.items()},
            **{PANOPTIC_LABELS[name]: text + "." for name, text in PANOPTIC_DEFINITIONS.items()},
        },
        remarks=tuple(_remarks(stages)),
    )
    boxes = Section(
        heading="Objects by their boxes",
        labels=INSTANCE_LABELS,
        rows={name: _coco_cells(base, stage, "box") for name, stage in stages.items()},
    )
    return (masks, boxes, *([_by_class(stages)] if len(base.objects.classes) > 2 else []))


def _coco_cells(base: ScoredObjects, stage: ScoredObjects, kind: Kind) -> list[Cell]:
    return [
        interval_cell(
            instance_interval(stage.objects, name, kind=kind),
            None if stage is base else instance_interval(stage.objects, name, base=base.objects, kind=kind),
        )
        if name in WITH_INTERVAL
        else plain_cell(instance_value(stage.objects, name, kind=kind))
        for name in INSTANCE_LABELS
    ]


def _panoptic_cells(base: ScoredObjects, stage: ScoredObjects) -> list[Cell]:
    return [
        interval_cell(
            panoptic_interval(stage.panoptic, "pq"),
            None if stage is base else panoptic_interval(stage.panoptic, "pq", base=base.panoptic),
        ),
        plain_cell(panoptic_interval(stage.panoptic, "sq", resamples=2).value),
        plain_cell(panoptic_interval(stage.panoptic, "rq", resamples=2).value),
    ]


def _by_class(stages: Mapping[str, ScoredObjects]) -> Section:
    columns = ("ap", "ap50", "ar")
    rows = {}
    for name, stage in stages.items():
        of_class = [class_values(stage.objects, column) for column in columns]
        quality = class_quality(stage.panoptic)
        for label, title in enumerate(stage.objects.classes[1:], start=1):
            values = [*(one[label - 1] for one in of_class), *quality[:, label]]
            rows[f"{title}, {name}" if len(stages) > 1 else title] = [plain_cell(float(value)) for value in values]
    labels = {**{column: INSTANCE_LABELS[column] for column in columns}, **PANOPTIC_LABELS}
    return Section(heading="Objects by class", labels=labels, rows=rows)


def _remarks(stages: Mapping[str, ScoredObjects]) -> list[str]:
    first = next(iter(stages.values())).objects
    remarks = [
        f"{name}: {stage.objects.predicted_objects:,} predicted objects, {stage.objects.true_objects:,} true ones; at most "
        f"{stage.objects.max_detections} of each image and class count for AP and AR."
        for name, stage in stages.items()
    ]
    if first.crowded_images:
        remarks.append(
            f"{first.crowded_images} images hold more true objects of a class than {first.max_detections}, so that AP and "
            "AR cannot reach 1 there; raise `max_detections`."
        )
    if any(stage.objects.predicted_objects > INTERVAL_DETECTIONS for stage in stages.values()):
        remarks.append(f"AP has no intervals here: with more than {INTERVAL_DETECTIONS:,} objects they take too long.")
    remarks.append(
        "For PQ, overlapping objects were cut so that the surest shows, and what no object covers is background: an object "
        "predicted there is a mistake."
    )
    return remarks


def interval_cell(reached: Interval, difference: Interval | None) -> Cell:
    """Return a cell with an interval, and a change where there is one."""
    return Cell(
        value=reached.value,
        interval=reached if math.isfinite(reached.low) else None,
        change=difference,
        outcome=None if difference is None else outcome_word(difference),
    )


def plain_cell(value: float) -> Cell:
    """Return a cell with nothing but its value."""
    return Cell(value=value, interval=None, change=None, outcome=None)
