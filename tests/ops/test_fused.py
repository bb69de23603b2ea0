"""The fused operations: the same numbers and gradients as the readable reference, whatever the size, layout or threads."""

import itertools
from collections.abc import Callable
from typing import Any, get_args

import numba
import pytest
import torch
from torch import Tensor, nn

from maskwright.ops import fused
from maskwright.refine.cspn import CSPNForm, cspn
from maskwright.refine.dyspn import SMALLEST_CENTRE, DySPNForm, dyspn

SIZES = [(2, 1, 9, 13), (1, 3, 20, 7), (1, 1, 1, 1), (1, 2, 1, 8), (1, 1, 8, 1)]
"""Shapes of the logits."""

Propagation = Callable[..., Tensor]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(shape: tuple[int, ...], kernel_size: int, *, steps: int | None = None, **options: Any) -> list[Tensor]:
    """Logits and affinity, and the attention of DySPN where `steps` are given."""
    images, _, *size = shape
    tensors = [random(*shape, **options), random(images, kernel_size**2 - 1, *size, seed=1, **options)]
    if steps is not None:
        tensors.append(random(images, steps, kernel_size // 2 + 1, *size, seed=2, **options))
    return [tensor.requires_grad_() for tensor in tensors]


def assert_parity(propagate: Propagation, tensors: list[Tensor], **options: Any) -> None:
    """All states and, for a random gradient of all states, all gradients agree with the reference."""
    results = {}
    for backend in ("auto", "reference"):
        states = propagate(*tensors, return_steps=True, backend=backend, **options)
        results[backend] = [states, *torch.autograd.grad((states * random(*states.shape, seed=3)).sum(), tensors)]
    for got, expected in zip(results["auto"], results["reference"], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("form", get_args(CSPNForm))
def test_cspn_is_the_reference(form: str, shape: tuple[int, ...], kernel_size: int) -> None:
    assert_parity(cspn, inputs(shape, kernel_size), steps=4, form=form)


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("form", get_args(DySPNForm))
def test_dyspn_is_the_reference(form: str, shape: tuple[int, ...], kernel_size: int) -> None:
    assert_parity(dyspn, inputs(shape, kernel_size, steps=3), steps=3, form=form)


def test_the_centre_of_a_closed_gate_is_held() -> None:
    """Where all attentions are near 0, the centre's weight is a constant that Σ|w| does not divide."""
    logits, affinity, attention = inputs((1, 2, 5, 6), 5, steps=2)
    assert_parity(dyspn, [logits, affinity, (attention.detach() / 10 - 16).requires_grad_()], steps=2)


def test_small_affinities_are_not_divided() -> None:
    logits, affinity = inputs((1, 2, 6, 7), 3)
    assert_parity(cspn, [logits, (affinity.detach() / 100).requires_grad_()], steps=3, form="bounded")
    logits, affinity, attention = inputs((1, 2, 6, 7), 7, steps=3)
    assert_parity(dyspn, [logits, (affinity.detach() / 1000).requires_grad_(), attention], steps=3)


def test_float32_is_within_a_hundred_thousandth() -> None:
    for propagate, tensors in (
        (cspn, inputs((2, 1, 33, 40), 3, dtype=torch.float32)),
        (dyspn, inputs((2, 1, 33, 40), 7, steps=6, dtype=torch.float32)),
    ):
        got, expected = (propagate(*tensors, 6, backend=backend) for backend in ("auto", "reference"))
        assert got.dtype == torch.float32
        assert (got - expected).abs().max() <= 1e-5


def test_fewer_steps_than_attentions_leave_the_rest_alone() -> None:
    assert_parity(dyspn, inputs((1, 1, 6, 5), 5, steps=4), steps=2)


def test_no_step_gives_the_coarse_logits() -> None:
    logits, affinity, attention = inputs((1, 2, 4, 5), 3, steps=0)
    assert torch.equal(cspn(logits, affinity, 0), logits)
    assert torch.equal(dyspn(logits, affinity, attention, 0), logits)


@pytest.mark.parametrize("affinity", [0.0, 1e-30, 1e30, 3e38])
def test_extreme_affinities_stay_finite(affinity: float) -> None:
    logits = random(1, 1, 6, 7, dtype=torch.float32) * 1e4
    weights = torch.full((1, 48, 6, 7), affinity, requires_grad=True)
    attention = torch.full((1, 6, 4, 6, 7), -200.0, requires_grad=True)
    for out in (
        cspn(logits, weights[:, :8], form="signed"),
        cspn(logits, weights[:, :8], form="bounded"),
        cspn(logits, weights, form="signed"),
        cspn(logits, weights, form="bounded"),
        dyspn(logits, weights, attention),
        dyspn(logits, weights, torch.zeros_like(attention)),
    ):
        assert out.isfinite().all()
        assert torch.autograd.grad(out.sum(), weights)[0].isfinite().all()


def test_memory_layout_does_not_matter() -> None:
    tensors = [tensor.detach() for tensor in inputs((2, 3, 8, 9), 7, steps=2)]
    expected = dyspn(*tensors, steps=2)
    logits, affinity, attention = tensors
    layout = torch.channels_last
    other = [
        logits.to(memory_format=layout),
        affinity.to(memory_format=layout),
        attention.transpose(-1, -2).contiguous(),
    ]
    other[2] = other[2].transpose(-1, -2)
    torch.testing.assert_close(dyspn(*other, steps=2), expected, rtol=1e-12, atol=1e-12)
    strided = [torch.cat((tensor, tensor), -1)[..., : tensor.shape[-1]] for tensor in tensors]
    assert not strided[1].is_contiguous()
    torch.testing.assert_close(dyspn(*strided, steps=2), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(cspn(*strided[:2]), cspn(*tensors[:2]))


@pytest.mark.usefixtures("any_threads")
def test_the_number_of_threads_does_not_matter() -> None:
    tensors = inputs((2, 2, 17, 19), 7, steps=3, dtype=torch.float32)
    eight = inputs((2, 2, 17, 19), 3, dtype=torch.float32)[1]
    results = []
    for threads in (1, max(2, numba.config.NUMBA_NUM_THREADS)):
        torch.set_num_threads(threads)
        out = dyspn(*tensors, 3)
        results.append([out, *torch.autograd.grad(out.sum(), tensors)])
        for affinity in (tensors[1], eight):
            out = cspn(tensors[0], affinity)
            results[-1] += [out, *torch.autograd.grad(out.sum(), (tensors[0], affinity))]
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("share", [(4, 2), (4, 4), (3, 3), (2, 7), (1, 11)])
def test_sweeps_and_bands_do_not_matter(share: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many steps a sweep makes and bands an image has: all states and gradients are the same, bit for bit."""
    tensors = inputs((2, 2, 51, 5), 5, steps=4, dtype=torch.float32)
    eight = inputs((2, 2, 51, 5), 3, dtype=torch.float32)[1]
    results: list[list[Tensor]] = []
    for together, bands in ((4, 1), share):
        monkeypatch.setattr(fused, "_share", lambda *_, chosen=(together, bands): chosen)
        monkeypatch.setattr(fused, "_jobs_per_image", lambda *_, chosen=bands: chosen)
        results.append([])
        for propagate, given in ((dyspn, tensors), (cspn, tensors[:2]), (cspn, [tensors[0], eight])):
            states = propagate(*given, 4, return_steps=True)
            weights = random(*states.shape, seed=3, dtype=torch.float32)
            results[-1] += [states, *torch.autograd.grad(states, given, weights)]
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 4, 16, 96])
def test_bands_are_high_enough_for_their_sweeps(threads: int) -> None:
    for images, height, kernel_size, steps in itertools.product((1, 3, 8), (1, 5, 16, 37, 256), (3, 7), (0, 1, 6)):
        state, affinity = torch.empty(images, 1, height, 2), torch.empty(images, kernel_size**2 - 1, height, 2)
        together, bands = fused._share(state, affinity, steps, threads)
        assert together >= 1 and bands >= 1
        assert height // bands >= 2 * (kernel_size // 2) * (together - 1) or bands == 1


def test_gradients_are_the_numerical_ones() -> None:
    assert torch.autograd.gradcheck(lambda h, g: cspn(h, g, 3, form="signed"), inputs((1, 2, 3, 4), 3))
    assert torch.autograd.gradcheck(lambda h, w, a: dyspn(h, w, a, 2), inputs((1, 1, 4, 4), 5, steps=2))


def test_the_operations_are_registered_as_pytorch_wants_them() -> None:
    logits, affinity = inputs((1, 2, 5, 6), 3, dtype=torch.float32)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(fused.cspn_states, (logits, affinity, 2, int(fused.Mode.BOUNDED)), test_utils=checks)
    logits, affinity, attention = inputs((1, 1, 5, 6), 5, steps=2, dtype=torch.float32)
    torch.library.opcheck(fused.dyspn_states, (logits, affinity, attention, SMALLEST_CENTRE), test_utils=checks)


class Refine(nn.Module):
    def forward(self, logits: Tensor, affinity: Tensor, attention: Tensor) -> Tensor:
        return dyspn(cspn(logits, affinity, 2, form="bounded"), affinity, attention, 2)


def test_a_model_with_them_exports() -> None:
    tensors = tuple(tensor.detach() for tensor in inputs((1, 2, 6, 7), 5, steps=2, dtype=torch.float32))
    exported = torch.export.export(Refine(), tensors)
    parts = [part for part in exported.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    names = [str(node.target) for part in parts for node in part.graph.nodes]
    assert any("maskwright.cspn" in name for name in names) and any("maskwright.dyspn" in name for name in names)
    assert torch.equal(exported.module()(*tensors), Refine()(*tensors))


def test_a_model_with_them_is_traced_in_one_piece() -> None:
    tensors = [tensor.detach() for tensor in inputs((1, 2, 6, 7), 5, steps=2, dtype=torch.float32)]
    compiled = torch.compile(Refine(), backend="eager", fullgraph=True)
    assert torch.equal(compiled(*tensors), Refine()(*tensors))


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="backend must be one of auto, reference; got 'fast'"):
        cspn(*inputs((1, 1, 4, 4), 3), backend="fast")  # type: ignore[arg-type]


def test_affinities_of_half_precision_reach_kernels_that_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[torch.dtype] = []

    def noted(logits: Tensor, affinity: Tensor, *_: Any) -> Tensor:
        read.append(affinity.dtype)
        return torch.stack([logits] * 3)

    monkeypatch.setattr(fused, "runs", lambda backend, logits, affinity: True)  # as on CUDA
    monkeypatch.setattr(fused, "cspn_states", noted)
    monkeypatch.setattr(fused, "dyspn_states", noted)
    logits, affinity, attention = (tensor.half() for tensor in inputs((1, 1, 6, 6), 3, steps=2))
    for form in ("signed", "softmax"):
        cspn(logits, affinity, 2, form=form)
        dyspn(logits, affinity, attention, 2, form=form)
    assert read == [torch.float16, torch.float16, torch.float32, torch.float32]
