"""Region scores against loops over pixels and pairs of pixels, scikit-image and scikit-learn, and worked examples."""

import itertools
from dataclasses import fields
from functools import partial
from math import comb, isnan, log2, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import metrics as skimage_metrics
from sklearn import metrics as sklearn_metrics
from sklearn.metrics import cluster as sklearn_cluster

from maskwright.errors import DataError
from maskwright.metrics.partition import (
    DEFINITIONS,
    PartitionScores,
    covering,
    partition_scores,
    probabilistic_rand_index,
    variation_of_information,
)

MEASURES = (covering, probabilistic_rand_index, variation_of_information)
NAMES = tuple(measure.__name__ for measure in MEASURES)
DTYPES = (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.int64, np.uint64)

close = partial(pytest.approx, rel=1e-12, abs=1e-12, nan_ok=True)


# The definitions as loops. A region is a set of pixels (y, x).


def loop_regions(labels, scored):
    found = {}
    for y, x in scored:
        found.setdefault(int(labels[y, x]), set()).add((y, x))
    return [found[label] for label in sorted(found)]


def loop_scored(truth, ignore_index):
    return [pixel for pixel in np.ndindex(truth.shape) if int(truth[pixel]) != ignore_index]


def loop_covering(segmentation, truths, ignore_index=None):
    covered = area = 0
    for truth in truths:
        scored = loop_scored(truth, ignore_index)
        segments = loop_regions(segmentation, scored)
        for region in loop_regions(truth, scored):
            covered += len(region) * max(len(region & other) / len(region | other) for other in segments)
            area += len(region)
    return covered / area if area else nan


def loop_rand_index(segmentation, truths, ignore_index=None):
    values = []
    for truth in truths:
        pairs = list(itertools.combinations(loop_scored(truth, ignore_index), 2))
        agreed = sum((segmentation[p] == segmentation[q]) == (truth[p] == truth[q]) for p, q in pairs)
        if pairs:
            values.append(agreed / len(pairs))
        elif loop_scored(truth, ignore_index):
            values.append(1.0)
    return sum(values) / len(values) if values else nan


def loop_information(segmentation, truths, ignore_index=None):
    values = []
    for truth in truths:
        scored = loop_scored(truth, ignore_index)
        if scored:
            of_truth, of_segments = loop_regions(truth, scored), loop_regions(segmentation, scored)
            shared = [one & other for one in of_truth for other in of_segments]
            values.append(2 * entropy(shared) - entropy(of_truth) - entropy(of_segments))
    return sum(values) / len(values) if values else nan


def entropy(regions):
    pixels = sum(len(region) for region in regions)
    return -sum(len(region) / pixels * log2(len(region) / pixels) for region in regions if region)


LOOPS = (loop_covering, loop_rand_index, loop_information)


@st.composite
def images(draw, max_side=5, truths=3):
    """A segmentation and some truths of one size, each of its own dtype, with labels near by or far apart."""
    shape = (draw(st.integers(1, max_side)), draw(st.integers(1, max_side)))
    maps = []
    for _ in range(1 + draw(st.integers(1, truths))):
        dtype = draw(st.sampled_from(DTYPES))
        bounds = np.iinfo(dtype)
        near = st.integers(max(bounds.min, -2), 3)
        far = st.sampled_from([bounds.min, bounds.max, 1])
        maps.append(draw(hnp.arrays(dtype, shape, elements=draw(st.sampled_from([near, far])))))
    return maps[0], maps[1:]


@given(images(), st.sampled_from([None, 0, 1, -1, 127]))
def test_equal_to_loops_over_pixels_and_pairs(image, ignore_index):
    segmentation, truths = image
    for measure, loop in zip(MEASURES, LOOPS, strict=True):
        expected = loop(segmentation, truths, ignore_index)
        assert measure(segmentation, truths, ignore_index=ignore_index) == close(expected)


@given(images(max_side=8))
def test_the_record_holds_the_same_scores_and_the_regions_that_make_the_covering(image):
    segmentation, truths = image
    scores = partition_scores(segmentation, truths)
    for measure, name in zip(MEASURES, NAMES, strict=True):
        assert getattr(scores, name) == measure(segmentation, truths)
    assert scores.regions == len(np.unique(segmentation))
    areas = [np.unique(truth, return_counts=True)[1] for truth in truths]
    assert scores.region_area.dtype == np.int64
    assert scores.region_area.tolist() == np.concatenate(areas).tolist()
    assert scores.region_iou @ scores.region_area / scores.region_area.sum() == close(scores.covering)


@given(images(max_side=8, truths=1))
def test_equal_to_scikit_image(image):
    # Numbered anew: it counts up to the largest label and takes no negative ones.
    segmentation, truth = (np.unique(m, return_inverse=True)[1].reshape(m.shape) for m in (image[0], image[1][0]))
    split_and_merge = skimage_metrics.variation_of_information(truth, segmentation, ignore_labels=())
    assert variation_of_information(segmentation, truth) == close(split_and_merge.sum())

    in_truth, in_segments = (sum(comb(int(n), 2) for n in np.bincount(m.ravel())) for m in (truth, segmentation))
    if in_truth and in_segments:
        # 1 - F of the joined pairs, so the share that segmentation and truth do not join alike.
        error, _, _ = skimage_metrics.adapted_rand_error(truth, segmentation, ignore_labels=())
        expected = 1 - error * (in_truth + in_segments) / comb(truth.size, 2)
        assert probabilistic_rand_index(segmentation, truth) == close(expected)


@given(images(max_side=8, truths=1))
def test_equal_to_scikit_learn(image):
    segmentation, (truth,) = image
    flat = truth.reshape(-1), segmentation.reshape(-1)
    mutual_nats = sklearn_metrics.mutual_info_score  # of a map with itself: its entropy
    assert probabilistic_rand_index(segmentation, truth) == close(sklearn_metrics.rand_score(*flat))
    own, shared = sum(mutual_nats(m, m) for m in flat), mutual_nats(*flat)
    assert variation_of_information(segmentation, truth) == close((own - 2 * shared) / np.log(2))

    counts = sklearn_cluster.contingency_matrix(*flat)
    area = counts.sum(axis=1)
    iou = counts / (area[:, None] + counts.sum(axis=0) - counts)
    assert covering(segmentation, truth) == close(float(iou.max(axis=1) @ area / area.sum()))


# What must hold whatever the maps.


@given(images(max_side=8), st.integers(0, 2**32 - 1))
def test_labels_mean_nothing(image, seed):
    segmentation, truths = image
    generator = np.random.default_rng(seed)

    def relabelled(labels):
        values, index = np.unique(labels, return_inverse=True)
        new = generator.choice(2**40, size=values.size, replace=False) - 2**39
        return new[index].reshape(labels.shape)

    for measure in MEASURES:
        others = measure(relabelled(segmentation), [relabelled(truth) for truth in truths])
        assert others == close(measure(segmentation, truths))


@given(images(max_side=8, truths=1))
def test_equal_partitions_score_exactly_best_and_others_worse(image):
    segmentation, (truth,) = image
    assert [measure(truth, truth) for measure in MEASURES] == [1, 1, 0]
    equal = number(common_refinement(segmentation, truth)) == number(segmentation) == number(truth)
    values = [measure(segmentation, truth) for measure in MEASURES]
    assert (values == [1, 1, 0]) == equal
    assert 0 < values[0] <= 1
    assert 0 <= values[1] <= 1
    assert 0 <= values[2] <= log2(truth.size) + 1e-12


def common_refinement(one, other):
    """The regions that both maps part, numbered."""
    numbers = {pair: index for index, pair in enumerate(sorted(set(zip(one.flat, other.flat, strict=True))))}
    return np.array([numbers[pair] for pair in zip(one.flat, other.flat, strict=True)]).reshape(one.shape)


def number(labels):
    return len(set(labels.flat))


@given(images(max_side=8, truths=1))
def test_rand_index_and_information_are_symmetric(image):
    segmentation, (truth,) = image
    for measure in (probabilistic_rand_index, variation_of_information):
        assert measure(segmentation, truth) == close(measure(truth, segmentation))


@given(images(max_side=8, truths=2))
def test_information_is_a_distance_and_adds_up_along_refinements(image):
    one, others = image
    two, three = others[0], others[-1]
    detour = variation_of_information(one, two) + variation_of_information(two, three)
    assert variation_of_information(one, three) <= detour + 1e-12
    finer, whole = common_refinement(one, two), np.zeros_like(one)
    through = variation_of_information(finer, one) + variation_of_information(one, whole)
    assert variation_of_information(finer, whole) == close(through)


@given(images(max_side=8, truths=1))
def test_splitting_on_where_the_segmentation_refines_the_truth_helps_no_score(image):
    segmentation, (truth,) = image
    finer, finest = common_refinement(segmentation, truth), np.arange(truth.size).reshape(truth.shape)
    assert covering(finer, truth) >= covering(finest, truth) - 1e-12
    assert probabilistic_rand_index(finer, truth) >= probabilistic_rand_index(finest, truth)
    assert variation_of_information(finer, truth) <= variation_of_information(finest, truth) + 1e-12


@given(images())
def test_several_truths_are_the_mean_and_in_the_covering_weighted_by_scored_pixels(image):
    segmentation, truths = image
    alone = [partition_scores(segmentation, truth, ignore_index=1) for truth in truths]
    together = partition_scores(segmentation, truths, ignore_index=1)
    for name in NAMES[1:]:
        known = [value for value in (getattr(scores, name) for scores in alone) if not isnan(value)]
        assert getattr(together, name) == close(sum(known) / len(known) if known else nan)
    areas = [int(scores.region_area.sum()) for scores in alone]
    covered = sum(area * scores.covering for area, scores in zip(areas, alone, strict=True) if area)
    assert together.covering == close(covered / sum(areas) if sum(areas) else nan)


# By hand.

HALVES = np.array([[0, 0, 1, 1]] * 2)
QUARTERS = np.array([[0, 0, 1, 1], [2, 2, 3, 3]])
UNEVEN = np.array([[5, 5, 5, -7]] * 2)
ONE = np.zeros((2, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("segmentation", "truths", "expected"),
    [
        # 28 pairs; 6 + 6 joined in a half, 1 each in the quarters.
        (QUARTERS, HALVES, (1 / 2, 20 / 28, 1.0)),
        (HALVES, QUARTERS, (1 / 2, 20 / 28, 1.0)),
        (ONE, HALVES, (1 / 2, 12 / 28, 1.0)),
        (HALVES, ONE, (1 / 2, 12 / 28, 1.0)),
        (ONE, QUARTERS, (1 / 4, 4 / 28, 2.0)),
        # Left half in six pixels: 4 / 6; right half: 2 of its 4 in a region of 2, or 2 of 8.
        (UNEVEN, HALVES, ((4 * 4 / 6 + 4 * 1 / 2) / 8, 16 / 28, 2 * 1.5 - 1 - (2 - 0.75 * log2(3)))),
        (HALVES, [HALVES, ONE], (3 / 4, (1 + 12 / 28) / 2, 0.5)),
    ],
)
def test_worked_examples(segmentation, truths, expected):
    assert tuple(measure(segmentation, truths) for measure in MEASURES) == close(expected)


def test_ignored_pixels_count_for_the_truth_that_holds_them_only():
    with_border = np.array([[0, 0, 9, 1]] * 2)
    # Without the third column the second region of the segmentation has 2 pixels and fits.
    assert [measure(HALVES, with_border, ignore_index=9) for measure in MEASURES] == [1, 1, 0]
    scores = partition_scores(HALVES, [with_border, ONE], ignore_index=9)
    assert scores.region_area.tolist() == [4, 2, 8]
    assert scores.region_iou.tolist() == [1, 1, 0.5]
    assert scores.covering == (6 + 4) / 14


def test_a_truth_that_is_ignored_altogether_is_left_out_and_without_another_there_is_no_score():
    hidden = np.full((2, 4), 9)
    for measure in MEASURES:
        assert measure(QUARTERS, [HALVES, hidden], ignore_index=9) == measure(QUARTERS, HALVES)
        assert isnan(measure(QUARTERS, [hidden, hidden], ignore_index=9))
    assert partition_scores(QUARTERS, hidden, ignore_index=9).region_area.size == 0


def test_one_pixel():
    assert [measure(np.array([[3]]), np.array([[-8]])) for measure in MEASURES] == [1, 1, 0]


def test_tensors_booleans_and_a_stack_of_truths_are_taken():
    mask = HALVES.astype(bool)
    for measure in MEASURES:
        expected = measure(QUARTERS, [HALVES, ONE])
        assert measure(torch.from_numpy(QUARTERS), [torch.from_numpy(HALVES), ONE]) == expected
        assert measure(QUARTERS, np.stack([HALVES, ONE])) == expected
        assert measure(QUARTERS, torch.from_numpy(mask)) == measure(QUARTERS, HALVES)


# Large maps.


def test_more_than_2_to_the_24_pixels_are_counted_exactly():
    side = 4100  # float32 loses count in the large region, int32 in the pairs
    truth = np.zeros((side, side), dtype=np.uint8)
    truth[:, -1] = 1
    large, row = (side - 1) ** 2, side - 1
    assert large > 2**24
    scores = partition_scores(truth.T.copy(), truth)
    parted = 2 * (large * row + row)
    assert scores.probabilistic_rand_index == 1 - parted / comb(side**2, 2)
    assert scores.region_area.tolist() == [side * row, side]
    assert scores.region_iou.tolist() == [large / (large + 2 * row), row / (side**2 - row)]
    conditional = (entropy([range(large), range(row)]) * row + entropy([range(row), range(1)])) / side
    assert scores.variation_of_information == pytest.approx(2 * conditional, rel=1e-9)


def test_a_hundred_thousand_regions_against_a_hundred_thousand():
    y, x = np.mgrid[:1000, :1000]
    fine = (y // 2) * 500 + x // 4  # 2 by 4, of which two make a block of 4 by 4 rows
    coarse = (y // 4) * 500 + x // 4
    fine = fine.astype(np.int64) * 10**12
    assert partition_scores(fine, coarse).regions == 500 * 250
    assert covering(fine, coarse) == close(0.5)
    assert covering(coarse, fine) == close(0.5)
    assert variation_of_information(fine, coarse) == close(1)


# What is refused.


@pytest.mark.parametrize("measure", [*MEASURES, partition_scores])
@pytest.mark.parametrize(
    ("segmentation", "truths", "message"),
    [
        (HALVES, [], "without a truth; got none"),
        (HALVES, HALVES[:, :3], "segmentation is 2x4 but truth 1 of 1 is 2x3"),
        (HALVES, [HALVES, HALVES.T], "truth 2 of 2 is 4x2"),
        (HALVES.astype(float), HALVES, "the segmentation is float64 of shape"),
        (HALVES, [HALVES, HALVES.astype(np.float32)], "the truth 2 of 2 is float32"),
        (HALVES, HALVES[0], "integer label of its region"),
        (HALVES[None], HALVES, "the segmentation is int64 of shape"),
        (HALVES[:0], HALVES[:0], "holds no pixel"),
    ],
)
def test_bad_maps_are_refused_by_name(measure, segmentation, truths, message):
    with pytest.raises(DataError, match=message):
        measure(segmentation, truths)


def test_every_field_is_defined():
    assert list(DEFINITIONS) == [field.name for field in fields(PartitionScores)]
