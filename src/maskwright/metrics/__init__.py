"""Measuring masks: exact pixel counts, scores with one stated definition each, and intervals around them.

    meter = EvaluationMeter(("background", "pet"))
    meter.update("cat_3", prediction, target)          # label maps at the image's own size, once per image
    result = meter.result()
    scores.scores(result).iou_per_image                # what it means: scores.DEFINITIONS["iou_per_image"]
    bootstrap.change(coarse_result, refined_result)    # is the difference more than luck?

`BoundaryMeter` in place of `EvaluationMeter` scores how well each mask follows the edge, too.

`partition_scores` scores regions without classes, as BSDS500 does, and `over_settings` a data set of them.

`InstanceMeter` scores objects by COCO's AP and AR, `PanopticMeter` segments by panoptic quality.

`CalibrationMeter` compares probabilities with what is true; `scores_by_size` parts masks into small, medium and large.

`conventions` says what every other tool would report for the same masks, and why the numbers differ.

`scores` and `bootstrap` are the modules here; the functions of the same names are reached through them.
"""

from maskwright.metrics import (
    bootstrap,
    boundary,
    boundary_meter,
    confusion,
    conventions,
    partition,
    partition_settings,
    scores,
)
from maskwright.metrics.bootstrap import Change, Interval, change, seed_interval
from maskwright.metrics.boundary import BoundaryScores, boundary_scores
from maskwright.metrics.boundary_meter import BOUNDARY_STATISTICS, BoundaryMeter, BoundaryResult
from maskwright.metrics.calibration import CalibrationMeter, CalibrationResult
from maskwright.metrics.confusion import EvaluationMeter, count, count_stack
from maskwright.metrics.instance import (
    INSTANCE_DEFINITIONS,
    InstanceMeter,
    InstanceResult,
    instance_interval,
    instance_scores,
)
from maskwright.metrics.panoptic import (
    PANOPTIC_DEFINITIONS,
    PanopticMeter,
    PanopticResult,
    panoptic_interval,
    panoptic_quality,
)
from maskwright.metrics.partition import (
    PartitionScores,
    covering,
    partition_scores,
    probabilistic_rand_index,
    variation_of_information,
)
from maskwright.metrics.partition_settings import (
    SETTING_STATISTICS,
    SettingScores,
    over_settings,
    settings_interval,
)
from maskwright.metrics.scores import DEFINITIONS, Scores, image_iou
from maskwright.metrics.sizes import SizeScore, scores_by_size

__all__ = [
    "BOUNDARY_STATISTICS",
    "DEFINITIONS",
    "INSTANCE_DEFINITIONS",
    "PANOPTIC_DEFINITIONS",
    "SETTING_STATISTICS",
    "BoundaryMeter",
    "BoundaryResult",
    "BoundaryScores",
    "CalibrationMeter",
    "CalibrationResult",
    "Change",
    "EvaluationMeter",
    "InstanceMeter",
    "InstanceResult",
    "Interval",
    "PanopticMeter",
    "PanopticResult",
    "PartitionScores",
    "Scores",
    "SettingScores",
    "SizeScore",
    "bootstrap",
    "boundary",
    "boundary_meter",
    "boundary_scores",
    "change",
    "confusion",
    "conventions",
    "count",
    "count_stack",
    "covering",
    "image_iou",
    "instance_interval",
    "instance_scores",
    "over_settings",
    "panoptic_interval",
    "panoptic_quality",
    "partition",
    "partition_scores",
    "partition_settings",
    "probabilistic_rand_index",
    "scores",
    "scores_by_size",
    "seed_interval",
    "settings_interval",
    "variation_of_information",
]
