"""The page of `maskwright audit`: which number to quote, what every other tool would say, and why, as one HTML file."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from maskwright.files import write_text
from maskwright.metrics.bootstrap import Interval
from maskwright.metrics.boundary_meter import BoundaryResult, has_boundary
from maskwright.metrics.calibration import CalibrationResult
from maskwright.metrics.conventions import Convention, Group, convention, describe
from maskwright.metrics.scores import image_iou
from maskwright.report import audit_plots, gallery, pictures, tables
from maskwright.report.audit_findings import AGREE, SCORES, Findings, Pair
from maskwright.report.audit_findings import Stage as AuditedStage
from maskwright.report.comparison import p_value
from maskwright.report.page import PictureOf, code, environment
from maskwright.report.records import NOTICEABLE, Look, Stage

WORST = 6
"""Images that are shown of each folder."""

CONFUSIONS = 10
"""Confusions of classes that are listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditReport:
    """Everything that the page shows.

    Attributes:
        title: heading.
        subject: what was scored, as a noun phrase.
        findings: what was found.
        truth: where the true masks lie.
        truth_taken: what they were taken for.
        pictures: gives the picture of a scored image by its name.
        commands: command lines that make it again.
        facts: what else is needed to make it again.
        look: of the labels.
    """

    title: str
    subject: str
    findings: Findings
    truth: str
    truth_taken: str
    pictures: PictureOf
    commands: tuple[str, ...]
    facts: Mapping[str, str]
    look: Look = field(default_factory=Look)


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberRow:
    """One number of the first folder, and who reports it.

    Attributes:
        values: of each folder, with the interval.
        spread: of each folder, whether those that agree on the first do not agree here: then from the least to the most.
        quoted: whether it is the number to quote.
        tools: who reports it, in short.
        what: how the first of them counts here.
        calls: all of them.
    """

    values: tuple[Interval, ...]
    spread: tuple[bool, ...]
    quoted: bool
    tools: str
    what: str
    calls: tuple[Convention, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Images of one folder under headings. `histogram` is None where no image has a score."""

    heading: str
    histogram: Markup | None
    words: str
    legend: Sequence[tuple[str, str]]
    exhibits: Mapping[str, Sequence[gallery.Exhibit]]


def write_audit_report(path: Path, report: AuditReport) -> None:
    """Write the page, atomically.

    Raises:
        WriteError: the file cannot be written.
    """
    findings, results = report.findings, [stage.result for stage in report.findings.stages]
    stages = [Stage(name=stage.name, result=stage.result) for stage in findings.stages]
    ways = {score: findings.ways(score) for score in SCORES}
    page = environment().get_template("audit.html.jinja").render(
        report=report,
        findings=findings,
        spread=audit_plots.spread_plot(
            {score: values for score, values in ways.items() if values}, quoted=findings.quote.interval.value
        ) if any(ways.values()) else "",
        spread_sentence=spread_sentence(findings),
        definition_of=lambda one: definition_of(one, len(results[0].classes)),
        points=points,
        four=four_decimals,
        pair_sentence=pair_sentence,
        p_value=p_value,
        noticeable=NOTICEABLE,
        agree=AGREE,
        tables={score: number_rows(findings, score) for score in SCORES},
        classes=tables.class_rows(stages),
        with_class=(results[0].counts[:, 2] > 0).sum(axis=0).tolist(),
        confusions=_confusions(findings.stages),
        edges={stage.name: tables.boundary_cells(stages[0], stage) for stage in stages} if has_boundary(results) else {},
        edge_labels=tables.BOUNDARY_LABELS,
        edge_definitions=_edge_words(results[0]),
        sizes=list(zip(*findings.sizes.values(), strict=True)),
        calibrations=_calibrations(findings.stages),
        galleries=_galleries(report, stages),
        legend=[(pictures.class_colour(i, report.look.colours), name) for i, name in enumerate(results[0].classes)],
        ignored_colour=pictures.class_colour(255) if results[0].ignored.any() else None,
        class_colour=lambda label: pictures.class_colour(label, report.look.colours),
    )  # fmt: skip
    write_text(path, page)


def spread_sentence(findings: Findings) -> str:
    """How far the tools are from each other: "The IoU of these masks is anything from 0.56 to 0.91: ..."."""
    parts = []
    for score in ("IoU", "Dice"):
        values = findings.ways(score)
        if values:
            different = sum(group.score == score and math.isfinite(group.low) for group in findings.groups)
            parts.append(
                f"{score} from {tables.number(values[0])} to {tables.number(values[-1])} ({len(values)} ways to report it, "
                f"{different} different number{'s' if different != 1 else ''})"
            )
    if not parts:
        return "No tool gives a number for these masks."
    whose = f"the masks of {findings.first.name}" if len(findings.stages) > 1 else "these masks"
    return f"For {whose}, common tools report {' and '.join(parts)}."


def points(share: float) -> str:
    """A part of a score in points of 0.01, with its sign: "+3.1 points"."""
    return f"{100 * share:+.1f} points".replace("-", tables.MINUS)


def _ways(pair: Pair) -> str:
    """By how many conventions the other folder is higher and lower; the rarer ones by name, where they are few."""
    (rare, word), (common, other_word) = sorted(
        [(pair.higher, "higher"), (pair.lower, "lower")], key=lambda one: len(one[0])
    )
    named = f" ({', '.join(rare)})" if len(rare) <= 3 else ""
    ways = f"{len(rare)} way{'s' if len(rare) > 1 else ''} to report it"
    return f"{word} by {ways}{named} and {other_word} by {len(common)}"


def four_decimals(value: float) -> str:
    """A difference with its sign: "+0.0012"; an en dash where undefined."""
    return f"{value:+.4f}".replace("-", tables.MINUS) if math.isfinite(value) else tables.UNDEFINED


def pair_sentence(pair: Pair) -> str:
    """Whether the other folder is better than the first: "b is better than a by 0.012 [0.004, 0.020] (p = 0.003)."."""
    change = pair.difference
    if not math.isfinite(change.value):
        return f"{pair.other} cannot be compared with {pair.base}: the number to quote is undefined for one of them."
    interval = f"{four_decimals(change.value)} [{four_decimals(change.low)}, {four_decimals(change.high)}]"
    p = f"p {'' if pair.p_holm < 0.001 else '= '}{p_value(pair.p_holm)}"
    if not math.isfinite(pair.p_holm):
        found = f"One image does not tell whether {pair.other} or {pair.base} is better ({four_decimals(change.value)})"
    elif pair.p_holm < 0.05:
        found = f"{pair.other} is {'better' if change.value > 0 else 'worse'} than {pair.base} ({interval}, {p})"
    else:
        found = f"No difference between {pair.other} and {pair.base} is shown ({interval}, {p})"
    if pair.higher and pair.lower:
        found += f". Which one wins depends on the tool: {pair.other} is {_ways(pair)}"
    return f"{found}."


def number_rows(findings: Findings, score: str) -> list[NumberRow]:
    """The numbers of one score, the highest first; those without a value last."""
    return [_number_row(findings, group) for group in findings.groups if group.score == score]


def _number_row(findings: Findings, group: Group) -> NumberRow:
    calls = tuple(convention(key) for key in group.keys)
    lead = findings.quote.key if findings.quote.key in group.keys else group.keys[0]
    num_classes = len(findings.first.result.classes)
    count: dict[str, int] = {}
    for one in calls:
        count[one.tool] = count.get(one.tool, 0) + 1
    shared = [_shared(findings.numbers[stage.name], group.keys, lead) for stage in findings.stages]
    return NumberRow(
        values=tuple(value for value, _ in shared),
        spread=tuple(spread for _, spread in shared),
        quoted=findings.quote.key in group.keys,
        tools=", ".join(f"{tool} ({n})" if n > 1 else tool for tool, n in count.items()),
        what=definition_of(convention(lead), num_classes),
        calls=calls,
    )


def definition_of(one: Convention, num_classes: int) -> str:
    """How a convention counts for so many classes, and what else is to be known of it."""
    if not one.applies(num_classes):
        return one.definition
    return f"{describe(one.choices(num_classes), num_classes)} {one.note}".rstrip()


def _shared(numbers: Mapping[str, Interval], keys: Sequence[str], lead: str) -> tuple[Interval, bool]:
    """The number of `lead`; or, where those that agree elsewhere do not agree here, from the least to the most."""
    values = [numbers[key].value for key in keys]
    spread = max(values) - min(values) > AGREE
    return (Interval(numbers[lead].value, min(values), max(values)) if spread else numbers[lead]), spread


def _confusions(stages: Sequence[AuditedStage]) -> dict[str, list[tables.Confusion]]:
    if len(stages[0].result.classes) == 2:
        return {}
    return {stage.name: tables.frequent_confusions(stage.result, count=CONFUSIONS) for stage in stages}


def _calibrations(stages: Sequence[AuditedStage]) -> list[tuple[str, CalibrationResult, Markup]]:
    """Name, numbers and reliability diagram of each folder that tells probabilities."""
    return [
        (
            stage.name,
            found,
            audit_plots.reliability_plot(found.confidence, found.accuracy, found.pixels / max(1, found.pixels.sum())),
        )
        for stage in stages
        if (found := stage.calibration) is not None
    ]


def _edge_words(result: Any) -> dict[Markup, Markup]:
    if not isinstance(result, BoundaryResult):
        return {}
    return {code(label): code(text) for label, text in tables.boundary_definitions(result).items()}


def _galleries(report: AuditReport, stages: Sequence[Stage]) -> list[Gallery]:
    picture_of = cache(report.pictures)
    legend = pictures.MISTAKE_LEGEND if report.look.background else pictures.MISTAKE_LEGEND[-1:]
    base = stages[0]
    galleries = []
    for stage in stages:
        known = image_iou(stage.result)
        known = known[np.isfinite(known)]
        exhibits = {"Worst": _exhibits(picture_of, gallery.pick(None, stage.result, count=WORST).worst, None, stage)}
        words = f"The IoU of each image: median {tables.number(float(np.median(known)))}." if known.size else ""
        galleries.append(
            Gallery(
                heading=f"{stage.name}: the worst images" if len(stages) > 1 else "The worst images",
                histogram=audit_plots.score_histogram(known, label="IoU of the image") if known.size else None,
                words=words,
                legend=legend,
                exhibits=exhibits,
            )
        )
    for stage in stages[1:]:
        picks = gallery.pick(base.result, stage.result, count=WORST // 2)
        galleries.append(
            Gallery(
                heading=f"{stage.name} against {base.name}",
                histogram=None,
                words="",
                legend=pictures.CHANGE_LEGEND,
                exhibits={
                    "Most improved": _exhibits(picture_of, picks.improved, base, stage),
                    "Most harmed": _exhibits(picture_of, picks.harmed, base, stage),
                },
            )
        )
    return galleries


def _exhibits(
    picture_of: Callable[[str], Any], names: Sequence[str], base: Stage | None, stage: Stage
) -> list[gallery.Exhibit]:
    return [gallery.exhibit(name, picture_of(name), base, stage) for name in names]
