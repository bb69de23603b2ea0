"""Draws docs/images/before_after.png from a finished demo.

    python docs/images/before_after.py runs/demo

The images are those at the 95th, 80th and 50th percentile of DySPN's change of the image's IoU: much better, better,
typical.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from maskwright.data.catalog import open_data
from maskwright.engine.evaluate import evaluate_run, scored_part
from maskwright.engine.network import decide
from maskwright.engine.predict import Predictor, label_palette
from maskwright.metrics import image_iou

PERCENTILES = (95, 80, 50)
FIXED, BROKEN = (0, 114, 178), (213, 94, 0)


def main(demo: Path) -> None:
    runs = {"CSPN": demo / "cspn", "DySPN": demo / "dyspn"}
    predictors = {name: Predictor.load(run) for name, run in runs.items()}
    _, dataset = scored_part(open_data(predictors["DySPN"].model.data))
    coarse, refined = evaluate_run(runs["DySPN"]).stages.values()
    change = image_iou(refined) - image_iou(coarse)
    order = np.argsort(change)
    palette = label_palette(len(dataset.classes))
    figure = Figure(figsize=(9, 1.62 * len(PERCENTILES)), dpi=110)
    axes = figure.subplots(len(PERCENTILES), 6)
    for number, (row, percentile) in enumerate(zip(axes, PERCENTILES, strict=True)):
        sample = dataset[int(order[round(percentile / 100 * (len(order) - 1))])]
        image, truth = sample.image.permute(1, 2, 0).numpy(), sample.target.numpy()
        steps = {name: predictor.steps(image) for name, predictor in predictors.items()}
        before, after = (decide(steps["DySPN"][i]).numpy() for i in (0, -1))
        marks = image // 3
        marks[(before != truth) & (after == truth)] = FIXED
        marks[(before == truth) & (after != truth)] = BROKEN
        pictures = {
            "image": image,
            "truth": palette[truth],
            "coarse": palette[before],
            "CSPN": palette[decide(steps["CSPN"][-1]).numpy()],
            "DySPN": palette[after],
            "fixed / broken": marks,
        }
        for axis, (title, picture) in zip(row, pictures.items(), strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_axis_off()
            if number == 0:
                axis.set_title(title, fontsize=11)
    figure.subplots_adjust(left=0, right=1, bottom=0.01, top=0.93, wspace=0.03, hspace=0.03)
    figure.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
