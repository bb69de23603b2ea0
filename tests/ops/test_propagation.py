"""The neighbour sum: which channel is which neighbour, what happens at the border, and its two gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor

import reference
from maskwright.ops.propagation import inside_image, neighbour_offsets, neighbour_sum, ring_offsets

SIZES = [(1, 1), (1, 6), (6, 1), (5, 4), (7, 9)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_neighbours_come_in_raster_order_without_the_centre() -> None:
    assert neighbour_offsets(3) == ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def test_the_rings_of_7x7_are_the_documented_sets() -> None:
    channels = tuple(tuple(i - (i > 24) for i in ring) for ring in reference.RINGS_7X7)
    assert ring_offsets(7) == channels


@pytest.mark.parametrize("kernel_size", [3, 5, 7, 9])
def test_the_rings_part_the_neighbours(kernel_size: int) -> None:
    rings = ring_offsets(kernel_size)
    assert [len(ring) for ring in rings] == [8 * radius for radius in range(kernel_size // 2, 0, -1)]
    assert sorted(k for ring in rings for k in ring) == list(range(kernel_size**2 - 1))


@pytest.mark.parametrize("size", SIZES)
def test_inside_image_is_what_the_loops_find(size: tuple[int, int]) -> None:
    height, width = size
    inside = inside_image(size, neighbour_offsets(5), torch.device("cpu"))
    expected = [
        [[0 <= y + dy < height and 0 <= x + dx < width for x in range(width)] for y in range(height)]
        for dy, dx in reference.neighbours(5)
    ]
    assert inside.tolist() == expected


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_one_neighbour_moves_the_map_by_exactly_its_offset(kernel_size: int) -> None:
    # Fails where ring-ordered weights meet raster-ordered neighbours.
    state = random(1, 2, 8, 9)
    for k, (dy, dx) in enumerate(reference.neighbours(kernel_size)):
        weights = torch.zeros(1, kernel_size**2 - 1, 8, 9, dtype=torch.float64)
        weights[:, k] = 1
        moved = neighbour_sum(state, weights, neighbour_offsets(kernel_size))
        for y in range(8):
            for x in range(9):
                inside = 0 <= y + dy < 8 and 0 <= x + dx < 9
                expected = state[0, :, y + dy, x + dx] if inside else torch.zeros(2)
                assert moved[0, :, y, x].tolist() == expected.tolist()


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("size", SIZES)
def test_parity_with_loops(size: tuple[int, int], kernel_size: int) -> None:
    state, weights = random(2, 3, *size), random(2, kernel_size**2 - 1, *size, seed=1)
    got = neighbour_sum(state, weights, neighbour_offsets(kernel_size))
    expected = reference.neighbour_sum(state.numpy(), weights.numpy(), reference.neighbours(kernel_size))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_any_offsets_will_do() -> None:
    offsets = [(2, -3), (0, 0), (0, 1)]
    state, weights = random(1, 2, 4, 5), random(1, 3, 4, 5, seed=1)
    expected = reference.neighbour_sum(state.numpy(), weights.numpy(), offsets)
    np.testing.assert_allclose(neighbour_sum(state, weights, offsets), expected, rtol=0, atol=1e-12)


def test_memory_layout_does_not_matter() -> None:
    state, weights = random(2, 3, 5, 6), random(2, 8, 5, 6, seed=1)
    plain = neighbour_sum(state, weights, neighbour_offsets(3))
    layout = torch.channels_last
    other = neighbour_sum(state.to(memory_format=layout), weights.to(memory_format=layout), neighbour_offsets(3))
    torch.testing.assert_close(other, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_dtype_are_those_of_the_state(dtype: torch.dtype) -> None:
    total = neighbour_sum(random(2, 3, 4, 5).to(dtype), random(2, 8, 4, 5).to(dtype), neighbour_offsets(3))
    assert total.shape == (2, 3, 4, 5)
    assert total.dtype == dtype


@pytest.mark.parametrize(("kernel_size", "size"), [(3, (3, 4)), (5, (2, 3)), (3, (1, 1))])
def test_gradients(kernel_size: int, size: tuple[int, int]) -> None:
    offsets = neighbour_offsets(kernel_size)
    state = random(2, 2, *size).requires_grad_()
    weights = random(2, len(offsets), *size, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, w: neighbour_sum(s, w, offsets), (state, weights))


def test_gradients_over_a_large_neighbourhood() -> None:
    offsets = neighbour_offsets(7)
    state = random(1, 2, 4, 5).requires_grad_()
    weights = random(1, 48, 4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, w: neighbour_sum(s, w, offsets), (state, weights), fast_mode=True)


def test_compiled_is_eager() -> None:
    offsets = neighbour_offsets(3)
    state, weights = random(1, 2, 4, 5), random(1, 8, 4, 5, seed=1)
    inputs = [t.clone().requires_grad_() for t in (state, weights, state, weights)]
    compiled = torch.compile(neighbour_sum, backend="aot_eager", fullgraph=True)(*inputs[:2], offsets)
    eager = neighbour_sum(*inputs[2:], offsets)
    torch.testing.assert_close(compiled, eager)
    compiled.square().sum().backward()
    eager.square().sum().backward()
    for one, other in zip(inputs[:2], inputs[2:], strict=True):
        torch.testing.assert_close(one.grad, other.grad)
