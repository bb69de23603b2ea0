"""Objects from a run to their scores, on the command line: predict, go on, evaluate against maps, data and COCO files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from maskwright.cli import main
from maskwright.data.io import read_labels
from maskwright.engine.instances import evaluate_instances, label_map, open_truth
from maskwright.engine.predict import Predictor
from maskwright.engine.predict_instances import OBJECTS, PENDING, find_instances, predict_instances
from maskwright.errors import BatchError, ConfigError, DataError
from maskwright.instances import of_map


def write_nuclei(root: Path, count: int = 12) -> Path:
    """A data set of two touching bright squares on dark ground each."""
    generator = np.random.default_rng(1)
    for index in range(count):
        ids = np.zeros((32, 32), np.uint16)
        top, left = generator.integers(2, 14, 2)
        ids[top : top + 12, left : left + 8], ids[top : top + 12, left + 8 : left + 16] = 260, 9
        image = (40 + 150 * (ids > 0)[..., None] + generator.integers(-20, 20, (32, 32, 3))).astype(np.uint8)
        image[:, left + 7 : left + 9] //= 2
        for folder, pixels in (("images", image), ("instances", ids)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / folder / f"n{index:02}.png")
    return root


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nuclei(tmp_path_factory.mktemp("data") / "nuclei")


@pytest.fixture(scope="module")
def contour_run(nuclei: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network with a border class, trained just long enough to see the squares."""
    run = tmp_path_factory.mktemp("runs") / "nuclei"
    options = ["--data", f"nuclei:{nuclei}", "--data.contour", "1", "--model", "unet", "--model.options", "{width: 6}"]
    train = [
        "--train.epochs",
        "25",
        "--train.batch_size",
        "3",
        "--train.learning_rate",
        "0.02",
        "--train.device",
        "cpu",
    ]
    assert main(["train", *options, *train, "--out", str(run)]) == 0
    return run


def test_training_prediction_and_scoring_from_end_to_end(
    contour_run: Path, nuclei: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out = tmp_path / "found", tmp_path / "scores"
    common = ["--run", str(contour_run), "--images", str(nuclei / "images"), "--out", str(found)]
    assert main(["predict", *common, "--save", "instances"]) == 0
    listed = json.loads((found / OBJECTS).read_text())
    assert {one["file_name"] for one in listed} <= {f"n{i:02}.png" for i in range(12)}
    assert not (found / PENDING).exists()
    for index in (0, 7):
        ids = read_labels(found / f"n{index:02}.png")
        own = [one for one in listed if one["file_name"] == f"n{index:02}.png"]
        assert ids.max() == len(own)
        for number, one in enumerate(own, start=1):
            assert coco_mask.area(one["segmentation"]) == (ids == number).sum() and 0 < one["score"] <= 1
    capsys.readouterr()
    scored = ["--predictions", str(found), "--data", f"nuclei:{nuclei}", "--instances"]
    assert main(["evaluate", *scored, "--max_detections", "50", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "AP50" in printed and "PQ" in printed and "masks" in printed and "boxes" in printed
    record = json.loads((out / "metrics.json").read_text())["instances"]["predictions"]
    assert record["max_detections"] == 50 and record["true_objects"] == 4
    assert record["mask"]["ap50"] == pytest.approx(1) and 0.5 < record["panoptic"]["pq"] <= 1
    page = (out / "report.html").read_text()
    assert "Objects by their masks" in page and "panoptic quality" in page


def test_a_run_without_borders_gives_connected_pieces(trained_run: Path, squares: Path, tmp_path: Path) -> None:
    images = squares / "test" / "images"
    outputs = predict_instances(trained_run, images, tmp_path)
    predictor = Predictor.load(trained_run)
    for path in outputs:
        ids = read_labels(path)
        image = np.array(Image.open(images / path.name))
        found = find_instances(predictor, image, name=path.stem)
        assert ids.max() == len(found.masks) >= 1
        assert set(found.classes.tolist()) == {1} and ((found.scores > 0.5) & (found.scores <= 1)).all()


def test_a_batch_goes_on_and_loses_no_object(contour_run: Path, nuclei: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("n00.png", "n01.png", "n02.png"):
        (images / name).write_bytes((nuclei / "images" / name).read_bytes())
    whole = predict_instances(contour_run, images, tmp_path / "whole")
    expected = json.loads((tmp_path / "whole" / OBJECTS).read_text())
    (images / "n01.png").rename(images / "n01.bak")
    (images / "n01.png").write_bytes(b"broken")
    out = tmp_path / "parts"
    with pytest.raises(BatchError, match="n01"):
        predict_instances(contour_run, images, out)
    assert {one["file_name"] for one in json.loads((out / OBJECTS).read_text())} == {"n00.png", "n02.png"}
    (images / "n01.bak").rename(images / "n01.png")
    # A process that was killed left a line of n00 and half a line behind.
    (out / PENDING).write_text('\n{"file_name": "n00.png", "objects": []}\n{"file_name": "n0')
    (out / "n00.png").unlink()
    predict_instances(contour_run, images, out)
    assert json.loads((out / OBJECTS).read_text()) == expected
    assert all((out / path.name).read_bytes() == path.read_bytes() for path in whole)
    with pytest.raises(ConfigError, match="flip"):
        predict_instances(contour_run, images, out, flip=True)
    assert json.loads((out / OBJECTS).read_text()) == expected


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, Path]:
    """Maps of numbers of two images: found ones with one object too many, and the truth."""
    ids = np.zeros((16, 16), np.uint16)
    ids[2:8, 2:8], ids[10:15, 10:15] = 1, 500
    found = ids.copy()
    found[2:8, 10:15] = 3
    for folder, second in (("truth", ids), ("found", found)):
        (tmp_path / folder).mkdir()
        Image.fromarray(ids).save(tmp_path / folder / "a.png")
        Image.fromarray(second).save(tmp_path / folder / "b.png")
    return tmp_path / "found", tmp_path / "truth"


def test_folders_of_maps_are_scored_without_any_json(maps: tuple[Path, Path], tmp_path: Path) -> None:
    found, truth = maps
    arguments = ["evaluate", "--predictions", str(found), "--targets", str(truth), "--instances"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    panoptic = record["instances"]["predictions"]["panoptic"]
    assert (panoptic["sq"], panoptic["rq"]) == (1, pytest.approx(4 / 4.5))
    assert panoptic["classes"].keys() == {"object"}
    assert record["scores"]["predictions"]["iou_dataset"] == pytest.approx(122 / 152)
    assert record["instances"]["predictions"]["mask"]["ar"] == 1


def test_two_predictions_are_compared(maps: tuple[Path, Path], tmp_path: Path) -> None:
    found, truth = maps
    arguments = ["evaluate", "--predictions", str(found), str(truth), "--targets", str(truth), "--instances"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    change = json.loads((tmp_path / "out" / "metrics.json").read_text())["instances"]["truth"]["change"]
    assert change["pq"][0] == pytest.approx(1 - 4 / 4.5) and change["ap50"][0] > 0


def coco_truth(folder: Path, path: Path) -> Path:
    """The maps of a folder as a COCO file, with numbers that start at 0 and polygon-free run lengths."""
    content = {"images": [], "annotations": [], "categories": [{"id": 90, "name": "cell"}]}
    for image, file in enumerate(sorted(folder.glob("*.png"))):
        ids = read_labels(file)
        content["images"].append({"id": image, "file_name": file.name, "height": 16, "width": 16})
        for mask in of_map(file.stem, ids).masks:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),
                    "image_id": image,
                    "category_id": 90,
                    "segmentation": {"size": mask["size"], "counts": mask["counts"].decode()},
                    "area": int(coco_mask.area(mask)),
                    "bbox": coco_mask.toBbox(mask).tolist(),
                    "iscrowd": 0,
                }
            )
    path.write_text(json.dumps(content))
    return path


def test_coco_results_are_scored_against_a_coco_file(maps: tuple[Path, Path], tmp_path: Path) -> None:
    found, folder = maps
    truth = coco_truth(folder, tmp_path / "truth.json")
    results = [
        {key: one[key] for key in ("image_id", "category_id", "segmentation")} | {"score": 0.5}
        for one in json.loads(coco_truth(found, tmp_path / "found.json").read_text())["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    arguments = ["--predictions", str(tmp_path / "results.json"), "--targets", str(truth), "--instances"]
    assert main(["evaluate", *arguments, "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())["instances"]["predictions"]
    by_maps = evaluate_instances(found, open_truth(folder, ""))
    assert record["panoptic"]["classes"].keys() == {"cell"} and record["mask"]["ar"] == 1
    assert record["panoptic"]["pq"] == pytest.approx(4 / 4.5)
    assert record["predicted_objects"] == by_maps.objects.predicted_objects == 5


def test_a_coco_data_set_is_scored_as_its_file(maps: tuple[Path, Path], tmp_path: Path) -> None:
    found, folder = maps
    truth = coco_truth(folder, tmp_path / "truth.json")
    (tmp_path / "images").mkdir()
    for path in folder.glob("*.png"):
        Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(tmp_path / "images" / path.name)
    opened = open_truth(None, f"coco:{truth},test={truth}")
    assert opened.what == "2 test images of coco" and opened.pixels("a").shape == (16, 16, 3)
    assert opened.labels == {90: 1} and opened.numbers == {0: "a", 1: "b"}
    own, by_file = (evaluate_instances(found, one) for one in (opened, open_truth(truth, "")))
    assert own.panoptic.counts.tolist() == by_file.panoptic.counts.tolist()
    assert own.objects.true_objects == by_file.objects.true_objects == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "folder:SQUARES"], "tells no objects apart"),
        (["--targets", "TRUTH", "--boundary"], "--boundary"),
        (["--targets", "TRUTH", "--num_classes", "3"], "--num_classes"),
        (["--targets", "TRUTH", "--max_detections", "3"], "max_detections"),
        (["--targets", "TRUTH", "--classes", "no.yaml"], "no.yaml"),
        (["--targets", "EMPTY"], "holds no mask"),
        (["--targets", "TRUTH/a.png"], "JSON"),
    ],
)
def test_what_cannot_be_scored_is_one_line(
    arguments: list[str],
    words: str,
    maps: tuple[Path, Path],
    squares: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, truth = maps
    (tmp_path / "empty").mkdir()
    places = {"TRUTH": truth, "EMPTY": tmp_path / "empty", "SQUARES": squares}
    filled = list(arguments)
    for word, path in places.items():
        filled = [one.replace(word, str(path)) for one in filled]
    code = main(["evaluate", "--predictions", str(found), "--instances", *filled, "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err.strip()
    assert code == 2 and words in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_predictions_of_other_images_are_named(maps: tuple[Path, Path], tmp_path: Path) -> None:
    found, truth = maps
    (found / "a.png").unlink()
    with pytest.raises(DataError, match="no mask of 1 of 2 images: a"):
        evaluate_instances(found, open_truth(truth, ""))
    (tmp_path / "r.json").write_text(json.dumps([{"file_name": "zebra.png", "category_id": 1, "bbox": [0, 0, 1, 1]}]))
    with pytest.raises(DataError, match="zebra"):
        evaluate_instances(tmp_path / "r.json", open_truth(truth, ""))


def test_crowds_are_ignored_pixels() -> None:
    from dataclasses import replace

    found = replace(of_map("a", np.array([[1, 2, 0]])), crowd=np.array([True, False]))
    assert label_map(found).tolist() == [[255, 1, 0]]
