"""The names that others may rely on."""

from maskwright import cluster


def test_public_names() -> None:
    assert sorted(cluster.__all__) == [
        "connected_components",
        "mean_shift",
        "merge_near",
        "merge_small",
        "outlines",
        "segment",
    ]
    assert all(getattr(cluster, name).__doc__ for name in [*cluster.__all__, "MeanShift"])
