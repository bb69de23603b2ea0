"""What Lightning trains to find objects one by one: Mask R-CNN, with the losses of its library."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from ..data.loading import ScoringBatch, TrainingBatch
from ..errors import DataError
from ..metrics.instance import InstanceMeter, instance_value
from ..models.mask_rcnn import MaskRCNN, targets_of
from ..types import Instances
from .config import TrainConfig
from .detector import objects_of
from .tasks import Task

MONITOR = "ap"
"""Score of the validation part that chooses the best checkpoint; AP50 is 1 too soon where objects are easy to find."""

DETECTIONS = 100
"""Objects of each image that count at least for average precision, as in COCO."""


class InstanceTask(Task):
    """Training and validation of a network that finds objects; targets are label maps with the objects' numbers.

    Args:
        network: what is trained and validated.
        classes: class names, index = label.
        config: how to train.
        truth: true objects of the validation images, by name.
    """

    network: MaskRCNN

    def __init__(
        self, network: MaskRCNN, *, classes: Sequence[str], config: TrainConfig, truth: Mapping[str, Instances]
    ) -> None:
        super().__init__(network, config=config, monitor=MONITOR)
        self.classes = classes
        self.truth = truth
        self.meter = self._empty_meter()

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        """Return the sum of the network's own losses."""
        targets = [targets_of(labels, numbers) for labels, numbers in batch.targets]
        losses = list(self.network.losses(batch.images, targets).values())
        return sum(losses[1:], losses[0])

    def validation_step(self, batch: ScoringBatch, batch_index: int) -> None:
        """Find the objects of one batch, at the images' own sizes."""
        height, width = batch.images.shape[-2:]
        for name, found in zip(batch.names, self.network(batch.images), strict=True):
            true = self.truth[name]
            self.meter.update(objects_of(name, found, of=(height, width), size=true.size), true)

    def on_validation_epoch_end(self) -> None:
        """Log the score that chooses the best checkpoint."""
        score = instance_value(self.meter.result(), self.monitor)
        if not math.isfinite(score):
            raise DataError(
                "the validation part holds no object, so it gives no AP; hold out another with data.split_seed, or set "
                "data.val_fraction to 0"
            )
        self.log("val_score", score)
        self.meter = self._empty_meter()

    def _empty_meter(self) -> InstanceMeter:
        return InstanceMeter(self.classes, max_detections=max(DETECTIONS, self.network.most), kinds=("mask",))
