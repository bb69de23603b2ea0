"""Intervals: what they must hold, and what a pair of results must share."""

import math

import numpy as np
import pytest
from scipy import stats

from maskwright.errors import ConfigError, DataError
from maskwright.metrics import bootstrap as module
from maskwright.metrics.bootstrap import Interval, bootstrap, change, seed_interval
from maskwright.metrics.scores import image_iou, scores
from maskwright.types import EvaluationResult

STATISTICS = [*module.IMAGE_STATISTICS, *module.SET_STATISTICS]
PIXELS = 1000


def with_iou(ious, names=None, truth=PIXELS):
    """Two-class result whose images have these IoUs: nothing but true positives and false negatives."""
    hit = np.round(np.asarray(ious) * truth).astype(np.int64)
    background = np.full_like(hit, PIXELS)
    counts = np.stack(
        [
            np.stack([background, hit], axis=1),
            np.stack([background + truth - hit, hit], axis=1),
            np.stack([background, np.full_like(hit, truth)], axis=1),
        ],
        axis=1,
    )
    confusion = np.array([[background.sum(), 0], [truth * len(hit) - hit.sum(), hit.sum()]])
    return EvaluationResult(
        classes=("background", "object"),
        names=tuple(names or (f"image {i}" for i in range(len(hit)))),
        counts=counts,
        confusion=confusion,
        ignored=np.zeros(len(hit), dtype=np.int64),
    )


def random_result(images=40, num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    tables = rng.integers(0, 50, (images, num_classes, num_classes))
    tables += 100 * np.eye(num_classes, dtype=np.int64)
    counts = np.stack([np.diagonal(tables, axis1=1, axis2=2), tables.sum(1), tables.sum(2)], axis=1)
    return EvaluationResult(
        classes=tuple(f"class {i}" for i in range(num_classes)),
        names=tuple(f"image {i}" for i in range(images)),
        counts=counts,
        confusion=tables.sum(0),
        ignored=np.zeros(images, dtype=np.int64),
    )


def reordered(result, order):
    return EvaluationResult(
        classes=result.classes,
        names=tuple(result.names[i] for i in order),
        counts=result.counts[order],
        confusion=result.confusion,
        ignored=result.ignored[order],
    )


def width(interval):
    return interval.high - interval.low


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_value_is_the_score_and_lies_between_the_bounds(statistic, num_classes):
    result = random_result(num_classes=num_classes)
    interval = bootstrap(result, statistic, resamples=200)
    assert interval.value == getattr(scores(result), statistic)
    assert interval.low < interval.value < interval.high


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_named_statistic_equals_the_scores_of_the_resampled_images(statistic):
    """The fast path by weights against scoring each resample as a result of its own."""
    result = random_result(images=12)

    def scored(counts):
        drawn = EvaluationResult(
            classes=result.classes,
            names=("",) * len(counts),
            counts=counts,
            confusion=result.confusion,
            ignored=result.ignored,
        )
        return getattr(scores(drawn), statistic)

    fast, slow = bootstrap(result, statistic, resamples=50), bootstrap(result, scored, resamples=50)
    assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high), rel=1e-12)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        interval = bootstrap(with_iou(rng.random(60)), resamples=300, level=0.9)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.83 < covered / 200 < 0.96


def test_the_standard_error_is_that_of_the_mean():
    ious = np.random.default_rng(2).random(400)
    interval = bootstrap(with_iou(ious), resamples=4000)
    assert width(interval) == pytest.approx(2 * 1.96 * ious.std() / np.sqrt(400), rel=0.06)


def test_a_higher_level_is_wider():
    result = random_result()
    assert (
        width(bootstrap(result, level=0.5)) < width(bootstrap(result, level=0.9)) < width(bootstrap(result, level=0.99))
    )


def test_a_seed_reproduces_and_another_seed_differs():
    result, other = random_result(seed=0), random_result(seed=0)
    assert bootstrap(result, seed=3) == bootstrap(other, seed=3) != bootstrap(result, seed=4)
    changed = random_changed(result)
    assert change(result, changed, seed=3) == change(result, changed, seed=3) != change(result, changed, seed=4)


def random_changed(result):
    """The same truth, with some hits of class 1 lost to class 0 in every image."""
    counts = result.counts.copy()
    lost = np.random.default_rng(5).integers(0, 60, len(counts))
    counts[:, 0, 1] -= lost
    counts[:, 1, 1] -= lost
    counts[:, 1, 0] += lost
    return EvaluationResult(
        classes=result.classes, names=result.names, counts=counts, confusion=result.confusion, ignored=result.ignored
    )


def test_drawing_in_parts_holds_every_resample(monkeypatch):
    monkeypatch.setattr(module, "DRAWS_AT_ONCE", 100)
    draws = list(module.image_draws(images=30, resamples=10, seed=0))
    assert [len(part) for part in draws] == [3, 3, 3, 1]
    assert {part.shape[1] for part in draws} == {30}
    assert set(np.concatenate(draws).flat) == set(range(30))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_identical_results_have_no_change_and_no_doubt(statistic):
    result = random_result()
    order = np.random.default_rng(0).permutation(len(result.names))
    found = change(result, reordered(result, order), statistic, resamples=100)
    assert found.interval == Interval(0.0, 0.0, 0.0)
    assert not found.interval.excludes_zero
    assert (found.better, found.worse, found.median) == (0.0, 0.0, 0.0)


def test_pairing_narrows_the_interval_of_correlated_results():
    rng = np.random.default_rng(3)
    before = rng.uniform(0.2, 0.9, 80)
    base, other = with_iou(before), with_iou(before + rng.normal(0.02, 0.01, 80))
    paired = change(base, other).interval
    unpaired = np.hypot(width(bootstrap(base)), width(bootstrap(other)))
    assert width(paired) < 0.2 * unpaired
    assert paired.excludes_zero and paired.value == pytest.approx(0.02, abs=0.005)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_change_is_other_minus_base_and_turns_its_sign_when_they_swap(statistic):
    base = random_result()
    other = random_changed(base)
    there, back = change(base, other, statistic), change(other, base, statistic)
    assert there.interval.value == getattr(scores(other), statistic) - getattr(scores(base), statistic) < 0
    assert back.interval.value == -there.interval.value
    assert (back.interval.low, back.interval.high) == pytest.approx((-there.interval.high, -there.interval.low))
    assert (back.better, back.worse, back.median) == (there.worse, there.better, -there.median)


def test_shares_and_median_follow_the_threshold():
    base = with_iou([0.5, 0.5, 0.5, 0.5, 0.5])
    other = with_iou([0.52, 0.505, 0.5, 0.45, 0.9])
    found = change(base, other)
    assert (found.better, found.worse, found.median) == pytest.approx((0.4, 0.2, 0.005))
    found = change(base, other, threshold=0.1)
    assert (found.better, found.worse, found.threshold) == (0.2, 0.0, 0.1)


def test_an_image_without_scored_pixels_changes_nothing():
    base, other = with_iou([0.5, 0.6, 0.7]), with_iou([0.6, 0.7, 0.8])
    for result in (base, other):
        result.counts[1] = 0
    found = change(base, other)
    assert np.isnan(image_iou(base)[1])
    assert found.interval.value == pytest.approx(0.1)
    assert found.better == 1.0


def test_results_align_by_name():
    base = with_iou([0.1, 0.5, 0.9], names=["a", "b", "c"])
    other = with_iou([0.9, 0.1, 0.5], names=["c", "a", "b"])
    assert change(base, other).interval == Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (with_iou([0.5, 0.5], names=["a", "d"]), "second result lacks b, c, the first lacks d"),
        (with_iou([0.5] * 4, names=["a", "b", "c", "d"]), "second result lacks none, the first lacks d"),
        (with_iou([0.5] * 3, names=["c", "b", "a"], truth=990), "truth of a, b, c is not the same"),
        (random_result(), "different classes"),
    ],
)
def test_results_that_do_not_pair_are_refused(other, message):
    with pytest.raises(DataError, match=message):
        change(with_iou([0.5] * 3, names=["a", "b", "c"]), other)


def test_one_image_tells_nothing_of_the_spread():
    interval = bootstrap(with_iou([0.5]))
    assert interval.value == 0.5 and np.isnan([interval.low, interval.high]).all()
    assert not interval.excludes_zero
    assert str(interval) == "0.500 [nan, nan]"


@pytest.mark.parametrize("statistic", STATISTICS)
def test_resamples_without_any_scored_pixel_are_left_out(statistic):
    """One image of three has scored pixels; eight of 27 resamples do not hold it."""
    result = with_iou([0.5, 0.5, 0.5])
    result.counts[1:] = 0
    value = getattr(scores(result), statistic)
    assert bootstrap(result, statistic, resamples=100) == Interval(value, value, value)


def test_no_image_and_no_score():
    with pytest.raises(DataError, match="at least one image"):
        bootstrap(with_iou([]))
    unscored = with_iou([0.5, 0.5])
    unscored.counts[...] = 0
    for statistic in STATISTICS:
        interval = bootstrap(unscored, statistic, resamples=10)
        assert np.isnan([interval.value, interval.low, interval.high]).all()
    assert np.isnan(change(unscored, unscored).median)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistic": "miou"}, "iou_per_image, .*got 'miou'"),
        ({"level": 95}, "between 0 and 1.*got 95"),
        ({"resamples": 1}, "at least 2; got 1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        bootstrap(with_iou([0.5, 0.6]), **arguments)


def test_seed_interval_is_students():
    values = [0.81, 0.79, 0.80, 0.84]
    interval = seed_interval(values, level=0.9)
    expected = stats.t.interval(0.9, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.value == pytest.approx(0.81)
    assert np.isnan(seed_interval([0.8]).low)
    with pytest.raises(DataError, match="at least one training"):
        seed_interval([])


def test_intervals_read_well():
    interval = Interval(0.0212, 0.0151, 0.0279)
    assert str(interval) == "0.021 [0.015, 0.028]"
    assert f"{interval:+.3f}" == "+0.021 [+0.015, +0.028]"
    assert f"{interval:.1%}" == "2.1% [1.5%, 2.8%]"
    assert str(Interval(math.nan, math.nan, math.nan)) == "–"
    assert [Interval(0, low, high).excludes_zero for low, high in [(1, 2), (-2, -1), (-1, 1), (0, 1)]] == [
        True,
        True,
        False,
        False,
    ]


def test_a_change_reads_well():
    found = change(with_iou([0.5, 0.5]), with_iou([0.6, 0.6]))
    assert str(found) == "+0.100 [+0.100, +0.100], better 100.0%, worse 0.0% (by > 0.01 IoU)"
