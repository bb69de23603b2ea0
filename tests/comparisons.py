"""A made-up comparison of six encoders, for tests of what is said and shown of one."""

from collections.abc import Mapping, Sequence

import numpy as np

from maskwright.metrics.ranking import rank
from maskwright.report.choice import Compared, Comparison, MeasuredCost
from maskwright.report.comparison import ComparisonReport, Shown
from maskwright.report.records import Curve, Picture
from maskwright.types import EvaluationResult

ENCODERS = {
    # name: weights, mean IoU, millions of parameters, GMACs, images per second
    "tu-tf_efficientnet_lite0@imagenet-offline": ("imagenet-offline", 0.85, 5.20, 0.41, 61.0),
    "tu-tf_efficientnet_lite1@imagenet-offline": ("imagenet-offline", 0.852, 5.97, 0.47, 49.0),
    "tu-tf_efficientnet_lite2@imagenet-offline": ("imagenet-offline", 0.855, 6.70, 0.51, 46.0),
    "resnet18": ("none", 0.80, 14.33, 0.76, 45.0),
    "tu-mobilenetv3_small_100": ("none", 0.74, 3.59, 0.36, 72.0),
    "vgg11": ("none", 0.79, 18.25, 2.03, 21.0),
}


def counts_of(ious: Sequence[float], *, pixels: int = 1000) -> EvaluationResult:
    """Return counts of two-class images with about these IoUs, each half foreground."""
    truth = pixels // 2
    counts = np.zeros((len(ious), 3, 2), np.int64)
    for i, iou in enumerate(ious):
        hit = round(float(iou) * truth)
        counts[i, :, 1] = hit, hit, truth
        counts[i, :, 0] = truth, pixels - hit, truth
    confusion = np.zeros((2, 2), np.int64)
    ignored = np.zeros(len(ious), np.int64)
    names = tuple(f"image {i}" for i in range(len(ious)))
    return EvaluationResult(
        classes=("background", "pet"), names=names, counts=counts, confusion=confusion, ignored=ignored
    )


def made_up_results(
    means: Mapping[str, float], *, images: int = 100, seeds: int = 2, spread: float = 0.005, seed: int = 0
) -> dict[str, list[EvaluationResult]]:
    """Return trainings of candidates with these mean IoUs, on images some of which are hard for all."""
    generator = np.random.default_rng(seed)
    hard = generator.normal(0, 0.08, images)
    return {
        name: [
            counts_of(np.clip(mean + hard + generator.normal(0, spread) + generator.normal(0, 0.02, images), 0, 1))
            for _ in range(seeds)
        ]
        for name, mean in means.items()
    }


def made_up_comparison(
    *, images: int = 100, seeds: int = 2, margin: float = 0.01, cost: str = "macs", part: str = "val", **changes: object
) -> Comparison:
    """Return the six encoders compared; `changes` are other fields of `Comparison`."""
    results = made_up_results({name: values[1] for name, values in ENCODERS.items()}, images=images, seeds=seeds)
    ranking = rank(results, resamples=500)
    candidates = {
        name: Compared(
            name=name,
            label=name.partition("@")[0].removeprefix("tu-"),
            model=f"smp:Unet/{name.partition('@')[0]}",
            pretrained=weights,
            reported=ranking.candidates[name].score if part == "val" else None,
            parameters=int(parameters * 1e6),
            macs=int(gmacs * 1e9),
            measured=MeasuredCost(
                images_per_second=speed,
                images_per_second_batch=2 * speed,
                predicting_bytes=700_000_000,
                training_bytes=None if name == "vgg11" else 1_400_000_000,
            ),
            epoch_seconds=1000 / speed,
            curves=tuple(
                Curve(
                    name=f"seed-{seed}",
                    train_loss=(1.2, 0.7, 0.5, 0.45 + 0.01 * seed),
                    val_score=(0.4, 0.6, iou - 0.05, iou),
                    val_name="validation",
                )
                for seed in range(seeds)
            ),
        )
        for name, (weights, iou, parameters, gmacs, speed) in ENCODERS.items()
    }
    fields: dict[str, object] = {
        "candidates": candidates,
        "ranking": ranking,
        "statistic": "iou_per_image",
        "part": part,
        "images": images,
        "reported_images": 2 * images if part == "val" else 0,
        "margin": margin,
        "cost": cost,
        "budget": "8 epochs in batches of 16 at 96 × 96 pixels, learning rate 0.001",
        "seeds": seeds,
        "failed": {},
    }
    return Comparison(**fields | changes)  # type: ignore[arg-type]


def made_up_report(comparison: Comparison) -> ComparisonReport:
    """Return a page of it, with one image of noise."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (90, 120, 3), np.uint8)
    masks = {name: generator.integers(0, 2, (90, 120)).astype(np.uint8) for name in comparison.candidates}
    shown = Shown(
        name="a <b> image",
        picture=Picture(image=image, truth=np.zeros((90, 120), np.uint8), masks=masks),
        scores=dict.fromkeys(masks, 0.5),
    )
    return ComparisonReport(
        title="6 encoders of smp:Unet on pets",
        subject="12 trainings, each 8 epochs in batches of 16 at 96 × 96 pixels",
        comparison=comparison,
        commands=("maskwright compare --config recipes/compare_pets.yaml --data pets:DIR --out runs/compare_pets",),
        facts={"data": "pets", "machine": "a made-up one"},
        hardest=[shown],
        differing=[shown],
        classes=("background", "pet"),
    )
