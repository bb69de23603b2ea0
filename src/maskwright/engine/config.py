"""How to train; checked on creation, so a wrong recipe fails before the first image is read."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from ..data.catalog import DataConfig
from ..errors import ConfigError
from ..losses import Resize
from ..models.config import ModelConfig
from ..refine.methods import method_of
from ..refine.zoo import RefinerConfig

OptimizerName = Literal["adam", "adamw", "radam", "sgd"]
ScheduleName = Literal["constant", "cosine", "one_cycle", "poly"]
Precision = Literal["fp32", "bf16"]
DeviceName = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train one network.

    Args:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: its highest value.
        encoder_rate: factor on the learning rate of an encoder, such as 0.2 where it is pretrained and the rest is not.
        optimizer: `adam`, `adamw`, `radam` or `sgd` (momentum 0.9).
        weight_decay: of the optimizer.
        schedule: of the learning rate, per step: `constant`, `cosine` to 0, `one_cycle` (30 % up, then down to
            nearly 0), `poly` (power 0.9).
        loss: weight of each term, of `dice`, `dice_batch`, `bce`, `cross_entropy`, `crf`; empty takes `bce` + `dice` for
            binary data and `cross_entropy` otherwise; for weak labels `bce` or `cross_entropy`, and `crf`.
        label_resize: where a network's logits are smaller than the labels, resize the `logits` or the `labels`.
        precision: `fp32`, or `bf16` mixed precision, on CPUs too.
        channels_last: memory format of images and weights.
        gradient_clip: largest gradient norm; 0 does not clip.
        patience: stop after so many epochs without a better validation score; 0 never does.
        seed: of weights, shuffling and augmentation.
        workers: data worker processes; 0 loads in the main process.
        checkpoint_minutes: at most so much work is lost when the process is killed.
        device: `auto`, `cpu` or `cuda`.
    """

    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 1e-3
    encoder_rate: float = 1.0
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 1e-2
    schedule: ScheduleName = "one_cycle"
    loss: dict[str, float] = field(default_factory=dict)
    label_resize: Resize = "logits"
    precision: Precision = "fp32"
    channels_last: bool = True
    gradient_clip: float = 0.0
    patience: int = 0
    seed: int = 0
    workers: int = 0
    checkpoint_minutes: float = 5.0
    device: DeviceName = "auto"

    def __post_init__(self) -> None:
        choices = {
            "optimizer": OptimizerName,
            "schedule": ScheduleName,
            "precision": Precision,
            "label_resize": Resize,
            "device": DeviceName,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(
                    f"train.{name} must be one of {', '.join(get_args(allowed))}, got {getattr(self, name)!r}"
                )
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "encoder_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"train.{name} must be > 0, got {getattr(self, name)}")
        for name in ("weight_decay", "gradient_clip", "patience", "workers", "checkpoint_minutes", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"train.{name} must be ≥ 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class SegmenterRunConfig:
    """One training of a segmenter.

    Args:
        data: which pictures, at which size.
        model: which network.
        train: how to train it.
        init: a run, of the same model and as many classes, whose weights the network starts from; empty starts anew.
        method: what refines the run's masks when it predicts and when it is scored, such as `dense_crf:deeplab`; a name of
            `METHODS`, or empty.
    """

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    init: str = ""
    method: str = ""

    def __post_init__(self) -> None:
        if self.method:
            method_of(self.method)


@dataclass(frozen=True, kw_only=True)
class RefinerRunConfig:
    """One training of a refiner on top of a finished segmenter run.

    Args:
        coarse: run folder of the segmenter, whose data and size are used.
        refiner: which refiner.
        features: a network that the refiner reads beside image and coarse mask, such as
            `smp:Unet/tu-tf_efficientnet_lite0` with pretrained weights; an empty name leaves it out. It is trained with
            the refiner, and by an auxiliary loss to segment.
        scale: the refiner sees the image at so many times the size that the coarse network sees, and its masks come at
            that size: a mask of 128 pixels is sharpened on the image's 256 with scale 2.
        train: how to train it; the coarse network is frozen.
        folds: the coarse masks that the refiner learns from come from so many networks, each trained without the
            images whose masks it makes (out-of-fold); they are trained like the coarse run and shared by all refiners.
            0 takes the coarse network's own masks of its training images: the better choice where it scores no higher
            on them than on the validation images, since the networks of the folds are then the worse ones.
        fold_epochs: epochs of each of them; 0 takes the coarse run's. They see fewer images per epoch, so more epochs
            bring them nearer to the network whose masks the refiner will meet.
        joint_epochs: then so many epochs of coarse network and refiner together; 0 leaves the coarse network as it is.
        joint_learning_rate: of those epochs.
    """

    coarse: str
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    features: ModelConfig = field(default_factory=lambda: ModelConfig(name=""))
    scale: int = 1
    train: TrainConfig = field(default_factory=TrainConfig)
    folds: int = 2
    fold_epochs: int = 0
    joint_epochs: int = 0
    joint_learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ConfigError(f"scale must be at least 1, got {self.scale}")
        if self.folds < 0 or self.folds == 1:
            raise ConfigError(f"folds must be 0 or at least 2, got {self.folds}")
        for name in ("fold_epochs", "joint_epochs"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be ≥ 0, got {getattr(self, name)}")
        if not self.joint_learning_rate > 0:
            raise ConfigError(f"joint_learning_rate must be > 0, got {self.joint_learning_rate}")
