"""DySPN as a function: parity with loops, gradients, and what holds whatever affinity and attention."""

import numpy as np
import pytest
import torch
from torch import Tensor

import reference
from maskwright.refine import dyspn

FORMS = ["signed", "softmax"]
OPEN, SHUT = 40.0, -40.0


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def case(
    size: tuple[int, int] = (8, 7), *, n: int = 2, channels: int = 2, kernel_size: int = 7, steps: int = 6
) -> tuple[Tensor, Tensor, Tensor]:
    """Random logits, affinity and attention."""
    return (
        5 * random(n, channels, *size),
        random(n, kernel_size**2 - 1, *size, seed=1),
        3 * random(n, steps, kernel_size // 2 + 1, *size, seed=2),
    )


def expected_states(logits: Tensor, affinity: Tensor, attention: Tensor, steps: int, form: str) -> np.ndarray:
    return reference.dyspn(logits.numpy(), affinity.numpy(), attention.numpy(), steps, form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (9, 7)])
def test_parity_with_loops(size: tuple[int, int], form: str) -> None:
    inputs = case(size, n=1, steps=3)
    states = dyspn(*inputs, 3, form=form, return_steps=True)
    np.testing.assert_allclose(states, expected_states(*inputs, 3, form), rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_parity_with_loops_over_smaller_neighbourhoods(kernel_size: int, form: str) -> None:
    inputs = case((4, 5), channels=3, kernel_size=kernel_size, steps=3)
    states = dyspn(*inputs, 3, form=form, return_steps=True)
    np.testing.assert_allclose(states, expected_states(*inputs, 3, form), rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kernel_size", "fast"), [(3, False), (7, True)])
def test_gradients(kernel_size: int, fast: bool, form: str) -> None:
    inputs = case((3, 4), n=1, kernel_size=kernel_size, steps=2)
    inputs = tuple(t.requires_grad_() for t in inputs)
    assert torch.autograd.gradcheck(lambda h, w, a: dyspn(h, w, a, 2, form=form), inputs, fast_mode=fast)


def test_one_neighbour_moves_the_map_by_exactly_its_offset() -> None:
    # Fails where ring-ordered weights meet raster-ordered neighbours: the centre weight lands on neighbour (+3, +3).
    logits, _, attention = case((9, 10), n=1, steps=1)
    attention[:] = OPEN
    attention[:, :, -1] = SHUT
    for k, (dy, dx) in enumerate(reference.neighbours(7)):
        affinity = torch.zeros(1, 48, 9, 10, dtype=torch.float64)
        affinity[:, k] = 1
        moved = dyspn(logits, affinity, attention, 1)
        for y in range(9):
            for x in range(10):
                inside = 0 <= y + dy < 9 and 0 <= x + dx < 10
                source = (y + dy, x + dx) if inside else (y, x)
                torch.testing.assert_close(moved[:, :, y, x], logits[:, :, source[0], source[1]], rtol=0, atol=1e-3)


@pytest.mark.parametrize("ring", range(3))
def test_an_open_ring_is_the_mean_of_its_documented_set(ring: int) -> None:
    logits, _, attention = case((7, 7), n=1, channels=1, steps=1)
    attention[:] = SHUT
    attention[:, :, ring] = OPEN
    moved = dyspn(logits, torch.ones(1, 48, 7, 7, dtype=torch.float64), attention, 1)
    expected = logits.flatten()[list(reference.RINGS_7X7[ring])].mean()
    torch.testing.assert_close(moved[0, 0, 3, 3], expected, rtol=0, atol=1e-3)


def test_each_step_has_its_own_attention() -> None:
    logits, affinity, attention = case()
    still = attention.clone()
    still[:, :, :-1], still[:, :, -1] = SHUT, OPEN
    first_only = torch.cat((attention[:, :1], still[:, 1:]), dim=1)
    torch.testing.assert_close(dyspn(logits, affinity, first_only), dyspn(logits, affinity, attention, 1))
    longer = dyspn(logits, affinity, attention, 2)
    torch.testing.assert_close(longer, dyspn(logits, affinity, attention[:, :2], 2))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (8, 7)])
def test_a_constant_mask_stays_constant_up_to_the_border(size: tuple[int, int], form: str) -> None:
    _, affinity, attention = case(size)
    logits = torch.full((2, 2, *size), -2.5, dtype=torch.float64)
    torch.testing.assert_close(dyspn(logits, affinity, attention, form=form), logits, rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("level", [-1e30, -1e4, -100.0, -10.0, 0.0, 10.0, 1e4])
def test_no_attention_makes_a_mask_fade(level: float, form: str) -> None:
    _, affinity, attention = (t.float() for t in case())
    logits = torch.full((2, 2, 8, 7), 4.0)
    torch.testing.assert_close(dyspn(logits, affinity, attention + level, form=form), logits, rtol=1e-4, atol=0)


@pytest.mark.parametrize("level", [-1e4, 0.0, 1e4])
def test_zero_affinity_returns_the_input(level: float) -> None:
    logits, affinity, attention = case()
    refined = dyspn(logits, torch.zeros_like(affinity), attention + level)
    torch.testing.assert_close(refined, logits, rtol=0, atol=1e-12)


def test_with_the_centre_shut_only_the_ratio_of_the_affinities_counts() -> None:
    logits, affinity, attention = case()
    attention[:, :, -1] = SHUT
    scaled = dyspn(logits, 7 * affinity, attention)
    torch.testing.assert_close(scaled, dyspn(logits, affinity, attention), rtol=0, atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_equals_its_images_one_by_one(form: str) -> None:
    inputs = case()
    singly = [dyspn(h[None], w[None], a[None], form=form) for h, w, a in zip(*inputs, strict=True)]
    torch.testing.assert_close(dyspn(*inputs, form=form), torch.cat(singly), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_classes_do_not_touch_each_other(form: str) -> None:
    logits, affinity, attention = case()
    singly = [dyspn(logits[:, c : c + 1], affinity, attention, form=form) for c in range(2)]
    torch.testing.assert_close(dyspn(logits, affinity, attention, form=form), torch.cat(singly, dim=1))


@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
@pytest.mark.parametrize("form", FORMS)
def test_positive_weights_keep_to_the_range_of_the_input(form: str, scale: float) -> None:
    logits, affinity, attention = (t.float() for t in case())
    refined = dyspn(logits * scale, affinity.abs(), attention, form=form)
    low, high = logits.amin((2, 3)) * scale, logits.amax((2, 3)) * scale
    slack = 1e-5 * (high - low)
    assert (refined.amin((2, 3)) >= low - slack).all()
    assert (refined.amax((2, 3)) <= high + slack).all()


def test_signed_weights_grow_at_most_linearly() -> None:
    # The quotient gives |h'| ≤ max|h| + 2·max|h0|.
    logits, affinity, attention = case(steps=20)
    for weights in (1e3 * affinity, -affinity.abs()):
        states = dyspn(logits, weights, attention, 20, return_steps=True)
        bound = (1 + 2 * torch.arange(21)) * logits.abs().max()
        assert (states.abs().amax((1, 2, 3, 4)) <= bound + 1e-9).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("level", [-1e30, -1e4, 0.0, 1e4])
@pytest.mark.parametrize("pull", [0.0, 1.0, -1e4, 1e30])
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
def test_extreme_values_give_finite_results_and_gradients(scale: float, pull: float, level: float, form: str) -> None:
    single = torch.float32
    logits = (scale * random(1, 2, 5, 5, dtype=single).sign()).requires_grad_()
    affinity = (pull * random(1, 48, 5, 5, seed=1, dtype=single).sign()).requires_grad_()
    attention = (level + random(1, 2, 4, 5, 5, seed=2, dtype=single)).requires_grad_()
    refined = dyspn(logits, affinity, attention, 2, form=form)
    assert refined.isfinite().all()
    refined.backward(random(1, 2, 5, 5, seed=3, dtype=single))
    for given in (logits, affinity, attention):
        assert given.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_are_computed_in_float32(dtype: torch.dtype) -> None:
    inputs = [t.to(dtype) for t in case()]
    refined = dyspn(*inputs)
    assert refined.dtype == torch.float32
    assert torch.equal(refined, dyspn(*(t.float() for t in inputs)))


@pytest.mark.parametrize("steps", [0, 1, 6])
def test_return_steps_starts_with_the_input_and_ends_with_the_result(steps: int) -> None:
    inputs = case()
    states = dyspn(*inputs, steps, return_steps=True)
    assert states.shape == (steps + 1, *inputs[0].shape)
    assert torch.equal(states[0], inputs[0])
    assert torch.equal(states[-1], dyspn(*inputs, steps))


@pytest.mark.parametrize(
    "attention",
    [
        (2, 2, 4, 5, 6),  # fewer than three steps
        (2, 3, 3, 5, 6),  # without the centre
        (1, 3, 4, 5, 6),
        (2, 3, 4, 6, 5),
        (2, 12, 5, 6),  # steps and rings in one axis
        (12,),
    ],
)
def test_attention_that_does_not_fit_is_named(attention: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        dyspn(torch.zeros(2, 1, 5, 6), torch.zeros(2, 48, 5, 6), torch.zeros(attention), 3)
    assert str(attention) in str(caught.value)
    assert "4, 5, 6)" in str(caught.value)


@pytest.mark.parametrize("affinity", [(2, 49, 5, 6), (2, 63, 5, 6), (1, 48, 5, 6), (2, 48, 5, 5), (48, 5, 6)])
def test_affinity_that_does_not_fit_is_named(affinity: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        dyspn(torch.zeros(2, 1, 5, 6), torch.zeros(affinity), torch.zeros(2, 6, 4, 5, 6))
    assert str(affinity) in str(caught.value)
    assert "(2, 1, 5, 6)" in str(caught.value)


def test_compiled_is_eager() -> None:
    inputs = case((4, 5), n=1, kernel_size=3, steps=2)
    compiled = torch.compile(dyspn, backend="eager")(*inputs, 2)
    torch.testing.assert_close(compiled, dyspn(*inputs, 2))
