"""The audit: every form of the same masks gets the same counts, the tools' own numbers come out, and nothing is left out
silently."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torchmetrics
from PIL import Image

from maskwright.cli import main
from maskwright.engine.audit import AuditConfig, count_masks, stage_names
from maskwright.engine.audit_outputs import write_audit
from maskwright.errors import ConfigError, DataError
from maskwright.report.audit_findings import Findings

COLOURS = ((0, 0, 0), (200, 30, 30), (30, 30, 200), (240, 240, 10))
TABLE = "name,r,g,b\n" + "".join(f"c{i},{r},{g},{b}\n" for i, (r, g, b) in enumerate(COLOURS))


def put(folder: Path, name: str, values: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, probabilities=values)
    else:
        Image.fromarray(values).save(path)


def scenes(classes: int, *, count: int = 6, ignore: bool = False, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truths and predictions of images of different sizes; the last classes are rare, some images hold one class."""
    generator = np.random.default_rng(seed)
    pairs = []
    for i in range(count):
        size = (8 + i, 13 - i)
        truth = np.minimum(generator.geometric(0.5, size) - 1, classes - 1) * (i != 1)
        prediction = np.where(generator.random(size) < 0.3, generator.integers(classes, size=size), truth) * (i != 1)
        if ignore:
            truth = np.where(generator.random(size) < 0.1, 255, truth)
        pairs.append((truth.astype(np.uint8), prediction.astype(np.uint8)))
    return pairs


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return (np.arange(classes)[:, None, None] == labels).astype(np.float32)


def audit(out: Path, **settings: object) -> Findings:
    settings = {k: (v,) if k == "predictions" and isinstance(v, Path) else v for k, v in settings.items()}
    config = AuditConfig(**settings)  # type: ignore[arg-type]
    return write_audit(count_masks(config), config, out, commands=["maskwright audit"])


def counts(**settings: object) -> np.ndarray:
    settings = {k: (v,) if k == "predictions" and isinstance(v, Path) else v for k, v in settings.items()}
    (stage,) = count_masks(AuditConfig(**settings)).stages.values()  # type: ignore[arg-type]
    return stage.result.counts


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for i, (truth, prediction) in enumerate(scenes(2)):
        put(tmp_path / "truth", f"i{i}.png", truth)
        put(tmp_path / "masks", f"i{i}.png", prediction)
    return tmp_path


def test_every_form_of_binary_masks_has_the_same_counts(two: Path) -> None:
    for i, (truth, prediction) in enumerate(scenes(2)):
        noise = np.random.default_rng(i).integers(0, 40, prediction.shape)
        put(two / "truth255", f"i{i}_gt.png", truth * 255)
        put(two / "truth65535", f"i{i}_gt.png", truth.astype(np.uint16) * 65535)
        put(two / "binary", f"i{i}_pred.png", prediction * 255)
        put(two / "grey", f"i{i}.png", np.where(prediction, 200, 20).astype(np.uint8) + noise.astype(np.uint8))
        put(two / "wide", f"i{i}.png", (np.where(prediction, 200, 20) * 256 + noise).astype(np.uint16))
        put(two / "logits", f"i{i}.npy", np.where(prediction, 2.0, -2.0) + noise / 40)
        put(two / "softmax", f"i{i}.npz", one_hot(prediction, 2))
        put(two / "last", f"i{i}_prob.npy", np.moveaxis(one_hot(prediction, 2), 0, -1))
        put(two / "rgb", f"i{i}.png", np.repeat(prediction[..., None] * 255, 3, axis=2))
    expected = counts(predictions=two / "masks", targets=two / "truth")
    for form in ("binary", "grey", "wide", "logits", "softmax", "last", "rgb"):
        for truth in ("truth", "truth255", "truth65535"):
            np.testing.assert_array_equal(counts(predictions=two / form, targets=two / truth), expected, err_msg=form)


def test_every_form_of_several_classes_has_the_same_counts(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(TABLE)
    for i, (truth, prediction) in enumerate(scenes(4)):
        put(tmp_path / "truth", f"i{i}.png", truth)
        put(tmp_path / "truth_rgb", f"i{i}.png", np.array(COLOURS, np.uint8)[truth])
        put(tmp_path / "labels", f"i{i}.npy", prediction.astype(np.int64))
        put(tmp_path / "rgb", f"i{i}_color.png", np.array(COLOURS, np.uint8)[prediction])
        put(tmp_path / "soft", f"i{i}.npz", one_hot(prediction, 4) * 0.6 + 0.1)
        put(tmp_path / "logits", f"i{i}.npy", np.moveaxis(one_hot(prediction, 4) * 9 - 4, 0, -1))
    expected = counts(predictions=tmp_path / "labels", targets=tmp_path / "truth")
    for form in ("labels", "rgb", "soft", "logits"):
        for truth in ("truth", "truth_rgb"):
            found = counts(predictions=tmp_path / form, targets=tmp_path / truth, classes=tmp_path / "table.csv")
            np.testing.assert_array_equal(found, expected, err_msg=form)


@pytest.mark.parametrize(("classes", "ignore"), [(2, False), (5, False), (5, True)])
def test_numbers_equal_those_of_smp_and_torchmetrics_on_the_same_files(
    tmp_path: Path, classes: int, ignore: bool
) -> None:
    pairs = scenes(classes, ignore=ignore)
    for i, (truth, prediction) in enumerate(pairs):
        put(tmp_path / "truth", f"i{i}.png", truth)
        put(tmp_path / "masks", f"i{i}.png", prediction)
    findings = audit(tmp_path / "out", predictions=tmp_path / "masks", targets=tmp_path / "truth")
    with (tmp_path / "out" / "audit.csv").open() as file:
        written = {row["key"]: row["value"] for row in csv.DictReader(file)}
    files = [
        [torch.from_numpy(np.array(Image.open(tmp_path / kind / f"i{i}.png"))).long() for kind in ("masks", "truth")]
        for i in range(len(pairs))
    ]
    index = 255 if ignore else None
    stats = [
        smp.metrics.get_stats(mask[None], truth[None], mode="multiclass", num_classes=classes, ignore_index=index)
        for mask, truth in files
    ]
    parts = [torch.cat(part) for part in zip(*stats, strict=True)]
    for score, function in (("iou", smp.metrics.iou_score), ("f1", smp.metrics.f1_score)):
        for reduction in ("micro", "macro", "micro-imagewise", "macro-imagewise"):
            expected = float(function(*parts, reduction=reduction))
            assert float(written[f"smp.{score}.{reduction}"]) == pytest.approx(expected, abs=2e-6)
    for average in ("macro", "micro", "weighted"):
        metric = torchmetrics.classification.MulticlassJaccardIndex(classes, average=average, ignore_index=index)
        for mask, truth in files:
            metric.update(mask, truth)
        assert float(written[f"torchmetrics.jaccard.{average}"]) == pytest.approx(float(metric.compute()), abs=2e-6)
    assert findings.numbers["masks"]["smp.iou.micro"].value == pytest.approx(float(written["smp.iou.micro"]), abs=1e-6)


def test_what_is_written_agrees_and_says_what_was_read(two: Path) -> None:
    findings = audit(two / "out", predictions=two / "masks", targets=two / "truth")
    record = json.loads((two / "out" / "audit.json").read_text())
    page = (two / "out" / "report.html").read_text()
    assert record["quote"]["masks"]["value"][0] == findings.quote.interval.value
    assert f"{findings.quote.interval.value:.3f}" in page and "label maps" in page
    assert record["stages"]["masks"]["taken"] == findings.first.taken
    with (two / "out" / "images.csv").open() as file:
        images = list(csv.DictReader(file))
    assert [row["image"] for row in images] == [f"i{i}" for i in range(6)]
    mean = np.mean([float(row["iou"]) for row in images])
    assert mean == pytest.approx(record["stages"]["masks"]["scores"]["iou_per_image"], abs=1e-6)
    assert {len(row) for row in record["conventions"]} == {9}
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page
    assert sorted(path.name for path in (two / "out").iterdir()) == [
        "audit.csv",
        "audit.json",
        "images.csv",
        "report.html",
    ]


def test_two_folders_are_compared(two: Path) -> None:
    for i, (truth, prediction) in enumerate(scenes(2)):
        better = prediction.copy()
        better[: len(better) // 2] = truth[: len(truth) // 2]
        put(two / "better", f"i{i}.png", better)
        put(two / "copy", f"i{i}.png", prediction)
    folders = (two / "masks", two / "better", two / "copy")
    findings = audit(two / "out", predictions=folders, targets=two / "truth")
    better, copy = findings.pairs
    assert (better.base, better.other) == ("masks", "better")
    assert better.difference.value > 0 and better.better > 0.5 and better.worse == 0
    assert better.p <= better.p_holm <= 1 and not better.lower and better.higher
    assert (copy.difference.value, copy.p, copy.higher, copy.lower) == (0, 1, (), ())
    assert any("masks and copy have the same counts" in text for text in findings.warnings)
    page = (two / "out" / "report.html").read_text()
    assert "p (Holm)" in page and "Most improved" in page


def test_another_size_is_refused_or_enlarged_and_said(tmp_path: Path) -> None:
    for i, (truth, prediction) in enumerate(scenes(2)):
        put(tmp_path / "truth", f"i{i}.png", np.kron(truth, np.ones((2, 3), np.uint8)))
        put(tmp_path / "masks", f"i{i}.png", prediction)
    given = {"predictions": tmp_path / "masks", "targets": tmp_path / "truth"}
    with pytest.raises(DataError, match=r"6 of 6 images cannot be scored(.|\n)*--resize nearest"):
        audit(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()
    findings = audit(tmp_path / "out", **given, resize="nearest")
    assert any("6 of 6 predictions are not of the size" in text for text in findings.warnings)
    assert any("brought to it by the nearest pixel" in text for text in findings.warnings)
    small = counts(predictions=tmp_path / "masks", targets=tmp_path / "masks")
    np.testing.assert_array_equal(findings.first.result.counts[:, 1], 6 * small[:, 1])


def test_images_and_masks_in_one_folder_are_named(two: Path) -> None:
    put(two / "images", "i0.png", np.zeros((8, 13, 3), np.uint8))
    put(two / "images", "i0_mask.png", np.zeros((8, 13), np.uint8))
    with pytest.raises(DataError, match=r"2 files that share an image with another: i0\.png, i0_mask\.png"):
        counts(predictions=two / "masks", targets=two / "truth", images=two / "images")


def test_the_sizes_that_are_told_are_those_of_the_resized(two: Path) -> None:
    put(two / "masks", "i1.png", np.zeros((3, 4), np.uint8))
    findings = audit(two / "out", predictions=two / "masks", targets=two / "truth", resize="nearest")
    assert any("1 of 6 predictions" in text and "(4 x 3)" in text for text in findings.warnings)


@pytest.mark.parametrize("given", ["wide", "square", "none"])
def test_squares_that_the_images_are_not_were_scored_at_network_size(tmp_path: Path, given: str) -> None:
    for i in range(3):
        mask = np.random.default_rng(i).integers(0, 2, (64, 64)).astype(np.uint8)
        put(tmp_path / "truth", f"i{i}.png", mask)
        put(tmp_path / "masks", f"i{i}.png", mask[::-1].copy())
        put(tmp_path / "images", f"i{i}.jpg", np.zeros((64, 96 if given == "wide" else 64, 3), np.uint8))
    images = None if given == "none" else tmp_path / "images"
    findings = audit(tmp_path / "out", predictions=tmp_path / "masks", targets=tmp_path / "truth", images=images)
    said = [text for text in findings.warnings if "network" in text]
    assert len(said) == (given != "square")
    assert all(("96 x 64" in text) == (given == "wide") for text in said)


def test_copies_of_the_truth_and_constant_predictions_are_told(two: Path) -> None:
    for i, (truth, _) in enumerate(scenes(2)):
        put(two / "none", f"i{i}.png", np.zeros_like(truth))
    same = audit(two / "out", predictions=two / "truth", targets=two / "truth")
    assert any("copy of the truth" in text for text in same.warnings)
    nothing = audit(two / "out", predictions=two / "none", targets=two / "truth")
    assert any("single label all over" in text for text in nothing.warnings)


def test_broken_files_stop_the_audit_or_are_left_out_of_all_folders(two: Path) -> None:
    for i, (_, prediction) in enumerate(scenes(2)):
        put(two / "other", f"i{i}.png", prediction)
    (two / "masks" / "i2.png").write_bytes(b"no picture")
    (two / "truth" / "i4.png").write_bytes((two / "truth" / "i4.png").read_bytes()[:40])
    put(two / "other", "i5.png", np.zeros((3, 3), np.uint8))
    given = {"predictions": (two / "masks", two / "other"), "targets": two / "truth"}
    with pytest.raises(DataError) as caught:
        audit(two / "out", **given)
    assert "3 of 6 images cannot be scored" in str(caught.value)
    assert all(name in str(caught.value) for name in ("i2.png", "i4.png", "of i5"))
    findings = audit(two / "out", **given, skip_broken=True)
    assert sorted(findings.skipped) == ["i2", "i4", "i5"]
    assert {stage.result.names for stage in findings.stages} == {("i0", "i1", "i3")}
    assert "3 of 6 images could not be scored" in findings.warnings[0]
    record = json.loads((two / "out" / "audit.json").read_text())
    assert sorted(record["skipped"]) == ["i2", "i4", "i5"]
    assert "Left out" in (two / "out" / "report.html").read_text()


def test_labels_outside_the_classes_are_named_with_what_to_do(two: Path) -> None:
    (two / "classes.yaml").write_text("[background, object]\n")
    put(two / "masks", "i3.png", np.full((11, 10), 7, np.uint8))
    with pytest.raises(DataError, match=r"i3 holds 7 \(110 pixels\); expected labels 0\.\.1.*--kind"):
        audit(two / "out", predictions=two / "masks", targets=two / "truth", kind="labels")


def test_more_classes_predicted_than_true_are_counted_where_no_table_says_how_many(tmp_path: Path) -> None:
    for i, (truth, _) in enumerate(scenes(3)):
        put(tmp_path / "truth", f"i{i}.png", truth)
        put(tmp_path / "masks", f"i{i}.png", np.where(truth == 2, 4, truth).astype(np.uint8))
    findings = audit(tmp_path / "out", predictions=tmp_path / "masks", targets=tmp_path / "truth")
    assert findings.first.result.classes[-1] == "class 4"
    assert any("predicted but not in the truth" in text for text in findings.warnings)


@pytest.mark.parametrize(
    ("stretched", "says"), [((0, 50, 100), r"0, 50, 100, the truth the classes 0\.\.2"), ((3, 9, 9), "3, 9, the truth")]
)
def test_labels_stretched_to_be_seen_do_not_become_classes(
    tmp_path: Path, stretched: tuple[int, ...], says: str
) -> None:
    for i, (truth, prediction) in enumerate(scenes(3)):
        put(tmp_path / "truth", f"i{i}.png", truth)
        put(tmp_path / "masks", f"i{i}.png", np.array(stretched, np.uint8)[prediction])
    with pytest.raises(DataError, match=says):
        counts(predictions=tmp_path / "masks", targets=tmp_path / "truth")
    found = counts(predictions=tmp_path / "masks", targets=tmp_path / "truth", kind="labels")
    assert found.shape[2] == max(stretched) + 1


def test_fewer_channels_than_the_truth_has_classes_are_refused_without_a_table_too(tmp_path: Path) -> None:
    for i, (truth, prediction) in enumerate(scenes(4)):
        put(tmp_path / "truth", f"i{i}.png", truth)
        put(tmp_path / "masks", f"i{i}.npy", one_hot(prediction, 4)[1:] * 9 - 4)
    with pytest.raises(DataError, match=r"3 channel\(s\) of logits; expected one for each of the 4 classes"):
        counts(predictions=tmp_path / "masks", targets=tmp_path / "truth")


@pytest.mark.parametrize("case", ["one image", "one class", "all ignored", "1x1", "one empty"])
def test_little_to_score_still_gives_a_page_without_a_warning(tmp_path: Path, case: str) -> None:
    truth, prediction = scenes(2)[0]
    mask = {
        "one image": (truth, prediction),
        "one class": (truth * 0, prediction * 0),
        "all ignored": (np.full_like(truth, 255), prediction),
        "1x1": (np.ones((1, 1), np.uint8), np.zeros((1, 1), np.uint8)),
        "one empty": (truth * 0, prediction),
    }[case]
    for i in range(1 if case == "one image" else 3):
        put(tmp_path / "truth", f"i{i}.png", mask[0])
        put(tmp_path / "masks", f"i{i}.png", mask[1])
        put(tmp_path / "other", f"i{i}.png", mask[1])
    folders = (tmp_path / "masks", tmp_path / "other")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        findings = audit(
            tmp_path / "out", predictions=folders, targets=tmp_path / "truth", target_kind="labels", boundary=True
        )
    assert len(findings.first.result.names) == (1 if case == "one image" else 3)
    page = (tmp_path / "out" / "report.html").read_text()
    assert ">nan" not in page and "nan to" not in page
    json.loads((tmp_path / "out" / "audit.json").read_text())


def test_wrong_paths_and_settings_are_named_errors(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, masks = str(two / "truth"), str(two / "masks")
    (two / "empty").mkdir()
    (two / "run").mkdir()
    (two / "run" / "config.yaml").touch()
    for arguments, says in (
        (["--predictions", str(two / "nowhere"), "--targets", truth], "nowhere: cannot be listed"),
        (["--predictions", masks, "--targets", str(two / "empty")], "holds no mask"),
        (["--predictions", str(two / "empty"), "--targets", truth], "holds no mask"),
        (
            ["--predictions", str(two / "masks" / "i0.png"), "--targets", truth],
            "expected a folder of masks for --predictions",
        ),
        (["--predictions", masks], "expected --targets"),
        (["--predictions", masks, "--targets", truth, "--data", "digits"], "and not both"),
        (["--predictions", masks, "--targets", truth, "--train", masks], "--images"),
        (["--predictions", masks, "--targets", truth, "--classes", str(two / "no.csv")], "does not exist"),
        (["--predictions", masks, "--targets", truth, "--images", str(two / "empty")], "holds no image"),
        (["--predictions", masks, masks, "--targets", truth], "different folders"),
        (["--predictions", masks, "--targets", truth, "--out", str(two / "run")], "folder of a run"),
        (["--predictions", masks, "--targets", truth, "--kind", "heatmap"], "heatmap"),
    ):
        assert main(["audit", "--out", str(two / "out"), *arguments]) == 2, says
        assert says in " ".join(capsys.readouterr().err.split())
    assert not (two / "out").exists()


def test_the_command_quotes_first_and_writes_to_the_folder(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--predictions", str(two / "masks"), "--targets", str(two / "truth"), "--skip-broken"]
    assert main(["audit", *arguments, "--out", str(two / "out")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("quote: IoU of the foreground, per image")
    assert "<- quote" in said and said.rstrip().endswith("report.html")


def test_ctrl_c_leaves_nothing_half_written(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("maskwright.report.audit.write_text", stop)
    arguments = ["--predictions", str(two / "masks"), "--targets", str(two / "truth"), "--out", str(two / "out")]
    assert main(["audit", *arguments]) == 130
    assert not (two / "out").exists()


def test_a_data_set_is_the_truth_too(squares: Path, tmp_path: Path) -> None:
    for path in (squares / "test" / "masks").iterdir():
        put(tmp_path / "masks", path.name, np.array(Image.open(path)))
    put(tmp_path / "masks", "stranger.png", np.zeros((3, 3), np.uint8))
    found = audit(tmp_path / "out", predictions=tmp_path / "masks", data=f"folder:{squares}")
    assert found.quote.interval.value == 1
    assert found.first.result.classes == ("background", "square")


def test_folders_of_the_same_name_are_told_apart_by_the_one_above() -> None:
    assert list(stage_names([Path("/a/x/test"), Path("/a/y/test")])) == ["x/test", "y/test"]
    with pytest.raises(ConfigError, match="different folders"):
        stage_names([Path("/a/x"), Path("/a/x")])
