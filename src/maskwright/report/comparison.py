"""The page of `maskwright compare`: which network to take and why, as one self-contained HTML file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from maskwright.files import write_text
from maskwright.metrics.bootstrap import Interval
from maskwright.metrics.scores import DEFINITIONS
from maskwright.report import choice, figures, gallery, pictures
from maskwright.report.choice import PART_NAMES, Compared, Comparison, Finding
from maskwright.report.page import environment
from maskwright.report.records import Look, Picture
from maskwright.report.tables import SCORE_LABELS, UNDEFINED
from maskwright.report.trade_off import Point, trade_off

FINDING_WORDS: dict[Finding, str] = {
    "best": "highest mean",
    "worse": "shown to be worse",
    "no difference shown": "no difference shown",
    "unknown": "too few images to tell",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One image that the page shows.

    Attributes:
        name: of the image.
        picture: with a mask of each candidate, by its name.
        scores: IoU of these masks.
    """

    name: str
    picture: Picture
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonReport:
    """Everything that the page shows.

    Attributes:
        title: heading.
        subject: what was compared, as a noun phrase.
        comparison: what was found.
        commands: command lines that make it again.
        facts: what else is needed to make it again.
        hardest: images on which the recommended candidate does worst.
        differing: images on which the candidates differ most.
        classes: class names, index = label.
        look: of the labels.
    """

    title: str
    subject: str
    comparison: Comparison
    commands: tuple[str, ...]
    facts: Mapping[str, str]
    hardest: Sequence[Shown]
    differing: Sequence[Shown]
    classes: tuple[str, ...]
    look: Look = field(default_factory=Look)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One candidate as the tables show it; `finding` is what the test says of it against the best."""

    one: Compared
    score: Interval
    by_seed: tuple[float, ...]
    gap: Interval
    p_holm: float
    finding: Finding
    chosen: bool
    fronts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """The trainings of one candidate, as plots; None where there are no values."""

    name: str
    loss: Markup | None
    score: Markup | None


def write_comparison_report(path: Path, report: ComparisonReport) -> None:
    """Write the page, atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    comparison = report.comparison
    page = environment().get_template("comparison.html.jinja").render(
        report=report,
        comparison=comparison,
        chosen=comparison.candidates[choice.choose(comparison)],
        best=comparison.label(comparison.ranking.best),
        reasons=choice.reasons(comparison),
        caveats=choice.caveats(comparison),
        rows=table_rows(comparison),
        finding_words=FINDING_WORDS,
        plots=_plots(comparison),
        courses=_courses(comparison),
        galleries=[
            (heading, words, [(shown.name, _row(shown, comparison)) for shown in images])
            for heading, words, images in (
                ("Hardest", "Where the recommended one does worst, mean over its trainings.", report.hardest),
                ("Telling", "Where the candidates differ most.", report.differing),
            )
            if images
        ],
        score_name=SCORE_LABELS[comparison.statistic],
        score_phrase=choice.score_phrase(comparison.statistic),
        definition=DEFINITIONS[comparison.statistic],
        part=PART_NAMES[comparison.part],
        legend=[(pictures.class_colour(label, report.look.colours), name) for label, name in enumerate(report.classes)],
        least=choice.LEAST[comparison.cost],
        megabytes=megabytes,
        rate=rate,
        p_value=p_value,
        gmacs=gmacs,
    )  # fmt: skip
    write_text(path, page)


def table_rows(comparison: Comparison) -> list[TableRow]:
    """The candidates, the highest mean first."""
    chosen, fronts = choice.choose(comparison), fronts_of(comparison)
    rows = []
    for name in comparison.in_order:
        ranked = comparison.ranked(name)
        rows.append(
            TableRow(
                one=comparison.candidates[name],
                score=ranked.score,
                by_seed=ranked.by_seed,
                gap=ranked.gap,
                p_holm=ranked.p_holm,
                finding=choice.finding(comparison, name),
                chosen=name == chosen,
                fronts=tuple(kind for kind, members in fronts.items() if name in members),
            )
        )
    return rows


def fronts_of(comparison: Comparison) -> dict[str, list[str]]:
    """The Pareto front of score against each cost, the cheapest first."""
    scores = {name: comparison.ranked(name).score.value for name in comparison.candidates}
    return {
        kind: choice.pareto_front(scores, {name: one.cost(kind) for name, one in comparison.candidates.items()})
        for kind in ("macs", "time")
    }


def megabytes(size: int | None) -> str:
    """Bytes as "512 MB"; an en dash where unknown."""
    return UNDEFINED if size is None else f"{size / 1e6:,.0f} MB".replace(",", "\N{NARROW NO-BREAK SPACE}")


def rate(images_per_second: float) -> str:
    """Three digits at most: "0.52", "7.31", "68.4", "1530"."""
    digits = max(0, 2 - max(0, math.floor(math.log10(images_per_second)))) if images_per_second > 0 else 0
    return f"{images_per_second:.{digits}f}"


def gmacs(count: int) -> str:
    """Multiply-accumulates in thousands of millions, two decimals: "1.35"."""
    return f"{count / 1e9:.2f}" if count >= 5e6 else f"{count / 1e9:.4f}"


def p_value(p: float) -> str:
    """Two decimals, three below 0.1, "< 0.001" beyond; an en dash where unknown."""
    if not math.isfinite(p):
        return UNDEFINED
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _plots(comparison: Comparison) -> list[tuple[str, Markup]]:
    score = f"{SCORE_LABELS[comparison.statistic]}, {PART_NAMES[comparison.part]}"
    fronts = fronts_of(comparison)
    axes = {
        "macs": ("GMACs per image", {name: one.macs / 1e9 for name, one in comparison.candidates.items()}),
        "time": (
            "images per second, one at a time",
            {name: one.measured.images_per_second for name, one in comparison.candidates.items()},
        ),
    }
    captions = {"macs": "Better is up and to the left.", "time": "Better is up and to the right."}
    chosen = choice.choose(comparison)
    plots = []
    for kind, (label, values) in axes.items():
        points = [
            Point(
                label=one.label,
                cost=values[name],
                score=comparison.ranked(name).score.value,
                low=comparison.ranked(name).score.low,
                high=comparison.ranked(name).score.high,
                pretrained=one.pretrained != "none",
                front=name in fronts[kind],
                chosen=name == chosen,
            )
            for name, one in comparison.candidates.items()
        ]
        plots.append((captions[kind], trade_off(points, cost=label, score=score, salt=kind)))
    return plots


def _courses(comparison: Comparison) -> list[Course]:
    everyone = [curve for one in comparison.candidates.values() for curve in one.curves]
    limits = figures.common_limits([curve.val_score for curve in everyone])
    courses = []
    for name in comparison.in_order:
        curves = comparison.candidates[name].curves
        losses = [curve.train_loss for curve in curves if curve.train_loss]
        scores = [curve.val_score for curve in curves if curve.val_score]
        courses.append(
            Course(
                name=comparison.label(name),
                loss=figures.curves_plot(losses, label="Training loss", limits=None) if losses else None,
                score=figures.curves_plot(scores, label="Validation score", limits=limits) if scores else None,
            )
        )
    return courses


def _row(shown: Shown, comparison: Comparison) -> gallery.Row:
    tiles = gallery.given(shown.picture)
    for name in comparison.in_order:
        mask = pictures.mask_uri(shown.picture.masks[name], shown.picture.look.colours)
        tiles.append(gallery.Tile(uri=mask, caption=comparison.candidates[name].label, score=shown.scores[name]))
    return gallery.Row(heading="", tiles=tiles, ratio=gallery.ratio_of(shown.picture))
