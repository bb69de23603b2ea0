"""Segments of an image: connected pieces and smallest regions are what the options promise."""

import sys

import numpy as np
import pytest

from maskwright.cluster import connected_components, mean_shift, segment
from maskwright.cluster.colour import distinct_colours, lab_of_rgb
from maskwright.cluster.segment import labels_of_modes
from maskwright.errors import ConfigError, DataError


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


@pytest.mark.parametrize("reduce", [2, 3, 7])
def test_no_label_is_left_out_where_no_pixel_takes_a_block(reduce: int) -> None:
    """Of noise, many a block's mean is nearest to none of the pixels around it."""
    image = np.random.default_rng(0).integers(0, 256, (30, 44, 3)).astype(np.uint8)
    labels, _ = segment(image, spatial=9.0, reduce=reduce, steps=1)
    sizes = np.bincount(labels.ravel())
    assert (np.diff(sizes) <= 0).all() and sizes.min() > 0


def photograph(height: int, width: int) -> np.ndarray:
    """Smooth patches with noise, uint8 (H, W, 3)."""
    generator = np.random.default_rng(0)
    patches = np.kron(generator.integers(20, 230, (4, 4, 3)), np.ones((-(-height // 4), -(-width // 4), 1)))
    return (patches[:height, :width] + generator.normal(scale=4, size=(height, width, 3))).clip(0, 255).astype(np.uint8)


def test_segments_are_those_of_the_definition() -> None:
    image = photograph(24, 31)
    labels, modes = segment(image)
    expected = mean_shift(lab_of_rgb(image.reshape(-1, 3) / 255), bandwidth=2.5, method="naive").reshape(24, 31, 3)
    assert np.abs(modes - expected).max() < 1e-6
    # Equal labels where the rule has equal cells, and only there.
    cells = np.unique(np.round(expected / 4).reshape(-1, 3), axis=0, return_inverse=True)[1]
    pairs = np.unique(np.stack((labels.ravel(), cells.ravel())), axis=1)
    assert pairs.shape[1] == len(np.unique(cells)) == labels.max() + 1


@pytest.mark.parametrize("spatial", [0.0, 5.0])
def test_modes_that_chains_link_are_one_segment(spatial: float) -> None:
    image = photograph(20, 24)
    labels, modes = segment(image, bandwidth=4, spatial=spatial, merge="modes", reduce=1 if spatial else None, steps=4)
    scaled = modes.reshape(480, -1).copy()
    if spatial:
        scaled[:, 3:] *= 4 / spatial
    near = ((scaled[:, None] - scaled) ** 2).sum(2) < 16
    for _ in range(9):
        near = near.astype(np.float32) @ near.astype(np.float32) > 0
    assert np.array_equal(near, labels.ravel()[:, None] == labels.ravel())


@pytest.mark.parametrize("together", [1, 60, 10**7])
def test_chains_of_near_modes_are_found_however_many_are_looked_at_together(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["maskwright.cluster.segment"], "NEIGHBOURS_TOGETHER", together)
    points = np.random.default_rng(0).uniform(0, 9, (120, 2))
    labels = labels_of_modes(points, np.ones(120), "modes", 1.0)
    near = ((points[:, None] - points) ** 2).sum(2) < 1
    for _ in range(9):
        near = near.astype(np.float32) @ near.astype(np.float32) > 0
    assert 5 < labels.max() < 60
    assert np.array_equal(near, labels[:, None] == labels)


def test_positions_part_equal_colours_that_lie_far_apart() -> None:
    image = np.full((40, 120, 3), 40, np.uint8)
    image[10:30, 5:25] = image[10:30, 95:115] = (220, 60, 50)
    for reduce in (1, 2, None):
        labels, modes = segment(image, bandwidth=5, spatial=12, reduce=reduce)
        assert labels[20, 15] != labels[20, 105] and labels[20, 15] != labels[5, 15]
        assert np.abs(modes[20, 15, 3:] - (19.5, 14.5)).max() < 2


def test_near_colours_are_fused_where_they_touch(picture: np.ndarray) -> None:
    pieces, _ = segment(picture, steps=5, connected=True)
    fused, _ = segment(picture, steps=5, fuse=20)
    # The dot is a darker grey on grey; the squares are far from it and from each other.
    assert pieces.max() == 4 and fused.max() == 3 and fused[14, 15] == fused[0, 0] == 0


@pytest.mark.parametrize("turned", [False, True])
def test_blocks_keep_edges_where_the_colours_have_them(turned: bool) -> None:
    left = np.broadcast_to(np.arange(50) < 23, (61, 50))
    if turned:
        left = left.T
    labels, modes = segment(np.where(left, 200, 30).astype(np.uint8), bandwidth=5, spatial=40, reduce=7)
    assert np.array_equal(labels == labels[0, 0], left) and labels.max() == 1
    assert modes.shape == (*left.shape, 5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (5, 5)])
@pytest.mark.parametrize("options", [{}, {"spatial": 30.0}, {"spatial": 3.0, "reduce": 50}, {"min_region": 9}])
def test_the_smallest_pictures_have_segments(shape: tuple[int, int], options: dict[str, float]) -> None:
    labels, modes = segment(np.full((*shape, 3), 77, np.uint8), **options)
    assert labels.shape == shape and not labels.any() and np.isfinite(modes).all()


def test_grey_16_bit_and_float_pictures_are_what_8_bit_ones_are() -> None:
    grey = photograph(20, 20)[..., 0]
    expected, modes = segment(np.repeat(grey[..., None], 3, axis=2))
    for same in (grey, grey.astype(np.uint16) * 257, (grey / 255).astype(np.float32)):
        labels, others = segment(same)
        assert np.array_equal(labels, expected) and np.abs(others - modes).max() < 1e-3


def test_colours_are_those_of_scikit_image() -> None:
    colour = pytest.importorskip("skimage.color")
    rgb = np.concatenate(
        (np.random.default_rng(0).random((500, 3)), np.eye(3), np.zeros((1, 3)), np.ones((1, 3)) / 300)
    )
    assert np.abs(lab_of_rgb(rgb) - colour.rgb2lab(rgb[None])[0]).max() < 1e-9


def test_distinct_colours_give_the_picture_back() -> None:
    image = photograph(30, 40)
    colours, counts, index = distinct_colours(image)
    assert np.array_equal(colours[index].reshape(image.shape), image)
    assert len(np.unique(colours, axis=0)) == len(colours) and np.array_equal(np.bincount(index), counts)


@pytest.mark.parametrize(
    ("image", "options", "error", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), {}, DataError, "shape"),
        (np.zeros((0, 4, 3), np.uint8), {}, DataError, "shape"),
        (np.zeros((4, 4, 3), np.int64), {}, DataError, "dtype"),
        (np.full((4, 4, 3), 2.0), {}, DataError, "values from 2 to 2"),
        (np.full((4, 4, 3), np.nan), {}, DataError, "nan"),
        ([[1, 2]], {}, DataError, "list"),
        (np.zeros((4, 4, 3), np.uint8), {"spatial": -1}, ConfigError, "spatial"),
        (np.zeros((4, 4, 3), np.uint8), {"spatial": float("nan")}, ConfigError, "spatial"),
        (np.zeros((4, 4, 3), np.uint8), {"reduce": 0}, ConfigError, "reduce"),
        (np.zeros((4, 4, 3), np.uint8), {"reduce": 2}, ConfigError, "without spatial"),
        (np.zeros((4, 4, 3), np.uint8), {"spatial": "3"}, ConfigError, "spatial"),
        (np.zeros((4, 4, 3), np.uint8), {"merge": "both"}, ConfigError, "round or modes"),
        (np.zeros((4, 4, 3), np.uint8), {"min_region": -1}, ConfigError, "min_region"),
        (np.zeros((4, 4, 3), np.uint8), {"fuse": -1}, ConfigError, "fuse"),
        (np.zeros((4, 4, 3), np.uint8), {"bandwidth": 0}, ConfigError, "bandwidth"),
        (np.zeros((4, 4, 3), np.uint8), {"bandwidth": 0, "spatial": 2}, ConfigError, "bandwidth"),
    ],
)
def test_bad_input_is_named(image: np.ndarray, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        segment(image, **options)
