"""Prediction: one file per image at the image's own size, whatever befalls the others, and the same every time."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from folders import names_in
from maskwright.cli import main
from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.io import read_image, read_logits, read_mask, read_probabilities
from maskwright.engine import predict
from maskwright.engine.config import SegmenterRunConfig, TrainConfig
from maskwright.engine.predict import Predictor, Save, predict_folder
from maskwright.engine.train import train_segmenter
from maskwright.errors import BatchError, CheckpointError, ConfigError, DataError
from maskwright.models import ModelConfig
from maskwright.types import Prediction, RefinedMask


@pytest.fixture
def images(squares: Path, tmp_path: Path) -> Path:
    """A copy of the three test images."""
    return shutil.copytree(squares / "test" / "images", tmp_path / "images")


def colours(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def test_every_image_gives_one_mask_of_its_name_and_size(trained_run: Path, images: Path, tmp_path: Path) -> None:
    Image.fromarray(colours(20, 50)).save(images / "wide.jpg")
    written = predict_folder(trained_run, images, tmp_path / "out")
    assert [path.name for path in written] == ["test_0.png", "test_1.png", "test_2.png", "wide.png"]
    assert names_in(tmp_path / "out") == [path.name for path in written]
    assert read_mask(tmp_path / "out" / "wide.png").shape == (20, 50)
    assert set(np.unique(read_mask(written[0])).tolist()) <= {0, 1}


def test_one_image_may_be_named_alone(trained_run: Path, images: Path, tmp_path: Path) -> None:
    (written,) = predict_folder(trained_run, images / "test_1.png", tmp_path / "out")
    assert written == tmp_path / "out" / "test_1.png"
    assert written.is_file()


def test_one_bad_file_does_not_stop_the_others(
    trained_run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "test_1.png").write_bytes(b"no picture")
    (images / "empty.jpg").touch()
    with pytest.raises(BatchError, match=r"2 of 4 images done, 2 failed") as caught:
        predict_folder(trained_run, images, tmp_path / "out")
    assert "test_1.png" in str(caught.value) and "empty.jpg" in str(caught.value)
    assert names_in(tmp_path / "out") == ["test_0.png", "test_2.png"]

    options = ["--run", str(trained_run), "--images", str(images), "--out", str(tmp_path / "out")]
    assert main(["predict", *options]) == 1
    error = capsys.readouterr().err
    assert "test_1.png" in error and "Traceback" not in error


def test_a_second_run_does_only_what_is_missing(
    trained_run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = predict_folder(trained_run, images, tmp_path / "out")
    content = written[1].read_bytes()
    written[1].unlink()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "out" / f".test_1.png.{dead.pid}-{'0' * 16}.part").write_bytes(b"half a mask")
    stamps = {path: path.stat().st_mtime_ns for path in (written[0], written[2])}
    decoded = []
    monkeypatch.setattr(predict, "read_image_of", lambda path, channels: decoded.append(path.name) or read_image(path))

    assert predict_folder(trained_run, images, tmp_path / "out") == written
    assert decoded == ["test_1.png"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert written[1].read_bytes() == content
    assert names_in(tmp_path / "out") == [path.name for path in written]


def test_a_stop_in_the_middle_of_a_file_leaves_no_part_of_it(
    trained_run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(file: object, **arrays: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict_folder(trained_run, images, tmp_path / "out", save="logits")
    assert names_in(tmp_path / "out") == []


def test_images_of_one_stem_do_not_overwrite_each_other(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(colours(8, 8)).save(tmp_path / "images" / "a.jpg")
    Image.fromarray(colours(9, 9)).save(tmp_path / "images" / "a.png")
    written = predict_folder(trained_run, tmp_path / "images", tmp_path / "out")
    assert [path.name for path in written] == ["a.jpg.png", "a.png.png"]
    assert [read_mask(path).shape for path in written] == [(8, 8), (9, 9)]


def test_masks_are_not_written_among_the_images_under_the_same_names(trained_run: Path, images: Path) -> None:
    before = {path: path.read_bytes() for path in images.iterdir()}
    with pytest.raises((ConfigError, DataError)):
        predict_folder(trained_run, images, images)
    assert {path: path.read_bytes() for path in images.iterdir()} == before


def test_a_folder_without_images_and_a_missing_run_are_named(trained_run: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        predict_folder(trained_run, tmp_path / "empty", tmp_path / "out")
    with pytest.raises(CheckpointError, match="no_run"):
        predict_folder(tmp_path / "no_run", images, tmp_path / "out")


@pytest.mark.parametrize("save", get_args(Save))
def test_what_is_saved_comes_back(save: Save, trained_run: Path, images: Path, tmp_path: Path) -> None:
    path = predict_folder(trained_run, images, tmp_path / "out", save=save)[0]
    logits = Predictor.load(trained_run).logits(read_image(images / "test_0.png"))
    if save == "labels":
        np.testing.assert_array_equal(read_mask(path), (logits[0] >= 0).numpy())
    elif save == "probabilities":
        np.testing.assert_allclose(read_probabilities(path), logits.sigmoid().numpy(), atol=1e-3)
    else:
        np.testing.assert_array_equal(read_logits(path), logits.numpy())


@pytest.fixture(scope="module")
def three_class_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three classes that works at 16 pixels."""
    root = tmp_path_factory.mktemp("three")
    generator = np.random.default_rng(3)
    for number in range(4):
        for kind in ("images", "masks"):
            (root / "data" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours(16, 16)).save(root / "data" / "images" / f"{number}.png")
        Image.fromarray(generator.integers(0, 3, (16, 16), np.uint8)).save(root / "data" / "masks" / f"{number}.png")
    config = SegmenterRunConfig(
        data=DataConfig(name=f"folder:{root / 'data'}", size=16, val_fraction=0.25),
        model=ModelConfig(name="unet", options={"width": 4}),
        train=TrainConfig(epochs=1, batch_size=3, device="cpu"),
    )
    return train_segmenter(config, root / "run")


@pytest.mark.parametrize("save", get_args(Save))
def test_several_classes_are_saved_channel_by_channel(
    save: Save, three_class_run: Path, images: Path, tmp_path: Path
) -> None:
    path = predict_folder(three_class_run, images, tmp_path / "out", save=save)[0]
    logits = Predictor.load(three_class_run).logits(read_image(images / "test_0.png"))
    assert logits.shape == (3, 32, 32)
    if save == "labels":
        np.testing.assert_array_equal(read_mask(path), logits.argmax(0).numpy())
    elif save == "probabilities":
        np.testing.assert_allclose(read_probabilities(path), logits.softmax(0).numpy(), atol=1e-3)
    else:
        np.testing.assert_array_equal(read_logits(path), logits.numpy())


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (17, 33)])
def test_any_size_works_with_and_without_a_refiner(
    shape: tuple[int, int], trained_run: Path, refined_run: Path, three_class_run: Path
) -> None:
    image = colours(*shape)
    for run, channels in ((trained_run, 1), (refined_run, 1), (three_class_run, 3)):
        logits = Predictor.load(run).logits(image)
        assert logits.shape == (channels, *shape)
        assert logits.dtype == torch.float32 and logits.isfinite().all()


def test_predicting_is_deterministic_and_never_in_training_mode(trained_run: Path, images: Path) -> None:
    predictor = Predictor.load(trained_run)
    assert not any(module.training for module in predictor.network.modules())
    image = read_image(images / "test_0.png")
    before = {name: value.clone() for name, value in predictor.network.state_dict().items()}
    first, other = predictor.logits(image), predictor.logits(colours(32, 32))
    assert torch.equal(predictor.logits(image), first)
    assert not torch.equal(other, first)
    assert all(torch.equal(value, before[name]) for name, value in predictor.network.state_dict().items())


def test_a_batch_equals_its_images_one_by_one(trained_run: Path, refined_run: Path) -> None:
    for run in (trained_run, refined_run):
        predictor = Predictor.load(run)
        dataset = open_data(predictor.model.data).test
        assert dataset is not None
        # Stretched to one size, so that they come as a batch.
        predictor = Predictor(_resized(predictor))
        found = list(predictor.dataset(dataset, batch_size=2))
        assert [prediction.name for prediction, _ in found] == list(dataset.names)
        for (prediction, target), index in zip(found, range(len(dataset)), strict=True):
            image = dataset[index].image.permute(1, 2, 0).numpy()
            assert torch.equal(target, dataset[index].target)  # type: ignore[arg-type]
            last = prediction.logits if isinstance(prediction, Prediction) else prediction.steps[-1]
            torch.testing.assert_close(last, predictor.logits(image), rtol=1e-4, atol=1e-5)


def _resized(predictor: Predictor) -> object:
    import dataclasses

    return dataclasses.replace(predictor.model, size=48)


def test_the_steps_begin_with_the_coarse_mask_and_end_with_the_refined_one(
    trained_run: Path, refined_run: Path, images: Path
) -> None:
    image = read_image(images / "test_0.png")
    predictor = Predictor.load(refined_run)
    steps = predictor.steps(image)
    assert steps.shape == (3, 1, 32, 32)
    torch.testing.assert_close(steps[0], Predictor.load(trained_run).logits(image))
    assert torch.equal(steps[-1], predictor.logits(image))
    assert not torch.equal(steps[0], steps[-1])
    refined = next(predictor.dataset(open_data(predictor.model.data).test))[0]  # type: ignore[arg-type]
    assert isinstance(refined, RefinedMask)
    torch.testing.assert_close(refined.steps, steps[[0, -1]], rtol=1e-4, atol=1e-5)
    with pytest.raises(DataError, match="no refiner"):
        Predictor.load(trained_run).steps(image)


def test_a_refined_run_predicts_without_its_coarse_run(
    trained_run: Path, refined_run: Path, images: Path, tmp_path: Path
) -> None:
    alone = shutil.copytree(refined_run, tmp_path / "alone")
    hidden = trained_run.rename(trained_run.with_name("hidden"))
    try:
        assert len(predict_folder(alone, images, tmp_path / "out")) == 3
    finally:
        hidden.rename(trained_run)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has a GPU")
def test_with_flips_a_mirrored_image_gives_the_mirrored_mask(trained_run: Path, refined_run: Path) -> None:
    # A size whose columns the network need not pad, which it does on one side only.
    image = colours(32, 64)
    for run in (trained_run, refined_run):
        plain, flipping = Predictor.load(run), Predictor.load(run, flip=True)
        logits = flipping.logits(image)
        torch.testing.assert_close(flipping.logits(image[:, ::-1].copy()).flip(-1), logits)
        mean = (plain.logits(image) + plain.logits(image[:, ::-1].copy()).flip(-1)) / 2
        torch.testing.assert_close(logits, mean)
        assert not torch.allclose(plain.logits(image), logits)
    torch.testing.assert_close(Predictor.load(refined_run, flip=True).steps(image)[-1], logits)


def test_masks_with_and_without_flips_are_not_mixed(trained_run: Path, images: Path, tmp_path: Path) -> None:
    predict_folder(trained_run, images, tmp_path / "out")
    with pytest.raises(ConfigError, match="flip"):
        predict_folder(trained_run, images, tmp_path / "out", flip=True)


def test_a_gpu_that_is_not_there_is_a_named_error(trained_run: Path) -> None:
    with pytest.raises(ConfigError, match="cuda"):
        Predictor.load(trained_run, device="cuda")
