"""Panoptic files of COCO: what is read of the truth and of predictions, and every fault by its file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layouts import fault_of, put_segments
from maskwright.data.coco_panoptic import lists_segments, read_panoptic_predictions, read_panoptic_truth

CATEGORIES = [
    {"id": 7, "name": "sky", "isthing": 0},
    {"id": 3, "name": "car", "isthing": 1},
    {"id": 90, "name": "cat", "isthing": 1},
]
IDS = np.array([[0, 300, 300, 70000], [0, 300, 9, 9]])


def segment(number: int, category: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "category_id": category, **fields}


SEGMENTS = [segment(70000, 3), segment(300, 7, iscrowd=0), segment(9, 3, iscrowd=1)]


def put_panoptic(path: Path, content: dict[int, tuple[np.ndarray, list[dict[str, Any]]]], **fields: Any) -> Path:
    return put_segments(path, content, **{"categories": CATEGORIES, **fields})


def test_a_truth_has_things_stuff_void_and_crowds(tmp_path: Path) -> None:
    path = put_panoptic(tmp_path / "val.json", {1: (IDS, SEGMENTS), 2: (IDS.T, SEGMENTS)})
    truth = read_panoptic_truth(path)
    assert truth.classes == ("no segment", "sky", "car", "cat")
    assert truth.labels == {7: 1, 3: 2, 90: 3} and (truth.things, truth.stuff) == ((2, 3), (1,))
    assert [file.name for file in truth.images.values()] == ["000001", "000002"]
    own = truth.images[1].read()
    assert own.ids.tolist() == [[0, 2, 2, 1], [0, 2, 3, 3]] and own.ids.dtype == np.int32
    assert own.classes.tolist() == [2, 1, 2] and own.crowd.tolist() == [False, False, True]
    assert truth.images[2].read().ids.T.tolist() == own.ids.tolist()
    assert lists_segments(path) and not lists_segments(tmp_path / "nothing.json")


def test_images_are_called_as_their_pictures_where_these_are_listed(tmp_path: Path) -> None:
    pictures = [{"id": 1, "file_name": "a/dog.jpg"}, {"id": 2, "file_name": "b/dog.jpg"}]
    images = {1: (IDS, SEGMENTS), 2: (IDS, SEGMENTS)}
    truth = read_panoptic_truth(put_panoptic(tmp_path / "val.json", images, images=pictures))
    assert [file.name for file in truth.images.values()] == ["a_dog", "b_dog"]


def test_predictions_need_no_categories_and_may_be_of_more_images(tmp_path: Path) -> None:
    truth = read_panoptic_truth(put_panoptic(tmp_path / "val.json", {2: (IDS, SEGMENTS)}))
    ids = np.full((2, 4), 5)
    path = put_panoptic(tmp_path / "own.json", {1: (ids, [segment(5, 7)]), 2: (ids, [segment(5, 90)])}, categories=[])
    found = read_panoptic_predictions(path, truth)
    assert found.keys() == {2} and found[2].name == "000002" and found[2].read().classes.tolist() == [3]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"categories": [{"id": 7, "name": "sky"}]}, "lacks 'isthing'"),
        ({"categories": CATEGORIES[:1]}, "categories that the truth does not name: 3, 3"),
        ({"categories": [*CATEGORIES, CATEGORIES[0]]}, "2 to 255 different names"),
        ({"annotations": []}, "lists no annotations"),
        ({"annotations": [{"image_id": 1}]}, "lacks 'file_name'"),
        ({"annotations": [{"image_id": 1, "file_name": "a.png"}]}, "lacks 'segments_info'"),
        ({"annotations": 2 * [{"image_id": 1, "file_name": "a.png", "segments_info": []}]}, "has one already"),
        ({"annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": []}]}, "1 of its 1 PNGs are missing"),
        ({"annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": 3}]}, "is not of COCO's format"),
        ({"annotations": [{"image_id": [], "file_name": "a.png", "segments_info": []}]}, "is not of COCO's format"),
        ({"annotations": {"segments_info": 1}}, "is not of COCO's format"),
    ],
)
def test_faults_of_the_truth_name_the_file(fields: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = put_panoptic(tmp_path / "val.json", {1: (IDS, SEGMENTS)}, **fields)
    message = fault_of(lambda: read_panoptic_truth(path))
    assert message.startswith(str(path)) and told in message


@pytest.mark.parametrize(
    ("segments", "told"),
    [
        (SEGMENTS[:2], "does not list: 9 (2 pixels)"),
        ([*SEGMENTS, segment(4, 7)], "no pixel of 1 segments that its JSON file lists: 4"),
        ([*SEGMENTS, SEGMENTS[0]], "different whole numbers"),
        ([*SEGMENTS, segment(0, 7)], "different whole numbers"),
        ([segment(-1, 7)], "different whole numbers"),
        ([segment(2**24, 7)], "different whole numbers"),
    ],
)
def test_a_png_that_does_not_fit_its_list_is_named(segments: list[Any], told: str, tmp_path: Path) -> None:
    truth = read_panoptic_truth(put_panoptic(tmp_path / "val.json", {1: (IDS, segments)}))
    message = fault_of(lambda: truth.images[1].read())
    assert "000001.png" in message and told in message


def test_faults_of_predictions_name_the_images(tmp_path: Path) -> None:
    images = dict.fromkeys((1, 2), (IDS, SEGMENTS))
    truth = read_panoptic_truth(put_panoptic(tmp_path / "val.json", images))
    path = put_panoptic(tmp_path / "own.json", {1: (IDS, SEGMENTS)})
    assert "no prediction of 1 of the 2 images" in fault_of(lambda: read_panoptic_predictions(path, truth))
    path = put_panoptic(tmp_path / "own.json", {**images, 2: (IDS, [segment(9, 8)])})
    message = fault_of(lambda: read_panoptic_predictions(path, truth))
    assert str(path) in message and "000002 has segments of categories that the truth does not name: 8" in message
    path.with_suffix("").rename(tmp_path / "pngs")
    put_panoptic(tmp_path / "own.json", {1: (IDS, SEGMENTS)}, annotations=[])
    assert "lists no annotations" in fault_of(lambda: read_panoptic_predictions(path, truth))
    path.write_text("[]")
    assert "holds a list" in fault_of(lambda: read_panoptic_predictions(path, truth))
