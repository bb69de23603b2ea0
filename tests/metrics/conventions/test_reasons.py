"""Reasons against all orders, and that what is stated adds up."""

import re
from itertools import permutations
from math import isnan, nan

import numpy as np
import pytest

from label_map_cases import CASES, long_tailed, result_of
from maskwright.errors import ConfigError
from maskwright.metrics.conventions import CONVENTIONS, convention_scores, groups, why
from maskwright.metrics.conventions.reasons import shares_of_orders

MANY = result_of(long_tailed(6, 8, 4, size=(5, 6)))
TWO = result_of(CASES["2 classes, a blank image"])


def pairs_of(result, number, seed):
    """Pairs of conventions that apply, drawn at random."""
    rng = np.random.default_rng(seed)
    keys = [c.key for c in CONVENTIONS if c.applies(len(result.classes))]
    return [rng.choice(keys, 2) for _ in range(number)]


@pytest.mark.parametrize("result", [MANY, TWO], ids=["6 classes", "2 classes"])
def test_shares_add_up_in_numbers_and_in_words(result):
    explained = 0
    for base, other in pairs_of(result, 250, seed=0):
        found = why(str(base), str(other), result.counts)
        if isnan(found.difference):
            assert found.reasons == () and "no number" in found.sentence
            continue
        shares = [reason.share for reason in found.reasons]
        assert sum(shares) == pytest.approx(found.difference, abs=1e-12)
        assert shares == sorted(shares, key=abs, reverse=True)
        stated = [float(text) for text in re.findall(r"([+-]\d+\.\d) because", found.sentence)]
        assert all(min(abs(text - 100 * share) for share in shares) < 0.2 for text in stated)
        whole = re.search(r"is (\d+\.\d) points (above|below)", found.sentence)
        if whole:
            sign = 1 if whole[2] == "above" else -1
            assert sum(stated) == pytest.approx(sign * float(whole[1]), abs=1e-9), found.sentence
            shown = [float(text) for text in re.findall(r"\((-?\d\.\d{3})\)", found.sentence)]
            assert 100 * (shown[0] - shown[1]) == pytest.approx(sign * float(whole[1]), abs=1e-9), found.sentence
            explained += 1
    assert explained > 150


def test_the_other_way_round_the_shares_are_opposite():
    for base, other in pairs_of(MANY, 60, seed=1):
        there, back = why(str(base), str(other), MANY.counts), why(str(other), str(base), MANY.counts)
        opposite = {reason.axis: -reason.share for reason in back.reasons}
        assert {reason.axis: reason.share for reason in there.reasons} == pytest.approx(opposite, abs=1e-12)


def test_shares_are_the_mean_over_all_orders():
    rng = np.random.default_rng(2)
    for steps, unknown in [(1, ()), (2, ()), (4, ()), (4, (3, 5, 6, 9))]:
        values = rng.random(1 << steps).tolist()
        for mask in unknown:
            values[mask] = nan
        total, orders = np.zeros(steps), 0
        for order in permutations(range(steps)):
            masks = [0]
            for step in order:
                masks.append(masks[-1] | 1 << step)
            gains = [values[later] - values[mask] for mask, later in zip(masks, masks[1:], strict=False)]
            if not np.isnan(gains).any():
                total[list(order)] += gains
                orders += 1
        assert orders > 0
        np.testing.assert_allclose(shares_of_orders(values), total / orders, rtol=1e-12)
    assert shares_of_orders([0.5, nan, nan, 1.0]) is None
    assert shares_of_orders([0.5]) == []


def test_one_choice_is_the_whole_reason():
    found = why("mmseg.mDice", "torchmetrics.f1.micro", MANY.counts)
    assert found.reasons[0].axis == "average"
    only = why("monai.dice.foreground", "monai.iou.foreground", MANY.counts)
    assert [reason.axis for reason in only.reasons] == ["score"]
    assert only.sentence.endswith("because it is IoU instead of Dice.")
    assert str(only) == only.sentence


def test_sentences_count_what_they_speak_of():
    found = why("nnunet.iou.foreground_mean", "smp.iou.binary.micro-imagewise", TWO.counts)
    text = next(reason.text for reason in found.reasons if reason.axis == "absent")
    empty = int((TWO.counts[:, 1:, 1].sum(axis=1) == 0).sum())
    assert empty == 2
    assert text == f"what neither truth nor prediction holds ({empty} of 6 images) counts 1 instead of being left out"
    missed = why("mmseg.mDice", "mmseg.mFscore", result_of(CASES["4 classes, everything wrong"]).counts)
    assert "gives no number" in missed.sentence


def test_pooled_pixels_have_no_order_to_explain():
    found = why("cityscapes.iou", "smp.iou.macro-imagewise", MANY.counts)
    assert {reason.axis for reason in found.reasons} == {"pool", "absent"}


def test_the_same_choices_and_choices_without_effect():
    assert why("mmseg.mIoU", "cityscapes.iou", MANY.counts).sentence.endswith("make the same choices.")
    clean = result_of(long_tailed(2, 3, 0))
    same = why("mmseg.mDice", "mmseg.mFscore", clean.counts)
    assert same.sentence.endswith("make different choices, which change nothing for these masks.")
    assert [reason.share for reason in same.reasons] == [0.0, 0.0]


def test_values_that_nearly_agree_are_not_said_to_be_equal():
    """Means of the same Dice and IoU, off by fewer than a tenth of a point, on either side of a rounding."""
    counts = np.zeros((1, 3, 2), np.int64)
    for hit in range(9500, 9600):
        counts[0] = [[9000, hit], [9000, 10_000], [19_000 - hit, 10_000]]
        found = why("maskwright.pixel_accuracy", "maskwright.recall_macro", counts)
        apart = f"{found.base_value:.3f}" != f"{found.other_value:.3f}"
        assert apart == (" points above " in found.sentence or " points below " in found.sentence), found.sentence
        if not apart and abs(found.difference) > 1e-6:
            assert "change less than 0.1 points" in found.sentence or "cancel" in found.sentence


def test_a_convention_without_a_number_says_so():
    absent = result_of(CASES["5 classes, one class only"])
    assert why("voc.iou", "mmseg.mIoU", absent.counts).sentence.startswith("voc.iou gives no number")
    assert isnan(why("voc.iou", "mmseg.mIoU", absent.counts).difference)
    assert why("voc.iou", "smp.iou.binary.micro", absent.counts).sentence.startswith(
        "voc.iou and smp.iou.binary.micro give no number"
    )


def test_groups_are_a_partition_into_values_that_agree():
    values = convention_scores(MANY)
    found = groups(values)
    assert sorted(key for group in found for key in group.keys) == sorted(values)
    for group in found:
        within = [values[key] for key in group.keys]
        if isnan(group.low):
            assert all(isnan(value) for value in within)
        else:
            assert (group.high, group.low) == (within[0], within[-1]) == (max(within), min(within))
            assert group.high - group.low <= 5e-4
    for score in ("IoU", "Dice", "accuracy"):
        known = [group for group in found if group.score == score and not isnan(group.low)]
        assert all(one.high - two.high > 5e-4 for one, two in zip(known, known[1:], strict=False))
    unknown = [isnan(group.low) for group in found]
    assert unknown == sorted(unknown) and any(unknown)


def test_groups_respect_the_tolerance():
    values = {"mmseg.mIoU": 0.5, "voc.iou": 0.5004, "smp.iou.micro": 0.5008, "mmseg.mDice": 0.5008}
    assert [group.keys for group in groups(values)] == [("smp.iou.micro", "voc.iou"), ("mmseg.mIoU",), ("mmseg.mDice",)]
    assert groups(values, tolerance=1e-3)[0].keys == ("smp.iou.micro", "voc.iou", "mmseg.mIoU")
    with pytest.raises(ConfigError, match="no convention is called 'x'"):
        groups({"x": 0.1})
