"""The page of one run, and of several side by side."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskwright.data.catalog import DataConfig
from maskwright.engine.config import SegmenterRunConfig
from maskwright.engine.evaluate import evaluate_run
from maskwright.engine.reporting import complete_run, report_runs
from maskwright.engine.train import train_segmenter
from maskwright.errors import CheckpointError, DataError, MaskwrightError


def assert_self_contained(page: Path) -> str:
    """The page loads nothing from elsewhere."""
    html = page.read_text(encoding="utf-8")
    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", html)
    assert [source[:60] for source in sources if not source.startswith(("data:", "#"))] == []
    assert "@import" not in html and "url(http" not in html
    return html


def test_a_finished_run_gets_scores_and_a_page(refined_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(refined_run, tmp_path / "run")
    before = json.loads((run / "metrics.json").read_text())
    assert list(complete_run(run, commands=["maskwright train-refiner --coarse 'a & b'"])) == ["coarse", "DySPN"]
    html = assert_self_contained(run / "report.html")
    assert "maskwright train-refiner" in html and "a &amp; b" in html
    record = json.loads((run / "metrics.json").read_text())
    assert record["history"] == before["history"]
    assert record["part"] == "test"
    assert list(record["scores"]) == ["DySPN", "coarse"]  # the file's keys are sorted
    assert set(record["change"]) == {"iou_per_image", "iou_dataset"}
    # Once more changes nothing: the scores are read, and the page is made the same way.
    complete_run(run, commands=["maskwright train-refiner --coarse 'a & b'"])
    assert json.loads((run / "metrics.json").read_text()) == record


def test_runs_stand_side_by_side(trained_run: Path, refined_run: Path, tmp_path: Path) -> None:
    results = report_runs([trained_run, refined_run], tmp_path / "page.html", commands=["x"], title="Two runs")
    assert list(results) == ["coarse", "DySPN"]
    expected = evaluate_run(refined_run).stages
    for name, result in results.items():
        np.testing.assert_array_equal(result.counts, expected[name].counts)
    assert "Two runs" in assert_self_contained(tmp_path / "page.html")


def test_a_refined_run_alone_shows_its_coarse_stage(refined_run: Path, tmp_path: Path) -> None:
    assert list(report_runs([refined_run], tmp_path / "page.html", commands=[])) == ["coarse", "DySPN"]


def test_runs_of_one_kind_keep_different_names(trained_run: Path, refined_run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(refined_run, tmp_path / "second")
    assert list(report_runs([refined_run, other], tmp_path / "page.html", commands=[])) == ["coarse", "DySPN", "second"]
    plain = shutil.copytree(trained_run, tmp_path / "plain")
    names = list(report_runs([trained_run, plain], tmp_path / "page.html", commands=[]))
    assert len(set(names)) == 2 and "plain" in names


def test_runs_of_equal_folder_names_keep_different_names(refined_run: Path, tmp_path: Path) -> None:
    copies = [shutil.copytree(refined_run, tmp_path / name / "run") for name in "abc"]
    results = report_runs(copies, tmp_path / "page.html", commands=[])
    assert len(results) == 4


def test_runs_on_different_data_are_refused(
    trained_run: Path, squares: Path, tmp_path: Path, config_of: Callable[..., SegmenterRunConfig]
) -> None:
    folder = shutil.copytree(squares, tmp_path / "fewer")
    for kind in ("images", "masks"):
        (folder / "test" / kind / "test_2.png").unlink()
    config = config_of(epochs=1)
    config = dataclasses.replace(config, data=DataConfig(name=f"folder:{folder}"))
    other = train_segmenter(config, tmp_path / "other")
    with pytest.raises(DataError, match="other"):
        report_runs([trained_run, other], tmp_path / "page.html", commands=[])
    assert not (tmp_path / "page.html").exists()


def test_an_unfinished_run_is_named_and_not_scored_once_and_for_all(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(
        trained_run, tmp_path / "run", ignore=shutil.ignore_patterns("metrics.json", "evaluation.json")
    )
    with pytest.raises(MaskwrightError, match="finished"):
        report_runs([run], tmp_path / "page.html", commands=[])
    # Scores of weights that are still to change would be read as those of the finished run.
    assert not (run / "evaluation.json").exists()


def test_a_folder_without_a_model_is_named(trained_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing"):
        report_runs([trained_run, tmp_path / "nothing"], tmp_path / "page.html", commands=[])
