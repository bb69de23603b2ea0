"""Parts of a data set: subsets, a held-out part, folds. Which image goes where depends on seed and count alone."""

from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError
from ..types import Dataset, Sample


class Subset:
    """The samples of `dataset` at `indices`, in that order; satisfies `Dataset`."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = tuple(int(i) for i in indices)
        self.classes = dataset.classes
        self.names = tuple(dataset.names[i] for i in self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]


def hold_out(dataset: Dataset, fraction: float, *, seed: int) -> tuple[Subset, Subset]:
    """Split into (kept, held out), at least one sample each, both in the data set's order.

    Args:
        dataset: at least two samples.
        fraction: share that is held out, in (0, 1).
        seed: of the random choice.
    """
    count = len(dataset)
    if count < 2:
        raise ConfigError(f"cannot hold out validation images of {count} image(s); set data.val_fraction to 0")
    order = np.random.default_rng(seed).permutation(count)
    held = min(max(round(fraction * count), 1), count - 1)
    return Subset(dataset, sorted(order[held:])), Subset(dataset, sorted(order[:held]))


def fold_of_each(count: int, folds: int, *, seed: int) -> np.ndarray:
    """Return the fold of each sample, int64 (count,), values 0..folds − 1, sizes that differ by one at most."""
    if not 2 <= folds <= count:
        raise ConfigError(f"folds must be between 2 and the number of training images ({count}); got {folds}")
    fold = np.empty(count, np.int64)
    fold[np.random.default_rng(seed).permutation(count)] = np.arange(count) % folds
    return fold
