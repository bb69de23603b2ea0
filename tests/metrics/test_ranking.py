"""Ranking candidates over images and seeds: parity with the plain intervals, with Student's t, and with loops."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from comparisons import counts_of, made_up_results
from maskwright.errors import ConfigError, DataError
from maskwright.metrics import seed_interval
from maskwright.metrics.bootstrap import bootstrap, change
from maskwright.metrics.ranking import holm, pooled_spread, rank
from maskwright.types import EvaluationResult

MEANS = {"a": 0.7, "b": 0.72, "c": 0.6}


def shuffled(result: EvaluationResult, seed: int) -> EvaluationResult:
    order = np.random.default_rng(seed).permutation(len(result.names))
    return dataclasses.replace(
        result, names=tuple(result.names[i] for i in order), counts=result.counts[order], ignored=result.ignored[order]
    )


@pytest.mark.parametrize("statistic", ["iou_per_image", "miou_present"])
def test_with_one_training_each_it_is_the_paired_bootstrap_over_images(statistic: str) -> None:
    results = made_up_results(MEANS, seeds=1, images=40)
    ranking = rank(results, statistic, resamples=300)
    assert ranking.best == "b" and ranking.seed_degrees == 0 and math.isnan(ranking.seed_spread)
    (best,) = results["b"]
    for name, (result,) in results.items():
        assert ranking.candidates[name].score == bootstrap(result, statistic, resamples=300)
        assert ranking.candidates[name].by_seed == (ranking.candidates[name].score.value,)
        if name != "b":
            found, expected = ranking.candidates[name].gap, change(best, result, statistic, resamples=300).interval
            assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected), abs=1e-12)


def test_where_images_do_not_matter_it_is_students_t() -> None:
    scores = {"a": (0.70, 0.71, 0.74), "b": (0.60, 0.606, 0.64)}
    results = {name: [counts_of([score] * 5) for score in of_one] for name, of_one in scores.items()}
    ranking = rank(results, resamples=40_000)
    spread = math.sqrt(np.mean([np.var(of_one, ddof=1) for of_one in scores.values()]))
    assert (ranking.seed_spread, ranking.seed_degrees) == (pytest.approx(spread), 4)
    reach = stats.t.ppf(0.975, 4) * spread
    for name, of_one in scores.items():
        found = ranking.candidates[name].score
        assert found.value == pytest.approx(np.mean(of_one))
        assert (found.high - found.low) / 2 == pytest.approx(reach / math.sqrt(3), rel=0.04)
    gap = ranking.candidates["b"].gap
    assert (gap.high - gap.low) / 2 == pytest.approx(reach * math.sqrt(2 / 3), rel=0.04)
    expected = stats.ttest_ind(*scores.values()).pvalue
    assert ranking.candidates["b"].p == pytest.approx(expected, rel=0.15)
    alone = rank({"a": results["a"]}, resamples=40_000).candidates["a"].score
    assert alone.low == pytest.approx(seed_interval(scores["a"]).low, abs=0.003)


def test_the_mean_over_seeds_is_drawn_with_the_same_images_for_all() -> None:
    results = made_up_results(MEANS, seeds=2, images=30, spread=0.0)
    # The same masks twice: no spread over the seeds, so that only the images are left.
    results = {name: [of_one[0], of_one[0]] for name, of_one in results.items()}
    ranking = rank(results, resamples=200)
    single = rank({name: of_one[:1] for name, of_one in results.items()}, resamples=200)
    assert ranking.seed_spread == 0.0
    for name in MEANS:
        assert ranking.candidates[name].gap == single.candidates[name].gap
        assert ranking.candidates[name].score == single.candidates[name].score


@pytest.mark.parametrize("statistic", ["iou_per_image", "iou_dataset"])
def test_parity_with_loops(statistic: str) -> None:
    results = made_up_results(MEANS, seeds=2, images=12)
    found = rank(results, statistic, resamples=60, seed=3)
    draws = np.random.default_rng(3).integers(12, size=(60, 12))
    generator = np.random.default_rng([3, 1])
    spreads = found.seed_spread * np.sqrt(3 / generator.chisquare(3, size=60))
    normal = generator.standard_normal((60, 3))

    def score(result: EvaluationResult, images: np.ndarray) -> float:
        true, predicted, truth = result.counts[images, :, 1].astype(float).T
        if statistic == "iou_per_image":
            return float(np.mean(true / (predicted + truth - true)))
        return float(true.sum() / (predicted + truth - true).sum())

    replicates = [
        [
            np.mean([score(result, draw) for result in of_one]) + spread * z / math.sqrt(2)
            for of_one, z in zip(results.values(), row, strict=True)
        ]
        for draw, spread, row in zip(draws, spreads, normal, strict=True)
    ]
    gaps = np.array([[value - row[1] for value in row] for row in replicates])
    for i, name in enumerate(MEANS):
        low, high = np.quantile(gaps[:, i], [0.025, 0.975])
        ranked = found.candidates[name]
        assert (ranked.gap.low, ranked.gap.high) == (pytest.approx(low), pytest.approx(high))
        if name != found.best:
            smaller = min((gaps[:, i] <= 0).sum(), (gaps[:, i] >= 0).sum())
            assert ranked.p == pytest.approx(min(1, 2 * (smaller + 1) / 61))


def test_intervals_hold_the_truth_where_seeds_decide() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for trial in range(150):
        results = {
            name: [counts_of(0.7 + generator.normal(0, 0.02) + generator.normal(0, 0.01, 20)) for _ in range(2)]
            for name in "abcd"
        }
        ranking = rank(results, resamples=300, seed=trial)
        held += sum(ranked.score.low <= 0.7 <= ranked.score.high for ranked in ranking.candidates.values())
    assert held / 600 > 0.92  # of two seeds, a bootstrap that draws seeds holds it half of the time


def test_equal_scores_are_no_difference() -> None:
    (result,) = made_up_results({"a": 0.7}, seeds=1)["a"]
    ranking = rank({"x": [result], "y": [result]}, resamples=100)
    assert ranking.best == "x"
    assert ranking.candidates["y"].gap.value == 0 and ranking.candidates["y"].p_holm == 1.0


def test_images_may_come_in_any_order() -> None:
    results = made_up_results(MEANS, seeds=2)
    other = {name: [of_one[0], shuffled(of_one[1], 1)] for name, of_one in results.items()}
    assert rank(results, resamples=50) == rank(other, resamples=50)


def test_candidates_may_have_fewer_trainings() -> None:
    results = made_up_results(MEANS, seeds=3)
    ranking = rank({**results, "c": results["c"][:1]}, resamples=100)
    assert ranking.seed_degrees == 4 and len(ranking.candidates["c"].by_seed) == 1
    assert math.isfinite(ranking.candidates["c"].gap.low)


def test_one_image_has_no_interval() -> None:
    ranking = rank({"a": [counts_of([0.5])], "b": [counts_of([0.6])]})
    assert math.isnan(ranking.candidates["a"].score.low) and math.isnan(ranking.candidates["a"].p_holm)


def test_bad_input_is_named() -> None:
    results = made_up_results(MEANS, images=10)
    with pytest.raises(DataError, match="at least one training"):
        rank({})
    with pytest.raises(DataError, match="at least one training"):
        rank({**results, "a": []})
    with pytest.raises(DataError, match="same images"):
        rank({**results, "d": [counts_of([0.5] * 9)]})
    with pytest.raises(DataError, match="at least one image"):
        rank({"a": [counts_of([])]})
    with pytest.raises(ConfigError, match="statistic"):
        rank(results, "iou")
    with pytest.raises(ConfigError, match="level"):
        rank(results, level=1.0)


def test_pooled_spread() -> None:
    groups = [(1.0, 2.0, 4.0), (3.0,), (0.0, 1.0)]
    squares = sum((len(g) - 1) * np.var(g, ddof=1) for g in groups if len(g) > 1)
    assert pooled_spread(groups) == (pytest.approx(math.sqrt(squares / 3)), 3)
    assert pooled_spread([(1.0,), (2.0,)])[1] == 0


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_as_its_definition_says(p: list[float]) -> None:
    corrected = holm(np.array(p))
    for level in (0.01, 0.05, 0.3):
        rejected: set[int] = set()
        for rank_, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
            if p[i] * (len(p) - rank_) > level:
                break
            rejected.add(i)
        assert {i for i, q in enumerate(corrected) if q <= level} == rejected


def test_holm_leaves_the_unknown_out() -> None:
    assert holm(np.array([0.01, np.nan, 0.04])).tolist()[::2] == [0.02, 0.04]
