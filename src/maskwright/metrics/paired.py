"""Two sets of masks of the same images: by how much a score differs, and whether that can be chance.

The interval is the paired percentile bootstrap (Efron 1979): both sets are drawn with the same images. The p-value is that
of the exchange test (Fisher 1935; as approximate randomisation, Noreen 1989): if the two were alike, each image's masks
could as well have come from the other set, so they are exchanged at random, image by image, and the difference is taken
anew. It needs no assumption on the score, and holds for those of all pixels together as for means over images.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import ConfigError
from maskwright.metrics.bootstrap import DRAWS_AT_ONCE, Interval, aligned_rows, interval_over_images, times_drawn
from maskwright.metrics.conventions.choices import Drawn
from maskwright.types import EvaluationResult

Score = Callable[[Drawn], NDArray[np.float64]]
"""From drawn images to the score of each draw, such as `Convention.of_drawn`."""

ROUNDING = 1e-12
"""Differences that are equal but for rounding count as equal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paired:
    """How one set of masks differs from another of the same images.

    Attributes:
        difference: other minus base, with its interval; the bounds are nan for a single image.
        p: of the two-sided exchange test, in (0, 1]; nan where the score is undefined, or for a single image.
    """

    difference: Interval
    p: float


def paired(
    base: EvaluationResult,
    other: EvaluationResult,
    score: Score,
    *,
    resamples: int = 2000,
    exchanges: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Paired:
    """Compare two sets of masks.

    Args:
        base: counts of the one.
        other: counts of the other, of the same images in any order, against the same truth.
        score: what is compared.
        resamples: draws of the bootstrap.
        exchanges: of the test; the smallest p is 1 / (exchanges + 1).
        seed: of both.
        level: the probability that the interval is to hold.

    Raises:
        DataError: they differ in classes, images or truth.
        ConfigError: `resamples`, `exchanges` or `level` is out of range.
    """
    if exchanges < 2:
        raise ConfigError(f"exchanges must be at least 2; got {exchanges}")
    before, after = base.counts, other.counts[aligned_rows(base, other)]

    def difference(draws: NDArray[np.int64]) -> NDArray[np.float64]:
        times = times_drawn(draws)
        return score(Drawn(after, times)) - score(Drawn(before, times))

    interval = interval_over_images(difference, len(before), resamples=resamples, seed=seed, level=level)
    if len(before) < 2 or np.isnan(interval.value):
        return Paired(difference=Interval(interval.value, np.nan, np.nan), p=np.nan)
    both = np.concatenate([before, after])
    chance = np.concatenate(
        [
            score(Drawn(both, np.hstack([swapped, 1 - swapped])))
            - score(Drawn(both, np.hstack([1 - swapped, swapped])))
            for swapped in _exchanges(len(before), exchanges, seed)
        ]
    )
    chance = chance[~np.isnan(chance)]
    extreme = np.count_nonzero(np.abs(chance) >= abs(interval.value) - ROUNDING)
    return Paired(difference=interval, p=float((extreme + 1) / (chance.size + 1)))


def _exchanges(images: int, exchanges: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield which images are exchanged, 0 or 1, (R, `images`), in pieces that bound the memory."""
    generator = np.random.default_rng([seed, 2])
    rows = max(1, DRAWS_AT_ONCE // (2 * images))
    for start in range(0, exchanges, rows):
        yield generator.integers(2, size=(min(rows, exchanges - start), images)).astype(np.float64)
