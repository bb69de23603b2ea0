"""ADE20K: the shift of its labels, the names from its own table, and what may be missing."""

from pathlib import Path

import numpy as np
import pytest

from layouts import fault_of, labels_of, put, put_mask, put_photo
from maskwright.data.ade20k import CLASSES, COLOURS, open_ade20k


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tiny ADEChallengeData2016."""
    root = tmp_path / "ADEChallengeData2016"
    for part, short in {"training": "train", "validation": "val"}.items():
        for number in (1, 2):
            name = f"ADE_{short}_{number:08d}"
            put_photo(root / "images" / part / f"{name}.jpg")
            put_mask(root / "annotations" / part / f"{name}.png", 0, 1, 150)
    return root


def table(*, name: str = "wall, partition", rows: int = 150) -> str:
    lines = ["Idx\tRatio\tTrain\tVal\tName", f"1\t0.1576\t11664\t1172\t{name}"]
    return (
        "\n".join([*lines, *(f"{number} \t0.1\t1\t1\tname {number} , other" for number in range(2, rows + 1))]) + "\n"
    )


@pytest.mark.parametrize("above", [0, 1])
def test_labels_are_one_less_and_what_is_no_class_is_ignored(root: Path, above: int) -> None:
    splits = open_ade20k((root, root.parent)[above])
    assert splits.train.names == ("ADE_train_00000001", "ADE_train_00000002") and len(splits.val) == 2
    assert splits.test is None and not splits.background
    assert labels_of(splits) == [0, 149, 255]
    assert splits.train[0].target[0, :3].tolist() == [255, 0, 149]


def test_the_known_names_and_colours_are_those_of_the_benchmark() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == len(COLOURS) == 150
    named = dict(zip(CLASSES, COLOURS, strict=True))
    assert CLASSES[0] == "wall" and CLASSES[12] == "person" and CLASSES[149] == "flag"
    assert named["wall"] == (120, 120, 120) and named["sky"] == (6, 230, 230) and named["flag"] == (92, 0, 255)


def test_the_names_of_the_folder_win(root: Path) -> None:
    (root / "objectInfo150.txt").write_text(table())
    classes = open_ade20k(root).classes
    assert classes[0] == "wall" and classes[1] == "name 2" and len(classes) == 150


@pytest.mark.parametrize("text", [table(rows=149), "Idx\n", table().replace("\t", " ")])
def test_another_table_is_refused(root: Path, text: str) -> None:
    (root / "objectInfo150.txt").write_text(text)
    assert "objectInfo150.txt is not the official table" in fault_of(lambda: open_ade20k(root))


def test_pictures_without_their_mask_are_named_over_both_parts(root: Path) -> None:
    (root / "annotations/training/ADE_train_00000002.png").unlink()
    (root / "images/validation/ADE_val_00000001.jpg").unlink()
    message = fault_of(lambda: open_ade20k(root))
    assert "ADE_train_00000002" in message and "ADE_val_00000001" in message


def test_all_missing_folders_are_named_with_the_source(root: Path) -> None:
    (root / "annotations").rename(root / "masks")
    message = fault_of(lambda: open_ade20k(root))
    assert "lacks annotations/training, annotations/validation;" in message
    assert "sceneparsing.csail.mit.edu" in message and "1 GB" in message


def test_a_value_beyond_the_classes_is_named(root: Path) -> None:
    put_mask(root / "annotations/training/ADE_train_00000001.png", 151, 1)
    assert "holds 151 (27 pixels); expected 0..150 or 255" in fault_of(lambda: open_ade20k(root).train[0])


def test_a_mask_in_colours_is_refused(root: Path) -> None:
    put(root / "annotations/training/ADE_train_00000001.png", np.full((6, 9, 3), (1, 2, 3), np.uint8))
    with pytest.raises(Exception, match="is in colour"):
        open_ade20k(root).train[0]
