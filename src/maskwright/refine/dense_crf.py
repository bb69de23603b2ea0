"""Dense CRF, Krähenbühl & Koltun 2011: every pixel votes for its label with every pixel near it in place and colour.

Mean field: q ← softmax(−u − Σ_l' μ(l, l') Σ_m w_m K_m q_l'), with unary u = −log p, a Gaussian kernel K_1 over places,
a bilateral one K_2 over places and colours, and the compatibility μ, Potts unless given. The kernels are applied by the
permutohedral lattice, and normalised on both sides by the root of their sums.

Departs from the paper in: a pixel also votes for itself, and the kernels are normalised, both as in the authors' later
code and in pydensecrf, whose labels these are. As probabilities add up to 1, only C − 1 classes are filtered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numba import njit, prange

from ..errors import ConfigError
from ..ops.permutohedral import Lattice
from ..ops.threads import kernel_threads
from .inputs import check_inputs

SMALLEST_PROBABILITY = 1e-5
"""Smaller ones are raised to it, so that −log p is finite; the floor that pydensecrf has."""

CHUNK = 64
"""Pixels that are updated together: few enough to stay in the innermost cache with some 20 classes."""

TILE = 2**18
"""Numbers in a tile of pixels, 1 MiB: what the second cache of two cores holds, and long enough to share out."""

LOWEST_EXPONENT = np.float32(-50.0)
"""Probabilities end at e to it, 2e-22: through all of the lattice they stay normal numbers, which are far faster."""

LOG2_E = np.float32(1 / np.log(2))
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(np.log(2) - 0.693359375)
"""ln 2 in two parts, of which the first times a small integer is exact."""

ONE, HALF, THIRD, QUARTER, FIFTH, SIXTH, SEVENTH = (np.float32(1 / k) for k in range(1, 8))


@dataclass(frozen=True, kw_only=True, slots=True)
class CRFParameters:
    """Reach and weight of the two kernels; a weight of 0 leaves a kernel out.

    Args:
        gaussian_sigma: standard deviation in pixels of the kernel over places, 0.01 to 1e6.
        gaussian_weight: its weight, 0 to 1e6.
        bilateral_sigma: standard deviation in pixels of the kernel over places and colours, 0.01 to 1e6.
        bilateral_levels: its standard deviation in grey levels of each of R, G and B (0 to 255), 0.01 to 1e6.
        bilateral_weight: its weight, 0 to 1e6.

    Raises:
        ConfigError: a value is out of range.
    """

    gaussian_sigma: float = 3.0
    gaussian_weight: float = 3.0
    bilateral_sigma: float = 80.0
    bilateral_levels: float = 13.0
    bilateral_weight: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name.endswith("_weight") else 0.01
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not lowest <= value <= 1e6:
                raise ConfigError(f"{field.name} must be a number from {lowest:g} to 1e6, got {value!r}")


PRESETS: Mapping[str, CRFParameters] = MappingProxyType(
    {
        "pydensecrf": CRFParameters(),
        "deeplab": CRFParameters(gaussian_sigma=1, bilateral_sigma=67, bilateral_levels=3, bilateral_weight=4),
        "soft": CRFParameters(bilateral_sigma=30, bilateral_levels=8, bilateral_weight=4),
    }
)
"""Name → parameters. "pydensecrf": the example of its README. "deeplab": DeepLab v2 with ResNet-101, whose released
configuration has weight 3 and 1 pixel for the Gaussian (its paper names 3 and 3), meant for 10 steps. "soft": a shorter
reach and less weight, for masks whose edges are a few pixels off."""


def dense_crf(
    probabilities: Float[np.ndarray, "c h w"],
    image: UInt8[np.ndarray, "h w 3"],
    *,
    steps: int = 5,
    preset: str = "pydensecrf",
    parameters: CRFParameters | None = None,
    compatibility: Float[np.ndarray, "c c"] | None = None,
) -> Float32[np.ndarray, "c h w"]:
    """Refine class probabilities by mean-field inference in a fully connected CRF.

    Args:
        probabilities: any float dtype, in [0, 1], summing to 1 over the C ≥ 2 classes within 0.01; those below 1e-5 are
            raised to it. A binary mask p is given as np.stack((1 - p, p)).
        image: RGB, 0 to 255, of the same height and width.
        steps: mean-field steps, ≥ 0; 0 returns the probabilities as they came.
        preset: a name of `PRESETS`; not read where `parameters` are given.
        parameters: takes the place of the preset.
        compatibility: finite penalty [l, l'] for label l beside label l'; None is Potts, 0 on the diagonal and 1
            elsewhere, and much faster for many classes.

    Returns:
        Probabilities, float32, summing to 1; the same on any number of threads.

    Raises:
        ConfigError: an unknown preset, steps < 0, a compatibility that is not finite or not (C, C), kernels too narrow
            for the lattice.
        DataError: probabilities or image of the wrong shape, dtype or range.
    """
    check_inputs(probabilities, image)
    classes, height, width = probabilities.shape
    penalties = _checked_compatibility(compatibility, classes)
    if not isinstance(steps, int) or steps < 0:
        raise ConfigError(f"steps must be a whole number ≥ 0, got {steps!r}")
    if parameters is None:
        parameters = _preset(preset)
    if steps == 0:
        return np.array(probabilities, np.float32, order="C")
    log_p = _log_probabilities(probabilities)
    with kernel_threads():
        refined = _mean_field(log_p, _weighted_lattices(image, parameters), penalties=penalties, steps=steps)
    return refined.reshape(classes, height, width)


def _mean_field(
    log_p: Float32[np.ndarray, "c n"],
    lattices: list[Lattice],
    *,
    penalties: Float32[np.ndarray, "c c"],
    steps: int,
) -> Float32[np.ndarray, "c n"]:
    """Return the probabilities of all N pixels after `steps` ≥ 1 steps; empty `penalties` stand for Potts."""
    classes, pixels = log_p.shape
    channels = _padded(classes - 1)
    tile = TILE // channels
    silence = np.zeros((pixels, 1), np.float32)
    total = sum((lattice.filter(silence + 1) for lattice in lattices), silence)
    refined, unwanted = np.empty_like(log_p), np.empty((0, 0), np.float32)
    messages: list[Float32[np.ndarray, "m c"]] = []
    for step in range(steps + 1):
        following = [lattice.empty(channels) for lattice in lattices]
        for first in range(0, pixels, tile):
            # Pixels hear, update and speak tile by tile, so that all of it happens in the cache.
            rows = np.zeros((min(tile, pixels - first), channels), np.float32)
            if step > 0:
                for lattice, message in zip(lattices, messages, strict=True):
                    lattice.slice(message, rows, first=first)
            _update(
                log_p, first, rows, total if step > 0 else silence, penalties, refined if step == steps else unwanted
            )
            if step < steps:
                for lattice, message in zip(lattices, following, strict=True):
                    lattice.splat(rows, message, first=first)
        messages = [lattice.blurred(message) for lattice, message in zip(lattices, following, strict=True)]
    return refined


def _padded(channels: int) -> int:
    """Round up to whole vectors of 8 numbers, for which the lattice is fastest, unless there are few."""
    return channels if channels <= 2 else -(-channels // 8) * 8


def _weighted_lattices(image: UInt8[np.ndarray, "h w 3"], parameters: CRFParameters) -> list[Lattice]:
    """Return the lattice of each kernel that has a weight: normalised on both sides, times its weight."""
    height, width = image.shape[:2]
    places = np.empty((height, width, 2), np.float32)
    places[..., 0], places[..., 1] = np.arange(width), np.arange(height)[:, None]
    kernels = []
    if parameters.gaussian_weight > 0:
        kernels.append((places / np.float32(parameters.gaussian_sigma), parameters.gaussian_weight))
    if parameters.bilateral_weight > 0:
        features = np.empty((height, width, 5), np.float32)
        features[..., :2] = places / np.float32(parameters.bilateral_sigma)
        features[..., 2:] = image / np.float32(parameters.bilateral_levels)
        kernels.append((features, parameters.bilateral_weight))
    try:
        return [Lattice.build(features.reshape(height * width, -1)).normalised(weight) for features, weight in kernels]
    except ValueError as error:
        raise ConfigError(f"a kernel of the dense CRF is too narrow for {width}×{height} pixels: {error}") from error


@njit(cache=True, parallel=True, error_model="numpy", fastmath={"contract"})
def _update(log_p, first, rows, total, penalties, refined):  # type: ignore[no-untyped-def]
    """One mean-field step of the pixels from `first` on: softmax(log p + what their votes weigh).

    Args:
        log_p: (C, N), of all pixels.
        first: index of the pixel of rows[0].
        rows: (k, ≥ C − 1), of all classes but the last: the filtered probabilities, replaced by the new probabilities.
        total: (N, 1), the sum of the filtered probabilities of all classes.
        penalties: (C, C), or empty for Potts.
        refined: (C, N), the new probabilities of all classes are written here; empty if they are not wanted.
    """
    classes = len(log_p)
    for chunk in prange((len(rows) + CHUNK - 1) // CHUNK):
        begin = chunk * CHUNK
        count = min(CHUNK, len(rows) - begin)
        # Class by class, so that every inner loop runs along pixels, in vector instructions.
        block = np.empty((classes, count), np.float32)
        for i in range(count):
            block[classes - 1, i] = total[first + begin + i, 0]
        for c in range(classes - 1):
            for i in range(count):
                block[c, i] = rows[begin + i, c]
                block[classes - 1, i] -= block[c, i]
        if len(penalties) > 0:
            block = _penalised(block, penalties)
        for c in range(classes):
            for i in range(count):
                block[c, i] += log_p[c, first + begin + i]
        _softmax(block)
        for c in range(classes - 1):
            for i in range(count):
                rows[begin + i, c] = block[c, i]
        for c in range(len(refined)):
            for i in range(count):
                refined[c, first + begin + i] = block[c, i]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _penalised(block, penalties):  # type: ignore[no-untyped-def]
    """Return −Σ_l' penalties[l, l'] · block[l'] for all classes l."""
    support = np.zeros_like(block)
    for label in range(len(penalties)):
        for other in range(len(penalties)):
            for i in range(block.shape[1]):
                support[label, i] -= penalties[label, other] * block[other, i]
    return support


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _softmax(block):  # type: ignore[no-untyped-def]
    """Softmax over the first axis, in place."""
    classes, count = block.shape
    largest, norm = block[0].copy(), np.zeros(count, np.float32)
    for c in range(1, classes):
        for i in range(count):
            largest[i] = max(largest[i], block[c, i])
    for c in range(classes):
        for i in range(count):
            block[c, i] = _exp(block[c, i] - largest[i])
            norm[i] += block[c, i]
    for c in range(classes):
        for i in range(count):
            block[c, i] /= norm[i]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x for float32 x ≤ 0, within 3e-7 of the result, as 2^n · e^r: unlike the library's, it can be vectorised."""
    x = max(x, LOWEST_EXPONENT)
    n = np.rint(x * LOG2_E)
    r = x - n * LN2_HIGH - n * LN2_LOW
    power = ONE
    for k in (SEVENTH, SIXTH, FIFTH, QUARTER, THIRD, HALF, ONE):
        power = ONE + power * r * k
    return power * np.int32((np.int32(n) + 127) << 23).view(np.float32)


def _log_probabilities(probabilities: Float[np.ndarray, "c h w"]) -> Float32[np.ndarray, "c n"]:
    """Return log p with p raised to the floor."""
    flat = probabilities.reshape(len(probabilities), -1).astype(np.float32, order="C")
    return np.log(np.maximum(flat, np.float32(SMALLEST_PROBABILITY), out=flat), out=flat)


def _preset(name: str) -> CRFParameters:
    if name not in PRESETS:
        raise ConfigError(f"preset must be one of {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]


def _checked_compatibility(compatibility: Float[np.ndarray, "c c"] | None, classes: int) -> Float32[np.ndarray, "c c"]:
    """Return the penalties as float32, empty for Potts."""
    if compatibility is None:
        return np.empty((0, 0), np.float32)
    penalties = np.array(compatibility, np.float32, order="C")
    if penalties.shape != (classes, classes) or not np.isfinite(penalties).all():
        raise ConfigError(
            f"compatibility has shape {penalties.shape}, expected finite numbers of shape ({classes}, {classes}): "
            "one row and one column per class"
        )
    return penalties
