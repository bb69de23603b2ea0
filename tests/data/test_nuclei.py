"""Nuclei in both layouts: numbers, classes with and without a border, parts that stay, and what may be wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskwright.data.catalog import DataConfig, open_data
from maskwright.data.nuclei import NucleiDataset, open_nuclei, with_border
from maskwright.errors import ConfigError, DataError, ImageError
from maskwright.instances import split_contours

REAL = Path(__file__).parents[3] / "shared" / "data" / "nuclei"


def numbers(index: int, side: int = 20) -> np.ndarray:
    """Two touching squares and a third one, with a gap in the numbers and one above 255."""
    ids = np.zeros((side, side + 4), np.uint16)
    ids[2:10, 2:10], ids[2:10, 10:18], ids[12:18, index : index + 6] = 3, 7, 300
    return ids


def write_maps(root: Path, count: int = 10) -> Path:
    for index in range(count):
        ids = numbers(index)
        for folder in ("images", "instances"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(((ids > 0) * 200).astype(np.uint8)).convert("RGB").save(root / f"images/cell_{index}.png")
        Image.fromarray(ids).save(root / f"instances/cell_{index}.png")
    return root


def write_official(root: Path, count: int = 5) -> Path:
    for index in range(count):
        ids, folder = numbers(index), root / f"cell_{index}"
        for sub in ("images", "masks"):
            (folder / sub).mkdir(parents=True)
        picture = np.dstack([((ids > 0) * 200).astype(np.uint8)] * 3 + [np.full(ids.shape, 255, np.uint8)])
        Image.fromarray(picture).save(folder / "images" / f"cell_{index}.png")
        for number in (3, 7, 300):
            Image.fromarray(((ids == number) * 255).astype(np.uint8)).save(folder / "masks" / f"{number:03}.png")
    return root


def fault(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_nuclei(root)
    return str(caught.value)


def test_maps_of_numbers_are_the_instances_and_their_foreground_the_target(tmp_path: Path) -> None:
    splits = open_nuclei(write_maps(tmp_path))
    assert splits.classes == ("background", "nucleus") and splits.val is None
    assert (len(splits.train), len(splits.test)) == (8, 2)
    for part in (splits.train, splits.test):
        for name, sample in zip(part.names, (part[i] for i in range(len(part))), strict=True):
            ids = numbers(int(name.removeprefix("cell_"))).astype(np.int32)
            assert sample.name == name and sample.instances.dtype == torch.int32
            assert np.array_equal(sample.instances.numpy(), ids)
            assert np.array_equal(sample.target.numpy(), ids > 0) and sample.target.dtype == torch.uint8
            assert np.array_equal(sample.image[0].numpy(), (ids > 0) * 200)


def test_the_official_layout_numbers_its_masks(tmp_path: Path) -> None:
    splits = open_nuclei(write_official(tmp_path))
    sample = splits.test[0]
    ids = numbers(int(sample.name.removeprefix("cell_")))
    expected = np.select([ids == 3, ids == 7, ids == 300], [1, 2, 3], 0)
    assert np.array_equal(sample.instances.numpy(), expected)
    assert sample.image.shape == (3, *ids.shape) and np.array_equal(sample.image[2].numpy(), (ids > 0) * 200)


def test_the_test_part_is_the_same_whatever_the_settings(tmp_path: Path) -> None:
    name = f"nuclei:{write_maps(tmp_path)}"
    splits = [
        open_data(DataConfig(name=name, split_seed=seed, val_fraction=share, contour=contour))
        for seed, share, contour in ((0, 0.25, 0), (5, 0.5, 2), (1, 0.0, 1))
    ]
    assert len({part.test.names for part in splits}) == 1
    assert [len(part.val or ()) for part in splits] == [2, 4, 0]
    for part in splits:
        assert not {*part.train.names, *(part.val.names if part.val else ())} & set(part.test.names)


def test_a_border_is_what_lies_within_the_outline_of_its_own_nucleus(tmp_path: Path) -> None:
    splits = open_nuclei(write_maps(tmp_path), contour=2)
    assert splits.classes == ("background", "nucleus", "border")
    sample = splits.train[0]
    ids, target = sample.instances.numpy(), sample.target.numpy()
    assert np.array_equal(target > 0, ids > 0)
    square = target[2:10, 2:10]
    assert (square[2:6, 2:6] == 1).all() and (square == 1).sum() == 16
    assert (target[2:10, 8:12] == 2).all()  # on both sides of where two touch
    found = split_contours(target)
    assert {tuple(np.unique(found[ids == number])) for number in (3, 7, 300)} == {(1,), (2,), (3,)}


def slow_border(ids: np.ndarray, contour: int) -> np.ndarray:
    """The same from the distance to every pixel of another number."""
    labels = (ids > 0).astype(int)
    where = np.argwhere(ids >= 0)
    for number in set(ids[ids > 0].tolist()):
        own, others = where[ids.ravel() == number], where[ids.ravel() != number]
        if len(others) == 0:
            continue
        depth = np.sqrt(((own[:, None] - others[None]) ** 2).sum(-1)).min(1)
        for (y, x), one in zip(own, depth, strict=True):
            if one <= contour and one < depth.max():
                labels[y, x] = 2
    return labels


@pytest.mark.parametrize("seed", range(6))
def test_borders_equal_distances_to_every_other_pixel(seed: int) -> None:
    generator = np.random.default_rng(seed)
    ids = np.kron(generator.integers(0, 3, (4, 5)) * 100, np.ones((4, 3), int))
    for contour in (1, 2, 3):
        assert np.array_equal(with_border(ids, contour), slow_border(ids, contour))


def test_small_nuclei_keep_their_innermost_pixels_and_the_picture_has_no_outline() -> None:
    ids = np.zeros((9, 9), np.int32)
    ids[3:6, 3:6] = 1
    labels = with_border(ids, 5)
    assert labels[4, 4] == 1 and (labels == 2).sum() == 8
    assert (with_border(np.full((4, 5), 9), 2) == 1).all()
    half = np.repeat([[1, 1, 1, 1, 0, 0]], 4, axis=0)
    assert with_border(half, 1).tolist() == [[1, 1, 1, 2, 0, 0]] * 4
    assert not with_border(np.zeros((3, 3), int), 2).any()


def test_a_folder_that_is_neither_layout_is_told_where_the_data_is(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        message = fault(root)
        assert "stage1_train" in message and "bbbc.broadinstitute.org" in message


def test_files_without_partner_are_all_named(tmp_path: Path) -> None:
    write_maps(tmp_path)
    (tmp_path / "images/cell_3.png").unlink()
    (tmp_path / "instances/cell_5.png").unlink()
    message = fault(tmp_path)
    assert "1 images" in message and "cell_3" in message
    assert "1 masks" in message and "cell_5" in message
    assert "at least 2" in fault(write_maps(tmp_path / "one", 1))


def test_official_folders_without_masks_are_named(tmp_path: Path) -> None:
    write_official(tmp_path)
    for mask in (tmp_path / "cell_1/masks").iterdir():
        mask.unlink()
    assert "cell_1 (1 images, 0 masks)" in fault(tmp_path)


def test_sizes_and_broken_files_are_named(tmp_path: Path) -> None:
    write_maps(tmp_path)
    part = NucleiDataset(open_nuclei(tmp_path).train.dataset.pictures)
    Image.new("RGB", (5, 6)).save(tmp_path / "images/cell_0.png")
    with pytest.raises(DataError, match=r"cell_0.png is 24 x 20 pixels, its picture 5 x 6"):
        part[0]
    (tmp_path / "instances/cell_1.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="cell_1"):
        part[1]


@pytest.mark.parametrize(("name", "contour", "words"), [("folder:x", 2, "nuclei:DIR"), ("nuclei:x", -1, "at least 0")])
def test_a_contour_belongs_to_nuclei(name: str, contour: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DataConfig(name=name, contour=contour)


@pytest.mark.skipif(not REAL.is_dir(), reason="the data set is not here")
def test_the_data_set_itself() -> None:
    splits = open_nuclei(REAL, contour=1)
    assert (len(splits.train), len(splits.test)) == (80, 20)
    sample = splits.test[0]
    assert sample.target.max() == 2 and sample.instances.max() > 0
