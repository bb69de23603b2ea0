"""CSPN as a function: parity with loops, gradients, and what holds whatever the affinity."""

import numpy as np
import pytest
import torch
from torch import Tensor

import reference
from maskwright.refine import cspn

FORMS = ["signed", "bounded", "softmax"]
SIZES = [(1, 1), (1, 6), (5, 4), (7, 9)]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def case(
    size: tuple[int, int] = (5, 6), *, n: int = 2, channels: int = 3, kernel_size: int = 3
) -> tuple[Tensor, Tensor]:
    """Random logits and affinity."""
    return 5 * random(n, channels, *size), random(n, kernel_size**2 - 1, *size, seed=1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", SIZES)
def test_parity_with_loops(size: tuple[int, int], form: str) -> None:
    logits, affinity = case(size)
    states = cspn(logits, affinity, 4, form=form, return_steps=True)
    np.testing.assert_allclose(states, reference.cspn(logits.numpy(), affinity.numpy(), 4, form), rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel_size", [5, 7])
def test_parity_with_loops_over_larger_neighbourhoods(kernel_size: int, form: str) -> None:
    logits, affinity = case((6, 5), channels=1, kernel_size=kernel_size)
    states = cspn(logits, affinity, 3, form=form, return_steps=True)
    np.testing.assert_allclose(states, reference.cspn(logits.numpy(), affinity.numpy(), 3, form), rtol=0, atol=1e-11)


def test_bounded_leaves_small_affinities_as_they_are_and_divides_large_ones() -> None:
    logits, affinity = case()
    small = 0.1 * affinity / affinity.abs().sum(1, keepdim=True)
    expected = reference.cspn(logits.numpy(), small.numpy(), 2, "bounded")
    np.testing.assert_allclose(cspn(logits, small, 2, form="bounded"), expected[-1], rtol=0, atol=1e-11)
    large = 100 * affinity.sign()
    torch.testing.assert_close(cspn(logits, large, 2, form="bounded"), cspn(logits, large, 2, form="signed"))


@pytest.mark.parametrize("form", FORMS)
def test_gradients(form: str) -> None:
    logits, affinity = case((3, 4), n=1, channels=2)
    inputs = (logits.requires_grad_(), affinity.requires_grad_())
    assert torch.autograd.gradcheck(lambda h, g: cspn(h, g, 3, form=form), inputs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", SIZES)
def test_a_constant_mask_stays_constant_up_to_the_border(size: tuple[int, int], form: str) -> None:
    _, affinity = case(size)
    logits = torch.full((2, 3, *size), -2.5, dtype=torch.float64)
    torch.testing.assert_close(cspn(logits, affinity, form=form), logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["signed", "bounded"])
def test_zero_affinity_returns_the_input(form: str) -> None:
    logits, affinity = case()
    assert torch.equal(cspn(logits, torch.zeros_like(affinity), form=form), logits)


def test_softmax_without_pull_from_the_neighbours_returns_the_input() -> None:
    logits, affinity = case()
    torch.testing.assert_close(cspn(logits, torch.full_like(affinity, -1e4), form="softmax"), logits)


@pytest.mark.parametrize("form", FORMS)
def test_one_neighbour_moves_the_map_by_exactly_its_offset(form: str) -> None:
    logits, _ = case((6, 7))
    for k, (dy, dx) in enumerate(reference.neighbours(3)):
        affinity = torch.full((2, 8, 6, 7), -1e4 if form == "softmax" else 0.0, dtype=torch.float64)
        affinity[:, k] = 1e4
        moved = cspn(logits, affinity, 1, form=form)
        for y in range(6):
            for x in range(7):
                inside = 0 <= y + dy < 6 and 0 <= x + dx < 7
                source = (y + dy, x + dx) if inside else (y, x)
                torch.testing.assert_close(moved[:, :, y, x], logits[:, :, source[0], source[1]])


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_equals_its_images_one_by_one(form: str) -> None:
    logits, affinity = case()
    singly = [cspn(h[None], g[None], form=form) for h, g in zip(logits, affinity, strict=True)]
    torch.testing.assert_close(cspn(logits, affinity, form=form), torch.cat(singly), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_classes_do_not_touch_each_other(form: str) -> None:
    logits, affinity = case()
    singly = [cspn(logits[:, c : c + 1], affinity, form=form) for c in range(3)]
    torch.testing.assert_close(cspn(logits, affinity, form=form), torch.cat(singly, dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
@pytest.mark.parametrize("form", FORMS)
def test_positive_weights_keep_to_the_range_of_the_input(form: str, scale: float) -> None:
    logits, affinity = case((7, 7))
    refined = cspn(logits.float() * scale, affinity.abs().float(), 20, form=form)
    low, high = logits.amin((2, 3)) * scale, logits.amax((2, 3)) * scale
    slack = 1e-5 * (high - low)
    assert (refined.amin((2, 3)) >= low - slack).all()
    assert (refined.amax((2, 3)) <= high + slack).all()


@pytest.mark.parametrize("form", ["signed", "bounded"])
def test_signed_weights_grow_at_most_linearly(form: str) -> None:
    # Σ|w| ≤ 1 gives |h'| ≤ max|h| + 2·max|h0|. A checkerboard under negative weights comes near it; more would blow up.
    for logits, affinity in (case((7, 7)), (torch.ones(1, 1, 7, 7), -torch.ones(1, 8, 7, 7))):
        states = cspn(logits, 50 * affinity, 30, form=form, return_steps=True)
        bound = (1 + 2 * torch.arange(31)) * logits.abs().max()
        assert (states.abs().amax((1, 2, 3, 4)) <= bound + 1e-9).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pull", [0.0, 1.0, -1e4, 1e30])
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
def test_extreme_values_give_finite_results_and_gradients(scale: float, pull: float, form: str) -> None:
    logits = (scale * random(1, 2, 5, 5, dtype=torch.float32).sign()).requires_grad_()
    affinity = (pull * random(1, 8, 5, 5, seed=1, dtype=torch.float32).sign()).requires_grad_()
    refined = cspn(logits, affinity, form=form)
    assert refined.isfinite().all()
    refined.backward(random(1, 2, 5, 5, seed=2, dtype=torch.float32))
    assert logits.grad.isfinite().all()
    assert affinity.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_are_computed_in_float32(dtype: torch.dtype) -> None:
    logits, affinity = (t.to(dtype) for t in case())
    refined = cspn(logits, affinity)
    assert refined.dtype == torch.float32
    assert torch.equal(refined, cspn(logits.float(), affinity.float()))


def test_autocast_does_not_reach_the_propagation() -> None:
    logits, affinity = (t.float() for t in case())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cspn(logits, affinity)
    assert torch.equal(inside, cspn(logits, affinity))


@pytest.mark.parametrize("steps", [0, 1, 6])
def test_return_steps_starts_with_the_input_and_ends_with_the_result(steps: int) -> None:
    logits, affinity = case()
    states = cspn(logits, affinity, steps, return_steps=True)
    assert states.shape == (steps + 1, *logits.shape)
    assert torch.equal(states[0], logits)
    assert torch.equal(states[-1], cspn(logits, affinity, steps))


def test_the_input_is_left_as_it_was() -> None:
    logits, affinity = case()
    before = logits.clone(), affinity.clone()
    cspn(logits, affinity)
    assert torch.equal(logits, before[0])
    assert torch.equal(affinity, before[1])


@pytest.mark.parametrize(
    ("logits", "affinity"),
    [
        ((2, 1, 5, 6), (2, 9, 5, 6)),  # with the centre
        ((2, 1, 5, 6), (2, 15, 5, 6)),  # an even kernel
        ((2, 1, 5, 6), (2, 0, 5, 6)),
        ((2, 1, 5, 6), (1, 8, 5, 6)),
        ((2, 1, 5, 6), (2, 8, 6, 5)),
        ((2, 1, 5, 6), (8, 5, 6)),
        ((5, 6), (2, 8, 5, 6)),
    ],
)
def test_shapes_that_do_not_fit_are_named(logits: tuple[int, ...], affinity: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        cspn(torch.zeros(logits), torch.zeros(affinity))
    assert str(logits) in str(caught.value)
    assert str(affinity) in str(caught.value)


def test_compiled_is_eager() -> None:
    logits, affinity = case(n=1)
    compiled = torch.compile(cspn, backend="eager")(logits, affinity, 2)
    torch.testing.assert_close(compiled, cspn(logits, affinity, 2))
