"""Losses: against sums done by hand, and what ignored pixels, empty masks, sizes and precisions do to them."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from maskwright.errors import ConfigError
from maskwright.losses import SegmentationLoss, bce_loss, crf_loss, cross_entropy_loss, dice_loss, match_sizes

LARGE = 50.0
TERMS = [("dice", 1), ("dice_batch", 1), ("bce", 1), ("dice", 3), ("dice_batch", 3), ("cross_entropy", 3)]
"""Every term with the numbers of logit channels that it applies to."""


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def case(channels: int, *, n: int = 2, size: int = 6) -> tuple[Tensor, Tensor]:
    """Random logits and labels, some of them ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(n, channels, size, size, generator=generator)
    target = torch.randint(0, max(channels, 2), (n, size, size), generator=generator)
    target[:, 0, :3] = 255
    return logits, target


def perfect(target: Tensor, channels: int) -> Tensor:
    """Confident logits that say `target`."""
    if channels == 1:
        return LARGE * (2.0 * (target == 1).float() - 1).unsqueeze(1)
    labels = target.masked_fill(target == 255, 0)
    return LARGE * F.one_hot(labels, channels).permute(0, 3, 1, 2).float()


def test_dice_by_hand() -> None:
    logits = torch.tensor([[[[2.0, -1.0], [0.5, -3.0]]]])
    target = torch.tensor([[[1, 0], [1, 255]]])
    overlap = sigmoid(2) + sigmoid(0.5)
    size = sigmoid(2) + sigmoid(-1) + sigmoid(0.5) + 2
    assert dice_loss(logits, target).item() == pytest.approx(1 - (2 * overlap + 1) / (size + 1))
    assert dice_loss(logits, target, smooth=0).item() == pytest.approx(1 - 2 * overlap / size)


def test_dice_over_classes_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 0.0]], [[math.log(2), 0.0]], [[0.0, math.log(6)]]]])  # ¼ ½ ¼ and ⅛ ⅛ ¾
    target = torch.tensor([[[1, 0]]])
    each = [(2 * 0.125 + 1) / (0.375 + 1 + 1), (2 * 0.5 + 1) / (0.625 + 1 + 1), (0 + 1) / (1 + 0 + 1)]
    assert dice_loss(logits, target).item() == pytest.approx(1 - sum(each) / 3)


def test_dice_per_image_is_the_mean_of_images_and_per_batch_one_sum() -> None:
    logits, target = case(1)
    target[1] = 0
    singly = [dice_loss(logits[i : i + 1], target[i : i + 1]).item() for i in range(2)]
    assert dice_loss(logits, target).item() == pytest.approx(sum(singly) / 2)
    as_one_image = dice_loss(torch.cat(tuple(logits), 2)[None], torch.cat(tuple(target), 1)[None])
    assert dice_loss(logits, target, per_image=False).item() == pytest.approx(as_one_image.item())
    assert as_one_image.item() != pytest.approx(sum(singly) / 2)


def test_dice_is_not_pixel_accuracy() -> None:
    target = torch.zeros(1, 32, 32, dtype=torch.long)
    target[0, :3, :10] = 1
    everything_background = torch.full((1, 1, 32, 32), -LARGE)  # 97 % of the pixels are right
    assert dice_loss(everything_background, target).item() > 0.95


def test_bce_by_hand() -> None:
    logits = torch.tensor([[[[2.0, -1.0], [0.5, 9.0]]]])
    target = torch.tensor([[[1, 0], [0, 255]]])
    expected = -(math.log(sigmoid(2)) + math.log(1 - sigmoid(-1)) + math.log(1 - sigmoid(0.5))) / 3
    assert bce_loss(logits, target).item() == pytest.approx(expected)


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 1.0, 5.0]], [[2.0, 0.0, 5.0]], [[-1.0, 0.0, 0.0]]]])
    target = torch.tensor([[[1, 2, 255]]])
    first = 2 - math.log(math.exp(0) + math.exp(2) + math.exp(-1))
    second = 0 - math.log(math.exp(1) + 2)
    assert cross_entropy_loss(logits, target).item() == pytest.approx(-(first + second) / 2)


@pytest.mark.parametrize(("term", "channels"), TERMS)
def test_a_perfect_prediction_costs_nothing_and_its_opposite_much(term: str, channels: int) -> None:
    # Both fail for a loss that takes logits for probabilities, or applies its sigmoid twice.
    _, target = case(channels)
    loss = SegmentationLoss({term: 1.0}, logit_channels=channels)
    assert loss(perfect(target, channels), target).item() == pytest.approx(0, abs=1e-5)
    assert loss(-perfect(target, channels), target).item() > 0.4


@pytest.mark.parametrize(("term", "channels"), TERMS)
def test_ignored_pixels_have_no_gradient_and_no_say(term: str, channels: int) -> None:
    logits, target = case(channels)
    ignored = (target == 255).unsqueeze(1)
    loss = SegmentationLoss({term: 1.0}, logit_channels=channels)
    logits.requires_grad_()
    value = loss(logits, target)
    value.backward()
    gradient = logits.grad
    assert (gradient[ignored.expand_as(gradient)] == 0).all()
    assert (gradient[~ignored.expand_as(gradient)] != 0).all()
    for other in (-1e4, 1e30):
        assert loss(logits.detach().masked_fill(ignored, other), target).item() == value.item()


@pytest.mark.parametrize("label", [0, 255])
@pytest.mark.parametrize(("term", "channels"), TERMS)
def test_without_foreground_or_with_everything_ignored_the_loss_is_finite(term: str, channels: int, label: int) -> None:
    logits, target = case(channels)
    logits.requires_grad_()
    value = SegmentationLoss({term: 1.0}, logit_channels=channels)(logits, torch.full_like(target, label))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()
    if label == 255:
        assert value.item() == pytest.approx(0, abs=1e-6)
        assert (logits.grad == 0).all()


def test_an_empty_mask_predicted_empty_costs_nothing() -> None:
    target = torch.zeros(1, 4, 4, dtype=torch.long)
    assert dice_loss(torch.full((1, 1, 4, 4), -LARGE), target).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scale", [1e4, 1e30])
@pytest.mark.parametrize(("term", "channels"), TERMS)
def test_extreme_logits_give_finite_losses_and_gradients(term: str, channels: int, scale: float) -> None:
    logits, target = case(channels)
    logits = (scale * logits.sign()).requires_grad_()
    value = SegmentationLoss({term: 1.0}, logit_channels=channels)(logits, target)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("term", "channels"), TERMS)
def test_gradients(term: str, channels: int) -> None:
    logits, target = case(channels, size=3)
    functions = {
        "dice": dice_loss,
        "dice_batch": lambda h, t: dice_loss(h, t, per_image=False),
        "bce": bce_loss,
        "cross_entropy": cross_entropy_loss,
    }
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda h: functions[term](h, target), (logits,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("term", "channels"), TERMS)
def test_half_precisions_are_computed_in_float32(term: str, channels: int, dtype: torch.dtype) -> None:
    logits, target = case(channels, size=300)  # 90,000 pixels overflow a float16 sum
    loss = SegmentationLoss({term: 1.0}, logit_channels=channels)
    value = loss(logits.to(dtype), target)
    assert value.dtype == torch.float32
    assert value.item() == loss(logits.to(dtype).float(), target).item()


def test_terms_are_added_by_weight() -> None:
    logits, target = case(1)
    both = SegmentationLoss({"bce": 0.5, "dice": 2.0}, logit_channels=1)(logits, target)
    expected = 0.5 * bce_loss(logits, target) + 2 * dice_loss(logits, target)
    assert both.item() == pytest.approx(expected.item())
    batch = SegmentationLoss({"dice_batch": 1.0}, logit_channels=1)(logits, target)
    assert batch.item() == dice_loss(logits, target, per_image=False).item()


def test_logits_are_resized_bilinearly_by_pixel_centres() -> None:
    logits = torch.tensor([[[[0.0, 8.0]]]])
    target = torch.zeros(1, 1, 4, dtype=torch.long)
    resized, same = match_sizes(logits, target, "logits")
    assert resized.flatten().tolist() == [0.0, 2.0, 6.0, 8.0]
    assert same is target


def test_labels_are_resized_to_those_at_the_pixel_centres() -> None:
    target = torch.arange(81).view(1, 9, 9) % 11
    target[0, 4, 4] = 255
    logits, small = match_sizes(torch.zeros(1, 11, 3, 3), target, "labels")
    assert logits.shape[-2:] == (3, 3)
    assert small.dtype == torch.int64
    assert torch.equal(small, target[:, 1::3, 1::3])


def test_the_loss_resizes_as_it_is_told() -> None:
    logits, _ = case(1, size=3)
    _, target = case(1, size=9)
    for resize in ("logits", "labels"):
        expected = bce_loss(*match_sizes(logits, target, resize))
        assert SegmentationLoss({"bce": 1.0}, logit_channels=1, resize=resize)(logits, target).item() == expected.item()


def test_equal_sizes_are_left_alone() -> None:
    logits, target = case(1)
    for resize in ("logits", "labels"):
        assert match_sizes(logits, target, resize) == (logits, target)


def brute_force_crf(probabilities: Tensor, image: Tensor, *, sigma: float, levels: float) -> Tensor:
    """The dense-CRF loss of one image by the matrix of all pairs of pixels, float64.

    Args:
        probabilities: (C, H, W).
        image: (3, H, W), in [0, 1].
        sigma: pixels.
        levels: grey levels.
    """
    _, height, width = image.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((rows, columns)).double() / sigma
    features = torch.cat((places, image.double() * 255 / levels)).flatten(1).T
    kernel = torch.exp(-(torch.cdist(features, features) ** 2) / 2)
    root = kernel.sum(1).rsqrt()
    kernel = root[:, None] * kernel * root
    flat = probabilities.flatten(1)
    return sum((p @ kernel @ (1 - p) for p in flat), flat.new_zeros(())) / (height * width)


def crf_case(channels: int, size: int = 8) -> tuple[Tensor, Tensor]:
    """Smooth random images and random logits."""
    generator = torch.Generator().manual_seed(0)
    images = F.interpolate(torch.rand(2, 3, 3, 3, generator=generator), (size, size), mode="bilinear")
    return 2 * torch.randn(2, channels, size, size, generator=generator), images


def all_classes(logits: Tensor) -> Tensor:
    return logits.softmax(1) if logits.shape[1] > 1 else torch.cat((logits.sigmoid(), (-logits).sigmoid()), 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_crf_equals_the_sum_over_all_pairs_and_so_does_its_gradient(channels: int) -> None:
    logits, images = crf_case(channels)
    logits.requires_grad_()
    loss = crf_loss(logits, images, shrink=1, sigma=0.25, levels=60)
    loss.backward()
    exact = logits.detach().double().requires_grad_()
    each = zip(all_classes(exact), images, strict=True)
    expected = torch.stack([brute_force_crf(p, image, sigma=2, levels=60) for p, image in each]).mean()
    expected.backward()
    # The lattice approximates the Gaussian, coarsely where points are as few as here.
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    similarity = F.cosine_similarity(logits.grad.flatten().double(), exact.grad.flatten(), dim=0)
    assert similarity > 0.95
    assert logits.grad.norm().item() == pytest.approx(exact.grad.norm().item(), rel=0.1)


def test_the_gradient_of_crf_is_that_of_its_value() -> None:
    logits, images = crf_case(3)
    logits.requires_grad_()
    crf_loss(logits, images, shrink=2).backward()
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    step = 1e-2
    ends = [crf_loss(logits.detach() + sign * step * direction, images, shrink=2).item() for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx((logits.grad * direction).sum().item(), rel=0.02)


def test_crf_wants_classes_to_change_where_the_colours_do() -> None:
    images = torch.zeros(1, 3, 16, 16)
    images[..., 8:] = 1
    along, across = torch.full((2, 1, 1, 16, 16), -LARGE)
    along[..., 8:], across[..., 8:, :] = LARGE, LARGE
    assert crf_loss(along, images, shrink=1).item() == pytest.approx(0, abs=1e-4)
    assert crf_loss(across, images, shrink=1).item() > 0.05
    assert crf_loss(torch.zeros_like(along), images, shrink=1).item() == pytest.approx(0.5, rel=0.01)


def test_crf_of_a_batch_is_the_mean_of_its_images() -> None:
    logits, images = crf_case(3)
    singly = [crf_loss(logits[i : i + 1], images[i : i + 1]).item() for i in range(2)]
    assert crf_loss(logits, images).item() == pytest.approx(sum(singly) / 2)


@pytest.mark.parametrize("scale", [0.0, 1e4, 1e30])
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 1, 1), (3, 1, 1), (1, 1, 9), (4, 5, 3)])
def test_crf_is_finite_for_any_size_and_any_logits(channels: int, height: int, width: int, scale: float) -> None:
    logits = (scale * torch.randn(2, channels, height, width)).requires_grad_()
    loss = crf_loss(logits, torch.rand(2, 4, height, width))
    loss.backward()
    assert 0 <= loss.item() < 2
    assert logits.grad.isfinite().all()


def test_crf_works_at_the_size_of_small_logits() -> None:
    logits, _ = crf_case(1, size=4)
    _, larger = crf_case(1, size=16)
    assert crf_loss(logits, larger).item() == crf_loss(logits, F.adaptive_avg_pool2d(larger, 4), shrink=1).item()


def test_crf_stands_beside_a_term_of_labels_and_needs_the_images() -> None:
    logits, images = crf_case(1)
    target = torch.randint(0, 2, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    loss = SegmentationLoss({"bce": 1.0, "crf": 0.5}, logit_channels=1)
    expected = bce_loss(logits, target) + 0.5 * crf_loss(logits, images)
    assert loss(logits, target, images).item() == pytest.approx(expected.item())
    with pytest.raises(ConfigError, match="images"):
        loss(logits, target)


def test_without_any_label_only_crf_teaches() -> None:
    logits, images = crf_case(1)
    nothing = torch.full((2, 8, 8), 255)
    assert SegmentationLoss({"bce": 1.0}, logit_channels=1)(logits, nothing, images).item() == 0
    both = SegmentationLoss({"bce": 1.0, "crf": 1.0}, logit_channels=1)(logits, nothing, images)
    assert both.item() == crf_loss(logits, images).item()


@pytest.mark.parametrize(
    ("terms", "channels", "named"),
    [
        ({}, 1, "empty"),
        ({"focal": 1.0}, 1, "focal.*dice"),
        ({"dice": -1.0}, 1, "dice.*-1"),
        ({"crf": 1.0}, 1, "only crf.*bce"),
        ({"cross_entropy": 1.0}, 1, "cross_entropy.*bce"),
        ({"bce": 1.0}, 3, "bce.*cross_entropy"),
    ],
)
def test_terms_that_cannot_apply_are_refused_before_training(
    terms: dict[str, float], channels: int, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        SegmentationLoss(terms, logit_channels=channels)
