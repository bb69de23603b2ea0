"""Subsets, held-out parts and folds: nothing twice, nothing lost, and only seed and count decide."""

import numpy as np
import pytest

from maskwright.data.arrays import ArrayDataset
from maskwright.data.splits import Subset, fold_of_each, hold_out
from maskwright.errors import ConfigError


def dataset(count: int) -> ArrayDataset:
    """Images of one pixel that hold their own index."""
    pixels = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1)
    return ArrayDataset(pixels, pixels % 2, classes=("background", "odd"), prefix="n")


def test_an_array_dataset_gives_grey_and_rgb_images_channels_first() -> None:
    rgb = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    target = np.array([[[0, 1, 2, 255], [0, 0, 0, 0]]], np.uint8)
    colour = ArrayDataset(rgb, target, classes=("a", "b", "c"), prefix="x")[0]
    np.testing.assert_array_equal(colour.image, rgb[0].transpose(2, 0, 1))
    np.testing.assert_array_equal(colour.target, target[0])
    grey = ArrayDataset(rgb[..., 0], target, classes=("a", "b", "c"), prefix="x")
    np.testing.assert_array_equal(grey[0].image, np.repeat(rgb[..., 0], 3, axis=0))
    assert grey.names == ("x_00000",)
    assert grey.classes == ("a", "b", "c")


def test_a_subset_is_those_samples_in_that_order() -> None:
    subset = Subset(dataset(10), np.array([7, 0, 3]))
    assert len(subset) == 3
    assert subset.names == ("n_00007", "n_00000", "n_00003")
    assert subset.classes == ("background", "odd")
    for name, value, sample in zip(subset.names, (7, 0, 3), (subset[i] for i in range(3)), strict=True):
        assert sample.name == name
        assert sample.image.flatten().tolist() == [value] * 3
        assert sample.target.item() == value % 2


def test_a_subset_of_a_subset() -> None:
    assert Subset(Subset(dataset(10), [5, 6, 7]), [2, 0])[0].name == "n_00007"


@pytest.mark.parametrize(
    ("count", "fraction", "held"),
    [(10, 0.1, 1), (10, 0.25, 2), (100, 0.1, 10), (2, 0.01, 1), (2, 0.99, 1), (5, 0.99, 4)],
)
def test_holding_out_parts_the_samples_and_keeps_their_order(count: int, fraction: float, held: int) -> None:
    kept, out = hold_out(dataset(count), fraction, seed=3)
    assert len(out) == held
    assert sorted(kept.names + out.names) == list(dataset(count).names)
    assert list(kept.names) == sorted(kept.names)
    assert list(out.names) == sorted(out.names)


def test_only_seed_and_count_decide_what_is_held_out() -> None:
    first, again, other = (hold_out(dataset(50), 0.2, seed=seed)[1].names for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples_to_hold_out(count: int) -> None:
    with pytest.raises(ConfigError, match=f"{count} image.*data.val_fraction"):
        hold_out(dataset(count), 0.1, seed=0)


@pytest.mark.parametrize(("count", "folds"), [(2, 2), (10, 3), (11, 4), (5, 5)])
def test_folds_differ_by_one_sample_at_most(count: int, folds: int) -> None:
    fold = fold_of_each(count, folds, seed=0)
    sizes = np.bincount(fold, minlength=folds)
    assert fold.shape == (count,)
    assert fold.dtype == np.int64
    assert len(sizes) == folds
    assert sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1


def test_folds_are_shuffled_by_the_seed() -> None:
    first, again, other = (fold_of_each(40, 2, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert first != [i % 2 for i in range(40)]


@pytest.mark.parametrize("folds", [0, 1, 6])
def test_impossible_folds_are_named(folds: int) -> None:
    with pytest.raises(ConfigError, match=rf"folds must be between 2 .*\(5\).* {folds}"):
        fold_of_each(5, folds, seed=0)
