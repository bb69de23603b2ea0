"""Boundary scores of a data set: a meter that collects them beside the counts, image by image.

meter = BoundaryMeter(("background", "pet"))
meter.update("cat_3", prediction, target)
bootstrap.bootstrap(meter.result(), "boundary_iou")    # the mean over the images, with its interval
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Optional

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.boundary import BORDER_SHARE, BoundaryScores, boundary_scores
from maskwright.metrics.confusion import EvaluationMeter, LabelMap, joined
from maskwright.metrics.distributed import in_turns, of_all_processes
from maskwright.types import EvaluationResult

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

BOUNDARY_STATISTICS = (
    "boundary_iou",
    "mean_boundary_accuracy",
    "trimap_iou",
    "trimap_iou_half",
    "trimap_iou_quarter",
    "boundary_f",
    "davis_f",
)
"""Scores of the single images whose mean over the images that have one is the statistic; fields of `BoundaryScores`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryResult(EvaluationResult):
    """Counts of a set of predictions, and the boundary scores of each image.

    Attributes:
        boundary: each of BOUNDARY_STATISTICS → float64, (N,), in [0, 1], nan where the image has no such score.
        border_share: of `boundary_scores`, as a share of the diagonal.
        empty_value: of `boundary_scores`.
    """

    boundary: Mapping[str, NDArray[np.float64]]
    border_share: float
    empty_value: float


class BoundaryMeter:
    """Collects counts and boundary scores of a data set image by image.

    Args:
        classes: class names, index = label, at least two; class 0 is the background.
        border_share: see `boundary_scores`.
        empty: see `boundary_scores`.
    """

    def __init__(self, classes: Sequence[str], *, border_share: float = BORDER_SHARE, empty: float = 1.0) -> None:
        self.border_share = border_share
        self.empty = empty
        self._counts = EvaluationMeter(classes)
        self._scores: dict[str, BoundaryScores] = {}

    def update(self, name: str, prediction: LabelMap, target: LabelMap) -> None:
        """Add one image; arguments and errors as in `EvaluationMeter.update`."""
        image = EvaluationMeter(self._counts.classes)
        image.update(name, prediction, target)
        scores = boundary_scores(
            prediction,
            target,
            num_classes=len(self._counts.classes),
            border_share=self.border_share,
            empty=self.empty,
        )
        # Refuses a name that was there before; behind it nothing fails, so that counts and scores hold the same images.
        self._counts.merge(image)
        self._scores[name] = scores

    def merge(self, other: "BoundaryMeter") -> None:
        """Add the images of another meter behind those of this one; the other stays as it is.

        Raises:
            DataError: the meters share an image, or differ in classes, reach of the border or value of empty masks.
        """
        self._refuse_other_settings(other)
        self._counts.merge(other._counts)
        self._scores |= other._scores

    def gathered(self, group: Optional["ProcessGroup"] = None) -> "BoundaryMeter":
        """Return a meter of the images of all processes of `torch.distributed`, as `EvaluationMeter.gathered` does.

        Raises:
            DataError: see there, or processes differ in reach of the border or value of empty masks.
        """
        meters = of_all_processes(self, group)
        for other in meters:
            self._refuse_other_settings(other)
        together = BoundaryMeter(self._counts.classes, border_share=self.border_share, empty=self.empty)
        together._counts = joined([meter._counts for meter in meters])
        together._scores = in_turns([meter._scores for meter in meters], _alike)
        return together

    def result(self) -> BoundaryResult:
        """The counts and scores so far, in the order in which the images came; later updates do not change it."""
        counts = self._counts.result()
        return BoundaryResult(
            classes=counts.classes,
            names=counts.names,
            counts=counts.counts,
            confusion=counts.confusion,
            ignored=counts.ignored,
            boundary={
                name: np.array([getattr(scores, name) for scores in self._scores.values()], dtype=np.float64)
                for name in BOUNDARY_STATISTICS
            },
            border_share=self.border_share,
            empty_value=self.empty,
        )

    def _refuse_other_settings(self, other: "BoundaryMeter") -> None:
        own, others = (np.array([meter.border_share, meter.empty]) for meter in (self, other))
        if not np.array_equal(own, others, equal_nan=True):
            raise DataError(
                f"meters that merge must agree on border_share and empty; got {self.border_share}, {self.empty} and "
                f"{other.border_share}, {other.empty}"
            )


def _alike(one: BoundaryScores, other: BoundaryScores) -> bool:
    return np.array_equal(np.array(astuple(one)), np.array(astuple(other)), equal_nan=True)


def boundary_values(result: EvaluationResult, statistic: str) -> NDArray[np.float64]:
    """One of BOUNDARY_STATISTICS for each image, (N,), nan where it has none.

    Raises:
        ConfigError: the result holds counts only.
    """
    if not isinstance(result, BoundaryResult):
        raise ConfigError(
            f"{statistic} needs the boundary scores of each image, and this result holds counts only; "
            "score with `boundary=True`, or collect it with BoundaryMeter"
        )
    return result.boundary[statistic]


def has_boundary(results: Iterable[EvaluationResult]) -> bool:
    """Whether all of the results hold boundary scores."""
    return all(isinstance(result, BoundaryResult) for result in results)
