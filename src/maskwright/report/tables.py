"""What the numbers say: a verdict in words for each refinement, and the rows of the tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import NDArray

from maskwright.errors import DataError
from maskwright.metrics.bootstrap import Change, Interval, Statistic, bootstrap, change
from maskwright.metrics.boundary import DEFINITIONS as BOUNDARY_DEFINITIONS
from maskwright.metrics.boundary import POLICY
from maskwright.metrics.boundary_meter import BoundaryResult, boundary_values
from maskwright.metrics.scores import DEFINITIONS, Scores, class_iou, scores
from maskwright.report.records import NOTICEABLE, Stage
from maskwright.types import EvaluationResult

Outcome = Literal["improved", "harmed", "unchanged", "unknown"]

SCORE_LABELS = {
    "iou_per_image": "IoU per image",
    "iou_dataset": "IoU of the data set",
    "miou_present": "mIoU, classes present",
    "miou_all": "mIoU, all classes",
    "dice_dataset": "Dice",
    "pixel_accuracy": "Pixel accuracy",
}
"""The scores of the table, in its order: field of `Scores` → heading."""

BOUNDARY_LABELS = {
    "boundary_iou": "Boundary IoU",
    "mean_boundary_accuracy": "mBA",
    "boundary_f": "Boundary F",
    "trimap_iou_quarter": "Trimap IoU, 0.5 %",
    "trimap_iou_half": "Trimap IoU, 1 %",
    "trimap_iou": "Trimap IoU, 2 %",
}
"""The scores of the table of boundaries, in its order: field of `BoundaryScores` → heading."""


def _miou_all(counts: NDArray[np.int64]) -> float:
    """`Scores.miou_all` from the counts of images, (N, 3, C)."""
    return float(np.nan_to_num(class_iou(counts.sum(axis=0)), nan=0.0).mean())


_STATISTICS: dict[str, Statistic] = {"miou_all": _miou_all}
"""The scores of the table that the bootstrap does not know by name."""

FEW_IMAGES = 30
"""Below this many images a bootstrap interval is itself unsure, and the page says so."""

MINUS = "\N{MINUS SIGN}"
UNDEFINED = "\N{EN DASH}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a refinement did to the masks of the base.

    Attributes:
        stage: name of the refinement.
        outcome: whether the interval of the change lies above, below or around 0.
        change: IoU per image after minus before.
        sentence: the whole verdict in one plain sentence.
        better, same, worse: shares of the images, in [0, 1], together 1.
        classes: in words, which classes gained and lost most; empty where there is only one beside the background.
    """

    stage: str
    outcome: Outcome
    change: float
    sentence: str
    better: float
    same: float
    worse: float
    classes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A score, its 95 % interval where the table shows it, and its change against the base with the 95 % interval where
    there is one to compare with."""

    value: float
    interval: Interval | None
    change: Interval | None
    outcome: Outcome | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassRow:
    """One class: its share of the scored true pixels, and for each stage IoU, change of IoU, precision and recall."""

    label: int
    name: str
    share: float
    iou: tuple[float, ...]
    change: tuple[float | None, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """The share of the true pixels of one class, in [0, 1], that the masks give another class."""

    truth: str
    mask: str
    share: float


def number(value: float) -> str:
    """Three decimals: "0.842"; an en dash where undefined."""
    return f"{value:.3f}".replace("-", MINUS) if math.isfinite(value) else UNDEFINED


def signed(value: float) -> str:
    """Three decimals with their sign: "+0.019", "−0.004", "±0.000"; an en dash where undefined."""
    if not math.isfinite(value):
        return UNDEFINED
    digits = f"{abs(value):.3f}"
    sign = "±" if float(digits) == 0 else "+" if value > 0 else MINUS
    return sign + digits


def percent(share: float) -> str:
    """A share in [0, 1] as whole per cent, where "0 %" and "100 %" mean none and all: "71 %", "< 1 %", "> 99 %"."""
    if not math.isfinite(share):
        return UNDEFINED
    if 0 < share < 0.01:
        return "< 1 %"
    if 0.99 < share < 1:
        return "> 99 %"
    return f"{share:.0%}".replace("%", " %")


def why_not_comparable(base: EvaluationResult, other: EvaluationResult) -> str | None:
    """Why a difference between two results would mean nothing: other images, classes or truth. None where it does."""
    try:
        change(base, other, resamples=2)
    except DataError as error:
        return str(error)
    return None


def outcome_of(difference: Change) -> Outcome:
    """Whether a change is larger than the choice of images explains, and which way it goes."""
    return outcome_word(difference.interval)


def outcome_word(change: Interval) -> Outcome:
    """`outcome_of` the interval of a change."""
    if not math.isfinite(change.low):
        return "unknown"
    if not change.excludes_zero:
        return "unchanged"
    return "improved" if change.value > 0 else "harmed"


def verdict(base: Stage, stage: Stage) -> Verdict:
    """Compares two stages of the same images by IoU per image."""
    difference = change(base.result, stage.result, threshold=NOTICEABLE)
    return Verdict(
        stage=stage.name,
        outcome=outcome_of(difference),
        change=difference.interval.value,
        sentence=_verdict_sentence(base, stage, difference),
        better=difference.better,
        same=max(0.0, 1.0 - difference.better - difference.worse),
        worse=difference.worse,
        classes=_class_movers(base, stage),
    )


def _verdict_sentence(base: Stage, stage: Stage, difference: Change) -> str:
    before, after = (number(scores(one.result).iou_per_image) for one in (base, stage))
    value, low, high = (
        signed(x) for x in (difference.interval.value, difference.interval.low, difference.interval.high)
    )
    better, worse = percent(difference.better), percent(difference.worse)
    interval = f"{value}, 95 % interval {low} to {high}"
    match outcome_of(difference):
        case "improved":
            return (
                f"{stage.name} raised IoU per image from {before} to {after} ({interval}): "
                f"better on {better} of images, worse on {worse}."
            )
        case "harmed":
            return (
                f"{stage.name} lowered IoU per image from {before} to {after} ({interval}): "
                f"worse on {worse} of images, better on {better}."
            )
        case "unchanged":
            return (
                f"{stage.name} made no measurable change to IoU per image: {before} before, {after} after "
                f"({interval}, which includes 0); better on {better} of images, worse on {worse}."
            )
        case "unknown":
            return (
                f"{stage.name} cannot be judged: IoU per image was {before} before and {after} after ({value}), "
                "but there are too few images to tell this from chance."
            )


def plain_verdict(stage: Stage) -> str:
    """The verdict on a stage that is compared with nothing."""
    reached = bootstrap(stage.result)
    interval = f" (95 % interval {number(reached.low)} to {number(reached.high)})" if math.isfinite(reached.low) else ""
    return f"{stage.name} reaches an IoU per image of {number(reached.value)}{interval} on {images(stage.result)}."


def images(result: EvaluationResult) -> str:
    """How many images were scored: "1 image", "3,669 images"."""
    return "1 image" if len(result.names) == 1 else f"{len(result.names):,} images"


def counting_remarks(stages: Sequence[Stage]) -> list[str]:
    """Which images and classes the policies for empty masks and absent classes touched, stages that agree together."""
    touched: dict[str, list[str]] = {}
    for stage in stages:
        remark = _counting_remark(scores(stage.result))
        if remark:
            touched.setdefault(remark, []).append(stage.name)
    return [f"{', '.join(names)}: {remark}." for remark, names in touched.items()]


def _counting_remark(own: Scores) -> str:
    """ "2 images without any foreground in truth and mask, scored 1; 30 ignored pixels, left out"; "" without any."""
    counts = (
        (own.unscored_images, "images without a scored pixel, left out"),
        (own.empty_images, f"images without any foreground in truth and mask, `empty_value` {own.empty_value:g}"),
        (own.absent_classes, f"classes in neither truth nor masks, `absent_value` {own.absent_value:g}"),
        (own.spurious_classes, "classes in the masks but nowhere in the truth"),
        (own.ignored_pixels, "ignored pixels, left out"),
    )
    return "; ".join(f"{count:,} {what}" for count, what in counts if count)


def score_cells(base: Stage, stage: Stage) -> list[Cell]:
    """The stage's row of the score table, one cell for each of SCORE_LABELS. Changes stand where they mean something."""
    own = scores(stage.result)
    compared = stage is not base and why_not_comparable(base.result, stage.result) is None
    cells = []
    for field in SCORE_LABELS:
        difference = change(base.result, stage.result, _STATISTICS.get(field, field)) if compared else None
        cells.append(_cell(float(getattr(own, field)), None, difference))
    return cells


def boundary_cells(base: Stage, stage: Stage) -> list[Cell]:
    """The stage's row of the table of boundaries, one cell for each of BOUNDARY_LABELS; changes as in `score_cells`."""
    compared = stage is not base and why_not_comparable(base.result, stage.result) is None
    cells = []
    for field in BOUNDARY_LABELS:
        reached = bootstrap(stage.result, field)
        known = math.isfinite(reached.value)
        difference = change(base.result, stage.result, field) if compared and known else None
        cells.append(_cell(reached.value, reached if math.isfinite(reached.low) else None, difference))
    return cells


def _cell(value: float, interval: Interval | None, difference: Change | None) -> Cell:
    if difference is None:
        return Cell(value=value, interval=interval, change=None, outcome=None)
    return Cell(value=value, interval=interval, change=difference.interval, outcome=outcome_of(difference))


def definitions() -> dict[str, str]:
    """Heading → what the score is, in words, for the scores of the table."""
    return {label: DEFINITIONS[field] for field, label in SCORE_LABELS.items()}


def boundary_definitions(result: BoundaryResult) -> dict[str, str]:
    """Heading → what the score is, in words, for the table of boundaries, and what the words lean on; what all
    definitions share stands once."""
    fields = ("boundary_iou", "mean_boundary_accuracy", "boundary_f", "trimap_iou")
    own = {field: BOUNDARY_DEFINITIONS[field].removesuffix(f"{POLICY}.").rstrip(" :;") + "." for field in fields}
    return {
        **{BOUNDARY_LABELS[field]: own[field] for field in fields[:-1]},
        "Trimap IoU": own["trimap_iou"],
        "All of them": f"The score of an image is {POLICY}.",
        "`trimap_radius`": f"{BOUNDARY_DEFINITIONS['trimap_radius']} Here 0.5, 1 and 2 %, as the headings say.",
        "`border_share`": f"{BOUNDARY_DEFINITIONS['border_share']} Here {result.border_share:g}.",
        "`empty_value`": f"{BOUNDARY_DEFINITIONS['empty_value']} Here {result.empty_value:g}.",
    }


def boundary_remarks(stages: Sequence[Stage]) -> list[str]:
    """How the truth's ignored pixels were taken, and how many images lack a score, stages that agree together."""
    if any(stage.result.ignored.any() for stage in stages):
        edge = (
            "The truth holds ignored pixels. They are not scored; those between a class and the rest are taken for the "
            "border that hides the edge"
        )
    else:
        edge = (
            "No pixel of the truth is ignored, so the edge is where its labels meet. If the truth counts a drawn border "
            "as object, the border's outer edge is the one that is scored"
        )
    lacking: dict[str, list[str]] = {}
    for stage in stages:
        missing = {
            label: int(np.isnan(boundary_values(stage.result, field)).sum()) for field, label in BOUNDARY_LABELS.items()
        }
        listed = "; ".join(f"{label}: {count:,}" for label, count in missing.items() if count)
        if listed:
            lacking.setdefault(listed, []).append(stage.name)
    return [
        f"{edge}.",
        *(
            f"{', '.join(names)}: of {images(stages[0].result)}, some have no score and are left out of its mean. {listed}."
            for listed, names in lacking.items()
        ),
    ]


def class_rows(stages: Sequence[Stage]) -> list[ClassRow]:
    """One row for each class of stages that are comparable with each other; the first is the base."""
    classes = stages[0].result.classes
    all_scores = [scores(stage.result) for stage in stages]
    support = all_scores[0].support / max(1, all_scores[0].support.sum())
    return [
        ClassRow(
            label=label,
            name=name,
            share=float(support[label]),
            iou=_column(all_scores, "iou", label),
            change=(None, *(float(one.iou[label] - all_scores[0].iou[label]) for one in all_scores[1:])),
            precision=_column(all_scores, "precision", label),
            recall=_column(all_scores, "recall", label),
        )
        for label, name in enumerate(classes)
    ]


def confusion_shares(result: EvaluationResult) -> Float[ndarray, "c c"]:
    """The confusion matrix with each row divided by its sum: share of the class's true pixels. NaN: none of them."""
    totals = result.confusion.sum(axis=1, keepdims=True)
    shares = np.full(result.confusion.shape, np.nan)
    np.divide(result.confusion, totals, where=totals > 0, out=shares)
    return shares


def frequent_confusions(result: EvaluationResult, *, count: int = 20) -> list[Confusion]:
    """The most frequent mistakes, by their share of the true pixels of the class, the most frequent first."""
    shares = np.nan_to_num(confusion_shares(result), nan=0.0)
    np.fill_diagonal(shares, 0.0)
    order = np.argsort(-shares, axis=None, kind="stable")[:count]
    cells = [divmod(int(cell), len(result.classes)) for cell in order]
    return [
        Confusion(truth=result.classes[row], mask=result.classes[column], share=float(shares[row, column]))
        for row, column in cells
        if shares[row, column] > 0
    ]


def _column(all_scores: Sequence[Scores], field: str, label: int) -> tuple[float, ...]:
    return tuple(float(getattr(one, field)[label]) for one in all_scores)


def _class_movers(base: Stage, stage: Stage, shown: int = 3) -> str:
    """ "By class, most gained: 8 (+0.031), 3 (+0.022); most lost: 1 (−0.004)." """
    classes = base.result.classes
    if len(classes) < 3:
        return ""
    moved = scores(stage.result).iou - scores(base.result).iou
    order = [int(label) for label in np.argsort(-moved, kind="stable") if math.isfinite(moved[label])]
    gained = [label for label in order if moved[label] > 0][:shown]
    lost = [label for label in reversed(order) if moved[label] < 0][:shown]
    parts = [
        f"most {verb}: " + ", ".join(f"{classes[label]} ({signed(moved[label])})" for label in labels)
        for verb, labels in (("gained", gained), ("lost", lost))
        if labels
    ]
    return f"By class, {'; '.join(parts)}." if parts else ""
