"""Masks find their truth by name, and whatever does not pair is named at once."""

from pathlib import Path

import pytest

from maskwright.engine.pairing import bare, named_masks, pair, pair_folder
from maskwright.errors import DataError


def files(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("cat_3", "cat_3"),
        ("cat_3_pred", "cat_3"),
        ("cat_3_GT", "cat_3"),
        ("aachen_000001_000019_gtFine_labelTrainIds", "aachen_000001_000019"),
        ("aachen_000001_000019_leftImg8bit", "aachen_000001_000019"),
        ("0001TP_006690_L", "0001TP_006690"),
        ("cat-mask", "cat"),
        ("mask", "mask"),
        ("unmasked", "unmasked"),
    ],
)
def test_the_bare_stem(stem: str, found: str) -> None:
    assert bare(stem) == found


def test_endings_of_tools_do_not_part_a_pair(tmp_path: Path) -> None:
    truth = named_masks(files(tmp_path / "t", "a_gt.png", "b_gt.png"))
    found = pair_folder(files(tmp_path / "p", "a_pred.npy", "b.png"), tuple(truth), truth="t", others=False)
    assert {name: path.name for name, path in found.items()} == {"a_gt": "a_pred.npy", "b_gt": "b.png"}


def test_the_same_stem_goes_before_a_bare_one() -> None:
    found = pair(["a", "a_l"], [Path("a_l.png"), Path("a.png")])
    assert {name: path.name for name, path in found.paths.items()} == {"a": "a.png", "a_l": "a_l.png"}
    unsure = pair(["a_gt", "a_l"], [Path("a_pred.png")])
    assert (unsure.extra, unsure.lacking) == ((Path("a_pred.png"),), ("a_gt", "a_l"))


def test_everything_that_does_not_pair_is_said_at_once(tmp_path: Path) -> None:
    folder = files(tmp_path / "p", "a.png", "b.png", "b_pred.png", "stray.png")
    with pytest.raises(DataError) as caught:
        pair_folder(folder, ["a", "b", "c", "d"], truth="t", others=False)
    said = str(caught.value)
    assert "2 true masks have no prediction: c, d" in said
    assert "2 predictions share an image with another: b.png, b_pred.png" in said
    assert "1 predictions have no true mask: stray.png" in said
    assert pair_folder(folder, ["a"], truth="t", others=True) == {"a": folder / "a.png"}


def test_empty_and_missing_folders_and_two_files_of_one_stem_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no mask"):
        named_masks(files(tmp_path / "empty", "notes.txt"))
    with pytest.raises(DataError, match="cannot be listed"):
        named_masks(tmp_path / "nowhere")
    with pytest.raises(DataError, match="2 files that share their stem"):
        named_masks(files(tmp_path / "two", "a.png", "a.npy"))
