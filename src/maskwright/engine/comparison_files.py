"""A comparison as files for other programs: `compare.json` and `compare.csv`."""

import csv
import dataclasses
import io
import math
from pathlib import Path
from typing import Any

from ..files import write_json, write_text
from ..metrics.bootstrap import Interval
from ..report.choice import Comparison, caveats, choose, finding, reasons
from ..report.comparison import fronts_of
from .candidates import ComparisonConfig
from .reporting import machine_facts

JSON_FILE = "compare.json"
CSV_FILE = "compare.csv"


def write_tables(out: Path, comparison: Comparison, config: ComparisonConfig) -> None:
    """Write both files, atomically."""
    write_json(out / JSON_FILE, record_of(comparison, config))
    rows = [row_of(comparison, name) for name in comparison.in_order]
    stream = io.StringIO()
    table = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(out / CSV_FILE, stream.getvalue())


def record_of(comparison: Comparison, config: ComparisonConfig) -> dict[str, Any]:
    """Return everything that was found, as JSON; what is undefined is None."""
    ranking = comparison.ranking
    candidates = []
    for name in comparison.in_order:
        one, ranked = comparison.candidates[name], comparison.ranked(name)
        candidates.append(
            {
                "name": name,
                "pretrained": one.pretrained,
                "score": _interval(ranked.score),
                "score_by_seed": list(ranked.by_seed),
                "score_reported": None if one.reported is None else _interval(one.reported),
                "difference_from_best": _interval(ranked.gap),
                "p": _finite(ranked.p),
                "p_holm": _finite(ranked.p_holm),
                "finding": finding(comparison, name),
                "parameters": one.parameters,
                "macs": one.macs,
                **dataclasses.asdict(one.measured),
                "epoch_seconds": one.epoch_seconds,
            }
        )
    return {
        "recommended": choose(comparison),
        "reasons": reasons(comparison),
        "caveats": caveats(comparison),
        "best": ranking.best,
        "score": comparison.statistic,
        "part": comparison.part,
        "images": comparison.images,
        "images_reported": comparison.reported_images,
        "margin": comparison.margin,
        "cost": comparison.cost,
        "seed_spread": _finite(ranking.seed_spread),
        "seed_degrees": ranking.seed_degrees,
        "pareto_front": fronts_of(comparison),
        "candidates": candidates,
        "failed": dict(comparison.failed),
        "config": dataclasses.asdict(config),
        **machine_facts(),
    }


def row_of(comparison: Comparison, name: str) -> dict[str, object]:
    """Return one candidate's row of the CSV file; what is undefined is empty."""
    one, ranked = comparison.candidates[name], comparison.ranked(name)
    reported = one.reported or Interval(math.nan, math.nan, math.nan)
    values = {
        "score": ranked.score.value,
        "score_low": ranked.score.low,
        "score_high": ranked.score.high,
        "score_reported": reported.value,
        "score_reported_low": reported.low,
        "score_reported_high": reported.high,
        "difference": ranked.gap.value,
        "difference_low": ranked.gap.low,
        "difference_high": ranked.gap.high,
        "p_holm": ranked.p_holm,
    }
    return {
        "name": name,
        "recommended": int(name == choose(comparison)),
        "finding": finding(comparison, name),
        "pretrained": one.pretrained,
        "seeds": len(ranked.by_seed),
        **{key: f"{value:.6f}" if math.isfinite(value) else "" for key, value in values.items()},
        "parameters": one.parameters,
        "macs": one.macs,
        "images_per_second": f"{one.measured.images_per_second:.3f}",
        "images_per_second_batch": f"{one.measured.images_per_second_batch:.3f}",
        "predicting_bytes": one.measured.predicting_bytes,
        "training_bytes": one.measured.training_bytes,
        "epoch_seconds": f"{one.epoch_seconds:.3f}",
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"value": _finite(interval.value), "low": _finite(interval.low), "high": _finite(interval.high)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
