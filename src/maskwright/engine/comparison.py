"""`maskwright compare`: train candidates under one budget with several seeds, measure them, and say which to take.

OUT/runs/CANDIDATE/seed-N/    a run each, as `maskwright train` leaves it
OUT/runs/CANDIDATE/cost.json  what its network takes
OUT/compare.json compare.csv  all numbers
OUT/report.html               the page

What decides is the validation part, where the data has one beside its test part; the test part then only reports.
"""

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.catalog import open_training_data
from ..errors import BatchError, DataError, MaskwrightError, Terminated, WriteError
from ..metrics.ranking import rank
from ..progress import say
from ..report.choice import Compared, Comparison, choose
from ..report.comparison import ComparisonReport, write_comparison_report
from ..report.records import Curve, Look
from ..types import Dataset, EvaluationResult, Splits
from .candidates import ComparisonConfig, NetworkSize, check_candidates
from .comparison_files import write_tables
from .comparison_pictures import show_images, telling_images
from .costs import measured_cost
from .evaluate import evaluate_run, evaluate_validation, scored_part
from .reporting import complete_run, look_of, machine_facts
from .run import RunFolder, prepare_folder
from .train import OUT_OF_MEMORY, train_segmenter

PAGE = "report.html"

Runs = Mapping[str, Sequence[Path]]
"""Candidate → its finished runs, in the order of the seeds."""


@dataclass(frozen=True, kw_only=True)
class ScoredPart:
    """A part of the data, "val" or "test", with the counts of each candidate's runs on it."""

    name: str
    dataset: Dataset
    results: Mapping[str, list[EvaluationResult]]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What the trainings left: the finished runs of each candidate that has one, and why others failed."""

    runs: Runs
    failed: Mapping[str, str]


def compare_networks(config: ComparisonConfig, out: Path, *, commands: Sequence[str] = ()) -> Comparison:
    """Train, measure and compare all candidates; what an earlier call finished is not done again.

    Args:
        config: what to compare, on which data, with which budget.
        out: folder of the comparison.
        commands: command lines that make it again, for the page.

    Returns:
        What was found; it stands in `out` too. Trainings that failed are named in it, the others are compared.

    Raises:
        BatchError: every training failed.
        ConfigError: candidates that cannot be built, all named; `out` belongs to a comparison with other settings.
        DataError: data that is not as it should be, or has no part to score.
        Terminated: SIGTERM or Ctrl-C; the same call goes on.
    """
    splits = open_training_data(config.data)
    scored_part(splits)  # a comparison without a score would be found out too late
    height, width = _network_size(config, splits)
    candidates = config.candidates
    sizes = check_candidates(
        candidates,
        num_classes=len(splits.classes),
        height=height,
        width=width,
        channels=config.data.channels,
    )
    for candidate in candidates:
        for seed in config.seed_numbers:
            prepare_folder(RunFolder(root=config.run_folder(out, candidate, seed)), config.run_config(candidate, seed))
    trained = _train_all(config, out, splits, commands=commands)
    if not trained.runs:
        raise BatchError(f"no training could be finished, so nothing is compared:\n{failures(trained.failed)}")
    deciding, reported = _score(trained.runs, splits, device=config.train.device)
    comparison = _compared(config, trained, sizes, deciding, reported, height=height, width=width)
    write_tables(out, comparison, config)
    look = look_of(config.data, splits)
    _write_page(out / PAGE, comparison, trained.runs, deciding, config, look=look, commands=commands)
    return comparison


def _network_size(config: ComparisonConfig, splits: Splits) -> tuple[int, int]:
    """Height and width of the images as the networks see them; of images of their own size, those of the first one."""
    if config.data.size:
        return config.data.size, config.data.size
    height, width = splits.train[0].image.shape[-2:]
    return height, width


def _train_all(config: ComparisonConfig, out: Path, splits: Splits, *, commands: Sequence[str]) -> Trained:
    runs: dict[str, list[Path]] = {}
    failed = {}
    # Seed by seed, so that a comparison that is stopped early has something of every candidate.
    for seed in config.seed_numbers:
        for candidate in config.candidates:
            what = f"{candidate.name}, seed {seed}"
            run = config.run_folder(out, candidate, seed)
            try:
                train_segmenter(config.run_config(candidate, seed), run, splits=splits, label=what)
                if not RunFolder(root=run).report.exists():
                    complete_run(run, commands=commands, device=config.train.device)
            except (DataError, Terminated, WriteError):
                raise  # not the candidate's fault
            except (MaskwrightError, AssertionError, MemoryError, RuntimeError, ValueError) as error:
                failed[what] = str(error) if isinstance(error, MaskwrightError) else f"{type(error).__name__}: {error}"
                say(f"{what}: {failed[what]}")
                continue
            runs.setdefault(candidate.name, []).append(run)
    return Trained(runs={c.name: runs[c.name] for c in config.candidates if c.name in runs}, failed=failed)


def failures(failed: Mapping[str, str]) -> str:
    """Return what failed and what to do, for an error's message."""
    listed = "\n".join(f"  {what}: {why}" for what, why in failed.items())
    return f"{listed}\nmend what they tell and run the same command again, or leave these candidates out"


def _score(runs: Runs, splits: Splits, *, device: str) -> tuple[ScoredPart, ScoredPart | None]:
    """Return the part that decides, and the test part where that is another one."""
    part, dataset = scored_part(splits)
    results = {
        name: [list(evaluate_run(run, device=device).stages.values())[-1] for run in of_one]
        for name, of_one in runs.items()
    }
    scored = ScoredPart(name=part, dataset=dataset, results=results)
    if part == "val" or splits.val is None:
        return scored, None
    results = {name: [evaluate_validation(run, device=device) for run in of_one] for name, of_one in runs.items()}
    return ScoredPart(name="val", dataset=splits.val, results=results), scored


def _compared(
    config: ComparisonConfig,
    trained: Trained,
    sizes: Mapping[str, NetworkSize],
    deciding: ScoredPart,
    reported: ScoredPart | None,
    *,
    height: int,
    width: int,
) -> Comparison:
    statistic = "iou_per_image" if len(deciding.dataset.classes) == 2 else "miou_present"
    tested = None if reported is None else rank(reported.results, statistic)
    labels = short_labels(list(trained.runs))
    candidates = {}
    for candidate in config.candidates:
        name, train = candidate.name, config.train
        if name not in trained.runs:
            continue
        runs = trained.runs[name]
        measured = measured_cost(runs[0], batch_size=train.batch_size, height=height, width=width, device=train.device)
        curves, epoch_seconds = _courses(runs)
        candidates[name] = Compared(
            name=name,
            label=labels[name],
            model=candidate.model.name,
            pretrained=candidate.model.pretrained,
            reported=None if tested is None else tested.candidates[name].score,
            parameters=sizes[name].parameters,
            macs=sizes[name].macs,
            measured=measured,
            epoch_seconds=epoch_seconds,
            curves=curves,
            smaller_batches=any(OUT_OF_MEMORY in (run / "log").read_text(encoding="utf-8") for run in runs),
        )
    return Comparison(
        candidates=candidates,
        ranking=rank(deciding.results, statistic),
        statistic=statistic,
        part=deciding.name,
        images=len(deciding.dataset),
        reported_images=0 if reported is None else len(reported.dataset),
        margin=config.margin,
        cost=config.cost,
        budget=_budget(config),
        seeds=config.seeds,
        failed=trained.failed,
    )


def _courses(runs: Sequence[Path]) -> tuple[tuple[Curve, ...], float]:
    """Return the curves of the trainings, and the median time of their epochs, seconds."""
    histories = [json.loads(RunFolder(root=run).metrics.read_text(encoding="utf-8"))["history"] for run in runs]
    curves = [
        Curve(
            name=run.name,
            train_loss=tuple(history["train_loss"]),
            val_score=tuple(history["val_score"]),
            val_name="validation",
        )
        for run, history in zip(runs, histories, strict=True)
    ]
    return tuple(curves), statistics.median(seconds for history in histories for seconds in history["seconds"])


def short_labels(names: Sequence[str]) -> dict[str, str]:
    """Return names without weights and without smp's mark of timm's encoders, where that leaves them different."""
    short = {name: name.partition("@")[0].removeprefix("tu-") for name in names}
    doubles = {label for label, count in Counter(short.values()).items() if count > 1}
    return {name: name if label in doubles else label for name, label in short.items()}


def _budget(config: ComparisonConfig) -> str:
    train, size = config.train, config.data.size
    at = f"at {size} × {size} pixels" if size else "at their own size"
    epochs = "1 epoch" if train.epochs == 1 else f"{train.epochs} epochs"
    return f"{epochs} in batches of {train.batch_size} {at}, learning rate {train.learning_rate:g}"


def _write_page(
    page: Path,
    comparison: Comparison,
    runs: Runs,
    deciding: ScoredPart,
    config: ComparisonConfig,
    *,
    look: Look,
    commands: Sequence[str],
) -> None:
    what = f"encoders of {config.model.name}" if config.encoders else "networks"
    kind = config.data.name.partition(":")[0]
    count = len(comparison.candidates)
    hardest, differing = telling_images(deciding.results, choose(comparison))
    shown = show_images(
        deciding.dataset, deciding.results, runs, names=[*hardest, *differing], look=look, device=config.train.device
    )
    write_comparison_report(
        page,
        ComparisonReport(
            title=f"{count} {what} on {kind}" if count > 1 else f"{next(iter(comparison.candidates))} on {kind}",
            subject=f"{sum(map(len, runs.values()))} trainings, each {_budget(config)}",
            comparison=comparison,
            commands=tuple(commands),
            facts={"data": config.data.name, "seeds": ", ".join(map(str, config.seed_numbers)), **machine_facts()},
            hardest=[shown[name] for name in hardest],
            differing=[shown[name] for name in differing],
            classes=deciding.dataset.classes,
            look=look,
        ),
    )
