"""`maskwright cluster`: its files say the same, a bad image stops nothing, and whatever stops it, it goes on."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from folders import names_in
from maskwright.cli import main
from maskwright.cluster import segment
from maskwright.data.io import read_image, read_labels, read_mask
from maskwright.engine import cluster
from maskwright.engine.cluster import ClusterTable, cluster_folder, filled, outlined
from maskwright.errors import BatchError, ConfigError, DataError
from maskwright.report import clusters

QUICK = {"steps": 1}
NAMES = ["test_0", "test_1", "test_2"]


def mode_and_size(path: Path) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as picture:
        picture.load()
        return picture.mode, picture.size


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three pictures of two and three colours, 12×16 pixels."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        image = np.full((12, 16, 3), 60, np.uint8)
        image[2:8, 3:10] = (200, 40, 40)
        image[9, 12 : 12 + number] = (40, 40, 200)
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder


def test_every_file_says_the_same(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = cluster_folder(images, out, **QUICK)
    assert written == [out / "labels" / f"{name}.png" for name in NAMES]
    assert [names_in(out / part) for part in ("labels", "filled", "outlined")] == [[f"{n}.png" for n in NAMES]] * 3
    with (out / "clusters.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == NAMES
    for name in NAMES:
        image = read_image(images / f"{name}.png")
        labels = read_mask(out / "labels" / f"{name}.png")
        np.testing.assert_array_equal(labels, segment(image, **QUICK)[0])
        assert int(rows[name]["segments"]) == labels.max() + 1 == int(rows[name]["colours"])
        assert (rows[name]["width"], rows[name]["height"]) == ("16", "12") and float(rows[name]["seconds"]) > 0
        np.testing.assert_array_equal(read_image(out / "filled" / f"{name}.png"), image)
        np.testing.assert_array_equal(read_image(out / "outlined" / f"{name}.png"), outlined(image, labels))
    page = (out / "report.html").read_text()
    assert page.count("<article") == 3 and page.count("data:image/") == 9 and "<script" not in page
    assert all(page.count(f'<th scope="row">{name}') == 1 for name in NAMES) and "2 segments" in page


def test_segments_have_their_mean_colour_and_lines_lie_between_them() -> None:
    image = np.array([[[0, 10, 20], [4, 30, 20], [9, 9, 9]]], np.uint8).repeat(3, axis=0)
    labels = np.array([[0, 0, 1]] * 3, np.int32)
    np.testing.assert_array_equal(filled(image, labels)[1], [[2, 20, 20], [2, 20, 20], [9, 9, 9]])
    drawn = outlined(image, labels)
    assert (drawn[:, 1] == cluster.LINE_COLOUR).all()
    np.testing.assert_array_equal(drawn[:, 0], image[:, 0])
    np.testing.assert_array_equal(drawn[1, 2], image[1, 2] // 2)
    np.testing.assert_array_equal(outlined(image, np.zeros((3, 3), np.int32)), image)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 65536])
def test_labels_come_back_from_8_or_16_bits(
    count: int, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = images / "test_0.png"
    labels = np.minimum(np.arange(257 * 256), count - 1).reshape(257, 256).astype(np.int32)
    Image.fromarray(np.zeros((257, 256, 3), np.uint8)).save(image)
    monkeypatch.setattr(cluster, "segment", lambda image, **_: (labels, None))
    [written] = cluster_folder(image, tmp_path / "out")
    np.testing.assert_array_equal(read_labels(written), labels)
    assert mode_and_size(written)[0] == ("P" if count <= 255 else "I;16")


def test_too_many_labels_are_named_with_what_to_do(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "MAX_LABELS", 2)
    with pytest.raises(BatchError, match=r"test_1\.png: has 3 segments; a label picture holds 2\. .*--min-region"):
        cluster_folder(images, tmp_path / "out", **QUICK)
    assert names_in(tmp_path / "out" / "filled") == ["test_0.png"]


def test_one_bad_image_stops_nothing_and_is_named_on_the_page(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "test_1.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert main(["cluster", str(images), "--out", str(out), "--steps", "1"]) == 1
    shown = capsys.readouterr()
    assert "2 of 3 images done, 1 failed" in shown.err and f"report: {out / 'report.html'}" in shown.out
    assert names_in(out / "labels") == ["test_0.png", "test_2.png"]
    page = (out / "report.html").read_text()
    assert "1 image could not be done: test_1" in page and page.count("<article") == 2
    (images / "test_1.png").unlink()
    before = tree(out / "labels")
    assert main(["cluster", str(images), "--out", str(out), "--steps", "1"]) == 0
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
    assert tree(out / "labels") == before and "could not" not in (out / "report.html").read_text()


def test_what_stops_it_leaves_whole_files_and_the_next_does_what_is_missing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write = cluster.write_picture

    def stop(path: Path, image: np.ndarray) -> None:
        if path == out / "outlined" / "test_1.png":
            raise KeyboardInterrupt
        write(path, image)

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "write_picture", stop)
        with pytest.raises(KeyboardInterrupt):
            cluster_folder(images, out, **QUICK)
    assert names_in(out / "labels") == ["test_0.png"] and not (out / "report.html").exists()
    assert list(ClusterTable.read(out / "clusters.csv")) == ["test_0"]
    first = (out / "labels" / "test_0.png").stat().st_mtime_ns
    cluster_folder(images, out, **QUICK)
    assert (out / "labels" / "test_0.png").stat().st_mtime_ns == first
    assert list(ClusterTable.read(out / "clusters.csv")) == NAMES
    assert (out / "report.html").read_text().count("<article") == 3


@pytest.mark.timeout(300)
def test_a_kill_leaves_no_partial_file(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number in range(40):
        Image.fromarray(np.full((30, 30, 3), number * 5, np.uint8)).save(images / f"{number:02}.png")
    command = [sys.executable, "-m", "maskwright", "cluster", str(images), "--out", str(out), "--steps", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (out / "labels" / "02.png").exists():
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = [name for name in names_in(out / "labels") if not name.endswith(".part")]
    assert 3 <= len(done) < 40 and not (out / "report.html").exists()
    for name in done:
        for part in ("labels", "filled", "outlined"):
            assert mode_and_size(out / part / name)[1] == (30, 30)
    times = {name: (out / "labels" / name).stat().st_mtime_ns for name in done}
    assert main(command[3:]) == 0
    assert all((out / "labels" / name).stat().st_mtime_ns == at for name, at in times.items())
    assert [len(names_in(out / part)) for part in ("labels", "filled", "outlined")] == [40] * 3
    assert not list(out.rglob("*.part")) and len(ClusterTable.read(out / "clusters.csv")) == 40


def test_results_of_other_options_are_not_taken_for_finished(images: Path, tmp_path: Path) -> None:
    cluster_folder(images, tmp_path / "out", **QUICK)
    before = tree(tmp_path / "out")
    with pytest.raises(ConfigError, match="made with another bandwidth"):
        cluster_folder(images, tmp_path / "out", bandwidth=3, **QUICK)
    assert tree(tmp_path / "out") == before
    (tmp_path / "out2").mkdir()
    (tmp_path / "out2" / "clusters.csv").write_text("my own\n")
    with pytest.raises(ConfigError, match="move it away"):
        cluster_folder(images, tmp_path / "out2", **QUICK)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--bandwidth", "0"], "bandwidth must be a finite number > 0"),
        (["--bandwidth", "-1"], "bandwidth"),
        (["--bandwidth", "nan"], "bandwidth"),
        (["--steps", "-1"], "steps"),
        (["--spatial", "-1"], "spatial"),
        (["--min-region", "-3"], "min_region"),
        (["--tolerance", "0"], "tolerance"),
        (["--fuse", "-1"], "fuse"),
        (["--reduce", "2"], "reduce is given without spatial"),
        (["--method", "quick"], "quick"),
        (["--merge", "all"], "all"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_out_of_range_are_one_line_and_nothing_is_written(
    options: list[str], word: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cluster", str(images), "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert word in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_connected_is_a_switch_and_fused_regions_are_connected(images: Path, tmp_path: Path) -> None:
    for options in (["--connected"], ["--fuse", "1"]):
        out = tmp_path / options[0]
        assert main(["cluster", str(images), "--out", str(out), "--steps", "1", *options]) == 0
        assert '"connected": true' in (out / "labels" / ".maskwright.json").read_text()


def test_folders_that_do_not_serve_are_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        cluster_folder(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="does not exist; expected a folder"):
        cluster_folder(tmp_path / "nowhere", tmp_path / "out")
    before = tree(images)
    with pytest.raises(ConfigError, match="choose another folder for --out"):
        cluster_folder(images, images)
    moved = images.rename(tmp_path / "filled")
    with pytest.raises(ConfigError, match="choose another folder for --out"):
        cluster_folder(moved, tmp_path)
    assert tree(moved) == before


def test_equal_stems_a_turned_photograph_and_odd_sizes(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    turned = Image.fromarray(np.zeros((6, 9, 3), np.uint8))
    exif = turned.getexif()
    exif[274] = 6
    turned.save(images / "a.jpg", exif=exif)
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(images / "a.png")
    Image.fromarray(np.arange(2000, dtype=np.uint16).astype(np.uint8)[None]).save(images / "lang & <breit>.png")
    cluster_folder(images, out, **QUICK)
    assert names_in(out / "labels") == ["a.jpg.png", "a.png.png", "lang & <breit>.png"]
    assert read_mask(out / "labels" / "a.jpg.png").shape == (9, 6)
    assert read_mask(out / "labels" / "lang & <breit>.png").shape == (1, 2000)
    assert "<breit>" not in (out / "report.html").read_text()


def test_the_page_shows_some_of_many_images(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cluster, clusters):
        monkeypatch.setattr(module, "MAX_PICTURES", 2)
    cluster_folder(images, tmp_path / "out", **QUICK)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<article") == 2 and "2 of 3 images" in page
    assert all(f'<th scope="row">{name}' in page for name in NAMES)
