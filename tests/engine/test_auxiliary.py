"""Logits from inside a network, such as OCR's regions, are trained too, at the image's size, and only in training."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskwright.data.loading import TrainingBatch
from maskwright.engine.config import TrainConfig
from maskwright.engine.network import RefinedSegmenter
from maskwright.engine.tasks import SegmentationTask
from maskwright.models import ModelConfig, Segmenter, build

HEIGHT, WIDTH = 40, 52
WEIGHT = 0.4


class WithRegions(nn.Module):
    """A network whose logits at a quarter of the size are auxiliary."""

    auxiliary_weight = WEIGHT

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.auxiliary = nn.Conv2d(3, classes, 4, stride=4)
        self.head = nn.Conv2d(3, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        self.auxiliary(image)
        return self.head(image)


def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(WithRegions(3), stride=32, mean=(0.5,) * 3, std=(0.25,) * 3)


def task_of(network: nn.Module) -> SegmentationTask:
    return SegmentationTask(network, classes=("a", "b", "c"), config=TrainConfig(device="cpu"), logit_channels=3)


def batch() -> TrainingBatch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, HEIGHT, WIDTH, generator=generator)
    targets = torch.randint(0, 3, (2, HEIGHT, WIDTH), generator=generator)
    return TrainingBatch(images, targets, torch.arange(2))


def test_auxiliary_logits_add_their_weighted_loss_at_the_image_s_size() -> None:
    network = segmenter()
    images, targets, _ = batch()
    padded = F.pad((images - 0.5) / 0.25, (0, 64 - WIDTH, 0, 64 - HEIGHT), mode="replicate")
    regions = F.interpolate(network.net.auxiliary(padded), (64, 64), mode="bilinear", align_corners=False)
    own = F.cross_entropy(network(images), targets)
    expected = own + WEIGHT * F.cross_entropy(regions[..., :HEIGHT, :WIDTH], targets)
    torch.testing.assert_close(task_of(network).train().batch_loss(batch()), expected)


def test_auxiliary_logits_learn() -> None:
    network = segmenter()
    task_of(network).train().batch_loss(batch()).backward()
    assert network.net.auxiliary.weight.grad is not None


def test_ocr_learns_its_regions_from_the_labels() -> None:
    torch.manual_seed(0)
    network = build(ModelConfig(name="hrnet", options={"encoder": "hrnet_w18_small", "head": "ocr"}), num_classes=3)
    assert network.auxiliary() is network.net.head.region_logits
    images, targets, _ = batch()
    kept: list[Tensor] = []
    network.net.head.region_logits.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    task = task_of(network).train()
    torch.manual_seed(1)
    loss = task.batch_loss(batch())
    torch.manual_seed(1)
    own = task.loss(network.train()(images), targets)
    regions = F.interpolate(kept[0], (64, 64), mode="bilinear", align_corners=False)[..., :HEIGHT, :WIDTH]
    torch.testing.assert_close(loss, own + WEIGHT * F.cross_entropy(regions, targets))


@pytest.mark.parametrize("name", ["hrnet", "unet"])
def test_networks_without_auxiliary_logits_have_one_loss(name: str) -> None:
    options = {"encoder": "hrnet_w18_small"} if name == "hrnet" else {"width": 4}
    network = build(ModelConfig(name=name, options=options), num_classes=3)
    assert network.auxiliary() is None
    task = task_of(network).train()
    images, targets, _ = batch()
    torch.testing.assert_close(task.batch_loss(batch()), F.cross_entropy(network(images), targets))


def test_nothing_is_kept_outside_training() -> None:
    network = segmenter()
    task = task_of(network).eval()
    network(batch().images)
    assert task.auxiliary_logits is None
    task.train().batch_loss(batch())
    assert task.auxiliary_logits is None


class Unrefined(nn.Module):
    def forward(self, image: Tensor, logits: Tensor, *, return_steps: bool = False) -> Tensor:
        return logits


def test_a_refined_network_is_trained_by_its_own_logits_alone() -> None:
    refined = RefinedSegmenter(segmenter(), Unrefined())
    task = task_of(refined).train()
    images, targets, _ = batch()
    torch.testing.assert_close(task.batch_loss(batch()), F.cross_entropy(refined(images), targets))


def test_checkpoints_hold_each_weight_once() -> None:
    network = segmenter()
    assert set(task_of(network).state_dict()) == {f"network.{name}" for name in network.state_dict()}
