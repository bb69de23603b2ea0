"""Refinement methods that need no training of one's own, under one signature."""

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8

from ..errors import ConfigError
from .dense_crf import dense_crf
from .guided import guided_filter
from .inputs import check_inputs
from .outcome import Refined

Method: TypeAlias = Callable[
    [Float32[np.ndarray, "c h w"], UInt8[np.ndarray, "h w 3"]],
    Float32[np.ndarray, "c h w"],
]
"""Class probabilities (C ≥ 2, sum 1) and their RGB image → refined probabilities, which sum to 1 too."""


def unchanged(
    probabilities: Float32[np.ndarray, "c h w"], image: UInt8[np.ndarray, "h w 3"]
) -> Float32[np.ndarray, "c h w"]:
    """Return a copy of the probabilities: what the other methods are compared with."""
    check_inputs(probabilities, image)
    return probabilities.copy()


def bundled(
    probabilities: Float32[np.ndarray, "c h w"], image: UInt8[np.ndarray, "h w 3"]
) -> Float32[np.ndarray, "c h w"]:
    """Refine with the network that comes with the package, see `refine_bundled`."""
    return _bundled(probabilities, image, gated=True).probabilities


def _bundled(probabilities: Float32[np.ndarray, "c h w"], image: UInt8[np.ndarray, "h w 3"], *, gated: bool) -> Refined:
    from .refiner import refine_bundled  # here, since the libraries of networks take a second to import

    check_inputs(probabilities, image)
    return refine_bundled(probabilities, image, gated=gated)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "bundled": bundled,
        "dense_crf": partial(dense_crf, preset="soft"),
        "dense_crf:deeplab": partial(dense_crf, preset="deeplab", steps=10),
        "dense_crf:pydensecrf": partial(dense_crf, preset="pydensecrf"),
        "guided": guided_filter,
        "none": unchanged,
    }
)
"""Name → method. "bundled": the refiner that comes with the package, trained. "dense_crf": with the preset "soft";
"dense_crf:deeplab", "dense_crf:pydensecrf": with the parameters and steps of DeepLab v2, and of pydensecrf's example.
"guided": the guided filter. "none": the mask as it came."""


DEFAULT = "bundled"


def method_of(name: str) -> Method:
    """Return the method of this name.

    Raises:
        ConfigError: there is no such method; the near or else all names are listed.
    """
    if name not in METHODS:
        near = difflib.get_close_matches(str(name), METHODS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(METHODS)}"
        raise ConfigError(f"unknown method {name!r}; {hint}")
    return METHODS[name]


def apply_method(
    probabilities: Float32[np.ndarray, "c h w"],
    image: UInt8[np.ndarray, "h w 3"],
    *,
    method: str = DEFAULT,
    gated: bool = True,
) -> Refined:
    """Refine class probabilities by the method of this name.

    Args:
        probabilities: in [0, 1], summing to 1 over the classes within 0.01. Of a single class there is nothing to
            choose, so C = 1 comes back as it is.
        image: RGB, 0 to 255, of the same height and width.
        method: a name of `METHODS`.
        gated: whether the method's gate is asked, where it has one.

    Returns:
        Probabilities, float32, summing to 1; what the gate says of them where the method has one ("bundled").

    Raises:
        ConfigError: an unknown method.
        DataError: probabilities or image of the wrong shape, dtype or range.
    """
    refine = method_of(method)
    if len(probabilities) == 1:
        return Refined(probabilities=probabilities)
    if refine is bundled:
        return _bundled(probabilities, image, gated=gated)
    return Refined(probabilities=refine(probabilities, image))
