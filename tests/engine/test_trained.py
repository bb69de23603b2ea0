"""A trained refiner behind the interface of the methods: the same containers, and the labels that files get."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright import refine_mask
from maskwright.data.io import read_image, read_mask
from maskwright.engine import trained
from maskwright.engine.refine import refine_folder
from maskwright.engine.refinements import TABLE, read_refinements
from maskwright.engine.trained import TrainedRefiner
from maskwright.errors import CheckpointError, ConfigError, DataError
from maskwright.refine.kinds import CoarseMask


@pytest.fixture
def images(squares: Path) -> Path:
    return squares / "test" / "images"


@pytest.fixture
def image(images: Path) -> np.ndarray:
    return read_image(images / "test_0.png")


@pytest.fixture
def labels(squares: Path) -> np.ndarray:
    """The truth moved by two pixels, 0 and 1."""
    return np.roll(read_mask(squares / "test" / "masks" / "test_0.png"), 2, axis=1)


def soft(labels: np.ndarray) -> np.ndarray:
    """Probabilities of many values, uint8."""
    return (labels * 120 + np.linspace(20, 110, labels.size).reshape(labels.shape)).astype(np.uint8)


FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0/1": lambda labels: labels,
    "0/255": lambda labels: labels * 255,
    "grey": soft,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_mask_in_memory_is_refined_as_its_file_is(
    form: str, bold_run: Path, images: Path, image: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    mask = FORMS[form](labels)
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "test_0.png")
    (file,) = refine_folder(images, tmp_path / "masks", tmp_path / "out", refiner=bold_run)
    expected = read_mask(file)
    for method in (bold_run, str(bold_run)):
        refined, report = refine_mask(image, mask, method=method, report=True)
        assert refined.dtype == mask.dtype and refined.shape == mask.shape
        np.testing.assert_array_equal(refined >= 128 if mask.max() > 1 else refined, expected)
    row = read_refinements(tmp_path / "out" / TABLE)["test_0"]
    assert report.changed_pixels == row.changed_pixels > 0
    assert (report.estimated_gain, report.kept) == (row.estimated_gain, row.kept) == (None, False)


@pytest.mark.parametrize("form", ["PIL", "torch", "bool", "two channels", "logits"])
def test_every_container_comes_back(form: str, bold_run: Path, image: np.ndarray, labels: np.ndarray) -> None:
    foreground = soft(labels).astype(np.float32) / 255
    mask: Any = {
        "PIL": Image.fromarray(labels * 255),
        "torch": torch.from_numpy(labels.astype(np.int64)),
        "bool": labels == 1,
        "two channels": np.stack((1 - foreground, foreground)),
        "logits": np.log(foreground / (1 - foreground)),
    }[form]
    refined = refine_mask(image, mask, method=bold_run)
    assert type(refined) is type(mask)
    before, after = np.asarray(mask), np.asarray(refined)
    assert after.shape == before.shape and after.dtype == before.dtype and not np.array_equal(after, before)
    if form in ("PIL", "torch", "bool"):
        assert set(np.unique(after)) <= set(np.unique(before))


@pytest.mark.parametrize("form", FORMS)
def test_an_untrained_refiner_returns_the_mask_exactly(
    form: str, untrained_run: Path, image: np.ndarray, labels: np.ndarray
) -> None:
    mask = FORMS[form](labels)
    np.testing.assert_array_equal(refine_mask(image, mask, method=untrained_run), mask)


def test_smaller_masks_are_enlarged_and_keep_their_shares(
    bold_run: Path, untrained_run: Path, image: np.ndarray, labels: np.ndarray
) -> None:
    height, width = labels.shape
    shares = labels.astype(np.float32).reshape(height // 4, 4, width // 4, 4).mean((1, 3))
    expected = refine_mask(image, shares, method="none", smaller="estimate")
    enlarged = refine_mask(image, shares, method=untrained_run, smaller="estimate")
    np.testing.assert_array_equal(enlarged, expected)
    estimate, kept = (
        refine_mask(image, shares, method=bold_run, smaller=smaller) for smaller in ("estimate", "shares")
    )
    missed, missed_before = (
        np.abs(mask.reshape(height // 4, 4, width // 4, 4).mean((1, 3)) - shares).mean() for mask in (kept, estimate)
    )
    assert missed < 0.2 * missed_before


def test_ignored_pixels_stay_and_so_does_a_mask_of_one_label(
    bold_run: Path, image: np.ndarray, labels: np.ndarray
) -> None:
    mask = labels.copy()
    mask[:4] = 255
    refined = refine_mask(image, mask, method=bold_run)
    np.testing.assert_array_equal(refined == 255, mask == 255)
    for value in (0, 1, 255):
        constant = np.full_like(labels, value)
        np.testing.assert_array_equal(refine_mask(image, constant, method=bold_run), constant)


def test_it_is_a_method_that_neither_changes_nor_returns_its_input(refined_run: Path, image: np.ndarray) -> None:
    foreground = np.random.default_rng(0).random(image.shape[:2], np.float32)
    probabilities = np.stack((1 - foreground, foreground))
    before = probabilities.copy()
    refined = TrainedRefiner(refined_run)(probabilities, image)
    assert refined.dtype == np.float32 and not np.shares_memory(refined, probabilities)
    np.testing.assert_array_equal(probabilities, before)
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)


def test_a_run_is_read_once_until_it_is_trained_again(
    refined_run: Path, image: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(refined_run, tmp_path / "run")
    read = []
    load = trained.Predictor.load
    monkeypatch.setattr(trained.Predictor, "load", lambda run, **options: (read.append(run), load(run, **options))[1])
    for _ in range(2):
        refine_mask(image, labels, method=run)
    monkeypatch.chdir(tmp_path)
    refine_mask(image, labels, method="run")
    assert len(read) == 1
    (run / "model.safetensors").touch()
    refine_mask(image, labels, method=run)
    assert len(read) == 2


def test_folders_that_are_no_run_of_a_refiner_are_named(
    trained_run: Path, image: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="without a refiner; expected one of train-refiner"):
        refine_mask(image, labels, method=trained_run)
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors does not exist; expected the folder of a finished run"
    ):
        refine_mask(image, labels, method=tmp_path)
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        refine_mask(image, labels, method=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"unknown method '.*nowhere'; expected .* or the folder of a run"):
        refine_mask(image, labels, method=str(tmp_path / "nowhere"))


def test_masks_of_other_classes_than_the_runs_are_named(
    refined_run: Path, image: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(DataError, match=r"label 7, expected 0\.\.1; .*`binary`"):
        refine_mask(image, labels * 7, method=refined_run)
    with pytest.raises(DataError, match=r"label 7, expected"):  # alone, too
        refine_mask(image, np.full(image.shape[:2], 7, np.int32), method=refined_run, kind="labels")
    assert set(np.unique(refine_mask(image, labels * 7, method=refined_run, kind="binary"))) == {0, 7}
    with pytest.raises(DataError, match=r"has 3 channel\(s\); expected 2"):
        refine_mask(image, np.full((3, *labels.shape), 1 / 3, np.float32), method=refined_run)
    with pytest.raises(DataError, match="its image"):
        refine_mask(image[:-1], labels, method=refined_run)


def test_a_label_map_gets_a_channel_for_each_class_of_the_run_and_keeps_to_its_labels() -> None:
    labels = np.array([[0, 3, 3], [255, 0, 3]], np.uint8)
    coarse = CoarseMask.of(labels, num_classes=5)
    known = coarse.of_classes(5)
    assert known.dtype == np.float32 and known.shape == (5, 2, 3)
    np.testing.assert_allclose(known.sum(0), 1, atol=1e-6)
    np.testing.assert_allclose(known[:, 1, 0], 0.2)
    np.testing.assert_array_equal(known.argmax(0)[labels != 255], labels[labels != 255])
    refined = np.roll(known, 1, axis=2)
    refined[2] += 5  # a class that the mask does not hold
    own = coarse.own_channels(refined / refined.sum(0))
    np.testing.assert_allclose(own.sum(0), 1, atol=1e-6)
    assert own.shape == coarse.probabilities.shape
    assert set(np.unique(coarse.restored(own))) <= {0, 3, 255}


def test_a_map_of_many_labels_is_no_faint_probability_where_the_classes_are_known() -> None:
    labels = np.arange(60, dtype=np.uint8).reshape(6, 10) % 20
    with pytest.raises(DataError, match="say which kind"):
        CoarseMask.of(labels)
    assert CoarseMask.of(labels, num_classes=21).kind == "labels"
