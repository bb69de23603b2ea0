"""The refiners as modules: what they start as, what they are given, that they learn, and their configuration."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskwright.errors import ConfigError
from maskwright.refine import CSPN, AffinityNet, DySPN, RefinerConfig, build_refiner, cspn, dyspn
from maskwright.refine.affinity import probabilities_and_entropy

KINDS = ["cspn", "dyspn"]


def tiny(kind: str, logit_channels: int = 1, *, seed: int = 0, **options: object) -> CSPN | DySPN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = RefinerConfig(kind=kind, width=4, levels=2, **options)
        return build_refiner(config, logit_channels=logit_channels)


def awake(kind: str, logit_channels: int = 1, **options: object) -> CSPN | DySPN:
    """A refiner in evaluation mode whose head is no longer zero."""
    refiner = tiny(kind, logit_channels, **options).eval()
    with torch.no_grad():
        refiner.affinity_net.head.weight.normal_(generator=torch.Generator().manual_seed(1))
    return refiner


def pictures(n: int = 2, channels: int = 1, size: tuple[int, int] = (9, 7)) -> tuple[Tensor, Tensor]:
    """Random images in [0, 1] and logits."""
    generator = torch.Generator().manual_seed(2)
    return torch.rand(n, 3, *size, generator=generator), 4 * torch.randn(n, channels, *size, generator=generator)


def soft_square() -> tuple[Tensor, Tensor, Tensor]:
    """An image that shows a square sharply, its label map, and coarse logits that show it blurred."""
    truth = torch.zeros(1, 1, 16, 16)
    truth[..., 5:12, 4:11] = 1
    blurred = F.avg_pool2d(truth, 7, stride=1, padding=3)
    return 0.2 + 0.6 * truth.expand(1, 3, -1, -1), truth, 8 * (blurred - 0.5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_starts_as_the_identity(kind: str, channels: int, training: bool) -> None:
    image, logits = pictures(channels=channels)
    assert torch.equal(tiny(kind, channels).train(training)(image, logits), logits)


def test_signed_cspn_starts_as_the_identity() -> None:
    image, logits = pictures()
    assert torch.equal(CSPN(AffinityNet(1, 8, width=4, levels=2), form="signed")(image, logits), logits)


def test_softmax_cspn_starts_near_the_identity() -> None:
    image, logits = pictures()
    refined = tiny("cspn", softmax=True)(image, logits)
    assert 0 < (refined - logits).abs().mean() < 0.25 * logits.abs().mean()


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_learns_from_the_image_to_sharpen_a_mask(kind: str, softmax: bool) -> None:
    image, truth, coarse = soft_square()
    refiner = tiny(kind, softmax=softmax)
    optimizer = torch.optim.Adam(refiner.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        loss = F.binary_cross_entropy_with_logits(refiner(image, coarse), truth)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_gradient_is_not_zero(kind: str) -> None:
    image, truth, coarse = soft_square()
    refiner = tiny(kind)
    F.binary_cross_entropy_with_logits(refiner(image, coarse), truth).backward()
    assert refiner.affinity_net.head.weight.grad.abs().max() > 0


def test_the_paper_s_dyspn_has_72_guidance_channels() -> None:
    refiner = build_refiner(RefinerConfig(kind="dyspn", width=4), logit_channels=1)
    assert refiner.affinity_net.head.out_channels == 72


@pytest.mark.parametrize(
    ("kind", "kernel_size", "steps", "channels"),
    [("cspn", 0, 6, 8), ("cspn", 5, 2, 24), ("dyspn", 3, 4, 8 + 4 * 2), ("dyspn", 5, 2, 24 + 2 * 3)],
)
def test_the_head_has_the_channels_that_kernel_and_steps_need(
    kind: str, kernel_size: int, steps: int, channels: int
) -> None:
    refiner = awake(kind, kernel_size=kernel_size, steps=steps)
    assert refiner.affinity_net.head.out_channels == channels
    image, logits = pictures()
    states = refiner(image, logits, return_steps=True)
    assert states.shape == (steps + 1, *logits.shape)
    assert torch.equal(states[0], logits)
    assert torch.equal(states[-1], refiner(image, logits))
    assert not torch.equal(states[-1], logits)


def test_cspn_hands_its_affinity_to_the_function() -> None:
    refiner = awake("cspn", steps=3)
    image, logits = pictures()
    expected = cspn(logits, refiner.affinity_net(image, logits), 3, form="bounded")
    torch.testing.assert_close(refiner(image, logits), expected, rtol=1e-4, atol=1e-5)


def test_dyspn_hands_affinity_then_attention_to_the_function() -> None:
    refiner = awake("dyspn", steps=3)
    image, logits = pictures()
    guidance = refiner.affinity_net(image, logits)
    attention = torch.stack([guidance[:, 48 + 4 * t : 52 + 4 * t] for t in range(3)], dim=1)
    expected = dyspn(logits, guidance[:, :48], attention, 3)
    torch.testing.assert_close(refiner(image, logits), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (17, 12)])
@pytest.mark.parametrize("kind", KINDS)
def test_any_size(kind: str, size: tuple[int, int]) -> None:
    image, logits = pictures(1, 2, size)
    refined = awake(kind, 2)(image, logits)
    assert refined.shape == logits.shape
    assert refined.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_images_one_by_one(kind: str) -> None:
    refiner = awake(kind, 3)
    image, logits = pictures(3, 3)
    singly = [refiner(i[None], h[None]) for i, h in zip(image, logits, strict=True)]
    torch.testing.assert_close(refiner(image, logits), torch.cat(singly), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 20.0, 1e4])
@pytest.mark.parametrize("kind", KINDS)
def test_confident_coarse_logits_get_finite_gradients(kind: str, scale: float, channels: int) -> None:
    # Coarse network and refiner can be trained together; a float32 sigmoid is exactly 1 from a logit of 17 on.
    image, logits = pictures(channels=channels)
    logits = (scale * logits.sign()).requires_grad_()
    refiner = awake(kind, channels)
    refiner(image, logits).square().mean().backward()
    assert logits.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in refiner.parameters())


@pytest.mark.parametrize("logit", [-1e4, -2.0, 0.0, 3.0, 1e4])
def test_one_channel_says_what_two_say(logit: float) -> None:
    single = torch.tensor(logit).view(1, 1, 1, 1)
    double = torch.cat((torch.zeros_like(single), single), dim=1)
    probability, entropy = probabilities_and_entropy(single)
    probabilities, other_entropy = probabilities_and_entropy(double)
    torch.testing.assert_close(probability, probabilities[:, 1:])
    torch.testing.assert_close(entropy, other_entropy)


def test_entropy_is_scaled_to_one() -> None:
    for channels in (1, 2, 5):
        assert probabilities_and_entropy(torch.zeros(1, channels, 1, 1))[1].item() == pytest.approx(1)
    p = 1 / (1 + math.exp(-2.0))
    expected = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
    assert probabilities_and_entropy(torch.full((1, 1, 1, 1), 2.0))[1].item() == pytest.approx(expected)


def test_only_the_probabilities_of_the_logits_are_read() -> None:
    net = awake("cspn", 3).affinity_net
    image, logits = pictures(channels=3)
    torch.testing.assert_close(net(image, logits), net(image, logits + 7), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_build_refiner_returns_is_reproducible_from_its_state(kind: str) -> None:
    image, logits = pictures()
    first, second = awake(kind), tiny(kind, seed=9).eval()
    second.load_state_dict(first.state_dict())
    assert isinstance(first, nn.Module)
    assert torch.equal(first(image, logits), second(image, logits))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kind": "crf"}, "refiner.kind"),
        ({"kernel_size": 4}, "refiner.kernel_size"),
        ({"kernel_size": 1}, "refiner.kernel_size"),
        ({"kernel_size": -3}, "refiner.kernel_size"),
        ({"steps": 0}, "refiner.steps"),
        ({"width": 0}, "refiner.width"),
        ({"levels": 0}, "refiner.levels"),
    ],
)
def test_settings_out_of_range_are_named_with_what_came(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        RefinerConfig(**options)
    assert str(next(iter(options.values()))) in str(caught.value)
