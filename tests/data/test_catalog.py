"""From `data.name` to parts: which data set opens, what is held out, and which settings are refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.data import digits
from maskwright.data.catalog import DATASETS, DataConfig, open_data
from maskwright.data.transforms import AugmentConfig
from maskwright.errors import ConfigError, DataError


@pytest.fixture
def scenes(tmp_path: Path) -> str:
    """Name of a `multidigit` file with 20 training and 2 test scenes."""
    arrays = {f"{part}_{kind}": np.zeros((count, 4, 4), np.uint8) for part, count in (("train", 20), ("test", 2))
              for kind in ("images", "masks")}  # fmt: skip
    np.savez(tmp_path / "scenes.npz", **arrays)
    return f"multidigit:{tmp_path / 'scenes.npz'}"


def fault(**options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        open_data(DataConfig(**options))
    return str(caught.value)


def test_a_validation_part_is_held_out_of_training_where_there_is_none(scenes: str) -> None:
    splits = open_data(DataConfig(name=scenes, val_fraction=0.25))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (15, 5, 2)
    assert not set(splits.train.names) & set(splits.val.names)
    again = open_data(DataConfig(name=scenes, val_fraction=0.25))
    other = open_data(DataConfig(name=scenes, val_fraction=0.25, split_seed=1))
    assert splits.val.names == again.val.names != other.val.names


def test_nothing_is_held_out_on_request(scenes: str) -> None:
    splits = open_data(DataConfig(name=scenes, val_fraction=0))
    assert (len(splits.train), splits.val) == (20, None)


def test_digits_have_their_own_validation_part(monkeypatch: pytest.MonkeyPatch) -> None:
    glyphs = np.full((50, 28, 28), 9, np.uint8)
    monkeypatch.setattr(digits, "_read_handwriting", lambda: (glyphs, np.arange(50, dtype=np.uint8) % 10))
    splits = open_data(DataConfig(name="digits", scenes=8, val_fraction=0.5))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (8, 2, 2)


@pytest.mark.parametrize(("border", "labels"), [("pet", {1}), ("ignore", {255})])
def test_the_border_setting_reaches_pets(tmp_path: Path, border: str, labels: set[int]) -> None:
    for folder in ("images", "annotations/trimaps"):
        (tmp_path / folder).mkdir(parents=True)
    for part, name in {"trainval": "a_1", "test": "b_1"}.items():
        (tmp_path / "annotations" / f"{part}.txt").write_text(f"{name} 1 1 1\n")
        Image.new("RGB", (4, 3)).save(tmp_path / "images" / f"{name}.jpg")
        Image.new("L", (4, 3), 3).save(tmp_path / "annotations" / "trimaps" / f"{name}.png")
    splits = open_data(DataConfig(name=f"pets:{tmp_path}", border=border, val_fraction=0))
    assert set(splits.test[0].target.unique().tolist()) == labels


def test_a_folder_is_opened(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(np.eye(3, 4, dtype=np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    splits = open_data(DataConfig(name=f"folder:{tmp_path}", val_fraction=0.25))
    assert (len(splits.train), len(splits.val), splits.test) == (3, 1, None)


def test_the_home_folder_may_be_abbreviated(scenes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_data(DataConfig(name="multidigit:~/scenes.npz", val_fraction=0)).train) == 20


@pytest.mark.parametrize("name", ["", "pet", "Folder:x", "coco_x:y"])
def test_an_unknown_data_set_lists_the_known_ones(name: str) -> None:
    message = fault(name=name)
    assert repr(name) in message
    for kind in DATASETS:
        assert kind in message


OFFICIAL = ["camvid", "voc", "cityscapes", "ade20k", "coco_stuff", "kitti", "coco"]


@pytest.mark.parametrize("kind", ["folder", "multidigit", *OFFICIAL])
@pytest.mark.parametrize("colon", ["", ":"])
def test_a_missing_path_is_asked_for(kind: str, colon: str) -> None:
    assert f"write it as {kind}:PATH" in fault(name=kind + colon)


def test_digits_take_no_path() -> None:
    assert "takes no path" in fault(name="digits:somewhere")


@pytest.mark.parametrize("kind", ["folder", "multidigit", "pets", *OFFICIAL])
def test_a_path_that_leads_nowhere_is_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_data(DataConfig(name=f"{kind}:{tmp_path / 'nowhere'}"))
    assert "nowhere" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", -1), ("val_fraction", 1.0), ("val_fraction", -0.1), ("border", "wide"), ("scenes", 3)],
)
def test_settings_out_of_range_are_named_with_what_came(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"data.{name} .*{value}"):
        DataConfig(**{name: value})


def test_a_larger_scale_scales_what_is_counted_in_pixels() -> None:
    config = DataConfig(name="digits", size=32, augment=AugmentConfig(crop=24, elastic=5.0, rotation=10.0, shift=0.1))
    twice = config.scaled(2)
    assert twice.size == 64
    assert twice.augment == AugmentConfig(crop=48, elastic=10.0, rotation=10.0, shift=0.1)
    assert dataclasses.replace(twice, size=32, augment=config.augment) == config


def test_images_of_their_own_size_have_no_larger_scale() -> None:
    config = DataConfig(name="digits")
    assert config.scaled(1) == config
    with pytest.raises(ConfigError, match=r"data\.size is 0"):
        config.scaled(2)
