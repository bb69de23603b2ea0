"""Batches for training and for scoring.

What a training batch holds depends on (seed, epoch, index) alone, never on the number of workers or on how often the
run was stopped, so a resumed run repeats the uninterrupted one bit for bit.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils import data as torch_data

from ..errors import DataError
from ..types import Dataset, Sample
from .transforms import AugmentConfig, augment, build_augmentation, paste_objects, resize_pair

CACHE_BYTES = 2**30
"""Prepared samples are kept in memory while the whole data set is estimated to fit in so much."""

T = TypeVar("T")


class TrainingBatch(NamedTuple):
    """Images float32 (N, 3, S, S) in [0, 1]; targets int64 (N, S, S), or (N, 2, S, S) with the objects' numbers, see
    `TrainingData`; index of each sample in its data set."""

    images: Float[Tensor, "n 3 s s"]
    targets: Int64[Tensor, "n *two s s"]
    indices: Int64[Tensor, " n"]


class ScoringBatch(NamedTuple):
    """Images at the network's size, float32 (N, 3, S, S) in [0, 1]; targets and names as they came, N of each."""

    images: Float[Tensor, "n 3 s s"]
    targets: Sequence[UInt8[Tensor, "h w"]]
    names: Sequence[str]


class _Prepared(Generic[T]):
    """Samples after `prepare`, each prepared once where the memory allows it."""

    def __init__(self, dataset: Dataset, prepare: Callable[[Sample], T], *, bytes_each: int) -> None:
        self.dataset = dataset
        self.prepare = prepare
        self.cache: list[T] | None = None
        if len(dataset) * bytes_each <= CACHE_BYTES:
            self.cache = [prepare(dataset[i]) for i in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> T:
        return self.cache[index] if self.cache is not None else self.prepare(self.dataset[index])


def _truth(sample: Sample) -> Tensor:
    if sample.target is None:
        raise DataError(
            f"{sample.name} has no mask; training and scoring need one for every image. Beside weak labels, name a val part "
            "that has masks, or set data.val_fraction to 0"
        )
    return sample.target


def _labels_and_numbers(sample: Sample) -> Int32[Tensor, "2 h w"]:
    labels = _truth(sample)
    if sample.instances is None:
        raise DataError(f"{sample.name} tells no objects apart; expected a number for each, as nuclei:DIR has")
    # Numbers as they come may be too large for the float32 that transforms reckon with.
    found, numbers = np.unique(sample.instances.numpy(), return_inverse=True)
    numbers = numbers.reshape(labels.shape) + int(found[0] > 0)
    return torch.stack((labels.int(), torch.from_numpy(numbers.astype(np.int32))))


def _prepare_training(sample: Sample, *, size: int, sparse: bool, objects: bool) -> tuple[Tensor, Tensor]:
    truth = _labels_and_numbers(sample) if objects else _truth(sample)
    image, target = resize_pair(sample.image, truth, size, sparse=sparse)
    assert target is not None
    return image, target


def _prepare_scoring(sample: Sample, *, size: int) -> tuple[Tensor, Tensor, str]:
    return resize_pair(sample.image, None, size)[0], _truth(sample), sample.name


def _bytes_each(dataset: Dataset, size: int) -> int:
    """Estimate of a prepared sample's memory from the network's size, or from the first image's own."""
    if len(dataset) == 0:
        raise DataError("a part of the data holds no image; expected at least one")
    pixels = size * size if size else dataset[0].image[0].numel()
    return 4 * pixels


class Samples(Protocol):
    """Training samples addressed by (epoch, index): image uint8 (3 or more, S, S), target uint8 (S, S), index."""

    def __len__(self) -> int: ...

    def __getitem__(self, where: tuple[int, int]) -> tuple[Tensor, Tensor, int]: ...


class TrainingData(torch_data.Dataset[tuple[Tensor, Tensor, int]]):
    """Resized, augmented samples, addressed by (epoch, index).

    Args:
        dataset: with a truth for every image.
        size: side of the square that images and label maps are resized to, pixels; 0 keeps their size.
        augmentation: random changes.
        seed: of the augmentation.
        groups: group of each sample; objects are pasted within a group only. The folds of out-of-fold training are
            such groups: a network must not have seen what is pasted into an image that it never saw.
        sparse: few pixels are labelled, and none of them may get lost when label maps are resized.
        objects: targets are int32 (2, S, S): the label map, and each pixel's number of its object, 0 = none.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        size: int,
        augmentation: AugmentConfig,
        seed: int,
        groups: NDArray[np.int64] | None = None,
        sparse: bool = False,
        objects: bool = False,
    ) -> None:
        prepare = partial(_prepare_training, size=size, sparse=sparse, objects=objects)
        self.prepared = _Prepared(dataset, prepare, bytes_each=_bytes_each(dataset, size) * (3 if objects else 1))
        self.transform = build_augmentation(augmentation)
        self.paste = augmentation.paste
        self.groups = np.zeros(len(dataset), np.int64) if groups is None else groups
        self.seed = seed

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, where: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        epoch, index = where
        generator = np.random.default_rng([self.seed, epoch, index])
        image, target = self._augmented(index, generator)
        if generator.random() < self.paste:
            partner = generator.choice(np.flatnonzero(self.groups == self.groups[index]))
            other, other_target = self._augmented(int(partner), generator)
            if other.shape == image.shape:
                image, target = paste_objects(image, target, other, other_target)
        return image, target, index

    def _augmented(self, index: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        image, target = self.prepared[index]
        if self.transform is None:
            return image, target
        return augment(self.transform, image, target, seed=int(generator.integers(2**63)))


class ScoringData(torch_data.Dataset[tuple[Tensor, Tensor, str]]):
    """Images at the network's size with their truth at its own size.

    Args:
        dataset: with a truth for every image.
        size: side of the square that images are resized to, pixels; 0 keeps their size.
    """

    def __init__(self, dataset: Dataset, *, size: int) -> None:
        self.prepared = _Prepared(
            dataset,
            partial(_prepare_scoring, size=size),
            bytes_each=_bytes_each(dataset, size) + _bytes_each(dataset, 0),
        )

    def __len__(self) -> int:
        return len(self.prepared)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, str]:
        return self.prepared[index]


class EpochBatches(torch_data.Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index), shuffled anew for every epoch; starts after `batches_done` batches.

    The last, smaller batch of an epoch is dropped unless it is the only one: batch normalisation over one or two
    images does harm.
    """

    def __init__(self, count: int, *, batch_size: int, seed: int) -> None:
        self.count = count
        self.batch_size = min(batch_size, count)
        self.seed = seed
        self.batches_done = 0

    def __len__(self) -> int:
        return self.count // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first = divmod(self.batches_done, len(self))
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count).tolist()
        for batch in range(first, len(self)):
            start = batch * self.batch_size
            yield [(epoch, index) for index in order[start : start + self.batch_size]]


class TrainingLoader(torch_data.DataLoader[tuple[Tensor, Tensor, int]]):
    """DataLoader that knows after how many batches it stands (`batches.batches_done`), and can go on from any.

    Args:
        dataset: the samples.
        batch_size: images per batch.
        workers: data worker processes; 0 loads in the main process.
        seed: of the shuffling.
    """

    def __init__(self, dataset: Samples, *, batch_size: int, workers: int, seed: int) -> None:
        self.batches = EpochBatches(len(dataset), batch_size=batch_size, seed=seed)
        super().__init__(
            cast("torch_data.Dataset[tuple[Tensor, Tensor, int]]", dataset),
            batch_sampler=self.batches,
            num_workers=workers,
            collate_fn=collate_training,
            worker_init_fn=_leave_signals_to_main,
        )

        self.running: Any = None

    def __iter__(self) -> Iterator[TrainingBatch]:  # type: ignore[override]
        self.running = super().__iter__()
        for batch in self.running:
            self.batches.batches_done += 1
            yield batch

    def close(self) -> None:
        """End the data workers. A failed training would keep them: its traceback holds the iterator, they ignore SIGTERM,
        and Python waits for its children at exit."""
        if hasattr(self.running, "_shutdown_workers"):
            self.running._shutdown_workers()
        self.running = None


def _leave_signals_to_main(worker: int) -> None:
    """Ctrl-C and SIGTERM reach the whole process group; the main process alone saves and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def scoring_loader(
    dataset: Dataset, *, size: int, batch_size: int
) -> torch_data.DataLoader[tuple[Tensor, Tensor, str]]:
    """Return a loader of `ScoringBatch`es in the data set's order; images of their own size come one by one."""
    return torch_data.DataLoader(
        ScoringData(dataset, size=size), batch_size=batch_size if size else 1, collate_fn=collate_scoring
    )


def collate_training(samples: list[tuple[Tensor, Tensor, int]]) -> TrainingBatch:
    """Stack samples; images of different sizes are a `DataError`."""
    images, targets, indices = zip(*samples, strict=True)
    sizes = {tuple(image.shape[-2:]) for image in images}
    if len(sizes) > 1:
        shown = ", ".join(f"{w}×{h}" for h, w in sorted(sizes)[:3])
        raise DataError(f"training images differ in size ({shown}); set data.size, or data.augment.crop")
    return TrainingBatch(to_float(torch.stack(images)), torch.stack(targets).long(), torch.tensor(indices))


def collate_scoring(samples: list[tuple[Tensor, Tensor, str]]) -> ScoringBatch:
    """Stack the images, list the rest."""
    images, targets, names = zip(*samples, strict=True)
    return ScoringBatch(to_float(torch.stack(images)), targets, names)


def to_float(images: UInt8[Tensor, "*n 3 h w"]) -> Float[Tensor, "*n 3 h w"]:
    """RGB 0–255 to float32 in [0, 1]."""
    return images.float() / 255
