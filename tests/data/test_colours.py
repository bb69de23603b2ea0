"""Colours to labels, exact and nearest; and the class tables of other tools."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.data.classes import ClassTable, read_class_names, read_class_table
from maskwright.data.colours import labels_of_colours, read_coloured
from maskwright.data.folder import open_folder
from maskwright.data.voc import colour_map
from maskwright.errors import DataError, ImageError

VOC = colour_map(21)
OUTLINE = (224, 224, 192)


def slow_labels(rgb: np.ndarray, colours: tuple, ignore: tuple) -> np.ndarray:
    """Label each pixel by itself; of no known colour, by the least distance."""
    known = np.array([*colours, *ignore], np.int64)
    labels = [*range(len(colours)), *[255] * len(ignore)]
    found = np.empty(rgb.shape[:2], np.uint8)
    for row, column in np.ndindex(rgb.shape[:2]):
        found[row, column] = labels[int(((known - rgb[row, column]) ** 2).sum(axis=1).argmin())]
    return found


def random_mask(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 22, (17, 23))
    return labels, np.array([*VOC, OUTLINE], np.uint8)[labels]


def test_colours_become_their_labels_and_ignored_ones_255() -> None:
    labels, rgb = random_mask(0)
    found, unknown = labels_of_colours(rgb, VOC, ignore=[OUTLINE])
    assert found.dtype == np.uint8 and unknown == {}
    assert np.array_equal(found, np.where(labels == 21, 255, labels))


def test_other_colours_are_counted_most_frequent_first() -> None:
    rgb = np.zeros((2, 4, 3), np.uint8)
    rgb[0, 0], rgb[1, 1:] = (1, 2, 3), (9, 8, 7)
    found, unknown = labels_of_colours(rgb, VOC)
    assert list(unknown.items()) == [((9, 8, 7), 3), ((1, 2, 3), 1)]
    assert (found[0, 0], *found[1, 1:]) == (255,) * 4 and (found == 255).sum() == 4


@pytest.mark.parametrize("seed", range(5))
def test_nearest_equals_the_distance_to_every_colour(seed: int) -> None:
    _, rgb = random_mask(seed)
    noise = np.random.default_rng(seed).integers(-40, 41, rgb.shape)
    noisy = (rgb.astype(np.int64) + noise).clip(0, 255).astype(np.uint8)
    found, _ = labels_of_colours(noisy, VOC, ignore=[OUTLINE], nearest=True)
    assert np.array_equal(found, slow_labels(noisy, VOC, (OUTLINE,)))


def test_a_view_that_is_not_contiguous_is_read_as_it_is_indexed() -> None:
    labels, rgb = random_mask(1)
    found, _ = labels_of_colours(rgb[::-2, 1::3], VOC, ignore=[OUTLINE])
    assert np.array_equal(found, np.where(labels == 21, 255, labels)[::-2, 1::3])


def test_files_by_colour_or_by_their_one_channel(tmp_path: Path) -> None:
    labels, rgb = random_mask(2)
    expected = np.where(labels == 21, 255, labels)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    Image.fromarray(rgb).convert("RGBA").save(tmp_path / "rgba.png")
    Image.fromarray(expected.astype(np.uint8)).save(tmp_path / "grey.png")
    for name in ("rgb.png", "rgba.png", "grey.png"):
        assert np.array_equal(read_coloured(tmp_path / name, VOC, ignore=[OUTLINE]), expected)
    with pytest.raises(DataError, match=r"#e0e0c0 \(\d+ pixels\); expected only the 21"):
        read_coloured(tmp_path / "rgb.png", VOC)


def test_a_jpeg_mask_is_refused_and_read_on_demand(tmp_path: Path) -> None:
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[8:24, 8:24] = VOC[5]
    Image.fromarray(rgb).save(tmp_path / "mask.jpg", quality=90)
    with pytest.raises(ImageError, match="JPEG is lossy; its colours cannot be trusted"):
        read_coloured(tmp_path / "mask.jpg", VOC)
    read = read_coloured(tmp_path / "mask.jpg", VOC, nearest=True)
    assert (read == labels_of_colours(rgb, VOC)[0]).mean() > 0.95


def test_transparent_masks_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 3, 4), 100, np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(ImageError, match="partly transparent"):
        read_coloured(tmp_path / "mask.png", VOC)


TABLES = {
    "classes.yaml": "names: [sky, road]\ncolours: [[128, 0, 0], [0, 0, 255]]\n",
    "spelled.yaml": "names: [sky, road]\ncolors: {road: [0, 0, 255], sky: '#800000'}\n",
    "unnamed.yml": "colours: {sky: [128, 0, 0], road: [0, 0, 255]}\n",
    "class_dict.csv": "name,r,g,b\nsky,128,0,0\nroad, 0, 0, 255\n\n",
    "turned.csv": "r,g,b,name,class_11\n128,0,0,sky,1\n0,0,255,road,0\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nsky:128,0,0::\nroad:0,0,255:left,right:turn\n",
    "list.json": '[{"name": "sky", "color": "#800000", "id": 7}, {"name": "road", "color": [0, 0, 255]}]',
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_every_tool_say_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    table = read_class_table(tmp_path / name)
    assert table == ClassTable(names=("sky", "road"), colours=((128, 0, 0), (0, 0, 255)))


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("names.txt", "\ufeffsky\n\n dirt road \n", ("sky", "dirt road")),
        ("labels.txt", "__ignore__\n_background_\nleaf: green\n", ("_background_", "leaf: green")),
        ("one.txt", "leaf", ("leaf",)),
        ("labelmap.txt", "sky:::\nroad:0,0,255::\n", ("sky", "road")),
        ("names.json", '["sky", "röad"]', ("sky", "röad")),
    ],
)
def test_tables_without_colours(tmp_path: Path, name: str, text: str, names: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_class_names(tmp_path / name) == (names, None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"name,red,green,blue\nsky,1,2,3\n", "expected name,r,g,b"),
        ("b.csv", b"name,r,g,b\nsky,1,2,300\n", r"'300'\]; expected \[r, g, b\]"),
        ("c.csv", b"name,r,g,b\nsky,1,2\n", "other than the header's 4 columns"),
        ("d.csv", b"name,r,g,b\nsky,1,2,3\nroad,1,2,3\n", "#010203 stand for two classes"),
        ("e.csv", b"", "expected name,r,g,b"),
        ("f.json", b'{"names": []}', "holds no list of classes"),
        ("g.json", b"[" * 100000, "cannot be read as a class table"),
        ("h.json", b'[{"name": "sky", "color": "red"}]', "expected \\[r, g, b\\] of 0 to 255"),
        ("i.txt", b"\x89PNG\r\n\x1a\n\0\0", "cannot be read as a class table"),
        ("j.txt", b"sky\nsky\n", "expected 2 to 255 different names"),
        ("k.txt", b"", "is no list of names"),
        ("l.yaml", b"names: [sky, road]\ncolours: [[1, 2, 3]]\n", "1 colours are set for 2 names"),
        ("m.yaml", b"names: [sky, road]\ncolours: {sky: [1, 2, 3]}\n", "expected the class names, each once"),
        ("n.yaml", b"names: [sky, road]\nignore_colours: [[1, 2, 3]]\n", "without colours"),
        ("o.txt", b"x\n" * 2**20, "2097152 bytes"),
        ("missing.txt", None, "cannot be read as a class table"),
        ("missing.yaml", None, "cannot be read as a class table"),
    ],
)
def test_broken_tables_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: .*{message}"):
        read_class_table(tmp_path / name)


def test_a_folder_with_colours_in_its_table_is_read_by_them(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [1, 255]], np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / folder / "b.png")
    rgb = np.array([[(0, 0, 0), (9, 0, 0)], [(9, 0, 0), (1, 1, 1)]], np.uint8)
    Image.fromarray(rgb).save(tmp_path / "masks" / "b.png")
    (tmp_path / "classes.yaml").write_text("colours: {none: [0, 0, 0], leaf: [9, 0, 0]}\nignore_colours: [[1, 1, 1]]\n")
    train = open_folder(tmp_path).train
    target = train[0].target
    assert train.classes == ("none", "leaf") and target is not None and np.array_equal(target.numpy(), labels)
