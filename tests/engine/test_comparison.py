"""`maskwright compare`: every run once, failures named and the others compared, the files and the page alike."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from comparisons import made_up_results
from maskwright.cli import main
from maskwright.data.catalog import DataConfig
from maskwright.engine import comparison as module
from maskwright.engine import costs, train
from maskwright.engine.candidates import ComparisonConfig
from maskwright.engine.comparison import compare_networks, short_labels
from maskwright.engine.comparison_pictures import telling_images
from maskwright.engine.config import SegmenterRunConfig, TrainConfig
from maskwright.engine.evaluate import evaluate_run, evaluate_validation
from maskwright.engine.footprint import Footprint, footprint_here, measure_footprint
from maskwright.engine.run import RunFolder, read_config
from maskwright.engine.weak import make_weak_labels
from maskwright.errors import BatchError, ConfigError, DataError, TrainingError
from maskwright.metrics.ranking import rank
from maskwright.models import ModelConfig, build
from maskwright.models.cost import macs, parameters
from maskwright.report.choice import Comparison, MeasuredCost
from maskwright.types import Splits

NAMES = ("segnet_lite", "smp:Unet/tu-lcnet_050@none")
FOLDERS = ("segnet_lite", "smp_Unet_tu-lcnet_050@none")
COST = MeasuredCost(images_per_second=10.0, images_per_second_batch=20.0, predicting_bytes=10**8, training_bytes=None)


@pytest.fixture(scope="module")
def config(squares: Path) -> ComparisonConfig:
    return ComparisonConfig(
        data=DataConfig(name=f"folder:{squares}"),
        models=NAMES,
        train=TrainConfig(epochs=1, batch_size=3, learning_rate=0.01, device="cpu"),
        seeds=2,
    )


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measured_cost", lambda run, **settings: COST)


@pytest.fixture(scope="module")
def finished(config: ComparisonConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """A finished comparison, and its folder."""
    out = tmp_path_factory.mktemp("compare") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measured_cost", lambda run, **settings: COST)
        return out, compare_networks(config, out, commands=["maskwright compare …"])


def runs_of(out: Path) -> list[Path]:
    return [out / "runs" / folder / f"seed-{seed}" for folder in FOLDERS for seed in (0, 1)]


def test_every_run_is_one_as_train_leaves_it(config: ComparisonConfig, finished: tuple[Path, Comparison]) -> None:
    out, comparison = finished
    for run, seed in zip(runs_of(out), (0, 1, 0, 1), strict=True):
        assert read_config(RunFolder(root=run), SegmenterRunConfig).train.seed == seed
        for file in ("model.safetensors", "metrics.json", "report.html", "evaluation.json", "evaluation_val.json"):
            assert (run / file).is_file()
    assert tuple(comparison.candidates) == NAMES
    assert (comparison.part, comparison.images, comparison.reported_images) == ("val", 3, 3)


def test_the_validation_part_decides_and_the_test_part_reports(finished: tuple[Path, Comparison]) -> None:
    out, comparison = finished
    runs = dict(zip(NAMES, (runs_of(out)[:2], runs_of(out)[2:]), strict=True))
    decided = rank({name: [evaluate_validation(run) for run in of_one] for name, of_one in runs.items()})
    assert comparison.ranking == decided
    tested = rank(
        {name: [next(iter(evaluate_run(run).stages.values())) for run in of_one] for name, of_one in runs.items()}
    )
    for name in NAMES:
        assert comparison.candidates[name].reported == tested.candidates[name].score
    history = json.loads((runs[NAMES[0]][0] / "metrics.json").read_text())["history"]
    assert decided.candidates[NAMES[0]].by_seed[0] == pytest.approx(max(history["val_score"]), abs=1e-6)


def test_files_and_page_say_the_same(finished: tuple[Path, Comparison]) -> None:
    out, comparison = finished
    record = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    with (out / "compare.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert [row["name"] for row in rows] == [one["name"] for one in record["candidates"]] == comparison.in_order
    assert [row["name"] for row in rows if row["recommended"] == "1"] == [record["recommended"]]
    for row, one in zip(rows, record["candidates"], strict=True):
        assert float(row["score"]) == pytest.approx(one["score"]["value"], abs=1e-6)
        assert one["score"]["value"] == pytest.approx(np.mean(one["score_by_seed"]))
        assert int(row["macs"]) == one["macs"] and row["training_bytes"] == ""
        assert f"{one['score']['value']:.3f}" in page
    assert "maskwright compare …" in page and record["config"]["seeds"] == 2


def test_a_second_call_does_nothing_twice(
    config: ComparisonConfig, finished: tuple[Path, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, comparison = finished
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*") if path.name != "config.yaml"}

    def never(*arguments: object, **settings: object) -> None:
        raise AssertionError("trained, or scored, again")

    monkeypatch.setattr(train, "fit", never)
    monkeypatch.setattr(module, "complete_run", never)
    again = compare_networks(config, out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again == comparison


def test_what_is_missing_is_trained_and_the_rest_kept(
    config: ComparisonConfig, finished: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished[0], tmp_path / "out")
    gone = runs_of(tmp_path / "out")[1]
    shutil.rmtree(gone)
    trained = []
    fit = train.fit

    def noted(task: object, job: train.Job) -> object:
        trained.append(job.folder.root)
        return fit(task, job)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "fit", noted)
    again = compare_networks(config, tmp_path / "out")
    assert trained == [gone]
    assert again.ranking == finished[1].ranking  # the same seed gives the same weights


def test_other_settings_are_refused_before_anything_is_trained(
    config: ComparisonConfig, finished: tuple[Path, Comparison]
) -> None:
    other = replace(config, train=replace(config.train, epochs=2), models=("unet", *NAMES))
    with pytest.raises(ConfigError, match="another configuration"):
        compare_networks(other, finished[0])
    assert not (finished[0] / "runs/unet/seed-0/model.safetensors").exists()
    shutil.rmtree(finished[0] / "runs/unet", ignore_errors=True)


def test_wrong_names_cost_no_training(config: ComparisonConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 of 3 candidates") as caught:
        compare_networks(replace(config, models=("segnet_lite", "unnet", "smp:Unet/resnot")), tmp_path / "out")
    assert "did you mean unet" in str(caught.value) and not (tmp_path / "out").exists()


def test_a_run_that_fails_is_named_and_the_others_go_on(
    config: ComparisonConfig, finished: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished[0], tmp_path / "out")
    for run in runs_of(tmp_path / "out"):
        if run != runs_of(tmp_path / "out")[0]:
            shutil.rmtree(run)
    train_segmenter = module.train_segmenter

    def failing(run_config: SegmenterRunConfig, out: Path, **settings: object) -> Path:
        if "lcnet" in run_config.model.name:
            raise TrainingError("out of memory with one image per batch")
        if run_config.train.seed == 1:
            raise RuntimeError("odd")
        return train_segmenter(run_config, out, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train_segmenter", failing)
    found = compare_networks(config, tmp_path / "out")
    assert tuple(found.candidates) == NAMES[:1] and found.ranking.seed_degrees == 0
    assert found.failed == {
        f"{NAMES[1]}, seed 0": "out of memory with one image per batch",
        f"{NAMES[0]}, seed 1": "RuntimeError: odd",
        f"{NAMES[1]}, seed 1": "out of memory with one image per batch",
    }
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "out of memory with one image per batch" in page and "only candidate" in page


def test_if_every_run_fails_there_is_nothing_to_compare(
    config: ComparisonConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object, **settings: object) -> Path:
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(module, "train_segmenter", failing)
    with pytest.raises(BatchError, match="no training could be finished") as caught:
        compare_networks(config, tmp_path / "out")
    assert str(caught.value).count("the loss is nan") == 4


def test_faults_of_the_data_stop_at_once(
    config: ComparisonConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def failing(*arguments: object, **settings: object) -> Path:
        calls.append(arguments)
        raise DataError("a mask is missing")

    monkeypatch.setattr(module, "train_segmenter", failing)
    with pytest.raises(DataError):
        compare_networks(config, tmp_path / "out")
    assert len(calls) == 1


def test_the_command_shows_the_table_and_tells_failures(
    squares: Path,
    finished: tuple[Path, Comparison],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = [
        *("compare", "--data", f"folder:{squares}", "--models", ", ".join(NAMES), "--seeds", "2"),
        *("--train.epochs", "1", "--train.batch_size", "3", "--train.learning_rate", "0.01", "--train.device", "cpu"),
        *("--out", str(finished[0])),
    ]
    assert main(command) == 0
    output = capsys.readouterr().out
    assert "segnet_lite" in output and "take " in output and f"report: {finished[0] / 'report.html'}" in output
    failed = replace(finished[1], failed={"unet, seed 1": "the loss is nan"})
    monkeypatch.setattr(module, "compare_networks", lambda *arguments, **settings: failed)
    assert main(command) == 1
    output = capsys.readouterr()
    assert "segnet_lite" in output.out and "unet, seed 1: the loss is nan" in output.err


def test_cost_is_measured_once_and_again_where_something_changed(
    finished: tuple[Path, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "lite" / "seed-0"
    shutil.copytree(runs_of(finished[0])[0], run)
    monkeypatch.setattr(costs, "ENOUGH_SECONDS", 0.01)
    unknown = Footprint(predicting=None, training=None)
    monkeypatch.setattr(costs, "measure_footprint", lambda run, **sizes: unknown)
    settings = {"height": 32, "width": 32, "device": "cpu"}
    first = costs.measured_cost(run, batch_size=2, **settings)  # type: ignore[arg-type]
    assert first.images_per_second > 0 and first.images_per_second_batch > 0
    calls = []
    monkeypatch.setattr(costs, "seconds_per_pass", lambda *arguments, **sizes: calls.append(sizes) or 1.0)
    assert costs.measured_cost(run, batch_size=2, **settings) == first and not calls  # type: ignore[arg-type]
    costs.measured_cost(run, batch_size=4, **settings)  # type: ignore[arg-type]
    assert len(calls) == 2
    (run.parent / costs.FILE).write_text("{", encoding="utf-8")
    costs.measured_cost(run, batch_size=4, **settings)  # type: ignore[arg-type]
    assert len(calls) == 4


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak")
def test_training_takes_more_memory_than_predicting(finished: tuple[Path, Comparison]) -> None:
    # In a process of its own: this one may have room left from other tests.
    found = measure_footprint(runs_of(finished[0])[0], height=128, width=128)
    assert found.predicting is not None and found.training is not None
    assert found.predicting < found.training
    # Of 3 images of 128×128, in float32, SegNet-lite keeps at least what its first level makes, 32 channels, thrice.
    assert found.training > 3 * 3 * 32 * 128 * 128 * 4


def test_memory_is_measured_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@" >&2\necho remark\necho "{\\"predicting\\": $4, \\"training\\": null}"\n')
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    assert measure_footprint(tmp_path, height=8, width=16) == Footprint(predicting=8, training=None)
    monkeypatch.setattr("sys.executable", "false")
    assert measure_footprint(tmp_path, height=8, width=8) == Footprint(predicting=None, training=None)


def test_labels_are_short_and_different() -> None:
    assert short_labels(["tu-lcnet_050@imagenet", "resnet18", "resnet18@imagenet"]) == {
        "tu-lcnet_050@imagenet": "lcnet_050",
        "resnet18": "resnet18",
        "resnet18@imagenet": "resnet18@imagenet",
    }


def test_telling_images_are_the_worst_and_then_the_most_different() -> None:
    results = made_up_results({"a": 0.7, "b": 0.6}, images=8)
    ious = {
        name: np.mean([r.counts[:, 0, 1] / r.counts[:, 2, 1] for r in of_one], axis=0)
        for name, of_one in results.items()
    }
    worst, widest = telling_images(results, "b", count=2)
    order = np.argsort(ious["b"])
    assert worst == [f"image {i}" for i in order[:2]]
    rest = sorted(order[2:], key=lambda i: -abs(ious["a"][i] - ious["b"][i]))
    assert widest == [f"image {i}" for i in rest[:2]]


def test_weak_labels_are_what_every_candidate_learns_from(
    config: ComparisonConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_weak_labels(config.data, tmp_path / "labels", share=0.1)
    seen = []

    def noted(run_config: SegmenterRunConfig, out: Path, *, splits: Splits, label: str) -> Path:
        seen.append((splits.train[0].target, splits.val[0].target))
        raise TrainingError("far enough")

    monkeypatch.setattr(module, "train_segmenter", noted)
    with pytest.raises(BatchError):
        compare_networks(
            replace(config, data=replace(config.data, labels=f"scribble:{tmp_path / 'labels'}")), tmp_path / "out"
        )
    assert len(seen) == 4
    for learned, scored in seen:
        assert (learned == 255).float().mean() > 0.8
        assert (scored != 255).all()


def test_images_of_other_channels_are_compared_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for part, count in (("train", 3), ("val", 2)):
        for kind in ("images", "masks"):
            (tmp_path / "data" / part / kind).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 256, (32, 32, 4), np.uint8)
            np.save(tmp_path / "data" / part / "images" / f"{index}.npy", pixels)
            truth = generator.integers(0, 2, (32, 32)).astype(np.uint8)
            np.save(tmp_path / "data" / part / "masks" / f"{index}.npy", truth)
    config = ComparisonConfig(
        data=DataConfig(name=f"folder:{tmp_path / 'data'}", channels=4),
        model=ModelConfig(name="unet", options={"width": 4}),
        models=("unet",),
        train=TrainConfig(epochs=1, batch_size=2, device="cpu"),
        seeds=1,
    )
    monkeypatch.setattr(costs, "ENOUGH_SECONDS", 0.01)
    monkeypatch.setattr(costs, "measure_footprint", footprint_here)
    monkeypatch.setattr(module, "measured_cost", costs.measured_cost)
    (found,) = compare_networks(config, tmp_path / "out").candidates.values()
    network = build(ModelConfig(name="unet", options={"width": 4}), num_classes=2, in_channels=4)
    assert (found.parameters, found.macs) == (parameters(network), macs(network, height=32, width=32, channels=4))
    assert found.measured.images_per_second > 0
    assert (tmp_path / "out/report.html").read_text(encoding="utf-8").count('alt="image of ') == 2
