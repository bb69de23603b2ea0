"""A Mask R-CNN small enough to be trained in a test, in place of torchvision's ResNet-50."""

from collections import OrderedDict

import pytest
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from maskwright.models import mask_rcnn
from maskwright.models.mask_rcnn import MaskRCNNOptions

WIDTH = 16


class Backbone(nn.Module):
    """Two strided convolutions; as torchvision's, with a `body`."""

    out_channels = WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, WIDTH, 3, 2, 1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, 2, 1), nn.ReLU())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return OrderedDict([("0", self.body(images))])


def tiny(name: str, options: MaskRCNNOptions, *, num_classes: int) -> MaskRCNN:
    return MaskRCNN(
        Backbone(),
        min_size=options.min_size,
        max_size=options.max_size,
        box_score_thresh=options.box_score_thresh,
        box_detections_per_img=options.box_detections_per_img,
        rpn_anchor_generator=AnchorGenerator(((12,),), ((0.5, 1.0, 2.0),)),
        rpn_pre_nms_top_n_train=100,
        rpn_post_nms_top_n_train=50,
        rpn_pre_nms_top_n_test=100,
        rpn_post_nms_top_n_test=50,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=32,
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
        mask_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
        box_head=TwoMLPHead(WIDTH * 49, 64),
        box_predictor=FastRCNNPredictor(64, num_classes),
        mask_head=MaskRCNNHeads(WIDTH, (WIDTH,), 1),
        mask_predictor=MaskRCNNPredictor(WIDTH, WIDTH, num_classes),
    )


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny network stand for torchvision's."""
    monkeypatch.setattr(mask_rcnn, "torchvision_network", tiny)
