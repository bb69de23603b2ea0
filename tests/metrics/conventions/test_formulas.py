"""Conventions of tools that are not installed, against their formulas; and what every convention has in common."""

from math import isnan

import numpy as np
import pytest

from label_map_cases import CASES, long_tailed, result_of
from maskwright.errors import ConfigError, DataError
from maskwright.metrics import bootstrap
from maskwright.metrics.conventions import (
    CONVENTIONS,
    Choices,
    Drawn,
    convention,
    convention_draws,
    convention_intervals,
    convention_scores,
    describe,
    evaluate,
)
from tool_formulas import FORMULAS


@pytest.fixture(scope="module")
def results():
    return {name: result_of(case) for name, case in CASES.items()}


def test_every_convention_that_claims_a_formula_has_one_here():
    assert {c.key for c in CONVENTIONS if c.checked == "formula"} == set(FORMULAS)


@pytest.mark.parametrize("key", FORMULAS)
def test_parity_with_the_formula(results, key):
    tolerance = 3e-7 if key.startswith("keras") else 1e-12
    compared = 0
    for name, case in CASES.items():
        found = convention(key).of(results[name].counts)
        if not convention(key).applies(case[0]):
            assert isnan(found)
            continue
        np.testing.assert_allclose(found, FORMULAS[key](*case), rtol=tolerance, atol=tolerance, err_msg=name)
        compared += not isnan(found)
    assert compared >= 4


def test_keys_are_unique_and_every_row_says_what_it_is():
    assert len({c.key for c in CONVENTIONS}) == len(CONVENTIONS) > 100
    for c in CONVENTIONS:
        assert c.tool and c.version and c.call
        assert c.definition.count(".") >= 1 and "nan" not in c.definition.replace("nan with more", "")[:20]
        assert c.applies(2)


def test_definitions_say_the_policy_of_the_choices():
    assert convention("smp.iou.macro").definition.startswith(
        "IoU, TP / (TP + FP + FN), of each class from the pixels of all images together, mean over the classes "
        "(background included): a class in neither truth nor prediction counts 1."
    )
    own = convention("maskwright.iou_per_image").definition
    assert (
        "With two classes: IoU" in own and "the foreground in neither truth nor prediction of an image counts 1" in own
    )
    fscore = convention("mmseg.mFscore").definition
    assert (
        "where it is only predicted, it is left out; where it is in the truth but never hit, it is left out." in fscore
    )
    assert convention("mmseg.aAcc").definition.startswith("pixel accuracy, right pixels / all pixels, with")
    assert (
        "where it has a score in no image, it makes the result nan"
        in convention("nnunet.iou.foreground_mean").definition
    )
    assert "makes the result nan" in convention("voc.iou").definition
    assert describe(Choices(score="Dice", pool="image", order="pairs")) == (
        "Dice, 2 TP / (2 TP + FP + FN), one mean over all pairs of an image and a class (background included): "
        "a class in neither truth nor prediction of an image is left out."
    )


def test_two_class_conventions_refuse_more_by_nan_and_by_error():
    binary = convention("smp.iou.binary.micro")
    result = result_of(CASES["21 classes"])
    assert isnan(binary.of(result.counts)) and binary.definition.startswith("Two classes only (nan with more).")
    with pytest.raises(ConfigError, match=r"smp.iou.binary.micro is defined for two classes only; got 21"):
        binary.choices(21)


def test_an_unknown_key_names_those_of_the_tool():
    with pytest.raises(ConfigError, match=r"no convention is called 'smp\.jaccard'; there are smp\.iou\.micro"):
        convention("smp.jaccard")
    with pytest.raises(ConfigError, match="there are cityscapes"):
        convention_scores(result_of(CASES["21 classes"]), ["tool.iou"])


@pytest.mark.parametrize("name", ["21 classes, a blank image", "4 classes, small images", "2 classes, a blank image"])
def test_drawing_an_image_twice_is_having_it_twice(results, name):
    counts = results[name].counts
    draws = np.random.default_rng(0).integers(len(counts), size=(5, len(counts)))
    found = convention_draws(counts, bootstrap.times_drawn(draws))
    for c in CONVENTIONS:
        expected = [c.of(counts[draw]) for draw in draws]
        np.testing.assert_allclose(found[c.key], expected, rtol=1e-12, err_msg=c.key)
        np.testing.assert_array_equal(found[c.key], c.of_draws(counts, bootstrap.times_drawn(draws)), err_msg=c.key)


def test_an_image_that_is_not_drawn_spoils_nothing():
    """Where a class without pixels makes the score of an image nan, only the images drawn count."""
    counts = np.array([[[5, 5, 5], [5, 5, 5], [5, 5, 5]], [[4, 0, 0], [5, 0, 0], [4, 1, 0]]])
    choices = Choices(score="IoU", pool="image", absent=np.nan)
    found = evaluate(choices, Drawn(counts, np.array([[2, 0], [1, 1]])))
    np.testing.assert_array_equal(found, [1.0, np.nan])


def test_order_of_images_and_classes_does_not_matter(results):
    counts = results["21 classes"].counts
    order = np.random.default_rng(1).permutation(20) + 1
    for c in CONVENTIONS:
        np.testing.assert_allclose(c.of(counts[::-1]), c.of(counts), rtol=1e-12, err_msg=c.key)
        shuffled = counts[..., np.r_[0, order]]
        np.testing.assert_allclose(c.of(shuffled), c.of(counts), rtol=1e-12, err_msg=c.key)


def test_perfect_masks_score_1_under_every_convention_that_knows_no_empty_ones():
    _, _, target = long_tailed(2, 4, 0, ignored=0.0)
    found = convention_scores(result_of((2, target, target)))
    halved = {key for key, value in found.items() if value != 1}
    assert halved == {"smp.iou.weighted-imagewise", "smp.f1.weighted-imagewise"}
    assert all(found[key] == 0.5 for key in halved)


def test_intervals_are_those_of_bootstrap(results):
    result = results["2 classes, some empty"]
    found = convention_intervals(result, resamples=200, seed=3, level=0.9)
    assert set(found) == {c.key for c in CONVENTIONS}
    for statistic in [*bootstrap.IMAGE_STATISTICS, *bootstrap.SET_STATISTICS]:
        expected = bootstrap.bootstrap(result, statistic, resamples=200, seed=3, level=0.9)
        interval = found[f"maskwright.{statistic}"]
        values = [expected.value, expected.low, expected.high]
        np.testing.assert_allclose([interval.value, interval.low, interval.high], values, rtol=1e-12)


def test_intervals_of_one_image_have_no_bounds_and_of_none_are_an_error():
    found = convention_intervals(result_of(CASES["2 classes, one image"]), ["maskwright.iou_per_image"])
    interval = found["maskwright.iou_per_image"]
    assert interval.value > 0 and isnan(interval.low) and isnan(interval.high)
    empty = result_of((2, np.zeros((0, 2, 2), np.uint8), np.zeros((0, 2, 2), np.uint8)))
    with pytest.raises(DataError, match="at least one image"):
        convention_intervals(empty)
    with pytest.raises(ConfigError, match="resamples must be at least 2; got 1"):
        convention_intervals(result_of(CASES["2 classes, one image"]), resamples=1)
    assert set(convention_scores(empty)) == {c.key for c in CONVENTIONS}
