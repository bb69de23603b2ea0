"""The command: what it prints, writes and returns."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from maskwright.cli import main
from maskwright.data.doctor.inspection import Options
from maskwright.data.doctor.kinds import KINDS, in_order
from maskwright.data.folder import open_folder
from maskwright.engine.doctor import check_data, write_checkup, write_copy
from maskwright.errors import DataError, WriteError
from planted_faults import make_clean, tree_hash

SERIAL = Options(workers=0)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """A set of masks of 0 and 255, one image of which has no mask."""
    for sample in make_clean(tmp_path / "set", 12):
        Image.fromarray((sample.labels > 0).astype(np.uint8) * 255).save(sample.mask)
    sample.mask.unlink()
    return tmp_path / "set"


def test_errors_make_the_exit_code(binary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(binary), "--workers", "0"]) == 1
    told = capsys.readouterr()
    assert "mask-0-255" in told.out and "missing-mask" in told.out
    assert "2 kinds of errors" in told.err
    assert main(["doctor", str(binary), "--workers", "0", "--fix", "--out", str(tmp_path / "out")]) == 0
    assert main(["doctor", str(tmp_path / "out"), "--workers", "0"]) == 0


def test_the_copy_trains_as_it_is(binary: Path, tmp_path: Path) -> None:
    before = tree_hash(binary)
    out = tmp_path / "out"
    assert main(["doctor", str(binary), "--workers", "0", "--fix", "--out", str(out)]) == 0
    assert tree_hash(binary) == before
    assert len(open_folder(out).train) == 8
    assert "missing-mask" in (out / "fixes.csv").read_text()
    train = [
        "train",
        "--data",
        f"folder:{out}",
        "--data.size",
        "32",
        "--model",
        "unet",
        "--model.options",
        '{"width": 4}',
    ]
    assert main([*train, "--train.epochs", "1", "--out", str(tmp_path / "run")]) == 0


def test_the_verdict_counts_what_is_concerned(binary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "in all 12 samples" in check_data(str(binary), SERIAL).verdict
    for sample in make_clean(tmp_path / "some", 12)[:8]:
        np.save(sample.mask.with_suffix(".npy"), sample.labels.astype(np.float32))
        sample.mask.unlink()
    assert main(["doctor", str(tmp_path / "some"), "--workers", "0"]) == 1
    told = capsys.readouterr()
    assert "in 8 of 12 samples" in told.err
    assert "mask-float: floating-point mask (8 cases, a habit of the set)" in told.out


def test_page_and_json(binary: Path, tmp_path: Path) -> None:
    assert main(["doctor", str(binary), "--workers", "0", "--report", str(tmp_path / "report")]) == 1
    record = json.loads((tmp_path / "report" / "doctor.json").read_text())
    assert {finding["code"] for finding in record["findings"]} >= {"mask-0-255", "missing-mask", "class-balance"}
    assert record["errors"] and record["samples"] == 12
    page = (tmp_path / "report" / "report.html").read_text()
    assert "missing-mask" in page and "data:image/" in page and "http" not in page.replace("http://www.w3.org", "")


def test_nothing_is_overwritten(binary: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "old").mkdir(parents=True)
    assert main(["doctor", str(binary), "--workers", "0", "--fix", "--out", str(out)]) == 2
    assert list(out.iterdir()) == [out / "old"]
    with pytest.raises(WriteError, match="not empty"):
        write_copy(check_data(str(binary), SERIAL), out, workers=0)
    assert main(["doctor", str(binary), "--workers", "0", "--fix", "--out", str(binary / "clean")]) == 2
    assert main(["doctor", str(binary), "--fix"]) == 2


def test_nothing_half_written(binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskwright.engine.doctor.write_fixes", stop)
    with pytest.raises(KeyboardInterrupt):
        write_copy(check_data(str(binary), SERIAL), tmp_path / "out", workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_annotations_of_another_tool(tmp_path: Path) -> None:
    samples = make_clean(tmp_path / "set", 12)
    assert main(["convert", str(tmp_path / "set"), "--to", "labelme", "--out", str(tmp_path / "labelme")]) == 0
    checkup = check_data(str(tmp_path / "labelme"), SERIAL)
    assert checkup.annotations is not None and not checkup.has_errors
    kept, left_out = write_copy(checkup, tmp_path / "out", workers=0)
    assert (kept, left_out) == (len(samples), 0)
    assert len(open_folder(tmp_path / "out").train) > 0


def test_a_data_set_with_a_reader(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for kind in (part, f"{part}annot"):
            (tmp_path / "set" / kind).mkdir(parents=True)
        for name in "abc":
            shade = rng.integers(0, 255, (20, 30, 3), np.uint8)
            Image.fromarray(shade).save(tmp_path / "set" / part / f"{name}.png")
            Image.fromarray((shade[..., 0] // 24).astype(np.uint8)).save(
                tmp_path / "set" / f"{part}annot" / f"{name}.png"
            )
    checkup = check_data(f"camvid:{tmp_path / 'set'}", SERIAL)
    assert len(checkup.examination.probes) == 6 and not checkup.has_errors
    write_checkup(tmp_path / "report", checkup, data="camvid", commands=())
    with pytest.raises(DataError, match="reader of its own"):
        write_copy(checkup, tmp_path / "out", workers=0)


def test_every_kind_says_what_it_is() -> None:
    for kind in KINDS.values():
        assert kind.title and kind.explanation.endswith(".")
        assert bool(kind.fix) or kind.severity != "error"
    assert in_order([]) == []


def test_outlines_of_a_few_clicks_are_told(tmp_path: Path) -> None:
    samples = make_clean(tmp_path / "set", 6)
    with Image.open(samples[2].mask) as stored:
        picture = Image.new("L", stored.size)
    width, height = picture.size
    clicks = [(0.1, 0.2), (0.5, 0.05), (0.9, 0.4), (0.6, 0.55), (0.8, 0.9), (0.3, 0.8)]
    ImageDraw.Draw(picture).polygon([(x * width, y * height) for x, y in clicks], fill=1)
    picture.save(samples[2].mask)
    found = {one.code: one for one in check_data(str(tmp_path / "set"), SERIAL).findings}
    assert [Path(one.name).stem for one in found["polygonal"].concerns] == [samples[2].mask.stem]
