"""Grouping of pixels without training: Gaussian blurring mean shift.

labels, modes = segment(image)                     # RGB uint8 (H, W, 3)
modes = mean_shift(points, bandwidth=0.5)          # any points (N, D)
labels = MeanShift(bandwidth=0.5).fit_predict(X)   # as a scikit-learn clusterer; loaded when it is first used
"""

from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .mean_shift import mean_shift
from .regions import connected_components, merge_near, merge_small, outlines
from .segment import segment

if TYPE_CHECKING:
    from .estimator import MeanShift as MeanShift

# MeanShift is left out: `from maskwright.cluster import *` must work without scikit-learn.
__all__ = ["connected_components", "mean_shift", "merge_near", "merge_small", "outlines", "segment"]


def __getattr__(name: str) -> Any:
    if name != "MeanShift":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .estimator import MeanShift
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        raise ConfigError(
            "MeanShift needs the package scikit-learn; install it with `pip install 'maskwright[scikit-learn]'`"
        ) from error
    return MeanShift
