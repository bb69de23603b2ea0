"""What an audit tells beside the numbers: calibration, sizes, images of the training in the test; and objects as masks."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.engine.audit import AuditConfig, Audited, count_masks
from maskwright.engine.audit_checks import cautions
from maskwright.engine.audit_outputs import write_audit
from maskwright.errors import DataError
from maskwright.metrics.calibration import CalibrationMeter

SIDE = 40


def picture(seed: int, side: int = SIDE) -> Image.Image:
    """A picture of coarse random colours, by which copies can be told from others."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)


def write(folder: Path, name: str, values: np.ndarray | Image.Image) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if name.endswith(".npz"):
        np.savez(folder / name, probabilities=values)
    else:
        (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(folder / name)
    return folder


def blob(number: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4 : 8 + 3 * number, 5 : 11 + 2 * number] = 1
    return mask


def run(root: Path, **settings: object) -> Audited:
    return count_masks(AuditConfig(predictions=(root / "masks",), **settings))  # type: ignore[arg-type]


def test_probabilities_get_the_calibration_that_the_meter_finds(tmp_path: Path) -> None:
    meter = CalibrationMeter(3)
    for i in range(4):
        generator = np.random.default_rng(i)
        truth = generator.integers(0, 3, (9, 12)).astype(np.uint8)
        truth[0] = 255
        soft = generator.dirichlet([0.5] * 3, (9, 12)).transpose(2, 0, 1).astype(np.float32)
        write(tmp_path / "truth", f"i{i}.png", truth)
        write(tmp_path / "masks", f"i{i}.npz", soft)
        write(tmp_path / "hard", f"i{i}.png", soft.argmax(axis=0).astype(np.uint8))
        meter.update(soft, truth)
    config = AuditConfig(predictions=(tmp_path / "masks", tmp_path / "hard"), targets=tmp_path / "truth")
    soft_stage, hard_stage = write_audit(count_masks(config), config, tmp_path / "out", commands=[]).stages
    assert soft_stage.calibration is not None and hard_stage.calibration is None
    expected = meter.result()
    assert soft_stage.calibration.ece == pytest.approx(expected.ece)
    assert soft_stage.calibration.pixels.tolist() == expected.pixels.tolist()
    np.testing.assert_array_equal(soft_stage.result.counts, hard_stage.result.counts)
    record = json.loads((tmp_path / "out" / "audit.json").read_text())["stages"]
    assert record["masks"]["calibration"]["ece"] == pytest.approx(expected.ece)
    assert record["hard"]["calibration"] is None
    assert "Reliability diagram" in (tmp_path / "out" / "report.html").read_text()


def test_sizes_stand_in_page_and_record(tmp_path: Path) -> None:
    for i in range(6):
        write(tmp_path / "truth", f"i{i}.png", blob(i))
        write(tmp_path / "masks", f"i{i}.png", blob(i) * (i > 1))
    config = AuditConfig(predictions=(tmp_path / "masks",), targets=tmp_path / "truth")
    write_audit(count_masks(config), config, tmp_path / "out", commands=[])
    small, *_, large = json.loads((tmp_path / "out" / "audit.json").read_text())["stages"]["masks"]["by_size"]
    assert (small["size"], small["missed"], small["iou"][0]) == ("small", 2, 0)
    assert (large["size"], large["missed"], large["iou"][0]) == ("large", 0, 1)
    assert "By the size of the masks" in (tmp_path / "out" / "report.html").read_text()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six test images, of which the training holds one byte for byte and one smaller and compressed anew."""
    for i in range(6):
        write(tmp_path / "truth", f"i{i}.png", blob(i))
        write(tmp_path / "masks", f"i{i}.png", np.roll(blob(i), i % 2 + 1, axis=0))
        write(tmp_path / "images", f"i{i}.png", picture(i))
        write(tmp_path / "train", f"other{i}.png", picture(100 + i))
    (tmp_path / "train" / "copy.png").write_bytes((tmp_path / "images" / "i2.png").read_bytes())
    picture(4).resize((30, 30)).save(tmp_path / "train" / "smaller.jpg", quality=80)
    return tmp_path


def test_images_of_the_training_in_the_test_are_named_with_the_score_without_them(photographs: Path) -> None:
    settings = {"targets": photographs / "truth", "images": photographs / "images"}
    (said,) = cautions(run(photographs, **settings), train=photographs / "train")
    assert said.startswith("2 of 6 test images are training images, too (i2 = copy.png, i4 = smaller.jpg)")
    kept = photographs / "kept"
    for i in (0, 1, 3, 5):
        write(kept / "truth", f"i{i}.png", blob(i))
        write(kept / "masks", f"i{i}.png", np.roll(blob(i), i % 2 + 1, axis=0))
    config = AuditConfig(predictions=(kept / "masks",), targets=kept / "truth")
    rest = write_audit(count_masks(config), config, kept / "out", commands=[]).quote.interval.value
    assert f"Without them the number to quote is {rest:.3f}" in said


def test_different_pictures_are_no_overlap_and_broken_ones_are_said(photographs: Path) -> None:
    for name in ("copy.png", "smaller.jpg"):
        (photographs / "train" / name).unlink()
    write(photographs / "train", "other0_again.png", picture(100))
    settings = {"targets": photographs / "truth", "images": photographs / "images"}
    assert cautions(run(photographs, **settings), train=photographs / "train") == ()
    (photographs / "train" / "other1.png").write_bytes(b"broken")
    (photographs / "images" / "i3.png").unlink()
    broken, missing = cautions(run(photographs, **settings), train=photographs / "train")
    assert "1 of the 7 of" in broken and "1 of 6 test images were not compared" in missing
    with pytest.raises(DataError, match="holds no image"):
        cautions(run(photographs, **settings), train=write(photographs / "none", "a.npz", np.zeros(3)))


def test_a_data_set_compares_its_own_images_with_the_training(squares: Path, tmp_path: Path) -> None:
    for path in (squares / "test" / "masks").iterdir():
        write(tmp_path / "masks", path.name, np.array(Image.open(path)))
        write(tmp_path / "train", path.name, Image.open(squares / "test" / "images" / path.name))
    found = cautions(run(tmp_path, data=f"folder:{squares}"), train=tmp_path / "train")
    assert any("3 of 3 test images are" in text for text in found)


def coco(path: Path, *, results: bool) -> Path:
    """Two images with squares of two categories; results overlap, and one of them is unsure."""
    box = [[2, 2, 10, 2, 10, 8, 2, 8]]
    moved = [[4, 2, 12, 2, 12, 8, 4, 8]]
    if results:
        found = [
            {"image_id": 1, "category_id": 5, "score": 0.9, "segmentation": box},
            {"image_id": 1, "category_id": 7, "score": 0.6, "segmentation": moved},
            {"image_id": 2, "category_id": 7, "score": 0.2, "segmentation": box},
        ]
        path.write_text(json.dumps(found))
        return path
    content = {
        "images": [{"id": i, "file_name": f"im{i}.jpg", "height": 12, "width": 16} for i in (1, 2)],
        "categories": [{"id": 5, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, "segmentation": box, "iscrowd": 0, "area": 48},
            {"id": 2, "image_id": 2, "category_id": 7, "segmentation": box, "iscrowd": 0, "area": 48},
        ],
    }
    path.write_text(json.dumps(content))
    return path


def test_objects_of_coco_become_masks_with_the_surest_on_top(tmp_path: Path) -> None:
    truth, found = coco(tmp_path / "truth.json", results=False), coco(tmp_path / "found.json", results=True)
    audited = count_masks(AuditConfig(predictions=(found,), targets=truth))
    (stage,) = audited.stages.values()
    assert stage.result.classes == ("background", "cat", "dog")
    assert stage.result.counts[0].tolist() == [[132, 48, 0], [132, 48, 12], [144, 48, 0]]
    assert stage.result.counts[1].tolist() == [[144, 0, 0], [192, 0, 0], [144, 0, 48]]
    config = AuditConfig(predictions=(found,), targets=truth, threshold=0.1)
    (stage,) = count_masks(config).stages.values()
    assert stage.result.counts[1, 0].tolist() == [144, 0, 48]


def test_objects_of_coco_beside_label_maps(tmp_path: Path) -> None:
    for i, value in ((1, 1), (2, 2)):
        mask = np.zeros((12, 16), np.uint8)
        mask[2:8, 2:10] = value
        write(tmp_path / "truth", f"{i:06}.png", mask)
    found = json.loads(coco(tmp_path / "found.json", results=True).read_text())
    (tmp_path / "found.json").write_text(json.dumps([{**one, "category_id": one["category_id"] - 4} for one in found]))
    (tmp_path / "classes.yaml").write_text("[background, cat, dog, bird]\n")
    config = AuditConfig(
        predictions=(tmp_path / "found.json",), targets=tmp_path / "truth", classes=tmp_path / "classes.yaml"
    )
    (stage,) = count_masks(config).stages.values()
    assert stage.result.counts[0, 0].tolist() == [132, 48, 0, 0]
    (tmp_path / "found.json").write_text(json.dumps([{**found[0], "image_id": 9}]))
    with pytest.raises(DataError, match="1 images without a true mask"):
        count_masks(config)


def test_label_maps_beside_a_truth_of_coco(tmp_path: Path) -> None:
    truth = coco(tmp_path / "truth.json", results=False)
    for i, value in ((1, 1), (2, 2)):
        mask = np.zeros((12, 16), np.uint8)
        mask[2:8, 2:10] = value
        write(tmp_path / "masks", f"im{i}_pred.png", mask)
    (stage,) = run(tmp_path, targets=truth).stages.values()
    assert stage.result.confusion.tolist() == [[288, 0, 0], [0, 48, 0], [0, 0, 48]]


def test_soft_true_masks_have_to_be_asked_for(tmp_path: Path) -> None:
    for i in range(3):
        grey = (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 251).astype(np.uint8)
        write(tmp_path / "truth", f"i{i}.png", grey)
        write(tmp_path / "masks", f"i{i}.png", (grey >= 128).astype(np.uint8))
    with pytest.raises(DataError, match="--target_kind probabilities"):
        run(tmp_path, targets=tmp_path / "truth")
    (stage,) = run(tmp_path, targets=tmp_path / "truth", target_kind="probabilities").stages.values()
    assert stage.result.confusion[0, 1] == stage.result.confusion[1, 0] == 0


def test_masks_of_different_channels_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(2):
        write(tmp_path / "truth", f"i{i}.png", blob(i))
        write(tmp_path / "masks", f"i{i}.npz", np.full((i + 1, SIDE, SIDE), 0.5, np.float32))
    arguments = ["--predictions", str(tmp_path / "masks"), "--targets", str(tmp_path / "truth")]
    assert main(["audit", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert "expected the same number everywhere" in capsys.readouterr().err
