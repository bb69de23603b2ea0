"""What `maskwright compare` compares: encoders of one architecture, or whole models, each under the same budget."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from ..data.catalog import DataConfig
from ..errors import ConfigError
from ..models import ModelConfig, build
from ..models.config import Pretrained
from ..models.cost import macs, parameters
from .config import SegmenterRunConfig, TrainConfig

CostName = Literal["macs", "parameters", "time"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One network.

    Attributes:
        name: as it was asked for: an encoder or a model, and `@` with its weights where they were named.
        model: the network.
    """

    name: str
    model: ModelConfig

    @property
    def folder(self) -> str:
        """Name of the folder of its runs."""
        return self.name.replace(":", "_").replace("/", "_")


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """One comparison.

    Args:
        data: which pictures, at which size.
        model: of `encoders`: the architecture, such as `smp:Unet`; its `pretrained` and `options` hold for all candidates.
        encoders: encoders of that architecture; `ENCODER@imagenet-offline` names the weights of one of them.
        models: whole models in place of encoders, such as `unet` or `smp:FPN/resnet18@imagenet`.
        train: the budget of every training; its seed is the first one.
        seeds: trainings of each candidate, with seeds that follow each other.
        margin: of the score: how much worse than the best the recommended candidate may be, in [0, 1).
        cost: by which the cheapest is found: `macs`, `parameters`, or `time` of predicting one image.
    """

    data: DataConfig
    model: ModelConfig = field(default_factory=lambda: ModelConfig(name="smp:Unet"))
    encoders: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    train: TrainConfig = field(default_factory=TrainConfig)
    seeds: int = 3
    margin: float = 0.01
    cost: CostName = "macs"

    def __post_init__(self) -> None:
        if bool(self.encoders) == bool(self.models):
            raise ConfigError(
                f"compare needs --encoders or --models, and not both; got {len(self.encoders)} encoders and "
                f"{len(self.models)} models"
            )
        if self.seeds < 1:
            raise ConfigError(f"seeds must be at least 1, got {self.seeds}")
        if not 0 <= self.margin < 1:
            raise ConfigError(f"margin must be in [0, 1), got {self.margin}")
        if self.cost not in get_args(CostName):
            raise ConfigError(f"cost must be one of {', '.join(get_args(CostName))}, got {self.cost!r}")
        if self.encoders and (not self.model.name.partition(":")[2] or "/" in self.model.name):
            raise ConfigError(
                f"model {self.model.name!r} does not take encoders; expected an architecture of a library without its "
                "encoder, such as smp:Unet. Whole models are compared by --models"
            )
        _refuse_equal([candidate.folder for candidate in self.candidates], what="candidates")

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What is compared, in the order asked for."""
        return tuple(self._candidate(name) for name in (*self.encoders, *self.models))

    def run_config(self, candidate: Candidate, seed: int) -> SegmenterRunConfig:
        """Return the training of one candidate with one seed."""
        return SegmenterRunConfig(
            data=self.data, model=candidate.model, train=dataclasses.replace(self.train, seed=seed)
        )

    def run_folder(self, out: Path, candidate: Candidate, seed: int) -> Path:
        """Return its folder."""
        return out / "runs" / candidate.folder / f"seed-{seed}"

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(range(self.train.seed, self.train.seed + self.seeds))

    def _candidate(self, name: str) -> Candidate:
        network, at, weights = name.partition("@")
        if not network or (at and weights not in get_args(Pretrained)):
            raise ConfigError(
                f"{name!r} names no candidate; expected NAME or NAME@WEIGHTS with WEIGHTS one of "
                f"{', '.join(get_args(Pretrained))}"
            )
        full = f"{self.model.name}/{network}" if self.encoders else network
        pretrained: Pretrained = weights if at else self.model.pretrained  # type: ignore[assignment]
        return Candidate(
            name=name, model=ModelConfig(name=full, pretrained=pretrained, options=dict(self.model.options))
        )


@dataclass(frozen=True, kw_only=True)
class NetworkSize:
    """What is known of a network without running it: its parameters, and the multiply-accumulates of one image."""

    parameters: int
    macs: int


def check_candidates(
    candidates: Sequence[Candidate], *, num_classes: int, height: int, width: int, channels: int = 3
) -> dict[str, NetworkSize]:
    """Build every network once, weights included, so that a wrong name costs no training.

    Args:
        candidates: the networks.
        num_classes: of the data.
        height, width: of the images as the networks see them, pixels.
        channels: of the images.

    Raises:
        ConfigError: some cannot be built, or cannot take such images; all of them are named.
    """
    sizes: dict[str, NetworkSize] = {}
    faults = []
    for candidate in candidates:
        try:
            network = build(candidate.model, num_classes=num_classes, in_channels=channels)
            sizes[candidate.name] = NetworkSize(
                parameters=parameters(network), macs=macs(network, height=height, width=width, channels=channels)
            )
        except ConfigError as error:
            faults.append(f"{candidate.name}: {error}")
    if faults:
        raise ConfigError(
            f"{len(faults)} of {len(candidates)} candidates cannot be trained, so nothing was begun:\n  "
            + "\n  ".join(faults)
        )
    return sizes


def _refuse_equal(names: Sequence[str], *, what: str) -> None:
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ConfigError(f"{what} must differ; {', '.join(doubles)} came more than once")
