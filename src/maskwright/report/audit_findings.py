"""What an audit found: the number to quote, every tool's number, who agrees and why not, and which folder is better."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maskwright.metrics.bootstrap import Interval
from maskwright.metrics.calibration import CalibrationResult
from maskwright.metrics.conventions import (
    CONVENTIONS,
    Convention,
    Group,
    Recommendation,
    convention,
    convention_intervals,
    groups,
    recommended,
    warnings,
    why,
)
from maskwright.metrics.paired import paired
from maskwright.metrics.ranking import holm
from maskwright.metrics.scores import image_iou
from maskwright.metrics.sizes import SizeScore, scores_by_size
from maskwright.report.records import NOTICEABLE
from maskwright.types import EvaluationResult

AGREE = 5e-4
"""Numbers that differ by less are said to agree: they show the same three decimals, but for rounding."""

SCORES = ("IoU", "Dice", "accuracy")
"""The scores that conventions report, in the order of the page."""

SHOWN = 1e-3
"""Share of a difference, as a score, from which its reason is told."""

PARTS = 3
"""Reasons that are told of a difference, the weightiest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One folder of predictions.

    Attributes:
        name: as the reader knows it.
        source: where it lies.
        taken: what its files were taken for, in words.
        result: exact counts.
        calibration: of its probabilities; None where it has none.
    """

    name: str
    source: str
    taken: str
    result: EvaluationResult
    calibration: CalibrationResult | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Why a convention gives another number than the one to quote, for the first folder.

    Attributes:
        convention: whose number it is.
        extreme: which one of all it is: "highest IoU".
        value: its number.
        by: that minus the number to quote.
        parts: the weightiest choices that it makes otherwise, with the share of each in `by`.
        rest: share of the others.
    """

    convention: Convention
    extreme: str
    value: float
    by: float
    parts: tuple[tuple[float, str], ...]
    rest: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One folder against the first one, by the number to quote.

    Attributes:
        base, other: names of the folders.
        difference: other minus base.
        p: of the exchange test.
        p_holm: the same, corrected for all pairs of the audit.
        better, worse: shares of the images whose IoU rose or fell by more than NOTICEABLE.
        higher, lower: keys of the conventions by which `other` is higher, or lower, by more than AGREE.
    """

    base: str
    other: str
    difference: Interval
    p: float
    p_holm: float
    better: float
    worse: float
    higher: tuple[str, ...]
    lower: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """Everything that the outputs of an audit show.

    Attributes:
        stages: the folders; groups and differences speak of the first, with which the others are compared.
        quoted: what to quote, by folder.
        numbers: folder → key of the convention → its number.
        groups: conventions that agree on the first folder.
        differences: why the outermost numbers differ from the one to quote.
        pairs: the other folders against the first.
        sizes: scores of small, medium and large masks, by folder.
        warnings: what the numbers hide, a sentence each.
        skipped: images that were left out → why.
    """

    stages: tuple[Stage, ...]
    quoted: Mapping[str, Recommendation]
    numbers: Mapping[str, Mapping[str, Interval]]
    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]
    pairs: tuple[Pair, ...]
    sizes: Mapping[str, tuple[SizeScore, ...]]
    warnings: tuple[str, ...]
    skipped: Mapping[str, str]

    @property
    def first(self) -> Stage:
        """The folder that the others are compared with."""
        return self.stages[0]

    @property
    def quote(self) -> Recommendation:
        """What to quote of the first folder."""
        return self.quoted[self.first.name]

    def ways(self, score: str) -> list[float]:
        """The numbers of all conventions of a score for the first folder, as many as there are, ascending."""
        own = self.numbers[self.first.name]
        values = [own[one.key].value for one in CONVENTIONS if one.score == score]
        return sorted(value for value in values if np.isfinite(value))


def find(
    stages: Sequence[Stage], *, cautions: Sequence[str] = (), skipped: Mapping[str, str] | None = None
) -> Findings:
    """Derive everything from the counts.

    Args:
        stages: the folders, scored on the same images; at least one.
        cautions: what is known beside the counts, a sentence each.
        skipped: images that were left out → why.

    Raises:
        DataError: the folders were not scored against the same truth, or on no image.
    """
    first = stages[0]
    numbers = {stage.name: convention_intervals(stage.result) for stage in stages}
    own = {key: interval.value for key, interval in numbers[first.name].items()}
    quoted = {stage.name: recommended(stage.result) for stage in stages}
    said: dict[str, list[str]] = {}
    for stage in stages:
        for caution in warnings(stage.result):
            said.setdefault(caution.text, []).append(stage.name)
    # What tells of the truth alone is the same for every folder, and said once.
    named = [text if len(names) == len(stages) else f"{', '.join(names)}: {text}" for text, names in said.items()]
    return Findings(
        stages=tuple(stages),
        quoted=quoted,
        numbers=numbers,
        groups=groups(own, AGREE),
        differences=tuple(_differences(first.result, quoted[first.name].key, own)),
        pairs=_pairs(stages, quoted[first.name].key, numbers),
        sizes={stage.name: scores_by_size(stage.result) for stage in stages},
        warnings=(*cautions, *named),
        skipped=skipped or {},
    )


def _differences(result: EvaluationResult, quoted: str, own: Mapping[str, float]) -> Iterator[Difference]:
    for score in ("IoU", "Dice"):
        known = [one for one in CONVENTIONS if one.score == score and np.isfinite(own[one.key])]
        if not known:
            continue
        lowest, highest = (pick(known, key=lambda one: own[one.key]) for pick in (min, max))
        for one, extreme in ((highest, "highest"), (lowest, "lowest")):
            explained = why(quoted, one, result.counts)
            shown = [reason for reason in explained.reasons[:PARTS] if abs(reason.share) >= SHOWN]
            if abs(explained.difference) > AGREE:
                yield Difference(
                    convention=one,
                    extreme=f"{extreme} {score}",
                    value=own[one.key],
                    by=explained.difference,
                    parts=tuple((r.share, r.text) for r in shown),
                    rest=explained.difference - sum(r.share for r in shown),
                )


def _pairs(stages: Sequence[Stage], key: str, numbers: Mapping[str, Mapping[str, Interval]]) -> tuple[Pair, ...]:
    base, *others = stages
    if not others:
        return ()
    tested = [paired(base.result, other.result, convention(key).of_drawn) for other in others]
    corrected = holm(np.array([one.p for one in tested]))
    pairs = []
    for other, one, p_holm in zip(others, tested, corrected, strict=True):
        gains = image_iou(other.result) - image_iou(base.result)
        gains = gains[np.isfinite(gains)]
        moved = {
            known: interval.value - numbers[base.name][known].value for known, interval in numbers[other.name].items()
        }
        pairs.append(
            Pair(
                base=base.name,
                other=other.name,
                difference=one.difference,
                p=one.p,
                p_holm=float(p_holm),
                better=float((gains > NOTICEABLE).mean()) if gains.size else np.nan,
                worse=float((gains < -NOTICEABLE).mean()) if gains.size else np.nan,
                higher=tuple(known for known, by in moved.items() if by > AGREE),
                lower=tuple(known for known, by in moved.items() if by < -AGREE),
            )
        )
    return tuple(pairs)
