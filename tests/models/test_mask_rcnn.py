"""Mask R-CNN: torchvision's own numbers, targets from maps of numbers, weights that fit, and what it refuses."""

import logging
import socket
from typing import Any, NoReturn

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from maskwright.errors import ConfigError
from maskwright.models import ModelConfig, build, class_names, mask_rcnn
from maskwright.models.mask_rcnn import NAMES, Detections, MaskRCNN, MaskRCNNOptions, pasted, targets_of
from tiny_detector import tiny, use

V1, V2 = NAMES


def picture(*size: int) -> Tensor:
    return torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [32, 50])
def test_boxes_scores_and_masks_are_the_library_s_own(side: int) -> None:
    torch.manual_seed(0)
    options = MaskRCNNOptions(min_size=side, max_size=200, box_score_thresh=0.0, box_detections_per_img=20)
    library = tiny(V1, options, num_classes=3).eval()
    with torch.no_grad():  # as they are drawn, no mask reaches a half
        library.roi_heads.mask_predictor.mask_fcn_logits.weight.normal_(0, 5)
    own = MaskRCNN(tiny(V1, options, num_classes=3)).eval()
    own.network.load_state_dict(library.state_dict())
    images = torch.cat((picture(32, 45), picture(32, 45).flip(-1)))
    with torch.no_grad():
        expected, found = library(list(images)), own(images)
    for one, other in zip(found, expected, strict=True):
        for name in ("boxes", "labels", "scores"):
            torch.testing.assert_close(getattr(one, name), other[name], rtol=1e-6, atol=1e-6)
        masks = torch.stack(list(pasted(one, of=(32, 45), size=(32, 45))))
        assert len(masks) == 20 and masks.any()
        assert torch.equal(masks, other["masks"][:, 0] >= 0.5)


def test_losses_are_the_library_s_own() -> None:
    torch.manual_seed(0)
    library, own = (tiny(V1, MaskRCNNOptions(min_size=32), num_classes=2) for _ in range(2))
    own.load_state_dict(library.state_dict())
    numbers = torch.zeros(32, 32, dtype=torch.int64)
    numbers[4:15, 6:19] = 1
    targets = [targets_of((numbers > 0).long(), numbers)]
    torch.manual_seed(1)
    expected = library.train()(list(picture(32, 32)), targets)
    torch.manual_seed(1)
    losses = MaskRCNN(own).train().losses(picture(32, 32), targets)
    assert len(losses) == 5 and set(losses) == set(expected)
    assert all(torch.equal(losses[name], expected[name]) for name in losses)


def test_with_a_scale_an_object_looks_alike_in_crop_and_image() -> None:
    seen: list[tuple[int, ...]] = []
    detector = MaskRCNN(tiny(V1, MaskRCNNOptions(), num_classes=2), scale=2.0).eval()
    detector.network.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        for size in [(32, 48), (64, 64)]:
            detector(picture(*size))
    assert seen == [(1, 3, 64, 96), (1, 3, 128, 128)]


def test_targets_are_boxes_labels_and_masks_of_what_is_left_of_objects() -> None:
    numbers = torch.zeros(8, 10, dtype=torch.int64)
    numbers[1:4, 2:7] = 7
    numbers[5:8, 0:3] = 3
    numbers[0, 9] = 9  # a corner that the crop left
    numbers[6:8, 6:10] = 4  # beyond the image: ignored
    labels = torch.where(numbers == 3, 2, (numbers > 0).long())
    labels[6:8, 6:10] = 255
    targets = targets_of(labels, numbers)
    assert targets["boxes"].tolist() == [[0, 5, 3, 8], [2, 1, 7, 4]]
    assert targets["labels"].tolist() == [2, 1]
    assert torch.equal(targets["masks"], torch.stack([numbers == 3, numbers == 7]).to(torch.uint8))
    nothing = targets_of(torch.zeros_like(labels), torch.zeros_like(numbers))
    assert [nothing[name].shape for name in ("boxes", "labels", "masks")] == [(0, 4), (0,), (0, 8, 10)]


def test_images_without_objects_can_be_learnt_from() -> None:
    torch.manual_seed(0)
    detector = MaskRCNN(tiny(V1, MaskRCNNOptions(min_size=32), num_classes=2)).train()
    empty = torch.zeros(32, 32, dtype=torch.int64)
    losses = detector.losses(picture(32, 32), [targets_of(empty, empty)])
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert torch.isfinite(total) and total > 0


def test_masks_are_pasted_at_the_size_of_the_image_itself() -> None:
    found = Detections(
        boxes=torch.tensor([[2.0, 4.0, 8.0, 12.0]]),
        labels=torch.tensor([1]),
        scores=torch.tensor([0.9]),
        masks=torch.ones(1, 28, 28),
    )
    (mask,) = pasted(found, of=(16, 16), size=(32, 64))
    rows, columns = torch.nonzero(mask, as_tuple=True)
    assert mask.shape == (32, 64)
    assert (rows.min(), columns.min()) == (8, 8)
    # torchvision's pasting takes the box's last pixel in.
    assert abs(int(rows.max()) - 23) <= 1 and abs(int(columns.max()) - 31) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_layout_is_that_of_the_library_s_pretrained_network(name: str) -> None:
    with torch.device("meta"):
        expected = torchvision.models.get_model(name.partition(":")[2], weights=None, weights_backbone=None)
        networks = {
            pretrained: mask_rcnn.untrained(ModelConfig(name=name, pretrained=pretrained), num_classes=91).network
            for pretrained in ("none", "full", "imagenet")
        }
    assert set(networks["none"].state_dict()) == set(expected.state_dict())
    assert sum(one.numel() for one in networks["none"].parameters()) == sum(o.numel() for o in expected.parameters())
    for pretrained, network in networks.items():
        frozen = {module.eps for module in network.modules() if isinstance(module, FrozenBatchNorm2d)}
        epsilons = {"none": set(), "full": {0.0}, "imagenet": {1e-5}}[pretrained]
        assert frozen == (epsilons if name == V1 else set())
        still = {n.split(".")[2] for n, p in network.named_parameters() if not p.requires_grad}
        assert still == (set() if pretrained == "none" else {"conv1", "layer1"} | ({"bn1"} if name == V2 else set()))


def test_as_many_channels_as_the_images_have() -> None:
    with torch.device("meta"):
        network = mask_rcnn.untrained(ModelConfig(name=V1), num_classes=2, in_channels=4).network
    assert network.backbone.body.conv1.weight.shape[1] == 4
    assert network.transform.image_mean == [0.485, 0.456, 0.406, 0.5]


class Weights:
    """Stands for torchvision's, without network."""

    def __init__(self, network: nn.Module) -> None:
        self.state = network.state_dict()

    def get_state_dict(self, **options: Any) -> dict[str, Tensor]:
        return self.state


@pytest.mark.parametrize("num_classes", [91, 2])
def test_full_weights_keep_the_heads_where_their_classes_fit(
    num_classes: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use(monkeypatch)
    learnt = tiny(V2, MaskRCNNOptions(), num_classes=91)
    monkeypatch.setattr(mask_rcnn, "learnt_weights", lambda config: Weights(learnt))
    with caplog.at_level(logging.WARNING, logger="maskwright"):
        detector = mask_rcnn.build_mask_rcnn(ModelConfig(name=V2, pretrained="full"), num_classes=num_classes)
    state = detector.network.state_dict()
    kept = {name for name, value in learnt.state_dict().items() if torch.equal(value, state[name])}
    anew = set(state) - kept
    assert bool(anew) == bool(caplog.text) == (num_classes == 2)
    assert all("predictor" in name for name in anew)


def test_the_classes_of_full_weights_are_coco_s() -> None:
    names = class_names(V1)
    assert len(names) == 91 and names[0] == "__background__" and names[1] == "person" and names[90] == "toothbrush"


@pytest.mark.parametrize("pretrained", ["imagenet", "full"])
def test_a_missing_network_is_named(pretrained: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def offline(*arguments: object, **options: object) -> NoReturn:
        raise OSError("no network")

    use(monkeypatch)
    monkeypatch.setattr(socket, "create_connection", offline)
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be fetched"):
        mask_rcnn.build_mask_rcnn(ModelConfig(name=V2, pretrained=pretrained), num_classes=2)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ModelConfig(name=V1, options={"width": 4}), ["width", "min_size", "scale"]),
        (ModelConfig(name=V1, options={"min_size": 2.5}), ["min_size", "int", "2.5"]),
        (ModelConfig(name=V1, options={"scale": "big"}), ["scale", "float", "big"]),
        (ModelConfig(name=V1, options={"box_score_thresh": 2}), ["box_score_thresh", "0 to 1", "2"]),
        (ModelConfig(name=V1, options={"min_size": 900, "max_size": 800}), ["max_size", "900", "800"]),
        (ModelConfig(name=V1, pretrained="imagenet-offline"), ["imagenet-offline", "none"]),
    ],
)
def test_what_it_has_not_is_named(config: ModelConfig, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        mask_rcnn.untrained(config, num_classes=2)
    assert all(word in str(caught.value) for word in words), caught.value


def test_who_wants_logits_is_told_where_objects_are_found() -> None:
    with pytest.raises(ConfigError, match="save instances"):
        build(V1, num_classes=2)
