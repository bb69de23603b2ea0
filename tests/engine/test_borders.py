"""Pet's border both ways: the same masks, scored with the border as pet and with the border ignored, side by side."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.data.catalog import DataConfig
from maskwright.data.io import write_mask
from maskwright.data.pets import PetsDataset
from maskwright.engine import checkpoint
from maskwright.engine.evaluate import compare, evaluate_folders, evaluate_on_data, evaluate_run
from maskwright.engine.masks import masks_by_name
from maskwright.engine.reporting import report_readings
from maskwright.engine.run import RunFolder
from maskwright.errors import ConfigError, DataError
from maskwright.metrics.scores import scores

TEST = ("beagle_1", "beagle_2", "pug_1")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Squares within a border of two pixels, as Oxford-IIIT Pet is laid out; 32×32 pixels."""
    root = tmp_path / "pets"
    (root / "annotations" / "trimaps").mkdir(parents=True)
    (root / "images").mkdir()
    for number, name in enumerate(("pug_9", *TEST)):
        trimap = np.full((32, 32), 2, np.uint8)
        trimap[6 : 20 + number, 6:24] = 3
        trimap[8 : 18 + number, 8:22] = 1
        Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
        Image.fromarray(np.repeat((60 * trimap)[..., None], 3, axis=2)).save(root / "images" / f"{name}.jpg")
    for part, names in (("trainval", ("pug_9",)), ("test", TEST)):
        (root / "annotations" / f"{part}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
    return root


def write_all(folder: Path, pets: Path, mask_of: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Write masks that are made of the trimaps of the test part."""
    folder.mkdir()
    for name in TEST:
        trimap = np.asarray(Image.open(pets / "annotations" / "trimaps" / f"{name}.png"))
        Image.fromarray(mask_of(trimap).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def inner(pets: Path, tmp_path: Path) -> Path:
    """Masks of what is pet for sure: right where the border is ignored."""
    return write_all(tmp_path / "inner", pets, lambda trimap: trimap == 1)


@pytest.fixture
def outer(pets: Path, tmp_path: Path) -> Path:
    """Masks of pet and border, and a corner too much."""

    def masks(trimap: np.ndarray) -> np.ndarray:
        mask = trimap != 2
        mask[:3, :3] = True
        return mask

    return write_all(tmp_path / "outer", pets, masks)


def test_the_command_scores_both_ways_side_by_side(
    pets: Path, inner: Path, outer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--predictions", str(outer), "--base", str(inner), "--data", f"pets:{pets}", "--out", str(out)]
    assert main(["evaluate", *options, "--border", "both", "--boundary"]) == 0
    output, page = capsys.readouterr().out, (out / "report.html").read_text(encoding="utf-8")
    record = json.loads((out / "metrics.json").read_text())
    assert set(record) == {"borders"} and set(record["borders"]) == {"pet", "ignore"}
    for border in ("pet", "ignore"):
        truth = tmp_path / f"truth_{border}"
        for sample in PetsDataset(pets, "test", border=border):  # type: ignore[arg-type]
            assert sample.target is not None
            write_mask(truth / f"{sample.name}.png", sample.target.numpy())
        expected = [evaluate_folders(folder, truth) for folder in (inner, outer)]
        stored = record["borders"][border]
        for stage, result in zip(("base", "predictions"), expected, strict=True):
            assert stored["scores"][stage]["iou_per_image"] == pytest.approx(scores(result).iou_per_image)
            assert f"{scores(result).iou_per_image:.4f}" in output
        change = compare(*expected)["iou_per_image"].interval
        assert stored["change"]["predictions"]["iou_per_image"]["change"] == pytest.approx(change.value)
        assert f"{change:+.4f}" in output
    # Which of the two masks is better depends on the border alone.
    changes = [record["borders"][b]["change"]["predictions"]["iou_per_image"]["change"] for b in ("pet", "ignore")]
    assert changes[0] > 0 > changes[1]
    for text in (output, page):
        assert "border as pet" in text and "border ignored" in text
    assert "counts as pet (data.border" in page and "is ignored (data.border" in page
    assert page.count("At the edge, border") == 2


@pytest.mark.parametrize("border", [None, "pet", "ignore"])
def test_one_way_says_which_it_was(
    border: str | None, pets: Path, inner: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    chosen = [] if border is None else ["--border", border]
    options = ["--predictions", str(inner), "--data", f"pets:{pets}", "--out", str(out)]
    assert main(["evaluate", *options, *chosen]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert record["border"] == (border or "pet")
    assert (record["scores"]["predictions"]["iou_per_image"] == 1) == (border == "ignore")
    output, page = capsys.readouterr().out, (out / "report.html").read_text(encoding="utf-8")
    assert ("border ignored" if border == "ignore" else "border as pet") in output
    assert ("is ignored (data.border" in page, "counts as pet (data.border" in page) == (
        (border == "ignore"),
        (border != "ignore"),
    )


def test_masks_on_other_data_than_pets(squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks, out = squares / "test" / "masks", tmp_path / "out"
    options = ["--predictions", str(masks), "--data", f"folder:{squares}", "--out", str(out)]
    assert main(["evaluate", *options]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert record["scores"]["predictions"]["iou_per_image"] == 1 and "border" not in record
    assert "3 test images of folder" in (out / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["evaluate", *options, "--border", "both"]) == 2
    assert "only pets have a border" in capsys.readouterr().err


def test_every_image_needs_one_mask_and_others_may_lie_there(pets: Path, inner: Path) -> None:
    data = DataConfig(name=f"pets:{pets}", val_fraction=0)
    shutil.copy(inner / "pug_1.png", inner / "pug_77.png")
    (inner / "pug_1.png").rename(inner / "pug_1_mask.png")
    result = evaluate_on_data({"m": inner}, data).stages["m"]
    assert result.names == TEST and result.classes == ("background", "pet")
    shutil.copy(inner / "beagle_1.png", inner / "beagle_1.tif")
    with pytest.raises(DataError, match=r"more than one of 1 of 3 images: beagle_1;"):
        masks_by_name(inner, TEST)
    (inner / "beagle_1.tif").unlink()
    for name in TEST[:2]:
        (inner / f"{name}.png").unlink()
    with pytest.raises(DataError, match=r"holds no mask of 2 of 3 images: beagle_1, beagle_2;"):
        evaluate_on_data({"m": inner}, data)


@pytest.fixture
def pets_run(trained_run: Path, pets: Path, tmp_path: Path) -> Path:
    """The run, as if it had learned from the pets."""
    run = shutil.copytree(trained_run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation*", "report.html"))
    tensors, metadata = checkpoint.load(run / "model.safetensors")
    data = asdict(DataConfig(name=f"pets:{pets}", val_fraction=0))
    checkpoint.save(run / "model.safetensors", tensors, {**metadata, "data": data})
    return run


def test_runs_are_scored_both_ways_and_keep_both(
    pets_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    other = shutil.copytree(pets_run, tmp_path / "other")
    assert main(["report", str(pets_run), str(other), "--border", "both", "--out", str(page)]) == 0
    output, html = capsys.readouterr().out, page.read_text(encoding="utf-8")
    folder = RunFolder(root=pets_run)
    assert folder.evaluation.is_file() and folder.evaluation_with("ignore").is_file()
    assert not folder.evaluation_with("pet").exists()
    for border, name in (("pet", "border as pet"), ("ignore", "border ignored")):
        (result,) = evaluate_run(pets_run, border=border if border == "ignore" else None).stages.values()  # type: ignore[arg-type]
        assert (result.ignored > 0).all() == (border == "ignore")
        assert f"{scores(result).iou_per_image:.4f}" in output
        assert name in output and f"With the {name}" in html
    monkeypatch.setattr("maskwright.engine.evaluate.Predictor.load", lambda *a, **k: pytest.fail("scored again"))
    assert (evaluate_run(pets_run, border="ignore").stages["run"].ignored > 0).all()


def test_a_run_on_other_data_has_no_border_to_choose(trained_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only pets have a border"):
        report_readings([trained_run], tmp_path / "page.html", borders=("pet", "ignore"), commands=[])
    with pytest.raises(ConfigError, match="only pets have a border"):
        evaluate_run(trained_run, border="ignore")
