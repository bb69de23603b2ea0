"""Claim: on a GPU, CSPN and DySPN run near the speed of its memory, far from that of the plain and the compiled reference.

    python benchmarks/propagation_cuda.py --out propagation_cuda.json

In one process, for CSPN 3×3 and DySPN 7×7, six steps, one class: the time of forward and of forward + backward, ours
(float32 and half-precision affinity) against the reference and its `torch.compile` form. Calls are timed by CUDA events
after some for warm-up, and the median counts. The share of the bandwidth is the bytes that step-by-step propagation must
move in the forward pass (each step reads the affinities, its attentions, its state and h0, and writes a state), by the
time of the kernels, by the bandwidth of a large copy measured in the same run. Nothing else should run on the GPU.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor

import maskwright
from maskwright.ops import fused
from maskwright.ops.fused import Mode
from maskwright.refine.cspn import cspn
from maskwright.refine.dyspn import SMALLEST_CENTRE, dyspn

STEPS = 6
KERNEL_SIZES = {"cspn": 3, "dyspn": 7}
COPY_BYTES = 2**31


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median of `repeats` calls after three for warm-up."""
    for _ in range(3):
        work()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def bandwidth(repeats: int) -> float:
    """Bytes per second of a copy on the GPU, reading and writing counted."""
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / (milliseconds(lambda: target.copy_(source), repeats) / 1e3)


def must_move(logits: Tensor, affinity: Tensor, attention: Tensor | None) -> int:
    """Bytes of the forward pass; the first state is h0 itself, read once in the first step."""
    attentions = 0 if attention is None else attention.nbytes
    return STEPS * affinity.nbytes + attentions + (3 * STEPS - 1) * logits.nbytes


def forward_and_backward(forward: Callable[..., Tensor], tensors: list[Tensor]) -> Callable[[], object]:
    out = forward(*tensors)
    grad = torch.ones_like(out)
    return lambda: torch.autograd.grad(forward(*tensors), tensors, grad)


def without_gradient(forward: Callable[..., Tensor], tensors: list[Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.no_grad():
            return forward(*tensors)

    return run


def measure(name: str, shape: tuple[int, ...], repeats: int, bytes_per_second: float) -> dict[str, float]:
    images, _, *size = shape
    side = KERNEL_SIZES[name]
    shapes = [shape, (images, side**2 - 1, *size)]
    if name == "dyspn":
        shapes.append((images, STEPS, side // 2 + 1, *size))
    generator = torch.Generator("cuda").manual_seed(0)
    tensors = [torch.randn(s, device="cuda", generator=generator).requires_grad_() for s in shapes]

    def propagate(backend: Any) -> Callable[..., Tensor]:
        if name == "cspn":
            return lambda logits, affinity: cspn(logits, affinity, STEPS, backend=backend)
        return lambda logits, affinity, attention: dyspn(logits, affinity, attention, STEPS, backend=backend)

    result = {}
    for way, forward in {
        "ours": propagate("auto"),
        "reference": propagate("reference"),
        "compiled reference": torch.compile(propagate("reference")),
    }.items():
        result[f"{way}, forward, ms"] = milliseconds(without_gradient(forward, tensors), repeats)
        result[f"{way}, forward + backward, ms"] = milliseconds(forward_and_backward(forward, tensors), repeats)
    for peer in ("reference", "compiled reference"):
        for task in ("forward", "forward + backward"):
            result[f"times as fast as the {peer}, {task}"] = result[f"{peer}, {task}, ms"] / result[f"ours, {task}, ms"]
    # The operations alone, also on affinities of half precision.
    logits, affinity, *rest = (tensor.detach() for tensor in tensors)
    attention = rest[0] if rest else None
    for dtype in (torch.float32, torch.bfloat16):
        given = affinity.to(dtype)
        if attention is None:
            arguments = (logits, given, STEPS, int(Mode.SIGNED))
            taken = milliseconds(without_gradient(lambda *a: fused.cspn_states(*a), list(arguments)), repeats)
        else:
            arguments = (logits, given, attention, SMALLEST_CENTRE)
            taken = milliseconds(without_gradient(lambda *a: fused.dyspn_states(*a), list(arguments)), repeats)
        kind = f"kernels, {str(dtype).removeprefix('torch.')} affinity, forward"
        result[f"{kind}, ms"] = taken
        result[f"{kind}, share of the bandwidth"] = (
            must_move(logits, given, attention) / (taken / 1e3) / bytes_per_second
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("propagation_cuda.json"))
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", type=int, default=1024, help="side of the images, pixels")
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this benchmark needs a GPU, and PyTorch finds none; run it on a machine with CUDA")
    bytes_per_second = bandwidth(arguments.repeats)
    shape = (arguments.images, 1, arguments.size, arguments.size)
    results = {}
    for name in KERNEL_SIZES:
        results[name] = measure(name, shape, arguments.repeats, bytes_per_second)
        for key, value in results[name].items():
            print(f"{name:<8} {key:<64} {value:10.3f}", flush=True)
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "machine": torch.cuda.get_device_name(),
        "shape": shape,
        "bandwidth of a copy, GB/s": bytes_per_second / 1e9,
        "results": results,
    }
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
