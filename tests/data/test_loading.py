"""Batches: what is in them depends on seed, epoch and index alone, whatever the workers and the stops."""

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from maskwright.data.arrays import ArrayDataset
from maskwright.data.loading import (
    EpochBatches,
    ScoringBatch,
    TrainingBatch,
    TrainingData,
    TrainingLoader,
    collate_training,
    scoring_loader,
)
from maskwright.data.transforms import AugmentConfig, resize_pair
from maskwright.errors import DataError
from maskwright.types import Sample

# The suggested number of workers depends on the machine; a fork beside torch's threads is a note from Python 3.12 on.
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]


class Listed:
    """A data set of given samples."""

    classes = ("background", "thing")

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.names = tuple(sample.name for sample in samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def dataset(count: int = 7, size: int = 10) -> ArrayDataset:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    targets = generator.integers(0, 2, (count, size, size), dtype=np.uint8)
    return ArrayDataset(images, targets, classes=("background", "thing"), prefix="x")


def sizes(*shapes: tuple[int, int], truth: bool = True) -> Listed:
    return Listed(
        [
            Sample(
                name=f"{h}x{w}",
                image=torch.full((3, h, w), 51, dtype=torch.uint8),
                target=torch.ones(h, w, dtype=torch.uint8) if truth else None,
            )
            for h, w in shapes
        ]
    )


def loader(*, workers: int = 0, seed: int = 0, batch_size: int = 2, augmented: bool = True) -> TrainingLoader:
    augmentation = AugmentConfig(horizontal_flip=True, rotation=40, color=0.2)
    data = TrainingData(dataset(), size=8, augmentation=augmentation if augmented else AugmentConfig(), seed=seed)
    return TrainingLoader(data, batch_size=batch_size, workers=workers, seed=seed)


def epochs(source: TrainingLoader, count: int) -> list[TrainingBatch]:
    return [batch for _ in range(count) for batch in source]


def assert_same(first: Sequence[TrainingBatch], second: Sequence[TrainingBatch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def next_epoch(batches: EpochBatches) -> list[list[int]]:
    """Indices of the next epoch's batches, counted as the loader counts them."""
    drawn = list(batches)
    batches.batches_done += len(drawn)
    return [[index for _, index in batch] for batch in drawn]


def order_of(batches: EpochBatches) -> list[int]:
    """Indices of the next epoch in their order."""
    return [index for batch in next_epoch(batches) for index in batch]


@pytest.mark.parametrize(("count", "batch_size"), [(7, 2), (8, 4), (5, 1), (3, 8)])
def test_an_epoch_takes_each_index_at_most_once_in_whole_batches(count: int, batch_size: int) -> None:
    batches = EpochBatches(count, batch_size=batch_size, seed=0)
    for _ in range(3):
        drawn = next_epoch(batches)
        expected = min(batch_size, count)
        assert [len(batch) for batch in drawn] == [expected] * (count // expected) == [expected] * len(batches)
        flat = [index for batch in drawn for index in batch]
        assert len(set(flat)) == len(flat)
        assert set(flat) <= set(range(count))


def test_every_epoch_has_its_own_order_and_the_left_out_index_changes() -> None:
    batches = EpochBatches(9, batch_size=4, seed=0)
    drawn = [order_of(batches) for _ in range(8)]
    assert len({tuple(order) for order in drawn}) == 8
    assert len({index for order in drawn for index in set(range(9)) - set(order)}) > 1
    assert order_of(EpochBatches(9, batch_size=4, seed=0)) == drawn[0]
    assert order_of(EpochBatches(9, batch_size=4, seed=1)) != drawn[0]


def test_batches_say_their_epoch() -> None:
    batches = EpochBatches(4, batch_size=2, seed=0)
    batches.batches_done = 5
    assert [epoch for batch in batches for epoch, _ in batch] == [2, 2]


def test_a_batch_holds_the_resized_samples_that_its_indices_name() -> None:
    for batch in loader(augmented=False):
        assert batch.images.shape == (2, 3, 8, 8)
        assert batch.images.dtype == torch.float32
        assert batch.targets.dtype == torch.int64
        for image, target, index in zip(*batch, strict=True):
            sample = dataset()[int(index)]
            expected, labels = resize_pair(sample.image, sample.target, 8)
            torch.testing.assert_close(image, expected.float() / 255)
            assert torch.equal(target, labels.long())


def test_augmentation_changes_with_the_epoch_and_the_seed() -> None:
    source = loader(batch_size=7)
    first, second = (batch.images[batch.indices.argsort()] for batch in epochs(source, 2))
    (other,) = (batch.images[batch.indices.argsort()] for batch in epochs(loader(batch_size=7, seed=1), 1))
    for index in range(7):
        assert not torch.equal(first[index], second[index])
        assert not torch.equal(first[index], other[index])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_stops_change_nothing(workers: int) -> None:
    whole = epochs(loader(), 3)
    stopped = loader(workers=workers)
    begun = []
    for batch in stopped:
        begun.append(batch)
        if len(begun) == 2:  # in the middle of the first epoch; workers have prefetched more
            break
    resumed = loader(workers=workers)
    resumed.batches.batches_done = stopped.batches.batches_done
    assert_same(begun + epochs(resumed, 3), whole)


def test_a_position_at_the_end_of_an_epoch_starts_the_next() -> None:
    whole = epochs(loader(), 2)
    first = loader()
    epochs(first, 1)
    second = loader()
    second.batches.batches_done = first.batches.batches_done
    assert_same(epochs(second, 1), whole[3:])


def test_samples_are_the_same_with_and_without_the_memory_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    cached = epochs(loader(), 1)
    monkeypatch.setattr("maskwright.data.loading.CACHE_BYTES", 0)
    assert_same(epochs(loader(), 1), cached)


def test_training_data_can_be_sent_to_workers_that_are_not_forked() -> None:
    # macOS, Windows, and Linux from Python 3.14 on start workers afresh and send them the data set.
    augmentation = AugmentConfig(rotation=40, crop=6)
    data = TrainingData(dataset(), size=8, augmentation=augmentation, seed=0)
    sent = pickle.loads(pickle.dumps(data))
    for one, other in zip(data[(1, 2)], sent[(1, 2)], strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_sizes_that_differ_are_named_and_a_common_size_cures_it() -> None:
    data = TrainingData(sizes((4, 6), (5, 6)), size=0, augmentation=AugmentConfig(), seed=0)
    with pytest.raises(DataError, match=r"6×4, 6×5.*data.size") as caught:
        collate_training([data[(0, 0)], data[(0, 1)]])
    assert "data.augment.crop" in str(caught.value)
    assert collate_training([data[(0, 0)]]).images.shape == (1, 3, 4, 6)
    squared = TrainingData(sizes((4, 6), (5, 6)), size=8, augmentation=AugmentConfig(), seed=0)
    assert collate_training([squared[(0, 0)], squared[(0, 1)]]).images.shape == (2, 3, 8, 8)


@pytest.mark.parametrize("size", [0, 8])
def test_no_image_to_train_on_is_an_error(size: int) -> None:
    with pytest.raises(DataError, match="no image"):
        TrainingLoader(
            TrainingData(dataset(0), size=size, augmentation=AugmentConfig(), seed=0), batch_size=2, workers=0, seed=0
        )


def test_an_image_without_a_mask_is_named() -> None:
    with pytest.raises(DataError, match="4x6 has no mask"):
        TrainingData(sizes((4, 6), truth=False), size=0, augmentation=AugmentConfig(), seed=0)[(0, 0)]
    with pytest.raises(DataError, match="4x6 has no mask"):
        list(scoring_loader(sizes((4, 6), truth=False), size=0, batch_size=1))


@pytest.mark.parametrize(
    ("size", "shapes"), [(8, [(2, 3, 8, 8), (1, 3, 8, 8)]), (0, [(1, 3, 4, 6), (1, 3, 5, 3), (1, 3, 1, 1)])]
)
def test_scoring_keeps_order_names_and_the_truth_s_own_size(size: int, shapes: list[tuple[int, ...]]) -> None:
    source = sizes((4, 6), (5, 3), (1, 1))
    batches: list[ScoringBatch] = list(scoring_loader(source, size=size, batch_size=2))
    assert [tuple(batch.images.shape) for batch in batches] == shapes
    assert [name for batch in batches for name in batch.names] == ["4x6", "5x3", "1x1"]
    assert [tuple(target.shape) for batch in batches for target in batch.targets] == [(4, 6), (5, 3), (1, 1)]
    for batch in batches:
        torch.testing.assert_close(batch.images, torch.full_like(batch.images, 0.2))


def test_pasted_objects_come_from_the_same_group() -> None:
    """Each image shows its own index as its label; what a paste brings in must carry a label of the same group."""
    count = 12
    images = np.zeros((count, 8, 8), np.uint8)
    targets = np.zeros((count, 8, 8), np.uint8)
    for i in range(count):
        targets[i, i % 8] = i + 1
    dataset = ArrayDataset(images, targets, classes=[str(c) for c in range(count + 1)], prefix="image")
    groups = np.arange(count) % 3
    data = TrainingData(dataset, size=0, augmentation=AugmentConfig(paste=1.0), seed=0, groups=groups)
    seen = set()
    for epoch in range(4):
        for index in range(count):
            labels = np.setdiff1d(data[epoch, index][1].numpy(), [0]) - 1
            assert {int(groups[label]) for label in labels} == {int(groups[index])}
            seen.add(len(labels))
    assert seen == {1, 2}
