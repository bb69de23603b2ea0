"""The .npz of multi-digit scenes: what it must hold, and a named error for every file that does not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright.data.multidigit import PARTS, open_multidigit
from maskwright.errors import DataError


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """Content of a good file, with `changes`; None leaves an array out."""
    generator = np.random.default_rng(0)
    content = {}
    for part, count in {"train": 5, "test": 3}.items():
        content[f"{part}_images"] = generator.integers(0, 256, (count, 6, 8), dtype=np.uint8)
        content[f"{part}_masks"] = generator.integers(0, 11, (count, 6, 8), dtype=np.uint8)
    return {name: array for name, array in (content | changes).items() if array is not None}


def fault(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_multidigit(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def fault_of(tmp_path: Path, **changes: np.ndarray | None) -> str:
    path = tmp_path / "scenes.npz"
    np.savez(path, **arrays(**changes))
    return fault(path)


def test_parts_images_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "scenes.npz"
    np.savez_compressed(path, **arrays())
    splits = open_multidigit(path)
    assert (len(splits.train), splits.val, len(splits.test)) == (5, None, 3)
    assert splits.classes[0] == "background"
    assert splits.classes[1] == "1"
    assert splits.classes[10] == "0"
    sample = splits.test[2]
    assert sample.image.dtype == sample.target.dtype == torch.uint8
    for channel in sample.image:
        np.testing.assert_array_equal(channel, arrays()["test_images"][2])
    np.testing.assert_array_equal(sample.target, arrays()["test_masks"][2])
    assert len({*splits.train.names, *splits.test.names}) == 8


@pytest.mark.parametrize("name", PARTS)
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    assert f"lacks {name}" in fault_of(tmp_path, **{name: None})


def test_a_size_that_differs_is_named_with_both(tmp_path: Path) -> None:
    message = fault_of(tmp_path, train_masks=np.zeros((5, 6, 7), np.uint8))
    assert "(5, 6, 8)" in message
    assert "(5, 6, 7)" in message


@pytest.mark.parametrize(
    "images", [np.zeros((5, 6, 8), np.float32), np.zeros((5, 6, 8), np.int64), np.zeros((5, 6), np.uint8)]
)
def test_images_of_another_kind_are_named(tmp_path: Path, images: np.ndarray) -> None:
    message = fault_of(tmp_path, train_images=images)
    assert str(images.dtype) in message
    assert "uint8" in message


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masks_that_are_no_integers_are_refused(tmp_path: Path, dtype: type) -> None:
    # Cut to integers, the 2.7 of an interpolated mask would become the digit 2.
    assert np.dtype(dtype).name in fault_of(tmp_path, train_masks=np.full((5, 6, 8), 2.7, dtype))


@pytest.mark.parametrize(("label", "dtype"), [(11, np.uint8), (255, np.uint8), (-1, np.int16)])
def test_labels_out_of_range_are_named(tmp_path: Path, label: int, dtype: type) -> None:
    masks = np.zeros((3, 6, 8), dtype)
    masks[1, 2, 3] = label
    assert f"test_masks holds labels [{label}]; expected 0..10" in fault_of(tmp_path, test_masks=masks)


def test_no_such_file(tmp_path: Path) -> None:
    fault(tmp_path / "nothing.npz")
    fault(tmp_path)


def test_a_single_array_is_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "scenes.npz"
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    fault(path)


def test_a_payload_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "scenes.npz"
    np.savez(path, **arrays(train_images=np.array([{"a": 1}], dtype=object)))
    fault(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_damage_is_a_named_error_or_harmless(tmp_path: Path, save: object) -> None:
    path = tmp_path / "scenes.npz"
    save(path, **arrays())
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        if generator.random() < 0.3:
            damaged = damaged[: generator.integers(len(whole))]
        else:
            damaged[generator.integers(len(whole))] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            splits = open_multidigit(path)
        except DataError:
            continue
        np.testing.assert_array_equal(splits.train.images, arrays()["train_images"])
        np.testing.assert_array_equal(splits.test.targets, arrays()["test_masks"])
