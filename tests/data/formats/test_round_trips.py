"""What is written in each format is read again: label maps pixel for pixel, classes, parts and images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.data.folder import open_folder
from maskwright.data.formats import FORMATS, Annotated, AnnotationSet, recognise_format

CLASSES = ("background", "leaf & <stem>", "Blüte", "ground")
COLOURS = ((0, 0, 0), (255, 0, 0), (0, 200, 0), (9, 9, 9))


def random_labels(seed: int) -> np.ndarray:
    """Return labels in pieces of all shapes, with holes, corners that touch, and ignored pixels."""
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 40, 2)
    labels = generator.choice([0, 1, 2, 3, 255], (height, width), p=[0.4, 0.3, 0.1, 0.1, 0.1])
    if seed % 2:
        labels = np.kron(labels, np.ones((3, 2)))
        labels[1::5, ::4] = 0
    return labels.astype(np.uint8)


def made_up(folder: Path, parts: tuple[str, ...]) -> AnnotationSet:
    folder.mkdir()
    items = []
    for seed, part in enumerate(parts):
        labels = random_labels(seed)
        image = folder / f"picture {seed}.png"
        Image.new("RGB", labels.shape[::-1], (seed, 0, 0)).save(image)
        height, width = labels.shape
        one = Annotated(name=f"picture {seed}", image=image, height=height, width=width, part=part, labels=labels.copy)
        items.append(one)
    return AnnotationSet(format="", classes=CLASSES, colours=COLOURS, items=tuple(items), notes=[])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("parts", [("train", "val", "test", "train"), ("",) * 12], ids=["parts", "no parts"])
def test_label_maps_come_back(tmp_path: Path, name: str, parts: tuple[str, ...]) -> None:
    annotations = made_up(tmp_path / "source", parts)
    assert FORMATS[name].write(annotations, tmp_path / "out") == []
    assert recognise_format(tmp_path / "out") == name
    found = FORMATS[name].read(tmp_path / "out", None, None)
    assert found.broken == () and found.notes == []
    assert found.format == name and found.classes == CLASSES
    by_name = {item.name: item for item in found.items}
    assert len(by_name) == len(parts)
    for item in annotations.items:
        again = by_name[item.name]
        expected = item.labels()
        if name == "yolo":
            expected[expected == 255] = 0
        labels = again.labels()
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected)
        assert again.part == (item.part or ("train" if name == "yolo" else ""))
        assert again.image is not None and item.image is not None
        assert again.image.read_bytes() == item.image.read_bytes()
    assert found.notes == []


@pytest.mark.parametrize("name", ["voc", "cvat", "folder"])
def test_colours_come_back(tmp_path: Path, name: str) -> None:
    FORMATS[name].write(made_up(tmp_path / "source", ("",)), tmp_path / "out")
    assert FORMATS[name].read(tmp_path / "out", None, None).colours == COLOURS


def test_what_yolo_cannot_hold_is_noted(tmp_path: Path) -> None:
    annotations = made_up(tmp_path / "source", ("train",))
    FORMATS["yolo"].write(annotations, tmp_path / "out")
    ignored = int((annotations.items[0].labels() == 255).sum())
    assert annotations.notes == [f"picture 0: {ignored} ignored pixels become background, YOLO has none"]


def test_a_written_folder_is_a_data_set(tmp_path: Path) -> None:
    FORMATS["folder"].write(made_up(tmp_path / "source", ("val", "train", "", "test")), tmp_path / "out")
    splits = open_folder(tmp_path / "out")
    assert splits.train.classes == CLASSES and splits.train.names == ("picture 1", "picture 2")
    assert splits.val is not None and splits.val.names == ("picture 0",)
    target = splits.val[0].target
    assert target is not None and np.array_equal(target.numpy(), random_labels(0))


ODD_NAMES = [
    ("background", "a  b", " leaf "),
    ("background", "a b", "a  b"),
    ("background", "#1", "line\nbreak\u2028"),
    ("background", "\x01\uffff", "x" * 300),
    ("background", "Background", "__ignore__"),
    ("sky", "background", "c"),
]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("classes", ODD_NAMES, ids=range(len(ODD_NAMES)))
def test_classes_of_odd_names_keep_their_pixels(tmp_path: Path, name: str, classes: tuple[str, ...]) -> None:
    labels = np.array([[1, 1, 2, 0], [0, 2, 2, 255]], np.uint8)
    image = tmp_path / "a.png"
    Image.new("RGB", (4, 2)).save(image)
    item = Annotated(name="a", image=image, height=2, width=4, part="train", labels=labels.copy)
    annotations = AnnotationSet(format="", classes=classes, colours=None, items=(item,), notes=[])
    assert FORMATS[name].write(annotations, tmp_path / "out") == []
    found = FORMATS[name].read(tmp_path / "out", None, None)
    moved = len(found.classes) - len(classes)
    expected = np.where(labels == 255, 0 if name == "yolo" else 255, labels + moved)
    assert found.notes == [] and np.array_equal(found.items[0].labels(), expected)
    if name == "folder":
        assert found.classes == classes
    else:
        assert sum("is called" in note for note in annotations.notes) >= 1


@pytest.mark.parametrize("name", FORMATS)
def test_pictures_of_one_name_in_two_parts_are_both_there(tmp_path: Path, name: str) -> None:
    for part, label in (("train", 1), ("val", 2)):
        for kind, picture in (("images", Image.new("RGB", (4, 2))), ("masks", Image.new("L", (4, 2), label))):
            (tmp_path / "in" / part / kind).mkdir(parents=True)
            picture.save(tmp_path / "in" / part / kind / "a.png")
    annotations = FORMATS["folder"].read(tmp_path / "in", None, None)
    assert FORMATS[name].write(annotations, tmp_path / "out") == []
    found = FORMATS[name].read(tmp_path / "out", None, None)
    assert {item.part: item.labels().max() for item in found.items} == {"train": 1, "val": 2}


@pytest.mark.parametrize("name", FORMATS)
def test_images_are_linked_or_copied(tmp_path: Path, name: str) -> None:
    annotations = made_up(tmp_path / "source", ("train",))
    image = annotations.items[0].image
    assert image is not None
    for copy in (False, True):
        out = tmp_path / f"out{copy}"
        FORMATS[name].write(annotations, out, copy=copy)
        (placed,) = [path for path in out.rglob("picture 0.png") if path.read_bytes() == image.read_bytes()]
        assert placed.samefile(image) is not copy


@pytest.mark.parametrize("name", FORMATS)
def test_a_first_class_that_is_no_background_keeps_its_pixels(tmp_path: Path, name: str) -> None:
    annotations = replace(made_up(tmp_path / "source", ("train", "val")), classes=("sky", "road", "car", "tree"))
    assert FORMATS[name].write(annotations, tmp_path / "out") == []
    found = FORMATS[name].read(tmp_path / "out", None, None)
    assert found.classes == (("sky",) if name == "folder" else ("background", "sky")) + ("road", "car", "tree")
    again = {item.name: item.labels() for item in found.items}
    for item in annotations.items:
        labels = item.labels()
        for label, called in enumerate(annotations.classes):
            assert np.array_equal(again[item.name] == found.classes.index(called), labels == label)
