"""A data set without a background, from training to the page: its official colours, and no word of a background."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from layouts import put, put_photo
from maskwright.data.camvid import CLASSES, COLOURS
from maskwright.data.catalog import DataConfig, official_colours
from maskwright.engine.config import SegmenterRunConfig
from maskwright.engine.predict import predict_folder
from maskwright.engine.reporting import report_runs
from maskwright.engine.train import train_segmenter


def test_colours_are_those_of_the_classes_or_none() -> None:
    assert official_colours(DataConfig(name="camvid:somewhere"), len(CLASSES)) == COLOURS
    assert official_colours(DataConfig(name="kitti:somewhere"), 2) == ()  # of the road benchmark
    assert official_colours(DataConfig(name="folder:somewhere"), 11) == ()


def test_predictions_and_page_show_the_official_colours(
    tmp_path: Path, config_of: Callable[..., SegmenterRunConfig]
) -> None:
    for part, count in {"train": 3, "val": 2}.items():
        for number in range(count):
            put_photo(tmp_path / part / f"{number}.png", height=24, width=40)
            mask = np.repeat(np.arange(12, dtype=np.uint8), 2)[:, None].repeat(40, axis=1)
            put(tmp_path / f"{part}annot" / f"{number}.png", mask)
    run = train_segmenter(config_of(data=DataConfig(name=f"camvid:{tmp_path}", size=32), epochs=1), tmp_path / "run")
    label_map = predict_folder(run, tmp_path / "val", tmp_path / "out", device="cpu")[0]
    palette = np.array(Image.open(label_map).getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(palette[: len(COLOURS)], COLOURS)

    results = report_runs([run], tmp_path / "page.html", commands=["maskwright report"], device="cpu")
    result = next(iter(results.values()))
    assert result.classes == CLASSES
    assert result.ignored.tolist() == [80, 80] and (result.counts[:, 2] == 80).all()  # the sky like the others
    page = (tmp_path / "page.html").read_text()
    for red, green, blue in COLOURS:
        assert f"background: #{red:02x}{green:02x}{blue:02x}" in page
    assert "wrong class" in page and "too much" not in page
