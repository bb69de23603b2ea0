"""The scikit-learn clusterer: scikit-learn's own checks, and what they do not ask."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.cluster import estimate_bandwidth
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from maskwright.cluster import MeanShift, mean_shift
from maskwright.errors import ConfigError, DataError


@parametrize_with_checks([MeanShift(bandwidth=0.5), MeanShift(method="naive")])
def test_scikit_learn_checks(estimator: MeanShift, check: object) -> None:
    check(estimator)  # type: ignore[operator]


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    return make_blobs(150, centers=[[0, 0], [6, 0], [0, 6]], cluster_std=0.5, random_state=0)


def test_blobs_are_found_and_new_points_go_to_the_nearest(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    points, truth = blobs
    found = MeanShift(bandwidth=1.0).fit(points)
    assert adjusted_rand_score(truth, found.labels_) == 1
    np.testing.assert_array_equal(found.predict(points), found.labels_)
    np.testing.assert_array_equal(found.modes_, mean_shift(points, bandwidth=1.0))
    for label, centre in enumerate(found.cluster_centers_):
        np.testing.assert_allclose(centre, found.modes_[found.labels_ == label].mean(0))
    assert found.predict([[5.0, 0.3]]) == found.predict([[6.0, 0.0]])


def test_the_bandwidth_is_estimated_as_by_scikit_learn(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    assert MeanShift(steps=1).fit(blobs[0]).bandwidth_ == estimate_bandwidth(blobs[0])


def test_where_the_estimate_is_zero_only_equal_points_are_a_cluster() -> None:
    assert (MeanShift().fit(np.zeros((10, 2))).labels_ == 0).all()
    np.testing.assert_array_equal(MeanShift().fit(np.array([[3.0]] * 9 + [[3.001]])).labels_, [0] * 9 + [1])


def test_a_weight_counts_points_and_none_moves_nothing(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    points = blobs[0][:40]
    weights = np.arange(40) % 4
    weighted = MeanShift(bandwidth=0.7, steps=3).fit(points, sample_weight=weights)
    repeated = MeanShift(bandwidth=0.7, steps=3).fit(np.repeat(points, weights, axis=0))
    np.testing.assert_allclose(np.repeat(weighted.modes_, weights, axis=0), repeated.modes_, atol=1e-9)
    assert len(weighted.cluster_centers_) == len(repeated.cluster_centers_)
    left_out = weights == 0
    np.testing.assert_array_equal(weighted.labels_[left_out], weighted.predict(points[left_out]))
    with pytest.raises(DataError, match="not > 0"):
        MeanShift(bandwidth=0.7).fit(points, sample_weight=weights - 1)


def test_options_out_of_range_are_named(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    for options, word in (({"bandwidth": 0}, "bandwidth"), ({"method": "quick"}, "quick"), ({"merge": "all"}, "all")):
        with pytest.raises(ConfigError, match=word):
            MeanShift(**{"bandwidth": 1.0, **options}).fit(blobs[0])


def test_without_scikit_learn_the_rest_works_and_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from maskwright.cluster import *\n"
        "import maskwright.cluster, maskwright.errors\n"
        "try: maskwright.cluster.MeanShift\n"
        "except maskwright.errors.ConfigError as error: assert 'maskwright[scikit-learn]' in str(error)\n"
        "else: sys.exit('no error')\n"
        "assert callable(segment) and not hasattr(maskwright.cluster, 'other')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scikit_learn_is_loaded_only_for_the_estimator() -> None:
    code = "import sys, maskwright.cluster; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
