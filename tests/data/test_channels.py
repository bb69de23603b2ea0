"""Images of other than three channels: read as they are stored, or refused by name."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.io import as_colours, read_channels
from maskwright.data.transforms import AugmentConfig, augment, build_augmentation
from maskwright.errors import ConfigError, DataError, ImageError


def samples(channels: int, dtype: type = np.uint8) -> NDArray[np.generic]:
    levels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (5, 7, channels))
    return levels.astype(dtype)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (4, "RGBA")])
def test_a_png_gives_its_channels_as_stored(tmp_path: Path, channels: int, mode: str) -> None:
    stored = samples(channels)
    Image.fromarray(stored.squeeze()).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == mode
    np.testing.assert_array_equal(read_channels(tmp_path / "a.png", channels), stored)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("layout", ["contig", "separate", "pages"])
def test_a_tiff_gives_its_samples_or_its_pages(tmp_path: Path, channels: int, layout: str) -> None:
    stored = samples(channels)
    path = tmp_path / "a.tif"
    if layout == "pages" or channels == 1:
        tifffile.imwrite(path, np.moveaxis(stored, -1, 0), photometric="minisblack")
    elif layout == "contig":
        tifffile.imwrite(path, stored, photometric="minisblack", planarconfig="contig")
    else:
        tifffile.imwrite(path, np.moveaxis(stored, -1, 0), photometric="minisblack", planarconfig="separate")
    np.testing.assert_array_equal(read_channels(path, channels), stored)


def test_arrays_and_deeper_samples_are_scaled_to_eight_bits(tmp_path: Path) -> None:
    deep = samples(4, np.uint16)
    np.save(tmp_path / "a.npy", deep)
    np.testing.assert_array_equal(read_channels(tmp_path / "a.npy", 4), deep >> 8)
    np.save(tmp_path / "b.npy", np.array([[0.0, 0.5, 1.0]], np.float32))
    np.testing.assert_array_equal(read_channels(tmp_path / "b.npy", 1)[..., 0], [[0, 128, 255]])


@pytest.mark.parametrize("wanted", [1, 3, 5])
def test_another_number_of_channels_is_named(tmp_path: Path, wanted: int) -> None:
    np.save(tmp_path / "a.npy", samples(4))
    with pytest.raises(ImageError, match=rf"a\.npy: holds uint8 of shape \(5, 7, 4\); expected \(H, W, {wanted}\)"):
        read_channels(tmp_path / "a.npy", wanted)


def test_a_palette_has_no_channels(tmp_path: Path) -> None:
    Image.fromarray(samples(3)).quantize(4).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="mode P"):
        read_channels(tmp_path / "a.png", 1)


def test_pages_count_towards_the_largest_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(samples(4), -1, 0), photometric="minisblack")
    with pytest.raises(ImageError, match="140 pixels"):
        read_channels(tmp_path / "a.tif", 4, max_pixels=139)


def test_what_is_shown_of_them() -> None:
    five, two = samples(5), samples(2)
    np.testing.assert_array_equal(as_colours(five), five[..., :3])
    np.testing.assert_array_equal(as_colours(two), np.repeat(two[..., :1], 3, 2))


def test_a_folder_gives_images_of_its_channels(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    stored = samples(4)
    np.save(tmp_path / "images" / "a.npy", stored)
    Image.fromarray(samples(4)).save(tmp_path / "images" / "b.png")
    for name in "ab":
        Image.fromarray(np.eye(5, 7, dtype=np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    data = open_data(DataConfig(name=f"folder:{tmp_path}", channels=4, val_fraction=0)).train
    assert torch.equal(data[0].image, torch.from_numpy(stored).permute(2, 0, 1))
    assert data[1].image.shape == (4, 5, 7)
    # As RGB the array is no image.
    with pytest.raises(DataError, match="without an image"):
        open_data(DataConfig(name=f"folder:{tmp_path}"))


def test_colours_alone_are_jittered() -> None:
    image = torch.from_numpy(samples(5)).permute(2, 0, 1).contiguous()
    transform = build_augmentation(AugmentConfig(color=0.9))
    assert transform is not None
    changed, _ = augment(transform, image, torch.zeros(5, 7, dtype=torch.uint8), seed=1)
    assert torch.equal(changed[3:], image[3:])
    assert not torch.equal(changed[:3], image[:3])
    rgb, _ = augment(transform, image[:3], torch.zeros(5, 7, dtype=torch.uint8), seed=1)
    assert torch.equal(changed[:3], rgb)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "folder:x", "channels": 0}, "at least 1, got 0"),
        ({"name": "pets", "channels": 4}, "only folder: differs"),
        ({"name": "folder:x", "channels": 2, "augment": AugmentConfig(color=0.1)}, "augment.color"),
    ],
)
def test_channels_that_do_not_fit_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataConfig(**settings)  # type: ignore[arg-type]
