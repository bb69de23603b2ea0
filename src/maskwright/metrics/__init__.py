"""Measuring masks: exact pixel counts, scores with one stated definition each, and intervals around them.

    meter = EvaluationMeter(("background", "pet"))
    meter.update("cat_3", prediction, target)          # label maps at the image's own size, once per image
    result = meter.result()
    scores.scores(result).iou_per_image                # what it means: scores.DEFINITIONS["iou_per_image"]
    bootstrap.change(coarse_result, refined_result)    # is the difference more than luck?

`BoundaryMeter` in place of `EvaluationMeter` scores how well each mask follows the edge, too.

`scores` and `bootstrap` are the modules here; the functions of the same names are reached through them.
"""

from maskwright.metrics import bootstrap, boundary, boundary_meter, confusion, scores
from maskwright.metrics.bootstrap import Change, Interval, change, seed_interval
from maskwright.metrics.boundary import BoundaryScores, boundary_scores
from maskwright.metrics.boundary_meter import BOUNDARY_STATISTICS, BoundaryMeter, BoundaryResult
from maskwright.metrics.confusion import EvaluationMeter, count
from maskwright.metrics.scores import DEFINITIONS, Scores, image_iou

__all__ = [
    "BOUNDARY_STATISTICS",
    "DEFINITIONS",
    "BoundaryMeter",
    "BoundaryResult",
    "BoundaryScores",
    "Change",
    "EvaluationMeter",
    "Interval",
    "Scores",
    "bootstrap",
    "boundary",
    "boundary_meter",
    "boundary_scores",
    "change",
    "confusion",
    "count",
    "image_iou",
    "scores",
    "seed_interval",
]
