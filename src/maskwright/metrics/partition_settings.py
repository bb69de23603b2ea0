"""Region scores of a data set over several settings, such as bandwidths: ODS, OIS and best, as in BSDS500.

    table = [[partition_scores(segment(image, bandwidth), truths) for bandwidth in bandwidths] for image, truths in ...]
    over_settings(table).covering_ods                   # and covering_setting, the bandwidth that it takes
    settings_interval(table, "covering_ods")            # with its interval over the images
    over_settings([[row[2]] for row in table])          # of one setting that was chosen elsewhere, ODS = OIS = its score

Scores and choices follow the code of the benchmark (Arbelaez et al. 2011), which sums the covering's overlaps and areas
over all images before it divides, but averages PRI and VI over the images. Images whose every pixel is ignored are left
out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwright.errors import ConfigError, DataError
from maskwright.metrics.bootstrap import Interval, interval_over_images, times_drawn
from maskwright.metrics.partition import PartitionScores

Table = Sequence[Sequence[PartitionScores]]
"""The scores of N images with S settings each, in the same order for every image."""

_ODS = "the one setting that is best for all images together"
_OIS = "with the setting that is best for it by this very score"
_COVERED = "IoU times pixels, summed over the regions of all truths of all images, divided by the sum of their pixels"

DEFINITIONS: dict[str, str] = {
    "images": "Images with a scored pixel.",
    "covering_ods": f"Covering with {_ODS}: each true region's best {_COVERED}.",
    "covering_ois": f"Covering with each image {_OIS}: each true region's best {_COVERED}.",
    "covering_best": f"Covering with each true region taking its best IoU over all settings: {_COVERED}.",
    "covering_setting": "Index of the setting of `covering_ods`, the first of equals.",
    "probabilistic_rand_index_ods": f"PRI, mean over the images, with {_ODS}, that of the highest mean.",
    "probabilistic_rand_index_ois": f"PRI, mean over the images, each {_OIS}, the highest.",
    "probabilistic_rand_index_setting": "Index of the setting of `probabilistic_rand_index_ods`, the first of equals.",
    "variation_of_information_ods": f"VI in bits, mean over the images, with {_ODS}, that of the lowest mean.",
    "variation_of_information_ois": f"VI in bits, mean over the images, each {_OIS}, the lowest.",
    "variation_of_information_setting": "Index of the setting of `variation_of_information_ods`, the first of equals.",
}
"""What each field of `SettingScores` is, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingScores:
    """The region scores of a data set over several settings. `DEFINITIONS` says in words what each field is."""

    images: int
    covering_ods: float
    covering_ois: float
    covering_best: float
    covering_setting: int
    probabilistic_rand_index_ods: float
    probabilistic_rand_index_ois: float
    probabilistic_rand_index_setting: int
    variation_of_information_ods: float
    variation_of_information_ois: float
    variation_of_information_setting: int


SETTING_STATISTICS = (
    "covering_ods",
    "covering_ois",
    "covering_best",
    "probabilistic_rand_index_ods",
    "probabilistic_rand_index_ois",
    "variation_of_information_ods",
    "variation_of_information_ois",
)
"""Fields of `SettingScores` that have an interval over the images."""


def over_settings(table: Table) -> SettingScores:
    """Score a data set over several settings.

    Args:
        table: the scores of each image, at least one, with each setting, at least one: `table[image][setting]`.

    Raises:
        DataError: there is no image, no setting or no scored pixel, or an image lacks a setting or was scored against
            different truths.
    """
    measures = _measures(table)
    values = {name: measure.value for name, measure in measures.items()}
    return SettingScores(
        images=measures["covering_ods"].images,
        covering_setting=measures["covering_ods"].setting,
        probabilistic_rand_index_setting=measures["probabilistic_rand_index_ods"].setting,
        variation_of_information_setting=measures["variation_of_information_ods"].setting,
        **values,
    )


def settings_interval(
    table: Table, statistic: str, *, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """The bootstrap interval of one statistic over the images; ODS chooses its setting anew for each drawn set.

    Args:
        table: see `over_settings`; of a single image the bounds are unknown (nan).
        statistic: one of `SETTING_STATISTICS`.
        resamples, seed, level: as in `bootstrap.bootstrap`; the same seed draws the same images.

    Raises:
        DataError: as in `over_settings`.
        ConfigError: the statistic is unknown, or an argument out of range.
    """
    if statistic not in SETTING_STATISTICS:
        raise ConfigError(f"statistic must be one of {', '.join(SETTING_STATISTICS)}; got {statistic!r}")
    measure = _measures(table)[statistic]
    return interval_over_images(
        lambda draws: measure.of(times_drawn(draws)), measure.images, resamples=resamples, seed=seed, level=level
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Measure:
    """A ratio of sums over the images, with the best of K settings: `parts` (N, K), `weights` (N,)."""

    parts: NDArray[np.float64]
    weights: NDArray[np.float64]
    lower_is_better: bool = False

    @property
    def images(self) -> int:
        return len(self.weights)

    @property
    def value(self) -> float:
        return float(self.of(np.ones((1, self.images)))[0])

    @property
    def setting(self) -> int:
        ratios = self._ratios(np.ones((1, self.images)))[0]
        return int(ratios.argmin() if self.lower_is_better else ratios.argmax())

    def of(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """The value of R sets, (R,), that hold each image so many times, (R, N)."""
        ratios = self._ratios(times)
        return ratios.min(axis=1) if self.lower_is_better else ratios.max(axis=1)

    def _ratios(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        return (times @ self.parts) / (times @ self.weights)[:, None]


def _measures(table: Table) -> dict[str, _Measure]:
    """One measure for each of SETTING_STATISTICS."""
    rows = _scored_rows(table)
    area = np.array([row[0].region_area.sum() for row in rows], dtype=np.float64)
    covered = np.array([[scores.region_area @ scores.region_iou for scores in row] for row in rows])
    best = np.array([row[0].region_area @ np.max([scores.region_iou for scores in row], axis=0) for row in rows])
    rand = np.array([[scores.probabilistic_rand_index for scores in row] for row in rows])
    information = np.array([[scores.variation_of_information for scores in row] for row in rows])
    each = np.ones(len(rows))
    return {
        "covering_ods": _Measure(covered, area),
        "covering_ois": _Measure(covered.max(axis=1, keepdims=True), area),
        "covering_best": _Measure(best[:, None], area),
        "probabilistic_rand_index_ods": _Measure(rand, each),
        "probabilistic_rand_index_ois": _Measure(rand.max(axis=1, keepdims=True), each),
        "variation_of_information_ods": _Measure(information, each, lower_is_better=True),
        "variation_of_information_ois": _Measure(information.min(axis=1, keepdims=True), each),
    }


def _scored_rows(table: Table) -> list[Sequence[PartitionScores]]:
    """The images with a scored pixel, once it is sure that every setting was scored on the same truths."""
    numbers = sorted({len(row) for row in table})
    if len(numbers) != 1 or numbers[0] == 0:
        raise DataError(
            f"each image needs scores with the same settings, at least one; got {len(table)} images "
            f"with {' or '.join(map(str, numbers)) or 'no'} settings; score every image with every setting"
        )
    for index, row in enumerate(table):
        if not all(np.array_equal(scores.region_area, row[0].region_area) for scores in row):
            raise DataError(
                f"the truths of image {index} differ from setting to setting; score all of them against the same"
            )
    rows = [row for row in table if row[0].region_area.size]
    if not rows:
        raise DataError(f"none of the {len(table)} images has a scored pixel; check `ignore_index`")
    return rows
