"""Gaussian blurring mean shift as a scikit-learn clusterer; needs scikit-learn, which is an extra.

Departs from scikit-learn's own `MeanShift` in: a Gaussian kernel instead of a flat one, points that blur each other instead
of seeds that climb a fixed density, no orphans, and weights of points. Where no bandwidth is given, both take scikit-learn's
`estimate_bandwidth`; it is made for the radius of a flat kernel, and as a Gaussian's σ it smooths more.
"""

from typing import Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import estimate_bandwidth
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..errors import ConfigError
from .mean_shift import STEPS, Method, mean_shift
from .segment import Merge, labels_of_modes

NEXT_TO_NOTHING = 1e-9
"""Bandwidth relative to the coordinates that keeps all apart but equal points."""


class MeanShift(ClusterMixin, BaseEstimator):
    """Clusters of points by Gaussian blurring mean shift.

    Args:
        bandwidth: standard deviation of the Gaussian, > 0, in units of the points; None estimates it in `fit`.
        steps: of mean shift, ≥ 0.
        tolerance: see `mean_shift`.
        method: see `mean_shift`.
        merge: which modes are one cluster. `modes`: those that a chain of modes links whose steps are shorter than the
            bandwidth; `round`: those of equal round(mode / 4) in the first three dimensions, for colours in CIELAB.

    Attributes:
        labels_: (N,) int32, 0 … K − 1, the cluster of the largest weight first.
        cluster_centers_: (K, D), the mean of each cluster's modes, weighted as the points are.
        modes_: (N, D), the place where each point ended; that of a point of weight 0 is its cluster's centre.
        bandwidth_: the one that was used.
        n_features_in_: D.
    """

    def __init__(
        self,
        *,
        bandwidth: float | None = None,
        steps: int = STEPS,
        tolerance: float | None = None,
        method: Method = "auto",
        merge: Merge = "modes",
    ) -> None:
        self.bandwidth = bandwidth
        self.steps = steps
        self.tolerance = tolerance
        self.method = method
        self.merge = merge

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the clusters of points X, (N, D).

        Args:
            X: finite numbers.
            y: not used; pipelines hand it on.
            sample_weight: (N,), ≥ 0; a point of weight 2 counts as two, one of weight 0 gets a label and moves nothing.

        Raises:
            ValueError: no such points or weights.
            ConfigError: an option out of range.
        """
        points = validate_data(self, X, dtype=np.float64)
        if self.merge not in get_args(Merge):
            raise ConfigError(f"merge {self.merge!r} is unknown; expected {' or '.join(get_args(Merge))}")
        weights = _check_sample_weight(sample_weight, points, dtype=np.float64)
        counted = weights != 0
        if counted.all():
            counted = np.s_[:]
        self.bandwidth_ = _estimated(points[counted]) if self.bandwidth is None else self.bandwidth
        moved = mean_shift(
            points[counted],
            bandwidth=self.bandwidth_,
            steps=self.steps,
            weights=weights[counted],
            tolerance=self.tolerance,
            method=self.method,
        )
        groups = labels_of_modes(moved, weights[counted], self.merge, self.bandwidth_)
        mass = np.bincount(groups, weights[counted])
        sums = [np.bincount(groups, weights[counted] * column) for column in moved.T]
        centres = np.stack(sums, 1) / mass[:, None]
        # Numbered by weight, so that a point of weight 2 is two points here, too.
        order = np.lexsort((*centres.T[::-1], -mass))
        groups = np.argsort(order).astype(np.int32)[groups]
        self.cluster_centers_ = centres[order]
        self.labels_ = self._nearest(points)
        self.labels_[counted] = groups
        self.modes_ = self.cluster_centers_[self.labels_]
        self.modes_[counted] = moved
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int32]:
        """Return the cluster whose centre is nearest to each of points X, (N, D)."""
        check_is_fitted(self)
        return self._nearest(validate_data(self, X, reset=False, dtype=np.float64))

    def _nearest(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        nearest: NDArray[Any] = pairwise_distances_argmin(points, self.cluster_centers_)
        return nearest.astype(np.int32)


def _estimated(points: NDArray[np.float64]) -> float:
    # Where most points are equal it is 0. Then, as in scikit-learn's MeanShift, only equal points are a cluster.
    return float(estimate_bandwidth(points)) or NEXT_TO_NOTHING * float(np.abs(points).max() or 1)
