"""Mean and spread over seeds of coarse → CSPN → DySPN, from finished runs.

    python benchmarks/seeds.py runs/pets_unet16_seed0 runs/pets_unet16_seed1 runs/pets_unet16_seed2 --out seeds.json

For each coarse run R the refined runs are R_cspn and R_dyspn. Prints IoU per image on the scored part for every seed, the
paired change over images with its bootstrap 95 % interval, and over the seeds the mean with its t-interval.
"""

import argparse
import json
from pathlib import Path

from maskwright.engine.evaluate import evaluate_run
from maskwright.metrics import change, seed_interval
from maskwright.metrics.scores import scores

STAGES = {"coarse": "", "CSPN": "_cspn", "DySPN": "_dyspn"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="coarse runs, one per seed")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    record: dict[str, dict[str, object]] = {}
    values: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for run in arguments.runs:
        results = {}
        for stage, suffix in STAGES.items():
            refined = run.with_name(run.name + suffix)
            if refined.is_dir():
                results[stage] = list(evaluate_run(refined).stages.values())[-1]
        row: dict[str, object] = {}
        for stage, result in results.items():
            score = scores(result)
            values[stage].append(score.iou_per_image)
            row[stage] = {"iou_per_image": score.iou_per_image, "iou_dataset": score.iou_dataset}
            line = (
                f"{run.name:<24} {stage:<7} IoU per image {score.iou_per_image:.4f}  data set {score.iou_dataset:.4f}"
            )
            if stage != "coarse":
                moved = change(results["coarse"], result)
                row[f"{stage} change"] = [moved.interval.value, moved.interval.low, moved.interval.high]
                line += f"  change {moved.interval:+.4f}, better {moved.better:.0%}, worse {moved.worse:.0%}"
            print(line)
        record[run.name] = row
    for stage, of_seeds in values.items():
        if len(of_seeds) > 1:
            print(f"{stage:<7} mean over {len(of_seeds)} seeds {seed_interval(of_seeds):.4f}")
    for stage in ("CSPN", "DySPN"):
        gains = [after - before for before, after in zip(values["coarse"], values[stage], strict=False)]
        if len(gains) > 1:
            print(f"{stage} − coarse, mean over seeds {seed_interval(gains):+.4f}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
