"""Seeds that grow within a mask; the pieces of label maps are tested with `cluster.regions`, which numbers by them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskwright.ops.components import grow


def slow_distances(seeds: np.ndarray, within: np.ndarray, number: int) -> np.ndarray:
    """Steps from a seed's pixels inside the mask, by relaxing all pixels until nothing changes; infinite where cut off."""
    distance = np.where(seeds == number, 0.0, np.inf)
    while True:
        padded = np.pad(distance, 1, constant_values=np.inf)
        near = np.minimum.reduce([padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]) + 1
        closer = np.where(within, np.minimum(distance, near), distance)
        if np.array_equal(closer, distance):
            return distance
        distance = closer


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_every_pixel_goes_to_a_seed_of_the_shortest_path(seed: int, height: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    within = generator.random((height, width)) < 0.7
    seeds = np.where(within & (generator.random((height, width)) < 0.15), generator.integers(1, 4, (height, width)), 0)
    grown = grow(seeds.astype(np.int32), within)
    steps = np.stack([slow_distances(seeds, within, number) for number in (1, 2, 3)])
    reached = np.isfinite(steps.min(0))
    assert np.array_equal(grown > 0, reached)
    own = np.take_along_axis(steps, np.maximum(grown - 1, 0)[None].astype(np.int64), 0)[0]
    assert np.array_equal(own[reached], steps.min(0)[reached])


def test_paths_go_round_holes() -> None:
    within = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 1, 1]], bool)
    seeds = np.zeros((3, 5), np.int32)
    seeds[2, 0], seeds[0, 4] = 7, 9
    # The pixel at (2, 2) is two steps from seed 7 as the crow flies, but four from seed 9 within the mask.
    assert grow(seeds, within).tolist() == [[7, 9, 9, 9, 9], [7, 0, 0, 0, 9], [7, 0, 9, 9, 9]]
