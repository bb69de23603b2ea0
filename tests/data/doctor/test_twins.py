"""Twins are those that comparing all with all finds."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from maskwright.data.doctor.facts import THUMB, ImageFacts
from maskwright.data.doctor.twins import ALIKE, SAME, find_twins


def facts(thumb: np.ndarray, *, digest: bytes, width: int = 120, height: int = 90) -> ImageFacts:
    return ImageFacts(
        format="JPEG",
        mode="RGB",
        height=height,
        width=width,
        orientation=1,
        digest=digest,
        thumb=thumb.astype(np.uint8).tobytes(),
        contrast=float(thumb.std()),
    )


def scenes(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    return [ndimage.zoom(rng.uniform(20, 230, (5, 5)), THUMB / 5, order=1)[:THUMB, :THUMB] for _ in range(count)]


@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_that_brute_force_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base = scenes(rng, 40)
    thumbs = [*base, *(one + rng.normal(0, sigma, one.shape) for one in base[:20] for sigma in (1, 6, 20))]
    thumbs += [one + share * (other - one) for one, other in pairwise(base) for share in (0.1, 0.2, 0.3)]
    images = [facts(one.clip(0, 255), digest=bytes([index])) for index, one in enumerate(thumbs)]
    flat = np.array([np.frombuffer(image.thumb, np.uint8).astype(float) for image in images])
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    expected = {(a, b) for a, b in zip(*np.nonzero(distance <= ALIKE), strict=True) if a < b}
    found = find_twins(images)
    assert {(twins.first, twins.second) for twins in found} == expected
    assert len(expected) > 20
    for twins in found:
        assert twins.distance == pytest.approx(distance[twins.first, twins.second], abs=1e-3)
        assert twins.same == (twins.distance < SAME)


def test_equal_bytes_are_twins_even_where_they_are_flat() -> None:
    flat = np.full((THUMB, THUMB), 7)
    found = find_twins([facts(flat, digest=b"a"), None, facts(flat, digest=b"b"), facts(flat, digest=b"a")])
    assert [(twins.first, twins.second, twins.same) for twins in found] == [(0, 3, True)]


def test_another_shape_is_another_picture() -> None:
    thumb = scenes(np.random.default_rng(0), 1)[0]
    wide = find_twins([facts(thumb, digest=b"a"), facts(thumb, digest=b"b", width=200)])
    alike = find_twins([facts(thumb, digest=b"a"), facts(thumb, digest=b"b", width=240, height=180)])
    assert [twins.same for twins in wide] == [False]
    assert [twins.same for twins in alike] == [True]


def test_few_pictures() -> None:
    assert find_twins([]) == []
    assert find_twins([None, facts(scenes(np.random.default_rng(0), 1)[0], digest=b"a")]) == []


@pytest.mark.parametrize("noise", [0, 1])
def test_every_copy_has_a_twin_in_each_other_part(noise: int) -> None:
    """Equal files of three parts, and in the last one perhaps the same picture compressed anew."""
    rng = np.random.default_rng(0)
    thumb = scenes(rng, 1)[0]
    parts = ["train", "train", "train", "val", "val", "test", "test"]
    other = facts((thumb + rng.normal(0, 1, thumb.shape)).clip(0, 255), digest=b"b")
    images = [other if noise and part == "test" else facts(thumb, digest=b"a") for part in parts]
    across = [twins for twins in find_twins(images, parts) if parts[twins.first] != parts[twins.second]]
    assert all(twins.same for twins in across)
    for index, part in enumerate(parts):
        others = {parts[twins.first + twins.second - index] for twins in across if index in (twins.first, twins.second)}
        assert others == {"train", "val", "test"} - {part}


def test_a_thousand_equal_files_are_few_pairs() -> None:
    flat = facts(np.full((THUMB, THUMB), 7), digest=b"a")
    assert len(find_twins([flat] * 1000, ["train", "val"] * 500)) < 2000
