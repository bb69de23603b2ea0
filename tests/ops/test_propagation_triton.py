"""The Triton kernels: the numbers and gradients of the readable reference, on a GPU or in Triton's interpreter.

Triton decides at its import whether it compiles or interprets. Where there is no GPU, this file therefore runs itself
in a process of its own, which interprets and has the kernels registered for CPUs; here its tests are skipped.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from maskwright.ops import fused
from maskwright.ops.fused import Mode
from maskwright.refine.cspn import cspn
from maskwright.refine.dyspn import SMALLEST_CENTRE, dyspn

triton = pytest.importorskip("triton")

from maskwright.ops import propagation_triton  # noqa: E402

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

needs_kernels = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="needs a GPU; test_in_the_interpreter runs it without one"
)

if INTERPRETED:
    fused.cspn_states.register_kernel("cpu", propagation_triton.cspn_states)
    fused._cspn_backward.register_kernel("cpu", propagation_triton.cspn_backward)
    fused.dyspn_states.register_kernel("cpu", propagation_triton.dyspn_states)
    fused._dyspn_backward.register_kernel("cpu", propagation_triton.dyspn_backward)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).to(DEVICE)


def inputs(shape: tuple[int, ...], kernel_size: int, steps: int, **options: Any) -> list[Tensor]:
    """Logits, affinity and the attention of DySPN."""
    images, _, *size = shape
    tensors = [
        random(*shape, **options),
        random(images, kernel_size**2 - 1, *size, seed=1, **options),
        random(images, steps, kernel_size // 2 + 1, *size, seed=2, **options),
    ]
    return [tensor.requires_grad_() for tensor in tensors]


def states_and_gradients(propagate: Callable[..., Tensor], tensors: list[Tensor], **options: Any) -> list[Tensor]:
    """All states and, for a random gradient of all states, all gradients."""
    states = propagate(*tensors, return_steps=True, **options)
    return [states, *torch.autograd.grad(states, tensors, random(*states.shape, seed=3, dtype=states.dtype))]


def assert_parity(propagate: Callable[..., Tensor], tensors: list[Tensor], **options: Any) -> None:
    got = states_and_gradients(propagate, tensors, **options)
    expected = states_and_gradients(propagate, tensors, backend="reference", **options)
    tolerance = 1e-10 if tensors[0].dtype == torch.float64 else 1e-5
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(INTERPRETED or torch.cuda.is_available(), reason="the tests run here")
def test_in_the_interpreter() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__],
        env=environment | {"TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@needs_kernels
@pytest.mark.parametrize(
    ("form", "shape", "kernel_size", "steps"),
    [
        ("signed", (2, 1, 9, 17), 3, 3),
        ("bounded", (1, 1, 9, 17), 3, 2),
        ("softmax", (1, 3, 4, 5), 3, 2),
        ("signed", (1, 5, 3, 9), 5, 1),
        ("bounded", (1, 1, 2, 8), 7, 1),
        ("signed", (1, 1, 1, 1), 3, 2),
    ],
)
def test_cspn_is_the_reference(form: str, shape: tuple[int, ...], kernel_size: int, steps: int) -> None:
    assert_parity(cspn, inputs(shape, kernel_size, steps)[:2], steps=steps, form=form)


@needs_kernels
@pytest.mark.parametrize(
    ("form", "shape", "kernel_size", "steps"),
    [
        ("signed", (2, 1, 9, 17), 3, 3),
        ("softmax", (1, 5, 4, 5), 3, 2),
        ("signed", (1, 3, 3, 9), 5, 1),
        ("signed", (1, 1, 7, 2), 7, 1),
        ("signed", (1, 1, 1, 1), 3, 2),
    ],
)
def test_dyspn_is_the_reference(form: str, shape: tuple[int, ...], kernel_size: int, steps: int) -> None:
    assert_parity(dyspn, inputs(shape, kernel_size, steps), steps=steps, form=form)


@needs_kernels
def test_small_affinities_are_not_divided() -> None:
    logits, affinity, attention = inputs((1, 2, 6, 7), 3, 2)
    small = (affinity.detach() / 100).requires_grad_()
    assert_parity(cspn, [logits, small], steps=2, form="bounded")
    assert_parity(dyspn, [logits, small, attention], steps=2)


@needs_kernels
def test_float32_is_within_a_hundred_thousandth() -> None:
    logits, affinity, attention = inputs((1, 1, 9, 17), 3, 3, dtype=torch.float32)
    assert_parity(cspn, [logits, affinity], steps=3)
    assert_parity(dyspn, [logits, affinity, attention], steps=3)


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_affinities_of_half_precision_are_read_as_they_are(dtype: torch.dtype) -> None:
    logits, affinity, attention = inputs((1, 1, 6, 7), 3, 2, dtype=torch.float32)
    half = affinity.detach().to(dtype).requires_grad_()
    float_affinity = half.detach().float().requires_grad_()
    for got, expected in (
        (
            fused.cspn_states(logits, half, 2, int(Mode.SIGNED)),
            fused.cspn_states(logits, float_affinity, 2, int(Mode.SIGNED)),
        ),
        (
            fused.dyspn_states(logits, half, attention, SMALLEST_CENTRE),
            fused.dyspn_states(logits, float_affinity, attention, SMALLEST_CENTRE),
        ),
    ):
        assert got.dtype == torch.float32 and torch.equal(got, expected)
        for_half = torch.autograd.grad(got.sum(), half)[0]
        expected = torch.autograd.grad(expected.sum(), float_affinity)[0]
        assert for_half.dtype == dtype
        torch.testing.assert_close(for_half.float(), expected, rtol=torch.finfo(dtype).eps, atol=1e-6)


@needs_kernels
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("affinity", [0.0, 1e-30, 1e30, 3e38])
def test_extreme_affinities_are_the_references(affinity: float) -> None:
    logits, _, attention = inputs((1, 1, 3, 4), 3, 2, dtype=torch.float32)
    weights = torch.full((1, 8, 3, 4), affinity, device=DEVICE, requires_grad=True)
    closed = torch.full_like(attention, -200.0).requires_grad_()
    for propagate, tensors, options in (
        (cspn, [logits * 1e4, weights], {"form": "bounded"}),
        (cspn, [logits * 1e4, weights], {"form": "signed"}),
        (dyspn, [logits * 1e4, weights, attention], {}),
        (dyspn, [logits * 1e4, weights, closed], {}),
    ):
        got = states_and_gradients(propagate, tensors, steps=2, **options)
        assert all(tensor.isfinite().all() for tensor in got)
        torch.testing.assert_close(
            got[0], propagate(*tensors, 2, return_steps=True, backend="reference", **options), rtol=1e-5, atol=1e-5
        )


@needs_kernels
def test_the_centre_of_a_closed_gate_is_held() -> None:
    """Where all attentions are near 0, the centre's weight is a constant: no gradient flows to its attention."""
    logits, affinity, attention = inputs((1, 1, 3, 4), 3, 2, dtype=torch.float32)
    assert_parity(dyspn, [logits, affinity, (attention.detach() / 10 - 16).requires_grad_()], steps=2)


@needs_kernels
def test_memory_layout_does_not_matter() -> None:
    tensors = [tensor.detach() for tensor in inputs((1, 3, 5, 6), 3, 2)]
    expected = states_and_gradients(dyspn, [tensor.requires_grad_() for tensor in tensors], steps=2)
    logits, affinity, attention = (tensor.detach() for tensor in tensors)
    others = [
        logits.to(memory_format=torch.channels_last),
        affinity.to(memory_format=torch.channels_last),
        attention.mT.contiguous().mT,
    ]
    assert not any(tensor.is_contiguous() for tensor in others)
    got = states_and_gradients(dyspn, [tensor.requires_grad_() for tensor in others], steps=2)
    assert all(torch.equal(one, other) for one, other in zip(got, expected, strict=True))


@needs_kernels
def test_no_step_and_no_image_are_fine() -> None:
    logits, affinity, attention = inputs((1, 2, 4, 5), 3, 0)
    for states in (cspn(logits, affinity, 0, return_steps=True), dyspn(logits, affinity, attention, 0)[None]):
        assert torch.equal(states, logits[None])
        for_logits, for_affinity = torch.autograd.grad(states.sum(), (logits, affinity))
        assert (for_logits == 1).all() and (for_affinity == 0).all()
    for shape in ((0, 1, 4, 5), (1, 0, 4, 5), (1, 1, 0, 5)):
        assert_parity(dyspn, inputs(shape, 3, 1), steps=1)


@needs_kernels
def test_gradients_are_the_numerical_ones() -> None:
    logits, affinity, attention = inputs((1, 1, 2, 3), 3, 1)
    options = {"fast_mode": True, "nondet_tol": 0.0}
    assert torch.autograd.gradcheck(lambda h, g: cspn(h, g, 2, form="signed"), (logits, affinity), **options)
    assert torch.autograd.gradcheck(lambda h, w, a: dyspn(h, w, a, 1), (logits, affinity, attention), **options)


@pytest.mark.skipif(INTERPRETED, reason="interpreted kernels do not compile")
@pytest.mark.parametrize(("gated", "channels"), [(True, 1), (False, 3)])
def test_the_kernels_compile_for_a_gpu(
    gated: bool, channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler takes less than the interpreter does, and needs no GPU."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {"K": 3, "MODE": int(Mode.BOUNDED), "FIRST": True, "CHANNELS": 2, "STEPS": 4, "BLOCK": 128}
    if not gated:
        constants |= dict.fromkeys(("attention", "below", "for_attention"))
    if channels == 1:
        constants |= {"channels": 1, "CHANNELS": 1}
    types = {"smallest": "fp32", "affinity": "*bf16", "for_affinity": "*bf16"}
    types |= dict.fromkeys(("height", "width", "images", "channels", "steps", "t"), "i32")
    for kernel in ("_step", "_sums", "_step_backward", "_gradients"):
        function = getattr(propagation_triton, kernel)
        names = function.arg_names
        signature = {name: "constexpr" if name in constants else types.get(name, "*fp32") for name in names}
        source = ASTSource(function, signature, {name: constants[name] for name in names if name in constants})
        compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": True})
        assert "cubin" in compiled.asm


def test_cuda_tensors_are_taken() -> None:
    def taken(logits: torch.dtype, affinity: torch.dtype, kernel_size: int = 7, backend: Any = "auto") -> bool:
        with FakeTensorMode():
            h = torch.empty(1, 1, 4, 5, device="cuda", dtype=logits)
            return fused.runs(backend, h, h.new_empty(1, kernel_size**2 - 1, 4, 5, dtype=affinity))

    single, half, brain, double = torch.float32, torch.float16, torch.bfloat16, torch.float64
    assert taken(single, single) and taken(single, half) and taken(single, brain) and taken(double, double)
    assert not taken(single, double) and not taken(half, half)
    assert not taken(single, single, kernel_size=9) and not taken(single, single, backend="reference")


def test_the_operations_have_cuda_kernels() -> None:
    for name in ("cspn", "cspn_backward", "dyspn", "dyspn_backward"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"maskwright::{name}", "CUDA")
