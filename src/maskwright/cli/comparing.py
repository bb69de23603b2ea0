"""Commands that compare networks: `compare`."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..errors import BatchError
from .show import command_line


def compare_command() -> Callable[..., None]:
    """Return the command."""
    from ..data.catalog import DataConfig
    from ..engine.config import TrainConfig
    from ..models import ModelConfig

    def compare(
        data: DataConfig,
        model: ModelConfig = ModelConfig(name="smp:Unet"),
        encoders: list[str] | str = "",
        models: list[str] | str = "",
        train: TrainConfig = TrainConfig(),
        seeds: int = 3,
        margin: float = 0.01,
        cost: Literal["macs", "parameters", "time"] = "macs",
        out: Path = Path("runs/compare"),
    ) -> None:
        """Train several networks under one budget with several seeds, and tell which to take and why.

        `--model smp:Unet --encoders resnet18,vgg11` compares encoders of one architecture, `--models unet,resnet34_unet`
        whole models. Writes report.html, compare.json and compare.csv; the same command goes on with what was stopped.

        Args:
            data: which pictures, at which size.
            model: with encoders the architecture, such as `smp:Unet`; its weights and options hold for every candidate.
            encoders: with commas between; `ENCODER@imagenet-offline` names the weights that this one starts from.
            models: whole models in place of encoders, likewise.
            train: how to train each; its seed is the first.
            seeds: trainings of each.
            margin: of the score: the cheapest whose mean is at most so much below the best's is recommended.
            cost: of which the cheapest has the least: macs (multiply-accumulates), parameters, or time of predicting.
            out: folder of the runs, the tables and the page.
        """
        from ..engine.candidates import ComparisonConfig
        from ..engine.comparison import PAGE, compare_networks, failures
        from ..report.terminal import show_comparison

        config = ComparisonConfig(
            data=data,
            model=model,
            encoders=_names(encoders),
            models=_names(models),
            train=train,
            seeds=seeds,
            margin=margin,
            cost=cost,
        )
        comparison = compare_networks(config, out, commands=[command_line()])
        show_comparison(comparison, out / PAGE)
        if comparison.failed:
            raise BatchError(f"{len(comparison.failed)} trainings failed:\n{failures(comparison.failed)}")

    return compare


def _names(given: list[str] | str) -> tuple[str, ...]:
    """Names from a list, or from text with commas between them."""
    parts = [given] if isinstance(given, str) else given
    return tuple(name.strip() for part in parts for name in part.split(",") if name.strip())
