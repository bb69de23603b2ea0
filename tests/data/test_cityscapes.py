"""Cityscapes: cities, both kinds of masks, the numbers that are ignored, and what may be missing."""

from pathlib import Path

import numpy as np
import pytest

from layouts import fault_of, labels_of, put_mask, put_photo, values
from maskwright.data.cityscapes import CLASSES, COLOURS, IDS, open_cityscapes

SCENES = {"train": ("aachen_000000_000019", "bochum_000000_000600"), "val": ("frankfurt_000000_000294",)}


def put_scene(root: Path, part: str, scene: str, kind: str, *stored: int) -> None:
    city = scene.partition("_")[0]
    put_photo(root / "leftImg8bit" / part / city / f"{scene}_leftImg8bit.png")
    put_mask(root / "gtFine" / part / city / f"{scene}_gtFine_{kind}.png", *stored)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tiny Cityscapes with the other files that its archive holds."""
    for part, scenes in SCENES.items():
        for scene in scenes:
            put_scene(tmp_path, part, scene, "labelIds", *range(34), 255)
            city = tmp_path / "gtFine" / part / scene.partition("_")[0]
            put_mask(city / f"{scene}_gtFine_instanceIds.png", 7)
            (city / f"._{scene}_gtFine_labelIds.png").write_bytes(b"of a Mac")
    return tmp_path


def test_numbers_become_the_nineteen_classes_and_the_rest_is_ignored(root: Path) -> None:
    splits = open_cityscapes(root)
    assert {part: getattr(splits, part).names for part in SCENES} == SCENES
    assert splits.test is None and not splits.background and splits.classes == CLASSES
    meaning = {number: label for label, number in enumerate(IDS)}
    stored = values(*range(34), 255)
    expected = np.vectorize(lambda number: meaning.get(int(number), 255))(stored)
    np.testing.assert_array_equal(splits.train[0].target, expected)


def test_the_table_is_the_benchmarks() -> None:
    named = dict(zip(CLASSES, zip(IDS, COLOURS, strict=True), strict=True))
    assert named["road"] == (7, (128, 64, 128)) and named["sky"] == (23, (70, 130, 180))
    assert named["train"] == (31, (0, 80, 100)) and named["bicycle"] == (33, (119, 11, 32))


def test_masks_of_training_numbers_are_taken_where_there_are_no_others(tmp_path: Path) -> None:
    for part, scenes in SCENES.items():
        for scene in scenes:
            put_scene(tmp_path, part, scene, "labelTrainIds", *range(19), 255)
    assert labels_of(open_cityscapes(tmp_path)) == [*range(19), 255]


def test_scenes_without_their_counterpart_are_named_at_once(root: Path) -> None:
    (root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png").unlink()
    (root / "leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png").unlink()
    message = fault_of(lambda: open_cityscapes(root))
    assert "without a mask" in message and "aachen_000000_000019" in message
    assert "without an image" in message and "frankfurt_000000_000294" in message


def test_all_missing_folders_are_named_with_the_source(root: Path) -> None:
    (root / "gtFine").rename(root / "gt")
    message = fault_of(lambda: open_cityscapes(root))
    assert "lacks gtFine/train, gtFine/val;" in message
    for part in ("cityscapes-dataset.com", "11 GB", "NAME_gtFine_labelIds.png"):
        assert part in message


def test_a_number_that_is_none_is_named(root: Path) -> None:
    put_scene(root, "val", SCENES["val"][0], "labelIds", 34, 7)
    assert "holds 34 (27 pixels); expected 0..33 or 255" in fault_of(lambda: open_cityscapes(root).val[0])
