"""Images of RGB and depth through the whole job: train, refine, predict, page."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright import refine_mask
from maskwright.cli import main
from maskwright.data.io import read_mask
from maskwright.errors import ConfigError

CLASSES = "names: [background, near]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares that depth alone shows: red, green and blue are noise."""
    root = tmp_path_factory.mktemp("depth")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for index in range(count):
            truth = np.zeros((32, 32), np.uint8)
            y, x = rng.integers(0, 20, 2)
            truth[y : y + 12, x : x + 12] = 1
            image = rng.integers(0, 256, (32, 32, 4)).astype(np.uint8)
            image[..., 3] = 40 + 180 * truth
            np.save(root / part / "images" / f"{index}.npy", image)
            Image.fromarray(truth).save(root / part / "masks" / f"{index}.png")
    (root / "classes.yaml").write_text(CLASSES)
    return root


def test_depth_is_learned_from_and_goes_through_every_stage(folder: Path, tmp_path: Path) -> None:
    coarse, refined, out, again = (tmp_path / name for name in ("coarse", "refined", "out", "again"))
    settings = ["--train.batch_size", "4", "--train.device", "cpu"]
    train = ["train", "--data", f"folder:{folder}", "--data.channels", "4", "--data.val_fraction", "0", *settings]
    network = [
        "--model",
        "unet",
        "--model.options",
        "{width: 4}",
        "--train.epochs",
        "12",
        "--train.learning_rate",
        "0.01",
    ]
    assert main([*train, *network, "--out", str(coarse)]) == 0
    assert (coarse / "report.html").exists()
    refiner = ["--refiner.width", "4", "--refiner.levels", "2", "--folds", "0", "--train.epochs", "1"]
    assert main(["train-refiner", "--coarse", str(coarse), *refiner, *settings, "--out", str(refined)]) == 0
    images = folder / "test" / "images"
    assert main(["predict", "--run", str(refined), "--images", str(images), "--out", str(out), "--device", "cpu"]) == 0
    for index in range(4):
        truth = read_mask(folder / "test" / "masks" / f"{index}.png")
        assert (read_mask(out / f"{index}.png") == truth).mean() > 0.95
    refine = ["refine", "--images", str(images), "--masks", str(out), "--refiner", str(refined), "--out", str(again)]
    assert main([*refine, "--device", "cpu"]) == 0
    with pytest.raises(ConfigError, match="images of 4 channels"):
        refine_mask(np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=np.uint8), method=refined)


def test_another_number_of_channels_names_the_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    command = ["train", "--data", f"folder:{folder}", "--data.channels", "5", "--data.val_fraction", "0"]
    assert main([*command, "--train.device", "cpu", "--out", str(tmp_path / "run")]) == 2
    assert "0.npy: holds uint8 of shape (32, 32, 4); expected (H, W, 5)" in capsys.readouterr().err
