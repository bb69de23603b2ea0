"""Folder data sets: layouts, pairing, classes, and every fault named with its files."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.data.folder import FolderDataset, duplicate_images, open_folder
from maskwright.errors import DataError, ImageError


def put(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def photo(seed: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def labels(*values: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (height, width))


def fill(root: Path, names: str, *values: int, images: str = "images", masks: str = "masks", seed: int = 0) -> None:
    """Write one pair per letter of `names`; each mask repeats `values`."""
    for number, name in enumerate(names):
        put(root / images / f"{name}.png", photo(seed + number))
        put(root / masks / f"{name}.png", labels(*(values or (0, 1, 2))))


def fault(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_folder(root)
    return str(caught.value)


def sample_fault(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_folder(root).train[0]
    return str(caught.value)


@pytest.mark.parametrize(("images", "masks"), [("{}/images", "{}/masks"), ("images/{}", "masks/{}")])
def test_part_folders_in_either_order(tmp_path: Path, images: str, masks: str) -> None:
    for seed, (part, names) in enumerate({"train": "ab", "val": "c", "test": "def"}.items()):
        fill(tmp_path, names, images=images.format(part), masks=masks.format(part), seed=10 * seed)
    splits = open_folder(tmp_path)
    assert (splits.train.names, splits.val.names, splits.test.names) == (("a", "b"), ("c",), ("d", "e", "f"))
    sample = splits.val[0]
    assert sample.name == "c" and sample.image.dtype == sample.target.dtype == torch.uint8
    np.testing.assert_array_equal(sample.image.permute(1, 2, 0), photo(10))
    np.testing.assert_array_equal(sample.target, labels(0, 1, 2))


def test_a_flat_folder_is_training_data(tmp_path: Path) -> None:
    fill(tmp_path, "ab")
    splits = open_folder(tmp_path)
    assert splits.train.names == ("a", "b") and splits.val is None and splits.test is None
    assert [sample.name for sample in splits.train] == ["a", "b"]


def test_split_files_choose_the_parts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "abcde")
    (tmp_path / "train.txt").write_text("d\na\n\n", encoding="utf-8-sig")
    (tmp_path / "test.txt").write_text("b\r\n")
    splits = open_folder(tmp_path)
    assert splits.train.names == ("a", "d") and splits.val is None and splits.test.names == ("b",)
    assert "left out: c, e" in caplog.text


def test_faults_of_split_files_are_listed_together(tmp_path: Path) -> None:
    fill(tmp_path, "abc")
    (tmp_path / "val.txt").write_text("a\nb.png\n")
    assert "no train.txt" in fault(tmp_path)
    (tmp_path / "train.txt").write_text("a\nc\nc\n")
    (tmp_path / "test.txt").write_text("\n")
    message = fault(tmp_path)
    assert "2 stems are listed more than once in the split files: a, c" in message
    assert "b.png" in message and "split files are empty: test.txt" in message
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\xff")
    assert "val.txt" in fault(tmp_path)


def test_masks_of_every_kind_and_name_are_paired(tmp_path: Path) -> None:
    for number, name in enumerate(("a.jpg", "b.webp", "c.tif", "d_mask.JPEG")):
        put(tmp_path / "images" / name, photo(number))
    put(tmp_path / "masks" / "a_mask.png", labels(0, 1))
    put(tmp_path / "masks" / "b.tiff", labels(0, 1))
    np.save(tmp_path / "masks" / "c.npy", labels(0, 1).astype(int))
    put(tmp_path / "masks" / "d_mask.png", labels(0, 1))
    train = open_folder(tmp_path).train
    assert train.names == ("a", "b", "c", "d_mask")
    for sample in train:
        np.testing.assert_array_equal(sample.target, labels(0, 1))


def test_all_faults_of_pairing_are_listed_at_once(tmp_path: Path) -> None:
    fill(tmp_path, "abcdefghijklmnop")
    for name in "abcdefghijkl":
        (tmp_path / "masks" / f"{name}.png").unlink()
    (tmp_path / "images" / "p.png").unlink()
    put(tmp_path / "images" / "m.jpg", photo(1))
    put(tmp_path / "masks" / "n_mask.png", labels(0, 1))
    message = fault(tmp_path)
    assert "12 images" in message and "j.png and 2 more" in message
    assert "1 masks" in message and "without an image" in message and "p.png" in message
    assert "share a stem: m.jpg, m.png" in message
    assert "one and the same image: n.png, n_mask.png" in message


def test_a_folder_without_a_layout_or_without_images_is_named(tmp_path: Path) -> None:
    assert "images/ and masks/" in fault(tmp_path) and "images/ and masks/" in fault(tmp_path / "nowhere")
    (tmp_path / "images").mkdir()
    assert "masks" in fault(tmp_path)
    (tmp_path / "masks").mkdir()
    assert "no images" in fault(tmp_path)


def test_classes_are_found_in_all_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "abc", 0, 1, 255)
    put(tmp_path / "masks" / "c.png", labels(0, 3))
    assert open_folder(tmp_path).classes == ("background", "class_1", "class_2", "class_3")
    assert "no mask holds the labels 2" in caplog.text


@pytest.mark.parametrize("text", ["[sky, cat]", "names: [sky, cat]", "names: {1: cat, 0: sky}\nignore: 255"])
def test_class_names_are_read(tmp_path: Path, text: str) -> None:
    fill(tmp_path, "a", 0, 1, 255)
    (tmp_path / "classes.yaml").write_text(text)
    splits = open_folder(tmp_path)
    assert splits.classes == ("sky", "cat")
    np.testing.assert_array_equal(splits.train[0].target, labels(0, 1, 255))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "names: [sky",
        "names: cat",
        "[sky, sky]",
        "[sky]",
        "[sky, 1]",
        "names: {1: sky, 2: cat}",
        "colours: [red]",
        "{names: [sky, cat], ignore: none}",
        "{names: [a, b, c], binary_foreground: 255}",
        "{binary_foreground: 255, ignore: 255}",
        "binary_foreground: true",
    ],
)
def test_unusable_classes_are_named(tmp_path: Path, text: str) -> None:
    fill(tmp_path, "a")
    (tmp_path / "classes.yaml").write_text(text)
    assert "classes.yaml" in fault(tmp_path)


def test_the_ignored_label_is_mapped(tmp_path: Path) -> None:
    fill(tmp_path, "a", 0, 1, 11, 255)
    (tmp_path / "classes.yaml").write_text("{names: [sky, cat], ignore: 11}")
    np.testing.assert_array_equal(open_folder(tmp_path).train[0].target, labels(0, 1, 255, 255))
    (tmp_path / "masks" / "a.png").unlink()
    np.save(tmp_path / "masks" / "a.npy", labels(0, 1).astype(int) * 2 - 1)
    (tmp_path / "classes.yaml").write_text("{names: [sky, cat], ignore: -1}")
    np.testing.assert_array_equal(open_folder(tmp_path).train[0].target, labels(255, 1))


@pytest.mark.parametrize("classes", [None, "[background, cat]"])
def test_masks_of_0_and_255_are_explained_and_the_named_remedy_helps(tmp_path: Path, classes: str | None) -> None:
    fill(tmp_path, "ab", 0, 255)
    if classes is not None:
        (tmp_path / "classes.yaml").write_text(classes)
    message = fault(tmp_path)
    assert "0 and 255 only" in message and "`binary_foreground: 255`" in message
    (tmp_path / "classes.yaml").write_text("binary_foreground: 255")
    splits = open_folder(tmp_path)
    assert splits.classes == ("background", "foreground")
    np.testing.assert_array_equal(splits.train[0].target, labels(0, 1))
    put(tmp_path / "masks" / "b.png", labels(0, 1, 255))
    with pytest.raises(DataError, match="b.png: holds 1 .16 pixels.; expected 0 and 255 only"):
        open_folder(tmp_path).train[1]


def test_validation_masks_of_0_and_255_are_not_overlooked(tmp_path: Path) -> None:
    fill(tmp_path, "a", 0, 1, images="train/images", masks="train/masks")
    fill(tmp_path, "b", 0, 255, images="val/images", masks="val/masks", seed=5)
    assert "masks of val hold 0 and 255 only" in fault(tmp_path)


def test_masks_of_background_alone_are_no_training_data(tmp_path: Path) -> None:
    fill(tmp_path, "a", 0)
    assert "hold 0 only" in fault(tmp_path)


def test_labels_outside_the_classes_are_named_with_their_pixels(tmp_path: Path) -> None:
    fill(tmp_path, "ab", 0, 1)
    (tmp_path / "classes.yaml").write_text("[background, cat]")
    put(tmp_path / "masks" / "a.png", labels(1, 2, 7, 7))
    message = sample_fault(tmp_path)
    assert "a.png: holds 7 (24 pixels), 2 (12 pixels); expected 0..1" in message
    (tmp_path / "masks" / "a.png").unlink()
    np.save(tmp_path / "masks" / "a.npy", labels(0, 1).astype(int) - 1)
    message = sample_fault(tmp_path)
    assert "a.npy: holds -1 (24 pixels)" in message
    (tmp_path / "masks" / "a.npy").unlink()
    put(tmp_path / "masks" / "a.png", labels(0, 128))
    assert "`binary_foreground: 128`" in sample_fault(tmp_path)


def test_a_size_that_differs_is_named_with_both_files_and_sizes(tmp_path: Path) -> None:
    fill(tmp_path, "a", 0, 1)
    put(tmp_path / "masks" / "a.png", labels(0, 1, height=6, width=7))
    message = sample_fault(tmp_path)
    assert f"{Path('images') / 'a.png'} is 8 x 6 pixels" in message and f"{Path('masks') / 'a.png'} 7 x 6" in message


def test_a_turned_photograph_wants_an_upright_mask(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    put(tmp_path / "images" / "a.jpg", photo(0), exif=exif)
    put(tmp_path / "masks" / "a.png", labels(0, 1, height=8, width=6))
    sample = open_folder(tmp_path).train[0]
    assert sample.image.shape == (3, 8, 6) and sample.target.shape == (8, 6)
    put(tmp_path / "masks" / "a.png", labels(0, 1))
    assert "orientation" in sample_fault(tmp_path)
    put(tmp_path / "masks" / "a.png", labels(0, 1), exif=exif)
    assert open_folder(tmp_path).train[0].target.shape == (8, 6)


def test_a_broken_file_is_named_when_it_is_read_and_not_before(tmp_path: Path) -> None:
    fill(tmp_path, "ab", 0, 1)
    (tmp_path / "classes.yaml").write_text("[background, cat]")
    (tmp_path / "images" / "b.png").write_bytes(b"broken")
    train = open_folder(tmp_path).train
    assert train[0].name == "a"
    with pytest.raises(ImageError, match="b.png"):
        train[1]


def test_the_same_picture_in_two_parts_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, names in {"train": "ab", "val": "cd", "test": "ef"}.items():
        fill(tmp_path, names, images=f"{part}/images", masks=f"{part}/masks", seed=ord(names[0]))
    assert duplicate_images(open_folder(tmp_path)) == [] and not caplog.records
    put(tmp_path / "test/images/f.png", photo(ord("a")))
    put(tmp_path / "val/images/d.png", photo(ord("a")))
    with caplog.at_level(logging.WARNING, logger="maskwright"):
        found = duplicate_images(open_folder(tmp_path))
    names = [tuple(Path(path).relative_to(tmp_path).as_posix() for path in pair) for pair in found]
    same = ("train/images/a.png", "val/images/d.png", "test/images/f.png")
    assert sorted(names) == sorted([(same[0], same[1]), (same[0], same[2]), (same[1], same[2])])
    assert "two parts" in caplog.text and "d.png" in caplog.text


def test_the_files_of_the_user_are_never_changed(tmp_path: Path) -> None:
    fill(tmp_path, "ab", 0, 1, 11)
    (tmp_path / "classes.yaml").write_text("{names: [background, cat], ignore: 11}")

    def tree() -> dict[Path, str]:
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = tree()
    train = open_folder(tmp_path).train
    assert isinstance(train, FolderDataset) and len([train[index] for index in range(len(train))]) == 2
    assert tree() == before
