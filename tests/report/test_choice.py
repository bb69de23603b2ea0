"""Which candidate is taken, and in which words."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons import ENCODERS, made_up_comparison
from maskwright.metrics.bootstrap import Interval
from maskwright.report.choice import Comparison as ComparisonRecord
from maskwright.report.choice import caveats, choose, finding, pareto_front, reasons

LITE0, LITE1, LITE2, RESNET, MOBILE, VGG = ENCODERS


def only(comparison: ComparisonRecord, *names: str) -> ComparisonRecord:
    """Return the comparison of some of its candidates, the best among them."""
    ranking = comparison.ranking
    return dataclasses.replace(
        comparison,
        candidates={name: comparison.candidates[name] for name in names},
        ranking=dataclasses.replace(ranking, candidates={name: ranking.candidates[name] for name in names}),
    )


def test_the_cheapest_within_the_margin_is_taken() -> None:
    comparison = made_up_comparison()
    assert comparison.ranking.best == LITE2
    taken = {margin: choose(dataclasses.replace(comparison, margin=margin)) for margin in (0.0, 0.01, 0.03, 0.5)}
    assert taken == {0.0: LITE2, 0.01: LITE1, 0.03: LITE0, 0.5: MOBILE}
    for margin, name in taken.items():
        close = [n for n in ENCODERS if comparison.ranked(n).gap.value >= -margin]
        assert name == min(close, key=lambda n: comparison.candidates[n].macs)


def test_the_cost_decides_what_cheap_is() -> None:
    comparison = made_up_comparison(margin=0.07)
    candidates = {
        **comparison.candidates,
        RESNET: dataclasses.replace(comparison.candidates[RESNET], parameters=1),
        VGG: dataclasses.replace(
            comparison.candidates[VGG],
            measured=dataclasses.replace(comparison.candidates[VGG].measured, images_per_second=1e4),
        ),
    }
    found = {
        cost: choose(dataclasses.replace(comparison, candidates=candidates, cost=cost))
        for cost in ("macs", "parameters", "time")
    }
    assert found == {"macs": LITE0, "parameters": RESNET, "time": VGG}


def test_of_equal_cost_the_better_is_taken() -> None:
    comparison = made_up_comparison()
    candidates = {name: dataclasses.replace(one, macs=1) for name, one in comparison.candidates.items()}
    assert choose(dataclasses.replace(comparison, candidates=candidates)) == LITE2


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=3),
        st.tuples(st.integers(0, 5), st.integers(0, 5)),
        min_size=1,
        max_size=8,
    )
)
def test_the_front_is_what_nothing_dominates(points: dict[str, tuple[int, int]]) -> None:
    scores = {name: score for name, (score, _) in points.items()}
    costs = {name: cost for name, (_, cost) in points.items()}
    front = pareto_front(scores, costs)
    assert front and [costs[n] for n in front] == sorted(costs[n] for n in front)
    for name in points:
        dominated = any(
            (scores[o] > scores[name] and costs[o] <= costs[name])
            or (scores[o] >= scores[name] and costs[o] < costs[name])
            for o in points
        )
        assert (name in front) != dominated


def test_findings_come_from_the_corrected_test() -> None:
    comparison = made_up_comparison()
    assert [finding(comparison, name) for name in (LITE2, LITE1, VGG)] == ["best", "no difference shown", "worse"]
    ranked = comparison.ranking.candidates
    unsure = dataclasses.replace(ranked[VGG], p=0.02, p_holm=0.06)
    unknown = dataclasses.replace(ranked[RESNET], p=math.nan, p_holm=math.nan)
    ranking = dataclasses.replace(comparison.ranking, candidates={**ranked, VGG: unsure, RESNET: unknown})
    other = dataclasses.replace(comparison, ranking=ranking)
    assert [finding(other, name) for name in (VGG, RESNET)] == ["no difference shown", "unknown"]


def test_reasons_name_the_rule_and_how_sure_it_is() -> None:
    comparison = made_up_comparison()
    text = " ".join(reasons(comparison))
    assert "at most 0.01 below the best one's" in text and "tf_efficientnet_lite2" in text
    assert "is not shown: the interval of the difference reaches" in text
    assert "Shown to be worse than tf_efficientnet_lite2: resnet18, vgg11, mobilenetv3_small_100." in text
    assert "@" not in text

    def with_gap(gap: Interval) -> str:
        ranked = {**comparison.ranking.candidates}
        ranked[LITE1] = dataclasses.replace(ranked[LITE1], gap=gap)
        ranking = dataclasses.replace(comparison.ranking, candidates=ranked)
        return " ".join(reasons(dataclasses.replace(comparison, ranking=ranking)))

    assert "by at most 0.01 is shown" in with_gap(Interval(-0.002, -0.009, 0.004))
    assert "(−0.002), for" in with_gap(Interval(-0.002, math.nan, math.nan))
    assert "too few images" in with_gap(Interval(-0.002, math.nan, math.nan))
    assert "highest mean" in reasons(dataclasses.replace(comparison, margin=0.0))[0]
    assert "only candidate" in reasons(only(comparison, LITE2))[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": 1}, "One training of each: how far another seed would move a score is unknown"),
        ({"seeds": 2}, "with 2 seeds each that is itself a rough estimate"),
        ({"part": "test"}, "both chose and report"),
        ({"part": "val", "reported_images": 0}, "no test part"),
        ({"part": "val"}, "200 test images had no say"),
        ({"images": 20}, "20 images are few"),
    ],
)
def test_caveats_say_what_the_numbers_do_not(changes: dict[str, object], words: str) -> None:
    said = caveats(made_up_comparison(**changes))  # type: ignore[arg-type]
    assert words in " ".join(said)
    assert "8 epochs" in said[0]


def test_seeds_that_failed_are_not_counted() -> None:
    comparison = made_up_comparison(seeds=2)
    one = dataclasses.replace(comparison.ranked(LITE2), by_seed=comparison.ranked(LITE2).by_seed[:1])
    ranking = dataclasses.replace(comparison.ranking, candidates={**comparison.ranking.candidates, LITE2: one})
    assert "with 1 to 2 seeds each" in " ".join(caveats(dataclasses.replace(comparison, ranking=ranking)))


def test_caveats_name_the_weights_and_smaller_batches() -> None:
    comparison = made_up_comparison()
    assert "from random ones resnet18, mobilenetv3_small_100, vgg11" in " ".join(caveats(comparison))
    best = only(comparison, LITE0, LITE2)
    assert "All encoders started from pretrained weights (imagenet-offline)." in caveats(best)
    random = {name: dataclasses.replace(one, pretrained="none") for name, one in comparison.candidates.items()}
    random[VGG] = dataclasses.replace(random[VGG], smaller_batches=True)
    text = " ".join(caveats(dataclasses.replace(comparison, candidates=random)))
    assert "All started from random weights" in text and "smaller batches than the others' trained vgg11" in text


def test_scores_are_noun_phrases_in_sentences() -> None:
    assert "whose mean mIoU of the classes present is" in reasons(made_up_comparison(statistic="miou_present"))[0]
