"""The page's tables of panoptic segments: PQ, SQ and RQ of all classes, of things and of stuff, and by class."""

from collections.abc import Mapping
from typing import get_args

from maskwright.metrics.panoptic import (
    PANOPTIC_DEFINITIONS,
    Group,
    PanopticResult,
    class_quality,
    panoptic_interval,
    panoptic_quality,
)
from maskwright.report.instances import PANOPTIC_LABELS, Section, interval_cell, plain_cell
from maskwright.report.tables import Cell

GROUPS: tuple[Group, ...] = get_args(Group)


def panoptic_sections(stages: Mapping[str, PanopticResult]) -> tuple[Section, ...]:
    """Return the tables of scored segments; the first stage is the base that the others are compared with."""
    base = next(iter(stages.values()))
    labels = {
        f"{score}_{group}": label if group == "all" else f"{label} {group}"
        for group in GROUPS
        for score, label in PANOPTIC_LABELS.items()
    }
    together = Section(
        heading="Panoptic quality",
        labels=labels,
        rows={name: [cell for group in GROUPS for cell in _cells(base, one, group)] for name, one in stages.items()},
        definitions={PANOPTIC_LABELS[name]: text + "." for name, text in PANOPTIC_DEFINITIONS.items()},
        remarks=(
            f"{len(base.things)} classes of things, {len(base.stuff)} of stuff; a mean is over those that occur.",
            "Void pixels of the truth leave every union. A predicted segment that lies by more than half in void, or in a "
            "crowd of its class, is no mistake; a crowd is neither found nor missed.",
        ),
    )
    by_class = Section(heading="Panoptic quality by class", labels=PANOPTIC_LABELS, rows=_class_rows(stages))
    return together, by_class


def _cells(base: PanopticResult, one: PanopticResult, group: Group) -> list[Cell]:
    quality = panoptic_quality(one, group)
    change = None if one is base else panoptic_interval(one, group=group, base=base)
    return [
        interval_cell(panoptic_interval(one, group=group), change),
        plain_cell(quality.sq),
        plain_cell(quality.rq),
    ]


def _class_rows(stages: Mapping[str, PanopticResult]) -> dict[str, list[Cell]]:
    rows = {}
    quality = {name: class_quality(one) for name, one in stages.items()}
    first = next(iter(stages.values()))
    for label in [*first.things, *first.stuff]:
        title = f"{first.classes[label]} ({'thing' if label in first.things else 'stuff'})"
        for name, values in quality.items():
            row = f"{title}, {name}" if len(stages) > 1 else title
            rows[row] = [plain_cell(float(value)) for value in values[:, label]]
    return rows
