"""What Lightning trains: a segmenter, a refiner over out-of-fold coarse logits, or both together."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..data.loading import ScoringBatch, TrainingBatch
from ..errors import ConfigError, DataError, TrainingError
from ..losses import SegmentationLoss
from ..metrics import EvaluationMeter
from ..metrics.scores import scores
from ..models import Segmenter
from ..models.weights import ENCODER_NAMES
from .config import TrainConfig
from .network import RefinedSegmenter, labels_at, logits_of_smaller

CRF_WEIGHT = 1.0
"""Weight of the term `crf` beside the cross-entropy of weak labels, where the configuration names no loss."""


def default_loss(logit_channels: int, *, weak: bool) -> dict[str, float]:
    """Return the loss terms where the configuration names none; `weak` labels cover few pixels."""
    entropy = "bce" if logit_channels == 1 else "cross_entropy"
    if weak:
        return {entropy: 1.0, "crf": CRF_WEIGHT}
    return {entropy: 1.0, "dice": 1.0} if logit_channels == 1 else {entropy: 1.0}


class Task(pl.LightningModule):
    """Training of a network, whatever it learns; what tasks differ in, they add.

    Args:
        network: what is trained and validated.
        config: how to train.
        monitor: what the validation score is, for the progress bar.
    """

    def __init__(self, network: nn.Module, *, config: TrainConfig, monitor: str) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.monitor = monitor
        self.restored_random_state: Tensor | None = None

    @abstractmethod
    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        """Return what is minimised, a scalar."""

    def training_step(self, batch: TrainingBatch, batch_index: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            TrainingError: it is not finite.
        """
        loss = self.batch_loss(batch)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} in epoch {self.current_epoch + 1}, batch {batch_index + 1}; the best "
                "checkpoint is untouched. Lower train.learning_rate, set train.gradient_clip, or use train.precision=fp32"
            )
        return loss

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule of `config`."""
        optimizer = build_optimizer(parameter_groups(self.network, self.config), self.config)
        steps = int(self.trainer.estimated_stepping_batches)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": build_schedule(optimizer, self.config, steps), "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm. Lightning refuses that for fused optimizers in mixed precision, which may unscale gradients
        themselves; in bf16 nothing is scaled."""
        if gradient_clip_val:
            nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.requires_grad], gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep torch's random state, which dropout layers draw from."""
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember it until the first batch."""
        self.restored_random_state = checkpoint["random_state"]

    def on_train_batch_start(self, batch: TrainingBatch, batch_index: int) -> None:
        """Go on with the random numbers where the checkpoint stopped; not sooner, since the loader draws some too."""
        if self.restored_random_state is not None:
            torch.set_rng_state(self.restored_random_state)
            self.restored_random_state = None

    def _formatted(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.config.channels_last else images


class SegmentationTask(Task):
    """Training and validation of a network that maps images to logits.

    Args:
        network: what is trained and validated.
        classes: class names, index = label.
        config: how to train.
        logit_channels: channels of the network's logits.
        weak: the labels are scribbles, points or boxes; decides the loss where `config` names none.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        classes: Sequence[str],
        config: TrainConfig,
        logit_channels: int,
        weak: bool = False,
    ) -> None:
        super().__init__(network, config=config, monitor="iou_per_image" if len(classes) == 2 else "miou_present")
        self.classes = classes
        terms = config.loss or default_loss(logit_channels, weak=weak)
        self.loss = SegmentationLoss(terms, logit_channels=logit_channels, resize=config.label_resize)
        self.meter = EvaluationMeter(classes)
        self.auxiliary_logits: Tensor | None = None
        auxiliary = network.auxiliary() if isinstance(network, Segmenter) else None
        if auxiliary is not None:
            auxiliary.register_forward_hook(self._keep_auxiliary)

    def _keep_auxiliary(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.auxiliary_logits = output if self.training else None

    def training_logits(self, batch: TrainingBatch) -> Float[Tensor, "n c h w"]:
        """Return the logits that the loss is taken of."""
        return self.network(self._formatted(batch.images))

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        """Return what is minimised, a scalar: the loss, and that of a network's auxiliary logits with their weight."""
        loss = self.loss(self.training_logits(batch), batch.targets, batch.images)
        if self.auxiliary_logits is None:
            return loss
        assert isinstance(self.network, Segmenter)
        inside = self.network.at_image_size(self.auxiliary_logits, batch.images.shape[-2:])
        self.auxiliary_logits = None
        return loss + self.network.net.auxiliary_weight * self.loss(inside, batch.targets, batch.images)

    def validation_step(self, batch: ScoringBatch, batch_index: int) -> None:
        """Count the predictions of one batch at the images' own sizes."""
        logits = self.network(self._formatted(batch.images))
        for name, one, target in zip(batch.names, logits, batch.targets, strict=True):
            self.meter.update(name, labels_at(one, target.shape), target)

    def on_validation_epoch_end(self) -> None:
        """Log the score that chooses the best checkpoint."""
        score = getattr(scores(self.meter.gathered().result()), self.monitor)
        if not math.isfinite(score):
            raise DataError(
                f"the validation part gives no {self.monitor}: none of its pixels is labelled; label some, name another "
                "val part, or hold out another with data.split_seed"
            )
        self.log("val_score", score)
        self.meter = EvaluationMeter(self.classes)


class RefinerTask(SegmentationTask):
    """Training of a refiner on the coarse logits of networks that never saw the image; validation of the whole.

    Args:
        network: the coarse network (of the finished run) and the refiner; only the refiner is trained.
        fold_networks: one coarse network per fold, trained on the other folds.
        fold_of: fold of each training image, int64 (number of training images,).
        classes: see `SegmentationTask`, likewise `config`, `logit_channels` and `weak`.
    """

    network: RefinedSegmenter

    def __init__(
        self,
        network: RefinedSegmenter,
        *,
        fold_networks: Sequence[Segmenter],
        fold_of: Int64[Tensor, " images"],
        classes: Sequence[str],
        config: TrainConfig,
        logit_channels: int,
        weak: bool = False,
    ) -> None:
        super().__init__(network, classes=classes, config=config, logit_channels=logit_channels, weak=weak)
        network.coarse.requires_grad_(False)
        # In a tuple, hence not part of this module's state: they are frozen and lie in their own runs.
        self.fold_networks = tuple(fold.eval().requires_grad_(False) for fold in fold_networks)
        self.fold_of = fold_of
        self.feature_maps: Tensor | None = None
        features = network.refiner.affinity_net.features
        if features is not None:
            features.register_forward_hook(self._keep_features)

    def batch_loss(self, batch: TrainingBatch) -> Tensor:
        """Return the loss of the refined logits, and of the feature network's first maps taken as logits.

        The refiner starts as the identity, from where its own loss hardly reaches the features; learning to segment,
        they soon know more than the coarse mask.
        """
        loss = super().batch_loss(batch)
        if self.feature_maps is None:
            return loss
        channels = self.network.refiner.affinity_net.logit_channels
        return loss + self.loss(self.feature_maps[:, :channels], batch.targets, batch.images)

    def _keep_features(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.feature_maps = output if self.training else None

    def on_fit_start(self) -> None:
        """Bring the fold networks to the device that Lightning chose."""
        for fold in self.fold_networks:
            fold.to(self.device)

    def train(self, mode: bool = True) -> "RefinerTask":
        """Switch the refiner alone: the frozen coarse network's batch normalisation stays in evaluation mode."""
        super().train(mode)
        self.network.coarse.eval()
        return self

    def training_logits(self, batch: TrainingBatch) -> Float[Tensor, "n c h w"]:
        """Return the refined logits of out-of-fold coarse ones."""
        images = self._formatted(batch.images)
        with torch.no_grad():
            coarse = self._out_of_fold(images, self.fold_of[batch.indices.cpu()])
        return self.network.refiner(images, coarse)

    def _out_of_fold(self, images: Tensor, folds: Tensor) -> Tensor:
        logits: Tensor | None = None
        for fold, network in enumerate(self.fold_networks):
            chosen = (folds == fold).to(images.device)
            if not chosen.any():
                continue
            part = logits_of_smaller(network, self._formatted(images[chosen]), self.network.scale)
            if logits is None:
                logits = part.new_empty((len(images), *part.shape[1:]))
            logits[chosen] = part
        assert logits is not None
        return logits


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Return what the optimizer trains, the encoder apart where it has a learning rate of its own.

    Raises:
        ConfigError: it should have one, and the network has no encoder.
    """
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    if config.encoder_rate == 1:
        return [{"params": list(trained.values())}]
    encoder = [name for name in trained if ENCODER_NAMES & set(name.split("."))]
    if not encoder:
        raise ConfigError(
            f"train.encoder_rate is {config.encoder_rate}, but the network has no part named encoder; leave it at 1, or "
            "choose a model of a library, such as smp:"
        )
    rest = [parameter for name, parameter in trained.items() if name not in encoder]
    rate = config.learning_rate * config.encoder_rate
    return [{"params": rest}, {"params": [trained[name] for name in encoder], "lr": rate}]


def build_optimizer(
    parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]], config: TrainConfig
) -> torch.optim.Optimizer:
    """Return the optimizer that `config.optimizer` names."""
    rate, decay = config.learning_rate, config.weight_decay
    optimizer: torch.optim.Optimizer
    # A fused step is several times faster where there are many small parameters.
    match config.optimizer:
        case "adam":
            optimizer = torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=True)
        case "adamw":
            optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
        case "radam":
            optimizer = torch.optim.RAdam(parameters, lr=rate, weight_decay=decay)
        case "sgd":
            optimizer = torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay, fused=True)
    optimizer.register_load_state_dict_post_hook(_lay_state_out_like_parameters)
    return optimizer


def _lay_state_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give moments that were read from a file the strides of their parameters: fused steps on a CPU go through the
    memory of both in the same order, without a look at the strides."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def build_schedule(
    optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule that `config.schedule` names, over `steps` optimizer steps."""
    schedules = torch.optim.lr_scheduler
    match config.schedule:
        case "constant":
            return schedules.ConstantLR(optimizer, factor=1.0)
        case "cosine":
            return schedules.CosineAnnealingLR(optimizer, T_max=steps)
        case "one_cycle":
            return schedules.OneCycleLR(optimizer, max_lr=[g["lr"] for g in optimizer.param_groups], total_steps=steps)
        case "poly":
            return schedules.PolynomialLR(optimizer, total_iters=steps, power=0.9)
