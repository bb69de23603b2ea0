"""Objects in COCO's JSON files: polygons, run lengths and boxes mean the same; what is written is read back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskwright.data.coco_objects import entries_of, objects, read_results, read_truth, write_results
from maskwright.errors import DataError
from maskwright.instances import masks_of, of_masks

SQUARE = [[2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0]]


def truth(**changes: Any) -> dict[str, Any]:
    """Two images, categories 18 and 44, one polygon, one crowd in run lengths."""
    return {
        "images": [
            {"id": 7, "width": 10, "height": 8, "file_name": "val/dog.jpg"},
            {"id": 9, "width": 4, "height": 3, "file_name": "none.jpg"},
        ],
        "categories": [{"id": 44, "name": "bottle"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "segmentation": SQUARE, "area": 15.5, "bbox": [2, 1, 4, 4]},
            {
                "id": 2,
                "image_id": 7,
                "category_id": 44,
                "iscrowd": 1,
                "segmentation": {"size": [8, 10], "counts": [0, 24, 56]},
                "area": 24,
                "bbox": [0, 0, 3, 8],
            },
        ],
        **changes,
    }


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_truth_has_labels_in_the_order_of_the_file_as_the_data_set(tmp_path: Path) -> None:
    found = read_truth(written(tmp_path / "truth.json", truth()))
    assert found.classes == ("background", "bottle", "dog") and found.labels == {44: 1, 18: 2}
    dog = found.images[7]
    assert (dog.name, dog.size, dog.classes.tolist(), dog.crowd.tolist()) == ("dog", (8, 10), [2, 1], [False, True])
    assert dog.areas.tolist() == [15.5, 24] and dog.boxes.tolist() == [[2, 1, 4, 4], [0, 0, 3, 8]]
    polygon, crowd = masks_of(dog)
    assert np.array_equal(np.argwhere(polygon).min(0), [1, 2]) and polygon.sum() == 16
    assert crowd[:, :3].all() and crowd.sum() == 24
    assert found.images[9].masks == () and found.images[9].size == (3, 4)


def test_regions_of_a_background_are_no_objects(tmp_path: Path) -> None:
    categories = [{"id": 44, "name": "bottle"}, {"id": 18, "name": "background"}]
    found = read_truth(written(tmp_path / "truth.json", truth(categories=categories)))
    assert found.classes == ("background", "bottle") and found.images[7].classes.tolist() == [1]


def test_every_form_of_a_segmentation_is_the_same_mask(tmp_path: Path) -> None:
    polygon = coco_mask.merge(coco_mask.frPyObjects(SQUARE, 8, 10))
    forms = [SQUARE, {"size": [8, 10], "counts": polygon["counts"].decode()}, None]
    entries = [{"category_id": 1, "score": 0.5, "segmentation": form, "bbox": [2, 1, 4, 4]} for form in forms]
    found = objects("a", (8, 10), entries, labels=None, path=tmp_path)
    masks = masks_of(found)
    assert (masks == masks[0]).all() and masks[0].sum() == 16
    only_box = objects(
        "a", (8, 10), [{"category_id": 1, "score": 0.5, "bbox": [2, 1, 4, 4]}], labels=None, path=tmp_path
    )
    assert np.array_equal(masks_of(only_box)[0], masks[0])


@pytest.mark.parametrize("seed", range(4))
def test_compressed_run_lengths_of_any_mask_are_read(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    mask = (generator.random((70, 90)) < (0.02, 0.5, 0.98, 0.0)[seed]).repeat(3, 1)
    found = of_masks("b", mask[None], classes=np.array([1]), scores=np.array([1]))
    back = objects("b", mask.shape, entries_of(found, file_name="b.png"), labels=None, path=tmp_path)
    # An object without a pixel is none.
    assert len(found.masks) == int(mask.any())
    assert np.array_equal(masks_of(back), mask[None][: len(found.masks)])


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    found = of_masks(
        "b", generator.random((3, 6, 5)) < 0.5, classes=np.array([1, 2, 1]), scores=np.array([0.1, 0.2, 1])
    )
    entries = entries_of(found, file_name="b.png")
    write_results(tmp_path / "r.json", {"b.png": entries, "a.png": []})
    stored = json.loads((tmp_path / "r.json").read_text())
    assert {one["image_id"] for one in stored} == {2} and "bbox" not in stored[0]
    back = objects("b", (6, 5), read_results(tmp_path / "r.json")["b"], labels=None, path=tmp_path)
    assert np.array_equal(masks_of(back), masks_of(found))
    assert back.classes.tolist() == [1, 2, 1] and np.allclose(back.scores, found.scores)


def test_file_names_that_are_numbers_are_the_images_numbers(tmp_path: Path) -> None:
    found = of_masks("a", np.ones((1, 2, 2), bool), classes=np.array([1]), scores=np.array([1.0]))
    write_results(tmp_path / "r.json", {"000139.jpg": entries_of(found, file_name="000139.jpg")})
    assert json.loads((tmp_path / "r.json").read_text())[0]["image_id"] == 139
    # Two stems of one number: counted instead.
    both = {name: entries_of(found, file_name=name) for name in ("1.png", "01.png")}
    write_results(tmp_path / "r.json", both)
    assert sorted(one["image_id"] for one in json.loads((tmp_path / "r.json").read_text())) == [1, 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "holds a list"),
        ({"images": []}, "lacks 'categories'"),
        (truth(images=[]), "lists no images"),
        (truth(images=3), "is not of COCO's format"),
        (truth(images=[{"id": 9, "width": 4, "height": 3}]), "2 annotations are of images that are not listed: 7, 7"),
        (truth(images=[{"id": 7, "width": 10**6, "height": 10**6}]), "no possible height"),
        (truth(categories=[]), "2 to 255 different names"),
        (truth(categories=[{"id": 44, "name": "bottle"}]), "category 18, which"),
        (truth(images=[{"id": i, "width": 10, "height": 8, "file_name": f"{i}/a.jpg"} for i in (7, 9)]), "same stem"),
        (truth(images=[{"id": 7, "width": 9, "height": 8}]), r"size \[8, 10\]; expected"),
    ],
)
def test_a_truth_that_is_none_is_named(content: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_truth(written(tmp_path / "truth.json", content))
    assert str(tmp_path / "truth.json") in str(caught.value)


@pytest.mark.parametrize("content", [{}, [{"category_id": 1}], ["x"], 3])
def test_results_that_are_none_are_named(content: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no results of COCO"):
        read_results(written(tmp_path / "r.json", content))
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        read_results(tmp_path / "r.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "none.json")


@pytest.mark.parametrize(
    "entry",
    [
        {"category_id": 1, "segmentation": SQUARE},
        {"category_id": 1, "score": 0.5},
        {"category_id": 1, "score": float("nan"), "bbox": [0, 0, 1, 1]},
        {"category_id": 1, "score": 0.5, "segmentation": [["a"]]},
        {"category_id": 1, "score": 0.5, "segmentation": {"size": [3, 3], "counts": "06O"}},
        {"score": 0.5, "bbox": [0, 0, 1, 1]},
        {"category_id": 1, "score": 0.5, "segmentation": [[1, 1, 3, 3]]},
        {"category_id": 1, "score": 0.5, "segmentation": [[1, 1, 3, 3, 1e9, 4]]},
        {"category_id": 1, "score": 0.5, "bbox": [0, 0, float("nan"), 1]},
        *(
            {"category_id": 1, "score": 0.5, "segmentation": {"size": [8, 10], "counts": counts}}
            for counts in (
                "06",
                "",
                "PPPP10",
                "000000PPPPPPPPPPPPP1",
                "0\u00fc",
                "P",
                [0, 24, 5],
                [-5, 30, 55],
                7,
                None,
            )
        ),
    ],
    ids=str,
)
def test_an_object_that_cannot_be_read_is_named(entry: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an object of a cannot be read"):
        objects("a", (8, 10), [entry], labels=None, path=tmp_path)
