"""`maskwright convert`: what is read, written, resumed, refused and reported."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.cli.converting import FormatName
from maskwright.data.folder import open_folder
from maskwright.data.formats import FORMATS
from maskwright.engine.convert import NOTES, convert
from maskwright.errors import BatchError, ConfigError, DataError


def labelme(folder: Path, count: int = 3) -> Path:
    """Write pictures with a square of a cat and one of a dog."""
    folder.mkdir()
    for number in range(count):
        shapes = [
            {"label": "dog", "points": [[1, 1], [4, 1], [4, 3], [1, 3]]},
            {"label": "cat", "points": [[5, 4], [7, 6]], "shape_type": "rectangle"},
        ]
        content = {"shapes": shapes, "imagePath": f"{number}.png", "imageHeight": 8, "imageWidth": 12}
        (folder / f"{number}.json").write_text(json.dumps(content))
        Image.new("RGB", (12, 8), (number, 0, 0)).save(folder / f"{number}.png")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_names_of_the_command_are_those_of_the_table() -> None:
    assert set(FormatName.__args__) == set(FORMATS)  # type: ignore[attr-defined]


def test_the_command_writes_what_training_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = labelme(tmp_path / "in")
    before = tree(source)
    (tmp_path / "classes.csv").write_text("name,r,g,b\ndog,255,0,0\ncat,0,255,0\n")
    arguments = ["convert", str(source), "--out", str(tmp_path / "out"), "--to", "folder"]
    assert main([*arguments, "--from", "labelme", "--classes", str(tmp_path / "classes.csv")]) == 0
    assert "3 images of labelme" in capsys.readouterr().out
    train = open_folder(tmp_path / "out").train
    assert train.classes == ("background", "dog", "cat") and train.names == ("0", "1", "2")
    target = train[0].target
    expected = np.zeros((8, 12), np.uint8)
    expected[1:3, 1:4], expected[4:6, 5:7] = 1, 2
    assert target is not None and np.array_equal(target.numpy(), expected)
    assert tree(source) == before
    assert Image.open(tmp_path / "out" / "masks" / "0.png").getpalette()[:9] == [0, 0, 0, 255, 0, 0, 0, 255, 0]  # type: ignore[index]


def test_a_chain_through_every_format_keeps_the_label_maps(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in", 1)
    for name in FORMATS:
        convert(source, tmp_path / name, to=name)
        source = tmp_path / name
    (item,) = FORMATS["folder"].read(source, None, None).items
    expected = FORMATS["labelme"].read(tmp_path / "in", None, None).items[0].labels()
    assert np.array_equal(item.labels(), expected) and set(np.unique(expected)) == {0, 1, 2}


@pytest.mark.parametrize("to", FORMATS)
def test_one_bad_file_stops_nothing_and_is_done_when_it_is_mended(tmp_path: Path, to: str) -> None:
    source = labelme(tmp_path / "in")
    good = (source / "1.json").read_bytes()
    (source / "1.json").write_bytes(good[:-20])
    Image.new("RGB", (12, 9)).save(source / "2.png")
    with pytest.raises(BatchError, match=r"1 of 3 images done, 2 failed:(.|\n)*1.json(.|\n)*2.png is 12 x 9 pixels"):
        convert(source, tmp_path / "out", to=to)
    assert len(FORMATS[to].read(tmp_path / "out", None, None).items) == 1
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("0.*")}
    (source / "1.json").write_bytes(good)
    Image.new("RGB", (12, 8)).save(source / "2.png")
    assert convert(source, tmp_path / "out", to=to).images == 3
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert len(FORMATS[to].read(tmp_path / "out", None, None).items) == 3
    assert not list((tmp_path / "out").rglob("*.part"))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in")
    for out in (source, source / "deeper"):
        with pytest.raises(ConfigError, match="lies within the source"):
            convert(source, out, to="voc")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="of unknown origin"):
        convert(source, tmp_path / "mine", to="voc")
    assert tree(tmp_path / "mine") == {"thesis.txt": b"x"}
    convert(source, tmp_path / "out", to="voc")
    with pytest.raises(ConfigError, match="made with another to"):
        convert(source, tmp_path / "out", to="coco")
    with pytest.raises(ConfigError, match="is a file"):
        convert(source, tmp_path / "mine" / "thesis.txt", to="voc")


def test_notes_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = labelme(tmp_path / "in")
    (source / "0.png").unlink()
    assert main(["convert", str(source), "--out", str(tmp_path / "out"), "--to", "voc"]) == 0
    assert "its image 0.png is missing" in capsys.readouterr().out
    assert "its image 0.png is missing" in (tmp_path / "out" / NOTES).read_text()


def test_images_from_elsewhere(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in", 1)
    (tmp_path / "pictures").mkdir()
    (source / "0.png").rename(tmp_path / "pictures" / "0.png")
    done = convert(source, tmp_path / "out", to="folder", images=tmp_path / "pictures")
    assert done.notes == () and (tmp_path / "out" / "images" / "0.png").is_file()


@pytest.mark.parametrize("to", ["folder", "yolo"])
def test_an_image_without_its_picture_is_named_where_it_would_be_useless(tmp_path: Path, to: str) -> None:
    source = labelme(tmp_path / "in")
    (source / "0.png").unlink()
    with pytest.raises(BatchError, match=r"2 of 3 images done, 1 failed:\s+0: its picture was not found"):
        convert(source, tmp_path / "out", to=to)
    assert len(FORMATS[to].read(tmp_path / "out", None, None).items) == 2
    assert not list((tmp_path / "out").rglob("0.*"))


def test_a_folder_of_images_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: is no folder"):
        convert(labelme(tmp_path / "in", 1), tmp_path / "out", to="voc", images=tmp_path / "nowhere")


@pytest.mark.parametrize("inside", ["", "{part}", "{part}/images"])
def test_labels_of_yolo_with_images_from_elsewhere(tmp_path: Path, inside: str) -> None:
    for number, part in enumerate(("train", "val")):
        name = "a" if inside else f"a{number}"
        pictures = tmp_path / "pictures" / inside.format(part=part)
        pictures.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 2)).save(pictures / f"{name}.png")
        (tmp_path / "in" / "labels" / part).mkdir(parents=True)
        (tmp_path / "in" / "labels" / part / f"{name}.txt").write_text(f"{number} 0 0 0.5 0 0.5 1 0 1\n")
    (tmp_path / "in" / "labels" / "train" / "lost.txt").write_text("")
    done = convert(tmp_path / "in", tmp_path / "out", to="folder", from_format="yolo", images=tmp_path / "pictures")
    assert "lost.txt: its image is missing" in done.notes[0]
    found = FORMATS["folder"].read(tmp_path / "out", None, None)
    assert {item.part: item.labels().max() for item in found.items} == {"train": 1, "val": 2}


def test_what_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="looks like no format that is known"):
        convert(tmp_path / "empty", tmp_path / "out", to="voc")
    (tmp_path / "export.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="unpack it"):
        convert(tmp_path / "export.zip", tmp_path / "out", to="voc")
    for name in FORMATS:
        with pytest.raises(DataError):
            convert(tmp_path / "empty", tmp_path / "out", to="voc", from_format=name)
    assert main(["convert", str(tmp_path), "--out", str(tmp_path / "out"), "--to", "excel"]) == 2
    assert "excel" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("from_format", [None, "coco"])
def test_a_source_that_is_not_there_is_said_to_be_missing(tmp_path: Path, from_format: str | None) -> None:
    with pytest.raises(DataError, match="nothing.json: is not there"):
        convert(tmp_path / "nothing.json", tmp_path / "out", to="folder", from_format=from_format)
    assert not (tmp_path / "out").exists()
