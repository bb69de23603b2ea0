"""Panoptic quality against sets of pixels, by the words of the paper; void, crowds and the empty cases by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.panoptic import (
    PANOPTIC_DEFINITIONS,
    PanopticMeter,
    PanopticResult,
    Quality,
    class_quality,
    panoptic_interval,
    panoptic_quality,
)
from maskwright.types import Segments
from reference import panoptic_by_sets

CLASSES = ("ground", "car", "cat")


def segments(ids: object, classes: list[int], *, name: str = "x", crowd: list[bool] | None = None) -> Segments:
    return Segments(
        name=name,
        ids=np.array(ids, np.int32),
        classes=np.array(classes, np.int64),
        crowd=None if crowd is None else np.array(crowd),
    )


def result_of(*pairs: tuple[Segments, Segments]) -> PanopticResult:
    meter = PanopticMeter(CLASSES, things=[1, 2], stuff=[0])
    for predicted, truth in pairs:
        meter.update(predicted, truth)
    return meter.result()


@st.composite
def pair(draw: st.DrawFn) -> tuple[Segments, Segments]:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = generator.integers(0, 5, (3, 3))
    truth = np.kron(coarse, np.ones((3, 3), int))
    predicted = np.where(generator.random((9, 9)) < 0.25, generator.integers(0, 5, (9, 9)), truth)
    classes = generator.integers(0, 3, 4)
    own = np.where(generator.random(4) < 0.8, classes, generator.integers(0, 3, 4))
    crowd = generator.random(4) < 0.2
    return segments(predicted, own.tolist()), segments(truth, classes.tolist(), crowd=crowd.tolist())


@given(st.lists(pair(), min_size=1, max_size=4))
def test_quality_equals_sets_of_pixels(pairs: list[tuple[Segments, Segments]]) -> None:
    named = [tuple(replace(one, name=str(i)) for one in both) for i, both in enumerate(pairs)]
    quality = class_quality(result_of(*named))
    for label in range(3):
        np.testing.assert_allclose(quality[:, label], panoptic_by_sets(named, label), rtol=1e-12)


def test_quality_by_hand_with_things_and_stuff() -> None:
    truth = segments([[1, 1, 1, 1, 2, 2, 3, 3]], [0, 1, 1])
    found = segments([[1, 1, 1, 2, 2, 2, 3, 1]], [0, 1, 1])
    # ground: IoU 3/5 found. Cars: IoU 2/3 found; IoU 1/2 is not above 0.5, so one spurious and one missed.
    result = result_of((found, truth))
    assert panoptic_quality(result, "stuff") == pytest.approx(Quality(0.6, 0.6, 1.0))
    assert panoptic_quality(result, "things") == pytest.approx(Quality(1 / 3, 2 / 3, 0.5))
    assert panoptic_quality(result) == pytest.approx(Quality((0.6 + 1 / 3) / 2, (0.6 + 2 / 3) / 2, 0.75))
    assert result.counts[0].tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_void_pixels_of_the_truth_leave_the_union_and_excuse_what_lies_in_them() -> None:
    truth = segments([[0, 0, 0, 1, 1, 2, 2, 2]], [1, 0])
    found = segments([[1, 1, 1, 1, 1, 2, 2, 2]], [1, 0])
    assert panoptic_quality(result_of((found, truth)), "things").pq == 1
    half = segments([[1, 1, 1, 0, 0, 1, 1, 2]], [2, 0])  # three of five pixels in void
    assert result_of((half, truth)).counts[0, 1].tolist() == [1, 0, 0]
    more = segments([[0, 1, 1, 0, 0, 1, 1, 2]], [2, 0])  # two of four: not more than half
    assert result_of((more, truth)).counts[0, 1].tolist() == [1, 0, 1]


def test_crowds_excuse_their_own_class_only() -> None:
    truth = segments([[1, 1, 1, 1, 2, 2]], [1, 0], crowd=[True, False])
    assert result_of((segments([[1, 1, 1, 0, 2, 2]], [1, 0]), truth)).counts[0].tolist() == [[1, 0, 0]] + [[0] * 3] * 2
    assert result_of((segments([[1, 1, 1, 0, 2, 2]], [2, 0]), truth)).counts[0, 1].tolist() == [0, 0, 1]


def test_empty_and_absent_cases() -> None:
    nothing, car = segments([[0, 0]], []), segments([[1, 1]], [1])
    assert np.isnan(panoptic_quality(result_of((nothing, nothing)))).all()
    assert panoptic_quality(result_of((nothing, car))) == (0, 0, 0)
    # All of the truth is void: nothing can be found, and nothing is a mistake.
    assert np.isnan(panoptic_quality(result_of((car, nothing)))).all()
    assert panoptic_quality(result_of((car, car))) == (1, 1, 1)
    # A segment without a pixel is none.
    assert panoptic_quality(result_of((segments([[1, 1]], [1, 2]), segments([[1, 1]], [1, 2])))) == (1, 1, 1)


def test_numbers_above_255() -> None:
    ids = np.arange(1, 401).reshape(20, 20)
    many = segments(ids, [1] * 400)
    assert result_of((many, many)).counts[0, 0, 1] == 400


def test_the_interval_holds_the_value() -> None:
    car, cut = segments([[1] * 10], [1]), segments([[1] * 8 + [2] * 2], [1, 0])
    pairs = [tuple(replace(one, name=f"{i}") for one in (cut if i % 3 else car, car)) for i in range(12)]
    result = result_of(*pairs)
    interval = panoptic_interval(result, group="things")
    assert interval.value == pytest.approx((4 + 8 * 0.8) / 12) and interval.low < interval.value < interval.high
    same = panoptic_interval(result, base=result, resamples=20)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    with pytest.raises(DataError, match="same images"):
        panoptic_interval(result, base=replace(result, names=result.names[::-1]))


def test_faults_are_named() -> None:
    meter = PanopticMeter(CLASSES, things=[1])
    with pytest.raises(DataError, match="no image"):
        meter.result()
    car = segments([[1, 1]], [1])
    meter.update(car, car)
    for predicted, truth, words in (
        (car, car, "twice"),
        (segments([[1]], [1]), replace(car, name="y"), "one size"),
        (segments([[1, 2]], [1]), replace(car, name="y"), "numbered 1 to 2"),
        (segments([[1, 1]], [3]), replace(car, name="y"), "labels 3 to 3"),
    ):
        with pytest.raises(DataError, match=words):
            meter.update(predicted, truth)
    for things, stuff in (([1], [1]), ([3], [])):
        with pytest.raises(ConfigError, match="labels"):
            PanopticMeter(CLASSES, things=things, stuff=stuff)


def test_every_score_is_defined_in_words() -> None:
    assert tuple(PANOPTIC_DEFINITIONS) == Quality._fields
