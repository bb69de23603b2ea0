"""Objects from label maps, from a contour class and from maps of numbers: what touches is told apart, nothing is lost."""

import numpy as np
import pytest

from maskwright.errors import DataError
from maskwright.instances import (
    masks_of,
    of_contours,
    of_labels,
    of_map,
    of_masks,
    split_contours,
    to_map,
    to_segments,
)
from maskwright.types import Instances


def discs(*centres: tuple[int, int], radius: int = 8, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """Numbers of touching discs, the nearest centre's where they would overlap."""
    rows, columns = np.indices(size)
    distances = np.stack([np.hypot(rows - y, columns - x) for y, x in centres])
    return np.where(distances.min(0) <= radius, distances.argmin(0) + 1, 0).astype(np.int32)


def contour_labels(ids: np.ndarray) -> np.ndarray:
    """0 background, 1 inside, 2 the outermost pixels of each number."""
    padded = np.pad(ids, 1, mode="edge")
    sides = np.stack([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
    return np.where(ids == 0, 0, np.where((sides != ids).any(0), 2, 1))


def same_partition(found: np.ndarray, truth: np.ndarray) -> bool:
    pairs = set(zip(found.ravel().tolist(), truth.ravel().tolist(), strict=True))
    return len(pairs) == len(np.unique(found)) == len(np.unique(truth)) and (0, 0) in pairs


def test_two_touching_discs_are_two_objects_by_their_contours_and_one_without() -> None:
    ids = discs((16, 16), (16, 29))
    assert (ids[:, 1:] != ids[:, :-1])[(ids[:, 1:] > 0) & (ids[:, :-1] > 0)].any()
    assert same_partition(split_contours(contour_labels(ids)), ids)
    assert len(of_labels("a", ids > 0).masks) == 1


def test_border_without_inside_is_an_object_and_noise_is_none() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[2:6, 2:6] = 2
    labels[10:18, 10:18] = 2
    labels[12:16, 12:16] = 1
    labels[11, 11] = 1  # a seed of one pixel does not cut the object
    labels[0, 19] = 1
    ids = split_contours(labels)
    assert [int((ids == number).sum()) for number in range(4)] == [400 - 16 - 64, 64, 16, 0]
    assert split_contours(labels, smallest=1).max() == 3
    assert split_contours(np.full((4, 4), 255)).max() == 0


def test_scores_are_mean_probabilities() -> None:
    ids = discs((16, 16), (16, 29))
    probabilities = np.zeros((3, *ids.shape))
    for label in range(3):
        probabilities[label][contour_labels(ids) == label] = 1.0
    probabilities[:, ids == 2] *= 0.8
    probabilities[0, ids == 2] = 0.2
    found = of_contours("a", probabilities)
    np.testing.assert_allclose(sorted(found.scores), [0.8, 1.0], rtol=1e-6)
    assert found.classes.tolist() == [1, 1] and found.size == ids.shape
    by_class = of_labels("a", (ids > 0).astype(np.uint8), np.stack([probabilities[0], probabilities[1:].sum(0)]))
    np.testing.assert_allclose(by_class.scores, [probabilities[1:].sum(0)[ids > 0].mean()], rtol=1e-6)


def test_pieces_of_each_class_are_objects_and_ignored_pixels_are_none() -> None:
    labels = np.zeros((12, 12), np.uint8)
    labels[0:4, 0:4], labels[0:4, 4:8], labels[8:12, 0:4], labels[8:12, 8:12] = 1, 2, 1, 255
    found = of_labels("a", labels)
    assert found.classes.tolist() == [1, 2, 1]
    assert masks_of(found).sum((1, 2)).tolist() == [16, 16, 16]
    assert of_labels("a", labels, smallest=17).masks == ()
    everywhere = of_labels("a", np.full((5, 4), 2), np.full((3, 5, 4), 1 / 3))
    assert everywhere.classes.tolist() == [2] and everywhere.scores[0] == pytest.approx(1 / 3)


def test_a_map_of_more_than_255_numbers_comes_back() -> None:
    ids = np.kron(np.arange(1, 301).reshape(20, 15), np.ones((2, 2), int))
    found = of_map("a", ids)
    assert len(found.masks) == 300
    assert np.array_equal(to_map(found), ids)
    assert np.array_equal(to_map(of_map("a", ids * 200)), ids)
    assert of_map("a", np.zeros((3, 4), np.uint16)).masks == ()
    assert to_map(of_map("a", np.zeros((3, 4), np.uint16))).tolist() == [[0] * 4] * 3


def test_the_surest_object_shows_and_a_crowd_only_where_nothing_else_is() -> None:
    masks = np.zeros((3, 4, 6), bool)
    masks[0, :, :4], masks[1, :, 2:], masks[2] = True, True, True
    found = of_masks("a", masks, classes=np.array([1, 2, 1]), scores=np.array([0.5, 0.9, 0.1]))
    assert np.array_equal(masks_of(found), masks)
    assert to_map(found)[0].tolist() == [1, 1, 2, 2, 2, 2]
    crowd = Instances(
        name="a",
        size=found.size,
        masks=found.masks[::-1],
        classes=found.classes,
        scores=np.ones(3, np.float32),
        crowd=np.array([True, False, False]),
    )
    assert to_map(crowd)[0].tolist() == [3, 3, 2, 2, 2, 2]


def test_what_no_object_covers_is_background_and_void_only_where_it_is_ignored() -> None:
    ids = np.array([[1, 0, 0], [1, 0, 0]])
    segments = to_segments(of_map("a", ids))
    assert segments.ids.tolist() == [[1, 2, 2], [1, 2, 2]] and segments.classes.tolist() == [1, 0]
    ground = np.array([[3, 3, 255], [3, 0, 255]])
    segments = to_segments(of_map("a", ids), ground)
    assert segments.ids.tolist() == [[1, 3, 0], [1, 2, 0]] and segments.classes.tolist() == [1, 0, 3]


@pytest.mark.parametrize(
    "call",
    [
        lambda: of_map("a", np.zeros((2, 2))),
        lambda: of_map("a", np.full((2, 2), -1)),
        lambda: of_map("a", np.ones((2, 2), int), scores=np.ones(2)),
        lambda: of_contours("a", np.zeros((2, 4, 4))),
    ],
)
def test_what_is_no_map_is_named(call) -> None:
    with pytest.raises(DataError, match="^a: "):
        call()
