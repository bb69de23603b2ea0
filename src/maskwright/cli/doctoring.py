"""Commands that look after data sets: `doctor`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BatchError, ConfigError
from .show import command_line

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


def doctor_options(parser: "ArgumentParser") -> set[str | int]:
    """Add what jsonargparse would spell otherwise."""
    parser.add_argument(
        "data", help="a folder of images and masks, or NAME:DIR of a known data set, such as camvid:DIR"
    )
    parser.add_argument(
        "--fix", action="store_true", help="write a clean copy to --out; the data itself is never changed"
    )
    return {"data", "fix"}


def doctor_command() -> Callable[..., None]:
    """Return the command."""

    def doctor(
        data: str,
        fix: bool = False,
        out: Path | None = None,
        images: Path | None = None,
        masks: Path | None = None,
        classes: Path | None = None,
        num_classes: int | None = None,
        report: Path | None = None,
        workers: int = 2,
    ) -> None:
        """Find what is wrong with a data set before it costs a training run, and mend a copy of it.

        The exit code is 1 where there are errors and no copy was asked for, so that scripts can tell.

        Args:
            data: see above.
            fix: see above.
            out: new folder of the clean copy, which `train --data folder:OUT` takes as it is.
            images: folder of the images, where it has no usual name.
            masks: folder of the masks, likewise.
            classes: table of the classes: classes.yaml, class_dict.csv, labelmap.txt, or a name per line.
            num_classes: how many classes there are, the background included, where there is no table.
            report: folder for a page with pictures and doctor.json; with --fix they are written to OUT/doctor too.
            workers: processes that read files.
        """
        from ..data.doctor.inspection import Options
        from ..engine.doctor import check_data, found_kinds, require_empty, write_checkup, write_copy
        from ..report.doctor import show_findings

        if fix != (out is not None):
            raise ConfigError("--fix and --out go together: --fix --out DIR writes a clean copy, --report DIR a page")
        if out is not None:
            require_empty(out)
        options = Options(images=images, masks=masks, classes=classes, num_classes=num_classes, workers=workers)
        checkup = check_data(data, options)
        show_findings(found_kinds(checkup))
        if out is not None:
            kept, left_out = write_copy(checkup, out, workers=workers)
            print(f"clean copy: {out}, {kept} samples, {left_out} left out (fixes.csv says why); --data folder:{out}")
        for folder in [report] if report else [out / "doctor"] if out else []:
            print(f"report: {write_checkup(folder, checkup, data=data, commands=[command_line()])}")
        if checkup.has_errors and not fix:
            raise BatchError(checkup.verdict)
        print(checkup.verdict)

    return doctor
