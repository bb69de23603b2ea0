"""One output file per input file, over a whole folder: what is there is not done again, one failure stops nothing."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from ..errors import BatchError, ConfigError, MaskwrightError
from ..files import sweep_temporary, write_json
from ..progress import Bar, say
from .memory import is_out_of_memory

RECORD = ".maskwright.json"
"""File in the folder of the outputs that says what they were made with."""


def run_batch(
    outputs: dict[Path, Path],
    do: Callable[[Path], None],
    *,
    label: str,
    settings: Mapping[str, str | int | None],
    memory_advice: str,
    inputs: Iterable[Path] = (),
) -> None:
    """Call `do` for every input whose output is missing; go on past failures and name them all at the end.

    Args:
        outputs: output file of every input.
        do: writes the output of one input, whole or not at all.
        label: of the progress bar.
        settings: all that the outputs depend on; kept beside them, so that outputs of other settings are not taken for
            finished ones.
        memory_advice: what to do where memory runs out.
        inputs: further files that are read, which no output may replace either.

    Raises:
        BatchError: some inputs failed.
        ConfigError: an output would replace an input; the folder holds outputs of other settings.
    """
    # Not Path.resolve, which raises on a loop of links before Python 3.13; such a file fails with its name, below.
    read = {os.path.realpath(path) for path in (*outputs, *inputs)}
    replaced = [output for output in outputs.values() if os.path.realpath(output) in read]
    if replaced:
        raise ConfigError(f"{replaced[0]} is an input and would be replaced; choose another folder for --out")
    for folder in {output.parent for output in outputs.values()}:
        if folder.is_dir():
            sweep_temporary(folder)
        claim(folder, {"command": label, **settings}, begun=any(output.exists() for output in outputs.values()))
    todo = [path for path, output in outputs.items() if not output.exists()]
    if len(todo) < len(outputs):
        say(f"{label}: {len(outputs) - len(todo)} of {len(outputs)} were done before")
    failures = []
    with Bar(label, total=len(outputs), done=len(outputs) - len(todo)) as bar:
        for path in todo:
            try:
                do(path)
            except MaskwrightError as error:
                failures.append(str(error))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                failures.append(f"{path}: out of memory; {memory_advice}")
            bar.advance()
    raise_failures(failures, total=len(outputs))


def raise_failures(failures: Sequence[str], *, total: int) -> None:
    """Raise what failed of a batch, if anything did.

    Args:
        failures: each in words.
        total: of the images.

    Raises:
        BatchError: names the first twenty.
    """
    if failures:
        shown = "\n  ".join(failures[:20])
        more = f"\n  and {len(failures) - 20} more" if len(failures) > 20 else ""
        raise BatchError(
            f"{total - len(failures)} of {total} images done, {len(failures)} failed:\n  "
            f"{shown}{more}\nmend or remove them and run the same command again; it does only what is missing"
        )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def claim(folder: Path, settings: Mapping[str, str | int | None], *, begun: bool) -> None:
    """Note the settings in the folder of the outputs, or refuse where other settings made what lies there.

    Args:
        folder: of the outputs.
        settings: all that they depend on.
        begun: whether outputs lie there already.

    Raises:
        ConfigError: they were made with other settings, or nobody knows with which.
    """
    record = folder / RECORD
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{record} cannot be read ({error}); delete it with its folder, or choose another --out"
        ) from None
    if known != settings and begun:
        names = (
            sorted(settings) if not isinstance(known, dict) else [n for n in settings if known.get(n) != settings[n]]
        )
        what = "of unknown origin" if known is None else f"made with another {', '.join(names)}"
        raise ConfigError(f"{folder} holds files {what}; choose another --out, or delete that one")
    write_json(record, dict(settings))
