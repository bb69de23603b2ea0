"""Weak labels that are made from a truth: they never contradict it, and cover what they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from maskwright.data.scribbles import one_box_each, one_point_each, scribbles
from maskwright.data.weak import draw_boxes, draw_points

SMALL = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 255]))


def blobs(side: int = 150, seed: int = 0) -> np.ndarray:
    """A truth of three classes with smooth edges, and a strip that is ignored."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((side, side + 30)), side / 8)
    truth = np.digitize(noise, np.quantile(noise, [0.5, 0.8])).astype(np.uint8)
    truth[-5:] = 255
    return truth


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(max_examples=50)
@given(truth=SMALL, share=st.floats(0.01, 1), seed=st.integers(0, 5))
def test_labels_equal_the_truth_and_every_class_has_some(truth: np.ndarray, share: float, seed: int) -> None:
    drawn = scribbles(truth, share=share, generator=rng(seed))
    labelled = drawn != 255
    assert drawn.shape == truth.shape
    assert (drawn[labelled] == truth[labelled]).all()
    assert set(np.unique(drawn)) - {255} == set(np.unique(truth)) - {255}


@pytest.mark.parametrize("share", [0.01, 0.03, 0.2, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_share_is_what_was_asked_for_in_each_class(share: float, seed: int) -> None:
    truth = blobs(seed=seed)
    drawn = scribbles(truth, share=share, generator=rng())
    for label in range(3):
        assert (drawn == label).sum() / (truth == label).sum() == pytest.approx(share, rel=0.03)


def test_the_seed_decides() -> None:
    truth = blobs()
    first, again, other = (scribbles(truth, share=0.03, generator=rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_scribbles_keep_to_the_middle_of_a_region() -> None:
    truth = np.zeros((60, 200), np.uint8)
    truth[20:40] = 1
    depth = ndimage.distance_transform_edt(truth)
    drawn = scribbles(truth, share=0.05, generator=rng())
    assert depth[drawn == 1].mean() > 1.3 * depth[truth == 1].mean()


def test_scribbles_are_strokes_and_not_dust() -> None:
    drawn = scribbles(blobs(300), share=0.03, generator=rng())
    for label in range(3):
        regions = ndimage.label(blobs(300) == label, np.ones((3, 3)))[1]
        assert ndimage.label(drawn == label, np.ones((3, 3)))[1] <= 4 * regions


@given(truth=SMALL, seed=st.integers(0, 5))
def test_discs_of_points_equal_the_truth(truth: np.ndarray, seed: int) -> None:
    points = one_point_each(truth, rng(seed))
    drawn = draw_points([(p["x"], p["y"], p["radius"], int(p["label"])) for p in points], truth.shape)
    labelled = drawn != 255
    assert (drawn[labelled] == truth[labelled]).all()
    assert {p["label"] for p in points} == set(np.unique(truth)) - {255}


def test_points_of_large_regions_have_the_full_disc_somewhere() -> None:
    points = one_point_each(blobs(300), rng())
    assert max(p["radius"] for p in points) == 3


@given(truth=SMALL)
def test_outside_all_boxes_is_no_object_and_boxes_are_tight(truth: np.ndarray) -> None:
    boxes = one_box_each(truth)
    drawn = draw_boxes([(b["x0"], b["y0"], b["x1"], b["y1"], int(b["label"])) for b in boxes], truth.shape)
    assert np.isin(truth[drawn == 0], (0, 255)).all()
    for b in boxes:
        window = truth[int(b["y0"]) : int(b["y1"]), int(b["x0"]) : int(b["x1"])] == b["label"]
        assert window.any(axis=0).all()
        assert window.any(axis=1).all()


def test_a_truth_without_any_label_gives_nothing() -> None:
    nothing = np.full((4, 5), 255, np.uint8)
    assert (scribbles(nothing, share=0.5, generator=rng()) == 255).all()
    assert one_point_each(nothing, rng()) == []
    assert one_box_each(nothing) == []
