"""Meters of two processes make the result of one, also where the sampler repeats an image."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import DataError
from maskwright.metrics import BoundaryMeter, EvaluationMeter
from maskwright.metrics.confusion import joined
from maskwright.metrics.distributed import in_turns, of_all_processes

CLASSES = ("sky", "road", "car")
IMAGES = 5


def maps_of(image):
    generator = np.random.default_rng(image)
    prediction, target = generator.integers(0, 3, (2, 12, 15))
    target[0] = 255
    return prediction, target


def collected(meter, images):
    for image in images:
        meter.update(f"image {image}", *maps_of(image))
    return meter


def assert_equal(one, other):
    assert (one.classes, one.names) == (other.classes, other.names)
    for field in ("counts", "confusion", "ignored"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert hasattr(one, "boundary") == hasattr(other, "boundary")
    if hasattr(one, "boundary"):
        for name, values in one.boundary.items():
            np.testing.assert_array_equal(values, other.boundary[name])


def run_process(rank, store):
    """One of two processes: what it gathers must be what one process alone collects, and faults stop both."""
    import torch
    from torch.utils.data import DistributedSampler

    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    images = list(DistributedSampler(range(IMAGES), num_replicas=2, rank=rank, shuffle=False))
    assert images == [[0, 2, 4], [1, 3, 0]][rank]
    for kind in (EvaluationMeter, BoundaryMeter):
        own = collected(kind(CLASSES), images)
        assert_equal(own.gathered().result(), collected(kind(CLASSES), range(IMAGES)).result())
        assert len(own.result().names) == 3
        own.update("same name", *(labels * rank for labels in maps_of(0)))
        for fault, message in ((own, "same name, and not alike"), (kind([*CLASSES, str(rank)]), "must agree")):
            with pytest.raises(DataError, match=message):
                fault.gathered()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    print("done")


def test_two_processes_give_the_result_of_one(tmp_path):
    code = (
        f"from test_distributed import run_process; import sys; run_process(int(sys.argv[1]), {str(tmp_path / 's')!r})"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank)],
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "done\n"), err


def test_one_process_gathers_its_own():
    for kind in (EvaluationMeter, BoundaryMeter):
        meter = collected(kind(CLASSES), range(3))
        gathered = meter.gathered()
        assert_equal(gathered.result(), meter.result())
        gathered.update("later", *maps_of(9))
        assert len(meter.result().names) == 3
    assert of_all_processes(7, None) == [7]


def test_records_come_in_turns_and_once():
    parts = [{"a": 1, "d": 4, "g": 7}, {"b": 2, "e": 5, "a": 1}, {"c": 3, "f": 6}]
    assert list(in_turns(parts, int.__eq__).items()) == [(name, i + 1) for i, name in enumerate("abcdefg")]
    with pytest.raises(DataError, match="scored d, a, and not alike"):
        in_turns([*parts, {"d": 1, "a": 2}], int.__eq__)
    with pytest.raises(DataError, match="and more"):
        in_turns([{str(i): i for i in range(20)}, {str(i): -1 for i in range(20)}], int.__eq__)


def test_an_image_that_differs_in_ignored_pixels_alone_is_not_alike():
    one, other = EvaluationMeter(CLASSES), EvaluationMeter(CLASSES)
    one.update("a", np.zeros((2, 2), int), np.full((2, 2), 255))
    other.update("a", np.zeros((2, 3), int), np.full((2, 3), 255))
    with pytest.raises(DataError, match="not alike"):
        joined([one, other])
