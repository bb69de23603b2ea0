"""Commands that measure masks: `evaluate`, `report`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import ConfigError
from .show import command_line, show, show_readings

if TYPE_CHECKING:
    from ..data.pets import Border

BorderChoice: TypeAlias = Literal["pet", "ignore", "both"]


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
    instances: bool = False,
    max_detections: int = 100,
    threshold: float = 0.0,
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
        instances: score single objects (AP, AR, panoptic quality). Predictions are then folders of `maskwright predict
            --save instances`, folders of maps of numbers, or results in COCO's format; --targets is a folder of maps or
            a COCO file of annotations, --data one that tells objects apart, such as nuclei:DIR. Where --targets is a
            panoptic file, predictions are such files, and the score is panoptic quality.
        max_detections: of --instances: objects of each image and class that count at most for AP and AR.
        threshold: of --instances: score that an object must reach to count for panoptic quality and for the scores of
            pixels; AP and AR take all.
    """
    if (targets is None) == (not data):
        raise ConfigError("expected --targets, a folder of true masks, or --data, such as pets:DIR, and not both")
    if (out / "config.yaml").exists():
        raise ConfigError(f"{out} is the folder of a run, whose metrics would be lost; choose another --out")
    folders = _stages(predictions, base)
    if instances:
        for name, given in (("boundary", boundary), ("border", border), ("num_classes", num_classes)):
            if given:
                raise ConfigError(f"--{name} is given beside --instances, which does not know it; leave it out")
        _evaluate_instances(
            folders, targets, data, out, images=images, classes=classes, most=max_detections, threshold=threshold
        )
        return
    if threshold:
        raise ConfigError("--threshold is given without --instances, to which it belongs; leave it out")
    if targets is None:
        for name, value in (("images", images), ("classes", classes), ("num_classes", num_classes)):
            if value is not None:
                raise ConfigError(f"--{name} is given beside --data, which has its own; leave it out")
        _evaluate_on_data(folders, data, border, out, boundary=boundary)
        return
    from ..engine.evaluate import evaluate_folders, record_of
    from ..engine.reporting import report_folders
    from ..files import write_json

    if border is not None:
        raise ConfigError(f"border {border} is given beside --targets; it belongs to --data pets:DIR")
    results = {
        name: (folder, evaluate_folders(folder, targets, classes=classes, num_classes=num_classes, boundary=boundary))
        for name, folder in folders.items()
    }
    stages = {name: result for name, (_, result) in results.items()}
    write_json(out / "metrics.json", record_of(stages))
    page = out / "report.html"
    report_folders(page, results, targets=targets, images=images, classes=classes, commands=[command_line()])
    show(stages, page)


def _evaluate_instances(
    folders: Mapping[str, Path],
    targets: Path | None,
    data: str,
    out: Path,
    *,
    images: Path | None,
    classes: Path | None,
    most: int,
    threshold: float,
) -> None:
    from ..data.coco_panoptic import lists_segments
    from ..engine.evaluate import record_of
    from ..engine.instances import found_in, instance_record, open_truth, score_objects
    from ..engine.report_instances import report_instances
    from ..files import write_json
    from ..report import terminal

    if targets is not None and lists_segments(targets):
        if classes is not None:
            raise ConfigError(f"--classes is given beside the panoptic file {targets}, which has its own; leave it out")
        _evaluate_panoptic(folders, targets, out, images=images)
        return
    truth = open_truth(targets, data, classes=classes)
    found = {name: found_in(path, truth) for name, path in folders.items()}
    results = {name: score_objects(one, truth, max_detections=most, threshold=threshold) for name, one in found.items()}
    stages = {name: one.masks for name, one in results.items()}
    write_json(out / "metrics.json", {**record_of(stages), "instances": instance_record(results)})
    page = out / "report.html"
    commands = [command_line()]
    report_instances(page, results, found, truth=truth, images=images, commands=commands, threshold=threshold)
    terminal.show_objects(results)
    show(stages, page)


def _evaluate_panoptic(files: Mapping[str, Path], targets: Path, out: Path, *, images: Path | None) -> None:
    from ..data.coco_panoptic import read_panoptic_truth
    from ..engine.evaluate import record_of
    from ..engine.panoptic import evaluate_panoptic, panoptic_record
    from ..engine.report_panoptic import report_panoptic
    from ..files import write_json
    from ..report import terminal

    truth = read_panoptic_truth(targets)
    results = {name: evaluate_panoptic(path, truth) for name, path in files.items()}
    stages = {name: one.masks for name, one in results.items()}
    write_json(out / "metrics.json", {**record_of(stages), "panoptic": panoptic_record(results)})
    page = out / "report.html"
    report_panoptic(page, results, truth=truth, images=images, commands=[command_line()])
    terminal.show_panoptic({name: one.panoptic for name, one in results.items()})
    show(stages, page)


def _evaluate_on_data(
    folders: Mapping[str, Path], name: str, border: BorderChoice | None, out: Path, *, boundary: bool
) -> None:
    from ..data.catalog import DataConfig
    from ..engine.borders import with_border
    from ..engine.evaluate import evaluate_on_data, record_of
    from ..engine.reporting import report_on_data
    from ..files import write_json

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
    report_on_data(page, readings, folders, data=data, commands=[command_line()])
    show_readings(readings, page)


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
    from ..engine.reporting import report_readings

    commands = [command_line()]
    readings = report_readings(runs, out, borders=_borders(border), commands=commands, title=title, boundary=boundary)
    show_readings(readings, out)


def _borders(border: BorderChoice | None) -> "tuple[Border | None, ...]":
    return ("pet", "ignore") if border == "both" else (border,)
