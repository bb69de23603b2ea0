"""CSPN and DySPN on the CPU: all steps in one sweep over the image, affinities read from memory once, nothing unfolded.

A job sweeps over rows of one image. At each row it normalises the affinities into a small buffer that stays in the cache,
then computes one row of every step: step i lags R rows behind step i − 1, whose rows are then all there. Rows are shared
among jobs as `propagate` says; each row of each step is computed once, by the same arithmetic whatever the jobs, so
results do not depend on the number of threads. Arrays are C-contiguous, all float32 or all float64. N images, C classes,
T steps, K·K − 1 neighbours, R = K // 2:

    affinity (N, K·K − 1, H, W)         raw, in raster order without the centre
    attention (N, T, R + 1, H, W)       DySPN's before the sigmoid: rings from the outermost, then the centre; empty for CSPN
    states, grads (T + 1, N, C, H, W)   h0 first
    around                              `fused.Neighbourhood`: neighbours ring by ring; CSPN has one ring of all
    scale                               what the affinities of a pixel are multiplied with, so that Σ|w| ≤ 1

The backward passes need the states alone. With q_t the gradient of step t + 1, divided by the step's denominator for DySPN,

    dL/dw_k(i) = Σ_t π_r(i) q_t(i) · (h_t(i + k) − h0(i) + sign(w_k(i)) · (h0(i) − h_{t+1}(i))),

for CSPN without π, and the last term only where the affinities were divided.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

import numpy as np
from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from .rows import indices, load, store

GIVEN, BOUNDED, SIGNED = 0, 1, 2
"""`fused.Mode`, as constants that numba compiles in."""

TOGETHER = 8
"""Products added up in registers at a time. Rings have multiples of eight neighbours."""

LANES = 16
"""Rows of buffers are multiples of this long, so that loops over them have no rest."""

CACHE_LINE = 64
"""Bytes."""

AHEAD = 4
"""So many neighbours ahead affinities are asked for: rows of planes are too short for the processor to foresee."""

KERNEL = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


@intrinsic
def _prefetch(typing, array, index):
    """Ask for array[index] of a flat array ahead of its use."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        builder.call(
            builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind),
            [address, number(0), number(3), number(1)],
        )
        return context.get_dummy_value()

    return types.void(array, types.uintp), generate


@njit(**KERNEL)
def _prefetch_row(array, at, count):
    """Ask for `count` elements from `at` on."""
    for x in range(np.uint64(at), np.uint64(at + count), np.uint64(CACHE_LINE // array.itemsize)):
        _prefetch(array, x)


@njit(**KERNEL)
def _fill(out, to, count, value):
    """Write `value` to `count` elements of `out` from `to` on."""
    o = np.uint64(to)
    for x in indices(count):
        store(out, o + x, value)


@njit(**KERNEL)
def _copy(out, to, source, at, count):
    """Write `count` elements of `source` from `at` on to those of `out` from `to` on."""
    o, s = np.uint64(to), np.uint64(at)
    for x in indices(count):
        store(out, o + x, load(source, s + x))


@njit(**KERNEL)
def _add_products(out, gate, gate_at, left, left_at, right, right_at, first, last, shift):
    """Add gate[x] · Σ_p left[left_at[p] + x] · right[right_at[p] + shift + x], p from `first` to `last`, to out[x]."""
    g = np.uint64(gate_at)
    for p in range(first, last, TOGETHER):
        a0, b0 = np.uint64(left_at[p]), np.uint64(right_at[p] + shift)
        a1, b1 = np.uint64(left_at[p + 1]), np.uint64(right_at[p + 1] + shift)
        a2, b2 = np.uint64(left_at[p + 2]), np.uint64(right_at[p + 2] + shift)
        a3, b3 = np.uint64(left_at[p + 3]), np.uint64(right_at[p + 3] + shift)
        a4, b4 = np.uint64(left_at[p + 4]), np.uint64(right_at[p + 4] + shift)
        a5, b5 = np.uint64(left_at[p + 5]), np.uint64(right_at[p + 5] + shift)
        a6, b6 = np.uint64(left_at[p + 6]), np.uint64(right_at[p + 6] + shift)
        a7, b7 = np.uint64(left_at[p + 7]), np.uint64(right_at[p + 7] + shift)
        for x in indices(len(out)):
            total = load(left, a0 + x) * load(right, b0 + x)
            total += load(left, a1 + x) * load(right, b1 + x)
            total += load(left, a2 + x) * load(right, b2 + x)
            total += load(left, a3 + x) * load(right, b3 + x)
            total += load(left, a4 + x) * load(right, b4 + x)
            total += load(left, a5 + x) * load(right, b5 + x)
            total += load(left, a6 + x) * load(right, b6 + x)
            total += load(left, a7 + x) * load(right, b7 + x)
            store(out, x, out[x] + load(gate, g + x) * total)


@njit(inline="always")
def _sums_of_eight(weights, at, stride):
    """Return Σ w and Σ|w| of eight elements `stride` apart."""
    w0, w1, w2, w3 = (
        load(weights, at),
        load(weights, at + stride),
        load(weights, at + 2 * stride),
        load(weights, at + 3 * stride),
    )
    w4, w5, w6, w7 = (
        load(weights, at + 4 * stride),
        load(weights, at + 5 * stride),
        load(weights, at + 6 * stride),
        load(weights, at + 7 * stride),
    )
    plain = ((w0 + w1) + (w2 + w3)) + ((w4 + w5) + (w6 + w7))
    return plain, ((abs(w0) + abs(w1)) + (abs(w2) + abs(w3))) + ((abs(w4) + abs(w5)) + (abs(w6) + abs(w7)))


@njit(inline="always")
def _divided(total, mode):
    """Whether affinities with Σ|w| = `total` are divided by it."""
    return (mode == BOUNDED and total > 1) or (mode == SIGNED and total > 0)


@njit(**KERNEL)
def _add_magnitudes(absolute, plain, at, weights, first, stride, count):
    """Add eight rows of `weights` from `first` on, `stride` apart, to `plain` and their magnitudes to `absolute`."""
    to, a, b = np.uint64(at), np.uint64(first), np.uint64(stride)
    for x in indices(count):
        total, magnitude = _sums_of_eight(weights, a + x, b)
        store(plain, to + x, plain[to + x] + total)
        store(absolute, to + x, absolute[to + x] + magnitude)


@njit(**KERNEL)
def _sigmoid(out, to, values, at, count):
    """Write 1 / (1 + e^−x) of a row to `out`; in float32 by a polynomial, since calls of `exp` are not vectorised."""
    o, v = np.uint64(to), np.uint64(at)
    if out.itemsize == 8:
        for x in indices(count):
            out[o + x] = 1 / (1 + np.exp(-values[v + x]))
        return
    one, least = np.float32(1), np.float32(-87)
    for x in indices(count):
        # e^z of z = −|x| is 2^n · e^r with r = z − n · ln 2. Adding 1.5 · 2^23 rounds, and leaves n in the lowest bits.
        value = load(values, v + x)
        z = -abs(value)
        z = least if z < least else z
        shifted = z * np.float32(1.44269504) + np.float32(12582912)
        n = shifted - np.float32(12582912)
        r = (z - n * np.float32(0.693359375)) + n * np.float32(2.12194440e-4)
        power = np.float32(1 / 720) * r + np.float32(1 / 120)
        power = power * r + np.float32(1 / 24)
        power = power * r + np.float32(1 / 6)
        power = power * r + np.float32(0.5)
        power = power * r * r + r + one
        power *= np.int32((np.float32(shifted).view(np.int32) << 23) + 0x3F800000).view(np.float32)
        store(out, o + x, (one if value >= 0 else power) / (one + power))


@njit(**KERNEL)
def _pack(weights, at, stride, affinity, first, shape, y, around):
    """Write row y of the affinities, ring by ring and 0 for neighbours above or below the image; see `_normalise`."""
    height, width = shape
    neighbours = len(around.order)
    for p in range(neighbours):
        k = around.order[p]
        if p + AHEAD < neighbours:
            _prefetch_row(affinity, first + (around.order[p + AHEAD] * height + y) * width, width)
        dy, dx = around.offsets[k, 0], around.offsets[k, 1]
        if 0 <= y + dy < height:
            left, right = max(0, -dx), min(width, width - dx)
            _copy(
                weights, at + p * stride + left, affinity, first + (k * height + y) * width + left, max(right - left, 0)
            )
        else:
            _fill(weights, at + p * stride, width, weights.dtype.type(0))


@njit(**KERNEL)
def _normalise(
    weights,
    at,
    stride,
    scale,
    scale_at,
    magnitude,
    signed,
    sums_at,
    sums_stride,
    affinity,
    first,
    shape,
    y,
    around,
    mode,
):
    """Write row y of the weights, ring by ring, and its sums over the neighbours inside.

    Args:
        weights: flat; the first neighbour's from `at` on, the next `stride` further; columns outside are left alone.
        scale: flat, written from `scale_at` on.
        magnitude, signed: flat, Σ|w| and Σ w of each ring, from `sums_at` on and `sums_stride` apart.
        affinity: flat, the image's from `first` on.
        shape: height, width.
    """
    width = shape[1]
    one, zero = scale.dtype.type(1), scale.dtype.type(0)
    _pack(weights, at, stride, affinity, first, shape, y, around)
    for r in range(len(around.rings) - 1):
        sums = sums_at + r * sums_stride
        _fill(magnitude, sums, width, zero)
        _fill(signed, sums, width, zero)
        for p in range(around.rings[r], around.rings[r + 1], TOGETHER):
            _add_magnitudes(magnitude, signed, sums, weights, at + p * stride, stride, width)
    s, m = np.uint64(scale_at), np.uint64(sums_at)
    for x in indices(width):
        total = magnitude[m + x]
        for r in range(1, len(around.rings) - 1):
            total += magnitude[m + np.uint64(r * sums_stride) + x]
        scale[s + x] = one / total if _divided(total, mode) else one
    for r in range(len(around.rings) - 1):
        m = np.uint64(sums_at + r * sums_stride)
        for x in indices(width):
            # A sum that overflows gives a scale of 0, hence weights of 0; 0 · ∞ is not a number.
            factor = scale[s + x]
            magnitude[m + x] = magnitude[m + x] * factor if factor > 0 else zero
            signed[m + x] = signed[m + x] * factor if factor > 0 else zero
    if mode != GIVEN:
        for p in range(len(around.order)):
            w = np.uint64(at + p * stride)
            for x in indices(width):
                store(weights, w + x, weights[w + x] * load(scale, s + x))


@njit(**KERNEL)
def _attend(
    gate,
    stride,
    below,
    still,
    attention,
    at,
    plane,
    width,
    scale,
    scale_at,
    magnitude,
    signed,
    sums_at,
    count,
    smallest,
):
    """Write what weighs the sums of a row in one step.

    Args:
        gate: flat, rows `stride` apart: π of the rings, then the centre's weight.
        below: denominator S', (W,).
        still: weight of h0, S' − S, (W,).
        attention: flat; the outermost ring's from `at` on, the next `plane` further.
        scale, magnitude, signed: flat, what `_normalise` wrote.
    """
    for r in range(count + 1):
        _sigmoid(gate, r * stride, attention, at + r * plane, width)
    s, g = np.uint64(scale_at), np.uint64(count * stride)
    for x in indices(width):
        centre = gate[g + x] * load(scale, s + x)
        centre = smallest if centre < smallest else centre
        store(gate, g + x, centre)
        store(below, x, centre)
        store(still, x, 0)
    for r in range(count):
        g, m = np.uint64(r * stride), np.uint64(sums_at + r * stride)
        for x in indices(width):
            pi, absolute = load(gate, g + x), load(magnitude, m + x)
            store(below, x, below[x] + pi * absolute)
            store(still, x, still[x] + pi * (absolute - load(signed, m + x)))


@njit(**KERNEL)
def _sweep(states, n, affinity, attention, around, mode, smallest, begin, end, top, bottom, down, out):
    """Compute steps `begin` to `end` of image n: rows top + i · down to bottom + i · out of step begin + i."""
    _, images, channels, height, width = states.shape
    attends = attention.size > 0
    radius, count = -around.offsets[0, 0], len(around.rings) - 1
    neighbours, many, rows = len(around.order), end - begin, 2 * radius + 1
    stride = (width + LANES - 1) // LANES * LANES
    slots, row = radius * (many - 1) + 1, stride + 2 * radius
    plane = height * width
    dtype, zero = states.dtype, states.dtype.type(0)
    weights, scale = np.zeros(slots * neighbours * stride, dtype), np.empty(slots * stride, dtype)
    magnitude, signed = np.empty(slots * count * stride, dtype), np.empty(slots * count * stride, dtype)
    padded = np.zeros(many * channels * rows * row, dtype)
    gate, below, still = np.ones((count + 1) * stride, dtype), np.empty(stride, dtype), np.empty(stride, dtype)
    total = np.empty(stride, dtype)
    weights_at, state_at = np.empty(neighbours, np.int64), np.empty(neighbours, np.int64)
    flat, flat_affinity = states.reshape(-1), affinity.reshape(-1)
    flat_attention, attention_images = attention.reshape(-1), attention.shape[1] * (count + 1) * plane
    highest, lowest = min(top, top + (many - 1) * down), max(bottom, bottom + (many - 1) * out)
    for front in range(highest - 2 * radius, lowest + (many - 1) * radius):
        if highest <= front < lowest:
            s = front % slots
            _normalise(
                weights,
                s * neighbours * stride,
                stride,
                scale,
                s * stride,
                magnitude,
                signed,
                s * count * stride,
                stride,
                flat_affinity,
                n * neighbours * plane,
                (height, width),
                front,
                around,
                mode,
            )
        for p in range(neighbours):
            dy, dx = around.offsets[around.order[p], 0], around.offsets[around.order[p], 1]
            state_at[p] = (front + dy - radius) % rows * row + radius + dx
        for i in range(many):
            t, y = begin + i, front - i * radius
            first, last = top + i * down, bottom + i * out
            if first - 2 * radius <= y < last:
                for c in range(channels):
                    to = ((i * channels + c) * rows + front % rows) * row + radius
                    if 0 <= y + radius < height:
                        _copy(
                            padded, to, flat, (((t * images + n) * channels + c) * height + y + radius) * width, width
                        )
                    else:
                        _fill(padded, to, width, zero)
            if first <= y < last:
                s = y % slots
                for p in range(neighbours):
                    weights_at[p] = (s * neighbours + p) * stride
                if not attends:
                    for x in range(width):
                        still[x] = 1 - signed[s * stride + x]
                else:
                    at = n * attention_images + t * (count + 1) * plane + y * width
                    _attend(
                        gate,
                        stride,
                        below,
                        still,
                        flat_attention,
                        at,
                        plane,
                        width,
                        scale,
                        s * stride,
                        magnitude,
                        signed,
                        s * count * stride,
                        count,
                        smallest,
                    )
                    if i + 1 < many and y >= radius:
                        ahead = at + (count + 1) * plane - radius * width
                    elif front + 1 < height:
                        ahead = n * attention_images + begin * (count + 1) * plane + (front + 1) * width
                    for r in range(count + 1):
                        _prefetch_row(flat_attention, ahead + r * plane, width)
                for c in range(channels):
                    shift = (i * channels + c) * rows * row
                    _fill(total, 0, stride, zero)
                    for r in range(count):
                        _add_products(
                            total,
                            gate,
                            r * stride,
                            weights,
                            weights_at,
                            padded,
                            state_at,
                            around.rings[r],
                            around.rings[r + 1],
                            shift,
                        )
                    here = ((t * images + n) * channels + c) * plane + y * width
                    new, anchor = (
                        np.uint64(here + images * channels * plane),
                        np.uint64((n * channels + c) * plane + y * width),
                    )
                    own, before = np.uint64(count * stride), np.uint64(shift + (front - radius) % rows * row + radius)
                    if not attends:
                        for x in indices(width):
                            store(flat, new + x, load(total, x) + load(still, x) * load(flat, anchor + x))
                    else:
                        for x in indices(width):
                            moved = load(total, x) + load(gate, own + x) * load(padded, before + x)
                            store(flat, new + x, (moved + load(still, x) * load(flat, anchor + x)) / load(below, x))


@njit(**KERNEL)
def _normalise_eight(weights, to, packed, stride, mode, width):
    """Write the weights of a row's eight neighbours and of h0, from what `_pack` wrote, to rows of `weights`."""
    o, b = np.uint64(to), np.uint64(stride)
    one, zero = weights.dtype.type(1), weights.dtype.type(0)
    for x in indices(width):
        signed, total = _sums_of_eight(packed, x, b)
        scale = one / total if _divided(total, mode) else one
        w = o + x
        store(weights, w, load(packed, x) * scale)
        store(weights, w + b, load(packed, x + b) * scale)
        store(weights, w + 2 * b, load(packed, x + 2 * b) * scale)
        store(weights, w + 3 * b, load(packed, x + 3 * b) * scale)
        store(weights, w + 4 * b, load(packed, x + 4 * b) * scale)
        store(weights, w + 5 * b, load(packed, x + 5 * b) * scale)
        store(weights, w + 6 * b, load(packed, x + 6 * b) * scale)
        store(weights, w + 7 * b, load(packed, x + 7 * b) * scale)
        # See `_normalise` for a scale of 0.
        store(weights, w + 8 * b, one - (signed * scale if scale > 0 else zero))


@njit(**KERNEL)
def _step_eight(flat, new, anchor, padded, to, rows, weights, at, stride, width):
    """Compute a row from the three padded ones that begin at `rows`, and write it to `flat` and `padded`.

    Args:
        flat: all states; the row from `new` on, that of h0 from `anchor` on.
        padded: written from `to` on.
        weights: what `_normalise_eight` wrote from `at` on.
    """
    o, h, n, w, b = np.uint64(new), np.uint64(anchor), np.uint64(to), np.uint64(at), np.uint64(stride)
    above, here, below = np.uint64(rows[0] - 1), np.uint64(rows[1] - 1), np.uint64(rows[2] - 1)
    middle, right = np.uint64(1), np.uint64(2)
    for x in indices(width):
        a = w + x
        total = load(weights, a + 8 * b) * load(flat, h + x)
        total += load(weights, a) * load(padded, above + x)
        total += load(weights, a + b) * load(padded, above + middle + x)
        total += load(weights, a + 2 * b) * load(padded, above + right + x)
        total += load(weights, a + 3 * b) * load(padded, here + x)
        total += load(weights, a + 4 * b) * load(padded, here + right + x)
        total += load(weights, a + 5 * b) * load(padded, below + x)
        total += load(weights, a + 6 * b) * load(padded, below + middle + x)
        total += load(weights, a + 7 * b) * load(padded, below + right + x)
        store(flat, o + x, total)
        store(padded, n + x, total)


@njit(**KERNEL)
def _sweep_eight(states, n, affinity, around, mode, begin, end, top, bottom, down, out):
    """`_sweep` for CSPN with 3×3 neighbours: so little arithmetic that every call and copy of a row counts."""
    _, images, channels, height, width = states.shape
    many, plane = end - begin, height * width
    stride = (width + LANES - 1) // LANES * LANES
    row = stride + 2 * LANES
    ring = 3 * row
    dtype, zero = states.dtype, states.dtype.type(0)
    packed, weights = np.zeros(8 * stride, dtype), np.zeros(many * 9 * stride, dtype)
    # Each step reads a ring of three rows and writes to that of the next; the last step's is never read.
    padded = np.zeros((many + 1) * channels * ring, dtype)
    flat, flat_affinity = states.reshape(-1), affinity.reshape(-1)
    highest, lowest = min(top, top + (many - 1) * down), max(bottom, bottom + (many - 1) * out)
    for front in range(highest - 2, lowest + many - 1):
        if highest <= front < lowest:
            _pack(packed, 0, stride, flat_affinity, n * 8 * plane, (height, width), front, around)
            _normalise_eight(weights, front % many * 9 * stride, packed, stride, mode, width)
        above, here, below = (
            LANES + (front - 2) % 3 * row,
            LANES + (front - 1) % 3 * row,
            LANES + front % 3 * row,
        )
        computed = False
        for i in range(many):
            t, y = begin + i, front - i
            first, last = top + i * down, bottom + i * out
            # The row below is the one that the step before has just computed, or another sweep's.
            if first - 2 <= y < last and not computed:
                for c in range(channels):
                    to = (i * channels + c) * ring + below
                    if 0 <= y + 1 < height:
                        _copy(padded, to, flat, (((t * images + n) * channels + c) * height + y + 1) * width, width)
                    else:
                        _fill(padded, to, width, zero)
            computed = first <= y < last
            if computed:
                for c in range(channels):
                    shift = (i * channels + c) * ring
                    anchor = (n * channels + c) * plane + y * width
                    new = (t + 1) * images * channels * plane + anchor
                    _step_eight(
                        flat,
                        new,
                        anchor,
                        padded,
                        shift + channels * ring + below,
                        (shift + above, shift + here, shift + below),
                        weights,
                        y % many * 9 * stride,
                        stride,
                        width,
                    )
                    if y + 1 < height:
                        _prefetch_row(flat, new + width, width)


@njit(parallel=True, **KERNEL)
def propagate(states, affinity, attention, around, mode, smallest, together, bands):
    """Compute all states from the first, `together` steps in each sweep, images divided into `bands` of rows.

    Bands narrow towards the borders between them, where neighbours are missing; a second round fills the gaps.
    """
    images, height, radius = states.shape[1], states.shape[3], -around.offsets[0, 0]
    for begin in range(0, len(states) - 1, together):
        end = min(begin + together, len(states) - 1)
        for gaps in range(2):
            for job in prange(images * (bands - gaps)):
                n, band = job // (bands - gaps), job % (bands - gaps)
                top, bottom = height * (band + gaps) // bands, height * (band + 1) // bands
                down, out = radius * (band > 0), -radius * (band < bands - 1)
                if gaps:
                    down, out = -radius, radius
                if attention.size == 0 and len(around.order) == 8:
                    _sweep_eight(states, n, affinity, around, mode, begin, end, top, bottom, down, out)
                else:
                    _sweep(states, n, affinity, attention, around, mode, smallest, begin, end, top, bottom, down, out)


@njit(**KERNEL)
def _sweep_backward(grads, n, affinity, attention, around, mode, smallest, begin, end, top, bottom, down, out):
    """Add to the gradients of the states before steps end − 1 to `begin` of image n what flows back from those after.

    Rows are those of `_sweep`, i counted from the last step. A pixel gathers from those whose neighbour it is.
    """
    _, images, channels, height, width = grads.shape
    attends = attention.size > 0
    radius, count = -around.offsets[0, 0], len(around.rings) - 1
    neighbours, many, rows = len(around.order), end - begin, 2 * radius + 1
    stride = (width + LANES - 1) // LANES * LANES
    slots, row = radius * (many + 1) + 1, stride + 2 * radius
    plane, ring = height * width, rows * row
    dtype, zero = grads.dtype, grads.dtype.type(0)
    weights, scale = np.zeros(slots * neighbours * row, dtype), np.empty(slots * stride, dtype)
    magnitude, signed = np.empty(slots * count * stride, dtype), np.empty(slots * count * stride, dtype)
    # What each ring of a pixel hands on, and at last the pixel to itself.
    forces = np.zeros(many * channels * (count + 1) * ring, dtype)
    gate, below, still = np.ones((count + 1) * stride, dtype), np.empty(stride, dtype), np.empty(stride, dtype)
    ones, total = np.ones(stride, dtype), np.empty(stride, dtype)
    weights_at, forces_at = np.empty(neighbours, np.int64), np.empty(neighbours, np.int64)
    flat, flat_affinity = grads.reshape(-1), affinity.reshape(-1)
    highest, lowest = min(top, top + (many - 1) * down), max(bottom, bottom + (many - 1) * out)
    for front in range(highest - radius, lowest + many * radius):
        if 0 <= front < height and front < lowest + radius:
            s = front % slots
            _normalise(
                weights,
                s * neighbours * row + radius,
                row,
                scale,
                s * stride,
                magnitude,
                signed,
                s * count * stride,
                stride,
                flat_affinity,
                n * neighbours * plane,
                (height, width),
                front,
                around,
                mode,
            )
        for r in range(count):
            for p in range(around.rings[r], around.rings[r + 1]):
                dy, dx = around.offsets[around.order[p], 0], around.offsets[around.order[p], 1]
                forces_at[p] = r * ring + (front - dy - radius) % rows * row + radius - dx
        for i in range(many):
            t, y, source = end - 1 - i, front - (i + 1) * radius, front - i * radius
            first, last = top + i * down, bottom + i * out
            if first - radius <= source < last + radius:
                s = source % slots
                if attends and 0 <= source < height:
                    at = ((n * attention.shape[1] + t) * (count + 1) * height + source) * width
                    _attend(
                        gate,
                        stride,
                        below,
                        still,
                        attention.reshape(-1),
                        at,
                        plane,
                        width,
                        scale,
                        s * stride,
                        magnitude,
                        signed,
                        s * count * stride,
                        count,
                        smallest,
                    )
                for c in range(channels):
                    to = (i * channels + c) * (count + 1) * ring + front % rows * row + radius
                    for r in range(count + 1):
                        if 0 <= source < height:
                            grad = ((((t + 1) * images + n) * channels + c) * height + source) * width
                            _hand_on(forces, to + r * ring, flat, grad, gate, r * stride, below, width, attends)
                        else:
                            _fill(forces, to + r * ring, width, zero)
            if first <= y < last:
                for r in range(count):
                    for p in range(around.rings[r], around.rings[r + 1]):
                        dy, dx = around.offsets[around.order[p], 0], around.offsets[around.order[p], 1]
                        weights_at[p] = ((y - dy) % slots * neighbours + p) * row + radius - dx
                for c in range(channels):
                    shift = (i * channels + c) * (count + 1) * ring
                    _fill(total, 0, stride, zero)
                    _add_products(total, ones, 0, weights, weights_at, forces, forces_at, 0, neighbours, shift)
                    new = np.uint64((((t * images + n) * channels + c) * height + y) * width)
                    own = np.uint64(shift + count * ring + (front - radius) % rows * row + radius)
                    if not attends:
                        for x in indices(width):
                            store(flat, new + x, flat[new + x] + load(total, x))
                    else:
                        for x in indices(width):
                            store(flat, new + x, flat[new + x] + load(total, x) + load(forces, own + x))


@njit(**KERNEL)
def _hand_on(forces, to, grads, at, gate, gate_at, below, width, attends):
    """Write the gradient of a row, times the gate and divided by S', to `forces`."""
    o, a, g = np.uint64(to), np.uint64(at), np.uint64(gate_at)
    if not attends:
        for x in indices(width):
            store(forces, o + x, load(grads, a + x))
    else:
        for x in indices(width):
            store(forces, o + x, load(gate, g + x) * (load(grads, a + x) / load(below, x)))


@njit(parallel=True, **KERNEL)
def propagate_back(grads, affinity, attention, around, mode, smallest, together, bands):
    """Complete the gradients of all states, the last step first, with sweeps as in `propagate`."""
    images, height, radius = grads.shape[1], grads.shape[3], -around.offsets[0, 0]
    for end in range(len(grads) - 1, 0, -together):
        begin = max(end - together, 0)
        for gaps in range(2):
            for job in prange(images * (bands - gaps)):
                n, band = job // (bands - gaps), job % (bands - gaps)
                top, bottom = height * (band + gaps) // bands, height * (band + 1) // bands
                down, out = radius * (band > 0), -radius * (band < bands - 1)
                if gaps:
                    down, out = -radius, radius
                _sweep_backward(
                    grads, n, affinity, attention, around, mode, smallest, begin, end, top, bottom, down, out
                )


@njit(**KERNEL)
def _differentiate(
    for_logits, for_affinity, for_attention, grads, states, affinity, attention, around, mode, smallest, n, top, bottom
):
    """Write the gradients of rows `top` to `bottom` of image n."""
    after, images, channels, height, width = grads.shape
    attends = attention.size > 0
    radius, count = -around.offsets[0, 0], len(around.rings) - 1
    neighbours, steps, rows = len(around.order), after - 1, 2 * radius + 1
    stride = (width + LANES - 1) // LANES * LANES
    row, plane, layer = stride + 2 * radius, height * width, images * channels * height * width
    pairs = (steps * channels + TOGETHER - 1) // TOGETHER * TOGETHER
    dtype = grads.dtype
    weights, scale = np.zeros(neighbours * stride, dtype), np.empty(stride, dtype)
    magnitude, signed = np.empty(count * stride, dtype), np.empty(count * stride, dtype)
    padded = np.zeros(pairs * rows * row, dtype)
    gate, below, still = np.ones((count + 1) * stride, dtype), np.empty(stride, dtype), np.empty(stride, dtype)
    # π_r · q of every ring, step and class, and their sums with h0 and h_{t+1}; rows of zeros make whole groups of eight.
    forces = np.zeros(count * pairs * stride, dtype)
    anchored, turn = np.empty(count * stride, dtype), np.empty(count * stride, dtype)
    held, q, for_gate = np.empty(stride, dtype), np.empty(stride, dtype), np.empty((count + 1) * stride, dtype)
    ones, total = np.ones(stride, dtype), np.empty(stride, dtype)
    weights_at, state_at = np.arange(neighbours) * stride, np.empty(neighbours, np.int64)
    forces_at, padded_at = np.arange(count * pairs) * stride, np.empty(count * pairs, np.int64)
    for j in range(count * pairs):
        padded_at[j] = j % pairs * rows * row
    h, g, flat_affinity = states.reshape(-1), grads.reshape(-1), affinity.reshape(-1)
    result, flat_logits = for_affinity.reshape(-1), for_logits.reshape(-1)
    one, zero = dtype.type(1), dtype.type(0)
    for front in range(top - radius, bottom + radius):
        for j in range(steps * channels):
            to = (j * rows + front % rows) * row + radius
            if 0 <= front < height:
                _copy(
                    padded,
                    to,
                    h,
                    ((j // channels * images + n) * channels + j % channels) * plane + front * width,
                    width,
                )
            else:
                _fill(padded, to, width, zero)
        y = front - radius
        if y < top:
            continue
        _normalise(
            weights,
            0,
            stride,
            scale,
            0,
            magnitude,
            signed,
            0,
            stride,
            flat_affinity,
            n * neighbours * plane,
            (height, width),
            y,
            around,
            mode,
        )
        for p in range(neighbours):
            dy, dx = around.offsets[around.order[p], 0], around.offsets[around.order[p], 1]
            state_at[p] = (y + dy) % rows * row + radius + dx
        _fill(anchored, 0, count * stride, zero)
        _fill(turn, 0, count * stride, zero)
        _fill(held, 0, stride, zero)
        for c in range(channels):
            here = (n * channels + c) * plane + y * width
            _copy(flat_logits, here, g, here, width)
        for t in range(steps):
            if not attends:
                for x in range(width):
                    still[x] = 1 - signed[x]
            else:
                at = ((n * steps + t) * (count + 1) * height + y) * width
                _attend(
                    gate,
                    stride,
                    below,
                    still,
                    attention.reshape(-1),
                    at,
                    plane,
                    width,
                    scale,
                    0,
                    magnitude,
                    signed,
                    0,
                    count,
                    smallest,
                )
                _fill(for_gate, 0, (count + 1) * stride, zero)
            for c in range(channels):
                j = t * channels + c
                here = (n * channels + c) * plane + y * width
                o, before, new = np.uint64(here), np.uint64(here + t * layer), np.uint64(here + (t + 1) * layer)
                _hand_on(q, 0, g, here + (t + 1) * layer, ones, 0, below, width, attends)
                for x in indices(width):
                    store(flat_logits, o + x, flat_logits[o + x] + load(still, x) * load(q, x))
                for r in range(count):
                    f, pi, s = np.uint64((r * pairs + j) * stride), np.uint64(r * stride), np.uint64(r * stride)
                    for x in indices(width):
                        force = load(gate, pi + x) * load(q, x)
                        anchor = load(h, o + x)
                        store(forces, f + x, force)
                        store(anchored, s + x, anchored[s + x] + force * anchor)
                        store(turn, s + x, turn[s + x] + force * (anchor - load(h, new + x)))
                    if attends:
                        _fill(total, 0, stride, zero)
                        _add_products(
                            total,
                            ones,
                            0,
                            weights,
                            weights_at,
                            padded,
                            state_at,
                            around.rings[r],
                            around.rings[r + 1],
                            j * rows * row,
                        )
                        for x in indices(width):
                            absolute, moved = load(magnitude, s + x), load(total, x)
                            moved += (absolute - load(signed, s + x)) * load(h, o + x) - absolute * load(h, new + x)
                            store(for_gate, s + x, for_gate[s + x] + load(q, x) * moved)
                if attends:
                    s = np.uint64(count * stride)
                    for x in indices(width):
                        towards = load(q, x) * (load(h, before + x) - load(h, new + x))
                        free = load(gate, s + x) > smallest
                        store(for_gate, s + x, for_gate[s + x] + (towards * load(scale, x) if free else zero))
                        # A centre held at its least weight does not shrink with the scale: through that, affinities move it.
                        moves = not free and load(scale, x) < one
                        store(held, x, held[x] + (towards * smallest if moves else zero))
            if attends:
                flat_attention, out = attention.reshape(-1), for_attention.reshape(-1)
                for r in range(count + 1):
                    # The centre's gate was overwritten by its weight.
                    _sigmoid(gate, r * stride, flat_attention, at + r * plane, width)
                    _through_the_sigmoid(out, at + r * plane, for_gate, gate, r * stride, width)
        for r in range(count):
            s = r * stride
            for x in range(width):
                if attends:
                    turn[s + x] += held[x]
                elif mode == GIVEN or (mode == BOUNDED and scale[x] == 1):
                    turn[s + x] = 0
            for p in range(around.rings[r], around.rings[r + 1]):
                k = around.order[p]
                _fill(total, 0, stride, zero)
                if 0 <= y + around.offsets[k, 0] < height:
                    _add_products(
                        total, ones, 0, forces, forces_at, padded, padded_at, r * pairs, (r + 1) * pairs, state_at[p]
                    )
                    _through_the_sums(total, anchored, turn, s, weights, p * stride, scale, width)
                    dx = around.offsets[k, 1]
                    for x in range(min(max(0, -dx), width)):
                        total[x] = 0
                    for x in range(max(min(width, width - dx), 0), width):
                        total[x] = 0
                _copy(result, ((n * neighbours + k) * height + y) * width, total, 0, width)


@njit(**KERNEL)
def _through_the_sigmoid(out, to, gradient, gate, at, width):
    """Write the gradient of a row of the attention, given that of its sigmoid."""
    o, g = np.uint64(to), np.uint64(at)
    one = gate.dtype.type(1)
    for x in indices(width):
        pi = load(gate, g + x)
        store(out, o + x, load(gradient, g + x) * pi * (one - pi))


@njit(**KERNEL)
def _through_the_sums(gradient, anchored, turn, at, weights, weights_at, scale, width):
    """Complete the gradient of one neighbour's affinities, which also change the sums that weigh h0 and the state."""
    s, w = np.uint64(at), np.uint64(weights_at)
    for x in indices(width):
        sign = np.sign(load(weights, w + x))
        moved = gradient[x] - load(anchored, s + x) + sign * load(turn, s + x)
        store(gradient, x, moved * load(scale, x))


@njit(parallel=True, **KERNEL)
def differentiate(
    for_logits, for_affinity, for_attention, grads, states, affinity, attention, around, mode, smallest, bands
):
    """Write the gradients of h0, affinities and attention, from those of all states."""
    images, height = grads.shape[1], grads.shape[3]
    for job in prange(images * bands):
        n, band = job // bands, job % bands
        _differentiate(
            for_logits,
            for_affinity,
            for_attention,
            grads,
            states,
            affinity,
            attention,
            around,
            mode,
            smallest,
            n,
            height * band // bands,
            height * (band + 1) // bands,
        )
