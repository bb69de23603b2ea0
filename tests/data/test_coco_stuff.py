"""COCO-Stuff: 171 classes of 182 numbers, both layouts, and what may be missing."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from layouts import fault_of, put_mask, put_photo
from maskwright.data.coco_stuff import CLASSES, IDS, NEVER_ANNOTATED, STUFF, THINGS, open_coco_stuff
from maskwright.errors import ImageError

PARTS = {"train2017": "000000000009", "val2017": "000000000139"}


def fill(root: Path, masks: str, *stored: int) -> None:
    for part, name in PARTS.items():
        put_photo(root / "images" / part / f"{name}.jpg")
        put_mask(root / masks / part / f"{name}.png", *stored)


def put_ten(root: Path, part: str, name: str, stored: object) -> None:
    put_photo(root / "images" / f"{name}.jpg")
    (root / "annotations").mkdir(exist_ok=True)
    savemat(root / "annotations" / f"{name}.mat", {"S": stored, "captions": "a dog"})
    (root / "imageLists").mkdir(exist_ok=True)
    with (root / "imageLists" / f"{part}.txt").open("a") as stream:
        stream.write(f"{name}\n")


def test_the_classes_are_those_that_were_annotated() -> None:
    assert (len(THINGS), len(STUFF), len(CLASSES), len(set(CLASSES))) == (80, 91, 171, 171)
    assert len(IDS) == 171 and not set(IDS) & set(NEVER_ANNOTATED)
    named = dict(zip(CLASSES, IDS, strict=True))
    assert named["person"] == 1 and named["stop sign"] == 13 and named["toothbrush"] == 90
    assert named["banner"] == 92 and named["sky-other"] == 157 and named["wood"] == 182


@pytest.mark.parametrize("masks", ["annotations", "stuffthingmaps"])
def test_masks_store_the_number_less_one(tmp_path: Path, masks: str) -> None:
    fill(tmp_path, masks, 0, 12, 91, 181, 255)
    splits = open_coco_stuff(tmp_path)
    assert splits.train.names == ("000000000009",) and splits.val.names == ("000000000139",)
    assert splits.test is None and not splits.background
    expected = [0, CLASSES.index("stop sign"), CLASSES.index("banner"), CLASSES.index("wood"), 255]
    assert splits.train[0].target[0, :5].tolist() == expected


def test_masks_that_other_tools_left_there_are_not_in_the_way(tmp_path: Path) -> None:
    fill(tmp_path, "annotations", 0)
    put_mask(tmp_path / "annotations/train2017/000000000009_labelTrainIds.png", 7)
    assert open_coco_stuff(tmp_path).train.names == ("000000000009",)


def test_a_number_that_was_never_annotated_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "annotations", 11, 0)  # 12, street sign
    message = fault_of(lambda: open_coco_stuff(tmp_path).train[0])
    assert "holds 11 (27 pixels); expected 0..10, 12..24, " in message and "91..181 or 255" in message


def test_files_without_their_counterpart_are_named_over_both_parts(tmp_path: Path) -> None:
    fill(tmp_path, "annotations", 0)
    put_photo(tmp_path / "images/train2017/000000000025.jpg")
    put_mask(tmp_path / "annotations/val2017/000000000285.png", 0)
    message = fault_of(lambda: open_coco_stuff(tmp_path))
    assert "000000000025" in message and "000000000285" in message


def test_what_is_missing_of_the_nearest_layout_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "stuffthingmaps", 0)
    (tmp_path / "stuffthingmaps/val2017").rename(tmp_path / "val")
    message = fault_of(lambda: open_coco_stuff(tmp_path))
    assert "lacks stuffthingmaps/val2017;" in message
    for part in ("github.com/nightrome/cocostuff", "19 GB", "700 MB", "imageLists/train.txt"):
        assert part in message


def test_the_first_ten_thousand_store_the_number_itself(tmp_path: Path) -> None:
    stored = np.resize(np.array([0, 1, 13, 92, 182], np.uint8), (6, 9))
    put_ten(tmp_path, "train", "COCO_train2014_000000000077", stored)
    put_ten(tmp_path, "test", "COCO_train2014_000000000328", stored)
    splits = open_coco_stuff(tmp_path)
    assert splits.val is None and splits.test.names == ("COCO_train2014_000000000328",)
    expected = [255, 0, CLASSES.index("stop sign"), CLASSES.index("banner"), CLASSES.index("wood")]
    assert splits.train[0].target[0, :5].tolist() == expected


def test_faults_of_mat_files_are_named(tmp_path: Path) -> None:
    put_ten(tmp_path, "train", "a", np.ones((6, 9)))
    put_ten(tmp_path, "test", "b", np.ones((6, 9), np.uint8))
    assert "a.mat: holds no label map S" in fault_of(lambda: open_coco_stuff(tmp_path).train[0])
    (tmp_path / "annotations" / "a.mat").write_bytes(b"broken")
    with pytest.raises(ImageError, match="a.mat"):
        open_coco_stuff(tmp_path).train[0]
    (tmp_path / "annotations" / "a.mat").unlink()
    assert "lacks 1 file(s) that imageLists/train.txt names" in fault_of(lambda: open_coco_stuff(tmp_path))
