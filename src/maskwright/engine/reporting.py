"""From runs, or scored folders, to the page."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

import maskwright

from ..data.catalog import DataConfig, official_colours, open_data
from ..data.io import as_colours, read_image, read_labels
from ..data.naming import list_images
from ..data.pets import Border
from ..errors import DataError
from ..files import write_json
from ..metrics import image_iou
from ..progress import say
from ..report import Curve, Look, Picture, Report, Stage, Strip, write_report
from ..types import Dataset, EvaluationResult, Splits
from .borders import Readings, border_notes, conventions, with_border
from .evaluate import (
    change_dict,
    compare,
    evaluate_run,
    find_classes,
    read_prediction,
    scored_part,
    summary,
)
from .masks import masks_by_name, pair_by_stem
from .network import decide
from .predict import COARSE, Predictor
from .run import RunFolder, load_model, require_finished

STRIPS = 6
"""Images that are shown with every refinement step."""


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A run with what the page needs of it; `readings` are alike but for the border, the first is the page's own."""

    folder: RunFolder
    predictor: Predictor
    readings: Readings
    part: str

    @property
    def results(self) -> Mapping[str, EvaluationResult]:
        """The stages as the page shows them."""
        return next(iter(self.readings.values()))

    @property
    def refined(self) -> bool:
        """Whether the run has a refiner or a method."""
        return len(self.predictor.stage_names) > 1


def complete_run(
    run: Path, *, base: Path | None = None, commands: Sequence[str], device: str = "auto"
) -> dict[str, EvaluationResult]:
    """Score a trained run, add the scores to its `metrics.json`, write its page.

    Args:
        run: the run's folder.
        base: the run that it is compared with: for a refiner the coarse run, since joint training changes the coarse
            network that the refined run holds.
        commands: command lines that make it again.
        device: "auto", "cpu" or "cuda".

    Returns:
        The stages that the page shows, in order; none where the data has no part to score.
    """
    folder = RunFolder(root=run)
    require_finished(folder)
    splits = open_data(load_model(run).data)
    if splits.test is None and splits.val is None:
        say(f"{run}: the data has no test and no validation part, so there is nothing to score")
        return {}
    runs = [run] if base is None else [base, run]
    results = report_runs(runs, folder.report, commands=commands, device=device)
    stages = list(results.items())
    record = json.loads(folder.metrics.read_text(encoding="utf-8"))
    record["part"] = evaluate_run(run, device=device).part
    record["scores"] = {name: summary(result) for name, result in stages}
    if len(stages) > 1:
        record["change"] = change_dict(compare(stages[0][1], stages[-1][1]))
    write_json(folder.metrics, record)
    return results


def report_runs(
    runs: Sequence[Path],
    out: Path,
    *,
    commands: Sequence[str],
    title: str = "",
    device: str = "auto",
    boundary: bool = False,
    border: Border | None = None,
) -> dict[str, EvaluationResult]:
    """Write the page that sets runs side by side; the first one is the base that the others are compared with.

    Args:
        runs: folders of finished runs that were scored on the same images.
        out: the page.
        commands: command lines that make it again.
        title: heading; empty makes one.
        device: "auto", "cpu" or "cuda".
        boundary: whether to score the boundaries too; the page shows their scores where every stage has them.
        border: runs on `pets` only: the convention of the border; None is that of each run.

    Returns:
        The stages that the page shows, in order.
    """
    (results,) = report_readings(
        runs, out, commands=commands, title=title, device=device, boundary=boundary, borders=(border,)
    ).values()
    return results


def report_readings(
    runs: Sequence[Path],
    out: Path,
    *,
    borders: Sequence[Border | None],
    commands: Sequence[str],
    title: str = "",
    device: str = "auto",
    boundary: bool = False,
) -> dict[Border | None, dict[str, EvaluationResult]]:
    """Write the page of `report_runs` with the scores by several conventions of Pet's border, the first shown in full."""
    scored = [_score(run, device=device, boundary=boundary, borders=borders) for run in runs]
    shown = _stages(scored)
    first = scored[0]
    data = with_border(first.predictor.model.data, borders[0])
    splits = open_data(data)
    part, dataset = scored_part(splits)
    look = look_of(data, splits)
    pictures = _Pictures(dataset, shown, look)
    readings = {border: {name: run.readings[border][key] for name, (run, key) in shown.items()} for border in borders}
    stages, convention, others = conventions(readings)
    what = f"{len(dataset)} {part} images of {data.name.partition(':')[0]}"
    write_report(
        out,
        Report(
            title=title or f"{' → '.join(shown)} on {data.name.partition(':')[0]}",
            summary_subject=what,
            commands=tuple(commands),
            facts=_facts(scored, {"training images": str(len(splits.train)), "scored images": what}),
            curves=tuple(curve for run in scored for curve in _curves(run)),
            stages=stages,
            strips=tuple(pictures.strip(name) for name in _chosen(stages))
            if any(run.refined for run in scored)
            else (),
            pictures=pictures.picture,
            notes=border_notes(data, borders),
            config="\n".join(
                f"# {run.folder.root.name}\n{run.folder.config.read_text(encoding='utf-8')}" for run in scored
            ),
            convention=convention,
            others=others,
            look=look,
        ),
    )
    return readings


def report_folders(
    out: Path,
    results: Mapping[str, tuple[Path, EvaluationResult]],
    *,
    targets: Path,
    images: Path | None,
    classes: Path | None,
    commands: Sequence[str],
) -> None:
    """Write the page of scored folders.

    Args:
        out: the page.
        results: stage name → (folder of predictions, its counts), the base first.
        targets: folder of true masks.
        images: folder of images with the same stems, for display; None shows masks on grey.
        classes: class table, as in `evaluate_folders`.
        commands: command lines that make it again.
    """
    table = find_classes(targets, classes)
    pairs = {name: pair_by_stem(folder, targets) for name, (folder, _) in results.items()}
    image_paths = {path.stem: path for path in list_images(images)} if images is not None else {}
    num_classes = len(next(iter(results.values()))[1].classes)

    def picture(stem: str) -> Picture:
        truth_path = next(iter(pairs.values()))[stem][1]
        truth = table.encode(read_labels(truth_path), path=truth_path)
        masks = {name: read_prediction(pair[stem][0], num_classes=num_classes) for name, pair in pairs.items()}
        return Picture(image=image_or_grey(image_paths.get(stem), truth.shape), truth=truth, masks=masks)

    stages = tuple(Stage(name=name, result=result) for name, (_, result) in results.items())
    write_report(
        out,
        Report(
            title=" → ".join(results),
            summary_subject=f"{len(stages[0].result.names)} masks of {targets}",
            commands=tuple(commands),
            facts=machine_facts(),
            curves=(),
            stages=stages,
            strips=(),
            pictures=picture,
        ),
    )


def report_on_data(
    out: Path, readings: Readings, folders: Mapping[str, Path], *, data: DataConfig, commands: Sequence[str]
) -> None:
    """Write the page of folders of masks that were scored on a data set.

    Args:
        out: the page.
        readings: the stages scored by one or several conventions of the border, the first shown in full.
        folders: stage name → its masks.
        data: the data set.
        commands: command lines that make it again.
    """
    borders = list(readings)
    data = with_border(data, borders[0])
    splits = open_data(data)
    look = look_of(data, splits)
    part, dataset = scored_part(splits)
    masks = {name: masks_by_name(folder, dataset.names) for name, folder in folders.items()}
    index = {name: i for i, name in enumerate(dataset.names)}

    def picture(name: str) -> Picture:
        sample = dataset[index[name]]
        return Picture(
            image=as_colours(sample.image.permute(1, 2, 0).numpy()),
            truth=None if sample.target is None else sample.target.numpy(),
            masks={
                stage: read_prediction(paths[name], num_classes=len(dataset.classes)) for stage, paths in masks.items()
            },
            look=look,
        )

    stages, convention, others = conventions(readings)
    kind = data.name.partition(":")[0]
    write_report(
        out,
        Report(
            title=f"{' → '.join(folders)} on {kind}",
            summary_subject=f"{len(dataset)} {part} images of {kind}",
            commands=tuple(commands),
            facts={"data": data.name, **machine_facts()},
            curves=(),
            stages=stages,
            strips=(),
            pictures=picture,
            notes=border_notes(data, borders),
            convention=convention,
            others=others,
            look=look,
        ),
    )


def look_of(data: DataConfig, splits: Splits) -> Look:
    """Return how the labels of a data set are shown."""
    return Look(colours=official_colours(data, len(splits.classes)), background=splits.background)


class _Pictures:
    """Images, truths and masks of one data set by name; the masks are predicted when they are asked for."""

    def __init__(self, dataset: Dataset, shown: Mapping[str, tuple[ScoredRun, str]], look: Look) -> None:
        self.dataset = dataset
        self.shown = shown
        self.look = look
        self.index = {name: i for i, name in enumerate(dataset.names)}
        self.states = lru_cache(maxsize=64)(self._states)

    def picture(self, name: str) -> Picture:
        sample = self.dataset[self.index[name]]
        masks = {}
        for stage, (run, key) in self.shown.items():
            states = self.states(name, run.folder.root)
            masks[stage] = states[0] if key == COARSE and run.refined else states[-1]
        truth = None if sample.target is None else sample.target.numpy()
        image = as_colours(sample.image.permute(1, 2, 0).numpy())
        return Picture(image=image, truth=truth, masks=masks, look=self.look)

    def strip(self, name: str) -> Strip:
        steps = {
            stage: self.states(name, run.folder.root)
            for stage, (run, key) in self.shown.items()
            if run.refined and key != COARSE
        }
        return Strip(name=name, picture=self.picture(name), steps=steps)

    def _states(self, name: str, root: Path) -> list[np.ndarray]:
        run = next(run for run, _ in self.shown.values() if run.folder.root == root)
        image = self.dataset[self.index[name]].image.permute(1, 2, 0).numpy()
        logits = run.predictor.steps(image) if run.refined else run.predictor.logits(image)[None]
        return [decide(state).to(torch.uint8).numpy() for state in logits]


def _score(run: Path, *, device: str, boundary: bool, borders: Sequence[Border | None]) -> ScoredRun:
    predictor = Predictor.load(run, device=device)
    data = predictor.model.data
    readings, part = {}, ""
    for border in borders:
        # The run's own convention is kept once, not under its name, too.
        other = None if with_border(data, border) == data else border
        evaluation = evaluate_run(run, device=device, boundary=boundary, border=other)
        readings[border] = dict(zip(predictor.stage_names, evaluation.stages.values(), strict=True))
        part = evaluation.part
    return ScoredRun(folder=RunFolder(root=run), predictor=predictor, readings=readings, part=part)


def _stages(scored: Sequence[ScoredRun]) -> dict[str, tuple[ScoredRun, str]]:
    """Name the stages of the page: the coarse one of the first refined run (or the plain run that came first), then
    each run's last one, under the refiner's name where that is unique."""
    plain = [run for run in scored if not run.refined]
    stages: dict[str, tuple[ScoredRun, str]] = {}
    if not plain:
        stages[COARSE] = (scored[0], COARSE)
    for run in scored:
        key = list(run.results)[-1]
        only_base = not run.refined and len(plain) == 1 and len(scored) > 1
        name = COARSE if only_base else key
        if name in stages:
            name = run.folder.root.name
        stages[f"{name} ({len(stages) + 1})" if name in stages else name] = (run, key)
    first = next(iter(scored[0].results.values()))
    for run in scored[1:]:
        other = next(iter(run.results.values()))
        if (run.part, other.names, other.classes) != (scored[0].part, first.names, first.classes):
            raise DataError(
                f"{run.folder.root} was scored on {len(other.names)} {run.part} images of {len(other.classes)} classes, "
                f"{scored[0].folder.root} on {len(first.names)} {scored[0].part} images of {len(first.classes)}; "
                "expected the same images and classes for all runs"
            )
    return stages


def _chosen(stages: Sequence[Stage]) -> list[str]:
    """Choose images from all over the range of the last stage's change, most improved and most harmed included."""
    change = image_iou(stages[-1].result) - image_iou(stages[0].result)
    order = [i for i in np.argsort(-change, kind="stable") if np.isfinite(change[i])]
    positions = np.linspace(0, len(order) - 1, min(STRIPS, len(order))).round().astype(int)
    return [stages[0].result.names[order[p]] for p in dict.fromkeys(positions.tolist())]


def _curves(run: ScoredRun) -> list[Curve]:
    record = json.loads(run.folder.metrics.read_text(encoding="utf-8"))
    history = record["history"]
    binary = len(run.predictor.model.classes) == 2
    val_name = "IoU per image, validation" if binary else "mIoU of the classes present, validation"
    return [
        Curve(
            name=run.folder.root.name,
            train_loss=tuple(history["train_loss"]),
            val_score=tuple(history["val_score"]),
            val_name=val_name,
        )
    ]


def _facts(scored: Sequence[ScoredRun], counts: Mapping[str, str]) -> dict[str, str]:
    seconds = {}
    for run in scored:
        record = json.loads(run.folder.metrics.read_text(encoding="utf-8"))
        seconds[run.folder.root.name] = sum(record["history"]["seconds"])
    training = ", ".join(f"{name} {spent / 60:.1f} min" for name, spent in seconds.items())
    return {"data": scored[0].predictor.model.data.name, **counts, "training time": training, **machine_facts()}


def image_or_grey(path: Path | None, size: Sequence[int]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the image to show: grey where there is none of this size, (height, width); of another size, it is said."""
    grey = np.full((*size, 3), 128, np.uint8)
    if path is None:
        return grey
    found = read_image(path)
    if found.shape == grey.shape:
        return found
    say(f"{path} has another size than its mask; the page shows the mask on grey")
    return grey


def machine_facts() -> dict[str, str]:
    """Return what ran and on what, for the facts of a page."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return {
        "versions": f"maskwright {maskwright.__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, {device}",
    }
