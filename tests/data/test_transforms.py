"""Resizing and augmentation: image and label map stay together, the seed decides, nothing global is touched."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from maskwright.data.transforms import AugmentConfig, augment, build_augmentation, resize_pair, resize_sparse
from maskwright.errors import ConfigError

GEOMETRIC = {
    "horizontal_flip": True,
    "vertical_flip": True,
    "rotation": 30.0,
    "shift": 0.2,
    "scale": 0.3,
    "shear": 20.0,
    "elastic": 30.0,
    "crop": 20,
}
BRINGS_IN = {"rotation": 30.0, "shift": 0.2, "scale": 0.3, "shear": 20.0, "crop": 40}
"""What can show pixels from outside the image."""


def picture(size: int = 32, block: int = 8) -> tuple[Tensor, Tensor]:
    """Label map of blocks 0..9, and an image that encodes it: 20·(label + 1) in every channel, so never black."""
    labels = torch.randint(0, 10, (size // block,) * 2, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    target = labels.repeat_interleave(block, 0).repeat_interleave(block, 1)
    return (20 * (target + 1)).expand(3, -1, -1).clone(), target


def augmented(seed: int, **options: object) -> tuple[Tensor, Tensor]:
    transform = build_augmentation(AugmentConfig(**options))
    assert transform is not None
    return augment(transform, *picture(), seed=seed)


@pytest.mark.parametrize("option", [*GEOMETRIC, "everything"])
def test_image_and_mask_move_together(option: str) -> None:
    options = GEOMETRIC if option == "everything" else {option: GEOMETRIC[option]}
    moved = 0
    for seed in range(6):
        image, target = augmented(seed, interpolation="nearest", **options)
        inside = target != 255
        assert torch.equal(image[0][inside], 20 * (target[inside] + 1))
        assert (image[:, ~inside] == 0).all()
        assert set(target.unique().tolist()) <= {*range(10), 255}
        moved += not (target.shape == (32, 32) and torch.equal(target, picture()[1]))
    assert moved >= 2


@pytest.mark.parametrize("option", ["rotation", "shift", "scale", "shear", "elastic"])
def test_a_bilinear_image_agrees_with_its_mask_away_from_edges(option: str) -> None:
    for seed in range(4):
        image, target = augmented(seed, **{option: GEOMETRIC[option]})
        # Where the mask has one label all around, the image must show it and nothing else.
        around = target[1:-1, 1:-1]
        same = torch.stack([target[1 + dy : 31 + dy, 1 + dx : 31 + dx] == around for dy in (-1, 0, 1)
                            for dx in (-1, 0, 1)]).all(0) & (around != 255)  # fmt: skip
        assert same.float().mean() > 0.2
        error = (image[0, 1:-1, 1:-1][same].int() - 20 * (around[same].int() + 1)).abs()
        assert (error <= 1).float().mean() > 0.9


@pytest.mark.parametrize("option", BRINGS_IN)
def test_what_comes_in_from_outside_is_black_and_ignored(option: str) -> None:
    outside = 0
    for seed in range(6):
        image, target = augmented(seed, interpolation="nearest", **{option: BRINGS_IN[option]})
        assert torch.equal((image == 0).all(0), target == 255)
        outside += int((target == 255).sum())
    assert outside > 0


def test_flips_mirror_half_of_the_time() -> None:
    image, target = picture()
    for option, axis in {"horizontal_flip": 1, "vertical_flip": 0}.items():
        results = [augmented(seed, **{option: True}) for seed in range(40)]
        mirrored = [torch.equal(t, target.flip(axis)) and torch.equal(i, image.flip(axis + 1)) for i, t in results]
        kept = [torch.equal(t, target) and torch.equal(i, image) for i, t in results]
        assert sum(mirrored) + sum(kept) == 40
        assert 10 <= sum(mirrored) <= 30


@pytest.mark.parametrize("size", [20, 32, 40])
def test_a_crop_is_a_square_of_its_size(size: int) -> None:
    image, target = augmented(0, crop=size)
    assert image.shape == (3, size, size)
    assert target.shape == (size, size)


def test_colour_changes_the_image_and_leaves_the_mask() -> None:
    image, target = picture()
    for seed in range(3):
        changed, kept = augmented(seed, color=0.5)
        assert torch.equal(kept, target)
        assert not torch.equal(changed, image)
        assert changed.dtype == torch.uint8


def test_the_seed_decides() -> None:
    options = GEOMETRIC | {"color": 0.3}
    first, again, other = augmented(5, **options), augmented(5, **options), augmented(2**64 - 1, **options)
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, different)


def test_the_global_random_states_are_left_as_they_were() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    augmented(3, **GEOMETRIC, color=0.3)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_the_given_tensors_are_left_as_they_were_and_plain_ones_returned() -> None:
    image, target = picture()
    transform = build_augmentation(AugmentConfig(**GEOMETRIC, color=0.3))
    for tensor, dimensions in zip(augment(transform, image, target, seed=1), (3, 2), strict=True):
        assert type(tensor) is Tensor
        assert tensor.dtype == torch.uint8
        assert tensor.ndim == dimensions
    assert torch.equal(image, picture()[0])
    assert torch.equal(target, picture()[1])


def test_nothing_to_do_is_no_transform() -> None:
    assert build_augmentation(AugmentConfig()) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rotation", -1.0),
        ("rotation", 181.0),
        ("shift", 1.5),
        ("scale", 1.0),
        ("shear", 90.0),
        ("color", 1.1),
        ("color", float("nan")),
        ("elastic", -1.0),
        ("crop", -1),
        ("interpolation", "cubic"),
    ],
)
def test_settings_out_of_range_are_named_with_what_came(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"data.augment.{name} .*{value}"):
        AugmentConfig(**{name: value})


@pytest.mark.parametrize("size", [0, 32])
def test_resizing_to_no_size_or_the_same_changes_nothing(size: int) -> None:
    image, target = picture()
    resized, labels = resize_pair(image, target, size)
    assert torch.equal(resized, image)
    assert torch.equal(labels, target)


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (32, 17)])
def test_resizing_stretches_to_a_square_and_invents_no_label(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 2, shape, generator=generator, dtype=torch.uint8) * 255
    image, labels = resize_pair(target.expand(3, -1, -1), target, 16)
    assert image.shape == (3, 16, 16)
    assert labels.shape == (16, 16)
    assert image.dtype == labels.dtype == torch.uint8
    assert type(image) is type(labels) is Tensor
    assert set(labels.unique().tolist()) <= set(target.unique().tolist())


def test_without_labels_the_image_alone_is_resized() -> None:
    image, _ = picture()
    resized, labels = resize_pair(image, None, 16)
    assert resized.shape == (3, 16, 16)
    assert labels is None


def test_labels_are_taken_at_the_pixel_centres() -> None:
    # The top left corner of each block instead of its centre would shift every mask against its image.
    target = torch.arange(81, dtype=torch.uint8).view(9, 9)
    assert torch.equal(resize_pair(target.expand(3, -1, -1), target, 3)[1], target[1::3, 1::3])


@pytest.mark.parametrize("size", [16, 20, 50, 100])
def test_resized_image_and_labels_stay_together(size: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(61), torch.arange(61), indexing="ij")
    disc = ((rows - 30) ** 2 + (columns - 30) ** 2 < 20**2).to(torch.uint8)
    image, labels = resize_pair(255 * disc.expand(3, -1, -1), disc, size)
    shown = (image[0] >= 128).to(torch.uint8)
    positions = torch.arange(size, dtype=torch.float64)
    for axis in (0, 1):
        centre_shown, centre_labels = (
            (mask.sum(1 - axis) * positions).sum() / mask.sum() for mask in (shown.double(), labels.double())
        )
        assert abs(centre_shown - centre_labels) < 0.1


def resized_slowly(target: Tensor, size: int) -> Tensor:
    """What `resize_sparse` promises, pixel by pixel."""
    height, width = target.shape
    result = torch.full((size, size), 255, dtype=torch.uint8)
    for row in range(size):
        for column in range(size):
            inside = {
                int(target[y, x])
                for y in range(height)
                for x in range(width)
                if row <= (y + 0.5) * size / height < row + 1 and column <= (x + 0.5) * size / width < column + 1
            } - {255}
            if len(inside) == 1:
                result[row, column] = inside.pop()
            elif not inside:
                y, x = int((row + 0.5) * height / size), int((column + 0.5) * width / size)
                result[row, column] = target[y, x]
    return result


@pytest.mark.parametrize("shape", [(9, 14), (5, 23), (3, 4), (1, 1), (6, 6)])
@pytest.mark.parametrize("size", [1, 5, 6, 11])
def test_no_pixel_of_a_sparse_label_map_gets_lost(shape: tuple[int, int], size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, shape, generator=generator, dtype=torch.uint8)
    target[torch.rand(shape, generator=generator) < 0.8] = 255
    assert torch.equal(resize_sparse(target, size), resized_slowly(target, size))


def test_a_thin_line_survives_only_the_sparse_way() -> None:
    target = torch.full((40, 40), 255, dtype=torch.uint8)
    target[:, 1] = 1
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    assert (resize_pair(image, target, 10)[1] == 255).all()
    assert (resize_pair(image, target, 10, sparse=True)[1][:, 0] == 1).all()


def test_a_sparse_label_map_without_labels_stays_so() -> None:
    assert (resize_sparse(torch.full((7, 9), 255, dtype=torch.uint8), 4) == 255).all()
