"""Files that are broken or made to do harm: a named error or a note, never a traceback, nothing outside the folder."""

import copy
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.data.formats import FORMATS, Annotated, AnnotationSet, recognise_format
from maskwright.errors import DataError, MaskwrightError

VALUES = (
    None,
    True,
    -1,
    0,
    3.5,
    10**30,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../..",
    "\0",
    "\ud800",
    [],
    {},
    [[]],
)
JSON_FILES = {
    "coco": "annotations/instances_default.json",
    "labelme": "a.json",
    "label_studio": "tasks.json",
    "geojson": "a.geojson",
}


def example(folder: Path, name: str) -> Path:
    """Write an image with a region, one with a hole and ignored pixels."""
    labels = np.zeros((9, 11), np.uint8)
    labels[1:8, 1:6], labels[3:5, 3:5], labels[2:4, 8:10] = 1, 0, 255
    labels[6:8, 7:11] = 2
    image = folder / "a.png"
    folder.mkdir()
    Image.new("RGB", (11, 9)).save(image)
    item = Annotated(name="a", image=image, height=9, width=11, part="", labels=labels.copy)
    classes = ("background", "cat", "dog")
    annotations = AnnotationSet(format="", classes=classes, colours=None, items=(item,), notes=[])
    assert FORMATS[name].write(annotations, folder / "out") == []
    return folder / "out"


def draw_all(path: Path, name: str) -> AnnotationSet | None:
    """Read and draw everything; only named errors may come out."""
    try:
        recognise_format(path)
        found = FORMATS[name].read(path, None, None)
    except MaskwrightError as error:
        assert str(error)
        return None
    for item in found.items:
        try:
            assert item.labels().shape == (item.height, item.width)
            if item.embedded:
                item.embedded()
        except MaskwrightError as error:
            assert str(error)
    return found


def places(content: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of every value in JSON."""
    yield before
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(min(len(content), 3)):
            yield from places(content[key], (*before, key))


def replaced(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    if not place:
        return value
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


@pytest.mark.parametrize("name", JSON_FILES)
def test_any_value_of_a_json_file_may_be_anything(tmp_path: Path, name: str) -> None:
    path = example(tmp_path / "in", name)
    file = path / JSON_FILES[name]
    content = json.loads(file.read_bytes())
    generator = np.random.default_rng(0)
    for place in places(content):
        for value in generator.choice(len(VALUES), 5, replace=False):
            file.write_text(json.dumps(replaced(content, place, VALUES[value])))
            draw_all(path, name)


@pytest.mark.parametrize("name", ["cvat", "yolo", "voc", *JSON_FILES])
def test_any_bytes_may_be_missing_or_wrong(tmp_path: Path, name: str) -> None:
    path = example(tmp_path / "in", name)
    generator = np.random.default_rng(0)
    texts = (".json", ".xml", ".txt", ".yaml", ".geojson")
    files = [file for file in path.rglob("*") if file.is_file() and file.suffix in texts]
    for file in files:
        content = file.read_bytes()
        for _ in range(30):
            cut = int(generator.integers(len(content) + 1))
            noise = bytes(generator.integers(0, 256, 3, np.uint8)) if generator.random() < 0.7 else b""
            rest = content[cut + 3 :] if generator.random() < 0.8 else b""
            file.write_bytes(content[:cut] + noise + rest)
            draw_all(path, name)
        file.write_bytes(content)


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e400", "", "x", "99999999999", "1.5"])
def test_any_attribute_of_cvat_may_be_anything(tmp_path: Path, value: str) -> None:
    path = example(tmp_path / "in", "cvat")
    text = (path / "annotations.xml").read_text()
    for match in re.finditer(r'(\w+)="[^"]*"', text):
        (path / "annotations.xml").write_text(f'{text[: match.start()]}{match[1]}="{value}"{text[match.end() :]}')
        draw_all(path, "cvat")


@pytest.mark.parametrize("evil", ["../../secret.png", "/secret.png", "..\\..\\secret.png", "a/../../../secret.png"])
@pytest.mark.parametrize("name", ["coco", "cvat", "labelme", "label_studio"])
def test_names_lead_nowhere(tmp_path: Path, name: str, evil: str) -> None:
    path = example(tmp_path / "in", name)
    # labelme's files may lie in a folder beside that of the pictures, so the folder above theirs is looked at.
    for above in (tmp_path,) if name == "labelme" else (tmp_path, tmp_path / "in"):
        Image.new("RGB", (11, 9), "red").save(above / "secret.png")
    secret = (tmp_path / "secret.png").read_bytes()
    files = [file for file in path.rglob("*") if file.suffix in (".json", ".xml")]
    for file in files:
        quoted = json.dumps(evil)[1:-1] if file.suffix == ".json" else evil
        text = file.read_text().replace('"a.png"', f'"{quoted}"').replace("images/default/a.png", quoted)
        file.write_text(text.replace("images/a.png", quoted))
    found = draw_all(path, name)
    assert found is not None and len(found.items) == 1 and found.items[0].image is None
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    for target in FORMATS:
        out = tmp_path / f"to_{target}"
        failures = FORMATS[target].write(found, out)
        assert len(failures) == (target in ("folder", "yolo")) and all(
            "picture was not found" in one for one in failures
        )
        assert not [file for file in out.rglob("*") if file.is_file() and file.read_bytes() == secret]
    written = {file for file in tmp_path.rglob("*") if file.is_file()} - before
    assert all(file.relative_to(tmp_path).parts[0].startswith("to_") for file in written)


def test_names_that_are_equal_or_strange_are_kept_apart(tmp_path: Path) -> None:
    names = ["a/x.png", "b/x.png", "b/X.PNG", "Ünïcode ☃.png", "con\nrol.png", "." * 5, ""]
    names += ["n" * 500, "\ud800.png", "b_x.png"]
    content = {
        "images": [{"id": n, "file_name": name, "height": 4, "width": 5} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2]]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = FORMATS["coco"].read(tmp_path / "a.json", None, None)
    kept = [item.name for item in found.items]
    assert len({name.casefold() for name in kept}) == len(names)
    Image.new("RGB", (5, 4)).save(tmp_path / "any.png")
    with_pictures = replace(found, items=tuple(replace(item, image=tmp_path / "any.png") for item in found.items))
    for target in FORMATS:
        assert FORMATS[target].write(with_pictures, tmp_path / target) == []
        again = FORMATS[target].read(tmp_path / target, None, None) if target not in ("yolo", "folder") else found
        assert len(again.items) == len(names)


def test_what_is_no_data_is_recognised_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200000)
    (tmp_path / "list.json").write_text("[" + "0," * 200000 + "0]")
    (tmp_path / "empty.json").write_text("")
    (tmp_path / "data.yaml").write_text("a: &a [x]\nb: [*a, *a]\n")
    (tmp_path / "x.xml").write_bytes(b"<" + os.urandom(3000))
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert recognise_format(tmp_path) is None
    for path in tmp_path.iterdir():
        assert recognise_format(path) is None
    assert recognise_format(Path("no\0where")) is None


def test_a_long_list_of_anything_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[" + "0," * 200000 + "0]")
    with pytest.raises(DataError, match="none of its first 1000 entries is a task"):
        FORMATS["label_studio"].read(tmp_path / "list.json", None, None)
    for name in ("coco", "labelme", "geojson"):
        with pytest.raises(DataError, match="expected"):
            FORMATS[name].read(tmp_path / "list.json", None, None)


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x"}">' for n in range(30))
    text = f"<!DOCTYPE annotations [{entities}]><annotations><image name='&e29;' width='1' height='1'/></annotations>"
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(DataError, match="document type"):
        FORMATS["cvat"].read(tmp_path, None, None)


def test_ten_thousand_files_are_recognised_at_once(tmp_path: Path) -> None:
    for number in range(10000):
        (tmp_path / f"{number}.jpg").touch()
    (tmp_path / "zz.xml").write_text("<annotations><meta></meta></annotations>")
    start = time.perf_counter()
    assert recognise_format(tmp_path) == "cvat"
    assert time.perf_counter() - start < 5
