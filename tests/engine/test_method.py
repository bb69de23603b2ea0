"""A method such as the dense CRF behind a trained network: the same as refining its probabilities afterwards."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from maskwright.cli import main
from maskwright.data.io import read_image, read_mask, read_probabilities
from maskwright.engine.config import SegmenterRunConfig
from maskwright.engine.evaluate import evaluate_run
from maskwright.engine.predict import Predictor, predict_folder
from maskwright.engine.reporting import complete_run
from maskwright.engine.train import train_segmenter
from maskwright.errors import ConfigError
from maskwright.refine.methods import apply_method

METHOD = "dense_crf:pydensecrf"


@pytest.fixture(scope="module")
def images(squares: Path) -> Path:
    return squares / "test" / "images"


@pytest.fixture(scope="module")
def method_run(coarse_config: SegmenterRunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose masks go through the dense CRF."""
    return train_segmenter(
        dataclasses.replace(coarse_config, method=METHOD), tmp_path_factory.mktemp("method") / "with_crf"
    )


def test_the_masks_are_those_of_the_method(trained_run: Path, images: Path, tmp_path: Path) -> None:
    plain = predict_folder(trained_run, images, tmp_path / "plain", save="probabilities")
    refined = predict_folder(trained_run, images, tmp_path / "refined", method=METHOD)
    differs = False
    for before, after in zip(plain, refined, strict=True):
        probabilities = read_probabilities(before)
        whole = np.concatenate((1 - probabilities, probabilities))
        image = read_image(images / f"{before.stem}.png")
        expected = apply_method(whole, image, method=METHOD).probabilities.argmax(0)
        assert (read_mask(after) == expected).mean() > 0.995  # probabilities were stored in half precision
        differs |= bool((read_mask(after) != whole.argmax(0)).any())
    assert differs, "the method changed nothing, so this shows nothing"


def test_a_run_remembers_its_method_until_told_otherwise(
    trained_run: Path, method_run: Path, images: Path, tmp_path: Path
) -> None:
    own = predict_folder(method_run, images, tmp_path / "own")
    given = predict_folder(trained_run, images, tmp_path / "given", method=METHOD)
    none = predict_folder(method_run, images, tmp_path / "none", method="none")
    plain = predict_folder(trained_run, images, tmp_path / "plain")
    assert [p.read_bytes() for p in own] == [p.read_bytes() for p in given]
    assert [p.read_bytes() for p in none] == [p.read_bytes() for p in plain]
    with pytest.raises(ConfigError, match="another"):
        predict_folder(method_run, images, tmp_path / "own", method="none")


def test_both_stages_are_scored_and_shown(method_run: Path, trained_run: Path, images: Path) -> None:
    scored = evaluate_run(method_run).stages
    assert list(scored) == ["coarse", METHOD]
    plain = next(iter(evaluate_run(trained_run).stages.values()))
    np.testing.assert_array_equal(scored["coarse"].counts, plain.counts)
    assert len(Predictor.load(method_run).steps(read_image(images / "test_0.png"))) == 2
    complete_run(method_run, commands=[])
    assert METHOD in json.loads((method_run / "metrics.json").read_text())["scores"]
    assert METHOD in (method_run / "report.html").read_text()


def test_a_method_follows_a_trained_refiner(refined_run: Path, images: Path) -> None:
    predictor = Predictor.load(refined_run, method=METHOD)
    image = read_image(images / "test_0.png")
    assert predictor.stage_names == ("coarse", "DySPN", METHOD)
    assert len(predictor.steps(image)) == 4
    np.testing.assert_array_equal(predictor.steps(image)[-1].numpy(), predictor.logits(image).numpy())


def test_an_unknown_method_is_named_before_anything_is_done(
    trained_run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="did you mean dense_crf"):
        SegmenterRunConfig(data=None, method="dense_crv")  # type: ignore[arg-type]
    command = ["predict", "--run", str(trained_run), "--images", str(images), "--out", str(tmp_path / "out")]
    assert main([*command, "--method", "dense_crv"]) == 2
    assert "did you mean dense_crf" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
