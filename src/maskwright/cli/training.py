"""Commands that train: `demo`, `train`, `train-refiner`, `train-bundled`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .show import command_line, show

if TYPE_CHECKING:
    from ..engine.config import SegmenterRunConfig


def demo(out: Path = Path("runs/demo")) -> None:
    """Train SegNet-lite, CSPN and DySPN on scenes of handwritten digits, offline, and write one page.

    Takes about 4 minutes on 2 CPU cores.

    Args:
        out: folder of the runs and of report.html.
    """
    from ..engine.demo import run_demo

    show(run_demo(out), out / "report.html")


def train_command() -> Callable[..., None]:
    """Return the command."""
    from ..data.catalog import DataConfig
    from ..engine.config import SegmenterRunConfig, TrainConfig
    from ..models import ModelConfig

    def train(
        data: DataConfig,
        model: ModelConfig = ModelConfig(),
        train: TrainConfig = TrainConfig(),
        init: str = "",
        method: str = "",
        out: Path | None = None,
    ) -> None:
        """Train a segmenter, score it on the test part and write its page.

        `--data folder:DIR` is short for `--data.name folder:DIR`, `--model unet` for `--model.name unet`. The same
        command goes on with a run that was stopped.

        Args:
            data: which pictures, at which size.
            model: which network.
            train: how to train it.
            init: run of the same model and classes whose weights the network starts from, to train it further.
            method: refines the run's masks when it predicts and in its scores, without training: dense_crf (or with the
                parameters of a paper, dense_crf:deeplab, dense_crf:pydensecrf), bundled or guided.
            out: the run's folder; runs/DATA_MODEL where it is not given.
        """
        from ..engine.reporting import complete_run
        from ..engine.run import RunFolder
        from ..engine.train import train_segmenter
        from ..engine.train_instances import finds_objects

        names = (data.name.partition(":")[0], model.name.replace(":", "_").replace("/", "_"))
        config = SegmenterRunConfig(data=data, model=model, train=train, init=init, method=method)
        out = out or Path("runs", "_".join(names))
        if finds_objects(config):
            _train_instances(config, out)
            return
        run = train_segmenter(config, out)
        show(complete_run(run, commands=[command_line()], device=train.device), RunFolder(root=run).report)

    return train


def _train_instances(config: "SegmenterRunConfig", out: Path) -> None:
    from ..engine.run import RunFolder
    from ..engine.train_instances import complete_instances, train_instances
    from ..report import terminal

    run = train_instances(config, out)
    results = complete_instances(run, commands=[command_line()], device=config.train.device)
    if results:
        terminal.show_objects(results)
    show({name: one.masks for name, one in results.items()}, RunFolder(root=run).report)


def train_refiner_command() -> Callable[..., None]:
    """Return the command."""
    from ..engine.config import RefinerRunConfig, TrainConfig
    from ..models import ModelConfig
    from ..refine import RefinerConfig

    def train_refiner(
        coarse: Path,
        refiner: RefinerConfig = RefinerConfig(),
        features: ModelConfig = ModelConfig(name=""),
        scale: int = 1,
        train: TrainConfig = TrainConfig(),
        folds: int = 2,
        fold_epochs: int = 0,
        joint_epochs: int = 0,
        joint_learning_rate: float = 1e-4,
        out: Path | None = None,
    ) -> None:
        """Train a refiner on the out-of-fold masks of a finished run, score it and write its page.

        `--refiner cspn` is short for `--refiner.kind cspn`, `--features X` for `--features.name X`. The networks of the
        folds are trained first, like the coarse run, and kept in its folder for the next refiner.

        Args:
            coarse: folder of a finished run of `maskwright train`.
            refiner: which refiner.
            features: network that the refiner reads beside the image, such as one with a pretrained encoder.
            scale: the refiner works at so many times the coarse run's size, where edges are sharper.
            train: how to train it.
            folds: number of out-of-fold networks; 0 takes the coarse run's own masks of its training images.
            fold_epochs: epochs of each of them; 0 takes the coarse run's.
            joint_epochs: then so many epochs of coarse network and refiner together; 0 leaves the coarse one frozen.
            joint_learning_rate: of those epochs.
            out: the run's folder; COARSE_KIND where it is not given.
        """
        from ..engine import train as training
        from ..engine.reporting import complete_run
        from ..engine.run import RunFolder

        config = RefinerRunConfig(
            coarse=str(coarse),
            refiner=refiner,
            features=features,
            scale=scale,
            train=train,
            folds=folds,
            fold_epochs=fold_epochs,
            joint_epochs=joint_epochs,
            joint_learning_rate=joint_learning_rate,
        )
        run = training.train_refiner(config, out or coarse.with_name(f"{coarse.name}_{refiner.kind}"))
        results = complete_run(run, base=coarse, commands=[command_line()], device=train.device)
        show(results, RunFolder(root=run).report)

    return train_refiner


def train_bundled_command() -> Callable[..., None]:
    """Return the command."""
    from ..engine.config import TrainConfig

    def train_bundled(
        coarse: Path,
        side: int = 192,
        train: TrainConfig = TrainConfig(),
        folds: int = 2,
        fold_epochs: int = 0,
        init: str = "",
        also: list[str] | None = None,
        blend: float = 1.0,
        out: Path = Path("runs/bundled"),
    ) -> None:
        """Train the class-agnostic refiner that comes with the package, and write its weights.

        It learns from the photographs of a finished run of two classes: from the masks that networks of folds make of
        photographs that they never saw, from truths that were spoilt, from regions of the photographs that show an edge, and
        from shapes laid on them.

        Args:
            coarse: folder of a finished run of `maskwright train`.
            side: of the square crops that it learns from, pixels.
            train: how to train it.
            folds: number of those networks.
            fold_epochs: epochs of each of them; 0 takes the coarse run's.
            init: run of this command whose weights it starts from, or `bundled` for those that come with the package; not
                given, it starts from ImageNet weights.
            also: further data of two classes, such as `folder:DIR`; of these only spoilt truths are learned from. What is
                named several times counts so many times as much.
            blend: share of the trained weights in those that are written for the package; the rest are those of --init.
            out: the run's folder.
        """
        from ..engine import bundled
        from ..refine.refiner import WEIGHTS

        config = bundled.BundledRunConfig(
            coarse=str(coarse),
            side=side,
            train=train,
            folds=folds,
            fold_epochs=fold_epochs,
            init=init,
            also=also or [],
            blend=blend,
        )
        print(f"weights: {bundled.train_bundled(config, out) / WEIGHTS}")

    return train_bundled
