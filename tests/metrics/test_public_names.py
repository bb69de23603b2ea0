"""The names that others may rely on."""

from maskwright import metrics


def test_public_names():
    assert sorted(metrics.__all__) == [
        "BOUNDARY_STATISTICS",
        "BoundaryMeter",
        "BoundaryResult",
        "BoundaryScores",
        "Change",
        "DEFINITIONS",
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
    assert all(hasattr(metrics, name) for name in metrics.__all__)
