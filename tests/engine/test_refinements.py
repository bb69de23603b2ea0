"""The table beside refined masks: one row per mask, whatever stopped the batch, and never taken for a mask."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.data.io import read_mask
from maskwright.engine import refine, table
from maskwright.engine.evaluate import evaluate_folders
from maskwright.engine.refine import refine_folder
from maskwright.engine.refinements import COLUMNS, TABLE, RefinementTable, read_refinements, summary_line
from maskwright.errors import BatchError, ConfigError, WriteError
from maskwright.refine import refiner
from maskwright.refine.outcome import RefinementReport

STEMS = ["test_0", "test_1", "test_2"]


@pytest.fixture
def images(squares: Path) -> Path:
    return squares / "test" / "images"


@pytest.fixture
def masks(squares: Path, tmp_path: Path) -> Path:
    """The test part's masks, 0 and 1, moved by two pixels."""
    folder = tmp_path / "masks"
    folder.mkdir()
    for path in (squares / "test" / "masks").iterdir():
        Image.fromarray(np.roll(np.asarray(Image.open(path)), 2, axis=1)).save(folder / path.name)
    return folder


def report(**values: object) -> RefinementReport:
    known = {"changed_pixels": 3, "changed_share": 0.25, "estimated_gain": None, "kept": False, "seconds": 0.5}
    return RefinementReport(**known | values)  # type: ignore[arg-type]


@pytest.mark.parametrize("save", ["labels", "probabilities"])
def test_a_row_says_what_the_files_show(save: str, images: Path, masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refine_folder(images, masks, tmp_path / "labels", method="guided")
    refine_folder(images, masks, out, method="guided", save=save)  # type: ignore[arg-type]
    rows = read_refinements(out / TABLE)
    assert list(rows) == STEMS
    for stem, row in rows.items():
        before, after = read_mask(masks / f"{stem}.png"), read_mask(tmp_path / "labels" / f"{stem}.png")
        assert row.changed_pixels == np.count_nonzero(before != after) > 0
        assert row.changed_share == pytest.approx(row.changed_pixels / before.size, abs=1e-6)
        assert row.estimated_gain is None and not row.kept and row.seconds > 0


def test_a_trained_refiner_has_rows_too(refined_run: Path, images: Path, masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refine_folder(images, masks, out, refiner=refined_run)
    for stem, row in read_refinements(out / TABLE).items():
        changed = read_mask(masks / f"{stem}.png") != read_mask(out / f"{stem}.png")
        assert row.changed_pixels == np.count_nonzero(changed) and row.estimated_gain is None


def test_the_gate_is_in_the_rows_and_in_the_summary(
    images: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(masks / "test_2.png")  # nothing to refine, nothing to refuse
    for kept in (False, True):
        monkeypatch.setattr(refiner, "is_worthwhile", lambda before, after, take=not kept: take)
        out = tmp_path / f"kept {kept}"
        assert main(["refine", "--images", str(images), "--masks", str(masks), "--out", str(out)]) == 0
        rows = read_refinements(out / TABLE)
        assert [row.kept for row in rows.values()] == [kept, kept, False]
        assert [row.estimated_gain is None for row in rows.values()] == [False, False, True]
        if kept:
            assert all(row.changed_pixels == 0 and not row.estimated_gain for row in rows.values())
        shown = capsys.readouterr().out.splitlines()
        assert shown[0] == f"3 refined masks in {out}"
        assert f"the gate left {2 * kept} of 3 masks alone" in shown[1] and shown[1].endswith(str(out / TABLE))


def test_the_file_is_what_a_spreadsheet_reads(images: Path, masks: Path, tmp_path: Path) -> None:
    refine_folder(images, masks, tmp_path / "out")
    with (tmp_path / "out" / TABLE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == STEMS
    assert all(tuple(row) == COLUMNS and row["kept"] in ("true", "false") for row in rows)
    assert all(float(row["estimated_gain"]) > -1 for row in rows)


@pytest.mark.parametrize("finished", [True, False], ids=["Ctrl-C", "killed"])
def test_what_stopped_the_batch_leaves_whole_rows_and_the_next_goes_on(
    finished: bool, images: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write = refine._write

    def stop(path: Path, **arguments: object) -> None:
        if path.stem == "test_1":
            raise KeyboardInterrupt
        write(path, **arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(refine, "_write", stop)
        if not finished:
            patch.setattr(RefinementTable, "__exit__", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            refine_folder(images, masks, out, method="guided")
    before = read_refinements(out / TABLE)
    assert "test_0" in before and "test_2" not in before
    with (out / TABLE).open("a") as file:
        file.write("test_2,12,0.0")  # what a power cut may leave
    refine_folder(images, masks, out, method="guided")
    after = read_refinements(out / TABLE)
    assert list(after) == STEMS and after["test_0"] == before["test_0"]
    assert after["test_1"].seconds > 0 and (out / TABLE).read_text().count("\n") == 4


def test_masks_that_are_done_keep_their_rows_and_deleted_ones_get_new_ones(
    images: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    refine_folder(images, masks, out, method="guided")
    before = (out / TABLE).read_bytes()
    refine_folder(images, masks, out, method="guided")
    assert (out / TABLE).read_bytes() == before
    (out / "test_1.png").unlink()
    (masks / "test_1.png").write_bytes(b"broken")
    (out / "test_2.png").unlink()
    with pytest.raises(BatchError, match="test_1"):
        refine_folder(images, masks, out, method="guided")
    rows = (out / TABLE).read_text().splitlines()
    assert rows[1] == before.decode().splitlines()[1] and [row.split(",")[0] for row in rows[1:]] == STEMS[::2]


def test_a_folder_of_other_settings_keeps_its_table(images: Path, masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refine_folder(images, masks, out, method="guided")
    before = (out / TABLE).read_bytes()
    with pytest.raises(ConfigError, match="another method"):
        refine_folder(images, masks, out, method="none")
    assert (out / TABLE).read_bytes() == before


@pytest.mark.parametrize("content", ["", "mine", "name,kept\na,true\n", ",".join(COLUMNS) + "\na,1\n", "\x00\xff"])
def test_a_table_of_another_origin_is_named_and_left_alone(
    content: str, images: Path, masks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / TABLE).write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"refinement\.csv cannot be read"):
        refine_folder(images, masks, out, method="guided")
    assert (out / TABLE).read_text(encoding="latin-1") == content and len(list(out.iterdir())) == 1


def test_the_table_is_not_taken_for_a_mask(squares: Path, images: Path, masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refine_folder(images, masks, out, method="none")
    truth = squares / "test" / "masks"
    assert list(evaluate_folders(out, truth, classes=squares / "classes.yaml").names) == STEMS
    assert len(refine_folder(images, out, tmp_path / "again", method="none")) == 3
    data = tmp_path / "data"
    shutil.copytree(images, data / "images")
    shutil.copytree(out, data / "masks")
    from maskwright.data.folder import open_folder

    assert len(open_folder(data).train) == 3


def test_rows_that_cannot_be_written_fail_by_name(
    images: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise WriteError(f"cannot write {path}: no space")

    monkeypatch.setattr(table, "append_text", full)
    with pytest.raises(BatchError, match=r"0 of 3 images done, 3 failed:\s+cannot write .*refinement\.csv"):
        refine_folder(images, masks, tmp_path / "out", method="guided")
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize("name", ["a,b", 'quoted "name"', "two\nlines", "ü×", "caf\udce9"])
def test_odd_names_come_back(name: str, tmp_path: Path) -> None:
    mask = tmp_path / "mask"
    mask.touch()
    for _ in range(2):
        with RefinementTable(tmp_path / TABLE, {name: mask, "plain": mask}) as table:
            table.add(name, report(estimated_gain=-0.125, kept=True))
    rows = read_refinements(tmp_path / TABLE)
    assert list(rows.values()) == [report(estimated_gain=-0.125, kept=True)]


def test_the_summary_tells_medians_and_the_gate_where_there_is_one() -> None:
    rows = {"a": report(changed_share=0.01), "b": report(changed_share=0.02, seconds=2.0), "c": report()}
    assert summary_line(rows) == "changed 2.00% of an image (median), 0.5 s per image (median)"
    rows["c"] = report(estimated_gain=0.0, kept=True)
    assert "the gate left 1 of 3 masks alone" in summary_line(rows)
