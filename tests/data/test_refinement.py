"""Training samples of the bundled refiner."""

import numpy as np
import pytest
import torch

from maskwright.data import refinement
from maskwright.data.refinement import Photograph, RefinementData


def photograph(seed: int, *, mask: bool = True, height: int = 50, width: int = 70) -> Photograph:
    """A red disk on blue ground, with a strip of ignored pixels around it."""
    rows, columns = np.indices((height, width))
    distance = np.hypot(rows - 25, columns - 30 - seed)
    truth = np.where(distance < 14, 1, np.where(distance < 17, 255, 0)).astype(np.uint8)
    image = np.stack([255 * (distance < 15.5), np.zeros_like(rows), 255 * (distance >= 15.5)]).astype(np.uint8)
    given = (255 * (distance < 12)).astype(np.uint8) if mask else None
    return Photograph(image=image, truth=truth, mask=given)


def test_a_sample_is_an_image_with_its_mask_and_the_truth() -> None:
    data = RefinementData([photograph(0), photograph(3, mask=False)], side=32, seed=0)
    assert len(data) == 2
    for epoch in range(6):
        both, truth, index = data[(epoch, 1)]
        assert both.shape == (4, 32, 32) and both.dtype == torch.uint8
        assert truth.shape == (32, 32) and set(truth.unique().tolist()) <= {0, 1, 255}
        assert index == 1


def test_what_a_sample_holds_depends_on_seed_epoch_and_index_alone() -> None:
    photographs = [photograph(0), photograph(5)]
    one, other = (RefinementData(photographs, side=32, seed=1) for _ in range(2))
    first = one[(2, 1)]
    one[(0, 0)]
    assert all(torch.equal(a, b) for a, b in zip(first[:2], other[(2, 1)][:2], strict=True))
    assert not torch.equal(first[0], one[(3, 1)][0])


def test_image_truth_and_given_mask_keep_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "REGIONS", 0.0)
    monkeypatch.setattr(refinement, "COMPOSITES", 0.0)
    monkeypatch.setattr(refinement, "GIVEN_MASKS", 1.0)
    monkeypatch.setattr(refinement, "INVERTED", 0.0)
    monkeypatch.setattr(refinement, "_recoloured", lambda image, generator: image)
    data = RefinementData([photograph(0)], side=48, seed=0)
    for epoch in range(10):
        both, truth, _ = data[(epoch, 0)]
        red, mask = both[0] > 200, both[3] > 200
        # Red are the object and part of its strip; the given mask is smaller than the object.
        assert (red[truth == 1]).all() and not red[truth == 0].any()
        assert (truth[mask] == 1).all() and mask.sum() > 0.3 * (truth == 1).sum()


def test_object_and_ground_may_change_roles_together(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(refinement, "INVERTED", share)
        samples.append(RefinementData([photograph(0)], side=48, seed=0)[(0, 0)])
    (one, truth, _), (other, inverted, _) = samples
    assert torch.equal(one[:3], other[:3]) and torch.equal(one[3], 255 - other[3])
    assert torch.equal(inverted == 255, truth == 255) and torch.equal(inverted == 1, truth == 0)


def test_shapes_of_one_photograph_lie_on_another_with_their_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "REGIONS", 0.0)
    monkeypatch.setattr(refinement, "COMPOSITES", 1.0)
    monkeypatch.setattr(refinement, "INVERTED", 0.0)
    monkeypatch.setattr(refinement, "_recoloured", lambda image, generator: image)
    plain = [
        Photograph(image=np.full((3, 60, 60), value, np.uint8), truth=np.zeros((60, 60), np.uint8), mask=None)
        for value in (40, 200)
    ]
    data = RefinementData(plain, side=40, seed=0)
    shapes = 0
    for epoch in range(30):
        both, truth, _ = data[(epoch, 0)]
        inside = both[0][truth == 1]
        if len(inside) > 0 and inside.float().mean() > 100:  # the other photograph was chosen, and a shape
            shapes += 1
            assert both[0][truth == 0].float().mean() < 80
    assert shapes > 3


def test_an_image_smaller_than_the_crop_is_enlarged() -> None:
    data = RefinementData([photograph(0, height=33, width=40)], side=64, seed=0)
    assert data[(0, 0)][0].shape == (4, 64, 64)


def test_regions_replace_truth_and_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refinement, "REGIONS", 1.0)
    monkeypatch.setattr(refinement, "INVERTED", 0.0)
    region = np.zeros((48, 48), np.uint8)
    region[10:40, 5:30] = 1
    monkeypatch.setattr(refinement, "random_region", lambda image, generator: region)
    monkeypatch.setattr(refinement, "perturbed", lambda truth, generator: truth.astype(np.float32))
    both, truth, _ = RefinementData([photograph(0)], side=48, seed=0)[(0, 0)]
    assert np.array_equal(truth, region) or np.array_equal(truth, region[:, ::-1])
    assert torch.equal(both[3], 255 * truth)
