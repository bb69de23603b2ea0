"""Annotation files of COCO's format: which region is seen, crowds, panoptic segments, folders, parts, and every fault."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from layouts import HEIGHT, WIDTH, fault_of, put, put_photo
from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.coco import open_coco
from maskwright.data.transforms import AugmentConfig
from maskwright.errors import ConfigError

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 90, "name": "bird"}]


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def runs(mask: np.ndarray) -> dict[str, Any]:
    edges = np.flatnonzero(np.diff(mask.T.ravel().astype(int), prepend=0, append=2))
    return {"size": list(mask.shape), "counts": np.diff(edges, prepend=0).tolist()}


def region(number: int, category: int, segmentation: object, *, image: int = 1, crowd: int = 0) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": crowd}


def put_file(path: Path, annotations: Any, **fields: Any) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "one.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": CATEGORIES,
        "annotations": annotations,
        **fields,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def put_instances(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of instances beside its one image."""
    put_photo(tmp_path / "images" / "one.jpg")
    return lambda *regions, **fields: put_file(tmp_path / "instances.json", **{"annotations": regions, **fields})


def drawn(path: Path, index: int = 0) -> np.ndarray:
    return open_coco(str(path)).train[index].target.numpy()


def test_categories_keep_the_files_order_behind_the_background(put_instances: Callable[..., Path]) -> None:
    splits = open_coco(str(put_instances(region(1, 3, box(0, 0, 2, 2)))))
    assert splits.classes == ("background", "dog", "cat", "bird") and splits.background
    assert (splits.train.names, splits.val, splits.test) == (("one",), None, None)
    expected = np.zeros((HEIGHT, WIDTH))
    expected[:2, :2] = 2
    np.testing.assert_array_equal(splits.train[0].target, expected)


def test_a_category_called_background_is_label_0(put_instances: Callable[..., Path]) -> None:
    categories = [{"id": 0, "name": "cell"}, {"id": 5, "name": "background"}]
    path = put_instances(region(1, 0, box(0, 0, 9, 6)), region(2, 5, box(0, 0, 2, 2)), categories=categories)
    assert open_coco(str(path)).classes == ("background", "cell")
    assert drawn(path)[0, 0] == 0 and drawn(path)[5, 8] == 1


def test_small_regions_lie_on_large_ones_and_later_on_equal_ones(put_instances: Callable[..., Path]) -> None:
    path = put_instances(
        region(1, 90, box(2, 2, 4, 4)),
        region(2, 7, box(0, 0, 9, 6)),
        region(3, 3, box(3, 2, 5, 4)),
    )
    expected = np.full((HEIGHT, WIDTH), 1)
    expected[2:4, 2:4] = 3
    expected[2:4, 3:5] = 2
    np.testing.assert_array_equal(drawn(path), expected)


def test_a_crowd_is_ignored_where_no_single_object_lies(put_instances: Callable[..., Path]) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:2] = True
    path = put_instances(region(1, 7, box(0, 0, 9, 6)), region(2, 3, runs(mask), crowd=1))
    assert (drawn(path) == 1).all()
    path = put_instances(region(1, 7, box(0, 0, 4, 6)), region(2, 3, runs(mask), crowd=1))
    expected = np.zeros((HEIGHT, WIDTH))
    expected[:2] = 255
    expected[:, :4] = 1
    np.testing.assert_array_equal(drawn(path), expected)


def test_each_pixel_has_the_number_of_the_object_that_is_seen(put_instances: Callable[..., Path]) -> None:
    categories = [*CATEGORIES, {"id": 5, "name": "background"}]
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[:, 6:] = True
    path = put_instances(
        region(70, 7, runs(crowd), crowd=1),
        region(10**12, 7, box(2, 2, 4, 4)),
        region(3, 7, box(0, 0, 7, 6)),
        region(8, 5, box(0, 0, 1, 1)),
        categories=categories,
    )
    sample = open_coco(str(path)).train[0]
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[:, :7] = 3
    expected[2:4, 2:4] = 2
    expected[0, 0] = 0
    np.testing.assert_array_equal(sample.instances, expected)
    np.testing.assert_array_equal(sample.target == 255, np.pad(np.ones((HEIGHT, 2), bool), ((0, 0), (WIDTH - 2, 0))))
    assert sample.instances.dtype is torch.int32


def test_an_image_without_annotations_is_background(put_instances: Callable[..., Path]) -> None:
    path = put_instances()
    assert (drawn(path) == 0).all() and (open_coco(str(path)).train[0].instances == 0).all()


@pytest.mark.parametrize("folder", ["images", "train2017", "images/train2017", "."])
@pytest.mark.parametrize("above", ["", "annotations"])
def test_images_are_found_in_the_usual_folders(tmp_path: Path, folder: str, above: str) -> None:
    put_photo(tmp_path / folder / "one.jpg")
    path = put_file(tmp_path / above / "instances_train2017.json", [])
    assert open_coco(str(path)).train[0].name == "one"


def test_parts_and_folders_are_named_behind_commas(tmp_path: Path) -> None:
    for part in ("a", "b, really", "c"):
        put_photo(tmp_path / part / "one.jpg")
        put_file(tmp_path / f"{part}.json", [region(1, 7, box(0, 0, 9, 6))])
    name = (
        f"{tmp_path}/a.json,images={tmp_path}/a,val={tmp_path}/b, really.json,val_images={tmp_path}/b, really,"
        f"test={tmp_path}/c.json,test_images={tmp_path}/c"
    )
    splits = open_data(DataConfig(name=f"coco:{name}"))
    assert [part.source.stem for part in (splits.train, splits.val, splits.test)] == ["a", "b, really", "c"]
    assert splits.val[0].target.min() == 1


def test_parts_with_other_categories_are_refused(tmp_path: Path) -> None:
    put_photo(tmp_path / "one.jpg")
    train, val = put_file(tmp_path / "a.json", []), put_file(tmp_path / "b.json", [], categories=CATEGORIES[:2])
    message = fault_of(lambda: open_coco(f"{train},val={val}"))
    assert "b.json has the classes background, dog, cat" in message and "bird" in message


@pytest.mark.parametrize("options", [",image=x", ",val_images=x", ",images=x,images=y"])
def test_unknown_options_list_the_known_ones(put_instances: Callable[..., Path], options: str) -> None:
    with pytest.raises(ConfigError, match="val_images=PATH") as caught:
        open_coco(f"{put_instances()}{options}")
    assert options.partition("=")[0].strip(",").partition("=")[0] in str(caught.value)


def test_equal_stems_are_told_apart_by_their_folders(put_instances: Callable[..., Path], tmp_path: Path) -> None:
    files = ("a/one.jpg", "b/one.jpg")
    for file in files:
        put_photo(tmp_path / "images" / file)
    listed = [{"id": i, "file_name": file, "height": HEIGHT, "width": WIDTH} for i, file in enumerate(files)]
    assert open_coco(str(put_instances(images=listed))).train.names == ("a_one", "b_one")
    listed[1]["file_name"] = files[0]
    assert "listed more than once: a_one" in fault_of(lambda: open_coco(str(put_instances(images=listed))))


def test_missing_images_and_strange_ids_are_named_at_once(put_instances: Callable[..., Path]) -> None:
    listed = [
        {"id": i, "file_name": "one.jpg" if i == 0 else f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in range(13)
    ]
    path = put_instances(region(1, 7, box(0, 0, 1, 1), image=99), images=listed)
    message = fault_of(lambda: open_coco(str(path)))
    assert "12 images that it lists are missing" in message and "10.jpg and 2 more" in message
    assert "1 image ids of annotations are not listed: 99" in message


def test_images_that_are_nowhere_say_how_to_name_their_folder(tmp_path: Path) -> None:
    message = fault_of(lambda: open_coco(str(put_file(tmp_path / "a.json", []))))
    assert "one.jpg" in message and f"coco:{tmp_path / 'a.json'},images=DIR" in message


def test_a_wrong_segmentation_is_named_by_file_image_and_annotation(put_instances: Callable[..., Path]) -> None:
    path = put_instances(region(41, 7, [[1, 1, 4, 4]]))
    message = fault_of(lambda: drawn(path))
    assert "instances.json, image one: annotation 41: polygon is [1, 1, 4, 4]" in message


def test_an_image_of_another_size_is_named_with_both(put_instances: Callable[..., Path], tmp_path: Path) -> None:
    put_photo(tmp_path / "images" / "one.jpg", height=HEIGHT + 1)
    message = fault_of(lambda: drawn(put_instances()))
    assert "9 x 7 pixels" in message and "instances.json 9 x 6" in message


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"annotations": [region(4, 8, [[0, 0, 1, 0, 1, 1]])]}, "annotation 4 is of category 8"),
        ({"annotations": [region(4, 7, []), region(5, 7, [])]}, "2 annotations have no segmentation: 4, 5"),
        ({"annotations": [{"id": 4, "segmentation": [[0]]}]}, "lacks 'category_id'"),
        ({"annotations": {"a": 1}}, "is not of COCO's format"),
        ({"annotations": None}, "is not of COCO's format"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "two categories share an id"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "2 to 255 different names"),
        ({"categories": [{"id": i, "name": str(i)} for i in range(255)]}, "2 to 255 different names"),
        ({"categories": []}, "2 to 255 different names"),
        ({"images": []}, "lists no images"),
        ({"images": [{"id": 1, "file_name": "one.jpg"}]}, "lacks 'height'"),
        ({"images": 2 * [{"id": 1, "file_name": "one.jpg", "height": 6, "width": 9}]}, "have the id of another"),
        ({"images": [{"id": 1, "file_name": "one.jpg", "height": 0, "width": 9}]}, "no possible height and width"),
        ({"images": [{"id": 1, "file_name": "one.jpg", "height": 10**6, "width": 10**6}]}, "no possible height"),
    ],
)
def test_faults_of_the_file_are_named(put_instances: Callable[..., Path], fields: dict[str, Any], told: str) -> None:
    message = fault_of(lambda: open_coco(str(put_instances(**fields))))
    assert "instances.json" in message and told in message


@pytest.mark.parametrize(("text", "told"), [("{", "is no JSON"), ("[]", "holds a list"), ("{}", "lacks 'categories'")])
def test_other_files_are_no_annotations(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert told in fault_of(lambda: open_coco(str(tmp_path / "a.json")))
    message = fault_of(lambda: open_coco(str(tmp_path / "nowhere.json")))
    assert "nowhere.json" in message and "cocodataset.org" in message and "241 MB" in message


SEGMENTS = [
    {"id": 300, "category_id": 3, "iscrowd": 0},
    {"id": 5, "category_id": 7},
    {"id": 9, "category_id": 7, "iscrowd": 1},
]


def put_panoptic(root: Path, ids: np.ndarray, **fields: Any) -> Path:
    put_photo(root / "val2017" / "one.jpg")
    pixels = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=-1).astype(np.uint8)
    put(root / "annotations" / "panoptic_val2017" / "one.png", pixels)
    annotation = {"image_id": 1, "file_name": "one.png", "segments_info": SEGMENTS}
    return put_file(root / "annotations" / "panoptic_val2017.json", **{"annotations": [annotation], **fields})


def test_panoptic_segments_become_labels_without_a_background(tmp_path: Path) -> None:
    path = put_panoptic(tmp_path, np.resize(np.array([0, 5, 300, 9]), (HEIGHT, WIDTH)))
    splits = open_coco(str(path))
    assert splits.classes == ("dog", "cat", "bird") and not splits.background
    np.testing.assert_array_equal(splits.train[0].target, np.resize([255, 0, 1, 255], (HEIGHT, WIDTH)))
    assert splits.train[0].instances is None


def test_panoptic_faults_are_named(tmp_path: Path) -> None:
    path = put_panoptic(tmp_path, np.full((HEIGHT, WIDTH), 6))
    message = fault_of(lambda: drawn(path))
    assert "one.png holds segments that the file does not list: 6 (54 pixels)" in message
    for listed in ([{**SEGMENTS[0], "id": 0}], [*SEGMENTS, SEGMENTS[0]], [{**SEGMENTS[0], "id": [5]}]):
        annotation = {"image_id": 1, "file_name": "one.png", "segments_info": listed}
        path = put_panoptic(tmp_path, np.full((HEIGHT, WIDTH), 5), annotations=[annotation])
        message = fault_of(lambda path=path: drawn(path))
        assert "different whole numbers from 1 on" in message
    (tmp_path / "annotations" / "panoptic_val2017" / "one.png").unlink()
    assert "panoptic PNGs that it lists are missing" in fault_of(lambda: open_coco(str(path)))
    more = [{"id": i, "file_name": "one.jpg", "height": HEIGHT, "width": WIDTH} for i in (1,)]
    blank = [*more, {"id": 2, "file_name": "two.jpg", "height": HEIGHT, "width": WIDTH}]
    put_photo(tmp_path / "val2017" / "two.jpg")
    path = put_panoptic(tmp_path, np.full((HEIGHT, WIDTH), 5), images=blank)
    assert "1 images have no panoptic annotation: two" in fault_of(lambda: open_coco(str(path)))


def test_the_folder_of_panoptic_pngs_can_be_named(tmp_path: Path) -> None:
    path = put_panoptic(tmp_path, np.full((HEIGHT, WIDTH), 5))
    (tmp_path / "annotations" / "panoptic_val2017").rename(tmp_path / "pngs")
    assert (open_coco(f"{path},masks={tmp_path / 'pngs'}").train[0].target == 0).all()


def test_without_a_background_nothing_can_be_pasted_and_three_classes_are_needed(tmp_path: Path) -> None:
    path = put_panoptic(tmp_path, np.full((HEIGHT, WIDTH), 5))
    config = DataConfig(name=f"coco:{path}", val_fraction=0)
    assert len(open_data(config).train) == 1
    with pytest.raises(ConfigError, match=r"data\.augment\.paste is 0\.5, but coco has no background"):
        open_data(DataConfig(name=f"coco:{path}", val_fraction=0, augment=AugmentConfig(paste=0.5)))
    path = put_panoptic(tmp_path, np.full((HEIGHT, WIDTH), 5), categories=CATEGORIES[:2])
    assert "at least 3 are needed" in fault_of(lambda: open_data(config))


def test_objects_can_be_pasted_where_there_is_a_background(put_instances: Callable[..., Path]) -> None:
    config = DataConfig(name=f"coco:{put_instances()}", val_fraction=0, augment=AugmentConfig(paste=0.5))
    assert open_data(config).background
