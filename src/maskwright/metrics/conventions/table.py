"""The table of every convention, and their values on one set of masks, with intervals over its images."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.bootstrap import Interval, check_level, image_draws, times_drawn
from maskwright.metrics.conventions.choices import Choices, Drawn, Values, evaluate
from maskwright.metrics.conventions.convention import Convention
from maskwright.metrics.conventions.of_benchmarks import BENCHMARKS
from maskwright.metrics.conventions.of_frameworks import FRAMEWORKS
from maskwright.metrics.conventions.of_maskwright import MASKWRIGHT
from maskwright.metrics.conventions.of_medical import MEDICAL
from maskwright.metrics.conventions.of_smp import SMP
from maskwright.metrics.conventions.of_toolboxes import TOOLBOXES
from maskwright.metrics.conventions.of_torchmetrics import TORCHMETRICS
from maskwright.types import EvaluationResult

CONVENTIONS: tuple[Convention, ...] = (
    *MASKWRIGHT,
    *SMP,
    *TORCHMETRICS,
    *TOOLBOXES,
    *MEDICAL,
    *FRAMEWORKS,
    *BENCHMARKS,
)
"""Every convention, by tool."""

BY_KEY: dict[str, Convention] = {convention.key: convention for convention in CONVENTIONS}


def convention(key: str) -> Convention:
    """The convention of that key.

    Raises:
        ConfigError: there is none.
    """
    if key not in BY_KEY:
        tool = key.split(".")[0]
        near = [known for known in BY_KEY if known.split(".")[0] == tool] or sorted({k.split(".")[0] for k in BY_KEY})
        raise ConfigError(f"no convention is called {key!r}; there are {', '.join(near)}")
    return BY_KEY[key]


def convention_scores(result: EvaluationResult, keys: Iterable[str] | None = None) -> dict[str, float]:
    """The number that each tool would report for these masks.

    Args:
        result: counts of a data set; N may be 0.
        keys: of the conventions wanted; None is all.

    Returns:
        Key to value; nan where the tool gives nan or refuses, as its definition says.

    Raises:
        ConfigError: a key is unknown.
    """
    return {key: float(values[0]) for key, values in _values(Drawn(result.counts), _chosen(keys)).items()}


def convention_draws(counts: NDArray[np.int64], times: Values, keys: Iterable[str] | None = None) -> dict[str, Values]:
    """Like `convention_scores` for resamples of the images.

    Args:
        counts: int64, (N, 3, C).
        times: how often each resample holds each image, (R, N).
        keys: as in `convention_scores`.

    Returns:
        Key to the values of the resamples, float64, (R,).
    """
    return _values(Drawn(counts, times), _chosen(keys))


def convention_intervals(
    result: EvaluationResult,
    keys: Iterable[str] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """The number of each tool between its bounds; the same images are drawn as in `bootstrap.bootstrap`.

    Args:
        result: counts of at least one image; from a single one the bounds are unknown (nan).
        keys: as in `convention_scores`.
        resamples, seed, level: as in `bootstrap.bootstrap`.

    Raises:
        DataError: there is no image.
        ConfigError: a key is unknown, or an argument out of range.
    """
    check_level(level)
    if resamples < 2:
        raise ConfigError(f"resamples must be at least 2; got {resamples}")
    images = len(result.names)
    if images == 0:
        raise DataError("an interval needs at least one image; got none")
    chosen = _chosen(keys)
    values = _values(Drawn(result.counts), chosen)
    parts = [
        _values(Drawn(result.counts, times_drawn(draws)), chosen)
        for draws in (image_draws(images, resamples, seed) if images > 1 else ())
    ]
    drawn = {key: np.concatenate([part[key] for part in parts]) if parts else np.empty(0) for key in values}
    return {key: _interval(float(values[key][0]), drawn[key], level) for key in values}


def _chosen(keys: Iterable[str] | None) -> tuple[Convention, ...]:
    return CONVENTIONS if keys is None else tuple(convention(key) for key in keys)


def _values(drawn: Drawn, chosen: Iterable[Convention]) -> dict[str, Values]:
    """Key to values, (R,); conventions that make the same choices are computed once."""
    done: dict[Choices, Values] = {}
    values = {}
    num_classes = drawn.counts.shape[-1]
    for entry in chosen:
        if not entry.applies(num_classes):
            values[entry.key] = entry.of_drawn(drawn)
            continue
        choices = entry.choices(num_classes)
        if choices not in done:
            done[choices] = evaluate(choices, drawn)
        values[entry.key] = done[choices]
    return values


def _interval(value: float, replicates: Values, level: float) -> Interval:
    known = replicates[~np.isnan(replicates)]
    if known.size == 0:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
