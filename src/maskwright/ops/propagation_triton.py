"""CSPN and DySPN on CUDA, in Triton: the operations of `fused`, one kernel per step, nothing unfolded.

A program computes `BLOCK` pixels of one image, one per thread; the loops over the neighbours are unrolled. Each output
element is summed by one program in a fixed order, so results repeat. Affinities may be of half precision: they are read
as they are and summed in the dtype of the states, float32 or float64.

Names, shapes and formulas are those of `propagation_cpu`. CSPN is DySPN without attention: all of π is 1, its centre has no
weight, and nothing is divided. What flows through the division by Σ|g| has the same form for both,

    dL/dw_k(i) = Σ_t π_r(i) q_t(i) · (h_t(i + k) − h0(i) + sign(w_k(i)) · (h0(i) − h_{t+1}(i))),

for CSPN only where the affinities were divided; for DySPN with one more term where the centre is held at its least weight.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from .fused import Mode

BOUNDED = tl.constexpr(int(Mode.BOUNDED))
SIGNED = tl.constexpr(int(Mode.SIGNED))

BLOCK = 128
"""Pixels per program, as many as the four warps of a program have threads: neighbouring threads read neighbouring pixels."""
MOST_CHANNELS = 4
"""Classes that a program propagates together, with one reading of the affinities."""

SIZES = ["height", "width", "images", "steps", "t"]
"""Arguments that the compiled code does not depend on: it serves images of all sizes. One class has its own code."""

COMPILER = {"BLOCK": BLOCK, "enable_fp_fusion": True}
"""What every launch is given. Triton's default of the fused multiply-add is about to change."""


@triton.jit
def _pixels(height, width, parts, BLOCK: tl.constexpr):
    """Return which image, part and pixels (1, BLOCK) this program computes; parts of a tile follow each other."""
    program = tl.program_id(0).to(tl.int64)
    tiles = tl.cdiv(height * width, BLOCK)
    tile = (program // parts % tiles).to(tl.int32)
    return program // parts // tiles, (program % parts).to(tl.int32), tile * BLOCK + tl.arange(0, BLOCK)[None, :]


@triton.jit
def _inside(pixel, height, width, dy, dx):
    """Whether `pixel` is one of the image, and its neighbour too."""
    y, x = pixel // width + dy, pixel % width + dx
    return (pixel < height * width) & (y >= 0) & (y < height) & (x >= 0) & (x < width)


@triton.jit
def _maps(affinity, plane, dy: tl.constexpr, dx: tl.constexpr, K: tl.constexpr):
    """Pointer to the affinities with the neighbour at (dy, dx), raster order without the centre."""
    return affinity + ((dy + K // 2) * K + dx + K // 2 - ((dy * K + dx) > 0)) * plane


@triton.jit
def _gate(attention, valid, dtype: tl.constexpr):
    """Return the sigmoid of what `attention` points to; of pixels that are not `valid` some number in (0, 1)."""
    return tl.sigmoid(tl.load(attention, valid, 0.0).to(dtype))


@triton.jit
def _scale(affinity, plane, pixel, height, width, K: tl.constexpr, MODE: tl.constexpr, dtype: tl.constexpr):
    """Return what the affinities of each pixel are multiplied with; a sum that overflows gives 0."""
    total = tl.zeros(pixel.shape, dtype)
    for dy in tl.static_range(-(K // 2), K // 2 + 1):
        for dx in tl.static_range(-(K // 2), K // 2 + 1):
            if (dy != 0) or (dx != 0):
                inside = _inside(pixel, height, width, dy, dx)
                total += tl.abs(tl.load(_maps(affinity, plane, dy, dx, K) + pixel, inside, 0.0).to(dtype))
    if MODE == BOUNDED:
        total = tl.where(total > 1, total, 1.0)
    elif MODE == SIGNED:
        total = tl.where(total > 0, total, 1.0)
    else:
        total = tl.full(pixel.shape, 1.0, dtype)
    return 1.0 / total


@triton.jit(do_not_specialize=SIZES)
def _step(
    new,
    state,
    coarse,
    affinity,
    scale,
    attention,
    smallest,
    height,
    width,
    channels,
    steps,
    t,
    K: tl.constexpr,
    MODE: tl.constexpr,
    FIRST: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the state after a step to `new`; the first step writes `scale` too, which the others read."""
    dtype = new.dtype.element_ty
    plane = height.to(tl.int64) * width
    image, part, pixel = _pixels(height, width, tl.cdiv(channels, CHANNELS), BLOCK)
    channel = part * CHANNELS + tl.arange(0, CHANNELS)[:, None]
    valid = pixel < plane
    own, within = (image * channels + channel) * plane + pixel, valid & (channel < channels)
    affinity += image * (K * K - 1) * plane
    if attention is not None:
        attention += (image * steps + t) * (K // 2 + 1) * plane
    if FIRST:
        factor = _scale(affinity, plane, pixel, height, width, K, MODE, dtype)
    else:
        factor = tl.load(scale + image * plane + pixel, valid, 0.0)
    gathered = tl.zeros([CHANNELS, BLOCK], dtype)
    absolute, signed = tl.zeros([1, BLOCK], dtype), tl.zeros([1, BLOCK], dtype)
    for radius in tl.static_range(K // 2, 0, -1):
        strength = factor
        if attention is not None:
            strength = factor * _gate(attention + (K // 2 - radius) * plane + pixel, valid, dtype)
        for dy in tl.static_range(-radius, radius + 1):
            for dx in tl.static_range(-radius, radius + 1):
                if (dy * dy == radius * radius) or (dx * dx == radius * radius):
                    inside = _inside(pixel, height, width, dy, dx)
                    w = tl.load(_maps(affinity, plane, dy, dx, K) + pixel, inside, 0.0).to(dtype) * strength
                    gathered += w * tl.load(state + own + (dy * width + dx), inside & within, 0.0)
                    absolute += tl.abs(w)
                    signed += w
    anchor = tl.load(coarse + own, within, 0.0)
    if attention is not None:
        centre = _gate(attention + (K // 2) * plane + pixel, valid, dtype)
        centre = tl.maximum(centre * factor, smallest)
        gathered += centre * tl.load(state + own, within, 0.0) + (absolute - signed) * anchor
        tl.store(new + own, gathered / (absolute + centre), within)
    else:
        tl.store(new + own, gathered + (1.0 - signed) * anchor, within)
    # After all loads, so that the compiler may keep in registers what the first step reads twice.
    if FIRST:  # noqa: SIM102
        if part == 0:
            tl.store(scale + image * plane + pixel, factor, valid)


@triton.jit(do_not_specialize=SIZES)
def _sums(
    scale,
    below,
    affinity,
    attention,
    smallest,
    height,
    width,
    steps,
    K: tl.constexpr,
    MODE: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the scale (N, H, W) and, for DySPN, the denominator of every step to `below` (N, T, H, W)."""
    dtype = scale.dtype.element_ty
    plane = height.to(tl.int64) * width
    image, _, pixel = _pixels(height, width, 1, BLOCK)
    valid = pixel < plane
    affinity += image * (K * K - 1) * plane
    factor = _scale(affinity, plane, pixel, height, width, K, MODE, dtype)
    tl.store(scale + image * plane + pixel, factor, valid)
    if attention is not None:
        step = tl.arange(0, STEPS)[:, None]
        within = valid & (step < steps)
        rings = attention + (image * steps + step) * (K // 2 + 1) * plane + pixel
        total = tl.maximum(_gate(rings + (K // 2) * plane, within, dtype) * factor, smallest)
        for radius in tl.static_range(K // 2, 0, -1):
            absolute = tl.zeros([1, BLOCK], dtype)
            for dy in tl.static_range(-radius, radius + 1):
                for dx in tl.static_range(-radius, radius + 1):
                    if (dy * dy == radius * radius) or (dx * dx == radius * radius):
                        inside = _inside(pixel, height, width, dy, dx)
                        w = tl.load(_maps(affinity, plane, dy, dx, K) + pixel, inside, 0.0).to(dtype)
                        absolute += tl.abs(w * factor)
            total += _gate(rings + (K // 2 - radius) * plane, within, dtype) * absolute
        tl.store(below + (image * steps + step) * plane + pixel, total, within)


@triton.jit(do_not_specialize=SIZES)
def _step_backward(
    grad,
    q,
    affinity,
    scale,
    attention,
    smallest,
    height,
    width,
    channels,
    steps,
    t,
    K: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add to `grad`, of a state, what flows back from `q`, of the next one: here a pixel is its neighbours' neighbour."""
    dtype = grad.dtype.element_ty
    plane = height.to(tl.int64) * width
    image, part, pixel = _pixels(height, width, tl.cdiv(channels, CHANNELS), BLOCK)
    channel = part * CHANNELS + tl.arange(0, CHANNELS)[:, None]
    valid = pixel < plane
    own, within = (image * channels + channel) * plane + pixel, valid & (channel < channels)
    affinity += image * (K * K - 1) * plane
    scale += image * plane
    total = tl.load(grad + own, within, 0.0)
    if attention is not None:
        attention += (image * steps + t) * (K // 2 + 1) * plane
        centre = _gate(attention + (K // 2) * plane + pixel, valid, dtype) * tl.load(scale + pixel, valid, 0.0)
        total += tl.maximum(centre, smallest) * tl.load(q + own, within, 0.0)
    for radius in tl.static_range(K // 2, 0, -1):
        for dy in tl.static_range(-radius, radius + 1):
            for dx in tl.static_range(-radius, radius + 1):
                if (dy * dy == radius * radius) or (dx * dx == radius * radius):
                    inside = _inside(pixel, height, width, -dy, -dx)
                    there = pixel - (dy * width + dx)
                    w = tl.load(_maps(affinity, plane, dy, dx, K) + there, inside, 0.0).to(dtype)
                    w *= tl.load(scale + there, inside, 0.0)
                    if attention is not None:
                        w *= _gate(attention + (K // 2 - radius) * plane + there, inside, dtype)
                    total += w * tl.load(q + own - (dy * width + dx), inside & within, 0.0)
    tl.store(grad + own, total, within)


@triton.jit(do_not_specialize=SIZES)
def _gradients(
    for_logits,
    for_affinity,
    for_attention,
    qs,
    states,
    affinity,
    scale,
    attention,
    smallest,
    height,
    width,
    images,
    channels,
    steps,
    K: tl.constexpr,
    MODE: tl.constexpr,
    STEPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the gradients of h0, of the affinities and of DySPN's attention, from all steps: rows of a tile are steps.

    Args:
        for_logits: (N, C, H, W), holds what reached h0 as the state before the first step.
        qs: (T, N, C, H, W), the gradients of the states after each step, divided for DySPN.
    """
    dtype = states.dtype.element_ty
    plane = height.to(tl.int64) * width
    image, _, pixel = _pixels(height, width, 1, BLOCK)
    step = tl.arange(0, STEPS)[:, None]
    valid = pixel < plane
    within = valid & (step < steps)
    layer = images * channels * plane
    h0 = states + image * channels * plane + pixel
    own = step * layer + image * channels * plane + pixel
    qs += own
    states += own
    affinity += image * (K * K - 1) * plane
    for_affinity += image * (K * K - 1) * plane
    for_logits += image * channels * plane + pixel
    factor = tl.load(scale + image * plane + pixel, valid, 0.0)
    # Σ over the classes of q·h0, q·h_t and q·h_{t+1}, one row per step.
    to_coarse, to_before, to_after = (
        tl.zeros([STEPS, BLOCK], dtype),
        tl.zeros([STEPS, BLOCK], dtype),
        tl.zeros([STEPS, BLOCK], dtype),
    )
    for c in range(channels):
        q = tl.load(qs + c * plane, within, 0.0)
        to_coarse += q * tl.load(h0 + c * plane, valid, 0.0)
        to_before += q * tl.load(states + c * plane, within, 0.0)
        to_after += q * tl.load(states + layer + c * plane, within, 0.0)
    first = tl.load(qs, within, 0.0)
    pi = tl.full([STEPS, BLOCK], 1.0, dtype)
    anchored = tl.zeros([STEPS, BLOCK], dtype)
    held = tl.zeros([1, BLOCK], dtype)
    if attention is None:
        anchored += 1.0
    else:
        attention += (image * steps + step) * (K // 2 + 1) * plane + pixel
        for_attention += (image * steps + step) * (K // 2 + 1) * plane + pixel
        centre = _gate(attention + (K // 2) * plane, within, dtype)
        free = centre * factor > smallest
        towards = to_before - to_after
        gradient = tl.where(free, towards * factor, 0.0) * centre * (1.0 - centre)
        tl.store(for_attention + (K // 2) * plane, gradient, within)
        # A centre held at its least weight does not shrink with the scale, so through that the affinities move it.
        held = tl.sum(tl.where(free, 0.0, towards), 0, keep_dims=True) * smallest
        held = tl.where(factor < 1, held, 0.0)
    for radius in tl.static_range(K // 2, 0, -1):
        if attention is not None:
            pi = _gate(attention + (K // 2 - radius) * plane, within, dtype)
        still = tl.sum(pi * to_coarse, 0, keep_dims=True)
        turn = still - tl.sum(pi * to_after, 0, keep_dims=True) + held
        if MODE == BOUNDED:
            if attention is None:
                turn = tl.where(factor < 1, turn, 0.0)
        elif MODE != SIGNED:
            turn = tl.zeros([1, BLOCK], dtype)
        gathered = tl.zeros([STEPS, BLOCK], dtype)
        absolute, signed = tl.zeros([1, BLOCK], dtype), tl.zeros([1, BLOCK], dtype)
        for dy in tl.static_range(-radius, radius + 1):
            for dx in tl.static_range(-radius, radius + 1):
                if (dy * dy == radius * radius) or (dx * dx == radius * radius):
                    inside = _inside(pixel, height, width, dy, dx)
                    w = tl.load(_maps(affinity, plane, dy, dx, K) + pixel, inside, 0.0).to(dtype)
                    # Σ over the classes of q_t(i) · h_t(i + k); q of the first class stays in registers.
                    there = states + (dy * width + dx)
                    products = first * tl.load(there, within & inside, 0.0)
                    for c in range(1, channels):
                        q = tl.load(qs + c * plane, within, 0.0)
                        products += q * tl.load(there + c * plane, within & inside, 0.0)
                    gradient = tl.sum(pi * products, 0, keep_dims=True) - still
                    gradient += tl.where(w > 0, turn, 0.0) - tl.where(w < 0, turn, 0.0)
                    gradient = tl.where(inside, gradient * factor, 0.0)
                    tl.store(_maps(for_affinity, plane, dy, dx, K) + pixel, gradient, valid)
                    w *= factor
                    gathered += w * products
                    absolute += tl.abs(w)
                    signed += w
        if attention is None:
            anchored -= signed
        else:
            anchored += pi * (absolute - signed)
            gradient = gathered + (absolute - signed) * to_coarse - absolute * to_after
            tl.store(for_attention + (K // 2 - radius) * plane, gradient * pi * (1.0 - pi), within)
    for c in range(channels):
        total = tl.load(for_logits + c * plane, valid, 0.0)
        total += tl.sum(anchored * tl.load(qs + c * plane, within, 0.0), 0, keep_dims=True)
        tl.store(for_logits + c * plane, total, valid)


def cspn_states(logits: Tensor, affinity: Tensor, steps: int, mode: int) -> Tensor:
    """Return what `fused.cspn_states` does."""
    return _states(logits, affinity, None, steps, mode, 0.0)


def dyspn_states(logits: Tensor, affinity: Tensor, attention: Tensor, smallest_centre: float) -> Tensor:
    """Return what `fused.dyspn_states` does."""
    return _states(logits, affinity, attention.contiguous(), attention.shape[1], Mode.BOUNDED, smallest_centre)


def cspn_backward(grad_states: Tensor, states: Tensor, affinity: Tensor, mode: int) -> tuple[Tensor, Tensor]:
    """Return the gradients of the logits and of the affinity."""
    for_logits, for_affinity, _ = _backward(grad_states, states, affinity, None, mode, 0.0)
    return for_logits, for_affinity


def dyspn_backward(
    grad_states: Tensor, states: Tensor, affinity: Tensor, attention: Tensor, smallest_centre: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the logits, of the affinity and of the attention."""
    for_logits, for_affinity, for_attention = _backward(
        grad_states, states, affinity, attention.contiguous(), Mode.BOUNDED, smallest_centre
    )
    assert for_attention is not None
    return for_logits, for_affinity, for_attention


def _states(
    logits: Tensor, affinity: Tensor, attention: Tensor | None, steps: int, mode: int, smallest_centre: float
) -> Tensor:
    states = logits.new_empty((steps + 1, *logits.shape))
    states[0] = logits
    if not states.numel():
        return states
    images, channels, height, width = logits.shape
    affinity, scale = affinity.contiguous(), logits.new_empty((images, height, width))
    constants = {"K": _kernel_size(affinity), "MODE": int(mode), "CHANNELS": _channels_of_a_program(channels)}
    programs = images * triton.cdiv(height * width, BLOCK) * triton.cdiv(channels, constants["CHANNELS"])
    with torch.cuda.device_of(states):
        for t in range(steps):
            tensors = (states[t + 1], states[t], states[0], affinity, scale, attention)
            numbers = (smallest_centre, height, width, channels, steps, t)
            _step[(programs,)](*tensors, *numbers, **constants, FIRST=t == 0, **COMPILER)
    return states


def _backward(
    grad_states: Tensor, states: Tensor, affinity: Tensor, attention: Tensor | None, mode: int, smallest_centre: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    affinity, states = affinity.contiguous(), states.contiguous()
    for_affinity, for_attention = torch.zeros_like(affinity), None if attention is None else torch.zeros_like(attention)
    grads = grad_states.clone(memory_format=torch.contiguous_format)
    if not states.numel():
        return grads[0], for_affinity, for_attention
    images, channels, height, width = states.shape[1:]
    steps = len(states) - 1
    scale = states.new_empty((images, height, width))
    below = None if attention is None else states.new_empty((images, steps, height, width))
    kernel_size, together = _kernel_size(affinity), _channels_of_a_program(channels)
    normalised = {"K": kernel_size, "MODE": int(mode), "STEPS": triton.next_power_of_2(max(steps, 1))}
    tiles = images * triton.cdiv(height * width, BLOCK)
    with torch.cuda.device_of(states):
        sizes = (smallest_centre, height, width, steps)
        _sums[(tiles,)](scale, below, affinity, attention, *sizes, **normalised, **COMPILER)
        for t in reversed(range(steps)):
            if below is not None:
                grads[t + 1] /= below[:, t, None]
            tensors = (grads[t], grads[t + 1], affinity, scale, attention)
            numbers = (smallest_centre, height, width, channels, steps, t)
            programs = tiles * triton.cdiv(channels, together)
            _step_backward[(programs,)](*tensors, *numbers, K=kernel_size, CHANNELS=together, **COMPILER)
        for_logits = grads[0].clone()
        results, inputs = (for_logits, for_affinity, for_attention), (grads[1:], states, affinity, scale, attention)
        numbers = (smallest_centre, height, width, images, channels, steps)
        _gradients[(tiles,)](*results, *inputs, *numbers, **normalised, **COMPILER)
    return for_logits, for_affinity, for_attention


def _kernel_size(affinity: Tensor) -> int:
    return math.isqrt(affinity.shape[1] + 1)


def _channels_of_a_program(channels: int) -> int:
    return min(triton.next_power_of_2(channels), MOST_CHANNELS)
