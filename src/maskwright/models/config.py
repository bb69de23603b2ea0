"""Which network, checked on creation."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from ..errors import ConfigError

Pretrained = Literal["none", "imagenet", "imagenet-offline", "full"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network.

    Args:
        name: one that `maskwright models` lists, such as `unet`, or of a library: `smp:ARCHITECTURE/ENCODER` such as
            `smp:Unet/resnet34`, `torchvision:ARCHITECTURE`, `hf:REPO`.
        pretrained: weights to start from: `none`; `imagenet` (of the encoder, from a hub); `imagenet-offline` (likewise,
            from the extra `offline-weights`; EfficientNet-Lite0, 1 and 2); or `full` (torchvision: and hf: only): all
            weights that the library or repository has, those of the head, too, where its classes fit.
        options: arguments of the architecture, such as `{width: 16, upsampling: bilinear}` for `unet`.
    """

    name: str = "unet"
    pretrained: Pretrained = "none"
    options: dict[str, int | float | str | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pretrained not in get_args(Pretrained):
            raise ConfigError(
                f"model.pretrained must be one of {', '.join(get_args(Pretrained))}; got {self.pretrained!r}"
            )
