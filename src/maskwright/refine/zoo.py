"""From a refiner's name to the refiner."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from ..errors import ConfigError
from .affinity import AffinityNet
from .cspn import CSPN
from .dyspn import DySPN


@dataclass(frozen=True, kw_only=True)
class RefinerConfig:
    """Which refiner.

    Args:
        kind: `cspn` (one affinity per neighbour) or `dyspn` (also one attention per ring and step).
        steps: propagation steps.
        kernel_size: odd side of the neighbourhood in pixels; 0 takes the paper's, 3 for `cspn` and 7 for `dyspn`.
        softmax: affinities by a softmax (all weights ≥ 0) instead of signed ones.
        width: channels of the affinity network's finest level.
        levels: resolutions of the affinity network.
    """

    kind: Literal["cspn", "dyspn"] = "dyspn"
    steps: int = 6
    kernel_size: int = 0
    softmax: bool = False
    width: int = 16
    levels: int = 4

    def __post_init__(self) -> None:
        if self.kind not in ("cspn", "dyspn"):
            raise ConfigError(f"refiner.kind must be cspn or dyspn, got {self.kind!r}")
        if self.kernel_size != 0 and (self.kernel_size < 3 or self.kernel_size % 2 == 0):
            raise ConfigError(f"refiner.kernel_size must be odd and at least 3 (or 0), got {self.kernel_size}")
        for name in ("steps", "width", "levels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"refiner.{name} must be at least 1, got {getattr(self, name)}")


def build_refiner(
    config: RefinerConfig,
    *,
    logit_channels: int,
    image_channels: int = 3,
    features: nn.Module | None = None,
    feature_channels: int = 0,
) -> CSPN | DySPN:
    """Build an untrained refiner for coarse logits with `logit_channels` channels (1 for binary).

    `image_channels`, `features` and `feature_channels` are those of `AffinityNet`.
    """
    kernel_size = config.kernel_size or {"cspn": 3, "dyspn": 7}[config.kind]
    attention = config.steps * (kernel_size // 2 + 1) if config.kind == "dyspn" else 0
    net = AffinityNet(
        logit_channels,
        kernel_size**2 - 1 + attention,
        image_channels=image_channels,
        width=config.width,
        levels=config.levels,
        features=features,
        feature_channels=feature_channels,
    )
    if config.kind == "cspn":
        return CSPN(net, steps=config.steps, form="softmax" if config.softmax else "bounded")
    return DySPN(net, kernel_size=kernel_size, steps=config.steps, form="softmax" if config.softmax else "signed")
