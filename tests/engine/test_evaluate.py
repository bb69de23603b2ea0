"""Scoring: a run and a folder of its masks get the same numbers, and nothing that does not fit is scored silently."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.cli import main
from maskwright.data.catalog import DataConfig, open_data
from maskwright.engine.borders import border_notes
from maskwright.engine.evaluate import compare, evaluate_folders, evaluate_run, scored_part
from maskwright.engine.predict import predict_folder
from maskwright.errors import ConfigError, DataError
from maskwright.metrics import BOUNDARY_STATISTICS, BoundaryMeter, BoundaryResult
from maskwright.metrics.bootstrap import bootstrap, change
from maskwright.metrics.boundary_meter import boundary_values
from maskwright.metrics.scores import scores
from maskwright.types import EvaluationResult, Splits


def write(folder: Path, masks: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, mask in masks.items():
        if name.endswith(".npz"):
            np.savez(folder / name, probabilities=mask)
        else:
            Image.fromarray(mask.astype(np.uint8)).save(folder / name)
    return folder


def square(side: int, *, value: int = 1) -> np.ndarray:
    mask = np.zeros((10, 10), np.uint8)
    mask[:side, :side] = value
    return mask


def assert_same_counts(one: EvaluationResult, other: EvaluationResult) -> None:
    assert one.classes == other.classes
    assert one.names == other.names
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_array_equal(one.confusion, other.confusion)
    np.testing.assert_array_equal(one.ignored, other.ignored)


def assert_same_boundary(one: EvaluationResult, other: EvaluationResult) -> None:
    assert isinstance(one, BoundaryResult) and isinstance(other, BoundaryResult)
    assert (one.border_share, one.empty_value) == (other.border_share, other.empty_value)
    for name in BOUNDARY_STATISTICS:
        np.testing.assert_array_equal(one.boundary[name], other.boundary[name])


@pytest.mark.parametrize("save", ["labels", "probabilities"])
@pytest.mark.parametrize("refined", [False, True])
def test_a_run_and_a_folder_of_its_masks_get_the_same_numbers(
    save: str, refined: bool, trained_run: Path, refined_run: Path, squares: Path, tmp_path: Path
) -> None:
    run = refined_run if refined else trained_run
    predict_folder(run, squares / "test" / "images", tmp_path / "masks", save=save)  # type: ignore[arg-type]
    by_folder = evaluate_folders(tmp_path / "masks", squares / "test" / "masks", classes=squares / "classes.yaml")
    evaluation = evaluate_run(run)
    assert evaluation.part == "test"
    assert list(evaluation.stages) == (["coarse", "DySPN"] if refined else ["coarse"])
    assert_same_counts(list(evaluation.stages.values())[-1], by_folder)


def test_the_coarse_stage_of_a_refined_run_is_the_coarse_run(trained_run: Path, refined_run: Path) -> None:
    assert_same_counts(evaluate_run(refined_run).stages["coarse"], evaluate_run(trained_run).stages["coarse"])


def test_scores_are_kept_and_come_back_the_same(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_run = shutil.copytree(trained_run, tmp_path / "coarse", ignore=shutil.ignore_patterns("evaluation.json"))
    first = evaluate_run(trained_run)
    with monkeypatch.context() as patch:
        patch.setattr("maskwright.engine.evaluate.Predictor.load", lambda *a, **k: pytest.fail("scored again"))
        again = evaluate_run(trained_run)
    assert list(again.stages) == list(first.stages)
    assert_same_counts(again.stages["coarse"], first.stages["coarse"])


def test_boundary_scores_are_added_to_a_run_that_was_scored_without(
    refined_run: Path, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(refined_run, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation.json"))
    plain = evaluate_run(run)
    assert not any(isinstance(result, BoundaryResult) for result in plain.stages.values())
    assert "boundary" not in (run / "evaluation.json").read_text()
    found = evaluate_run(run, boundary=True)
    assert list(found.stages) == list(plain.stages)
    with monkeypatch.context() as patch:
        patch.setattr("maskwright.engine.evaluate.Predictor.load", lambda *a, **k: pytest.fail("scored again"))
        again = [evaluate_run(run, boundary=True), evaluate_run(run)]
    for name, result in found.stages.items():
        assert_same_counts(result, plain.stages[name])
        for stored in again:
            assert_same_boundary(stored.stages[name], result)
    predict_folder(run, squares / "test" / "images", tmp_path / "masks")
    by_folder = evaluate_folders(tmp_path / "masks", squares / "test" / "masks", boundary=True)
    assert_same_boundary(by_folder, found.stages["DySPN"])


def test_undefined_boundary_scores_survive_the_file(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    evaluate_run(run, boundary=True)
    stored = json.loads((run / "evaluation.json").read_text())
    stored["stages"][0]["boundary"]["scores"]["boundary_f"][1] = None
    (run / "evaluation.json").write_text(json.dumps(stored))
    (result,) = evaluate_run(run, boundary=True).stages.values()
    values = boundary_values(result, "boundary_f")
    assert np.isnan(values).tolist() == [False, True, False]
    del stored["stages"][0]["boundary"]["scores"]["boundary_f"]
    (run / "evaluation.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match="delete it, and the run is scored again"):
        evaluate_run(run)


def test_a_page_on_pet_states_the_border_that_was_scored() -> None:
    counted, ignored = (border_notes(DataConfig(name="pets:DIR", border=border)) for border in ("pet", "ignore"))
    assert "counts as pet" in counted[0] and "is ignored" in ignored[0]
    assert border_notes(DataConfig(name="folder:DIR")) == ()


def test_damaged_scores_are_named(trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    for content in ("", "{}", '{"part": "test", "stages": [{}]}', '{"part": "test", "stages": 3}', "[]"):
        (run / "evaluation.json").write_text(content)
        with pytest.raises(DataError, match="delete it, and the run is scored again"):
            evaluate_run(run)


def test_the_test_part_is_scored_else_the_validation_part(squares: Path, trained_run: Path) -> None:
    splits = open_data(DataConfig(name=f"folder:{squares}"))
    assert scored_part(splits) == ("test", splits.test)
    assert scored_part(Splits(train=splits.train, val=splits.val, test=None)) == ("val", splits.val)
    with pytest.raises(DataError, match=r"no test and no validation part.*val_fraction"):
        scored_part(Splits(train=splits.train, val=None, test=None))


def test_known_masks_get_their_known_scores(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {"a.png": square(4), "b.png": square(8)})
    masks = write(tmp_path / "masks", {"a.png": square(2), "b_mask.png": square(8)})
    result = evaluate_folders(masks, truth)
    assert result.classes == ("background", "foreground")
    assert result.names == ("a", "b")
    found = scores(result)
    assert found.iou_per_image == pytest.approx((4 / 16 + 1) / 2)
    assert found.iou_dataset == pytest.approx((4 + 64) / (16 + 64))


def test_probabilities_are_cut_at_one_half(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {"a.png": square(4)})
    one = write(tmp_path / "one", {"a.npz": np.where(square(4) == 1, 0.5, 0.499)[None]})
    both = write(tmp_path / "both", {"a.npz": np.stack((1 - 0.9 * square(4), 0.9 * square(4)))})
    for masks in (one, both):
        assert scores(evaluate_folders(masks, truth)).iou_per_image == 1
    three = write(tmp_path / "three", {"a.npz": np.full((3, 10, 10), 1 / 3)})
    with pytest.raises(DataError, match=r"a\.npz holds 3 channels; expected 1 for 2 classes"):
        evaluate_folders(three, truth)


def test_predictions_of_0_and_255_are_understood_and_a_truth_of_them_explained(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {"a.png": square(4)})
    masks = write(tmp_path / "masks", {"a.png": square(4, value=255)})
    assert scores(evaluate_folders(masks, truth)).iou_per_image == 1
    with pytest.raises(DataError, match=r"0 and 255 only.*binary_foreground: 255"):
        evaluate_folders(masks, masks)
    (tmp_path / "classes.yaml").write_text("names: [background, object]\nbinary_foreground: 255\n")
    assert scores(evaluate_folders(masks, masks)).iou_per_image == 1


def test_a_truth_of_0_and_255_is_explained_where_the_classes_have_names_too(tmp_path: Path) -> None:
    masks = write(tmp_path / "masks", {"a.png": square(4, value=255), "b.png": square(5, value=255)})
    (tmp_path / "classes.yaml").write_text("[background, object]\n")
    with pytest.raises(DataError, match="binary_foreground: 255"):
        evaluate_folders(masks, masks)


def test_ignored_pixels_are_counted_and_left_out(tmp_path: Path) -> None:
    truth = square(4)
    truth[0, :4] = 255
    result = evaluate_folders(
        write(tmp_path / "masks", {"a.png": square(4)}), write(tmp_path / "truth", {"a.png": truth})
    )
    assert result.ignored.tolist() == [4]
    assert result.confusion.tolist() == [[84, 0], [0, 12]]


def test_the_number_of_classes_comes_from_the_truth_or_is_given(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {"a.png": np.arange(100).reshape(10, 10) % 3})
    assert evaluate_folders(truth, truth).classes == ("background", "class 1", "class 2")
    assert len(evaluate_folders(truth, truth, num_classes=5).classes) == 5


@pytest.mark.parametrize("num_classes", [-1, 0, 1, 2, 300])
def test_a_number_of_classes_that_cannot_be_is_a_named_error(num_classes: int, tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {"a.png": np.arange(100).reshape(10, 10) % 3})
    with pytest.raises((ConfigError, DataError)):
        evaluate_folders(truth, truth, num_classes=num_classes)


def test_a_predicted_label_outside_the_classes_is_named(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {"cat.png": square(4)})
    masks = write(tmp_path / "masks", {"cat.png": square(4, value=7)})
    with pytest.raises(DataError, match=r"cat.*7"):
        evaluate_folders(masks, truth)


def test_a_size_that_differs_is_named(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {"cat.png": square(4)})
    masks = write(tmp_path / "masks", {"cat.png": square(4)[:8]})
    with pytest.raises(DataError, match="cat"):
        evaluate_folders(masks, truth)


def test_all_files_without_a_partner_are_named(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {"a.png": square(1), "b.png": square(1), "only_true.png": square(1)})
    masks = write(tmp_path / "masks", {"a.png": square(1), "b.png": square(1), "only_made.png": square(1)})
    with pytest.raises(DataError, match="2 file") as caught:
        evaluate_folders(masks, truth)
    assert "only_made.png (nothing of that stem in truth)" in str(caught.value)
    assert "only_true.png (no mask in masks)" in str(caught.value)
    write(masks, {"a_mask.png": square(1)})
    with pytest.raises(DataError, match=r"a_mask\.png \(more than one file"):
        evaluate_folders(masks, truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no mask"):
        evaluate_folders(tmp_path / "empty", truth)
    with pytest.raises(ConfigError, match=r"classes\.yaml"):
        evaluate_folders(truth, truth, classes=tmp_path / "nowhere.yaml")


def test_the_change_is_that_of_the_headline_scores(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth", {f"{i}.png": square(4 + i) for i in range(4)})
    worse = write(tmp_path / "worse", {f"{i}.png": square(3 + i) for i in range(4)})
    base, best = evaluate_folders(worse, truth), evaluate_folders(truth, truth)
    change = compare(base, best)["iou_per_image"]
    assert change.interval.value == pytest.approx(1 - scores(base).iou_per_image)
    assert (change.better, change.worse) == (1, 0)


@pytest.mark.parametrize("with_base", [False, True])
def test_the_command_writes_numbers_and_a_page(
    with_base: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write(tmp_path / "truth", {f"{i}.png": square(4 + i) for i in range(3)})
    base = write(tmp_path / "before", {f"{i}.png": square(2 + i) for i in range(3)})
    masks = write(tmp_path / "after", {f"{i}.png": square(3 + i) for i in range(3)})
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        Image.fromarray(np.full((10, 10, 3), 90, np.uint8)).save(images / f"{number}.jpg")
    options = ["--predictions", str(masks), "--targets", str(truth), "--out", str(tmp_path / "out")]
    if with_base:
        options += ["--base", str(base), "--images", str(images)]
    assert main(["evaluate", *options]) == 0

    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(record["scores"]) == (["base", "predictions"] if with_base else ["predictions"])
    expected = scores(evaluate_folders(masks, truth)).iou_per_image
    assert record["scores"]["predictions"]["iou_per_image"] == pytest.approx(expected)
    assert ("change" in record) == with_base
    if with_base:
        change = record["change"]["predictions"]["iou_per_image"]
        assert change["change"] == pytest.approx(expected - record["scores"]["base"]["iou_per_image"])
        assert change["low"] <= change["change"] <= change["high"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html")
    output = capsys.readouterr().out
    assert f"{expected:.4f}" in output and "report.html" in output


@pytest.mark.parametrize("with_base", [False, True])
def test_the_command_scores_boundaries_where_asked(
    with_base: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = np.full((10, 10), 255, np.uint8)
    truths = {f"{i}.png": square(4 + i) for i in range(3)} | {"3.png": hidden}
    truth = write(tmp_path / "truth", truths)
    folders = {"base": write(tmp_path / "before", {f"{i}.png": square(2 + i) for i in range(4)})} if with_base else {}
    folders["predictions"] = write(tmp_path / "after", {f"{i}.png": square(3 + i) for i in range(4)})
    options = ["--targets", str(truth), "--out", str(tmp_path / "out"), "--boundary"]
    assert main(["evaluate", *options, *(word for n, f in folders.items() for word in (f"--{n}", str(f)))]) == 0

    results = {}
    for name, folder in folders.items():
        meter = BoundaryMeter(("background", "foreground"))
        for stem in "0123":
            mask = np.asarray(Image.open(folder / f"{stem}.png"))
            meter.update(stem, mask, truths[f"{stem}.png"])
        results[name] = meter.result()
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    output = capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "At the edge" in page
    for name, result in results.items():
        stored = record["scores"][name]["boundary"]
        assert (stored["border_share"], stored["empty_value"]) == (0.05, 1)
        for statistic in BOUNDARY_STATISTICS:
            expected = bootstrap(result, statistic)
            assert stored[statistic] == pytest.approx(
                {"mean": expected.value, "low": expected.low, "high": expected.high, "images": 3}
            )
        assert f"{bootstrap(result, 'trimap_iou'):.4f}" in output
    assert "Trimap IoU, 0.5 %" in output
    if with_base:
        expected_change = change(results["base"], results["predictions"], "mean_boundary_accuracy").interval
        stored = record["change"]["predictions"]["mean_boundary_accuracy"]
        assert stored["change"] == pytest.approx(expected_change.value)
        assert (stored["low"], stored["high"]) == pytest.approx((expected_change.low, expected_change.high))
        assert f"{expected_change:+.4f}" in output


def test_without_the_switch_no_boundary_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = write(tmp_path / "truth", {f"{i}.png": square(4 + i) for i in range(3)})
    monkeypatch.setattr("maskwright.metrics.boundary_meter.boundary_scores", lambda *a, **k: pytest.fail("scored"))
    options = ["--predictions", str(truth), "--base", str(truth), "--targets", str(truth)]
    assert main(["evaluate", *options, "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(record["change"]["predictions"]) == {"iou_per_image", "iou_dataset"}
    assert "boundary" not in record["scores"]["predictions"]
    assert "At the edge" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_several_folders_are_set_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write(tmp_path / "truth", {f"{i}.png": square(4 + i) for i in range(3)})
    folders = [write(tmp_path / f"by {side}", {f"{i}.png": square(side + i) for i in range(3)}) for side in (2, 3, 5)]
    options = ["--targets", str(truth), "--out", str(tmp_path / "out")]
    assert main(["evaluate", "--predictions", *map(str, folders[1:]), "--base", str(folders[0]), *options]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(record["scores"]) == {"base", "by 3", "by 5"} and set(record["change"]) == {"by 3", "by 5"}
    output = capsys.readouterr().out
    for folder in folders[1:]:
        expected = compare(evaluate_folders(folders[0], truth), evaluate_folders(folder, truth))["iou_per_image"]
        assert record["change"][folder.name]["iou_per_image"]["change"] == pytest.approx(expected.interval.value)
        assert f"{expected.interval:+.4f}" in output
    # Without a base the first is it.
    assert main(["evaluate", "--predictions", *map(str, folders), *options]) == 0
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(record["change"]) == {"by 3", "by 5"}
    assert main(["evaluate", "--predictions", str(folders[0]), str(folders[0]), *options]) == 2
    assert "two folders of masks are called by 2" in capsys.readouterr().err
