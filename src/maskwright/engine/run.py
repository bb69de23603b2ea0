"""A run folder: what a training leaves, and how it is read again.

runs/NAME/config.yaml          what was asked for
          model.safetensors    the best weights, with all that is needed to build the network
          metrics.json         history and scores; its presence says that the training is finished
          evaluation.json      exact counts of every scored image
          evaluation_val.json  the same of the validation part, where a comparison asked for it
          evaluation_border_B.json    the same by the convention B of Pet's border, where it was asked for
          report.html          the page
          log                  one line per event
          tensorboard/         curves for TensorBoard
          folds/               the out-of-fold networks that refiners of this run share, a run each
          resume.safetensors   state of an unfinished training
          frozen.safetensors   a refiner's weights while the joint training is not finished
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

import maskwright

from ..data.catalog import DataConfig
from ..data.pets import Border
from ..errors import CheckpointError, ConfigError
from ..files import write_text
from ..models import ModelConfig, Segmenter, build, self_contained
from ..refine import RefinerConfig
from . import checkpoint
from .network import RefinedSegmenter, build_refined

T = TypeVar("T")

INSTANCES = "instances"
"""What the checkpoint of a network says that finds objects one by one; see `detector`."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Names of the files of one run."""

    root: Path

    @property
    def config(self) -> Path:
        """What was asked for."""
        return self.root / "config.yaml"

    @property
    def model(self) -> Path:
        """Best weights."""
        return self.root / "model.safetensors"

    @property
    def resume(self) -> Path:
        """State of an unfinished training."""
        return self.root / "resume.safetensors"

    @property
    def frozen(self) -> Path:
        """A refiner's best weights beside the frozen coarse network, while the joint training is not finished."""
        return self.root / "frozen.safetensors"

    @property
    def evaluation(self) -> Path:
        """Exact counts of the scored images."""
        return self.root / "evaluation.json"

    @property
    def evaluations(self) -> list[Path]:
        """All that there may be of them."""
        return [self.evaluation, self.evaluation_of_val, *(self.evaluation_with(border) for border in get_args(Border))]

    @property
    def evaluation_of_val(self) -> Path:
        """Exact counts of the validation images, where there is a test part too."""
        return self.root / "evaluation_val.json"

    def evaluation_with(self, border: Border) -> Path:
        """The same by another convention of Pet's border than the run's own."""
        return self.root / f"evaluation_border_{border}.json"

    @property
    def metrics(self) -> Path:
        """History and scores; written last, so a run that has it is finished."""
        return self.root / "metrics.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.root / "report.html"

    @property
    def folds(self) -> Path:
        """Folder of the out-of-fold networks that refiners of this run share."""
        return self.root / "folds"

    def log(self, line: str) -> None:
        """Append a dated line to the run's log."""
        with (self.root / "log").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A network read from a run, in evaluation mode.

    Attributes:
        network: segmenter, alone or with its refiner.
        classes: class names, index = label.
        data: the data that it was trained on.
        size: side of the square that images are resized to, pixels; 0 keeps their size.
        precision: "fp32" or "bf16", as trained.
        name: of the run.
        method: what refines its masks, a name of `METHODS`; empty leaves them as they are.
    """

    network: Segmenter | RefinedSegmenter
    classes: tuple[str, ...]
    data: DataConfig
    size: int
    precision: str
    name: str
    method: str = ""


def prepare_folder(folder: RunFolder, config: Any) -> None:
    """Create the run's folder, or accept the one of an unfinished run with the same configuration.

    Raises:
        ConfigError: the folder belongs to a run with another configuration.
    """
    begun = any(path.is_file() for path in (folder.model, folder.resume, folder.metrics))
    # Compared as settings, not as text: a version that adds a setting with a default still resumes older runs.
    if begun and folder.config.is_file() and _outcome(read_config(folder, type(config))) != _outcome(config):
        raise ConfigError(f"{folder.root} holds a run with another configuration; choose another --out, or delete it")
    known = folder.config.is_file()
    write_text(folder.config, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))
    stale = []
    if not folder.metrics.is_file():
        stale += folder.evaluations  # of a model that is going to be replaced
    if not known or not begun:
        # What stands here without its configuration is a leftover that nobody could say how to go on with.
        stale += [folder.resume, folder.frozen, folder.metrics, *folder.evaluations]
    for leftover in stale:
        leftover.unlink(missing_ok=True)


def _outcome(config: Any) -> Any:
    """Return the configuration without what cannot change the result of a training."""
    return dataclasses.replace(
        config, train=dataclasses.replace(config.train, workers=0, checkpoint_minutes=0.0, device="auto")
    )


def require_finished(folder: RunFolder) -> None:
    """Refuse a run whose training is not finished.

    Raises:
        CheckpointError: there is no such run, or it has no `metrics.json` yet.
    """
    if not folder.metrics.is_file():
        what = "was not finished: run its command again" if folder.config.is_file() else "is no run"
        raise CheckpointError(f"{folder.root} {what}; expected the folder of a finished run")


def model_metadata(
    kind: str, *, classes: Sequence[str], data: DataConfig, precision: str, **parts: Any
) -> dict[str, Any]:
    """Return what a checkpoint must say so that `load_model` can build the network again."""
    return {
        "kind": kind,
        "maskwright": maskwright.__version__,
        "classes": list(classes),
        "data": dataclasses.asdict(data),
        "precision": precision,
        **{name: dataclasses.asdict(_self_contained(part)) for name, part in parts.items()},
    }


def _self_contained(part: Any) -> Any:
    """Leave no name in a model's configuration that only a repository elsewhere explains."""
    return self_contained(part) if isinstance(part, ModelConfig) else part


def model_file(run: Path) -> Path:
    """Return the weights that `run`, a run folder or the file itself, names."""
    return RunFolder(root=run).model if run.is_dir() else run


def load_model(run: Path) -> TrainedModel:
    """Read the best weights of a run and build its network.

    Args:
        run: run folder, or its `model.safetensors`.

    Raises:
        CheckpointError: missing, damaged, or not a maskwright model.
    """
    path = model_file(run)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; expected the folder of a finished run")
    tensors, metadata = checkpoint.load(path)
    if metadata.get("kind") == INSTANCES:
        raise CheckpointError(
            f"{path} finds objects one by one and gives no logits of classes; predict with --save instances, and score "
            "with evaluate --instances"
        )
    try:
        classes = tuple(str(name) for name in metadata["classes"])  # type: ignore[union-attr]
        data = from_dict(DataConfig, metadata["data"])
        model = dataclasses.replace(from_dict(ModelConfig, metadata["model"]), pretrained="none")
        network: Segmenter | RefinedSegmenter = build(model, num_classes=len(classes), in_channels=data.channels)
        if metadata["kind"] == "refined":
            assert isinstance(network, Segmenter)
            # Refiners of the first days have neither: they saw what the coarse network saw, and no features.
            scale: Any = metadata.get("scale", 1)
            features = from_dict(ModelConfig, metadata.get("features", {"name": ""}))
            network = build_refined(
                network,
                from_dict(RefinerConfig, metadata["refiner"]),
                dataclasses.replace(features, pretrained="none"),
                scale=scale,
                num_classes=len(classes),
            )
        elif metadata["kind"] != "segmenter":
            raise CheckpointError(f"{path} holds {metadata['kind']!r}, expected a segmenter or a refined segmenter")
        precision = str(metadata["precision"])
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path} does not describe a model that this version can build: {error}") from error
    checkpoint.load_into(network, tensors, what=str(path))
    return TrainedModel(
        network=network.eval(),
        classes=classes,
        data=data,
        size=data.size,
        precision=precision,
        name=path.parent.name,
        method=str(metadata.get("method", "")),
    )


def read_config(folder: RunFolder, kind: type[T]) -> T:
    """Read a run's `config.yaml` as the configuration dataclass `kind`.

    Raises:
        ConfigError: no such file, or not a configuration of that kind.
    """
    try:
        values = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{folder.config} cannot be read ({error}); expected the folder of a run") from error
    try:
        return from_dict(kind, values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{folder.config} holds settings of the wrong type: {error}") from error


def from_dict(kind: type[T], values: Any) -> T:
    """Build a configuration dataclass, nested ones included, from what JSON or YAML held."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"expected the settings of {kind.__name__}, got {values!r}")
    types = get_type_hints(kind)
    if unknown := set(values) - set(types):
        raise ConfigError(f"{kind.__name__} has no setting {', '.join(sorted(unknown))}")
    required = {field.name for field in dataclasses.fields(kind) if _has_no_default(field)}  # type: ignore[arg-type]
    if missing := required - set(values):
        raise ConfigError(f"{kind.__name__} lacks the setting {', '.join(sorted(missing))}")
    return kind(
        **{
            name: from_dict(types[name], value) if dataclasses.is_dataclass(types[name]) else value
            for name, value in values.items()
        }
    )


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
