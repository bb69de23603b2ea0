"""Weak labels: what scribbles, points and boxes label, and what is wrong with those that cannot be used."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from layouts import put_mask
from maskwright.data.arrays import ArrayDataset
from maskwright.data.catalog import DataConfig, open_data, open_training_data
from maskwright.data.transforms import AugmentConfig
from maskwright.data.weak import CERTAIN_SHARE, draw_boxes, draw_points, with_weak_labels
from maskwright.errors import ConfigError, DataError

HEIGHT, WIDTH = 8, 12


def dataset(count: int = 3, classes: tuple[str, ...] = ("ground", "cat", "dog")) -> ArrayDataset:
    """Images x_00000, x_00001, ... whose full truths are 2 all over."""
    images = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8)
    return ArrayDataset(images, np.full((count, HEIGHT, WIDTH), 2, np.uint8), classes=classes, prefix="x")


def scribble(folder: Path, name: str, labels: np.ndarray | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if labels is None:
        labels = np.full((HEIGHT, WIDTH), 255, np.uint8)
        labels[2, 3:9], labels[5, 1:4] = 1, 0
    Image.fromarray(labels).save(folder / f"{name}.png")
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def target(labels: str, index: int = 0, **options: object) -> np.ndarray:
    found = with_weak_labels(dataset(**options), labels)[index].target
    assert found is not None
    return found.numpy()


def fault(labels: str, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        target(labels, **options)
    return str(caught.value)


def test_scribbles_take_the_place_of_the_truth(tmp_path: Path) -> None:
    for i in range(3):
        scribble(tmp_path, f"x_{i:05d}")
    weak = with_weak_labels(dataset(), f"scribble:{tmp_path}")
    assert weak.names == dataset().names
    assert weak.classes == dataset().classes
    for i in range(3):
        sample = weak[i]
        assert np.array_equal(sample.target, np.asarray(Image.open(tmp_path / f"x_{i:05d}.png")))
        assert torch.equal(sample.image, dataset()[i].image)


def test_classes_yaml_beside_scribbles_says_how_they_are_stored(tmp_path: Path) -> None:
    stored = np.full((HEIGHT, WIDTH), 128, np.uint8)
    stored[0, 0], stored[1, 1] = 0, 255
    write(scribble(tmp_path, "x_00000", stored) / "classes.yaml", "binary_foreground: 255\nignore: 128\n")
    labels = target(f"scribble:{tmp_path}", count=1, classes=("ground", "cat"))
    assert (labels[0, 0], labels[1, 1], (labels == 255).sum()) == (0, 1, HEIGHT * WIDTH - 2)
    write(tmp_path / "classes.yaml", "[ground, horse]\n")
    assert "horse" in fault(f"scribble:{tmp_path}", count=1, classes=("ground", "cat"))


def test_images_without_a_label_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scribble(tmp_path, "x_00001")
    with caplog.at_level(logging.WARNING, logger="maskwright"):
        weak = with_weak_labels(dataset(), f"scribble:{tmp_path}")
    assert weak.names == ("x_00001",)
    assert weak[0].name == "x_00001"
    assert "2 of 3" in caplog.text
    assert "x_00000, x_00002" in caplog.text


def test_no_label_at_all_is_an_error_that_lists_the_images(tmp_path: Path) -> None:
    scribble(tmp_path, "other")
    message = fault(f"scribble:{tmp_path}", count=12)
    assert "12 of 12" in message
    assert "x_00000, x_00001" in message
    assert "and 2 more" in message


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.full((HEIGHT, WIDTH), 3, np.uint8), r"3 \(96 pixels\).*0\.\.2"),
        (np.ones((HEIGHT, WIDTH - 1), np.uint8), "11 x 8.*12 x 8"),
        (np.where(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 2, 255, 0).astype(np.uint8), "binary_foreground"),
    ],
)
def test_scribbles_that_do_not_fit_are_named(tmp_path: Path, labels: np.ndarray, named: str) -> None:
    scribble(tmp_path, "x_00000", labels)
    with pytest.raises(DataError, match=named):
        target(f"scribble:{tmp_path}", count=1)


def test_two_files_for_one_image_are_refused(tmp_path: Path) -> None:
    scribble(tmp_path, "x_00000")
    np.save(tmp_path / "x_00000.npy", np.zeros((HEIGHT, WIDTH), np.uint8))
    assert "x_00000.npy and x_00000.png" in fault(f"scribble:{tmp_path}", count=1)


@pytest.mark.parametrize("labels", ["scribble", "scribble:", "lines:here", ":here"])
def test_other_kinds_are_refused_when_the_configuration_is_made(labels: str) -> None:
    with pytest.raises(ConfigError, match="scribble:DIR, points:DIR or boxes:DIR"):
        DataConfig(name="digits", labels=labels)


def test_pasting_is_refused_beside_weak_labels() -> None:
    with pytest.raises(ConfigError, match="paste"):
        DataConfig(name="digits", labels="boxes:here", augment=AugmentConfig(paste=0.5))


@pytest.mark.parametrize("kind", ["scribble", "points", "boxes"])
def test_a_missing_folder_is_named(tmp_path: Path, kind: str) -> None:
    assert "no such folder" in fault(f"{kind}:{tmp_path / 'none'}")


def test_points_label_the_discs_around_them(tmp_path: Path) -> None:
    write(tmp_path / "points.csv", "name,x,y,label\nx_00000,3,2,cat\nx_00000,10.4,7,0\nx_00001,0,0,2\n")
    labels = target(f"points:{tmp_path}", count=2)
    rows, columns = np.indices((HEIGHT, WIDTH))
    cat = np.hypot(columns - 3, rows - 2) <= 3
    ground = np.hypot(columns - 10.4, rows - 7) <= 3
    assert np.array_equal(labels, np.where(cat, 1, np.where(ground, 0, 255)))
    assert target(f"points:{tmp_path}", 1, count=2)[0, 0] == 2


def test_points_of_one_file_per_image_and_of_json(tmp_path: Path) -> None:
    write(tmp_path / "table" / "points.csv", "name,x,y,label,radius\nx_00000,3,2,1,\nx_00000,9,5,2,1\n")
    write(tmp_path / "each" / "x_00000.csv", "x, y, label, radius\n3, 2, 1,\n9, 5, 2, 1\n")
    rows = [{"x": 3, "y": 2, "label": 1}, {"x": 9, "y": 5, "label": "dog", "radius": 1}]
    write(tmp_path / "json" / "x_00000.json", json.dumps(rows))
    file = write(tmp_path / "any.json", json.dumps([{"name": "x_00000", **row} for row in rows]))
    expected = draw_points([(3, 2, 3, 1), (9, 5, 1, 2)], (HEIGHT, WIDTH))
    for place in (tmp_path / "table", tmp_path / "each", tmp_path / "json", file):
        assert np.array_equal(target(f"points:{place}", count=1), expected)


def test_where_discs_of_different_labels_meet_nothing_is_labelled() -> None:
    labels = draw_points([(2, 2, 2, 1), (4, 2, 2, 0), (3, 2, 2, 1)], (5, 8))
    assert labels[2].tolist() == [1, 1, 255, 255, 255, 255, 0, 255]


def test_a_point_labels_its_pixel_however_small_the_disc() -> None:
    assert draw_points([(0.4, 0.4, 0, 1)], (1, 1)).tolist() == [[1]]
    assert draw_points([(1.5, -0.5, 0, 1)], (1, 2)).tolist() == [[255, 1]]


def test_boxes_label_what_is_outside_and_their_middle(tmp_path: Path) -> None:
    labels = draw_boxes([(20, 10, 70, 90, 2)], (100, 100))
    inside = np.zeros((100, 100), bool)
    inside[10:90, 20:70] = True
    assert (labels[~inside] == 0).all()
    assert set(np.unique(labels[inside])) == {2, 255}
    assert (labels == 2).sum() == pytest.approx(CERTAIN_SHARE * inside.sum(), rel=0.05)
    rows, columns = np.nonzero(labels == 2)
    assert (rows.mean(), columns.mean()) == pytest.approx((49.5, 44.5))
    write(tmp_path / "boxes.csv", "name,x0,y0,x1,y1,label\nx_00000,2,1,9,7,dog\n")
    assert np.array_equal(target(f"boxes:{tmp_path}", count=1), draw_boxes([(2, 1, 9, 7, 2)], (HEIGHT, WIDTH)))


def test_the_smaller_box_is_in_front_whatever_the_order() -> None:
    boxes = [(0, 0, 30, 30, 1), (12, 12, 18, 18, 2)]
    labels = draw_boxes(boxes, (30, 30))
    assert np.array_equal(labels, draw_boxes(boxes[::-1], (30, 30)))
    assert labels[15, 15] == 2
    assert labels[12, 12] == 255


def test_the_smallest_box_and_picture() -> None:
    assert draw_boxes([(0, 0, 1, 1, 1)], (1, 1)).tolist() == [[1]]
    assert draw_boxes([(0.6, 0.6, 0.9, 0.9, 1)], (2, 2)).tolist() == [[0, 0], [0, 1]]


def test_an_image_with_an_empty_file_of_boxes_is_background(tmp_path: Path) -> None:
    write(tmp_path / "x_00000.csv", "x0,y0,x1,y1,label\n1,1,3,3,1\n")
    write(tmp_path / "x_00001.csv", "x0,y0,x1,y1,label\n")
    assert (target(f"boxes:{tmp_path}", 1, count=2) == 0).all()
    table = write(tmp_path / "boxes.csv", "name,x0,y0,x1,y1,label\nx_00000,1,1,3,3,1\nx_00001,,,,,\n")
    assert (target(f"boxes:{table}", 1, count=2) == 0).all()


@pytest.mark.parametrize(
    ("kind", "table", "named"),
    [
        ("points", "name,x,y,label\nx_00000,20,2,1\n", "row 1.*x is '20'.*-0.5 to 11.5"),
        ("points", "name,x,y,label\nx_00000,2,two,1\n", "y is 'two'"),
        ("points", "name,x,label\nx_00000,2,1\n", "y is None"),
        ("points", "name,x,y,label\nx_00000,2,nan,1\n", "y is 'nan'"),
        ("points", "name,x,y,label\nx_00000,2,2,3\n", r"label is '3'.*0\.\.2.*ground, cat, dog"),
        ("points", "name,x,y,label\nx_00000,2,2,horse\n", "horse"),
        ("points", "x,y,label\n2,2,1\n", "name is None"),
        ("points", "", "it is empty"),
        ("points", "name,x,y,label\nx_00000,2,2,1,5\n", "more values than"),
        ("points", "name,x,y,label\nx_00000,2,2,0\n", "hold no class but 'ground'"),
        ("points", f"name,x,y,label\nx_00000,2,2,{'9' * 5000}\n", "label is '999"),
        ("boxes", "name,x0,y0,x1,y1,label\nx_00000,,,,,1\n", "x0 is ''"),
        ("boxes", "name,x0,y0,x1,y1,label\nx_00000,2,2,13,4,1\n", "x1 is '13'"),
        ("boxes", "name,x0,y0,x1,y1,label\nx_00000,2,2,2,4,1\n", "holds no pixel"),
        ("boxes", "name,x0,y0,x1,y1,label\nx_00000,2,2,5,4,0\n", "background"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, kind: str, table: str, named: str) -> None:
    write(tmp_path / f"{kind}.csv", table)
    with pytest.raises(DataError, match=named):
        target(f"{kind}:{tmp_path}", count=1)


@pytest.mark.parametrize(
    "text", ["{", '{"x": 1}', "[1, 2]", "[" * 100_000, '[{"x": 1' + "0" * 400 + ', "y": 1, "label": 1}]']
)
def test_json_that_is_no_list_of_rows_is_named(tmp_path: Path, text: str) -> None:
    write(tmp_path / "x_00000.json", text)
    assert "x_00000.json" in fault(f"points:{tmp_path}", count=1)


def test_boxes_need_a_background(tmp_path: Path) -> None:
    for part in ("train", "trainannot"):
        put_mask(tmp_path / "camvid" / part / "a.png", 0, 1)
    config = DataConfig(name=f"camvid:{tmp_path / 'camvid'}", val_fraction=0, labels=f"boxes:{tmp_path}")
    with pytest.raises(ConfigError, match="no background.*class 0 is 'sky'"):
        open_training_data(config)


def test_two_tables_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "points.csv", "name,x,y,label\n")
    write(tmp_path / "points.json", "[]")
    assert "points.csv and points.json" in fault(f"points:{tmp_path}")


def folder(root: Path, *, parts: tuple[str, ...], masks: bool) -> Path:
    for part in parts:
        (root / part / "images").mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (WIDTH, HEIGHT), (i, len(part), 0)).save(root / part / "images" / f"{part}_{i}.png")
            if masks or part != "train":
                (root / part / "masks").mkdir(exist_ok=True)
                Image.new("L", (WIDTH, HEIGHT), 1).save(root / part / "masks" / f"{part}_{i}.png")
    write(root / "classes.yaml", "[ground, cat]\n")
    return root


def test_only_the_training_part_gets_weak_labels(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", parts=("train", "test"), masks=True)
    for i in range(4):
        scribble(tmp_path / "labels", f"train_{i}")
    splits = open_training_data(
        DataConfig(name=f"folder:{root}", labels=f"scribble:{tmp_path / 'labels'}", val_fraction=0.25)
    )
    assert (len(splits.train), len(splits.val), len(splits.test)) == (3, 1, 4)
    assert (splits.train[0].target == 255).any()
    for part in (splits.val, splits.test):
        assert (part[0].target == 1).all()
    plain = DataConfig(name=f"folder:{root}", val_fraction=0.25)
    assert (open_training_data(plain).train[0].target == 1).all()
    assert (open_data(plain).train[0].target == 1).all()


def test_training_images_of_a_folder_need_no_masks_beside_weak_labels(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", parts=("train", "val"), masks=False)
    for i in range(4):
        scribble(tmp_path / "labels", f"train_{i}")
    config = DataConfig(name=f"folder:{root}", labels=f"scribble:{tmp_path / 'labels'}")
    assert open_data(config).train[0].target is None
    assert (open_training_data(config).train[3].target == 1).sum() == 6
    (root / "train" / "masks").mkdir()
    with pytest.raises(DataError, match=r"without a mask.*train_0\.png"):
        open_data(DataConfig(name=f"folder:{root}"))


def test_listed_validation_images_need_masks_all_the_same(tmp_path: Path) -> None:
    root = folder(tmp_path, parts=("train",), masks=False) / "train"
    write(root / "classes.yaml", "[ground, cat]\n")
    write(root / "train.txt", "train_0\ntrain_1\n")
    config = DataConfig(name=f"folder:{root}", labels=f"scribble:{tmp_path}", val_fraction=0)
    assert len(open_data(config).train) == 2
    write(root / "val.txt", "train_2\n")
    with pytest.raises(DataError, match=r"images of val without a mask.*train_2\.png"):
        open_data(config)


def test_without_any_mask_the_classes_must_be_named(tmp_path: Path) -> None:
    root = folder(tmp_path, parts=("train",), masks=False)
    (root / "classes.yaml").unlink()
    with pytest.raises(DataError, match=r"classes\.yaml"):
        open_data(DataConfig(name=f"folder:{root}", labels=f"scribble:{tmp_path}", val_fraction=0))
