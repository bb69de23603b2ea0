"""The number to quote, and what numbers hide: every caution on data made for it, none on data without."""

from math import isnan

import numpy as np
import pytest

from label_map_cases import CASES, IGNORED, long_tailed, result_of
from maskwright.metrics import bootstrap, scores
from maskwright.metrics.conventions import convention, recommended, warnings


def noisy(num_classes, images, seed=0, *, wrong=0.05, size=(20, 20)):
    """All classes alike in every image, few errors: nothing to be cautious about."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, num_classes, (images, *size)).astype(np.uint8)
    prediction = np.where(rng.random(target.shape) < wrong, rng.integers(0, num_classes, target.shape), target)
    return num_classes, prediction.astype(np.uint8), target


def cautions(case):
    return {caution.key: caution for caution in warnings(result_of(case), resamples=100)}


def test_two_classes_quote_the_iou_per_image():
    result = result_of(CASES["2 classes, some empty"])
    found = recommended(result, resamples=300)
    expected = bootstrap.bootstrap(result, "iou_per_image", resamples=300)
    assert found.key == "maskwright.iou_per_image" and convention(found.key)
    np.testing.assert_allclose(found.interval.low, expected.low, rtol=1e-12)
    assert found.sentence == (
        f"IoU of the foreground, per image, mean over 6 images, empty masks count 1 (1 of 6): {expected}"
    )
    assert found.rule.startswith("Two classes")


def test_many_classes_quote_the_pooled_mean():
    result = result_of(long_tailed(21, 7, 0))
    found = recommended(result, resamples=300)
    expected = bootstrap.bootstrap(result, "miou_present", resamples=300)
    present = int((result.counts[:, 2].sum(axis=0) > 0).sum())
    assert found.key == "maskwright.miou_present"
    assert found.sentence == (
        f"mIoU, pixels of 7 images pooled, mean over the {present} classes in the truth, class 0 included: {expected}"
    )


def test_the_sentence_says_what_is_left_out_and_what_is_unknown():
    blank = recommended(result_of(CASES["2 classes, a blank image"]), resamples=50).sentence
    assert "mean over 5 images, empty masks count 1 (1 of 5), 1 wholly ignored image left out: " in blank
    one = recommended(result_of(CASES["2 classes, one image"])).sentence
    assert "mean over 1 image, no mask empty" in one and one.endswith("(one image, so no interval)")
    num_classes, prediction, target = CASES["2 classes, one image"]
    blanks = np.full((30, *target.shape[1:]), IGNORED, np.uint8)
    alone = recommended(result_of((num_classes, prediction.repeat(31, 0), np.concatenate([target, blanks]))))
    assert "30 wholly ignored images left out" in alone.sentence and alone.sentence.endswith("so no interval)")
    assert isnan(alone.interval.low) and isnan(alone.interval.high)
    none = recommended(result_of(CASES["3 classes, all ignored"]))
    assert none.sentence.startswith("There is nothing to quote") and isnan(none.interval.value)
    empty = np.zeros((0, 2, 2), np.uint8)
    assert recommended(result_of((2, empty, empty))).sentence == none.sentence


@pytest.mark.parametrize("num_classes", [2, 4])
def test_nothing_to_say_of_clean_data(num_classes):
    assert cautions(noisy(num_classes, 25)) == {}


@pytest.mark.parametrize("name", ["2 classes, all ignored", "3 classes, all ignored"])
def test_nothing_to_say_of_nothing(name):
    assert warnings(result_of(CASES[name])) == ()


def test_a_dominant_class_and_dice_that_is_accuracy():
    num_classes, prediction, target = noisy(2, 25, size=(10, 10))
    target[:], prediction[:] = 0, 0
    target[:, 0, :8] = 1
    prediction[:, 0, 4:8] = 1
    found = cautions((num_classes, prediction, target))
    assert set(found) == {"dominant-class", "dice-is-accuracy"}
    assert "class 0 has 92.0% of the pixels" in found["dominant-class"].text
    assert "pixel accuracy of 0.920 (these masks: 0.960), and an mIoU of 0.460" in found["dominant-class"].text
    assert found["dice-is-accuracy"].figures == pytest.approx({"pixel_accuracy": 0.96, "dice": 2 / 3})
    assert "0.960 here; the Dice of the foreground, per image, is 0.667" in found["dice-is-accuracy"].text


def test_empty_masks_and_what_their_policy_is_worth():
    num_classes, prediction, target = noisy(2, 30)
    target[:4], prediction[:3] = 0, 0
    found = cautions((num_classes, prediction, target))["empty-masks"]
    result = result_of((num_classes, prediction, target))
    assert found.text.startswith("4 of 30 images (13.3%) hold no foreground. On 3 of them none is predicted either")
    assert found.text.endswith("On the other 1 something is predicted, which scores 0.")
    for name, empty in {"counted_1": 1.0, "left_out": np.nan, "counted_0": 0.0}.items():
        assert found.figures[name] == pytest.approx(scores.scores(result, empty=empty).iou_per_image)
    everywhere = cautions(CASES["2 classes, all empty"])["empty-masks"]
    assert "1.000 where they count 1, undefined where they are left out, 0.000 where they count 0" in everywhere.text
    assert "On the other" not in everywhere.text


def test_images_without_a_scored_pixel_make_no_data_set_large():
    num_classes, prediction, target = noisy(2, 30, wrong=0.01)
    target[5:] = IGNORED
    caution = cautions((num_classes, prediction, target))["few-images"]
    assert caution.text.startswith("5 images: ") and caution.figures["images"] == 5


def test_few_images_and_wide_intervals():
    assert cautions(noisy(2, 5))["few-images"].text.startswith("5 images: the interval is 0.0")
    assert "on the same images only a paired test tells" in cautions(noisy(2, 5))["few-images"].text
    assert cautions(noisy(2, 1))["few-images"].text.startswith("1 image: there is no interval;")
    _, prediction, target = noisy(2, 21)
    prediction[::2] = 1 - prediction[::2]
    wide = cautions((2, prediction, target))["few-images"]
    assert wide.figures["width"] > 0.1 and "too narrow" not in wide.text


def test_absent_spurious_and_rare_classes():
    _, prediction, target = noisy(5, 25)
    target[target == 2], prediction[prediction == 2] = 0, 0
    target[target == 3] = 0
    target[2:][target[2:] == 4] = 1
    found = cautions((5, prediction, target))
    assert "1 of 5 classes occur in neither truth nor prediction" in found["absent-classes"].text
    assert found["absent-classes"].text.endswith("(class 2).")
    assert found["spurious-classes"].text.endswith("(class 3).")
    assert found["rare-classes"].text.endswith("(class 4).") and "fewer than 3 images" in found["rare-classes"].text
    prediction[prediction == 1] = 0
    missed = cautions((5, prediction, target))["missed-classes"]
    assert missed.text.startswith("1 of 5 classes are in the truth but not a pixel") and "(class 1)." in missed.text
    many = cautions((40, *noisy(2, 25)[1:]))["absent-classes"].text
    assert many.endswith("class 9 and 30 more).")


def test_ignored_pixels():
    num_classes, prediction, target = noisy(3, 25)
    target[:, :5] = IGNORED
    found = cautions((num_classes, prediction, target))
    assert set(found) == {"ignored-pixels"} and found["ignored-pixels"].text.startswith("25.0% of the pixels")
