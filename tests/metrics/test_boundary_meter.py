"""Boundary scores of a data set: the single images' scores, their means and the paired changes of these."""

from dataclasses import replace

import numpy as np
import pytest

from maskwright.errors import ConfigError, DataError
from maskwright.metrics import BOUNDARY_STATISTICS, BoundaryMeter, EvaluationMeter, boundary_scores
from maskwright.metrics.bootstrap import Interval, bootstrap, change
from maskwright.metrics.boundary_meter import boundary_values, has_boundary

CLASSES = ("background", "object")
SHAPE = (24, 32)


def truth_of(number):
    """A rectangle, in every third image inside a strip of ignored pixels, where boundary F is undefined."""
    target = np.zeros(SHAPE, np.uint8)
    if number % 3 == 0:
        target[4:19, 5:24] = 255
    target[6:17, 7 : 20 + number % 3] = 1
    return target


def scored(seed, images=9, order=None):
    """Masks of the truths with a few wrong pixels each, the same images for every seed."""
    generator = np.random.default_rng(seed)
    masks = [(truth_of(i) == 1) ^ (generator.random(SHAPE) < 0.05) for i in range(images)]
    meter = BoundaryMeter(CLASSES)
    for i in order or range(images):
        meter.update(f"image {i}", masks[i], truth_of(i))
    return meter.result()


def test_each_image_has_its_own_scores_and_its_counts():
    generator = np.random.default_rng(0)
    boundary, counts = BoundaryMeter(CLASSES, border_share=0.2, empty=0.5), EvaluationMeter(CLASSES)
    expected = []
    for number in range(4):
        mask, target = generator.integers(0, 2, SHAPE), truth_of(number) if number < 3 else np.zeros(SHAPE, np.uint8)
        boundary.update(f"image {number}", mask, target)
        counts.update(f"image {number}", mask, target)
        expected.append(boundary_scores(mask, target, num_classes=2, border_share=0.2, empty=0.5))
    result, counted = boundary.result(), counts.result()
    assert tuple(result.boundary) == BOUNDARY_STATISTICS
    for name in BOUNDARY_STATISTICS:
        np.testing.assert_array_equal(result.boundary[name], [getattr(scores, name) for scores in expected])
    assert (result.border_share, result.empty_value) == (0.2, 0.5)
    assert (result.classes, result.names) == (counted.classes, counted.names)
    for field in ("counts", "confusion", "ignored"):
        np.testing.assert_array_equal(getattr(result, field), getattr(counted, field))


def test_a_refused_image_leaves_the_meter_as_it_was():
    meter = BoundaryMeter(CLASSES)
    meter.update("a", truth_of(1), truth_of(1))
    for name, mask in (("a", truth_of(1)), ("b", truth_of(1)[:5]), ("c", truth_of(1) * 7)):
        with pytest.raises(DataError, match=name):
            meter.update(name, mask, truth_of(1))
    result = meter.result()
    assert result.names == ("a",)
    assert all(values.tolist() == [1.0] for values in result.boundary.values())


def test_meters_merge():
    whole, parts = BoundaryMeter(CLASSES, empty=np.nan), [BoundaryMeter(CLASSES, empty=np.nan) for _ in range(2)]
    for number in range(5):
        for meter in (whole, parts[number > 2]):
            meter.update(f"image {number}", truth_of(number), truth_of(number))
    parts[0].merge(parts[1])
    merged, expected = parts[0].result(), whole.result()
    assert merged.names == expected.names
    assert np.array_equal(merged.counts, expected.counts)
    for name in BOUNDARY_STATISTICS:
        np.testing.assert_array_equal(merged.boundary[name], expected.boundary[name])
    with pytest.raises(DataError, match="counted twice: image 3"):
        parts[0].merge(parts[1])
    for other in (BoundaryMeter(CLASSES), BoundaryMeter(CLASSES, border_share=0.1, empty=np.nan)):
        with pytest.raises(DataError, match="border_share and empty; got"):
            whole.merge(other)
    with pytest.raises(DataError, match="agree on classes"):
        whole.merge(BoundaryMeter(("background", "cat"), empty=np.nan))


@pytest.mark.parametrize("statistic", BOUNDARY_STATISTICS)
def test_the_mean_is_over_the_images_that_have_the_score(statistic):
    result = scored(0)
    values = result.boundary[statistic]
    undefined = np.isnan(values).sum()
    assert undefined == (3 if statistic in ("boundary_f", "davis_f") else 0)
    interval = bootstrap(result, statistic)
    assert interval.value == pytest.approx(np.nanmean(values))
    assert interval.low < interval.value < interval.high


@pytest.mark.parametrize("statistic", BOUNDARY_STATISTICS)
def test_a_change_is_paired_by_name_over_the_images_that_have_both(statistic):
    base, other = scored(0), scored(1, order=[3, 1, 4, 0, 5, 8, 2, 6, 7])
    lacking = replace(
        base, boundary=base.boundary | {statistic: np.where(np.arange(9) == 4, np.nan, base.boundary[statistic])}
    )
    after = dict(zip(other.names, other.boundary[statistic], strict=True))
    gains = np.array([after[name] for name in base.names]) - lacking.boundary[statistic]
    found = change(lacking, other, statistic, threshold=0.02)
    assert found.interval.value == pytest.approx(np.nanmean(gains))
    known = gains[~np.isnan(gains)]
    assert (found.better, found.worse) == ((known > 0.02).mean(), (known < -0.02).mean())
    assert found.median == np.median(known)
    same = change(base, base, statistic)
    assert same.interval == Interval(0, 0, 0) and same.better == same.worse == 0


def test_an_interval_around_paired_changes_is_narrower_than_the_means_allow():
    base = scored(0)
    shifted = replace(base, boundary={name: values - 0.01 for name, values in base.boundary.items()})
    found = change(base, shifted, "boundary_iou").interval
    assert found.low == pytest.approx(-0.01) and found.high == pytest.approx(-0.01)


def test_scores_of_one_image_or_of_none_have_no_interval():
    none = scored(0, images=1)
    assert np.isnan([getattr(bootstrap(none, "boundary_f"), part) for part in ("value", "low", "high")]).all()
    assert np.isnan(change(none, none, "boundary_f").better)
    two = scored(0, images=2)
    one = bootstrap(two, "boundary_f")
    assert one.value == two.boundary["boundary_f"][1]
    assert np.isnan(one.low) and np.isnan(one.high)
    with pytest.raises(DataError, match="at least one image"):
        bootstrap(BoundaryMeter(CLASSES).result(), "boundary_iou")


def test_results_that_do_not_fit_are_refused():
    base = scored(0)
    meter = EvaluationMeter(CLASSES)
    meter.update("a", truth_of(1), truth_of(1))
    counts = meter.result()
    assert has_boundary([base, base]) and not has_boundary([base, counts])
    with pytest.raises(ConfigError, match="boundary_iou needs the boundary scores.*BoundaryMeter"):
        bootstrap(counts, "boundary_iou")
    with pytest.raises(ConfigError, match="counts only"):
        boundary_values(counts, "davis_f")
    with pytest.raises(DataError, match=r"\(0\.05, 1\.0\) and \(0\.1, 1\.0\) cannot be compared"):
        change(base, replace(base, border_share=0.1), "trimap_iou")
    out = replace(base, empty_value=np.nan)
    assert change(out, out, "trimap_iou").interval.value == 0
    with pytest.raises(DataError, match="same images"):
        change(base, scored(0, images=8), "boundary_iou")


def test_an_image_that_has_no_boundary_scores_is_not_counted_either():
    meter = BoundaryMeter(CLASSES, border_share=-1)
    for _ in range(2):
        with pytest.raises(ConfigError, match="border_share"):
            meter.update("image", truth_of(1), truth_of(1))
    assert meter.result().names == ()
