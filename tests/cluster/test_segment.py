"""Segments of an image: connected pieces and smallest regions are what the options promise."""

import numpy as np
import pytest

from maskwright.cluster import connected_components, segment


@pytest.fixture
def picture() -> np.ndarray:
    """Two red squares and a blue one on grey ground, and a dot of a darker grey: 16×20 pixels."""
    image = np.full((16, 20, 3), 128, np.uint8)
    image[2:6, 2:6] = image[9:13, 2:6] = (200, 30, 30)
    image[4:10, 10:17] = (30, 30, 200)
    image[14, 15] = 90
    return image


def test_a_colour_is_one_segment_unless_pieces_are_asked_for(picture: np.ndarray) -> None:
    labels, _ = segment(picture, steps=5)
    assert labels[3, 3] == labels[10, 3] and labels.max() == 3
    pieces, _ = segment(picture, steps=5, connected=True)
    assert pieces[3, 3] != pieces[10, 3] and pieces.max() == 4
    np.testing.assert_array_equal(connected_components(pieces), connected_components(labels))


def test_small_regions_join_the_nearest_colour(picture: np.ndarray) -> None:
    pieces, modes = segment(picture, steps=5, min_region=2)
    assert pieces[14, 15] == pieces[0, 0] == 0 and pieces.max() == 3
    assert np.bincount(pieces.ravel()).min() >= 2
    np.testing.assert_array_equal(modes, segment(picture, steps=5)[1])
    one, _ = segment(picture, steps=5, min_region=1000)
    assert (one == 0).all()


@pytest.mark.parametrize("options", [{}, {"connected": True}, {"min_region": 3}, {"spatial": 4.0, "min_region": 3}])
def test_the_largest_segment_is_0_and_no_label_is_left_out(options: dict[str, float], picture: np.ndarray) -> None:
    labels, modes = segment(picture, steps=3, **options)
    sizes = np.bincount(labels.ravel())
    assert labels.dtype == np.int32 and (np.diff(sizes) <= 0).all() and sizes.min() > 0
    assert modes.shape == (16, 20, 5 if options.get("spatial") else 3)
