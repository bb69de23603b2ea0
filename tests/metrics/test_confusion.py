"""Counts against a pixel-by-pixel oracle, and the maps that are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.errors import ConfigError, DataError
from maskwright.metrics import confusion
from maskwright.metrics.confusion import EvaluationMeter, count, count_stack

IGNORED = 255


def oracle(prediction, target, num_classes):
    """Pixel by pixel: the confusion counts and the number of ignored pixels."""
    table = [[0] * num_classes for _ in range(num_classes)]
    ignored = 0
    for predicted_row, truth_row in zip(prediction.tolist(), target.tolist(), strict=True):
        for predicted, truth in zip(predicted_row, truth_row, strict=True):
            if truth == IGNORED:
                ignored += 1
            else:
                table[truth][predicted] += 1
    return table, ignored


@st.composite
def labelled_images(draw, max_images=5):
    """(num_classes, [(prediction, target), ...]) of small, odd sizes; some targets hold ignored pixels."""
    num_classes = draw(st.integers(2, 5))
    images = []
    for _ in range(draw(st.integers(1, max_images))):
        shape = (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
        classes = st.integers(0, num_classes - 1)
        prediction = draw(hnp.arrays(np.uint8, shape, elements=classes))
        target = draw(hnp.arrays(np.uint8, shape, elements=classes | st.just(IGNORED)))
        images.append((prediction, target))
    return num_classes, images


def collect(num_classes, named_images):
    meter = EvaluationMeter([f"class {i}" for i in range(num_classes)])
    for name, prediction, target in named_images:
        meter.update(name, prediction, target)
    return meter


@given(labelled_images(), st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_and_any_split_equal_the_oracle(case, seed, data):
    num_classes, images = case
    named = [(f"image {i}", *image) for i, image in enumerate(images)]
    shuffled = [named[i] for i in np.random.default_rng(seed).permutation(len(named))]
    cut = data.draw(st.integers(0, len(named)))
    meter = collect(num_classes, shuffled[:cut])
    meter.merge(collect(num_classes, shuffled[cut:]))
    result = meter.result()

    assert result.names == tuple(name for name, _, _ in shuffled)
    total = np.zeros((num_classes, num_classes), dtype=np.int64)
    for i, (_, prediction, target) in enumerate(shuffled):
        table, ignored = oracle(prediction, target, num_classes)
        table = np.array(table)
        total += table
        assert result.counts[i].tolist() == [np.diag(table).tolist(), table.sum(0).tolist(), table.sum(1).tolist()]
        assert result.ignored[i] == ignored
    assert np.array_equal(result.confusion, total)
    assert result.counts.dtype == result.confusion.dtype == result.ignored.dtype == np.int64


@given(labelled_images(max_images=1))
@settings(max_examples=30, deadline=None)
def test_transposing_both_maps_changes_nothing_and_exchanging_them_transposes(case):
    num_classes, [(prediction, target)] = case
    counts = count(prediction, target, num_classes)
    assert np.array_equal(count(prediction.T, target.T, num_classes), counts)
    scored = np.where(target == IGNORED, 0, target), np.where(target == IGNORED, 0, prediction)
    assert np.array_equal(count(*scored, num_classes), count(*reversed(scored), num_classes).T)


def stack(images=7, shape=(5, 6), num_classes=3):
    generator = np.random.default_rng(0)
    predictions, targets = generator.integers(0, num_classes, (2, images, *shape))
    targets[:, 0] = IGNORED
    return [f"image {i}" for i in range(images)], predictions, targets


@pytest.mark.parametrize("container", [np.asarray, torch.from_numpy])
def test_a_stack_counts_as_its_images_one_by_one(container, monkeypatch):
    names, predictions, targets = stack()
    expected = collect(3, zip(names, predictions, targets, strict=True)).result()
    each = count_stack(container(predictions), container(targets), 3)
    assert np.array_equal(each, [count(*maps, 3) for maps in zip(predictions, targets, strict=True)])
    for at_once in (1, 9 * 3, 9 * 100):
        monkeypatch.setattr(confusion, "CELLS_AT_ONCE", at_once)
        meter = EvaluationMeter(["class 0", "class 1", "class 2"])
        meter.update_many(names[:4], container(predictions[:4]), container(targets[:4]))
        meter.update_many(names[4:], container(predictions[4:]), container(targets[4:]))
        result = meter.result()
        assert result.names == expected.names
        for field in ("counts", "confusion", "ignored"):
            assert np.array_equal(getattr(result, field), getattr(expected, field))


def test_a_stack_that_does_not_fit_is_refused_and_leaves_no_trace():
    names, predictions, targets = stack()
    wrong = predictions.copy()
    wrong[5, 3, 3] = 8
    meter = EvaluationMeter(["a", "b", "c"])
    for arguments, message in (
        ((names, wrong, targets), r"^image 5: the prediction holds 8 \(1 px\)"),
        ((names[:-1], predictions, targets), "6 names came with 7 predictions and 7 targets"),
        ((names[:-1] + names[:1], predictions, targets), "counted twice: image 0;"),
        ((names, predictions, targets[:, :4]), "predictions? is 7x5x6 but the target is 7x4x6"),
        ((names, predictions / 2, targets), r"predictions? is float64 of shape \(7, 5, 6\).*\(N, H, W\)"),
        ((names, predictions, targets[:, 0]), r"target is int64 of shape \(7, 6\), expected .*\(N, H, W\)"),
    ):
        with pytest.raises(DataError, match=message):
            meter.update_many(*arguments)
    assert meter.result().names == ()
    with pytest.raises(DataError, match="^image 6 of 7: the prediction holds 8"):
        count_stack(wrong, targets, 3)


def test_tensors_of_a_gpu_are_counted_there(monkeypatch):
    """Tensors of the CPU take the GPU's way; what they must not do is become arrays."""
    monkeypatch.setattr(confusion, "CPU", torch.device("meta"))
    _, predictions, targets = stack()
    tensors = torch.from_numpy(predictions), torch.from_numpy(targets)
    with monkeypatch.context() as patched:
        patched.setattr(confusion, "_on_host", None)
        stacked, single = count_stack(*tensors, 3), count(tensors[0][2], tensors[1][2], 3)
    assert np.array_equal(stacked, count_stack(predictions, targets, 3))
    assert np.array_equal(single, stacked[2])
    tensors[1][4, 4, 4] = 3
    with pytest.raises(DataError, match=r"image 5 of 7: the target holds 3 \(1 px\)"):
        count_stack(*tensors, 3)
    with pytest.raises(DataError, match="prediction is float32"):
        count(tensors[0][0].float(), tensors[1][0], 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_every_integer_type_counts_alike(dtype):
    prediction, target = np.array([[0, 1, 2], [2, 2, 1]]), np.array([[0, 1, 2], [1, 2, 100]])
    expected = [[1, 0, 0], [0, 1, 1], [0, 0, 2]]
    assert count(prediction.astype(dtype), target.astype(dtype), 3, ignore_index=100).tolist() == expected
    tensors = torch.from_numpy(prediction.astype(dtype)), torch.from_numpy(target.astype(dtype))
    assert count(*tensors, 3, ignore_index=100).tolist() == expected
    assert count(tensors[0], target, 3, ignore_index=100).tolist() == expected


def test_boolean_masks_are_classes_0_and_1():
    prediction, target = np.array([[True, True, False]]), torch.tensor([[True, False, False]])
    assert count(prediction, target, 2).tolist() == [[1, 1], [0, 1]]


def test_the_ignored_label_may_be_negative_or_a_class():
    prediction = np.array([[0, 1, 2]])
    assert count(prediction, np.array([[-1, 1, 0]]), 3, ignore_index=-1).tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert count(prediction, np.array([[0, 1, 1]]), 3, ignore_index=0).tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_more_than_2_to_the_24_pixels_are_exact():
    """A float32 sum would stop at 16,777,216."""
    tile_prediction, tile_target = np.array([[0, 1], [1, 1]], np.uint8), np.array([[0, 1], [0, 1]], np.uint8)
    repeats = (2100, 2001)
    prediction, target = np.tile(tile_prediction, repeats), np.tile(tile_target, repeats)
    prediction[0, 0] = 1
    tiles = repeats[0] * repeats[1]
    assert target.size > 2**24
    assert count(prediction, target, 2).tolist() == [[tiles - 1, tiles + 1], [0, 2 * tiles]]


def test_sums_over_images_beyond_2_to_the_24_are_exact():
    meter = EvaluationMeter(["background", "object"])
    mask = np.ones((1500, 1499), np.uint8)
    for i in range(9):
        meter.update(str(i), mask, mask)
    meter.update("last", mask[:1, :1], mask[:1, :1])
    assert meter.result().confusion[1, 1] == 9 * mask.size + 1 > 2**24


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"prediction is 2x3 but the target is 3x2"),
        (np.zeros((1, 2, 3), int), np.zeros((1, 2, 3), int), r"prediction is int64 of shape \(1, 2, 3\)"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), r"prediction is float64 .* argmax"),
        (np.zeros((2, 3), int), torch.zeros(2, 3), r"target is float32"),
        (np.zeros((1, 3), int), np.array([[3, 3, 7]]), r"target holds 3 \(2 px\), 7 \(1 px\); expected 0..2"),
        (np.zeros((1, 3), int), np.array([[-1, 0, 255]]), r"target holds -1 \(1 px\); .*255 = ignored"),
        (np.array([[9, 9, 9]]), np.array([[0, 1, 255]]), r"prediction holds 9 \(2 px\)"),
        (np.array([[-2, 0, 0]]), np.array([[0, 1, 5]]), r"target holds 5 \(1 px\); the prediction holds -2 \(1 px\)"),
        (np.zeros((4, 5), int), 3 + np.arange(20).reshape(4, 5), r"10 \(1 px\) and 12 labels more"),
    ],
)
def test_maps_that_do_not_fit_are_refused_by_name_and_leave_no_trace(prediction, target, message):
    meter = EvaluationMeter(["background", "cat", "dog"])
    with pytest.raises(DataError, match=message):
        count(prediction, target, 3)
    with pytest.raises(DataError, match=f"cat_3: .*{message}"):
        meter.update("cat_3", prediction, target)
    result = meter.result()
    assert result.names == () and result.counts.shape == (0, 3, 3) and not result.confusion.any()


def test_predictions_under_ignored_pixels_may_be_anything():
    assert count(np.array([[77, 1]]), np.array([[IGNORED, 1]]), 2).tolist() == [[0, 0], [0, 1]]
    assert not count(np.array([[77, -5]]), np.array([[IGNORED, IGNORED]]), 2).any()


def test_an_image_counts_once():
    mask = np.ones((2, 2), np.uint8)
    meter, other = collect(2, [("a", mask, mask)]), collect(2, [("a", mask, mask), ("b", mask, mask)])
    with pytest.raises(DataError, match="counted twice: a;"):
        meter.update("a", mask, mask)
    with pytest.raises(DataError, match="counted twice: a;"):
        meter.merge(other)
    assert meter.result().confusion.sum() == 4


def test_meters_of_other_classes_or_ignored_labels_do_not_merge():
    meter = EvaluationMeter(["background", "cat"])
    for other in (EvaluationMeter(["background", "dog"]), EvaluationMeter(["background", "cat"], ignore_index=0)):
        with pytest.raises(DataError, match="must agree"):
            meter.merge(other)


def test_a_result_stays_as_it_was_when_the_meter_goes_on():
    mask = np.ones((2, 2), np.uint8)
    meter = collect(2, [("a", mask, mask)])
    before = meter.result()
    meter.update("b", mask, mask)
    assert before.names == ("a",) and before.confusion.sum() == 4


def test_fewer_than_two_classes_or_too_many_are_refused():
    with pytest.raises(ConfigError, match="at least 2"):
        EvaluationMeter(["background"])
    with pytest.raises(ConfigError, match="at least 2"):
        count(np.zeros((1, 1), int), np.zeros((1, 1), int), 1)
    with pytest.raises(ConfigError, match="at most 65,535"):
        count(np.zeros((1, 1), int), np.zeros((1, 1), int), 65_536)


def test_lists_are_label_maps_too_and_of_several_sizes_they_are_refused():
    rows, maps = [[0, 1], [1, 1]], [np.array([[0, 1]]), np.array([[1, 1]])]
    meter = EvaluationMeter(("background", "object"))
    meter.update("rows", rows, rows)
    meter.update_many(["one", "two"], maps, maps)
    assert meter.result().counts[:, 0].tolist() == [[1, 3], [1, 1], [0, 2]]
    uneven = [np.zeros((2, 2), int), np.zeros((2, 3), int)]
    with pytest.raises(DataError, match="one size"):
        meter.update_many(["three", "four"], uneven, uneven)


def test_labels_of_a_bool_mask_are_named_beside_any_ignored_label():
    with pytest.raises(DataError, match=r"the prediction holds 7 \(1 px\)"):
        count(np.array([[7]]), np.array([[True]]), 2, ignore_index=2**64 - 1)
