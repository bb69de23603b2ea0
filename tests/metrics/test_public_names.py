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
        "INSTANCE_DEFINITIONS",
        "InstanceMeter",
        "InstanceResult",
        "Interval",
        "PANOPTIC_DEFINITIONS",
        "PanopticMeter",
        "PanopticResult",
        "PartitionScores",
        "SETTING_STATISTICS",
        "Scores",
        "SettingScores",
        "bootstrap",
        "boundary",
        "boundary_meter",
        "boundary_scores",
        "change",
        "confusion",
        "count",
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
        "seed_interval",
        "settings_interval",
        "variation_of_information",
    ]
    assert all(hasattr(metrics, name) for name in metrics.__all__)
