"""Coarse network and refiner as one, and the step from logits to label maps at the image's own size."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from maskwright.engine.network import RefinedSegmenter, labels_at, resize_logits
from maskwright.models import ModelConfig, build
from maskwright.refine import RefinerConfig, build_refiner


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def refined() -> RefinedSegmenter:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        coarse = build(ModelConfig(name="unet", options={"width": 4}), num_classes=3)
        refiner = build_refiner(RefinerConfig(kind="cspn", steps=2, width=4, levels=2), logit_channels=3)
        torch.nn.init.normal_(refiner.affinity_net.head.weight)
    return RefinedSegmenter(coarse, refiner).eval()


def test_the_refiner_gets_the_image_and_the_coarse_logits(refined: RefinedSegmenter) -> None:
    image = torch.rand(2, 3, 17, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        coarse = refined.coarse(image)
        states = refined(image, return_steps=True)
        assert states.shape == (3, 2, 3, 17, 20)
        assert torch.equal(states[0], coarse)
        assert torch.equal(refined(image), refined.refiner(image, coarse))
        assert torch.equal(refined(image), states[-1])
        assert not torch.equal(refined(image), coarse)


def test_the_coarse_network_sees_a_smaller_image_than_the_refiner(refined: RefinedSegmenter) -> None:
    image = torch.rand(2, 3, 34, 41, generator=torch.Generator().manual_seed(1))
    sharper = RefinedSegmenter(refined.coarse, refined.refiner, scale=2).eval()
    with torch.no_grad():
        smaller = F.interpolate(image, (17, 20), mode="bilinear", antialias=True)
        coarse = resize_logits(refined.coarse(smaller), (34, 41))
        states = sharper(image, return_steps=True)
        assert torch.equal(states[0], coarse)
        assert torch.equal(states[-1], refined.refiner(image, coarse))


def test_a_picture_of_one_pixel_is_not_shrunk_to_none(refined: RefinedSegmenter) -> None:
    sharper = RefinedSegmenter(refined.coarse, refined.refiner, scale=4).eval()
    with torch.no_grad():
        assert sharper(torch.rand(1, 3, 1, 3)).shape == (1, 3, 1, 3)


def test_one_channel_is_decided_at_probability_one_half() -> None:
    logits = torch.tensor([[[-0.1, 0.0, 0.1], [0.5, 0.4, -9.0]]])  # 0.4 and 0.5 are foreground: they are logits
    labels = labels_at(logits, (2, 3))
    assert labels.dtype == torch.int64
    assert labels.tolist() == [[0, 1, 1], [1, 1, 0]]


def test_several_channels_are_decided_by_the_largest() -> None:
    logits = torch.tensor([[[-1.0, 5.0]], [[-2.0, 4.0]], [[-3.0, 6.0]]])
    assert labels_at(logits, (1, 2)).tolist() == [[0, 2]]


def test_logits_are_resized_before_the_decision() -> None:
    labels = labels_at(torch.tensor([[[-1.0, 2.5]]]), (1, 4))  # −1, −0.125, 1.625, 2.5
    assert labels.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("shape", [(2, 5, 6), (4, 2, 5, 6), (3, 4, 2, 5, 6)])
def test_any_leading_axes_are_resized_alike(shape: tuple[int, ...]) -> None:
    logits = random(*shape)
    resized = resize_logits(logits, (9, 4))
    assert resized.shape == (*shape[:-2], 9, 4)
    singly = [resize_logits(one[None], (9, 4))[0] for one in logits.reshape(-1, 5, 6)]
    torch.testing.assert_close(resized.reshape(-1, 9, 4), torch.stack(singly))


def test_the_own_size_is_left_alone_and_half_becomes_float32() -> None:
    logits = random(2, 5, 6)
    assert torch.equal(resize_logits(logits, (5, 6)), logits)
    assert torch.equal(resize_logits(logits, torch.Size((5, 6))), logits)
    assert resize_logits(logits.half(), (3, 3)).dtype == torch.float32


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (13, 7)])
def test_resizing_keeps_to_the_range_and_keeps_constants(size: tuple[int, int]) -> None:
    logits = random(3, 6, 5)
    resized = resize_logits(logits, size)
    assert resized.shape == (3, *size)
    assert (resized.amax((1, 2)) <= logits.amax((1, 2)) + 1e-5).all()
    assert (resized.amin((1, 2)) >= logits.amin((1, 2)) - 1e-5).all()
    torch.testing.assert_close(resize_logits(torch.full((1, 6, 5), 2.5), size), torch.full((1, *size), 2.5))
