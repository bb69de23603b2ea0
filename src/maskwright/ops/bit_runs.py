"""The run lengths of Label Studio's brush, which are those of thi.ng/rle-pack: a stream of bits, high ones first.

32 bits: how many values; 5: bits of a value, less one; four times 4: bits of the four kinds of counts, less one. Then
blocks until all values are there: 1 bit, whether one value is repeated; 2, the kind of count; the count, less one; then the
value once, or each of so many values.
"""

# mypy: allow-untyped-decorators

import numpy as np
from jaxtyping import UInt8
from numba import njit
from numpy.typing import NDArray

HEADER_BITS = 32 + 5 + 4 * 4


def unpack(stream: UInt8[np.ndarray, " n"], count: int) -> UInt8[np.ndarray, " count"] | None:
    """Return the values of a stream of `count` values of at most 8 bits; None where it is not one, or too short."""
    values = np.zeros(count, np.uint8)
    return values if len(stream) * 8 >= HEADER_BITS and _unpacked(stream, values) else None


def pack(values: UInt8[np.ndarray, " n"]) -> UInt8[np.ndarray, " m"]:
    """Return the stream of bytes for values, at least one; every run takes counts of 16 bits."""
    starts = np.flatnonzero(np.diff(values, prepend=values[0] ^ 1))
    lengths = np.diff(starts, append=len(values))
    return _packed(values, starts, lengths)


@njit(cache=True, nogil=True)
def _read(stream: NDArray[np.uint8], place: int, bits: int) -> int:
    number = 0
    for bit in range(place, place + bits):
        number = (number << 1) | ((stream[bit >> 3] >> (7 - (bit & 7))) & 1)
    return number


@njit(cache=True, nogil=True)
def _unpacked(stream: NDArray[np.uint8], values: NDArray[np.uint8]) -> bool:
    end, place = len(stream) * 8, 53
    word = _read(stream, 32, 5) + 1
    if _read(stream, 0, 32) != len(values) or word > 8:
        return False
    done = 0
    while done < len(values):
        if place + 3 > end:
            return False
        repeated = _read(stream, place, 1) == 1
        bits = _read(stream, 37 + 4 * _read(stream, place + 1, 2), 4) + 1
        place += 3
        if place + bits > end:
            return False
        count = _read(stream, place, bits) + 1
        place += bits
        if done + count > len(values) or place + (word if repeated else word * count) > end:
            return False
        if repeated:
            values[done : done + count] = _read(stream, place, word)
            place += word
        else:
            for value in range(count):
                values[done + value] = _read(stream, place, word)
                place += word
        done += count
    return True


@njit(cache=True, nogil=True)
def _write(stream: NDArray[np.uint8], place: int, number: int, bits: int) -> int:
    for bit in range(bits):
        at = place + bit
        stream[at >> 3] |= ((number >> (bits - 1 - bit)) & 1) << (7 - (at & 7))
    return place + bits


@njit(cache=True, nogil=True)
def _packed(values: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    blocks = 0
    for length in lengths:
        blocks += (length + 65535) // 65536
    stream = np.zeros((53 + 27 * blocks + 7) // 8, np.uint8)
    place = _write(stream, 0, len(values), 32)
    place = _write(stream, place, 7, 5)
    for bits in (3, 4, 8, 16):
        place = _write(stream, place, bits - 1, 4)
    for number in range(len(starts)):
        left = lengths[number]
        while left > 0:
            count = min(left, 65536)
            place = _write(stream, place, 0b111, 3)
            place = _write(stream, place, count - 1, 16)
            place = _write(stream, place, int(values[starts[number]]), 8)
            left -= count
    return stream
