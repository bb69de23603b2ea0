"""Two sets of masks: the difference is that of the scores, and p is what all exchanges of a small set say exactly."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.bootstrap import change
from maskwright.metrics.confusion import EvaluationMeter
from maskwright.metrics.conventions import Drawn, convention
from maskwright.metrics.paired import paired
from maskwright.types import EvaluationResult

KEYS = ("maskwright.iou_per_image", "maskwright.miou_present", "smp.f1.macro-imagewise")


def results(
    images: int, *, gain: float = 0.1, classes: int = 3, seed: int = 0
) -> tuple[EvaluationResult, EvaluationResult]:
    """Counts of worse and better predictions of the same random truths."""
    generator = np.random.default_rng(seed)
    meters = [EvaluationMeter([f"c{i}" for i in range(classes)]) for _ in range(2)]
    for i in range(images):
        truth = generator.integers(classes, size=(9, 11))
        for meter, wrong in zip(meters, (0.4, 0.4 - gain), strict=True):
            noise = generator.integers(classes, size=truth.shape)
            meter.update(f"i{i}", np.where(generator.random(truth.shape) < wrong, noise, truth), truth)
    return meters[0].result(), meters[1].result()


@pytest.mark.parametrize("key", KEYS)
def test_p_is_that_of_all_exchanges(key: str) -> None:
    base, other = results(7, gain=0.05)
    score = convention(key).of
    observed = abs(score(other.counts) - score(base.counts))
    differences = []
    for exchanged in product([False, True], repeat=7):
        where = np.array(exchanged)[:, None, None]
        one, two = np.where(where, other.counts, base.counts), np.where(where, base.counts, other.counts)
        differences.append(abs(score(two) - score(one)) >= observed - 1e-12)
    assert paired(base, other, convention(key).of_drawn).p == pytest.approx(np.mean(differences), abs=0.02)


def test_the_interval_is_that_of_the_paired_bootstrap() -> None:
    base, other = results(40, classes=2)
    own = paired(base, other, convention("maskwright.iou_per_image").of_drawn).difference
    known = change(base, other, "iou_per_image").interval
    assert (own.value, own.low, own.high) == pytest.approx((known.value, known.low, known.high), abs=1e-12)


def test_sets_that_are_alike_are_rarely_told_apart_and_others_always() -> None:
    score = convention("maskwright.miou_present").of_drawn
    found = [paired(*results(20, gain=0.0, seed=seed), score, exchanges=500).p < 0.1 for seed in range(60)]
    assert np.mean(found) == pytest.approx(0.1, abs=0.08)
    assert paired(*results(30, gain=0.2), score).p < 0.001


def test_order_of_the_images_does_not_matter_and_a_set_equals_itself() -> None:
    base, other = results(8)
    score = convention("maskwright.miou_present").of_drawn
    turned = replace(other, names=other.names[::-1], counts=other.counts[::-1])
    assert paired(base, turned, score) == paired(base, other, score)
    same = paired(base, base, score)
    assert (same.difference.value, same.difference.low, same.difference.high, same.p) == (0, 0, 0, 1)


def test_one_image_and_undefined_scores_have_no_p() -> None:
    base, other = results(1)
    found = paired(base, other, convention("maskwright.miou_present").of_drawn)
    assert np.isnan([found.p, found.difference.low]).all() and np.isfinite(found.difference.value)
    base, other = results(4)
    nothing = paired(base, other, lambda drawn: np.full(len(drawn.times), np.nan))
    assert np.isnan([nothing.p, nothing.difference.value]).all()


@pytest.mark.parametrize(("name", "value"), [("level", 2.0), ("resamples", 0), ("exchanges", -1)])
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        paired(*results(3), convention(KEYS[0]).of_drawn, **{name: value})


def test_another_truth_is_refused() -> None:
    base, other = results(4)
    with pytest.raises(DataError, match="truth"):
        paired(base, replace(other, counts=other.counts + 1), lambda drawn: Drawn(drawn.counts).times[:, 0])
