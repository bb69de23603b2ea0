"""Regions: equal to SciPy's labelling, and to a slow version that begins anew after every joining."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from maskwright.cluster.regions import connected_components, merge_near, merge_small, outlines
from maskwright.errors import ConfigError, DataError
from reference import fused_regions, joined_regions

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def maps(labels: int) -> st.SearchStrategy[np.ndarray]:
    return SHAPES.flatmap(lambda shape: arrays(np.int32, shape, elements=st.integers(-1, labels - 2)))


@settings(deadline=None)  # the kernels are compiled in between
@given(maps(3))
def test_components_are_those_of_scipy_numbered_by_their_first_pixels(labels: np.ndarray) -> None:
    found = connected_components(labels)
    assert found.dtype == np.int32 and found.shape == labels.shape
    _, first = np.unique(found, return_index=True)
    assert (np.diff(first) > 0).all() and found[0, 0] == 0 and found.max() + 1 == len(first)
    expected = 0
    for label in np.unique(labels):
        pieces, count = scipy.ndimage.label(labels == label)
        expected += count
        for piece in range(1, count + 1):
            assert len(np.unique(found[pieces == piece])) == 1
    assert found.max() + 1 == expected


@settings(deadline=None)
@given(maps(4), st.integers(0, 20), st.data())
def test_small_regions_join_as_in_the_slow_version(labels: np.ndarray, smallest: int, data: st.DataObject) -> None:
    # Few whole colours: sums are exact, and ties are frequent.
    colours = data.draw(arrays(np.float64, (*labels.shape, 2), elements=st.integers(0, 2).map(float)))
    components = connected_components(labels)
    found = merge_small(components, colours, smallest)
    np.testing.assert_array_equal(found, joined_regions(components, colours, smallest))
    sizes = np.bincount(found.ravel())
    assert sizes.min() >= smallest or len(sizes) == 1
    np.testing.assert_array_equal(merge_small(found, colours, smallest), found)


@settings(deadline=None)
@given(maps(4), st.floats(0, 3), st.data())
def test_near_regions_join_as_in_the_slow_version(labels: np.ndarray, distance: float, data: st.DataObject) -> None:
    colours = data.draw(arrays(np.float64, (*labels.shape, 2), elements=st.integers(0, 2).map(float)))
    components = connected_components(labels)
    found = merge_near(components, colours, distance)
    np.testing.assert_array_equal(found, fused_regions(components, colours, distance))
    np.testing.assert_array_equal(merge_near(found, colours, distance), found)


def test_a_gradient_is_not_joined_from_end_to_end() -> None:
    labels = np.arange(8, dtype=np.int32)[None]
    colours = np.array([0, 1, 2.1, 3.3, 50, 51, 52.1, 53.3])[None, :, None]
    np.testing.assert_array_equal(merge_near(labels, colours, 1.5), [[0, 0, 1, 1, 2, 2, 3, 3]])
    np.testing.assert_array_equal(merge_near(labels, colours, 30), [[0, 0, 0, 0, 1, 1, 1, 1]])
    np.testing.assert_array_equal(merge_near(labels, colours, np.inf), np.zeros((1, 8)))
    with pytest.raises(ConfigError, match="distance"):
        merge_near(labels, colours, -1)


def test_a_large_noisy_map_joins_as_in_the_slow_version() -> None:
    generator = np.random.default_rng(0)
    components = connected_components(generator.integers(0, 5, (24, 30)).astype(np.int32))
    colours = generator.normal(size=(24, 30, 3))
    np.testing.assert_array_equal(merge_small(components, colours, 12), joined_regions(components, colours, 12))
    np.testing.assert_array_equal(merge_near(components, colours, 0.9), fused_regions(components, colours, 0.9))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_dot_joins_the_nearer_colour_of_its_two_neighbours(dtype: type) -> None:
    labels = np.array([[0, 0, 0, 2, 1, 1, 1]] * 2, np.int32)
    labels[1, 3] = 1
    colours = np.array([10.0, 30.0, 15.0], dtype)[labels][..., None]
    expected = np.array([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]])
    np.testing.assert_array_equal(merge_small(connected_components(labels), colours, 2), expected)


def test_of_equal_colours_the_longer_border_counts_then_the_first_pixel() -> None:
    labels = np.array([[1, 1, 1], [1, 0, 2], [2, 2, 2]], np.int32)
    colours = np.zeros((3, 3, 1))
    assert merge_small(connected_components(labels), colours, 2)[1, 1] == 0
    labels = np.array([[1, 2, 2], [1, 0, 2], [2, 2, 2]], np.int32)
    np.testing.assert_array_equal(merge_small(connected_components(labels), colours, 2)[1, 1], 1)


def test_one_region_stays_whatever_its_size() -> None:
    assert (merge_small(np.zeros((2, 3), np.int32), np.zeros((2, 3, 3)), 100) == 0).all()
    noise = connected_components(np.arange(6, dtype=np.int32).reshape(2, 3))
    assert (merge_small(noise, np.zeros((2, 3, 3)), 100) == 0).all()


def test_what_does_not_fit_is_named() -> None:
    labels, colours = np.zeros((4, 5), np.int32), np.zeros((4, 5, 3))
    with pytest.raises(DataError, match=r"integers \(H, W\)"):
        connected_components(labels[0])
    with pytest.raises(DataError, match=r"integers \(H, W\)"):
        connected_components(labels[:0])
    with pytest.raises(DataError, match=r"colours have shape \(5, 4, 3\)"):
        merge_small(labels, colours.transpose(1, 0, 2), 3)
    with pytest.raises(DataError, match="numbered -1 to -1"):
        merge_small(labels - 1, colours, 3)
    with pytest.raises(DataError, match="not finite"):
        merge_small(labels, colours * np.nan, 3)
    with pytest.raises(ConfigError, match="smallest must be"):
        merge_small(labels, colours, -1)


@given(maps(3))
def test_outlines_lie_between_different_labels(labels: np.ndarray) -> None:
    found = outlines(labels)
    for row, column in np.ndindex(labels.shape):
        others = [labels[at] for at in ((row, column + 1), (row + 1, column)) if np.all(np.less(at, labels.shape))]
        assert found[row, column] == any(other != labels[row, column] for other in others)


@pytest.mark.parametrize("labels", [np.array([[1, 1 + 2**32]]), np.array([[0, 2**32 - 1]], np.uint32)])
def test_labels_that_would_wrap_to_others_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="32 bits"):
        connected_components(labels)
