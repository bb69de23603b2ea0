"""The command `maskwright`: parse, call `engine`, show what came back.

Every command is a typed function here; jsonargparse makes its options, its help and its YAML configuration. The heavy
imports wait until a command is chosen, so `maskwright --help` answers at once.
"""

import difflib
import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from maskwright import __version__
from maskwright.errors import BatchError, ConfigError, MaskwrightError

if TYPE_CHECKING:
    from maskwright.data.pets import Border
    from maskwright.engine.borders import Readings
    from maskwright.types import EvaluationResult

BorderChoice: TypeAlias = Literal["pet", "ignore", "both"]


def demo(out: Path = Path("runs/demo")) -> None:
    """Train SegNet-lite, CSPN and DySPN on scenes of handwritten digits, offline, and write one page.

    Takes about 4 minutes on 2 CPU cores.

    Args:
        out: folder of the runs and of report.html.
    """
    from maskwright.engine.demo import run_demo

    _show(run_demo(out), out / "report.html")


def _train_command() -> Callable[..., None]:
    from maskwright.data.catalog import DataConfig
    from maskwright.engine.config import SegmenterRunConfig, TrainConfig
    from maskwright.models import ModelConfig

    def train(
        data: DataConfig,
        model: ModelConfig = ModelConfig(),
        train: TrainConfig = TrainConfig(),
        init: str = "",
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
            out: the run's folder; runs/DATA_MODEL where it is not given.
        """
        from maskwright.engine.reporting import complete_run
        from maskwright.engine.run import RunFolder
        from maskwright.engine.train import train_segmenter

        names = (data.name.partition(":")[0], model.name.replace(":", "_").replace("/", "_"))
        run = train_segmenter(
            SegmenterRunConfig(data=data, model=model, train=train, init=init), out or Path("runs", "_".join(names))
        )
        _show(complete_run(run, commands=[_command_line()], device=train.device), RunFolder(root=run).report)

    return train


def _train_refiner_command() -> Callable[..., None]:
    from maskwright.engine.config import RefinerRunConfig, TrainConfig
    from maskwright.models import ModelConfig
    from maskwright.refine import RefinerConfig

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
        from maskwright.engine import train as training
        from maskwright.engine.reporting import complete_run
        from maskwright.engine.run import RunFolder

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
        results = complete_run(run, base=coarse, commands=[_command_line()], device=train.device)
        _show(results, RunFolder(root=run).report)

    return train_refiner


def _train_bundled_command() -> Callable[..., None]:
    from maskwright.engine.config import TrainConfig

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
        from maskwright.engine import bundled
        from maskwright.refine.refiner import WEIGHTS

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


def predict(
    run: Path,
    images: Path,
    out: Path,
    save: Literal["labels", "probabilities", "logits"] = "labels",
    flip: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Segment the images of a folder (or one image) with a trained run, refined where the run has a refiner.

    What is already there is not done again; one bad image does not stop the others.

    Args:
        run: folder of a run.
        images: a folder of images, or one image.
        out: folder of the masks.
        save: labels (8-bit PNG with a palette), probabilities or logits (.npz, channels first).
        flip: average with the prediction of the mirrored image, at twice the time.
        device: where to compute.
    """
    from maskwright.engine.predict import predict_folder

    written = predict_folder(run, images, out, save=save, flip=flip, device=device)
    print(f"{len(written)} masks in {out}")


def refine(
    images: Path,
    masks: Path,
    out: Path,
    refiner: Path | None = None,
    method: str | None = None,
    mask_kind: Literal["auto", "labels", "binary", "probabilities", "logits"] = "auto",
    save: Literal["labels", "probabilities", "logits"] = "labels",
    smaller: Literal["refuse", "estimate", "shares"] = "refuse",
    size: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Refine the masks of any tool: with the refiner that comes with the package, one of your own, or another method.

    Writes refinement.csv beside the masks: for each image the changed pixels, the gain that the method's gate expects,
    whether the gate left the mask alone, and the seconds.

    Args:
        images: folder of images.
        masks: folder of masks with the same stems.
        out: folder of the refined masks.
        refiner: folder of a run of `maskwright train-refiner`.
        method: bundled (the default), dense_crf, guided (the guided filter) or none (to compare with); not beside
            --refiner.
        mask_kind: labels (0..C-1), binary (0 and one other value), probabilities or logits; auto looks at each file.
        save: labels (8-bit PNG with a palette), probabilities or logits (.npz, channels first).
        smaller: masks smaller than their images: refuse; estimate (enlarged, then refined like others); or shares (their
            probabilities are exact shares of the classes in each cell, as in averaged masks, and stay so).
        size: side of the square at which the refiner works, pixels; 0 is each image's own size; the size that it was
            trained at where it is not given.
        device: where the refiner of --refiner works; methods work on the CPU.
    """
    from maskwright.engine.refine import refine_folder
    from maskwright.engine.refinements import TABLE, read_refinements, summary_line

    written = refine_folder(
        images,
        masks,
        out,
        refiner=refiner,
        method=method,
        mask_kind=mask_kind,
        save=save,
        smaller=smaller,
        size=size,
        device=device,
    )
    print(f"{len(written)} refined masks in {out}")
    # Masks that an earlier version wrote have no rows.
    if (out / TABLE).exists() and (rows := read_refinements(out / TABLE)):
        print(f"{summary_line(rows)}; by image: {out / TABLE}")


def cluster(
    images: Path,
    out: Path,
    bandwidth: float = 2.5,
    steps: int = 20,
    spatial: float = 0.0,
    reduce: int | None = None,
    merge: Literal["round", "modes"] | None = None,
    connected: bool = False,
    min_region: int = 0,
    fuse: float = 0.0,
    tolerance: float | None = None,
    method: Literal["auto", "naive", "exact", "fast"] = "auto",
) -> None:
    """Group the pixels of a folder's images (or of one image) by mean shift of their colours, without training.

    Writes label PNGs, pictures of the segments in their mean colours and of their outlines, clusters.csv and report.html.
    What is already there is not done again; one bad image does not stop the others.

    Args:
        images: a folder of images, or one image.
        out: folder of the results.
        bandwidth: standard deviation of the Gaussian, CIELAB units; a larger one gives fewer segments.
        steps: of mean shift.
        spatial: standard deviation of the Gaussian over positions, pixels; 0 groups by colour alone.
        reduce: with --spatial, move blocks of so many pixels a side, and give every pixel the segment of the nearest; 1
            moves every pixel, which takes long; not given, it is chosen by the size of the image and --spatial.
        merge: which modes are one segment: round (those of equal round(mode / 4), the default without positions) or modes
            (those linked by steps shorter than the bandwidth, the default with positions).
        connected: pieces that do not touch are segments of their own.
        min_region: segments of fewer pixels join the neighbour of the nearest colour; implies --connected.
        fuse: then neighbours whose colours differ by less than so many CIELAB units become one; implies --connected.
        tolerance: what the method fast may be off in one step, CIELAB units.
        method: exact (sums over all pairs), fast (within the tolerance), naive (the definition, slow); auto chooses.
    """
    from maskwright.engine.cluster import PAGE, cluster_folder

    try:
        written = cluster_folder(
            images,
            out,
            bandwidth=bandwidth,
            steps=steps,
            spatial=spatial,
            reduce=reduce,
            merge=merge,
            connected=connected,
            min_region=min_region,
            fuse=fuse,
            tolerance=tolerance,
            method=method,
            commands=[_command_line()],
        )
    except BatchError:
        # The others are done, and the page shows them.
        print(f"report: {out / PAGE}")
        raise
    print(f"{len(written)} label map{'s' * (len(written) != 1)} in {out}\nreport: {out / PAGE}")


def evaluate(
    predictions: list[Path],
    out: Path,
    targets: Path | None = None,
    data: str = "",
    border: BorderChoice | None = None,
    base: Path | None = None,
    images: Path | None = None,
    classes: Path | None = None,
    num_classes: int | None = None,
    boundary: bool = False,
) -> None:
    """Score folders of masks against the truth; of several, say what changed and whether it is more than chance.

    Writes metrics.json and report.html. Scores are taken at the masks' own size; 255 is ignored.

    Args:
        predictions: folders of label maps or probabilities, one or several.
        out: folder of the results.
        targets: folder of true label maps with the same stems.
        data: instead of --targets, a data set as in `maskwright train`, whose test part (or validation part) is scored.
        border: of --data pets only: border pixels count as pet (what is taken where it is not given), or are ignored; both
            scores either way, side by side.
        base: folder of the masks before, with the same stems, that all others are compared with; else it is the first of
            the predictions.
        images: folder of the images, for display; beside --targets.
        classes: classes.yaml with names and rules; taken from the targets' folder, or its parent, where it is there.
        num_classes: number of classes where there is no classes.yaml.
        boundary: also score the edges of the masks; takes longer.
    """
    if (targets is None) == (not data):
        raise ConfigError("expected --targets, a folder of true masks, or --data, such as pets:DIR, and not both")
    if (out / "config.yaml").exists():
        raise ConfigError(f"{out} is the folder of a run, whose metrics would be lost; choose another --out")
    folders = _stages(predictions, base)
    if targets is None:
        for name, value in (("images", images), ("classes", classes), ("num_classes", num_classes)):
            if value is not None:
                raise ConfigError(f"--{name} is given beside --data, which has its own; leave it out")
        _evaluate_on_data(folders, data, border, out, boundary=boundary)
        return
    from maskwright.engine.evaluate import evaluate_folders, record_of
    from maskwright.engine.reporting import report_folders
    from maskwright.files import write_json

    if border is not None:
        raise ConfigError(f"border {border} is given beside --targets; it belongs to --data pets:DIR")
    results = {
        name: (folder, evaluate_folders(folder, targets, classes=classes, num_classes=num_classes, boundary=boundary))
        for name, folder in folders.items()
    }
    stages = {name: result for name, (_, result) in results.items()}
    write_json(out / "metrics.json", record_of(stages))
    page = out / "report.html"
    report_folders(page, results, targets=targets, images=images, classes=classes, commands=[_command_line()])
    _show(stages, page)


def _evaluate_on_data(
    folders: Mapping[str, Path], name: str, border: BorderChoice | None, out: Path, *, boundary: bool
) -> None:
    from maskwright.data.catalog import DataConfig
    from maskwright.engine.borders import with_border
    from maskwright.engine.evaluate import evaluate_on_data, record_of
    from maskwright.engine.reporting import report_on_data
    from maskwright.files import write_json

    data = DataConfig(name=name, val_fraction=0)
    if border is None and name.partition(":")[0] == "pets":
        border = data.border
    readings = {
        one: evaluate_on_data(folders, with_border(data, one), boundary=boundary).stages for one in _borders(border)
    }
    records = {one: record_of(stages) for one, stages in readings.items()}
    own, *others = records
    if others:
        write_json(out / "metrics.json", {"borders": records})
    else:
        write_json(out / "metrics.json", {**records[own], **({"border": own} if own else {})})
    page = out / "report.html"
    report_on_data(page, readings, folders, data=data, commands=[_command_line()])
    _show_readings(readings, page)


def _stages(predictions: Sequence[Path], base: Path | None) -> dict[str, Path]:
    """Name the folders of masks, the base first: one folder of predictions is called so, several by their own names."""
    folders = {} if base is None else {"base": base}
    for folder in predictions:
        name = "predictions" if len(predictions) == 1 else folder.resolve().name
        if name in folders:
            raise ConfigError(
                f"two folders of masks are called {name}; expected different names, by which to tell them apart"
            )
        folders[name] = folder
    return folders


def report(
    runs: list[Path],
    out: Path = Path("report.html"),
    title: str = "",
    boundary: bool = False,
    border: BorderChoice | None = None,
) -> None:
    """Write one page that sets runs side by side; the first is the base that the others are compared with.

    Args:
        runs: folders of finished runs, scored on the same images.
        out: the page.
        title: heading of the page.
        boundary: also score the edges of the masks; a run that was scored without is scored anew.
        border: of runs on pets only: border pixels count as pet, or are ignored; both scores either way, side by side. Not
            given, it is as in the training.
    """
    from maskwright.engine.reporting import report_readings

    commands = [_command_line()]
    readings = report_readings(runs, out, borders=_borders(border), commands=commands, title=title, boundary=boundary)
    _show_readings(readings, out)


def _borders(border: BorderChoice | None) -> "tuple[Border | None, ...]":
    return ("pet", "ignore") if border == "both" else (border,)


COMMANDS: Mapping[str, Callable[[], Callable[..., None]]] = {
    "demo": lambda: demo,
    "train": _train_command,
    "train-refiner": _train_refiner_command,
    "train-bundled": _train_bundled_command,
    "predict": lambda: predict,
    "refine": lambda: refine,
    "cluster": lambda: cluster,
    "evaluate": lambda: evaluate,
    "report": lambda: report,
}
SUMMARIES = {
    "demo": "train, refine, measure and show on embedded data, offline",
    "train": "train a segmenter",
    "train-refiner": "train CSPN or DySPN on a segmenter's out-of-fold masks",
    "train-bundled": "train the refiner that comes with the package",
    "predict": "segment images with a run",
    "refine": "refine the masks of any tool",
    "cluster": "group pixels by mean shift, without training",
    "evaluate": "score folders of masks, and what changed between them",
    "report": "set runs side by side on one page",
}
SHORT = {
    "train": {"--data": "--data.name", "--model": "--model.name"},
    "train-refiner": {"--refiner": "--refiner.kind", "--features": "--features.name"},
    "cluster": {"--min-region": "--min_region"},
}
"""Options that may be written otherwise: by the name alone, or as many write it."""


POSITIONAL = {"cluster": "IMAGES ", "report": "RUN [RUN ...] "}
"""What stands without an option's name, for the usage."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Args:
        argv: arguments without the program's name; None takes the process's.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"maskwright {__version__}")
        return 0
    try:
        _run(arguments[0], arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has enough, as `head` has. What is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MaskwrightError as error:
        print(f"maskwright: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("maskwright: stopped", file=sys.stderr)
        return 130
    return 0


def _run(name: str, arguments: list[str]) -> None:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; expected one of {', '.join(COMMANDS)}"
        raise ConfigError(f"unknown command {name!r}{hint}")
    from jsonargparse import ArgumentError, ArgumentParser

    command = COMMANDS[name]()
    parser = ArgumentParser(
        prog=f"maskwright {name}",
        usage=f"maskwright {name} {POSITIONAL.get(name, '')}[options]",
        description=_description(command),
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with these settings; options after it override it")
    skip: set[str | int] = set()
    if command is report:
        parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs; the first is the base")
        skip = {"runs"}
    if command is cluster:
        parser.add_argument("images", type=Path, help="a folder of images, or one image")
        skip = {"images"}
    if command is evaluate:
        # As many as there are; jsonargparse's own option for a list wants brackets.
        help_text = "folders of label maps or probabilities; several are set side by side"
        parser.add_argument("--predictions", nargs="+", type=Path, required=True, help=help_text)
        skip = {"predictions"}
    if command in (evaluate, report):
        # A switch: jsonargparse's own option for a bool wants a value.
        parser.add_argument("--boundary", action="store_true", help="also score the edges of the masks; takes longer")
        skip.add("boundary")
    if command is cluster:
        help_text = "pieces that do not touch are segments of their own"
        parser.add_argument("--connected", action="store_true", help=help_text)
        skip.add("connected")
    parser.add_function_arguments(command, as_group=False, as_positional=False, skip=skip)
    try:
        settings = parser.instantiate(parser.parse_args(_expanded(name, arguments)))
    except ArgumentError as error:
        raise ConfigError(f"{' '.join(str(error).split())}; `maskwright {name} --help` tells the options") from error
    settings.pop("config", None)
    command(**settings)


def _expanded(name: str, arguments: list[str]) -> list[str]:
    """Write out the short options, so that `--data X` and `--data.name X` are the same."""
    expanded = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        expanded.append(SHORT.get(name, {}).get(option, option) + equals + value)
    return expanded


def _description(command: Callable[..., None]) -> str:
    text = textwrap.dedent(command.__doc__ or "").partition("Args:")[0]
    return " ".join(text.split())


def _overview() -> str:
    width = max(map(len, SUMMARIES))
    commands = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in SUMMARIES.items())
    return (
        "maskwright trains a segmenter, refines the masks of any segmenter, groups pixels without training, and measures "
        "whether masks got better.\n\n"
        f"usage: maskwright COMMAND [options]\n\n{commands}\n\n"
        "`maskwright COMMAND --help` tells a command's options; `maskwright --version` the version."
    )


def _command_line() -> str:
    return shlex.join(["maskwright", *sys.argv[1:]])


def _show(stages: "Mapping[str, EvaluationResult]", page: Path) -> None:
    from maskwright.report.terminal import show

    if stages:
        show({"": stages}, page)


def _show_readings(readings: "Readings", page: Path) -> None:
    from maskwright.engine.borders import BORDER_NAMES
    from maskwright.report.terminal import show

    show({BORDER_NAMES[border] if border else "": stages for border, stages in readings.items()}, page)


if __name__ == "__main__":
    sys.exit(main())
