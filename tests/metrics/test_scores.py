"""Scores against pixel loops, torchmetrics and scikit-learn, and the documented values of the odd cases."""

import json
from dataclasses import fields
from math import isnan, nan

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics
from torchmetrics import functional as torchmetrics

from maskwright.metrics import EvaluationMeter
from maskwright.metrics.scores import DEFINITIONS, Scores, image_iou, scores

IGNORED = 255


def evaluate(num_classes, images):
    meter = EvaluationMeter([f"class {i}" for i in range(num_classes)])
    for i, (prediction, target) in enumerate(images):
        meter.update(f"image {i}", np.asarray(prediction), np.asarray(target))
    return meter.result()


def random_images(num_classes, images=4, seed=0, size=(24, 31)):
    """Predictions that are right about half the time; all classes occur."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, num_classes, (images, *size), dtype=np.uint8)
    prediction = np.where(rng.random(target.shape) < 0.5, target, rng.integers(0, num_classes, target.shape))
    target[rng.random(target.shape) < 0.1] = IGNORED
    return prediction.astype(np.uint8), target


def loop_scores(num_classes, images):
    """IoU per image and of the set, by sets of pixels; the policies as documented."""

    def pixels(labels, targets, label):
        return {
            (i, y, x)
            for i, (labelled, target) in enumerate(zip(labels, targets, strict=True))
            for y, row in enumerate(labelled.tolist())
            for x, value in enumerate(row)
            if value == label and target[y, x] != IGNORED
        }

    def score(predictions, targets):
        values = {}
        for label in range(num_classes):
            a, b = pixels(predictions, targets, label), pixels(targets, targets, label)
            values[label] = (len(a & b) / len(a | b) if a | b else None, bool(b))
        if not any(present for _, present in values.values()):
            return nan
        if num_classes == 2:
            return 1.0 if values[1][0] is None else values[1][0]
        present = [iou for iou, in_truth in values.values() if in_truth]
        return sum(present) / len(present)

    per_image = [score([prediction], [target]) for prediction, target in images]
    return per_image, score(*zip(*images, strict=True))


@st.composite
def labelled_images(draw):
    num_classes = draw(st.integers(2, 4))
    classes = st.integers(0, num_classes - 1)
    images = []
    for _ in range(draw(st.integers(1, 4))):
        shape = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
        prediction = draw(hnp.arrays(np.uint8, shape, elements=classes))
        images.append((prediction, draw(hnp.arrays(np.uint8, shape, elements=classes | st.just(IGNORED)))))
    return num_classes, images


@given(labelled_images())
@settings(max_examples=80, deadline=None)
def test_iou_equals_sets_of_pixels(case):
    num_classes, images = case
    result = evaluate(num_classes, images)
    per_image, of_set = loop_scores(num_classes, images)
    np.testing.assert_allclose(image_iou(result), per_image, rtol=1e-12)
    found = scores(result)
    np.testing.assert_allclose(found.iou_dataset, of_set, rtol=1e-12)
    scored = [value for value in per_image if not isnan(value)]
    np.testing.assert_allclose(found.iou_per_image, np.mean(scored) if scored else nan, rtol=1e-12)


@given(labelled_images())
@settings(max_examples=60, deadline=None)
def test_one_image_scores_alike_alone_and_as_a_set_and_dice_follows_from_iou(case):
    num_classes, images = case
    found = scores(evaluate(num_classes, images[:1]))
    np.testing.assert_equal(found.iou_per_image, found.iou_dataset)
    np.testing.assert_equal(found.dice_per_image, found.dice_dataset)
    np.testing.assert_allclose(found.dice, 2 * found.iou / (1 + found.iou))
    np.testing.assert_equal(found.f1, found.dice)


def test_the_worked_example():
    """4x4 pixels: TP 1, FP 1, FN 1, TN 13."""
    target, prediction = np.zeros((2, 4, 4), np.uint8)
    target[0, :2] = 1
    prediction[0, 1:3] = 1
    found = scores(evaluate(2, [(prediction, target)]))
    assert found.iou_per_image == found.iou_dataset == 1 / 3
    assert found.dice_per_image == found.dice_dataset == 1 / 2
    assert found.miou_present == pytest.approx(0.6)
    assert found.pixel_accuracy == 0.875
    assert found.f1_macro == pytest.approx(0.5 * (1 / 2 + 26 / 28))
    assert found.precision[0] == 13 / 14


def test_dice_is_not_pixel_accuracy():
    """A small object missed entirely: almost every pixel is right, and Dice is 0."""
    target, prediction = np.zeros((2, 10, 10), np.uint8)
    target[0, 0] = 1
    found = scores(evaluate(2, [(prediction, target)]))
    assert found.pixel_accuracy == 0.99
    assert found.dice_dataset == found.dice_per_image == 0.0


EMPTY, FULL, ALL_IGNORED = np.zeros((2, 2), int), np.ones((2, 2), int), np.full((2, 2), IGNORED)


@pytest.mark.parametrize(
    ("prediction", "target", "empty", "iou", "empty_images", "unscored_images"),
    [
        pytest.param(EMPTY, EMPTY, 1.0, 1.0, 1, 0, id="both empty scores 1"),
        pytest.param(EMPTY, EMPTY, 0.0, 0.0, 1, 0, id="both empty scores 0 on request"),
        pytest.param(EMPTY, EMPTY, nan, nan, 1, 0, id="both empty is left out on request"),
        pytest.param(FULL, EMPTY, 1.0, 0.0, 0, 0, id="prediction without truth scores 0"),
        pytest.param(EMPTY, FULL, 1.0, 0.0, 0, 0, id="truth without prediction scores 0"),
        pytest.param(FULL, ALL_IGNORED, 1.0, nan, 0, 1, id="all ignored has no score"),
        pytest.param(EMPTY, ALL_IGNORED, 1.0, nan, 0, 1, id="all ignored is not an empty image"),
    ],
)
def test_empty_and_ignored_masks_of_two_classes(prediction, target, empty, iou, empty_images, unscored_images):
    result = evaluate(2, [(prediction, target)])
    found = scores(result, empty=empty)
    np.testing.assert_equal(image_iou(result, empty=empty), [iou])
    values = [found.iou_per_image, found.dice_per_image, found.iou_dataset, found.dice_dataset]
    np.testing.assert_equal(values, [iou] * 4)
    assert (found.empty_images, found.unscored_images) == (empty_images, unscored_images)
    assert found.ignored_pixels == np.sum(target == IGNORED)


def test_a_class_that_is_only_missed_is_not_spurious():
    found = scores(evaluate(4, [(np.array([[0, 1, 2]]), np.array([[0, 3, 3]]))]))
    assert (found.absent_classes, found.spurious_classes) == (0, 2)


def test_an_image_without_score_enters_no_mean():
    half = np.array([[1, 1], [0, 0]])
    images = [(FULL, half), (EMPTY, ALL_IGNORED), (half, half)]
    found = scores(evaluate(2, images))
    assert found.iou_per_image == 0.75
    assert (found.images, found.unscored_images, found.ignored_pixels) == (3, 1, 4)


def test_absent_and_spurious_classes():
    """Class 1 is only predicted, class 2 only in the truth, class 3 in neither."""
    result = evaluate(4, [(np.array([[0, 0, 1, 0]]), np.array([[0, 0, 0, 2]]))])
    found = scores(result)
    np.testing.assert_equal(found.iou, [0.5, 0.0, 0.0, nan])
    np.testing.assert_equal(found.precision, [2 / 3, 0.0, nan, nan])
    np.testing.assert_equal(found.recall, [2 / 3, nan, 0.0, nan])
    assert (found.absent_classes, found.spurious_classes, found.empty_images) == (1, 1, 0)
    assert found.miou_present == found.iou_dataset == found.iou_per_image == 0.25
    assert found.miou_all == 0.5 / 4
    assert scores(result, absent=1.0).miou_all == 1.5 / 4
    assert scores(result, absent=nan).miou_all == 0.5 / 3
    assert found.precision_macro == found.recall_macro == pytest.approx(2 / 9)
    assert found.support.tolist() == [3, 0, 1, 0]


@pytest.mark.parametrize("images", [[], [(EMPTY, ALL_IGNORED)]], ids=["no image", "all ignored"])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_nothing_to_score_gives_no_score(images, num_classes):
    found = scores(evaluate(num_classes, images))
    policies = {"empty_value", "absent_value", "miou_all"}
    values = {f.name: getattr(found, f.name) for f in fields(Scores) if f.type is float and f.name not in policies}
    assert values and all(isnan(value) for value in values.values()), values
    assert found.miou_all == 0.0 and found.absent_classes == num_classes


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_parity_with_scikit_learn(num_classes):
    prediction, target = random_images(num_classes)
    result = evaluate(num_classes, zip(prediction, target, strict=True))
    found = scores(result)
    scored = target != IGNORED
    truth, predicted = target[scored], prediction[scored]
    assert np.array_equal(result.confusion, sklearn_metrics.confusion_matrix(truth, predicted))
    np.testing.assert_allclose(found.iou, sklearn_metrics.jaccard_score(truth, predicted, average=None))
    assert found.pixel_accuracy == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    for name in ("precision", "recall", "f1"):
        theirs = getattr(sklearn_metrics, f"{name}_score")
        np.testing.assert_allclose(getattr(found, name), theirs(truth, predicted, average=None))
        for average in ("macro", "micro", "weighted"):
            ours = getattr(found, f"{name}_{average}")
            assert ours == pytest.approx(theirs(truth, predicted, average=average), rel=1e-12), (name, average)


def test_parity_with_scikit_learn_where_classes_are_missing():
    truth, predicted = np.array([[0, 0, 0, 2, 2]]), np.array([[0, 1, 0, 0, 0]])
    found = scores(evaluate(4, [(predicted, truth)]))
    for name in ("precision", "recall", "f1"):
        for average in ("macro", "micro", "weighted"):
            theirs = getattr(sklearn_metrics, f"{name}_score")
            expected = theirs(truth[0], predicted[0], average=average, zero_division=0)
            assert getattr(found, f"{name}_{average}") == pytest.approx(expected), (name, average)


@pytest.mark.parametrize("num_classes", [3, 7])
def test_parity_with_torchmetrics_of_many_classes(num_classes):
    prediction, target = random_images(num_classes)
    found = scores(evaluate(num_classes, zip(prediction, target, strict=True)))
    maps = torch.from_numpy(prediction).long(), torch.from_numpy(target).long()
    settings = {"num_classes": num_classes, "ignore_index": IGNORED}
    jaccard = torchmetrics.classification.multiclass_jaccard_index
    assert found.miou_present == pytest.approx(float(jaccard(*maps, **settings)), rel=1e-5)
    np.testing.assert_allclose(found.iou, jaccard(*maps, average="none", **settings).numpy(), rtol=1e-5)
    f1 = torchmetrics.classification.multiclass_f1_score
    np.testing.assert_allclose(found.dice, f1(*maps, average="none", **settings).numpy(), rtol=1e-5)


def test_parity_with_torchmetrics_of_two_classes():
    prediction, target = random_images(2)
    found = scores(evaluate(2, zip(prediction, target, strict=True)))
    maps = torch.from_numpy(prediction).long(), torch.from_numpy(target).long()
    classification = torchmetrics.classification
    iou = [float(classification.binary_jaccard_index(p, t, ignore_index=IGNORED)) for p, t in zip(*maps, strict=True)]
    dice = [float(classification.binary_f1_score(p, t, ignore_index=IGNORED)) for p, t in zip(*maps, strict=True)]
    assert found.iou_per_image == pytest.approx(np.mean(iou), rel=1e-5)
    assert found.dice_per_image == pytest.approx(np.mean(dice), rel=1e-5)
    whole = float(classification.binary_jaccard_index(*maps, ignore_index=IGNORED))
    assert found.iou_dataset == pytest.approx(whole, rel=1e-5)


@given(st.permutations(range(1, 5)), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_renaming_the_classes_permutes_their_scores_and_keeps_the_means(permutation, seed):
    prediction, target = random_images(5, images=2, seed=seed, size=(5, 6))
    renamed = np.arange(256)
    renamed[1:5] = permutation
    before = scores(evaluate(5, zip(prediction, target, strict=True)))
    after = scores(evaluate(5, zip(renamed[prediction], renamed[target], strict=True)))
    for name in ("iou", "dice", "precision", "recall", "f1", "support"):
        np.testing.assert_equal(getattr(after, name)[renamed[:5]], getattr(before, name))
    for name in ("iou_per_image", "miou_present", "miou_all", "pixel_accuracy", "f1_macro", "f1_weighted"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-12)


def test_every_field_has_a_definition():
    assert set(DEFINITIONS) == {field.name for field in fields(Scores)} - {"classes"}
    assert all(text.endswith(".") and len(text.split()) > 2 for text in DEFINITIONS.values())


def test_as_dict_holds_every_field_and_goes_through_json():
    found = scores(evaluate(3, [(np.array([[0, 0]]), np.array([[0, 0]]))]), absent=nan)
    read = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert list(read) == [field.name for field in fields(Scores)]
    assert read["iou"] == [1.0, None, None] and read["absent_value"] is None
    assert read["classes"] == ["class 0", "class 1", "class 2"] and read["support"] == [2, 0, 0]
