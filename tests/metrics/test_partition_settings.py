"""ODS, OIS and best against a slow transcription of the benchmark's definition, and intervals over images."""

from dataclasses import fields
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import ConfigError, DataError
from maskwright.metrics import bootstrap
from maskwright.metrics.partition import partition_scores, probabilistic_rand_index, variation_of_information
from maskwright.metrics.partition_settings import (
    DEFINITIONS,
    SETTING_STATISTICS,
    SettingScores,
    over_settings,
    settings_interval,
)


def loop_settings(images):
    """The benchmark's sums, region by region; `images` are pairs of the segmentations, one per setting, and the truths."""
    settings = range(len(images[0][0]))
    total_covered, total_area = [0.0 for _ in settings], 0
    covered_ois, covered_best = 0.0, 0.0
    rand, information = [[] for _ in settings], [[] for _ in settings]
    for segmentations, truths in images:
        covered = [0.0 for _ in settings]
        for truth in truths:
            for label in np.unique(truth):
                region = truth == label
                ious = [
                    max(
                        (region & (segments == other)).sum() / (region | (segments == other)).sum()
                        for other in np.unique(segments)
                    )
                    for segments in segmentations
                ]
                for setting in settings:
                    covered[setting] += region.sum() * ious[setting]
                covered_best += region.sum() * max(ious)
                total_area += region.sum()
        for setting in settings:
            total_covered[setting] += covered[setting]
            rand[setting].append(probabilistic_rand_index(segmentations[setting], truths))
            information[setting].append(variation_of_information(segmentations[setting], truths))
        covered_ois += max(covered)
    number = len(images)
    return {
        "images": number,
        "covering_ods": max(total_covered) / total_area,
        "covering_ois": covered_ois / total_area,
        "covering_best": covered_best / total_area,
        "probabilistic_rand_index_ods": max(sum(values) / number for values in rand),
        "probabilistic_rand_index_ois": sum(max(values) for values in zip(*rand, strict=True)) / number,
        "variation_of_information_ods": min(sum(values) / number for values in information),
        "variation_of_information_ois": sum(min(values) for values in zip(*information, strict=True)) / number,
    }


def random_images(seed, number=4, settings=3):
    """Images of different sizes, each with one to three truths; setting k segments into up to k + 1 regions."""
    generator = np.random.default_rng(seed)
    images = []
    for _ in range(number):
        shape = tuple(generator.integers(1, 9, size=2))
        truths = [generator.integers(0, 3, size=shape) for _ in range(generator.integers(1, 4))]
        images.append(([generator.integers(0, k + 1, size=shape) for k in range(settings)], truths))
    return images


def scored(images, ignore_index=None):
    return [
        [partition_scores(segments, truths, ignore_index=ignore_index) for segments in segmentations]
        for segmentations, truths in images
    ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
def test_equal_to_the_transcribed_definition(seed, number, settings):
    images = random_images(seed, number, settings)
    found, expected = over_settings(scored(images)), loop_settings(images)
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
def test_the_setting_is_the_one_whose_score_is_the_ods(seed, number, settings):
    table = scored(random_images(seed, number, settings))
    found = over_settings(table)
    for score in ("covering", "probabilistic_rand_index", "variation_of_information"):
        alone = over_settings([[row[getattr(found, f"{score}_setting")]] for row in table])
        ods = getattr(found, f"{score}_ods")
        assert getattr(alone, f"{score}_ods") == getattr(alone, f"{score}_ois") == pytest.approx(ods, rel=1e-12)
    assert found.covering_ods <= found.covering_ois + 1e-12 <= found.covering_best + 2e-12
    assert found.probabilistic_rand_index_ods <= found.probabilistic_rand_index_ois + 1e-12
    assert found.variation_of_information_ods >= found.variation_of_information_ois - 1e-12


def test_covering_weighs_large_images_more_and_rand_index_does_not():
    whole, halves = np.zeros((4, 4), dtype=int), np.repeat([[0, 0, 1, 1]], 4, axis=0)
    single = np.zeros((1, 2), dtype=int)
    pair = np.array([[0, 1]])
    # Setting 0 fits the large image, setting 1 the small one.
    images = [([halves, whole], [halves]), ([single, pair], [pair])]
    found = over_settings(scored(images))
    assert found.covering_setting == 0
    assert found.covering_ods == (16 * 1 + 2 * 0.5) / 18
    # 16 pixels in one region instead of two: 56 of 120 pairs right; both pixels joined: 0 of 1.
    assert found.probabilistic_rand_index_setting == 1
    assert found.probabilistic_rand_index_ods == pytest.approx((56 / 120 + 1) / 2)
    assert found.variation_of_information_setting == 0
    assert found.variation_of_information_ods == 0.5
    assert (found.covering_ois, found.probabilistic_rand_index_ois, found.variation_of_information_ois) == (1, 1, 0)


def test_best_takes_each_region_from_another_setting():
    truth = np.array([[0, 0, 1, 1]])
    images = [([np.array([[0, 0, 1, 2]]), np.array([[0, 1, 2, 2]])], [truth])]
    found = over_settings(scored(images))
    assert (found.covering_ods, found.covering_ois, found.covering_best) == (0.75, 0.75, 1)
    assert found.covering_setting == 0


def test_an_image_that_is_ignored_altogether_is_left_out():
    images = random_images(3)
    hidden = ([np.zeros((2, 2), dtype=int)] * 3, [np.full((2, 2), 9)])
    with_hidden, without = scored([*images, hidden], ignore_index=9), scored(images, ignore_index=9)
    assert over_settings(with_hidden) == over_settings(without)
    assert over_settings(with_hidden).images == 4
    for statistic in SETTING_STATISTICS:
        assert settings_interval(with_hidden, statistic) == settings_interval(without, statistic)


@pytest.mark.parametrize("statistic", SETTING_STATISTICS)
def test_intervals_are_quantiles_of_the_statistic_of_drawn_images(statistic):
    table = scored(random_images(0, number=7))
    interval = settings_interval(table, statistic, resamples=200, seed=5, level=0.9)
    (draws,) = bootstrap.image_draws(7, 200, 5)
    replicates = [getattr(over_settings([table[image] for image in draw]), statistic) for draw in draws]
    assert interval.value == getattr(over_settings(table), statistic)
    assert [interval.low, interval.high] == pytest.approx(np.quantile(replicates, [0.05, 0.95]), rel=1e-12)
    assert interval.low < interval.high


def test_the_bounds_of_one_image_are_unknown():
    interval = settings_interval(scored(random_images(1, number=1)), "covering_ods")
    assert isnan(interval.low)
    assert isnan(interval.high)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "got 0 images with no settings"),
        ([[]], "got 1 images with 0 settings"),
        (scored(random_images(1, 1, 2)) + scored(random_images(1, 1, 3)), "got 2 images with 2 or 3 settings"),
        ([[row[0] for row in scored(random_images(1, 2, 1))]], "truths of image 0 differ"),
        (scored([([np.zeros((2, 2), dtype=int)], [np.full((2, 2), 9)])], 9), "none of the 1 images has a scored pixel"),
    ],
)
def test_bad_tables_are_refused(table, message):
    with pytest.raises(DataError, match=message):
        over_settings(table)
    with pytest.raises(DataError, match=message):
        settings_interval(table, "covering_ods")


def test_an_unknown_statistic_is_refused():
    with pytest.raises(ConfigError, match="statistic must be one of covering_ods, .*; got 'covering'"):
        settings_interval(scored(random_images(1)), "covering")


def test_every_field_is_defined():
    assert list(DEFINITIONS) == [field.name for field in fields(SettingScores)]
