"""Planes of bits against boolean masks, dilated by SciPy and by loops over rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maskwright.ops import bits
from reference import dilated_mask

DTYPES = [np.uint8, np.int8, np.int64, np.uint16, np.bool_]


def plane_of(mask):
    planes = bits.class_planes(mask, mask, 1, 2, 255)
    return planes.true


def mask_of(plane, width):
    """The pixels of a plane; no bit may lie past them."""
    mask = (plane[..., None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(np.bool_).reshape(len(plane), -1)
    assert not mask[:, width:].any()
    return mask[:, :width]


@st.composite
def masks(draw, number):
    """Masks of one shape from nearly empty to nearly full, as wide as up to four words."""
    shape = draw(st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 5, 63, 64, 65, 128, 200])))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = []
    for _ in range(number):
        mask = generator.random(shape) < draw(st.sampled_from([0.0, 0.002, 0.05, 0.5, 0.99, 1.0]))
        first, last = sorted(draw(st.tuples(*[st.integers(0, shape[0])] * 2)))
        if draw(st.booleans()):
            mask[:first] = mask[last:] = False
        found.append(mask)
    return found


@given(masks(2), st.sampled_from(DTYPES), st.sampled_from(DTYPES), st.sampled_from([-1, 0, 1, 2, 255, 300]))
@settings(max_examples=100, deadline=None)
def test_planes_hold_the_pixels_of_a_class_and_of_the_rest(case, predicted_type, true_type, ignored):
    prediction, target = case[0].astype(predicted_type), case[1].astype(true_type)
    limits = np.iinfo(np.uint8 if true_type is np.bool_ else true_type)
    if ignored in (-1, 255) and limits.min <= ignored <= limits.max and true_type is not np.bool_:
        target[::2, ::3] = ignored
    left_out = target.astype(np.int64) == ignored
    found = bits.class_planes(prediction[:, ::-1], target[:, ::-1], 1, 2, ignored)
    expected = (case[0] & ~left_out, (target == 1) & ~left_out, (target != 1) & ~left_out, left_out)
    for plane, mask in zip(found[:4], expected, strict=True):
        assert np.array_equal(mask_of(plane, target.shape[1])[:, ::-1], mask)
    assert found.fit
    assert (found.any_scored, found.any_ignored) == ((~left_out).any(), left_out.any())


@pytest.mark.parametrize("shape", [(1, 3), (1, 64), (9, 70), (3, 200)])
@pytest.mark.parametrize("last", [False, True])
def test_a_label_that_is_no_class_is_noticed_wherever_it_is_scored(shape, last):
    maps = np.zeros(shape, np.int16)
    for wrong in (3, -1, 300):
        other = maps.copy()
        other.flat[-1 if last else 0] = wrong
        assert not bits.class_planes(other, maps, 1, 3, 255).fit
        assert not bits.class_planes(maps, other, 1, 3, 255).fit
        assert bits.class_planes(other, np.where(other == 0, 0, 255), 1, 3, 255).fit


def test_a_class_past_the_labels_type_has_no_pixel():
    """-106 is 150 in the bits of int8."""
    target = np.array([[-106, 0, 1]], np.int8)
    found = bits.class_planes(target, target, 150, 200, 255)
    assert not found.true.any() and not found.fit
    assert bits.class_planes(np.abs(target), np.abs(target), 150, 200, 255).fit


@given(masks(3), st.integers(1, 70))
@settings(max_examples=100, deadline=None)
def test_inner_bands_are_squares_around_what_is_not_the_mask(case, steps):
    mask, scored, border = case
    outside = (scored & ~mask) | border
    near = ndimage.maximum_filter(outside.view(np.uint8), size=2 * steps + 1, mode="constant", cval=1)
    planes = [plane_of(each) for each in (mask, scored, border)]
    found = bits.inner_band(*planes, steps, mask.shape[1])
    assert np.array_equal(mask_of(found, mask.shape[1]), mask & near.view(np.bool_))


def test_a_mask_with_nothing_outside_it_has_a_band_only_at_the_frame():
    """Its rows are looked at with as many around them as decide, whose ends must not count as the frame."""
    mask = np.zeros((40, 70), np.bool_)
    mask[10:20, 20:40] = True
    for steps, rows in ((5, 0), (10, 0), (11, 1), (19, 9)):
        plane = plane_of(mask)
        found = mask_of(bits.inner_band(plane, plane, np.zeros_like(plane), steps, 70), 70)
        assert found.sum() == rows * 20


@given(masks(1), st.lists(st.integers(0, 150), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_dilation_is_by_the_rows_of_the_shape(case, half_widths):
    [mask] = case
    half_widths.sort(reverse=True)
    found = bits.dilated(plane_of(mask), half_widths, mask.shape[1])
    assert np.array_equal(mask_of(found, mask.shape[1]), dilated_mask(mask, half_widths))


@given(masks(1))
@settings(max_examples=50, deadline=None)
def test_corners_touch_up_to_four_pixels(case):
    [mask] = case
    padded = np.pad(mask, ((0, 1), (0, 1)))
    expected = padded[:-1, :-1] | padded[1:, :-1] | padded[:-1, 1:] | padded[1:, 1:]
    assert np.array_equal(mask_of(bits.at_corners(plane_of(mask)), mask.shape[1]), expected)


@given(masks(2))
@settings(max_examples=50, deadline=None)
def test_pixels_are_counted(case):
    one, other = case
    assert bits.pixels(plane_of(one), plane_of(other)) == ((one & other).sum(), one.sum(), other.sum())
