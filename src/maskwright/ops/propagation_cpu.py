"""CSPN and DySPN on the CPU: nothing is unfolded, each affinity is read once per step, weights are never stored.

All loops run over whole rows from 0 on, which the compiler vectorises, and over rows in parallel. Each output element is
summed by one thread in a fixed order: results do not depend on the number of threads. Arrays are C-contiguous, all
float32 or all float64. N images, C classes, T steps, K·K − 1 neighbours, R = K // 2 rings:

    affinity (N, K·K − 1, H, W)     raw, in raster order without the centre
    state, new, grad (N, C, H, W)   `padded` ones have a border of R zeros: a neighbour outside adds nothing
    gate (N, T, R + 1, H, W)        attention after the sigmoid: rings from the outermost, then the centre
    scale (N, H, W)                 what the affinities of a pixel are multiplied with, so that Σ|w| ≤ 1
    order, rings                    neighbours ring by ring, and where each ring begins; CSPN has one ring of all

The backward passes need the states alone. With q_t the gradient of step t + 1, divided by the step's denominator for DySPN,

    CSPN    dL/dw_k(i) = Σ_t q_t(i) · (h_t(i + k) − h0(i))
    DySPN   dL/dw_k(i) = Σ_t π_r(i) q_t(i) · (h_t(i + k) − h0(i) + sign(w_k(i)) · (h0(i) − h_{t+1}(i)))
"""

import numpy as np
from numba import njit, prange

GIVEN, BOUNDED, SIGNED = 0, 1, 2
"""`fused.Mode`, as constants that numba compiles in."""

KERNEL = {"parallel": True, "cache": True, "nogil": True, "fastmath": {"contract"}}


@njit(inline="always")
def _inside(width, dx):  # type: ignore[no-untyped-def]
    """Columns whose neighbour at `dx` lies inside the image: from, to."""
    return max(0, -dx), min(width, width - dx)


@njit(**KERNEL)
def pad(padded, state):  # type: ignore[no-untyped-def]
    """Copy `state` into the middle of `padded`, whose border stays as it is."""
    images, channels, height, width = state.shape
    radius = (padded.shape[3] - width) // 2
    for job in prange(images * channels * height):
        n, c, y = job // (channels * height), job // height % channels, job % height
        padded[n, c, y + radius, radius : radius + width] = state[n, c, y]


@njit(**KERNEL)
def ring_sums(affinity, order, rings, offsets, mode):  # type: ignore[no-untyped-def]
    """Return scale and Σ|g|, (N, H, W), then Σ|w| and Σ w of each ring, (N, R, H, W), all over neighbours inside."""
    images, _, height, width = affinity.shape
    magnitude = np.empty((images, len(rings) - 1, height, width), affinity.dtype)
    signed = np.empty_like(magnitude)
    scale, total = np.empty((images, height, width), affinity.dtype), np.empty((images, height, width), affinity.dtype)
    for job in prange(images * height):
        n, y = job // height, job % height
        absolute, plain = np.empty(width, affinity.dtype), np.empty(width, affinity.dtype)
        everything = np.zeros(width, affinity.dtype)
        for r in range(len(rings) - 1):
            absolute[:], plain[:] = 0, 0
            for position in range(rings[r], rings[r + 1]):
                dy, dx = offsets[order[position], 0], offsets[order[position], 1]
                if 0 <= y + dy < height:
                    first, last = _inside(width, dx)
                    w, a, p = affinity[n, order[position], y, first:last], absolute[first:last], plain[first:last]
                    for x in range(len(w)):
                        a[x] += abs(w[x])
                        p[x] += w[x]
            magnitude[n, r, y], signed[n, r, y] = absolute, plain
            everything += absolute
        for x in range(width):
            divided = (mode == BOUNDED and everything[x] > 1) or (mode == SIGNED and everything[x] > 0)
            total[n, y, x] = everything[x]
            scale[n, y, x] = 1 / everything[x] if divided else 1
            # A sum that overflows gives a scale of 0, hence weights of 0; 0 · ∞ is not a number.
            for r in range(len(rings) - 1):
                magnitude[n, r, y, x] = magnitude[n, r, y, x] * scale[n, y, x] if scale[n, y, x] > 0 else 0
                signed[n, r, y, x] = signed[n, r, y, x] * scale[n, y, x] if scale[n, y, x] > 0 else 0
    return scale, total, magnitude, signed


@njit(**KERNEL)
def cspn_step(new, padded, coarse, affinity, scale, rest, offsets):  # type: ignore[no-untyped-def]
    """Write Σ w·h + rest·h0, the next state, to `new`; rest (N, H, W) is 1 − Σ w."""
    images, channels, height, width = new.shape
    radius = (padded.shape[3] - width) // 2
    for job in prange(images * height):
        n, y = job // height, job % height
        factor, left = scale[n, y], rest[n, y]
        gathered = np.empty(width, affinity.dtype)
        for c in range(channels):
            gathered[:] = 0
            for k in range(len(offsets)):
                dy, dx = offsets[k, 0], offsets[k, 1]
                w = affinity[n, k, y]
                h = padded[n, c, y + radius + dy, radius + dx : radius + dx + width]
                for x in range(width):
                    gathered[x] += w[x] * factor[x] * h[x]
            out, anchor = new[n, c, y], coarse[n, c, y]
            for x in range(width):
                out[x] = gathered[x] + left[x] * anchor[x]


@njit(**KERNEL)
def cspn_step_backward(grad, grad_new, affinity, scale, offsets):  # type: ignore[no-untyped-def]
    """Add to `grad`, of a state, what flows back from `grad_new`, of the next one."""
    images, channels, height, width = grad.shape
    for job in prange(images * height):
        n, y = job // height, job % height
        for c in range(channels):
            for k in range(len(offsets)):
                dy, dx = offsets[k, 0], offsets[k, 1]
                if 0 <= y - dy < height:
                    first, last = _inside(width, -dx)
                    out = grad[n, c, y, first:last]
                    w, factor = affinity[n, k, y - dy, first - dx : last - dx], scale[n, y - dy, first - dx : last - dx]
                    q = grad_new[n, c, y - dy, first - dx : last - dx]
                    for x in range(len(out)):
                        out[x] += w[x] * factor[x] * q[x]


@njit(**KERNEL)
def cspn_affinity_gradient(grads, states, affinity, scale, total, offsets, mode):  # type: ignore[no-untyped-def]
    """Return the gradient of the raw affinities; grads and states (T + 1, N, C, H, W), total (N, H, W) is Σ|g|."""
    images, channels, height, width = states.shape[1:]
    result = np.zeros_like(affinity)
    for job in prange(images * height):
        n, y = job // height, job % height
        anchored, along = np.zeros(width, affinity.dtype), np.zeros(width, affinity.dtype)
        for t in range(len(states) - 1):
            for c in range(channels):
                q, anchor = grads[t + 1, n, c, y], states[0, n, c, y]
                for x in range(width):
                    anchored[x] += q[x] * anchor[x]
        for k in range(len(offsets)):
            dy, dx = offsets[k, 0], offsets[k, 1]
            if 0 <= y + dy < height:
                first, last = _inside(width, dx)
                out, w = result[n, k, y, first:last], affinity[n, k, y, first:last]
                for t in range(len(states) - 1):
                    for c in range(channels):
                        q, h = grads[t + 1, n, c, y, first:last], states[t, n, c, y + dy, first + dx : last + dx]
                        for x in range(len(out)):
                            out[x] += q[x] * h[x]
                still, pull, factor = anchored[first:last], along[first:last], scale[n, y, first:last]
                for x in range(len(out)):
                    out[x] -= still[x]
                    pull[x] += out[x] * (w[x] * factor[x])
        # Through the division by Σ|g|, where there was one.
        for x in range(width):
            divided = (mode == BOUNDED and total[n, y, x] > 1) or (mode == SIGNED and total[n, y, x] > 0)
            along[x] = along[x] if divided else 0
        for k in range(len(offsets)):
            if 0 <= y + offsets[k, 0] < height:
                first, last = _inside(width, offsets[k, 1])
                out, w, factor = result[n, k, y, first:last], affinity[n, k, y, first:last], scale[n, y, first:last]
                pull = along[first:last]
                for x in range(len(out)):
                    out[x] = (out[x] - np.sign(w[x]) * pull[x]) * factor[x]
    return result


@njit(inline="always")
def _gather_ring(gathered, padded, affinity, factor, n, c, y, ring, offsets):  # type: ignore[no-untyped-def]
    """Write Σ w·h of row y over the neighbours of one ring to `gathered`."""
    width = len(gathered)
    radius = (padded.shape[3] - width) // 2
    gathered[:] = 0
    for k in ring:
        dy, dx = offsets[k, 0], offsets[k, 1]
        w = affinity[n, k, y]
        h = padded[n, c, y + radius + dy, radius + dx : radius + dx + width]
        for x in range(width):
            gathered[x] += w[x] * factor[x] * h[x]


@njit(**KERNEL)
def dyspn_step(new, t, padded, coarse, affinity, gate, centre, below, anchored, scale, order, rings, offsets):  # type: ignore[no-untyped-def]
    """Write the state after step `t` to `new`; centre, below and anchored are `dyspn_weights` of the step."""
    images, channels, height, width = new.shape
    radius = (padded.shape[3] - width) // 2
    for job in prange(images * height):
        n, y = job // height, job % height
        gathered, total = np.empty(width, affinity.dtype), np.empty(width, affinity.dtype)
        factor = scale[n, y]
        for c in range(channels):
            total[:] = 0
            for r in range(len(rings) - 1):
                _gather_ring(gathered, padded, affinity, factor, n, c, y, order[rings[r] : rings[r + 1]], offsets)
                pi = gate[n, t, r, y]
                for x in range(width):
                    total[x] += pi[x] * gathered[x]
            out, h, anchor = new[n, c, y], padded[n, c, y + radius, radius : radius + width], coarse[n, c, y]
            own, still, divisor = centre[n, y], anchored[n, y], below[n, y]
            for x in range(width):
                out[x] = (total[x] + own[x] * h[x] + still[x] * anchor[x]) / divisor[x]


@njit(**KERNEL)
def dyspn_weights(t, gate, scale, magnitude, signed, smallest):  # type: ignore[no-untyped-def]
    """Return for step `t` the centre's weight, the denominator S' and the weight S' − S of h0, (N, H, W) each."""
    images, height, width = scale.shape
    count = magnitude.shape[1]
    centre, below, anchored = np.empty_like(scale), np.empty_like(scale), np.empty_like(scale)
    for job in prange(images * height):
        n, y = job // height, job % height
        for x in range(width):
            centre[n, y, x] = max(gate[n, t, count, y, x] * scale[n, y, x], smallest)
            all_of_it, missing = centre[n, y, x], gate[n, t, 0, y, x] * 0
            for r in range(count):
                pi = gate[n, t, r, y, x]
                all_of_it += pi * magnitude[n, r, y, x]
                missing += pi * (magnitude[n, r, y, x] - signed[n, r, y, x])
            below[n, y, x], anchored[n, y, x] = all_of_it, missing
    return centre, below, anchored


@njit(**KERNEL)
def dyspn_step_backward(grad, t, q, affinity, gate, scale, order, rings, offsets):  # type: ignore[no-untyped-def]
    """Add to `grad`, of a state, what flows back through the neighbours of step `t` from `q`, the divided gradient."""
    images, channels, height, width = grad.shape
    for job in prange(images * height):
        n, y = job // height, job % height
        for c in range(channels):
            for r in range(len(rings) - 1):
                for position in range(rings[r], rings[r + 1]):
                    dy, dx = offsets[order[position], 0], offsets[order[position], 1]
                    if 0 <= y - dy < height:
                        first, last = _inside(width, -dx)
                        out = grad[n, c, y, first:last]
                        w = affinity[n, order[position], y - dy, first - dx : last - dx]
                        factor = scale[n, y - dy, first - dx : last - dx]
                        pi, source = (
                            gate[n, t, r, y - dy, first - dx : last - dx],
                            q[n, c, y - dy, first - dx : last - dx],
                        )
                        for x in range(len(out)):
                            out[x] += w[x] * factor[x] * pi[x] * source[x]


@njit(**KERNEL)
def dyspn_affinity_gradient(qs, states, affinity, gate, scale, order, rings, offsets, smallest):  # type: ignore[no-untyped-def]
    """Return the gradient of the affinities from the divided gradients qs (T, N, C, H, W) of all steps.

    Where the centre's weight is held at `smallest`, a sum Σ|w| above 1 divides all weights but that one, hence `held`.
    """
    steps, channels = qs.shape[0], qs.shape[2]
    images, _, height, width = affinity.shape
    result = np.zeros_like(affinity)
    for job in prange(images * height):
        n, y = job // height, job % height
        strength = np.empty((steps, channels, width), affinity.dtype)
        still, turn = np.empty(width, affinity.dtype), np.empty(width, affinity.dtype)
        held = np.zeros(width, affinity.dtype)
        for t in range(steps):
            for c in range(channels):
                q, before, new = qs[t, n, c, y], states[t, n, c, y], states[t + 1, n, c, y]
                for x in range(width):
                    if scale[n, y, x] < 1 and gate[n, t, len(rings) - 1, y, x] * scale[n, y, x] <= smallest:
                        held[x] += scale[n, y, x] * smallest * q[x] * (before[x] - new[x])
        for r in range(len(rings) - 1):
            still[:], turn[:] = 0, held
            for t in range(steps):
                for c in range(channels):
                    force, q, pi, factor = strength[t, c], qs[t, n, c, y], gate[n, t, r, y], scale[n, y]
                    anchor, new = states[0, n, c, y], states[t + 1, n, c, y]
                    for x in range(width):
                        force[x] = q[x] * pi[x] * factor[x]
                        still[x] += force[x] * anchor[x]
                        turn[x] += force[x] * (anchor[x] - new[x])
            for position in range(rings[r], rings[r + 1]):
                dy, dx = offsets[order[position], 0], offsets[order[position], 1]
                if 0 <= y + dy < height:
                    first, last = _inside(width, dx)
                    out, w = result[n, order[position], y, first:last], affinity[n, order[position], y, first:last]
                    for t in range(steps):
                        for c in range(channels):
                            force, h = strength[t, c, first:last], states[t, n, c, y + dy, first + dx : last + dx]
                            for x in range(len(out)):
                                out[x] += force[x] * h[x]
                    anchor, twist = still[first:last], turn[first:last]
                    for x in range(len(out)):
                        out[x] += np.sign(w[x]) * twist[x] - anchor[x]
    return result


@njit(**KERNEL)
def dyspn_gate_gradient(  # type: ignore[no-untyped-def]
    result, t, q, new, padded, coarse, affinity, gate, scale, magnitude, signed, order, rings, offsets, smallest
):
    """Write the gradient of the gate of step `t` to `result` (N, T, R + 1, H, W); `new` is the state after the step."""
    images, channels, height, width = new.shape
    radius, count = (padded.shape[3] - width) // 2, len(rings) - 1
    for job in prange(images * height):
        n, y = job // height, job % height
        gathered = np.empty(width, affinity.dtype)
        factor = scale[n, y]
        for c in range(channels):
            source, after, anchor = q[n, c, y], new[n, c, y], coarse[n, c, y]
            for r in range(count):
                _gather_ring(gathered, padded, affinity, factor, n, c, y, order[rings[r] : rings[r + 1]], offsets)
                out, absolute, plain = result[n, t, r, y], magnitude[n, r, y], signed[n, r, y]
                for x in range(width):
                    out[x] += source[x] * (gathered[x] + (absolute[x] - plain[x]) * anchor[x] - absolute[x] * after[x])
            out, before = result[n, t, count, y], padded[n, c, y + radius, radius : radius + width]
            for x in range(width):
                if gate[n, t, count, y, x] * factor[x] > smallest:
                    out[x] += source[x] * factor[x] * (before[x] - after[x])
