"""What a comparison of networks says: which to take by a stated rule, why, and what speaks against trusting it.

The rule: the cheapest candidate whose mean score is at most `margin` below the best one's. Differences are tested against
the best (see `metrics.ranking`); the words "no difference shown" stand wherever the test does not reject.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from maskwright.metrics.bootstrap import Interval
from maskwright.metrics.ranking import Ranked, Ranking
from maskwright.report.records import Curve
from maskwright.report.tables import FEW_IMAGES, SCORE_LABELS, number, signed

LEVEL = 0.05
"""Corrected p-value below which a difference counts as shown."""

FEW_SEEDS = 5

Finding = Literal["best", "worse", "no difference shown", "unknown"]

PART_NAMES = {"val": "validation", "test": "test"}

COST_WORDS = {"macs": "multiply-accumulates", "parameters": "parameters", "time": "time per image"}
LEAST = {"macs": "fewest multiply-accumulates", "parameters": "fewest parameters", "time": "least time per image"}
"""Name of a cost → what it is, and what the cheapest has of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredCost:
    """What predicting and training with one network took on one machine.

    Attributes:
        images_per_second, images_per_second_batch: of prediction, one by one and in the training's batches.
        predicting_bytes, training_bytes: peak memory; None where it could not be measured.
    """

    images_per_second: float
    images_per_second_batch: float
    predicting_bytes: int | None
    training_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One candidate of a comparison.

    Attributes:
        name: as it was asked for.
        label: the same, short; different for each.
        model: full name of the network, as a training takes it.
        pretrained: name of the weights that its encoder started from, or "none".
        reported: its score on the test part with the interval, where another part decided; else None.
        parameters: how many.
        macs: multiply-accumulates of one image.
        measured: time and memory.
        epoch_seconds: median over the epochs of all its trainings, validation included.
        curves: of its trainings.
        smaller_batches: whether memory forced smaller batches on one of its trainings.
    """

    name: str
    label: str
    model: str
    pretrained: str
    reported: Interval | None
    parameters: int
    macs: int
    measured: MeasuredCost
    epoch_seconds: float
    curves: tuple[Curve, ...]
    smaller_batches: bool = False

    def cost(self, kind: str) -> float:
        """The cost of this name, a key of `COST_WORDS`, of which less is better."""
        seconds = 1 / self.measured.images_per_second
        return {"macs": self.macs, "parameters": self.parameters, "time": seconds}[kind]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Candidates with what was found of them.

    Attributes:
        candidates: by name.
        ranking: their scores on the part that decides, and the tests.
        statistic: the score, a key of `SCORE_LABELS`.
        part: "val" or "test": the part of the data that decides.
        images: of that part.
        reported_images: images of the test part where that is another one; else 0.
        margin: see the rule.
        cost: a key of `COST_WORDS`.
        budget: of every training, in words: "10 epochs in batches of 16".
        seeds: trainings that were asked for of each candidate.
        failed: "CANDIDATE, seed N" → why this training could not be finished.
    """

    candidates: Mapping[str, Compared]
    ranking: Ranking
    statistic: str
    part: str
    images: int
    reported_images: int
    margin: float
    cost: str
    budget: str
    seeds: int
    failed: Mapping[str, str]

    def ranked(self, name: str) -> Ranked:
        """The scores and tests of one candidate."""
        return self.ranking.candidates[name]

    def label(self, name: str) -> str:
        """The short name of a candidate, for sentences."""
        return self.candidates[name].label

    @property
    def in_order(self) -> list[str]:
        """All candidates, the highest mean first."""
        return sorted(self.candidates, key=lambda name: -self.ranked(name).score.value)


def choose(comparison: Comparison) -> str:
    """The recommended candidate; of equally cheap ones that with the higher score."""
    close = [name for name in comparison.in_order if comparison.ranked(name).gap.value >= -comparison.margin]
    return min(close, key=lambda name: comparison.candidates[name].cost(comparison.cost))


def pareto_front(scores: Mapping[str, float], costs: Mapping[str, float]) -> list[str]:
    """Those than which none is better without being dearer, nor cheaper without being worse; the cheapest first."""
    front = [
        name
        for name in scores
        if not any(
            scores[other] >= scores[name]
            and costs[other] <= costs[name]
            and (scores[other], costs[other]) != (scores[name], costs[name])
            for other in scores
        )
    ]
    return sorted(front, key=lambda name: costs[name])


def finding(comparison: Comparison, name: str) -> Finding:
    """What the test says of a candidate against the best."""
    if name == comparison.ranking.best:
        return "best"
    p = comparison.ranked(name).p_holm
    if not math.isfinite(p):
        return "unknown"
    return "worse" if p < LEVEL else "no difference shown"


def reasons(comparison: Comparison) -> list[str]:
    """Why the recommended candidate is, one sentence each, the rule first."""
    chosen, best = choose(comparison), comparison.ranking.best
    if len(comparison.candidates) == 1:
        return ["It is the only candidate, so there was nothing to choose."]
    said = [_why(comparison, chosen, best)]
    if chosen != best:
        said.append(_how_sure(comparison, chosen))
    return said + _tested(comparison)


def _how_sure(comparison: Comparison, chosen: str) -> str:
    low, margin = comparison.ranked(chosen).gap.low, f"{comparison.margin:g}"
    if not math.isfinite(low):
        return "There are too few images to tell this difference from chance."
    if low >= -comparison.margin:
        return (
            f"That it falls short by at most {margin} is shown: the interval of the difference begins at {signed(low)}."
        )
    return (
        f"That it falls short by at most {margin} is not shown: the interval of the difference reaches {signed(low)}. "
        "More seeds, or more images, would tell."
    )


def score_phrase(statistic: str) -> str:
    """Name a score such that it fits into a sentence: "mIoU of the classes present"."""
    return SCORE_LABELS[statistic].replace(", ", " of the ")


def _why(comparison: Comparison, chosen: str, best: str) -> str:
    score, cost = score_phrase(comparison.statistic), COST_WORDS[comparison.cost]
    mean = number(comparison.ranked(chosen).score.value)
    if chosen == best:
        return (
            f"It has the highest mean {score}, {mean}, and none with fewer {cost} comes within {comparison.margin:g} of it."
            if comparison.cost != "time"
            else f"It has the highest mean {score}, {mean}, and no faster one comes within {comparison.margin:g} of it."
        )
    gap, highest = comparison.ranked(chosen).gap, number(comparison.ranked(best).score.value)
    interval = f", 95 % interval {signed(gap.low)} to {signed(gap.high)}" if math.isfinite(gap.low) else ""
    return (
        f"It needs the {LEAST[comparison.cost]} of those whose mean {score} is at most {comparison.margin:g} below the "
        f"best one's: {mean} against {highest} of {comparison.label(best)} ({signed(gap.value)}{interval}), for "
        f"{_share(comparison, chosen, best)} of its {cost}."
    )


def _share(comparison: Comparison, chosen: str, best: str) -> str:
    share = comparison.candidates[chosen].cost(comparison.cost) / comparison.candidates[best].cost(comparison.cost)
    return f"{share:.0%}".replace("%", " %")


def _tested(comparison: Comparison) -> list[str]:
    found = {name: finding(comparison, name) for name in comparison.in_order}
    best = comparison.label(comparison.ranking.best)
    said = []
    if worse := [comparison.label(name) for name, what in found.items() if what == "worse"]:
        said.append(f"Shown to be worse than {best}: {', '.join(worse)}.")
    if alike := [comparison.label(name) for name, what in found.items() if what == "no difference shown"]:
        said.append(f"No difference from {best} is shown for {', '.join(alike)}.")
    return said


def caveats(comparison: Comparison) -> list[str]:
    """What the reader must know before acting on the choice, one or two sentences each."""
    return [
        f"One budget for all: {comparison.budget}. Longer trainings, or a learning rate for each, may order them "
        "otherwise.",
        _weights(comparison),
        _seeds(comparison),
        *_parts(comparison),
        *_memory(comparison),
        "Times and memory are those of the machine named below, of the network alone, without reading and resizing "
        "images; multiply-accumulates count convolutions and matrix products.",
    ]


def _weights(comparison: Comparison) -> str:
    started = {one.label: one.pretrained for one in comparison.candidates.values()}
    trained = [name for name, weights in started.items() if weights != "none"]
    random = [name for name, weights in started.items() if weights == "none"]
    if not trained:
        return "All started from random weights. With pretrained encoders the order may be another."
    kinds = ", ".join(sorted(set(started.values()) - {"none"}))
    if not random:
        return f"All encoders started from pretrained weights ({kinds})."
    return (
        f"From pretrained weights ({kinds}) started {', '.join(trained)}; from random ones {', '.join(random)}. So it is "
        "encoder and weights together that are compared: a random start explains a good part of any shortfall."
    )


def _seeds(comparison: Comparison) -> str:
    ranking = comparison.ranking
    if ranking.seed_degrees == 0:
        return (
            "One training of each: how far another seed would move a score is unknown, and the intervals and tests know "
            "nothing of it. Take two seeds at least, better three."
        )
    words = (
        f"The intervals and tests hold both the choice of images and of seeds. From seed to seed a score moves by "
        f"{ranking.seed_spread:.4f} (standard deviation, pooled over all candidates, {ranking.seed_degrees} degrees of "
        "freedom)"
    )
    counts = sorted({len(ranked.by_seed) for ranked in ranking.candidates.values()})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    few = counts[0] < FEW_SEEDS
    return words + (
        f"; with {seeds} seeds each that is itself a rough estimate, taken as equal for all." if few else "."
    )


def _parts(comparison: Comparison) -> list[str]:
    images = f"{comparison.images} {PART_NAMES[comparison.part]} images"
    if comparison.part == "test":
        said = [
            f"The data has no validation part, so the {images} both chose and report: the score of the one chosen is a "
            "little too good. Hold some out with data.val_fraction."
        ]
    elif comparison.reported_images:
        said = [
            f"The {images} decide; they also chose the best epoch of each training. The {comparison.reported_images} test "
            "images had no say, so their scores are those to quote."
        ]
    else:
        said = [f"The data has no test part: the {images} chose epochs and candidate and report, which flatters all."]
    if comparison.images < FEW_IMAGES:
        said.append(f"{comparison.images} images are few; the intervals are too narrow. Read them as a hint.")
    return said


def _memory(comparison: Comparison) -> list[str]:
    smaller = [one.label for one in comparison.candidates.values() if one.smaller_batches]
    if not smaller:
        return []
    return [f"Memory ran out, and smaller batches than the others' trained {', '.join(smaller)}."]
