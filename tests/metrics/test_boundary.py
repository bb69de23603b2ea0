"""Boundary scores against pixel loops and the published forms, and the documented values of the odd cases."""

from dataclasses import fields
from functools import partial
from math import ceil, dist, hypot, inf, isnan, nan
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import ndimage

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.boundary import (
    DAVIS_SHARE,
    DEFINITIONS,
    BoundaryScores,
    boundary_f,
    boundary_iou,
    boundary_scores,
    diagonal_share,
    mean_boundary_accuracy,
    trimap_iou,
)
from reference import boundary_values_of_masks

IGNORED = 255
ALL = (boundary_iou, mean_boundary_accuracy, partial(trimap_iou, radius=2.0), boundary_f)
SCORES = ("boundary_iou", "mean_boundary_accuracy", "trimap_iou", "boundary_f", "davis_f")
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


# The definitions as loops over pixels. A measure takes four sets of (y, x) and the shape, and gives None where there is
# nothing to measure.


def loop_score(measure, prediction, target, num_classes, *, border_share=0.05, empty=1.0):
    labels = {(y, x): int(target[y, x]) for y, x in np.ndindex(target.shape)}
    scored = {p for p, label in labels.items() if label != IGNORED}
    values = []
    for label in [1] if num_classes == 2 else sorted({labels[p] for p in scored}):
        true = {p for p in scored if labels[p] == label}
        rest = scored - true
        predicted = {p for p in scored if prediction[p] == label}
        reach = border_share * hypot(*target.shape)
        border = {p for p in set(labels) - scored if near(p, true, reach) and near(p, rest, reach)}
        value = measure(predicted, true, rest, border, target.shape) if scored else nan
        if value is None and true and rest:
            value = nan
        if value is None:
            value = empty if predicted == true else 0.0
        values.append(value)
    known = [value for value in values if not isnan(value)]
    return sum(known) / len(known) if known else nan


def near(pixel, others, reach):
    return any(dist(pixel, other) <= reach * (1 + 1e-12) for other in others)


def iou(one, other):
    return len(one & other) / len(one | other) if one | other else None


def loop_boundary_iou(predicted, true, rest, border, shape, *, share):
    steps = max(1, round(share * hypot(*shape)))

    def taken(y, x, others):
        return (y, x) in others or not (0 <= y < shape[0] and 0 <= x < shape[1])

    def band(mask, others):
        moves = range(-steps, steps + 1)
        return {(y, x) for y, x in mask if any(taken(y + dy, x + dx, others) for dy in moves for dx in moves)}

    return iou(band(predicted, ((true | rest) - predicted) | border), band(true, rest | border))


def loop_mean_boundary_accuracy(predicted, true, rest, border, shape):
    """For images with height + width up to 300, where all five ellipses are the cross of radius 1."""
    assert sum(shape) <= 300
    band = {p for p in true if near(p, rest | border, 1)} | {p for p in rest if near(p, true | border, 1)}
    return sum((p in predicted) == (p in true) for p in band) / len(band) if band else None


def loop_trimap_iou(predicted, true, rest, border, shape, *, radius):
    band = {p for p in true if near(p, rest | border, radius)} | {p for p in rest if near(p, true | border, radius)}
    return iou(predicted & band, true & band)


def loop_boundary_f(predicted, true, rest, border, shape, *, share):
    def touched(mask):
        """Corners (y + ½, x + ½) that touch the mask, named by their pixel (y, x)."""
        return {(y, x) for y, x in np.ndindex(shape) if mask & {(y, x), (y + 1, x), (y, x + 1), (y + 1, x + 1)}}

    found = touched(predicted) & touched((true | rest) - predicted)
    wanted = touched(true) & touched(rest)
    tolerance = ceil(share * hypot(*shape))
    if not wanted:
        return None
    if not found:
        return 0.0
    precision = sum(near(p, wanted | touched(border), tolerance) for p in found) / len(found)
    recall = sum(near(p, found, tolerance) for p in wanted) / len(wanted)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@st.composite
def label_maps(draw, ignored=True, max_side=7, margin=0):
    """Number of classes, prediction and target; `margin` pixels of background all around."""
    num_classes = draw(st.integers(2, 3))
    shape = (draw(st.integers(1, max_side)), draw(st.integers(1, max_side)))
    classes = st.integers(0, num_classes - 1)
    labels = classes | st.just(IGNORED) if ignored else classes
    maps = [draw(hnp.arrays(np.uint8, shape, elements=elements)) for elements in (classes, labels)]
    return num_classes, *(np.pad(labels, margin) for labels in maps)


shares = st.floats(0.02, 0.6)
border_shares = st.sampled_from([0.0, 0.05, 0.3, 0.5, inf])


@given(label_maps(), shares, border_shares)
@settings(max_examples=80, deadline=None)
def test_boundary_iou_equals_loops(case, share, border_share):
    num_classes, prediction, target = case
    expected = loop_score(
        partial(loop_boundary_iou, share=share), prediction, target, num_classes, border_share=border_share
    )
    found = boundary_iou(prediction, target, num_classes=num_classes, share=share, border_share=border_share)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(label_maps(), border_shares)
@settings(max_examples=80, deadline=None)
def test_mean_boundary_accuracy_equals_loops(case, border_share):
    num_classes, prediction, target = case
    expected = loop_score(loop_mean_boundary_accuracy, prediction, target, num_classes, border_share=border_share)
    found = mean_boundary_accuracy(prediction, target, num_classes=num_classes, border_share=border_share)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_pixel_exactly_as_far_away_as_the_border_reaches_is_near():
    target = np.ones((4, 6), np.uint8)
    target[0, 0], target[2, 3] = 0, IGNORED
    assert 0.5 * hypot(4, 6) * (0.5 * hypot(4, 6)) < 13 == 2**2 + 3**2
    found = boundary_scores(np.zeros_like(target), target, num_classes=2, border_share=0.5)
    wider = boundary_scores(np.zeros_like(target), target, num_classes=2, border_share=0.51)
    assert found.mean_boundary_accuracy == wider.mean_boundary_accuracy


@given(label_maps(), st.floats(1, 6) | st.sampled_from([1, 2, 5, 1e9]), border_shares)
@settings(max_examples=80, deadline=None)
def test_trimap_iou_equals_loops(case, radius, border_share):
    num_classes, prediction, target = case
    expected = loop_score(
        partial(loop_trimap_iou, radius=radius), prediction, target, num_classes, border_share=border_share
    )
    found = trimap_iou(prediction, target, radius, num_classes=num_classes, border_share=border_share)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(label_maps(), shares, border_shares)
@settings(max_examples=80, deadline=None)
def test_boundary_f_equals_loops(case, share, border_share):
    num_classes, prediction, target = case
    expected = loop_score(
        partial(loop_boundary_f, share=share), prediction, target, num_classes, border_share=border_share
    )
    found = boundary_f(prediction, target, num_classes=num_classes, share=share, border_share=border_share)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def blobs(shape, seed=0, smooth=4):
    """Two smooth masks that agree for the most part."""
    rng = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(rng.standard_normal(shape), smooth)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), smooth)
    return truth + 0.4 * noise > 0, truth > 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize(
    ("shape", "share", "border_share"),
    [((61, 130), 0.02, 0.05), ((130, 64), 0.11, 0.05), ((200, 63), 0.04, inf), ((70, 300), 0.3, 0.0)],
)
def test_scores_equal_those_of_boolean_masks(shape, share, border_share, num_classes, dtype):
    """Larger images than loops over pixels can do: several words to a row, bands longer than a word."""
    generator = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(generator.standard_normal((3, *shape)), (0, 5, 5))
    truth, noise, hidden = smooth / smooth.std()
    bounds = np.linspace(-1, 1, num_classes + 1)[1:-1]
    target = np.digitize(truth, bounds).astype(dtype)
    prediction = np.digitize(truth + 0.3 * noise, bounds).astype(dtype)
    target[hidden > 1] = IGNORED
    labels = [1] if num_classes == 2 else range(num_classes)
    expected = [
        boundary_values_of_masks(prediction, target, label, share=share, border_share=border_share) for label in labels
    ]
    options = {"num_classes": num_classes, "border_share": border_share}
    found = {
        "boundary_iou": boundary_iou(prediction, target, share=share, **options),
        "mean_boundary_accuracy": mean_boundary_accuracy(prediction, target, **options),
        "trimap_iou": trimap_iou(prediction, target, diagonal_share(shape, share), **options),
        "boundary_f": boundary_f(prediction, target, share=share, **options),
    }
    for name, value in found.items():
        assert 0 < value <= 1
        assert value == pytest.approx(np.nanmean([values[name] for values in expected]), rel=1e-12)


def test_boundary_iou_is_the_published_form():
    """3×3 erosions of the mask, padded with zeros: 2 % of the diagonal are 2.6, hence 3."""
    prediction, target = blobs((50, 120))
    padded = [np.pad(mask, 1) for mask in (prediction, target)]
    bands = [mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=3) for mask in padded]
    expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    assert boundary_iou(prediction, target, num_classes=2) == expected


# What OpenCV's getStructuringElement(MORPH_ELLIPSE) gives: half-widths of the rows, top to bottom.
OPENCV_ELLIPSES = {1: [0, 1, 0], 2: [0, 2, 2, 2, 0], 3: [0, 2, 3, 3, 3, 2, 0]}


@pytest.mark.parametrize(
    ("shape", "radii"),
    [
        pytest.param((20, 60), [1, 1, 1, 1, 1], id="radius 1 although R is below 1"),
        pytest.param((20, 655), [1, 1, 1, 1, 2], id="R 2.25"),
        pytest.param((20, 1180), [1, 1, 2, 2, 3], id="R 4"),
    ],
)
def test_mean_boundary_accuracy_is_the_published_form(shape, radii):
    """The mean over five morphological gradients; a sum by hand, with the ellipses written out."""
    prediction, target = blobs(shape)
    accuracies = []
    for radius in radii:
        columns = np.abs(np.arange(-radius, radius + 1))
        ellipse = np.array([columns <= half_width for half_width in OPENCV_ELLIPSES[radius]])
        band = ndimage.grey_dilation(target.astype(int), footprint=ellipse, mode="constant", cval=0)
        band -= ndimage.grey_erosion(target.astype(int), footprint=ellipse, mode="constant", cval=1)
        accuracies.append((prediction == target)[band > 0].mean())
    found = mean_boundary_accuracy(prediction, target, num_classes=2)
    assert found == pytest.approx(sum(accuracies) / 5, rel=1e-12)


@pytest.mark.parametrize("share", [0.0075, DAVIS_SHARE, 0.02])
def test_boundary_f_is_the_form_of_davis(share):
    prediction, target = blobs((90, 120), smooth=3)
    radius = ceil(share * 150)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    edges, reached = [], []
    for mask in (prediction, target):
        # A pixel is edge if its neighbour to the right, below or across differs; the last column has only one below.
        edge = np.zeros_like(mask)
        edge[:-1, :-1] = (mask[:-1, :-1] != mask[1:, :-1]) | (mask[:-1, :-1] != mask[:-1, 1:])
        edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
        edge[-1, :-1] = mask[-1, :-1] != mask[-1, 1:]
        edge[:-1, -1] = mask[:-1, -1] != mask[1:, -1]
        edges.append(edge)
        reached.append(ndimage.binary_dilation(edge, x * x + y * y <= radius * radius))
    precision, recall = reached[1][edges[0]].mean(), reached[0][edges[1]].mean()
    assert precision != recall
    found = boundary_f(prediction, target, num_classes=2, share=share)
    assert found == pytest.approx(2 * precision * recall / (precision + recall), rel=1e-12)


def test_the_worked_example():
    """A square of 4×4 in 8×10 pixels, predicted one column too far to the right."""
    target, prediction = np.zeros((2, 8, 10), np.uint8)
    target[2:6, 2:6] = 1
    prediction[2:6, 3:7] = 1
    # Both bands are rings of 12 pixels; they share the top and bottom rows but for one pixel of each: 2 · 3.
    assert boundary_iou(prediction, target, num_classes=2) == 6 / 18
    # One pixel to either side: 12 inside, 16 outside; 4 + 4 are wrong.
    assert mean_boundary_accuracy(prediction, target, num_classes=2) == 20 / 28
    # Inside the band 8 of the 12 true pixels are found, and 4 are wrong.
    assert trimap_iou(prediction, target, 1, num_classes=2) == 8 / 16
    # At radius 2 the whole square is in the band.
    assert trimap_iou(prediction, target, 2, num_classes=2) == 12 / 20
    # The corners of the pixels lie on a closed line of 16 points, moved by 1: all are within the tolerance of 1 px.
    assert boundary_f(prediction, target, num_classes=2) == 1.0
    # Moved by 2: near are 4 of the 5 points at the top, 4 at the bottom, and 2 on the side inside the other square.
    moved = np.roll(prediction, 1, axis=1)
    assert boundary_f(moved, target, num_classes=2) == (4 + 4 + 2) / 16


def of_all(prediction, target, num_classes):
    return [measure(prediction, target, num_classes=num_classes) for measure in ALL]


@given(label_maps())
@settings(max_examples=60, deadline=None)
def test_scores_lie_between_0_and_1_and_equal_masks_score_1(case):
    num_classes, prediction, target = case
    assert all(isnan(value) or 0 <= value <= 1 for value in of_all(prediction, target, num_classes))
    same = np.where(target == IGNORED, prediction, target)
    assert all(isnan(value) or value == 1 for value in of_all(same, target, num_classes))


@given(label_maps(ignored=False))
@settings(max_examples=60, deadline=None)
def test_without_ignored_pixels_every_score_is_defined(case):
    num_classes, prediction, target = case
    assert not any(isnan(value) for value in of_all(prediction, target, num_classes))


@given(label_maps(ignored=False))
@settings(max_examples=60, deadline=None)
def test_boundary_iou_and_f_are_symmetric_for_masks_that_have_an_edge(case):
    _, prediction, target = case
    one, other = prediction == 1, target == 1
    assume(0 < one.sum() < one.size and 0 < other.sum() < other.size)
    for measure in (boundary_iou, boundary_f):
        forth, back = measure(one, other, num_classes=2), measure(other, one, num_classes=2)
        assert forth == pytest.approx(back, rel=1e-12)


@given(label_maps(ignored=False))
@settings(max_examples=60, deadline=None)
def test_boundary_f_and_accuracy_of_the_background_equal_those_of_the_foreground(case):
    _, prediction, target = case
    one, other = prediction == 1, target == 1
    for measure in (mean_boundary_accuracy, boundary_f):
        foreground, background = measure(one, other, num_classes=2), measure(~one, ~other, num_classes=2)
        assert foreground == background


FLIPS = {"up": lambda labels: labels[::-1], "left": lambda labels: labels[:, ::-1], "both": lambda m: m[::-1, ::-1]}


@given(label_maps())
@settings(max_examples=60, deadline=None)
def test_a_transposed_image_scores_the_same(case):
    num_classes, prediction, target = case
    expected = of_all(prediction, target, num_classes)
    np.testing.assert_allclose(of_all(prediction.T, target.T, num_classes), expected, rtol=1e-12)


@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS)
@given(case=label_maps(margin=1))
@settings(max_examples=30, deadline=None)
def test_a_flipped_image_scores_the_same(flip, case):
    num_classes, prediction, target = case
    expected = of_all(prediction, target, num_classes)
    np.testing.assert_allclose(of_all(flip(prediction), flip(target), num_classes), expected, rtol=1e-12)


@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS)
@given(case=label_maps())
@settings(max_examples=30, deadline=None)
def test_where_the_edge_meets_the_frame_only_boundary_f_notices_a_flip(flip, case):
    num_classes, prediction, target = case
    expected = of_all(prediction, target, num_classes)
    np.testing.assert_allclose(of_all(flip(prediction), flip(target), num_classes)[:-1], expected[:-1], rtol=1e-12)


@given(label_maps(), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_predictions_of_ignored_pixels_do_not_matter(case, label):
    num_classes, prediction, target = case
    other = np.where(target == IGNORED, np.uint8(label), prediction)
    np.testing.assert_equal(of_all(other, target, num_classes), of_all(prediction, target, num_classes))


EMPTY, FULL, ALL_IGNORED = np.zeros((4, 5), int), np.ones((4, 5), int), np.full((4, 5), IGNORED)
HALF = np.repeat([[0, 0, 1, 1, 1]], 4, axis=0)


@pytest.mark.parametrize(
    ("prediction", "target", "empty", "expected"),
    [
        pytest.param(EMPTY, EMPTY, 1.0, [1, 1, 1, 1], id="both empty scores 1"),
        pytest.param(EMPTY, EMPTY, 0.0, [0, 0, 0, 0], id="both empty scores 0 on request"),
        pytest.param(EMPTY, EMPTY, nan, [nan] * 4, id="both empty is left out on request"),
        pytest.param(HALF, EMPTY, 1.0, [0, 0, 0, 0], id="prediction without truth scores 0"),
        pytest.param(FULL, EMPTY, 1.0, [0, 0, 0, 0], id="full against empty scores 0 though neither has an edge"),
        pytest.param(EMPTY, FULL, 1.0, [0, 0, 0, 0], id="empty against full scores 0"),
        pytest.param(FULL, FULL, 0.5, [1, 0.5, 0.5, 0.5], id="both full: the frame counts for Boundary IoU alone"),
        pytest.param(EMPTY, HALF, 1.0, [0, 0.5, 0, 0], id="truth without prediction: accuracy still finds one side"),
        pytest.param(HALF, ALL_IGNORED, 1.0, [nan] * 4, id="all ignored has no score"),
        pytest.param(EMPTY, ALL_IGNORED, 1.0, [nan] * 4, id="all ignored is not empty"),
        pytest.param(EMPTY[:0], EMPTY[:0], 1.0, [nan] * 4, id="no pixel has no score"),
        pytest.param(EMPTY[:1, :1], EMPTY[:1, :1], 1.0, [1] * 4, id="1x1, empty"),
        pytest.param(FULL[:1, :1], EMPTY[:1, :1], 1.0, [0] * 4, id="1x1, wrong"),
        pytest.param(HALF[:1], HALF[:1], 1.0, [1] * 4, id="one row"),
        pytest.param(HALF[:1].T, HALF[:1].T, 1.0, [1] * 4, id="one column"),
    ],
)
def test_masks_that_are_empty_full_or_ignored(prediction, target, empty, expected):
    found = [measure(prediction, target, num_classes=2, empty=empty) for measure in ALL]
    np.testing.assert_equal(found, expected)


def test_a_long_row():
    target = np.zeros((1, 20_000), np.uint8)
    target[:, 5_000:9_000] = 1
    assert of_all(target, target, 2) == [1] * 4
    # 2 % of the diagonal: 400 pixels on either side of two edges; 600 px too far at one of them.
    prediction = np.roll(target, 300, axis=1)
    assert trimap_iou(prediction, target, 400, num_classes=2) == 500 / 1_100


def test_a_class_that_fills_a_picture_of_many_classes_has_no_edge():
    for measure in ALL[1:]:
        assert measure(EMPTY, EMPTY, num_classes=3, empty=0.25) == 0.25
        assert measure(HALF, EMPTY, num_classes=3, empty=0.25) == 0


def test_classes_count_alike_and_only_those_of_the_truth():
    target = np.array([[0, 0, 0, 0, 1, 1, 1, 1]] * 8)
    prediction = target.copy()
    prediction[:4, 4] = 2
    two_classes = [np.where(labels > 0, 1, 0) for labels in (prediction, target)]
    background = trimap_iou(*(1 - labels for labels in two_classes), 1, num_classes=2)
    foreground = trimap_iou(prediction == 1, target == 1, 1, num_classes=2)
    assert (background, foreground) == (1, 0.5)
    assert trimap_iou(prediction, target, 1, num_classes=3) == 0.75
    assert trimap_iou(prediction, target, 1, num_classes=9) == 0.75


def strip(*runs, rows=9):
    """An image of equal rows, from (label, pixels) pairs."""
    return np.tile(np.concatenate([np.full(pixels, label) for label, pixels in runs]), (rows, 1))


def test_an_ignored_strip_between_object_and_background_is_the_edge():
    """The Pet convention: the band is r pixels on either side of the drawn border, which itself is not scored."""
    target = strip((0, 20), (IGNORED, 3), (1, 20))
    # A pixel too many on the left, and two too few on the right, of the border; without an error farther away.
    more, fewer, far = (strip((0, zeros), (1, 43 - zeros)) for zeros in (19, 25, 10))
    for radius in (2, 4.5):
        inside = int(radius)
        assert trimap_iou(more, target, radius, num_classes=2, border_share=0.1) == inside / (inside + 1)
        assert trimap_iou(fewer, target, radius, num_classes=2, border_share=0.1) == (inside - 2) / inside
        assert trimap_iou(far, target, radius, num_classes=2, border_share=0.1) == 0.5
    assert mean_boundary_accuracy(more, target, num_classes=2, border_share=0.1) == 0.5
    assert boundary_iou(target, target, num_classes=2, border_share=0.1) == 1
    assert 0 < boundary_iou(fewer, target, num_classes=2, border_share=0.1) < 1


def test_an_edge_that_is_hidden_has_no_score():
    target = strip((0, 20), (IGNORED, 13), (1, 20))
    prediction = strip((0, 19), (1, 34))
    assert isnan(trimap_iou(prediction, target, 5, num_classes=2, border_share=0.05))
    assert isnan(mean_boundary_accuracy(prediction, target, num_classes=2, border_share=0.05))
    assert isnan(boundary_f(prediction, target, num_classes=2))
    assert trimap_iou(prediction, target, 5, num_classes=2, border_share=inf) == 5 / 6


def test_an_ignored_strip_inside_the_object_is_no_edge():
    """A collar: pixels beside it are in no band, unless every ignored pixel is taken for border."""
    target = strip((0, 10), (1, 20), (IGNORED, 3), (1, 20))
    prediction = strip((0, 10), (1, 19), (0, 5), (1, 19))
    assert trimap_iou(prediction, target, 3, num_classes=2) == 1
    assert mean_boundary_accuracy(prediction, target, num_classes=2) == 1
    assert trimap_iou(prediction, target, 3, num_classes=2, border_share=inf) == 7 / 9


def test_an_edge_of_the_prediction_beside_the_border_is_right():
    """The truth shows its edge in the lower rows; above, the prediction's edge comes out of the drawn border."""
    target = np.concatenate([strip((0, 20), (IGNORED, 3), (1, 20)), strip((0, 21), (1, 22))])
    prediction = np.concatenate([strip((0, 19), (1, 24)), strip((0, 21), (1, 22))])
    assert boundary_f(prediction, target, num_classes=2, border_share=0.1) == 1
    assert boundary_f(prediction, target, num_classes=2, border_share=0) < 1


@given(label_maps(), border_shares, st.sampled_from([0.0, 0.5, 1.0, nan]))
@settings(max_examples=40, deadline=None)
def test_the_record_holds_what_the_functions_give(case, border_share, empty):
    num_classes, prediction, target = case
    options = {"num_classes": num_classes, "border_share": border_share, "empty": empty}
    found = boundary_scores(prediction, target, trimap_share=0.3, **options)
    expected = BoundaryScores(
        boundary_iou=boundary_iou(prediction, target, **options),
        mean_boundary_accuracy=mean_boundary_accuracy(prediction, target, **options),
        trimap_iou=trimap_iou(prediction, target, found.trimap_radius, **options),
        trimap_iou_half=trimap_iou(prediction, target, max(1, 0.15 * hypot(*target.shape)), **options),
        trimap_iou_quarter=trimap_iou(prediction, target, max(1, 0.075 * hypot(*target.shape)), **options),
        trimap_radius=max(1, 0.3 * hypot(*target.shape)),
        boundary_f=boundary_f(prediction, target, **options),
        davis_f=boundary_f(prediction, target, share=0.008, **options),
        border_share=border_share,
        empty_value=empty,
    )
    for field in fields(BoundaryScores):
        np.testing.assert_equal(getattr(found, field.name), getattr(expected, field.name))


@pytest.mark.parametrize(
    ("shape", "bf_tolerance", "davis_tolerance"),
    [
        pytest.param((38, 120), 1, 2, id="0.944 and 1.007 rounded up"),
        pytest.param((70, 120), 2, 2, id="1.04 and 1.11 rounded up"),
        pytest.param((375, 500), 5, 5, id="4.6875 rounded up, and 5"),
    ],
)
def test_the_two_tolerances(shape, bf_tolerance, davis_tolerance):
    rows, columns = shape
    target = strip((0, 50), (1, columns - 50), rows=rows)
    for shift in (1, 2, 3, 5, 6):
        prediction = strip((0, 50 + shift), (1, columns - 50 - shift), rows=rows)
        found = boundary_scores(prediction, target, num_classes=2)
        assert found.boundary_f == (shift <= bf_tolerance)
        assert found.davis_f == (shift <= davis_tolerance)


def test_every_score_has_a_definition():
    assert list(DEFINITIONS) == [field.name for field in fields(BoundaryScores)]
    assert all(text.endswith(".") for text in DEFINITIONS.values())


def test_a_share_of_the_diagonal():
    assert diagonal_share((375, 500), 0.02) == 12.5
    assert diagonal_share((3, 4), 0.02) == 1


def test_tensors_and_boolean_masks_score_like_integer_arrays():
    prediction, target = blobs((20, 30))
    expected = boundary_scores(prediction.astype(np.uint8), target.astype(np.int64), num_classes=2)
    assert boundary_scores(prediction, target, num_classes=2) == expected
    assert boundary_scores(torch.from_numpy(prediction), torch.from_numpy(target), num_classes=2) == expected


def test_another_label_can_be_the_ignored_one():
    target = strip((0, 6), (IGNORED, 3), (1, 6))
    prediction = strip((0, 5), (1, 1), (0, 3), (1, 6))
    expected = boundary_scores(prediction, target, num_classes=2, border_share=0.3)
    assert 0 < expected.trimap_iou < 1
    other = np.where(target == IGNORED, -1, target)
    assert boundary_scores(prediction, other, num_classes=2, ignore_index=-1, border_share=0.3).trimap_iou == (
        expected.trimap_iou
    )


@pytest.mark.parametrize("measure", [*ALL, boundary_scores])
def test_maps_that_do_not_fit_are_refused(measure):
    with pytest.raises(DataError, match="4x5.*3x5"):
        measure(EMPTY, EMPTY[:3], num_classes=2)
    with pytest.raises(DataError, match="holds 2"):
        measure(EMPTY, 2 * FULL, num_classes=2)
    with pytest.raises(DataError, match="label map"):
        measure(EMPTY * 0.5, EMPTY, num_classes=2)
    with pytest.raises(ConfigError, match="num_classes"):
        measure(EMPTY, EMPTY, num_classes=1)
    for border_share in (-0.1, nan):
        with pytest.raises(ConfigError, match="border_share.*got"):
            measure(EMPTY, EMPTY, num_classes=2, border_share=border_share)


@pytest.mark.parametrize("share", [0, -0.1, 1.5, nan, inf])
def test_lengths_out_of_range_are_refused(share):
    for measure in (boundary_iou, boundary_f):
        with pytest.raises(ConfigError, match="share.*got"):
            measure(ALL_IGNORED, ALL_IGNORED, num_classes=2, share=share)
    with pytest.raises(ConfigError, match="share.*got"):
        boundary_scores(EMPTY, EMPTY, num_classes=2, trimap_share=share)


@pytest.mark.parametrize("radius", [0, 0.9, -3, nan])
def test_radii_below_one_pixel_are_refused(radius):
    with pytest.raises(ConfigError, match="radius.*got"):
        trimap_iou(EMPTY, EMPTY, radius, num_classes=2)


@pytest.mark.skipif(not (DATA / "pets").is_dir(), reason="needs ../shared/data/pets")
def test_a_pet_has_a_band_on_both_sides_of_its_drawn_border():
    trimap = np.array(Image.open(sorted((DATA / "pets" / "annotations" / "trimaps").glob("*.png"))[0]))
    target = np.array([IGNORED, 1, 0, IGNORED])[trimap]
    nearest = ndimage.distance_transform_edt(trimap == 3, return_distances=False, return_indices=True)
    found = boundary_scores((trimap[tuple(nearest)] == 1).astype(int), target, num_classes=2)
    assert (found.trimap_iou, found.boundary_iou, found.mean_boundary_accuracy) == (1, 1, 1)
    none = boundary_scores(np.zeros_like(target), target, num_classes=2)
    assert none.trimap_iou == none.boundary_iou == 0
    assert 0.3 < none.mean_boundary_accuracy < 0.7
