"""The network of the bundled refiner: the identity before training, for any size."""

import pytest
import torch

from maskwright.refine import refiner
from maskwright.refine.refiner import CERTAIN, MaskRefiner


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


def test_the_tiles_cover_every_edge_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refiner, "TILE", 32)
    monkeypatch.setattr(refiner, "MARGIN", 8)
    probability = torch.zeros(70, 90)
    probability[20:30, 5:40] = 1
    edges = refiner._edges(probability.numpy())
    covered = torch.zeros(70, 90, dtype=torch.int64)
    for inner, outer in refiner._tiles_at_edges(probability.numpy()):
        covered[inner] += 1
        assert all(o.start <= i.start and i.stop <= o.stop for i, o in zip(inner, outer, strict=True))
        assert all(o.stop - o.start <= 32 for o in outer)
    assert covered.max() == 1 and (covered.numpy()[edges] == 1).all()
    assert covered.float().mean() < 0.5
