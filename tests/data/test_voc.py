"""PASCAL VOC: where its folder may lie, official and augmented lists, the palette, and every fault with its name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layouts import fault_of, labels_of, put_mask, put_photo, values
from maskwright.data.voc import CLASSES, COLOURS, open_voc


def put_list(root: Path, name: str, *lines: str) -> None:
    path = root / "ImageSets" / "Segmentation" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def put_palette_mask(path: Path, *stored: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values(*stored))
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tiny VOC2012 below VOCdevkit."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("2007_000032", "2007_000039", "2008_000003", "2011_000001"):
        put_photo(root / "JPEGImages" / f"{name}.jpg")
        put_palette_mask(root / "SegmentationClass" / f"{name}.png", 0, 15, 20, 255)
    put_list(root, "train.txt", "2007_000032", "2007_000039")
    put_list(root, "val.txt", "2008_000003")
    return root


@pytest.mark.parametrize("above", [0, 1, 2])
def test_the_folder_may_be_given_at_any_level(root: Path, above: int) -> None:
    splits = open_voc((root, *root.parents)[above])
    assert splits.train.names == ("2007_000032", "2007_000039") and splits.val.names == ("2008_000003",)
    assert splits.test is None and splits.background and splits.classes == CLASSES


def test_palette_indices_are_labels_and_outlines_ignored(root: Path) -> None:
    np.testing.assert_array_equal(open_voc(root).train[0].target, values(0, 15, 20, 255))


def test_the_colours_are_those_of_the_official_palette() -> None:
    named = dict(zip(CLASSES, COLOURS, strict=True))
    assert named["background"] == (0, 0, 0) and named["aeroplane"] == (128, 0, 0)
    assert named["person"] == (192, 128, 128) and named["tv monitor"] == (0, 64, 128)


@pytest.mark.parametrize("name", ["train_aug.txt", "trainaug.txt"])
def test_the_augmented_part_is_taken_where_it_is_there(root: Path, name: str) -> None:
    put_mask(root / "SegmentationClassAug" / "2011_000001.png", 0, 7)
    put_list(root, name, "/JPEGImages/2011_000001.jpg /SegmentationClassAug/2011_000001.png")
    splits = open_voc(root)
    assert splits.train.names == ("2011_000001",) and splits.val.names == ("2008_000003",)
    assert labels_of(splits) == [0, 7] and labels_of(splits, "val") == [0, 15, 20, 255]


def test_a_picture_of_val_in_the_augmented_list_is_refused(root: Path) -> None:
    put_mask(root / "SegmentationClassAug" / "2008_000003.png", 0, 7)
    put_list(root, "train_aug.txt", "2008_000003")
    message = fault_of(lambda: open_voc(root))
    assert "val.txt names 1 sample(s) that are listed already: 2008_000003" in message and "train_aug.txt" in message


def test_listed_files_that_are_missing_are_named_at_once(root: Path) -> None:
    put_list(root, "train.txt", *(f"2007_{number:06d}" for number in range(12)))
    (root / "SegmentationClass" / "2008_000003.png").unlink()
    message = fault_of(lambda: open_voc(root))
    assert "lacks 24 file(s)" in message and "and 14 more" in message
    assert "SegmentationClass/2008_000003.png" in message.replace("\\", "/")


def test_an_empty_list_is_named(root: Path) -> None:
    put_list(root, "val.txt")
    assert "val.txt names no sample" in fault_of(lambda: open_voc(root))


def test_all_missing_folders_are_named_with_the_source(root: Path) -> None:
    (root / "ImageSets" / "Segmentation" / "val.txt").unlink()
    (root / "JPEGImages").rename(root / "Pictures")
    message = fault_of(lambda: open_voc(root))
    assert "lacks JPEGImages, ImageSets/Segmentation/val.txt;" in message
    for part in ("host.robots.ox.ac.uk", "2 GB", "SegmentationClass/NAME.png"):
        assert part in message


def test_a_label_outside_the_classes_is_named(root: Path) -> None:
    put_mask(root / "SegmentationClass" / "2007_000032.png", 21, 0)
    assert "2007_000032.png: holds 21 (27 pixels); expected 0..20" in fault_of(lambda: open_voc(root).train[0])


def test_sizes_that_differ_are_named(root: Path) -> None:
    put_photo(root / "JPEGImages" / "2007_000032.jpg", height=7)
    assert "9 x 7 pixels, its mask" in fault_of(lambda: open_voc(root).train[0])
