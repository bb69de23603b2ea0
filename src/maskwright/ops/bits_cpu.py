"""The kernels of `bits`, compiled by numba at the first call.

Rows are laid out one behind the other for dilation, with gaps between them, so that one loop over all words, in vector
instructions, shifts them all.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls

from typing import Any, Literal

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .rows import indices

WORD = 64
NO_BIT, ALL_BITS = np.uint64(0), np.uint64(2**WORD - 1)


def _comparison(sign: Literal["==", ">"]) -> Any:
    """A function of a flat array, an unsigned index and a label: how the 64 labels from there on compare, one bit each."""

    @intrinsic
    def compared(typing, array, index, label):
        def generate(context, builder, signature, arguments):
            words = ir.VectorType(context.get_data_type(signature.args[0].dtype), WORD)
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.PointerType(words))
            none, first = ir.Constant(words, ir.Undefined), ir.Constant(ir.IntType(32), 0)
            alone = builder.insert_element(none, arguments[2], first)
            everywhere = builder.shuffle_vector(alone, none, ir.Constant(ir.VectorType(first.type, WORD), [0] * WORD))
            found = builder.icmp_unsigned(sign, builder.load(place, align=1), everywhere)
            return builder.bitcast(found, ir.IntType(WORD))

        return types.uint64(array, types.uintp, array.dtype), generate

    return compared


_equal, _above = _comparison("=="), _comparison(">")


@intrinsic
def _ones(typing, word):
    """The number of bits of a word that are 1."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@njit(cache=True, nogil=True)
def _tail(width):
    """The bits of a row's last word that are pixels."""
    return ALL_BITS >> np.uint64(-width % WORD)


@njit(cache=True, nogil=True)
def class_planes(
    predicted, truth, width, label_predicted, last_predicted, label_true, last_true, ignored, has_ignored, planes
):  # fmt: skip
    _, height, words = planes.shape
    last = predicted.size - WORD
    wrong, any_scored, any_ignored = NO_BIT, NO_BIT, NO_BIT
    for y in range(height):
        for k in range(words):
            start = y * width + k * WORD
            # The last words of an image end where it ends.
            place, missing = np.uint64(min(start, last)), np.uint64(max(0, start - last))
            inside = _tail(width) if k == words - 1 else ALL_BITS
            left_out = (_equal(truth, place, ignored) & has_ignored) >> missing
            true = _equal(truth, place, label_true) >> missing
            found = _equal(predicted, place, label_predicted) >> missing
            other = (_above(truth, place, last_true) | _above(predicted, place, last_predicted)) >> missing
            scored = inside & ~left_out
            wrong |= other & scored
            any_scored |= scored
            any_ignored |= left_out & inside
            planes[0, y, k] = found & scored
            planes[1, y, k] = true & scored
            planes[2, y, k] = ~true & scored
            planes[3, y, k] = left_out & inside
    return wrong == NO_BIT, any_scored != NO_BIT, any_ignored != NO_BIT


@njit(cache=True, nogil=True)
def _apart(plane, width, columns, rows, outside):
    """Lay the rows out one behind the other, with words of `outside` between them, before the first and behind the last,
    so many that bits may move as many columns, or rows, and meet nothing else.

    Gives these words, where the first row begins, and the words from one row to the next.
    """
    height, words = plane.shape
    gap = columns // WORD + 1
    of_row = words + gap
    begin = max(gap, rows * of_row)
    flat = np.full(2 * begin + height * of_row - gap, outside, np.uint64)
    for y in range(height):
        first = np.uint64(begin + y * of_row)
        for k in indices(words):
            flat[first + k] = plane[y, k]
        flat[first + np.uint64(words - 1)] |= outside & ~_tail(width)
    return flat, begin, of_row


@njit(cache=True, nogil=True)
def _together(flat, begin, of_row, width, plane):
    """Write the rows that `_apart` gave to a plane."""
    height, words = plane.shape
    for y in range(height):
        first = np.uint64(begin + y * of_row)
        for k in indices(words):
            plane[y, k] = flat[first + k]
        plane[y, words - 1] &= _tail(width)


@njit(cache=True, nogil=True)
def _spread(flat, other, begin, done, wanted):
    """Dilate rows that lie apart from half-width `done` to `wanted`; the rows, and room for others."""
    one = np.uint64(1)
    while done < wanted:
        # A gap in what was reached so far is as wide as the step is long, so a step may be one longer than that.
        step = min(wanted - done, done + 1)
        skip, shift = np.uint64(step // WORD), np.uint64(step % WORD)
        back = np.uint64(WORD - 1) - shift
        first = np.uint64(begin)
        for word in indices(len(flat) - 2 * begin):
            k = first + word
            up = (flat[k - skip] << shift) | ((flat[k - skip - one] >> one) >> back)
            down = (flat[k + skip] >> shift) | ((flat[k + skip + one] << one) << back)
            other[k] = flat[k] | up | down
        done += step
        flat, other = other, flat
    return flat, other


@njit(cache=True, nogil=True)
def _join(into, begin, flat, start, words):
    """Join words of a flat array, from `start` on, with those of another from `begin` on."""
    first, second = np.uint64(begin), np.uint64(start)
    for k in indices(words):
        into[first + k] |= flat[second + k]


@njit(cache=True, nogil=True)
def dilated(plane, half_widths, width):
    reached, begin, of_row = _apart(plane, width, half_widths[0], 0, NO_BIT)
    other, near = np.zeros_like(reached), np.zeros_like(reached)
    done = 0
    for rows in range(len(half_widths) - 1, -1, -1):
        if half_widths[rows] > done:
            reached, other = _spread(reached, other, begin, done, half_widths[rows])
            done = half_widths[rows]
        far = rows * of_row
        _join(near, far, reached, 0, len(near) - far)
        if rows:
            _join(near, 0, reached, far, len(near) - far)
    found = np.empty_like(plane)
    _together(near, begin, of_row, width, found)
    return found


@njit(cache=True, nogil=True)
def _spread_over_rows(flat, other, begin, of_row, wanted):
    """Dilate rows that lie apart by as many rows up and down; the rows, and room for others."""
    done = 0
    while done < wanted:
        step = min(wanted - done, done + 1)
        first, far = np.uint64(begin), np.uint64(step * of_row)
        for word in indices(len(flat) - 2 * begin):
            k = first + word
            other[k] = flat[k] | flat[k - far] | flat[k + far]
        done += step
        flat, other = other, flat
    return flat, other


@njit(cache=True, nogil=True)
def _rows_held(mask):
    """The first row that holds a pixel, and the one past the last; equal where none does."""
    words = mask.ravel()
    first, last = 0, len(words)
    while first < last and words[first] == NO_BIT:
        first += 1
    while last > first and words[last - 1] == NO_BIT:
        last -= 1
    return first // mask.shape[1], -(-last // mask.shape[1])


@njit(cache=True, nogil=True)
def _outside(mask, scored, border):
    outside = np.empty_like(mask)
    words, of_mask, of_scored, of_border = outside.ravel(), mask.ravel(), scored.ravel(), border.ravel()
    for k in indices(mask.size):
        words[k] = (of_scored[k] & ~of_mask[k]) | of_border[k]
    return outside


@njit(cache=True, nogil=True)
def _meet(plane, mask):
    words, of_mask = plane.ravel(), mask.ravel()
    for k in indices(mask.size):
        words[k] &= of_mask[k]


@njit(cache=True, nogil=True)
def inner_band(mask, scored, border, steps, width):
    first, last = _rows_held(mask)
    # Rows farther from the mask than `steps` decide nothing. Where the part taken ends inside the image, the rows past its
    # end count as rest, but are too far away.
    top, end = max(0, first - steps), min(len(mask), last + steps)
    outside = _outside(mask[top:end], scored[top:end], border[top:end])
    columns, rows = min(steps, width), min(steps, end - top)
    flat, begin, of_row = _apart(outside, width, columns, rows, ALL_BITS)
    flat, other = _spread_over_rows(flat, flat.copy(), begin, of_row, rows)
    flat, other = _spread(flat, other, begin, 0, columns)
    band = np.zeros_like(scored)
    _together(flat, begin, of_row, width, band[top:end])
    _meet(band, mask)
    return band


@njit(cache=True, nogil=True)
def at_corners(plane):
    height, words = plane.shape
    corners = np.empty_like(plane)
    for y in range(height):
        below = min(y + 1, height - 1)
        for k in range(words):
            here = plane[y, k] | plane[below, k]
            behind = plane[y, k + 1] | plane[below, k + 1] if k + 1 < words else NO_BIT
            corners[y, k] = here | (here >> np.uint64(1)) | (behind << np.uint64(WORD - 1))
    return corners


@njit(cache=True, nogil=True)
def pixels(one, other):
    both, first, second = NO_BIT, NO_BIT, NO_BIT
    words_of_one, words_of_other = one.ravel(), other.ravel()
    for k in indices(one.size):
        word, beside = words_of_one[k], words_of_other[k]
        both += _ones(word & beside)
        first += _ones(word)
        second += _ones(beside)
    return np.int64(both), np.int64(first), np.int64(second)
