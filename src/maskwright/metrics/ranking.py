"""Candidates that were trained several times each: scores with intervals, and who is shown to be worse than the best.

Two things could have come out otherwise, and both are drawn anew in a hierarchical bootstrap: the images (with replacement,
the same ones for all candidates and trainings, which pairs them) and the seeds. A candidate's score is its mean over the
trainings. Since two or three trainings cannot be resampled to any purpose (of two, such an interval holds the truth half of
the time), the seeds' part of a replicate is drawn from Student's t: a common standard deviation, pooled over the candidates
with k − 1 degrees of freedom from each one's k trainings. Where the images do not matter this is the interval of analysis of
variance, where the seeds do not it is `bootstrap`'s.

It takes the seeds' spread for equal over the candidates, and counts what an image and a seed do together in both parts, so
the intervals are rather too wide. The tests against the best are corrected by Holm (1979). The best was chosen by the same
scores, which no correction of its pairs knows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import DataError
from maskwright.metrics.bootstrap import (
    Interval,
    Statistic,
    aligned_rows,
    check_level,
    evaluator,
    image_draws,
)
from maskwright.types import EvaluationResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranked:
    """One candidate.

    Attributes:
        by_seed: score of each training.
        score: their mean, with its interval.
        gap: mean minus the best candidate's, at most 0, with its interval; all 0 for the best itself.
        p: of the two-sided test that the gap is 0, in (0, 1]; 1 for the best, nan where there is no interval.
        p_holm: the same, corrected for all pairs with the best.
    """

    by_seed: tuple[float, ...]
    score: Interval
    gap: Interval
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """All candidates.

    Attributes:
        best: the one with the highest mean, the first of equals.
        candidates: by name, in the order they came.
        seed_spread: standard deviation of a score from training to training, pooled; nan where none was repeated.
        seed_degrees: degrees of freedom of it: trainings beyond each candidate's first.
    """

    best: str
    candidates: Mapping[str, Ranked]
    seed_spread: float
    seed_degrees: int


def rank(
    trainings: Mapping[str, Sequence[EvaluationResult]],
    statistic: Statistic = "iou_per_image",
    *,
    resamples: int = 5000,
    seed: int = 0,
    level: float = 0.95,
) -> Ranking:
    """Rank candidates by the mean score of their trainings, all scored on the same images.

    Args:
        trainings: name of each candidate → the counts of each of its trainings, one at least.
        statistic: as in `bootstrap`, but none of boundaries.
        resamples: how often images and seeds are drawn.
        seed: of the draws.
        level: the probability that an interval is to hold.

    Raises:
        DataError: no candidate, one without a training, other images or truths than the first, no image, or images on
            which the statistic is undefined.
        ConfigError: the statistic is unknown, or `level` out of range.
    """
    check_level(level)
    if not trainings or not all(trainings.values()):
        raise DataError("a ranking needs at least one training of each candidate; got none")
    means, replicates, by_seed = _over_images(trainings, statistic, resamples=resamples, seed=seed)
    if not np.isfinite(means).all():
        raise DataError(f"{statistic} is undefined for a training; score images that have labelled pixels")
    spread, degrees = pooled_spread(by_seed)
    replicates = replicates + _seed_part(
        spread, degrees, [len(scores) for scores in by_seed], resamples=resamples, seed=seed
    )
    best = int(np.argmax(means))
    gaps = replicates - replicates[:, best, None]
    p = np.array([_p_value(column) if i != best else 1.0 for i, column in enumerate(gaps.T)])
    corrected = np.ones(len(p))
    others = np.arange(len(p)) != best
    corrected[others] = holm(p[others])
    candidates = {
        name: Ranked(
            by_seed=tuple(by_seed[i]),
            # Student's t knows nothing of the bounds that every named score has.
            score=_interval(
                float(means[i]), replicates[:, i] if callable(statistic) else replicates[:, i].clip(0.0, 1.0), level
            ),
            gap=_interval(float(means[i] - means[best]), gaps[:, i], level),
            p=float(p[i]),
            p_holm=float(corrected[i]),
        )
        for i, name in enumerate(trainings)
    }
    return Ranking(best=list(trainings)[best], candidates=candidates, seed_spread=spread, seed_degrees=degrees)


def pooled_spread(by_seed: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the standard deviation within the groups, pooled, and its degrees of freedom; nan and 0 without any."""
    degrees = sum(len(scores) - 1 for scores in by_seed)
    if degrees == 0:
        return np.nan, 0
    squares = sum(float(np.square(np.subtract(scores, np.mean(scores))).sum()) for scores in by_seed)
    return float(np.sqrt(squares / degrees)), degrees


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct p-values, (N,), for their number, step by step (Holm 1979); what is nan stays so and counts for none."""
    corrected = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return corrected


def _over_images(
    trainings: Mapping[str, Sequence[EvaluationResult]], statistic: Statistic, *, resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[list[float]]]:
    """The mean of each candidate, (K,), the same for each draw of images, (R, K), and the scores of the trainings."""
    base = next(iter(trainings.values()))[0]
    images = len(base.names)
    if images == 0:
        raise DataError("a ranking needs at least one image; got none")
    evaluators = [
        [evaluator(statistic, result.counts[aligned_rows(base, result)]) for result in results]
        for results in trainings.values()
    ]
    everyone = np.arange(images)[None]
    by_seed = [[float(evaluate(everyone)[0]) for evaluate in group] for group in evaluators]
    if images == 1:
        replicates = np.full((resamples, len(evaluators)), np.nan)  # one image says nothing of others
    else:
        replicates = np.concatenate(
            [
                np.stack([np.mean([evaluate(draws) for evaluate in group], axis=0) for group in evaluators], axis=1)
                for draws in image_draws(images, resamples, seed)
            ]
        )
    return np.array([np.mean(scores) for scores in by_seed]), replicates, by_seed


def _seed_part(spread: float, degrees: int, counts: Sequence[int], *, resamples: int, seed: int) -> NDArray[np.float64]:
    """What other seeds might add to each mean, (R, K): Student's t, with one draw of the common spread per replicate."""
    if degrees == 0:
        return np.zeros((resamples, len(counts)))
    generator = np.random.default_rng([seed, 1])
    spreads = spread * np.sqrt(degrees / generator.chisquare(degrees, size=(resamples, 1)))
    return spreads * generator.standard_normal((resamples, len(counts))) / np.sqrt(counts)


def _p_value(replicates: NDArray[np.float64]) -> float:
    known = replicates[~np.isnan(replicates)]
    if known.size == 0:
        return np.nan
    smaller = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return min(1.0, 2 * (smaller + 1) / (known.size + 1))


def _interval(value: float, replicates: NDArray[np.float64], level: float) -> Interval:
    known = replicates[~np.isnan(replicates)]
    if known.size == 0:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
