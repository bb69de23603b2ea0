"""Layouts that people have: which files belong together, and what is missing."""

import unicodedata
from pathlib import Path

import pytest

from maskwright.data.doctor.facts import Item
from maskwright.data.doctor.sources import find_items
from maskwright.errors import DataError


def build(root: Path, *names: str) -> list[tuple[str, str, list[str], list[str]]]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return [shown(root, item) for item in find_items(root).items]


def shown(root: Path, item: Item) -> tuple[str, str, list[str], list[str]]:
    files = [[str(path.relative_to(root)) for path in paths] for paths in (item.images, item.masks)]
    return item.part, item.name, files[0], files[1]


@pytest.mark.parametrize(
    ("image", "mask", "part"),
    [
        ("images/a.jpg", "masks/a.png", ""),
        ("img/a.tif", "labels/a.png", ""),
        ("JPEGImages/a.jpg", "SegmentationClass/a.png", ""),
        ("images/a.jpg", "annotations/a_mask.png", ""),
        ("train/images/a.jpg", "train/masks/a.png", "train"),
        ("images/validation/a.jpg", "masks/validation/a.png", "val"),
        ("test/a.png", "testannot/a.png", "test"),
        ("train/a.jpg", "train_labels/a_L.png", "train"),
        ("a.jpg", "a.png", ""),
        ("a.png", "a_mask.png", ""),
        ("images/a.jpg", "images/a_gt.png", ""),
        ("valid/a.jpg", "valid/a.png", "val"),
    ],
)
def test_layouts(tmp_path: Path, image: str, mask: str, part: str) -> None:
    assert build(tmp_path, image, mask) == [(part, "a", [image], [mask])]


@pytest.mark.parametrize("said", ["images", "masks"])
def test_the_folder_that_is_not_said_has_its_usual_name(tmp_path: Path, said: str) -> None:
    build(tmp_path, "images/a.jpg", "masks/a.png", "odd/a.png")
    (item,) = find_items(tmp_path, **{said: tmp_path / "odd"}).items
    wanted = {
        "images": tmp_path / "images" / "a.jpg",
        "masks": tmp_path / "masks" / "a.png",
        said: tmp_path / "odd" / "a.png",
    }
    assert [*item.images, *item.masks] == [wanted["images"], wanted["masks"]]


def test_one_folder_said_for_both(tmp_path: Path) -> None:
    build(tmp_path, "images/odd/a.jpg", "images/odd/a_mask.png", "images/b.jpg")
    (item,) = find_items(tmp_path / "images", images=tmp_path / "images" / "odd").items
    assert (len(item.images), len(item.masks)) == (1, 1)


def test_what_is_missing_or_doubled(tmp_path: Path) -> None:
    files = [
        "images/a.jpg",
        "images/b.jpg",
        "images/b.png",
        "images/c.jpg",
        "masks/b.png",
        "masks/c.png",
        "masks/d.png",
    ]
    found = {name: (images, masks) for _, name, images, masks in build(tmp_path, *files, "masks/c.tif")}
    assert found["a"] == (["images/a.jpg"], [])
    assert found["b"] == (["images/b.jpg", "images/b.png"], ["masks/b.png"])
    assert found["c"] == (["images/c.jpg"], ["masks/c.png", "masks/c.tif"])
    assert found["d"] == ([], ["masks/d.png"])


def test_names_that_differ_in_case_or_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    build(tmp_path, "images/café.jpg", f"masks/{decomposed}.png", "images/Dog.jpg", "masks/dog.png")
    items = find_items(tmp_path).items
    assert [(item.name, len(item.masks), item.renamed) for item in items] == [("Dog", 1, True), ("café", 1, True)]


def test_lists_of_parts(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a\nc\n")
    (tmp_path / "val.txt").write_text("b\nc\n")
    files = [f"{folder}/{name}.png" for folder in ("images", "masks") for name in "abcd"]
    assert [(part, name) for part, name, _, _ in build(tmp_path, *files)] == [
        *(("", "c"), ("", "d"), ("train", "a"), ("val", "b"))
    ]


def test_said_folders(tmp_path: Path) -> None:
    build(tmp_path, "images/x.jpg", "photos_2/a.jpg", "drawn/a.png")
    found = find_items(tmp_path, images=tmp_path / "photos_2", masks=tmp_path / "drawn")
    assert [(item.name, len(item.images), len(item.masks)) for item in found.items] == [("a", 1, 1)]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        find_items(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        find_items(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot be listed|no folder"):
        find_items(tmp_path, images=tmp_path / "absent")
