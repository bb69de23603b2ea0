"""Polygons and run lengths of COCO: equal to pycocotools where it is right, and every malformed one named."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as pycocotools_mask

from layouts import fault_of, put
from maskwright.data.coco_masks import area_of, mask_of, read_segment_ids, rle_of, runs_of

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASKS = SHAPES.flatmap(lambda shape: arrays(np.bool_, shape))


def column_runs(mask: np.ndarray) -> list[int]:
    """Run lengths, counted pixel by pixel."""
    runs, current = [0], False
    for value in mask.T.ravel():
        if value != current:
            runs.append(0)
            current = value
        runs[-1] += 1
    return runs


@given(MASKS)
def test_run_lengths_as_list_and_as_text_give_the_mask_back(mask: np.ndarray) -> None:
    height, width = mask.shape
    text = pycocotools_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    for counts in (column_runs(mask), text):
        runs = runs_of({"size": [height, width], "counts": counts}, height, width)
        np.testing.assert_array_equal(mask_of(runs, height, width), mask)
        assert area_of(runs) == mask.sum()
        assert rle_of({"size": [height, width], "counts": counts}, height, width) == {
            "size": [height, width],
            "counts": text.encode(),
        }


def test_long_runs_in_text_survive() -> None:
    mask = np.zeros((700, 900), np.uint8, order="F")
    mask[100:650, 3:880] = 1
    mask[5, 5] = 1
    text = pycocotools_mask.encode(mask)["counts"].decode()
    runs = runs_of({"size": [700, 900], "counts": text}, 700, 900)
    np.testing.assert_array_equal(mask_of(runs, 700, 900), mask)


@given(
    st.lists(
        st.lists(st.floats(-5, 25), min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0), min_size=1, max_size=3
    )
)
def test_polygons_are_filled_and_united_as_by_pycocotools(polygons: list[list[float]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pycocotools' own use of NumPy
        expected = pycocotools_mask.decode(pycocotools_mask.frPyObjects(polygons, 15, 20)).any(axis=2)
    np.testing.assert_array_equal(mask_of(runs_of(polygons, 15, 20), 15, 20), expected)
    assert rle_of(polygons, 15, 20) == pycocotools_mask.encode(np.asfortranarray(expected, np.uint8))


def test_a_rectangle_covers_its_pixels() -> None:
    mask = mask_of(runs_of([[2, 1, 5, 1, 5, 4, 2, 4]], 6, 8), 6, 8)
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("segmentation", "told"),
    [
        (None, "expected polygons or run lengths"),
        ([], "expected polygons or run lengths"),
        ([[1, 1, 4, 4]], "at least 6 numbers"),  # pycocotools takes these for a box
        ([[1, 1, 4, 4, 2, 2, 3]], "at least 6 numbers"),
        ([["a", 1, 4, 4, 2, 2]], "at least 6 numbers"),
        ([1, 1, 4, 4, 2, 2], "at least 6 numbers"),
        ([[1, 1, 4, 4, 2, 1e9]], "far outside"),
        ([[1, 1, 4, 4, 2, float("nan")]], "far outside"),
        ({"counts": [0, 48]}, "expected [height, width] = [6, 8]"),
        ({"size": [8, 6], "counts": [0, 48]}, "of size [8, 6]"),
        ({"size": [6, 8]}, "counts are None"),
        ({"size": [6, 8], "counts": [0.5, 47.5]}, "whole numbers"),
        ({"size": [6, 8], "counts": [10, 5]}, "sum to 15"),  # pycocotools reads past the end of these
        ({"size": [6, 8], "counts": [10, 5, 60]}, "sum to 75"),
        ({"size": [6, 8], "counts": [50, -2]}, "the smallest is -2"),
        ({"size": [6, 8], "counts": []}, "sum to 0"),
        ({"size": [6, 8], "counts": ""}, "no text of COCO"),
        ({"size": [6, 8], "counts": "0`"}, "no text of COCO"),
        ({"size": [6, 8], "counts": "zzz"}, "no text of COCO"),
        ({"size": [6, 8], "counts": "ääö"}, "no text of COCO"),
        ({"size": [6, 8], "counts": "o" * 9 + "0"}, "more than 40 bits"),
        ({"size": [6, 8], "counts": "PPYo1"}, "sum to"),
    ],
)
def test_what_is_not_of_the_format_is_named(segmentation: object, told: str) -> None:
    assert told in fault_of(lambda: runs_of(segmentation, 6, 8))


def test_segment_numbers_use_all_three_channels(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", np.array([[(1, 0, 0), (0, 1, 0), (3, 2, 1)]], np.uint8))
    assert read_segment_ids(path).tolist() == [[1, 256, 3 + 512 + 65536]]
