"""Claim: fused CSPN and DySPN are many times faster than unfolding, and near the speed of reading the affinities.

    python benchmarks/propagation.py --out propagation.json

One process, float32, 4 images of 256×256 with one channel, 6 steps, all threads. Ours against the same arithmetic over
`torch.nn.functional.unfold`, which copies K·K shifted states in each step, and against `torch.compile` of the readable
reference. Rounds alternate between them after a warm-up; in a round each runs once untimed, then for LEAST_SECONDS, and the
medians of the rounds count. The untimed call is there because PyTorch's workers keep a core busy for up to a millisecond
after an operation, waiting for the next one: whoever came after another was charged for it. Memory is what one call of
forward and backward allocates at most above its inputs: the peak resident size (Linux) of a child process during the call,
less the size before. Nothing else should run on the machine.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import maskwright
from maskwright.ops.propagation import ring_offsets
from maskwright.refine import cspn, dyspn

IMAGES, SIDE, STEPS = 4, 256, 6
KERNELS = {"cspn": 3, "dyspn": 7}

LEAST_SECONDS = 0.02
"""Calls that are timed together take at least so long."""

Call = Callable[..., Tensor]


def inputs(kind: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    neighbours = KERNELS[kind] ** 2 - 1
    shapes = [(IMAGES, 1, SIDE, SIDE), (IMAGES, neighbours, SIDE, SIDE)]
    if kind == "dyspn":
        shapes.append((IMAGES, STEPS, KERNELS[kind] // 2 + 1, SIDE, SIDE))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def cspn_unfolded(logits: Tensor, affinity: Tensor) -> Tensor:
    weights = affinity * neighbours_inside(logits, 3)
    weights = weights / weights.abs().sum(1, keepdim=True)
    h = logits
    for _ in range(STEPS):
        h = (weights * unfolded(h, 3)).sum(1, keepdim=True) + (1 - weights.sum(1, keepdim=True)) * logits
    return h


def dyspn_unfolded(logits: Tensor, affinity: Tensor, attention: Tensor) -> Tensor:
    affinity = affinity * neighbours_inside(logits, 7)
    rings = ring_offsets(7)
    ring_of = torch.empty(48, dtype=torch.int64)
    for r, ring in enumerate(rings):
        ring_of[list(ring)] = r
    gate = attention.sigmoid()
    h = logits
    for t in range(STEPS):
        weights = affinity * gate[:, t, ring_of]
        centre = gate[:, t, -1:]
        below = weights.abs().sum(1, keepdim=True) + centre
        anchored = below - weights.sum(1, keepdim=True) - centre
        h = ((weights * unfolded(h, 7)).sum(1, keepdim=True) + centre * h + anchored * logits) / below
    return h


def unfolded(h: Tensor, kernel: int) -> Tensor:
    """Return the neighbours of each pixel, centre left out, (N, K·K − 1, H, W)."""
    patches = F.unfold(h, kernel, padding=kernel // 2).unflatten(2, h.shape[-2:])
    middle = kernel**2 // 2
    return torch.cat((patches[:, :middle], patches[:, middle + 1 :]), dim=1)


def neighbours_inside(logits: Tensor, kernel: int) -> Tensor:
    return unfolded(torch.ones_like(logits[:1]), kernel)


WAYS: dict[str, dict[str, Call]] = {
    "cspn": {
        "ours": cspn,
        "unfold": cspn_unfolded,
        "compiled": torch.compile(lambda *x: cspn(*x, backend="reference")),
    },
    "dyspn": {
        "ours": dyspn,
        "unfold": dyspn_unfolded,
        "compiled": torch.compile(lambda *x: dyspn(*x, backend="reference")),
    },
}


def read_affinity(affinity: Tensor) -> None:
    """What memory alone asks for: the affinities read once per step."""
    for _ in range(STEPS):
        affinity.sum()


def forward_and_backward(call: Call, tensors: list[Tensor]) -> list[Tensor]:
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    return list(torch.autograd.grad(call(*tensors).sum(), tensors))


def medians(works: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    for work in works.values():
        work()
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            work()
            seconds[name].append(seconds_per_call(work))
    return {name: statistics.median(values) for name, values in seconds.items()}


def seconds_per_call(work: Callable[[], object]) -> float:
    calls, start = 0, time.perf_counter()
    while True:
        work()
        calls += 1
        took = time.perf_counter() - start
        if took >= LEAST_SECONDS:
            return took / calls


def measure(kind: str, *, rounds: int) -> dict[str, dict[str, float]]:
    tensors = inputs(kind)
    results = {way: call(*tensors) for way, call in WAYS[kind].items()}
    for way, result in results.items():
        torch.testing.assert_close(result, results["ours"], rtol=1e-4, atol=1e-4, msg=f"{kind}: {way} differs")
    with torch.no_grad():
        forward = medians(
            {
                **{way: lambda call=call: call(*tensors) for way, call in WAYS[kind].items()},
                "read": lambda: read_affinity(tensors[1]),
            },
            rounds=rounds,
        )
    both = medians(
        {way: lambda call=WAYS[kind][way]: forward_and_backward(call, tensors) for way in ("ours", "unfold")},
        rounds=rounds,
    )
    memory = {way: peak_megabytes(kind, way) for way in ("ours", "unfold")}
    return {"forward, s": forward, "forward and backward, s": both, "memory, MB": memory}


def peak_megabytes(kind: str, way: str) -> float:
    """What one call takes at most, in a process of its own."""
    command = [sys.executable, __file__, "--peak", kind, way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(kind: str, way: str) -> None:
    tensors = inputs(kind)
    # A small call first, so that imports, thread pools and compiled code are there.
    forward_and_backward(WAYS[kind][way], [tensor[..., :16, :16].contiguous() for tensor in tensors])
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident_kilobytes("VmRSS")
    forward_and_backward(WAYS[kind][way], tensors)
    print((resident_kilobytes("VmHWM") - before) / 1024)


def resident_kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("propagation.json"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peak", nargs=2, metavar=("KIND", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(*arguments.peak)
        return
    results = {}
    for kind in KERNELS:
        results[kind] = measure(kind, rounds=arguments.rounds)
        forward, both, memory = results[kind].values()
        print(
            f"{kind}: forward {forward['ours']:.4f} s, {forward['unfold'] / forward['ours']:.1f} × faster than unfold, "
            f"{forward['compiled'] / forward['ours']:.1f} × than compiled, {forward['ours'] / forward['read']:.2f} × the "
            f"time of reading; with backward {both['ours']:.4f} s, {both['unfold'] / both['ours']:.1f} × faster than "
            f"unfold, memory {memory['ours']:.0f} against {memory['unfold']:.0f} MB",
            flush=True,
        )
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "maskwright": maskwright.__version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "shape": [IMAGES, 1, SIDE, SIDE],
        "steps": STEPS,
        "results": results,
    }
    arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
