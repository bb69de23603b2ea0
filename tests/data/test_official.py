"""What the official layouts share: names of pairs, colours as classes, and all gaps at once."""

from pathlib import Path

import numpy as np
import pytest

from layouts import fault_of, put, put_mask, put_photo
from maskwright.data.classes import ClassTable
from maskwright.data.folder import Pair
from maskwright.data.official import ColourReader, Source, pair_folders, require_files, stem_without

SOURCE = Source(title="Toys", address="https://toys.example", download="toys.zip (1 GB)", tree="    DIR/a/ b/")


def test_what_is_missing_of_the_nearest_layout_is_named(tmp_path: Path) -> None:
    layouts = (("a", "b"), ("a", "c", "d"))
    for name in ("a", "c"):
        (tmp_path / name).mkdir()
    message = fault_of(lambda: SOURCE.require_any(tmp_path, layouts))
    assert f"{tmp_path} lacks b; expected Toys as\n    DIR/a/ b/\n" in message
    assert "toys.zip (1 GB), from https://toys.example" in message
    (tmp_path / "d").touch()
    assert SOURCE.require_any(tmp_path, layouts) == 1


def test_pairs_are_found_by_their_names(tmp_path: Path) -> None:
    for name in ("b_left", "a_left"):
        put_photo(tmp_path / "images" / f"{name}.jpg")
        put_mask(tmp_path / "masks" / f"{name.removesuffix('_left')}_mask.png", 0)
    put_mask(tmp_path / "masks" / "a_other.png", 0)
    pairs, problems = pair_folders(
        tmp_path / "images", tmp_path / "masks", image_name=stem_without("_left"), mask_name=stem_without("_mask")
    )
    assert [(pair.name, pair.image.name, pair.mask.name) for pair in pairs] == [
        ("a", "a_left.jpg", "a_mask.png"),
        ("b", "b_left.jpg", "b_mask.png"),
    ]
    assert problems == []


def test_files_of_one_name_are_named(tmp_path: Path) -> None:
    for suffix in ("png", "jpg"):
        put_photo(tmp_path / "images" / f"a.{suffix}")
    put_mask(tmp_path / "masks" / "a.png", 0)
    problems = pair_folders(tmp_path / "images", tmp_path / "masks")[1]
    assert problems == [f"1 images in {tmp_path / 'images'} that share a name: a"]


def test_a_name_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    pair = Pair(name="a", image=put_photo(tmp_path / "a.png"), mask=put_mask(tmp_path / "m.png", 0))
    require_files(tmp_path, {"train.txt": [pair]})
    assert "train.txt names 1 sample(s) that are listed already: a" in fault_of(
        lambda: require_files(tmp_path, {"train.txt": [pair, pair]})
    )


@pytest.mark.parametrize("order", [1, -1])
def test_colours_become_their_index_whatever_their_order(tmp_path: Path, order: int) -> None:
    colours = ((255, 0, 0), (0, 0, 0), (0, 0, 255), (0, 255, 255))[::order]
    path = put(tmp_path / "a.png", np.array([colours], np.uint8))
    assert ColourReader(colours)(path).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("colour", [(0, 0, 1), (255, 255, 255), (0, 0, 0)])
def test_other_colours_are_named(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    path = put(tmp_path / "a.png", np.array([[colour, (0, 0, 2)]], np.uint8))
    code = f"#{colour[0]:02x}{colour[1]:02x}{colour[2]:02x}"
    assert f"a.png: holds the colours {code} (1 pixel)" in fault_of(lambda: ColourReader(((0, 0, 2), (0, 1, 0)))(path))


def test_a_value_table_decides_alone(tmp_path: Path) -> None:
    table = ClassTable(names=("a", "b"), values={0: 255, 1: 0, 2: 1, 9: 255})
    stored = np.array([[0, 1, 2, 9, 255]])
    assert table.encode(stored, path=tmp_path).tolist() == [[255, 0, 1, 255, 255]]
    message = fault_of(lambda: table.encode(np.array([[3, -1, 300, 1]]), path=tmp_path / "m.png"))
    assert "m.png: holds -1 (1 pixel), 3 (1 pixel), 300 (1 pixel); expected 0..2, 9 or 255 (ignored)" in message
