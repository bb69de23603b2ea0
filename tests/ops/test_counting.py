"""Joint counts against a loop over pixels, in every order of memory, on any number of threads, and their memory."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwright.ops import counting
from maskwright.ops.counting import joint_counts, joint_counts_on_device

ORDERS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "rows transposed": lambda maps: np.ascontiguousarray(maps.transpose(0, 2, 1)).transpose(0, 2, 1),
    "backwards": lambda maps: np.ascontiguousarray(maps[:, ::-1, ::-1])[:, ::-1, ::-1],
    "a crop": lambda maps: np.pad(maps, ((0, 0), (1, 2), (3, 1)))[:, 1:-2, 3:-1],
    "every second": lambda maps: np.repeat(maps, 2, axis=2)[:, :, ::2],
    "big endian": lambda maps: maps.astype(maps.dtype.newbyteorder(">")),
}


def oracle(predictions, targets, num_classes, ignored):
    """Pixel by pixel; None where a label of a scored pixel is no class."""
    tables = np.zeros((len(targets), num_classes, num_classes), dtype=np.int64)
    for table, prediction, target in zip(tables, predictions, targets, strict=True):
        for (true, found), pixels in Counter(
            zip(target.ravel().tolist(), prediction.ravel().tolist(), strict=True)
        ).items():
            if true != ignored:
                table[true, found] += pixels
    return tables


def random_maps(shape, num_classes, dtypes=(np.uint8, np.uint8), ignored=None, seed=0):
    """Predictions and targets with runs of equal labels beside noise."""
    generator = np.random.default_rng(seed)
    maps = []
    for dtype in dtypes:
        labels = generator.integers(0, num_classes, shape)
        labels[:, : shape[1] // 3] = generator.integers(0, num_classes)
        maps.append(labels.astype(dtype))
    if ignored is not None:
        maps[1][generator.random(shape) < 0.2] = ignored
    return maps


@pytest.fixture
def three_threads(monkeypatch):
    """Three threads, and images small enough to be cut for them."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(counting, "PIXELS_OF_A_THREAD", 50)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("prediction_order", ORDERS)
@pytest.mark.parametrize("target_order", ORDERS)
def test_any_order_of_memory_counts_alike(prediction_order, target_order, monkeypatch):
    monkeypatch.setattr(counting, "COPIED", 40)
    predictions, targets = random_maps((3, 11, 13), 5, (np.uint16, np.uint16), ignored=9)
    counts, wrong = joint_counts(ORDERS[prediction_order](predictions), ORDERS[target_order](targets), 5, 9)
    assert wrong == -1 and counts.dtype == np.int64
    assert np.array_equal(counts, oracle(predictions, targets, 5, 9))


@pytest.mark.parametrize("num_classes", [2, 21, 127, 128, 150])
@pytest.mark.parametrize("pixels", [1, 3, counting.BLOCK - 1, counting.BLOCK, 2 * counting.BLOCK + 5])
def test_blocks_and_tables_of_every_size_count_alike(num_classes, pixels):
    predictions, targets = random_maps((2, 1, pixels), num_classes, ignored=255)
    counts, wrong = joint_counts(predictions, targets, num_classes, 255)
    assert wrong == -1
    assert np.array_equal(counts, oracle(predictions, targets, num_classes, 255))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_wrong_labels_and_ignored_ones_are_told_apart_at_the_ends_of_the_types(data):
    ends = [
        -(2**63),
        -(2**31),
        -129,
        -128,
        -1,
        0,
        1,
        2,
        3,
        127,
        128,
        255,
        256,
        2**16,
        2**31,
        2**32 + 1,
        2**63 - 1,
        2**64 - 1,
    ]
    dtypes = data.draw(st.tuples(*[st.sampled_from([np.uint8, np.int8, np.uint64, np.int64])] * 2))
    ignored = data.draw(st.sampled_from(ends) | st.none())
    shape = (data.draw(st.integers(1, 3)), 1, data.draw(st.integers(1, 3)))
    maps = []
    for dtype in dtypes:
        held = [end for end in ends if np.iinfo(dtype).min <= end <= np.iinfo(dtype).max]
        labels = [data.draw(st.sampled_from([0, 1, 2] * 5 + held)) for _ in range(shape[0] * shape[2])]
        maps.append(np.array(labels, dtype=dtype).reshape(shape))
    wrong = [
        any(t != ignored and not (0 <= t < 3 and 0 <= p < 3) for p, t in zip(found[0], true[0], strict=True))
        for found, true in zip(maps[0].tolist(), maps[1].tolist(), strict=True)
    ]
    counts, first = joint_counts(*maps, 3, ignored)
    assert first == (wrong.index(True) if any(wrong) else -1)
    if first < 0:
        assert np.array_equal(counts, oracle(*maps, 3, ignored))


def test_classes_past_what_a_type_holds_have_no_pixel():
    """-106 is 150 in the bits of int8."""
    maps = np.array([[[-106, 0, 127]]], np.int8)
    assert joint_counts(maps, maps, 200, None)[1] == joint_counts(maps[:, :, 1:], maps[:, :, :2], 200, None)[1] == 0
    assert joint_counts(maps[:, :, 1:], maps[:, :, 1:], 200, None)[0][0, 127, 127] == 1
    mask = np.array([[[True, False, True]]])
    labels = np.array([[[299, 256, 300]]])
    assert np.argwhere(joint_counts(mask, labels, 301, 300)[0][0]).tolist() == [[256, 0], [299, 1]]


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("shape", [(1, 30, 31), (2, 30, 31), (7, 30, 31), (100, 1, 2)])
def test_any_number_of_threads_counts_alike(shape):
    predictions, targets = random_maps(shape, 4, ignored=255)
    counts, wrong = joint_counts(predictions, targets, 4, 255)
    assert wrong == -1
    assert np.array_equal(counts, oracle(predictions, targets, 4, 255))
    targets[[len(targets) // 2, -1], -1, -1] = 4
    assert joint_counts(predictions, targets, 4, 255)[1] == len(targets) // 2


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0)])
def test_no_image_or_no_pixel_counts_nothing(shape):
    empty = np.zeros(shape, np.uint8)
    for counts, wrong in (
        joint_counts(empty, empty, 3, 255),
        joint_counts(empty[:, ::-1, ::-1], empty, 3, 255),
        joint_counts_on_device(torch.from_numpy(empty), torch.from_numpy(empty), 3, 255),
    ):
        assert wrong == -1 and counts.shape == (shape[0], 3, 3) and not counts.any()


@pytest.mark.parametrize("ignored", [None, 0, 255])
@pytest.mark.parametrize(
    "dtypes", [(np.uint8, np.uint8), (np.int64, np.uint8), (np.int16, np.int32), (np.bool_, np.bool_)]
)
def test_tensors_on_their_device_count_as_arrays_do(dtypes, ignored):
    predictions, targets = random_maps((3, 9, 10), 2, dtypes, ignored=ignored and np.dtype(dtypes[1]).type(ignored))
    expected, _ = joint_counts(predictions, targets, 2, ignored)
    tensors = torch.from_numpy(predictions), torch.from_numpy(targets)
    counts, wrong = joint_counts_on_device(*tensors, 2, ignored)
    assert wrong == -1 and counts.dtype == np.int64
    assert np.array_equal(counts, expected)


def test_a_wrong_label_on_a_device_is_noticed_where_it_is_scored():
    maps = torch.zeros(3, 2, 2, dtype=torch.int64)
    wrong, left_out = maps.clone(), maps.clone()
    wrong[1, 0, 0], left_out[1, 0, 0] = -1, 255
    assert joint_counts_on_device(wrong, maps, 2, 255)[1] == 1
    assert joint_counts_on_device(maps, wrong + 3 * (wrong < 0), 2, 255)[1] == 1
    counts, none = joint_counts_on_device(wrong, left_out, 2, 255)
    assert none == -1 and counts.sum() == 11


@pytest.mark.parametrize("order", ["C", "Fortran", "backwards"])
def test_maps_are_not_copied(order):
    maps = ORDERS[order](np.ones((1, 3000, 4000), np.uint8))
    joint_counts(maps, maps, 21, 255)
    tracemalloc.start()
    try:
        counts, _ = joint_counts(maps, maps, 21, 255)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counts[0, 1, 1] == maps.size
    assert peak < maps.nbytes / 20
