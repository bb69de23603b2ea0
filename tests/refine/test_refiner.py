"""The bundled refiner: the identity before training, for any size; with its weights, better masks."""

import json
from importlib import resources

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy import ndimage

from maskwright.errors import ConfigError
from maskwright.refine import refiner
from maskwright.refine.refiner import CERTAIN, MaskRefiner, refine_bundled


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (64, 64), (33, 97)])
def test_untrained_it_changes_nothing_at_any_size(size: tuple[int, int]) -> None:
    network = MaskRefiner().eval()
    image, logits = torch.rand(1, 3, *size), torch.randn(1, 1, *size).clamp(-3, 3)
    with torch.no_grad():
        mended, refined = network(image, logits)
    assert torch.equal(mended, logits)
    torch.testing.assert_close(refined, logits)


def test_a_mask_that_is_sure_is_made_less_sure() -> None:
    with torch.no_grad():
        _, refined = MaskRefiner().eval()(torch.rand(1, 3, 32, 32), torch.full((1, 1, 32, 32), 20.0))
    torch.testing.assert_close(refined, torch.full_like(refined, CERTAIN))


def test_everything_but_the_encoders_last_channels_learns() -> None:
    network = MaskRefiner()
    for parameter in network.head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    mended, refined = network(torch.rand(2, 3, 64, 64), torch.randn(2, 1, 64, 64))
    (mended.square().mean() + refined.square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("top", [16, 20])  # 16: the edge lies between two parts
def test_the_tiles_cover_every_edge_and_nothing_else(top: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiner, "TILE", 32)
    monkeypatch.setattr(refiner, "MARGIN", 8)
    logits = torch.full((1, 1, 70, 90), -4.0)
    logits[..., top:32, 5:40] = 4
    logits[..., 60, 80] = 1
    found = logits[0, 0].numpy() > 0
    edges = ndimage.maximum_filter(found, 3) != ndimage.minimum_filter(found, 3)
    covered = np.zeros((70, 90), np.int64)
    for inner, outer in refiner._tiles_at_edges(logits):
        covered[inner] += 1
        assert all(o.start <= i.start and i.stop <= o.stop for i, o in zip(inner, outer, strict=True))
        assert [o.stop - o.start for o in outer] == [32, 32]
    assert covered.max() == 1 and (covered[edges] == 1).all()
    assert covered.mean() < 0.6


def disk_picture(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disk on dark ground with a little noise, uint8 (S, S, 3), and its truth."""
    rows, columns = np.indices((side, side)) - side / 2
    truth = np.hypot(rows, columns) < side / 3
    noise = np.random.default_rng(0).integers(-15, 16, (side, side, 3))
    return (60 + 130 * truth[..., None] + noise).astype(np.uint8), truth


def spoilt(truth: np.ndarray) -> np.ndarray:
    """Foreground probabilities of the truth, moved by 3 pixels and soft, (2, H, W)."""
    soft = ndimage.gaussian_filter(np.roll(truth, (3, 3), axis=(0, 1)).astype(np.float32), 2).clip(0, 1)
    return np.stack((1 - soft, soft))


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("whole", [10**6, 100 * 100])
def test_the_shipped_weights_mend_an_object_that_they_never_saw(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiner, "WHOLE", whole)  # the smaller one makes tiles of the same picture
    image, truth = disk_picture(160)
    before = spoilt(truth)
    after = refine_bundled(before, image).probabilities
    assert after.shape == before.shape and after.dtype == np.float32
    np.testing.assert_allclose(after.sum(0), 1, atol=1e-5)
    assert iou(after[1] >= 0.5, truth) > iou(before[1] >= 0.5, truth) + 0.01


def test_a_large_picture_of_one_row_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiner, "WHOLE", 64)
    probabilities = np.full((2, 1, 300), 0.5, np.float32)
    assert refine_bundled(probabilities, np.zeros((1, 300, 3), np.uint8)).probabilities.shape == (2, 1, 300)


def test_a_mask_without_an_edge_stays_without_one() -> None:
    image, _ = disk_picture(64)
    for value in (0.0, 1.0):
        foreground = np.full((64, 64), value, np.float32)
        after = refine_bundled(np.stack((1 - foreground, foreground)), image).probabilities
        assert ((after[1] >= 0.5) == (value == 1)).all()


def test_several_classes_are_refined_each_against_the_rest() -> None:
    image, truth = disk_picture(96)
    _, soft = spoilt(truth)
    left = np.arange(96) < 48
    probabilities = np.stack((1 - soft, soft * left, soft * ~left, np.zeros_like(soft))).astype(np.float32)
    after = refine_bundled(probabilities, image).probabilities
    np.testing.assert_allclose(after.sum(0), 1, atol=1e-5)
    labels = after.argmax(0)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert iou(labels > 0, truth) > iou(soft >= 0.5, truth)


def test_the_weights_are_small_and_say_where_they_come_from() -> None:
    path = resources.files("maskwright.refine") / "weights" / refiner.WEIGHTS
    assert len(path.read_bytes()) <= 8 * 10**6
    with resources.as_file(path) as file, safe_open(file, framework="pt") as weights:
        card = json.dumps(weights.metadata())
    assert "Oxford-IIIT Pet" in card and "CC BY-SA 4.0" in card and "Apache-2.0" in card


def test_where_the_crf_cannot_work_the_network_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    image, truth = disk_picture(160)
    before = spoilt(truth)

    def refused(*_: object, **__: object) -> np.ndarray:
        raise ConfigError("too narrow")

    monkeypatch.setattr(refiner, "dense_crf", refused)
    after = refine_bundled(before, image).probabilities
    assert iou(after[1] >= 0.5, truth) > iou(before[1] >= 0.5, truth)
