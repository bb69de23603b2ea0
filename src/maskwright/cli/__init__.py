"""The command `maskwright`: parse, call `engine`, show what came back.

Every command is a typed function in a module here; jsonargparse makes its options, its help and its YAML configuration.
The heavy imports wait until a command is chosen, so `maskwright --help` answers at once.
"""

import difflib
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from maskwright import __version__
from maskwright.errors import ConfigError, MaskwrightError

from . import auditing, comparing, converting, doctoring, labelling, masks, measuring, models, training

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        summary: a line for `maskwright --help`.
        load: imports what the function's signature needs, and returns the function.
        short: options that may be written otherwise: by the name alone, or as many write it.
        positional: what stands without an option's name, for the usage.
        special: adds the options that jsonargparse would spell otherwise, and returns their names.
    """

    summary: str
    load: Callable[[], Callable[..., None]]
    short: Mapping[str, str] = field(default_factory=dict)
    positional: str = ""
    special: "Callable[[ArgumentParser], set[str | int]]" = lambda parser: set()


def _cluster_options(parser: "ArgumentParser") -> set[str | int]:
    parser.add_argument("images", type=Path, help="a folder of images, or one image")
    _add_switch(parser, "connected", "pieces that do not touch are segments of their own")
    return {"images", "connected"}


def _convert_options(parser: "ArgumentParser") -> set[str | int]:
    parser.add_argument("source", type=Path, help="a file or folder of annotations")
    _add_switch(parser, "copy", "copy the images; otherwise they are linked where the disk allows it")
    return {"source", "copy"}


def _evaluate_options(parser: "ArgumentParser") -> set[str | int]:
    # As many as there are; jsonargparse's own option for a list wants brackets.
    help_text = "folders of label maps or probabilities; several are set side by side"
    parser.add_argument("--predictions", nargs="+", type=Path, required=True, help=help_text)
    _add_switch(parser, "instances", "score single objects: AP, AR, panoptic quality")
    return {"predictions", "instances", _add_boundary(parser)}


def _audit_options(parser: "ArgumentParser") -> set[str | int]:
    help_text = "folders of masks of any tool, or COCO files of results; several are compared"
    parser.add_argument("--predictions", nargs="+", type=Path, required=True, help=help_text)
    _add_switch(parser, "skip_broken", "leave out images that cannot be scored, and say so")
    return {"predictions", "skip_broken", _add_boundary(parser)}


def _models_options(parser: "ArgumentParser") -> set[str | int]:
    parser.add_argument("name", nargs="?", default="", help="a model, to see its layers; without it, all are listed")
    return {"name"}


def _report_options(parser: "ArgumentParser") -> set[str | int]:
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs; the first is the base")
    return {"runs", _add_boundary(parser)}


def _add_boundary(parser: "ArgumentParser") -> str:
    _add_switch(parser, "boundary", "also score the edges of the masks; takes longer")
    return "boundary"


def _add_switch(parser: "ArgumentParser", name: str, help_text: str) -> None:
    """Add an option without a value; jsonargparse's own option for a bool wants one."""
    parser.add_argument(f"--{name}", action="store_true", help=help_text)


COMMANDS: Mapping[str, Command] = {
    "demo": Command(
        summary="train, refine, measure and show on embedded data, offline",
        load=lambda: training.demo,
    ),
    "train": Command(
        summary="train a segmenter",
        load=training.train_command,
        short={"--data": "--data.name", "--labels": "--data.labels", "--model": "--model.name"},
    ),
    "train-refiner": Command(
        summary="train CSPN or DySPN on a segmenter's out-of-fold masks",
        load=training.train_refiner_command,
        short={"--refiner": "--refiner.kind", "--features": "--features.name"},
    ),
    "train-bundled": Command(
        summary="train the refiner that comes with the package",
        load=training.train_bundled_command,
    ),
    "predict": Command(
        summary="segment images with a run",
        load=lambda: masks.predict,
    ),
    "refine": Command(
        summary="refine the masks of any tool",
        load=lambda: masks.refine,
    ),
    "scribble": Command(
        summary="make weak labels from full masks: scribbles, points or boxes",
        load=labelling.scribble_command,
        short={"--data": "--data.name"},
    ),
    "convert": Command(
        summary="turn the annotations of one tool into those of another",
        load=lambda: converting.convert,
        short={"--from": "--from_format"},
        positional="SOURCE ",
        special=_convert_options,
    ),
    "cluster": Command(
        summary="group pixels by mean shift, without training",
        load=lambda: masks.cluster,
        short={"--min-region": "--min_region"},
        positional="IMAGES ",
        special=_cluster_options,
    ),
    "compare": Command(
        summary="train several networks alike, and tell which to take and why",
        load=comparing.compare_command,
        short={"--data": "--data.name", "--model": "--model.name"},
    ),
    "evaluate": Command(
        summary="score folders of masks, and what changed between them",
        load=lambda: measuring.evaluate,
        special=_evaluate_options,
    ),
    "audit": Command(
        summary="score masks as every tool would, and tell which number to quote",
        load=lambda: auditing.audit,
        short={"--skip-broken": "--skip_broken", "--target-kind": "--target_kind"},
        special=_audit_options,
    ),
    "report": Command(
        summary="set runs side by side on one page",
        load=lambda: measuring.report,
        positional="RUN [RUN ...] ",
        special=_report_options,
    ),
    "doctor": Command(
        summary="find what is wrong with a data set, and mend a copy of it",
        load=doctoring.doctor_command,
        short={"--num-classes": "--num_classes"},
        positional="DATA ",
        special=doctoring.doctor_options,
    ),
    "models": Command(
        summary="list the models; of one, its layers with parameters and GMACs",
        load=lambda: models.models,
        positional="[NAME] ",
        special=_models_options,
    ),
}


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

    command = COMMANDS[name]
    function = command.load()
    parser = ArgumentParser(
        prog=f"maskwright {name}",
        usage=f"maskwright {name} {command.positional}[options]",
        description=_description(function),
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with these settings; options after it override it")
    skip = command.special(parser)
    parser.add_function_arguments(function, as_group=False, as_positional=False, skip=skip)
    try:
        settings = parser.instantiate(parser.parse_args(_expanded(command.short, arguments)))
    except ArgumentError as error:
        raise ConfigError(f"{' '.join(str(error).split())}; `maskwright {name} --help` tells the options") from error
    settings.pop("config", None)
    function(**settings)


def _expanded(short: Mapping[str, str], arguments: list[str]) -> list[str]:
    """Write out the short options, so that `--data X` and `--data.name X` are the same."""
    expanded = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        expanded.append(short.get(option, option) + equals + value)
    return expanded


def _description(function: Callable[..., None]) -> str:
    text = textwrap.dedent(function.__doc__ or "").partition("Args:")[0]
    return " ".join(text.split())


def _overview() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    return (
        "maskwright trains a segmenter, refines the masks of any segmenter, groups pixels without training, and measures "
        "whether masks got better.\n\n"
        f"usage: maskwright COMMAND [options]\n\n{commands}\n\n"
        "`maskwright COMMAND --help` tells a command's options; `maskwright --version` the version."
    )
