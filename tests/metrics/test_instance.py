"""COCO's AP and AR: values by hand, equality with pycocotools' own curves, and the empty, absent and ignored cases."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.instance import (
    AREAS,
    INSTANCE_DEFINITIONS,
    INSTANCE_STATISTICS,
    THRESHOLDS,
    InstanceMeter,
    InstanceResult,
    _coco,
    class_values,
    instance_interval,
    instance_scores,
    instance_value,
)
from maskwright.types import Instances

CLASSES = ("background", "a", "b")


def bars(name: str, *spans: tuple[int, int], labels=None, scores=None, height: int = 10, width: int = 200, **more):
    """Objects that are vertical bars from one column to another."""
    masks = []
    for start, stop in spans:
        mask = np.zeros((height, width), np.uint8, order="F")
        mask[:, start:stop] = 1
        masks.append(coco_mask.encode(mask))
    return Instances(
        name=name,
        size=(height, width),
        masks=tuple(masks),
        classes=np.array(labels or [1] * len(spans), np.int64),
        scores=np.array(scores or [1.0] * len(spans), np.float32),
        **more,
    )


def result_of(*pairs: tuple[Instances, Instances], **options) -> InstanceResult:
    meter = InstanceMeter(CLASSES, **options)
    for predicted, truth in pairs:
        meter.update(predicted, truth)
    return meter.result()


def random_bars(generator: np.random.Generator, name: str, count: int) -> Instances:
    starts = generator.integers(0, 150, count)
    return bars(
        name,
        *((int(s), int(s + w)) for s, w in zip(starts, generator.integers(2, 50, count), strict=True)),
        labels=generator.integers(1, 3, count).tolist() or None,
        scores=(generator.integers(1, 6, count) / 5).tolist() or None,
        height=30,
    )


@pytest.fixture(scope="module")
def random_result() -> tuple[list[tuple[Instances, Instances]], InstanceResult]:
    generator = np.random.default_rng(3)
    pairs = []
    for image in range(12):
        truth = random_bars(generator, str(image), int(generator.integers(0, 9)))
        truth = replace(truth, scores=np.ones(len(truth.masks), np.float32))
        crowd = generator.random(len(truth.masks)) < 0.15
        predicted = random_bars(generator, str(image), int(generator.integers(0, 14)))
        near = [mask for mask in truth.masks if generator.random() < 0.7]
        predicted = replace(
            predicted,
            masks=(*predicted.masks, *near),
            classes=np.concatenate([predicted.classes, generator.integers(1, 3, len(near))]),
            scores=np.concatenate([predicted.scores, generator.random(len(near))]).astype(np.float32),
        )
        pairs.append((predicted, replace(truth, crowd=crowd)))
    return pairs, result_of(*pairs)


def test_average_precision_by_hand() -> None:
    truth = bars("x", (0, 10), (20, 30), (40, 50), (60, 70))
    # In the order of scores: hit (IoU 1), miss, hit (IoU 0.8), hit (IoU 0.5), one object is never found.
    found = bars("x", (0, 10), (100, 110), (20, 28), (40, 45), scores=[0.9, 0.8, 0.7, 0.6])
    result = result_of((found, truth))
    # At IoU 0.5: precision 1 up to recall 1/4, then 3/4 up to 3/4, then nothing. Of 101 recalls 26, 50 and 25.
    assert instance_value(result, "ap50") == pytest.approx((26 + 50 * 0.75) / 101)
    assert instance_value(result, "ap75") == pytest.approx((26 + 25 * 2 / 3) / 101)
    # Two hits up to the threshold 0.8 (7 of 10, the first with three), one beyond.
    by_threshold = [(26 + 50 * 0.75) / 101] + [(26 + 25 * 2 / 3) / 101] * 6 + [26 / 101] * 3
    assert instance_value(result, "ap") == pytest.approx(np.mean(by_threshold))
    assert instance_value(result, "ar") == pytest.approx((3 + 2 * 6 + 3) / 10 / 4)
    assert instance_value(result, "ar_1") == pytest.approx(1 / 4)
    assert (result.true_objects, result.predicted_objects, result.crowded_images) == (4, 4, 0)


def test_a_perfect_prediction_scores_1_and_a_wrong_class_0() -> None:
    truth = bars("x", (0, 10), (20, 30), labels=[1, 2])
    scores = instance_scores(result_of((truth, truth)))
    assert [scores[name] for name in ("ap", "ap50", "ap_small", "ar", "ar_1")] == pytest.approx([1] * 5)
    assert np.isnan(scores["ap_large"])
    swapped = replace(truth, classes=truth.classes[::-1].copy())
    assert instance_value(result_of((swapped, truth)), "ap50") == 0


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_every_statistic_equals_pycocotools(random_result, kind: str) -> None:
    from pycocotools.cocoeval import COCOeval

    pairs, result = random_result
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = (_coco([pair[i] for pair in pairs], (1, 2), kind) for i in (1, 0))
        judge = COCOeval(truth, found, "segm" if kind == "mask" else "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    own = instance_scores(result, kind=kind)
    names = ["ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar"]
    expected = [np.nan if value == -1 else value for value in judge.stats[:9]]
    np.testing.assert_allclose([own[name] for name in names], expected, rtol=1e-12)
    assert 0.05 < own["ap50"] < 0.95 and list(AREAS) == judge.params.areaRngLbl
    assert np.allclose(judge.params.iouThrs, THRESHOLDS)


def test_weights_stand_for_copies_of_images(random_result) -> None:
    pairs, _ = random_result
    weights = np.array([0, 2, 1, 3, 0, 1, 1, 2, 0, 0, 1, 1])
    copies = [
        tuple(replace(one, name=f"{one.name} {copy}", scores=one.scores + np.float32(i / 97)) for one in pair)
        for i, (pair, count) in enumerate(zip(pairs, weights, strict=True))
        for copy in range(count)
    ]
    shifted = [
        tuple(replace(one, scores=one.scores + np.float32(i / 97)) for one in pair) for i, pair in enumerate(pairs)
    ]
    weighed = instance_scores_with(result_of(*shifted), weights.astype(float))
    for name, value in instance_scores(result_of(*copies)).items():
        assert weighed[name] == pytest.approx(value, nan_ok=True), name


def instance_scores_with(result: InstanceResult, weights: np.ndarray) -> dict[str, float]:
    return {name: instance_value(result, name, weights=weights) for name in INSTANCE_STATISTICS}


def test_empty_and_absent_cases() -> None:
    truth, nothing = bars("x", (0, 10)), bars("x")
    assert instance_value(result_of((nothing, truth)), "ap") == 0
    assert instance_value(result_of((nothing, truth)), "ar") == 0
    assert np.isnan(instance_value(result_of((truth, nothing)), "ap"))
    assert np.isnan(instance_value(result_of((nothing, nothing)), "ap50"))
    # Class 2 is predicted, but nowhere in the truth: it takes no part in the mean.
    both = bars("x", (0, 10), (20, 30), labels=[1, 2])
    assert class_values(result_of((both, truth)), "ap").tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert instance_value(result_of((both, truth)), "ap") == pytest.approx(1)
    # A prediction on another image without truth costs precision.
    assert instance_value(result_of((truth, truth), (bars("y", (5, 9)), bars("y"))), "ap50") == pytest.approx(1)
    sure = bars("y", (5, 9), scores=[2.0])
    assert instance_value(result_of((truth, truth), (sure, bars("y"))), "ap50") == pytest.approx(0.5)


def test_crowds_are_neither_found_nor_missed() -> None:
    truth = bars("x", (0, 10), (20, 100), crowd=np.array([False, True]))
    found = bars("x", (0, 10), (30, 40), (60, 70))
    result = result_of((found, truth))
    assert instance_value(result, "ap") == pytest.approx(1) and result.true_objects == 1
    all_crowd = bars("x", (0, 10), crowd=np.array([True]))
    assert np.isnan(instance_value(result_of((found, all_crowd)), "ap"))


def test_no_more_than_max_detections_of_each_image_count() -> None:
    many = bars("x", *((i, i + 1) for i in range(150)))
    capped, full = (result_of((many, many), max_detections=most) for most in (100, 300))
    assert instance_value(capped, "ar") == pytest.approx(100 / 150) and capped.crowded_images == 1
    assert instance_value(full, "ar") == pytest.approx(1) and full.crowded_images == 0


def test_more_than_255_objects_in_an_image() -> None:
    many = bars("x", *((i, i + 1) for i in range(300)), width=300)
    assert instance_value(result_of((many, many), max_detections=400), "ap") == pytest.approx(1)


def test_given_boxes_and_areas_are_taken() -> None:
    truth = bars("x", (0, 10), boxes=np.array([[50, 0, 10, 10]], np.float32), areas=np.array([5000.0]))
    found = bars("x", (0, 10), boxes=np.array([[50, 0, 10, 10]], np.float32))
    result = result_of((found, truth))
    assert instance_value(result, "ap", kind="box") == instance_value(result, "ap_medium") == pytest.approx(1)
    assert np.isnan(instance_value(result, "ap_small"))
    assert instance_value(result_of((bars("x", (0, 10)), truth)), "ap", kind="box") == 0


def test_the_interval_holds_the_value_and_equal_results_do_not_differ(random_result) -> None:
    _, result = random_result
    interval = instance_interval(result, "ap50", resamples=100)
    assert interval.low < interval.value < interval.high
    assert interval.value == instance_value(result, "ap50")
    same = instance_interval(result, "ap", base=result, resamples=20)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    with pytest.raises(DataError, match="same images"):
        instance_interval(result, base=replace(result, names=result.names[::-1]))


def test_intervals_that_would_take_too_long_are_unknown(random_result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskwright.metrics.instance.INTERVAL_DETECTIONS", 10)
    interval = instance_interval(random_result[1], "ap50")
    assert np.isfinite(interval.value) and np.isnan(interval.low)


def test_faults_are_named() -> None:
    meter = InstanceMeter(CLASSES)
    with pytest.raises(DataError, match="no image"):
        meter.result()
    meter.update(bars("x"), bars("x"))
    for predicted, truth, words in (
        (bars("x"), bars("x"), "twice"),
        (bars("y", height=5), bars("y"), "pixels"),
        (bars("y", (0, 1), labels=[3]), bars("y"), "labels 3 to 3"),
        (bars("y"), bars("y", (0, 1), labels=[3]), "true objects"),
    ):
        with pytest.raises(DataError, match=words):
            meter.update(predicted, truth)
    with pytest.raises(ConfigError, match="background"):
        InstanceMeter(("background",))
    with pytest.raises(ConfigError, match="max_detections"):
        InstanceMeter(CLASSES, max_detections=5)
    with pytest.raises(ConfigError, match="ap50"):
        class_values(meter.result(), "ap60")


def test_every_statistic_is_defined_in_words() -> None:
    assert INSTANCE_DEFINITIONS.keys() == INSTANCE_STATISTICS.keys()
