"""Files as the tools themselves write them: what each format's features mean in pixels."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwright.data.classes import ClassNames
from maskwright.data.formats import FORMATS, AnnotationSet, recognise_format
from maskwright.data.voc import colour_map
from maskwright.errors import DataError

SIZE = (8, 12)
"""Height and width of every picture."""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (90, 120, 30)).save(path)


def box(*boxes: tuple[int, int, int, int, int]) -> np.ndarray:
    """Return the label map of rectangles: label, left, top, right, bottom."""
    labels = np.zeros(SIZE, np.uint8)
    for label, left, top, right, bottom in boxes:
        labels[top:bottom, left:right] = label
    return labels


def read(path: Path, name: str, **options: Any) -> AnnotationSet:
    assert recognise_format(path) == name
    return FORMATS[name].read(path, options.get("images"), options.get("classes"))


def png(mask: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_voc_palette_without_a_label_map_has_its_21_classes(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    labels = box((15, 1, 1, 5, 6), (255, 5, 1, 6, 6))
    mask = Image.fromarray(labels)
    mask.putpalette(np.array(colour_map(256), np.uint8).tobytes())
    (root / "SegmentationClass").mkdir(parents=True)
    mask.save(root / "SegmentationClass" / "2007_000032.png")
    picture(root / "JPEGImages" / "2007_000032.jpg")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "trainval.txt").write_text("2007_000032\n")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000032\n2007_000033\n")
    found = read(tmp_path, "voc")
    (item,) = found.items
    assert len(found.classes) == 21 and found.classes[15] == "person" and item.part == "val"
    assert np.array_equal(item.labels(), labels)
    assert len(found.notes) == 1 and "2007_000033 is listed but has no mask" in found.notes[0]


def test_cvat_segmentation_masks_are_read_by_the_colours_of_the_label_map(tmp_path: Path) -> None:
    colours = {"road": (128, 64, 128), "background": (0, 0, 0), "sky": (70, 130, 180)}
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    rgb = np.zeros((*SIZE, 3), np.uint8)
    rgb[2:4, 3:7], rgb[5:, :2] = colours["sky"], colours["road"]
    (tmp_path / "SegmentationClass" / "deep").mkdir(parents=True)
    Image.fromarray(rgb).save(tmp_path / "SegmentationClass" / "deep" / "a b.png")
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "default.txt").write_text('"deep/a b"\n')
    found = read(tmp_path, "voc")
    assert found.classes == ("background", "road", "sky") and found.colours == tuple(colours[n] for n in found.classes)
    (item,) = found.items
    assert item.name == "a b" and item.image is None and "deep/a b.jpg is missing" in found.notes[0]
    assert np.array_equal(item.labels(), box((2, 3, 2, 7, 4), (1, 0, 5, 2, 8)))
    rgb[0, 0] = (1, 2, 3)
    Image.fromarray(rgb).save(tmp_path / "SegmentationClass" / "deep" / "a b.png")
    with pytest.raises(DataError, match=r"#010203 \(1 pixel\), which no class has"):
        item.labels()


def coco_file(annotations: list[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "sub/a.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
        "annotations": [{"id": 1 + n, "image_id": 7, **one} for n, one in enumerate(annotations)],
        **keys,
    }


def test_coco_polygons_run_lengths_crowds_and_what_is_odd(tmp_path: Path) -> None:
    counts = [8 * 9, 8, 16]  # column 9
    annotations = [
        {"category_id": 90, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3], [5, 1, 6, 1, 6, 2, 5, 2]]},
        {"category_id": 3, "segmentation": [[0, 0, 8, 0, 8, 4, 0, 4]]},
        {"category_id": 3, "iscrowd": 1, "segmentation": {"size": list(SIZE), "counts": counts}},
        {"category_id": 4, "segmentation": [[0, 0, 1, 0, 1, 1]]},
        {"category_id": 3, "bbox": [1, 1, 2, 2]},
        {"category_id": 3, "segmentation": [[1, 1, 2, 2]]},
        {"category_id": 3, "image_id": 8, "segmentation": [[0, 0, 1, 0, 1, 1]]},
        {"category_id": 3, "segmentation": {"size": [1, 1], "counts": "0"}},
        {"category_id": 3, "segmentation": {"size": list(SIZE), "counts": [10**30]}},
    ]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(coco_file(annotations)))
    (tmp_path / "annotations" / "captions_val2017.json").write_text(json.dumps(coco_file([])))
    picture(tmp_path / "val2017" / "a.jpg")
    found = read(tmp_path, "coco")
    (item,) = found.items
    assert found.classes == ("background", "cat", "dog") and item.part == "val"
    assert item.image == tmp_path / "val2017" / "a.jpg"
    assert len(found.notes) == 3
    # The small dog lies on the large cat, although the cat comes later in the file.
    expected = box((1, 0, 0, 8, 4), (2, 1, 1, 3, 3), (2, 5, 1, 6, 2), (255, 9, 0, 10, 8))
    assert np.array_equal(item.labels(), expected)
    noted = "\n".join(found.notes)
    for text in (
        "annotation 4 is of the unknown category 4",
        "annotation 5 has no segmentation",
        "annotation 6: polygon is [1, 1, 2, 2]",
        "annotation 7 is of the image 8",
        "annotation 8: run lengths are of size [1, 1]",
        "annotation 9: counts are",
        "overlap in 5 pixels",
    ):
        assert text in noted, text


def test_yolo_of_roboflow(tmp_path: Path) -> None:
    yaml = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\nroboflow:\n  version: 1\n"
    (tmp_path / "data.yaml").write_text(yaml)
    for part, text in {
        "train": "1 0.25 0.25 0.5 0.25 0.5 0.75 0.25 0.75\n0 0.5 0.5 0.1 0.1\n7 0 0 1 0 1 1\n\n0 0 0 1\n1 nan 0 1 0 1 1\n",
        "valid": None,
    }.items():
        picture(tmp_path / part / "images" / "a.jpg")
        if text is not None:
            (tmp_path / part / "labels").mkdir()
            (tmp_path / part / "labels" / "a.txt").write_text(text)
    found = read(tmp_path, "yolo")
    assert found.classes == ("background", "cat", "dog")
    assert [(item.name, item.part) for item in found.items] == [("train_images_a", "train"), ("valid_images_a", "val")]
    first, second = (item.labels() for item in found.items)
    assert np.array_equal(first, box((2, 3, 2, 6, 6))) and not second.any()
    noted = "\n".join(found.notes)
    for text in ("line 2: it is left out: it is a box", "category 7", "line 5: it is left out: it has 3", "line 6"):
        assert text in noted, text


@pytest.mark.parametrize("settings", ["train: images/train\nval: images/val\nnames: [cat]\n", ""])
def test_yolo_looks_into_folders_of_folders(tmp_path: Path, settings: str) -> None:
    if settings:
        (tmp_path / "data.yaml").write_text(settings)
    for inside in ("train", "train/deeper", "val/deeper"):
        picture(tmp_path / "images" / inside / "a.png")
        (tmp_path / "labels" / inside).mkdir(parents=True)
        (tmp_path / "labels" / inside / "a.txt").write_text("0 0 0 0.5 0 0.5 1 0 1\n")
    found = read(tmp_path, "yolo")
    assert [item.part for item in found.items] == ["train", "train", "val"]
    assert all(np.array_equal(item.labels(), box((1, 0, 0, 6, 8))) for item in found.items)


def test_yolo_with_paths_of_another_machine_and_lists(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("path: /home/me/sets/x\ntrain: train.txt\nval: images/val\nnames: {0: cat}\n")
    for part in ("train", "val"):
        picture(tmp_path / "images" / part / f"{part}.png")
        (tmp_path / "labels" / part).mkdir(parents=True)
        (tmp_path / "labels" / part / f"{part}.txt").write_text("0 0 0 0.5 0 0.5 1 0 1\n")
    (tmp_path / "train.txt").write_text("data/images/train/train.png\n/etc/passwd\nimages/train/none.png\n")
    found = read(tmp_path, "yolo")
    assert [(item.name, item.part) for item in found.items] == [("train", "train"), ("val", "val")]
    assert all(np.array_equal(item.labels(), box((1, 0, 0, 6, 8))) for item in found.items)
    assert len(found.notes) == 2 and "/etc/passwd is missing" in found.notes[0]


def test_labelme_shapes(tmp_path: Path) -> None:
    shapes = [
        {"label": "dog", "points": [[1, 1], [4, 1], [4, 3], [1, 3]], "shape_type": "polygon", "group_id": 1},
        {"label": "cat", "points": [[7, 6], [5, 4]], "shape_type": "rectangle"},
        {"label": "_background_", "points": [[2, 1], [3, 1], [3, 2], [2, 2]]},
        {"label": "dog", "points": [[8, 1], [9, 2]], "shape_type": "mask", "mask": png(np.eye(2, dtype=bool))},
        {"label": "__ignore__", "points": [[10.5, 5.5], [10.5, 4.6]], "shape_type": "circle"},
        {"label": "dog", "points": [[0, 0], [3, 3]], "shape_type": "line"},
        {"label": "dog", "points": [[0, 0], [3, 3]]},
        {"label": "dog", "points": [[50, 50], [60, 50], [60, 60]]},
    ]
    content = {"version": "5.4", "flags": {}, "shapes": shapes, "imagePath": "..\\pics\\a.jpg", "imageData": None}
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "a.json").write_text(json.dumps({**content, "imageHeight": 8, "imageWidth": 12}))
    picture(tmp_path / "pics" / "a.jpg")
    found = read(tmp_path / "json", "labelme")
    (item,) = found.items
    assert found.classes == ("_background_", "cat", "dog")
    expected = box((2, 1, 1, 4, 3), (1, 5, 4, 7, 6), (0, 2, 1, 3, 2), (2, 8, 1, 9, 2), (2, 9, 2, 10, 3))
    expected[5, 10] = expected[4, 10] = expected[6, 10] = expected[5, 9] = expected[5, 11] = 0
    labels = item.labels()
    assert labels[5, 10] == 255 and (labels == 255).sum() == 1
    labels[5, 10] = 0
    assert np.array_equal(labels, expected)
    noted = "\n".join(found.notes)
    for text in (
        "shape 6 is left out: a 'line'",
        "shape 7 is left out: it has 2 corners",
        "shape 8 is left out: it lies out",
    ):
        assert text in noted, text


def test_labelme_with_the_picture_inside_and_no_size(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "a.png")
    data = base64.b64encode((tmp_path / "elsewhere" / "a.png").read_bytes()).decode()
    shapes = [{"label": "dog", "points": [[1, 1], [4, 1], [4, 3], [1, 3]]}]
    content = {"shapes": shapes, "imagePath": "a.png", "imageData": data, "imageHeight": 8, "imageWidth": 12}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text(json.dumps(content))
    found = read(tmp_path / "in", "labelme")
    assert found.items[0].image is None and found.notes == []
    assert FORMATS["folder"].write(found, tmp_path / "out") == []
    assert (tmp_path / "out" / "images" / "a.png").read_bytes() == (tmp_path / "elsewhere" / "a.png").read_bytes()


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><job><id>1</id><labels>
    <label><name>sky</name><color>#0000ff</color><type>any</type><attributes></attributes></label>
    <label><name>cat</name><color>#ff0000</color><type>any</type><attributes></attributes></label>
    <label><name>paw</name><color>#ffff00</color><type>points</type><attributes></attributes><parent>cat</parent></label>
  </labels></job></meta>
  <image id="0" name="sub/a.jpg" subset="Validation" width="12" height="8">
    <tag label="cat" source="manual"></tag>
    <polygon label="cat" source="manual" occluded="0" points="2.00,1.00;6.00,1.00;6.00,4.00;2.00,4.00" z_order="1">
      <attribute name="x">1</attribute>
    </polygon>
    <box label="sky" occluded="0" xtl="0.00" ytl="0.00" xbr="4.00" ybr="4.00" z_order="0"></box>
    <box label="sky" occluded="0" xtl="7.00" ytl="5.00" xbr="11.00" ybr="7.00" rotation="90.00" z_order="0"></box>
    <mask label="cat" occluded="0" rle="1, 2, 1" left="10" top="0" width="2" height="2" z_order="0"></mask>
    <ellipse label="cat" occluded="0" cx="1.5" cy="6.5" rx="0.6" ry="0.6" z_order="0"></ellipse>
    <polyline label="cat" points="1,1;2,2" z_order="0"></polyline>
    <polygon label="tree" points="0,0;1,0;1,1" z_order="0"></polygon>
    <mask label="cat" rle="9" left="0" top="0" width="2" height="2"></mask>
  </image>
  <image id="1" name="b.jpg" width="0" height="8"></image>
</annotations>
"""


def test_cvat_shapes(tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text(CVAT)
    picture(tmp_path / "images" / "sub" / "a.jpg")
    found = read(tmp_path, "cvat")
    (item,) = found.items
    assert found.classes == ("background", "sky", "cat") and found.colours == ((0, 0, 0), (0, 0, 255), (255, 0, 0))
    assert item.part == "val" and item.name == "a" and item.image == tmp_path / "images" / "sub" / "a.jpg"
    expected = box((1, 0, 0, 4, 4), (2, 2, 1, 6, 4), (1, 8, 4, 10, 8), (2, 11, 0, 12, 1), (2, 10, 1, 11, 2))
    expected[6, 1] = 2
    assert np.array_equal(item.labels(), expected)
    assert len(found.broken) == 1 and "image b.jpg: its size is '0' x '8'" in found.broken[0]
    noted = "\n".join(found.notes)
    for text in ("a polyline of 'cat'", "unknown category 'tree'", "sum to 9; expected 2 x 2", "overlap in 6 pixels"):
        assert text in noted, text


def label_studio_brush() -> list[int]:
    """Return a brush over column 2, with single values and repeated ones, as the tool mixes them."""
    bits = f"{4 * 8 * 12:032b}{7:05b}" + "".join(f"{bits - 1:04b}" for bits in (3, 4, 8, 16))
    for _ in range(SIZE[0]):
        bits += "1" + "01" + f"{8 - 1:04b}" + f"{0:08b}"  # 8 zeros: pixels 0 and 1
        bits += "0" + "00" + f"{4 - 1:03b}" + "".join(f"{value:08b}" for value in (0, 9, 9, 200))
        bits += "1" + "10" + f"{36 - 1:08b}" + f"{0:08b}"
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def label_studio_regions() -> list[dict[str, Any]]:
    size = {"original_width": 12, "original_height": 8, "image_rotation": 0}
    x, y = 100 / 12, 100 / 8
    cat = {"rectanglelabels": ["cat"]}
    values = [
        (
            "polygonlabels",
            {"points": [[x * 4, y], [x * 6, y], [x * 6, y * 3], [x * 4, y * 3]], "polygonlabels": ["dog"]},
        ),
        ("brushlabels", {"format": "rle", "rle": label_studio_brush(), "brushlabels": ["cat"]}),
        ("rectanglelabels", {"x": x * 11, "y": y * 4, "width": x * 3, "height": y, "rotation": 90, **cat}),
        (
            "ellipselabels",
            {"x": x * 6.5, "y": y * 6.5, "radiusX": x * 0.6, "radiusY": y * 0.6, "ellipselabels": ["dog"]},
        ),
        ("keypointlabels", {"x": 5, "y": 5, "keypointlabels": ["dog"]}),
    ]
    return [{"id": "x", "type": kind, **size, "value": value} for kind, value in values]


LABEL_STUDIO = box((2, 4, 1, 6, 3), (1, 2, 0, 3, 8), (1, 10, 4, 11, 7), (2, 6, 6, 7, 7))


def test_label_studio_tasks(tmp_path: Path) -> None:
    task = {
        "id": 1,
        "data": {"img": "/data/upload/1/0a1b2c3d-a%20b.jpg"},
        "annotations": [
            {"was_cancelled": True, "result": []},
            {"result": label_studio_regions()},
            {"result": []},
        ],
        "predictions": [],
    }
    (tmp_path / "project-1.json").write_text(json.dumps([task, 5]))
    picture(tmp_path / "images" / "a b.jpg")
    found = read(tmp_path, "label_studio")
    (item,) = found.items
    assert item.name == "a b" and item.image == tmp_path / "images" / "a b.jpg"
    assert found.classes == ("background", "cat", "dog")
    assert np.array_equal(item.labels(), LABEL_STUDIO)
    assert "has 2 annotations" in found.notes[0] and "keypointlabels is no region" in found.notes[1]
    assert "task 2: it is a int" in found.broken[0]


def test_label_studio_labels_for_all_shapes(tmp_path: Path) -> None:
    """With <Polygon/> beside <Labels>, a region stands there twice: as what it is, and with its labels."""
    result = []
    for number, region in enumerate(label_studio_regions()):
        names = region["value"].pop(region["type"])
        region |= {"id": f"r{number}", "type": region["type"].removesuffix("labels")}
        result += [region, {**region, "type": "labels", "value": {**region["value"], "labels": names}}]
    (tmp_path / "p.json").write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": result}]}]))
    picture(tmp_path / "a.png")
    found = read(tmp_path, "label_studio")
    assert np.array_equal(found.items[0].labels(), LABEL_STUDIO)
    (note,) = found.notes
    assert "region 10: it is left out: labels of a labels are no region" in note


def test_label_studio_min(tmp_path: Path) -> None:
    regions = label_studio_regions()[:4]
    flat = [{"original_width": 12, "original_height": 8, **region["value"]} for region in regions]
    entry = {"image": "https://a.b/c/a.jpg?sig=1", "id": 4, "tag": flat[:1], "brush": flat[1:], "annotator": 1}
    (tmp_path / "min.json").write_text(json.dumps([entry]))
    found = read(tmp_path / "min.json", "label_studio")
    assert found.items[0].name == "a" and np.array_equal(found.items[0].labels(), LABEL_STUDIO)


def feature(name: str, coordinates: Any, kind: str = "Polygon", key: str = "label") -> dict[str, Any]:
    return {"type": "Feature", "properties": {key: name}, "geometry": {"type": kind, "coordinates": coordinates}}


def ring(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def write_geojson(path: Path, features: list[dict[str, Any]], **keys: Any) -> None:
    path.write_text(json.dumps({"type": "FeatureCollection", **keys, "features": features}))


def test_geojson_in_pixels_with_holes(tmp_path: Path) -> None:
    features = [
        feature("roof", [ring(1, 1, 6, 6), ring(2, 2, 4, 4)]),
        feature("roof", [[ring(7, 0, 8, 1)], [[[*point, 3.5] for point in ring(9, 0, 10, 1)]]], "MultiPolygon"),
        {**feature("x", [0, 0], "Point")},
        {"type": "Feature", "properties": {}, "geometry": None},
    ]
    features[1]["properties"] = {"classification": {"name": "roof"}}
    write_geojson(tmp_path / "a.geojson", features, pixel_coordinates=True)
    picture(tmp_path / "a.png")
    found = read(tmp_path, "geojson")
    expected = box((1, 1, 1, 6, 6), (0, 2, 2, 4, 4), (1, 7, 0, 8, 1), (1, 9, 0, 10, 1))
    assert np.array_equal(found.items[0].labels(), expected) and len(found.notes) == 2


def test_geojson_of_qupath_without_a_collection_and_with_derived_classes(tmp_path: Path) -> None:
    one = feature("my region", [ring(1, 1, 6, 6)], key="name")
    one["properties"] |= {"objectType": "annotation", "classification": {"names": ["Tumor", "Positive"]}}
    # Coordinates beyond degrees tell that all are pixels.
    (tmp_path / "a.geojson").write_text(json.dumps([one, feature("Stroma", [ring(8, 1, 12, 95)])]))
    picture(tmp_path / "a.png")
    found = read(tmp_path, "geojson")
    assert found.classes == ("background", "Stroma", "Tumor: Positive") and found.notes == []
    assert np.array_equal(found.items[0].labels(), box((2, 1, 1, 6, 6), (1, 8, 1, 12, 8)))


def test_geojson_that_may_be_degrees_is_refused_and_pixels_beyond_them_are_read(tmp_path: Path) -> None:
    write_geojson(tmp_path / "a.geojson", [feature("roof", [ring(1, 1, 6, 6)])])
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="may be degrees or pixels; put the image's world file"):
        read(tmp_path, "geojson")
    Image.new("RGB", (300, 20)).save(tmp_path / "b.png")
    write_geojson(tmp_path / "b.geojson", [feature("roof", [ring(190, 1, 200, 6)])])
    found = read(tmp_path, "geojson")
    assert np.array_equal(found.items[0].labels(), box((1, 1, 1, 6, 6)))


@pytest.mark.parametrize("system", ["degrees", "metres of the file", "mercator"])
def test_geojson_with_a_world_file(tmp_path: Path, system: str) -> None:
    """The upper left corner lies at 13° east, 52° north; world files place the middle of the first pixel."""
    picture(tmp_path / "a.png")
    earth = 6378137.0
    if system == "degrees":
        step, west, north = 0.001, 13.0, 52.0
    else:
        step, west = 10.0, earth * np.radians(13.0)
        north = earth * np.log(np.tan(np.pi / 4 + np.radians(52.0) / 2))
    numbers = (step, 0, 0, -step, west + step / 2, north - step / 2)
    (tmp_path / "a.pgw").write_text("\n".join(map(str, numbers)))
    corners = np.array(ring(2, 1, 7, 5)) * (step, -step) + (west, north)
    if system == "mercator":
        corners = np.degrees(
            np.stack([corners[:, 0] / earth, 2 * np.arctan(np.exp(corners[:, 1] / earth)) - np.pi / 2], 1)
        )
    write_geojson(tmp_path / "a.geojson", [feature("roof", [corners.tolist()])])
    assert np.array_equal(read(tmp_path, "geojson").items[0].labels(), box((1, 2, 1, 7, 5)))


def test_the_order_of_classes_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text(CVAT)
    found = read(tmp_path, "cvat", classes=ClassNames(("cat", "background", "sky")))
    assert found.classes == ("background", "cat", "sky") and found.items[0].labels()[0, 0] == 2
