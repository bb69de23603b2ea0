"""CamVid: its three layouts, void, the 32 original colours, SegNet's split, and what may be missing."""

from pathlib import Path

import numpy as np
import pytest

from layouts import fault_of, labels_of, put, put_mask, put_photo, values
from maskwright.data.camvid import _ORIGINAL, CLASSES, COLOURS, open_camvid

REAL = Path(__file__).parents[3] / "shared" / "data" / "camvid"
FOLDERS = (("{}", "{}annot"), ("images/{}", "masks/{}"))


def fill(root: Path, images: str, masks: str) -> None:
    for part, names in {"train": ("0001TP_1", "0001TP_2"), "val": ("0016E5_3",), "test": ("Seq05VD_4",)}.items():
        for name in names:
            put_photo(root / images.format(part) / f"{name}.png")
            put_mask(root / masks.format(part) / f"{name}.png", *range(12))


@pytest.mark.parametrize("folders", FOLDERS)
def test_both_layouts_of_parts_give_eleven_classes_and_ignore_void(tmp_path: Path, folders: tuple[str, str]) -> None:
    fill(tmp_path, *folders)
    splits = open_camvid(tmp_path)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [2, 1, 1]
    assert splits.classes == CLASSES and len(CLASSES) == len(COLOURS) == 11 and not splits.background
    expected = np.where(values(*range(12)) == 11, 255, values(*range(12)))
    np.testing.assert_array_equal(splits.val[0].target, expected)


def test_parts_beside_train_may_be_absent(tmp_path: Path) -> None:
    put_photo(tmp_path / "train" / "a.png")
    put_mask(tmp_path / "trainannot" / "a.png", 0, 3)
    splits = open_camvid(tmp_path)
    assert splits.val is None and splits.test is None


def test_files_without_their_counterpart_are_named_at_once_over_all_parts(tmp_path: Path) -> None:
    fill(tmp_path, *FOLDERS[0])
    (tmp_path / "trainannot" / "0001TP_2.png").unlink()
    (tmp_path / "val" / "0016E5_3.png").unlink()
    put_mask(tmp_path / "testannot" / "extra.png", 0)
    message = fault_of(lambda: open_camvid(tmp_path))
    for name in ("0001TP_2", "0016E5_3", "extra"):
        assert name in message


def test_a_part_with_masks_alone_is_named(tmp_path: Path) -> None:
    fill(tmp_path, *FOLDERS[0])
    (tmp_path / "val" / "0016E5_3.png").unlink()
    (tmp_path / "val").rmdir()
    assert f"{tmp_path / 'val'}: cannot be listed" in fault_of(lambda: open_camvid(tmp_path))


def test_a_value_beyond_void_is_named_with_file_and_pixels(tmp_path: Path) -> None:
    fill(tmp_path, *FOLDERS[0])
    mask = values(0)
    mask[0, :4] = 12
    put(tmp_path / "trainannot" / "0001TP_1.png", mask)
    message = fault_of(lambda: open_camvid(tmp_path).train[0])
    assert "0001TP_1.png: holds 12 (4 pixels); expected 0..11 or 255" in message
    assert "classes.yaml" not in message


def test_another_folder_shows_the_expected_tree_and_the_source(tmp_path: Path) -> None:
    message = fault_of(lambda: open_camvid(tmp_path / "nowhere"))
    for part in ("nowhere is no folder", "trainannot/", "LabeledApproved_full", "600 MB", "mi.eng.cam.ac.uk"):
        assert part in message
    (tmp_path / "train").mkdir()
    assert "lacks trainannot;" in fault_of(lambda: open_camvid(tmp_path))


def put_original(root: Path, name: str, *colours: tuple[int, int, int]) -> None:
    put_photo(root / "701_StillsRaw_full" / f"{name}.png")
    put(root / "LabeledApproved_full" / f"{name}_L.png", np.resize(np.array(colours, np.uint8), (6, 9, 3)))


def test_the_original_colours_are_grouped_and_split_as_in_segnet(tmp_path: Path) -> None:
    parts = {
        "train": ("0001TP_008520", "0006R0_f00930", "0016E5_07920", "0016E5_08190"),
        "val": ("0016E5_07959", "0016E5_08159"),
        "test": ("0001TP_008550", "Seq05VD_f00000"),
    }
    for name in (name for names in parts.values() for name in names):
        put_original(tmp_path, name, *_ORIGINAL)
    splits = open_camvid(tmp_path)
    assert {part: getattr(splits, part).names for part in parts} == parts
    assert len(_ORIGINAL) == 32 and set(_ORIGINAL.values()) == {*range(11), 255}
    expected = np.resize(np.array(list(_ORIGINAL.values())), (6, 9))
    np.testing.assert_array_equal(splits.train[0].target, expected)


def test_a_colour_that_is_none_of_the_32_is_named(tmp_path: Path) -> None:
    put_original(tmp_path, "0001TP_006690", (128, 128, 128), (1, 2, 3))
    message = fault_of(lambda: open_camvid(tmp_path).train[0])
    assert "0001TP_006690_L.png" in message and "#010203 (27 pixels)" in message


def test_a_strange_original_name_has_no_part(tmp_path: Path) -> None:
    put_original(tmp_path, "holiday", (128, 128, 128))
    assert "holiday.png is not named as in CamVid" in fault_of(lambda: open_camvid(tmp_path))


def test_originals_without_training_pictures_are_refused(tmp_path: Path) -> None:
    put_original(tmp_path, "Seq05VD_f00000", (128, 128, 128))
    assert "no training picture" in fault_of(lambda: open_camvid(tmp_path))


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/camvid is absent")
def test_the_real_data() -> None:
    splits = open_camvid(REAL)
    assert (len(splits.train), len(splits.val), splits.test) == (367, 101, None)
    assert {label for index in range(3) for label in labels_of(splits, "val", index)} <= {*range(11), 255}
