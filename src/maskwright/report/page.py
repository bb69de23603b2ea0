"""The report: one HTML file that opens offline, with the verdict on top and the evidence below it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup, escape

from maskwright.files import write_text
from maskwright.metrics.boundary_meter import BoundaryResult, has_boundary
from maskwright.metrics.scores import DEFINITIONS, scores
from maskwright.report import figures, gallery, pictures, tables
from maskwright.report.records import NOTICEABLE, Curve, Picture, Report, Stage
from maskwright.types import IGNORE_INDEX

MATRIX_CLASSES = 21
"""Up to this many classes a confusion matrix is shown in full, beyond it only the most frequent confusions."""

PictureOf = Callable[[str], Picture]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Everything that the page says of one refinement against the base."""

    verdict: tables.Verdict
    typical: gallery.Exhibit | None
    histogram: Markup
    improved: list[gallery.Exhibit]
    harmed: list[gallery.Exhibit]


@dataclass(frozen=True, kw_only=True, slots=True)
class Extremes:
    """The best and the worst images of one stage. `compared`: whether they are shown with the base's masks."""

    stage: str
    compared: bool
    best: list[gallery.Exhibit]
    worst: list[gallery.Exhibit]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One training as plots; each is None where it has no values. `best` says which epoch was best, in words."""

    name: str
    loss: Markup | None
    score: Markup | None
    score_name: str
    best: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryTable:
    """Boundary scores by stage, what they are in words, and what they left out."""

    rows: dict[str, list[tables.Cell]]
    definitions: dict[Markup, Markup]
    remarks: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """The tables of scores by one reading of the truth; `name` is empty where there is but one.

    `verdicts` says in a sentence for each stage what changed, for readings beside the first.
    """

    name: str
    verdicts: list[str]
    rows: dict[str, list[tables.Cell]]
    remarks: list[Markup]
    boundary: BoundaryTable | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassTables:
    """Scores and confusions by class, of stages that can be compared; `confusions` go with `stages`."""

    stages: list[str]
    classes: tuple[str, ...]
    rows: list[tables.ClassRow]
    matrices: list[list[list[float]]]
    confusions: list[list[tables.Confusion]]


def write_report(path: Path, report: Report) -> None:
    """Writes the report as one self-contained HTML file, atomically. The same report gives the same bytes.

    Raises:
        WriteError: the file cannot be written; a report that stood there keeps its content.
    """
    write_text(path, render(report))


def render(report: Report) -> str:
    """The report as HTML."""
    base, *others = report.stages
    reasons = {stage.name: tables.why_not_comparable(base.result, stage.result) for stage in others}
    compared = [stage for stage in others if reasons[stage.name] is None]
    alone = [stage for stage in others if reasons[stage.name] is not None]
    picture_of = cache(report.pictures)
    classes = base.result.classes
    return environment().get_template("page.html.jinja").render(
        report=report,
        base=base,
        comparisons=[_comparison(base, stage, picture_of) for stage in compared],
        plain_verdicts=[tables.plain_verdict(stage) for stage in ([] if compared else [base]) + alone],
        reasons={name: reason for name, reason in reasons.items() if reason is not None},
        few_images=len(base.result.names) < tables.FEW_IMAGES,
        score_labels=tables.SCORE_LABELS,
        scorings=[
            _scoring(report.convention, report.stages),
            *(_scoring(other.name, other.stages) for other in report.others),
        ],
        definitions={label: code(text) for label, text in tables.definitions().items()},
        class_definition=code(DEFINITIONS["iou"]),
        sections=[
            (
                one,
                {label: code(text) for label, text in one.definitions.items()},
                [code(remark) for remark in one.remarks],
            )
            for one in report.sections
        ],
        boundary_labels=tables.BOUNDARY_LABELS,
        strips=[(strip.name, gallery.strip_rows(strip, classes)) for strip in report.strips],
        extremes=_all_extremes(base, compared, alone, picture_of),
        trainings=_trainings(report.curves),
        class_tables=[_class_tables(group) for group in [[base, *compared], *([stage] for stage in alone)]],
        legend=[(pictures.class_colour(label, report.look.colours), name) for label, name in enumerate(classes)],
        ignored_colour=pictures.class_colour(IGNORE_INDEX) if _has_ignored(report.stages) else None,
        change_legend=pictures.CHANGE_LEGEND,
        mistake_legend=pictures.MISTAKE_LEGEND if report.look.background else pictures.MISTAKE_LEGEND[-1:],
        class_colour=partial(pictures.class_colour, colours=report.look.colours),
        matrix_classes=MATRIX_CLASSES,
        noticeable=NOTICEABLE,
    )  # fmt: skip


def _comparison(base: Stage, stage: Stage, picture_of: PictureOf) -> Comparison:
    picks = gallery.pick(base.result, stage.result)
    middle = gallery.typical(base.result, stage.result)
    change = np.array(list(gallery.iou_changes(base.result, stage.result).values()))
    return Comparison(
        verdict=tables.verdict(base, stage),
        typical=None if middle is None else gallery.exhibit(middle, picture_of(middle), base, stage),
        histogram=figures.change_histogram(change),
        improved=[gallery.exhibit(name, picture_of(name), base, stage) for name in picks.improved],
        harmed=[gallery.exhibit(name, picture_of(name), base, stage) for name in picks.harmed],
    )


def _scoring(name: str, stages: Sequence[Stage]) -> Scoring:
    base, *others = stages
    compared = [stage for stage in others if tables.why_not_comparable(base.result, stage.result) is None]
    return Scoring(
        name=name,
        verdicts=[tables.verdict(base, stage).sentence for stage in compared] or [tables.plain_verdict(base)],
        rows={stage.name: tables.score_cells(base, stage) for stage in stages},
        remarks=[code(remark) for remark in tables.counting_remarks(stages)],
        boundary=_boundary_table(stages),
    )


def _boundary_table(stages: Sequence[Stage]) -> BoundaryTable | None:
    """None unless every stage has boundary scores."""
    base = stages[0]
    if not isinstance(base.result, BoundaryResult) or not has_boundary(stage.result for stage in stages):
        return None
    return BoundaryTable(
        rows={stage.name: tables.boundary_cells(base, stage) for stage in stages},
        definitions={code(label): code(text) for label, text in tables.boundary_definitions(base.result).items()},
        remarks=tables.boundary_remarks(stages),
    )


def _all_extremes(
    base: Stage, compared: Sequence[Stage], alone: Sequence[Stage], picture_of: PictureOf
) -> list[Extremes]:
    """Of the stage with the highest IoU per image, and of each that is compared with nothing."""
    highest = _highest([base, *compared])
    shown = [_extremes(None if highest is base else base, highest, picture_of)]
    return shown + [_extremes(None, stage, picture_of) for stage in alone]


def _extremes(base: Stage | None, stage: Stage, picture_of: PictureOf) -> Extremes:
    picks = gallery.pick(None, stage.result)
    return Extremes(
        stage=stage.name,
        compared=base is not None,
        best=[gallery.exhibit(name, picture_of(name), base, stage) for name in picks.best],
        worst=[gallery.exhibit(name, picture_of(name), base, stage) for name in picks.worst],
    )


def _highest(stages: Sequence[Stage]) -> Stage:
    """The stage with the highest IoU per image, the first of equals."""
    return max(stages, key=lambda stage: np.nan_to_num(scores(stage.result).iou_per_image, nan=-1.0))


def _trainings(curves: Sequence[Curve]) -> list[Training]:
    """Plots of all trainings; scores of one kind share their axis, so that heights can be compared."""
    limits = {
        name: figures.common_limits([curve.val_score for curve in curves if curve.val_name == name])
        for name in {curve.val_name for curve in curves}
    }
    return [_training(curve, limits[curve.val_name]) for curve in curves]


def _training(curve: Curve, limits: tuple[float, float] | None) -> Training:
    epochs = [epoch for epoch, value in enumerate(curve.val_score) if math.isfinite(value)]
    best = max(epochs, key=lambda epoch: curve.val_score[epoch], default=None)
    words = ""
    if best is not None:
        words = f"best {tables.number(curve.val_score[best])}, epoch {best + 1} of {len(curve.val_score)}"
    score = None
    if curve.val_score:
        score = figures.curve_plot(curve.val_score, label="Validation score", limits=limits, mark=best)
    return Training(
        name=curve.name,
        loss=figures.curve_plot(curve.train_loss, label="Training loss", limits=None) if curve.train_loss else None,
        score=score,
        score_name=curve.val_name,
        best=words,
    )


def _class_tables(stages: Sequence[Stage]) -> ClassTables:
    classes = stages[0].result.classes
    few = len(classes) <= MATRIX_CLASSES
    return ClassTables(
        stages=[stage.name for stage in stages],
        classes=classes,
        rows=tables.class_rows(stages),
        matrices=[tables.confusion_shares(stage.result).tolist() for stage in stages] if few else [],
        confusions=[] if few else [tables.frequent_confusions(stage.result) for stage in stages],
    )


def _has_ignored(stages: Sequence[Stage]) -> bool:
    return any(stage.result.ignored.any() for stage in stages)


def code(text: str) -> Markup:
    """Return text with its `names` set as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))


def _tied(text: str) -> str:
    """Text whose per cent signs stay on the line of their number."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def environment() -> jinja2.Environment:
    """What makes the templates of this folder into pages."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("maskwright.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=tables.number, signed=tables.signed, percent=tables.percent, tied=_tied)
    return made
