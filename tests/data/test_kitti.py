"""KITTI: the semantic and the road benchmark, and what may be missing."""

from pathlib import Path

import numpy as np

from layouts import fault_of, labels_of, put, put_mask, put_photo
from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.cityscapes import CLASSES
from maskwright.data.kitti import open_kitti


def put_semantic(root: Path, name: str, *stored: int) -> None:
    put_photo(root / "training/image_2" / f"{name}.png")
    put_mask(root / "training/semantic" / f"{name}.png", *stored)


def put_road(root: Path, kind: str, *colours: tuple[int, int, int]) -> None:
    put_photo(root / "training/image_2" / f"{kind}_000000.png")
    for what in ("road", "lane"):
        pixels = np.resize(np.array(colours, np.uint8), (6, 9, 3))
        put(root / "training/gt_image_2" / f"{kind}_{what}_000000.png", pixels)


def test_the_semantic_benchmark_has_the_classes_of_cityscapes(tmp_path: Path) -> None:
    put_semantic(tmp_path, "000000_10", 0, 7, 33)
    put_semantic(tmp_path, "000001_10", 23)
    splits = open_kitti(tmp_path)
    assert splits.train.names == ("000000_10", "000001_10") and splits.classes == CLASSES
    assert splits.val is None and splits.test is None and not splits.background
    assert labels_of(splits) == [0, 18, 255] and labels_of(splits, index=1) == [10]


def test_a_validation_part_is_held_out_and_the_background_stays_known(tmp_path: Path) -> None:
    for number in range(4):
        put_semantic(tmp_path, f"{number:06d}_10", 7)
    splits = open_data(DataConfig(name=f"kitti:{tmp_path}", val_fraction=0.25))
    assert (len(splits.train), len(splits.val), splits.background) == (3, 1, False)


def test_the_road_benchmark_counts_pixels_as_its_devkit_does(tmp_path: Path) -> None:
    colours = ((255, 0, 0), (255, 0, 255), (0, 0, 0), (0, 0, 255))
    put_road(tmp_path, "um", *colours)
    put_road(tmp_path, "uu", *colours)
    splits = open_kitti(tmp_path)
    assert splits.train.names == ("um_000000", "uu_000000") and splits.background
    assert splits.classes == ("background", "road")
    assert splits.train[0].target[0, :4].tolist() == [0, 1, 255, 255]


def test_another_colour_is_named(tmp_path: Path) -> None:
    put_road(tmp_path, "um", (255, 255, 255))
    assert "um_road_000000.png: holds the colours #ffffff" in fault_of(lambda: open_kitti(tmp_path).train[0])


def test_pictures_without_a_mask_are_named(tmp_path: Path) -> None:
    put_semantic(tmp_path, "000000_10", 7)
    put_photo(tmp_path / "training/image_2/000001_10.png")
    assert "000001_10" in fault_of(lambda: open_kitti(tmp_path))


def test_what_is_missing_is_named_with_the_source(tmp_path: Path) -> None:
    (tmp_path / "training/image_2").mkdir(parents=True)
    message = fault_of(lambda: open_kitti(tmp_path))
    assert "lacks training/semantic;" in message
    for part in ("cvlibs.net", "300 MB", "gt_image_2"):
        assert part in message


def test_an_empty_folder_is_no_training_data(tmp_path: Path) -> None:
    for folder in ("image_2", "semantic"):
        (tmp_path / "training" / folder).mkdir(parents=True)
    assert "no images in" in fault_of(lambda: open_kitti(tmp_path))
