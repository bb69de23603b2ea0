"""Conventions against the tools themselves: smp, torchmetrics, scikit-learn, and maskwright's own scores."""

import warnings
from functools import partial
from math import isnan, nan

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import sklearn.metrics
import torch
import torchmetrics
from torchmetrics import classification, segmentation
from torchmetrics.functional.segmentation import mean_iou

from label_map_cases import CASES, IGNORED, result_of
from maskwright.metrics import scores
from maskwright.metrics.conventions import CONVENTIONS, convention_scores

FLOAT32 = 2e-6


# A runner returns None where tool and convention part by their definition: the accuracy of a tool that has no ignored label.


def run_smp(metric, reduction, num_classes, prediction, target):
    maps = torch.from_numpy(prediction).long(), torch.from_numpy(target).long()
    stats = smp.metrics.get_stats(*maps, mode="multiclass", num_classes=num_classes, ignore_index=IGNORED)
    weights = None
    if "weighted" in reduction:
        weights = [float((target == label).sum()) for label in range(num_classes)]
    return getattr(smp.metrics, metric)(*stats, reduction=reduction, class_weights=weights)


def run_smp_binary(metric, reduction, num_classes, prediction, target, zero_division=1.0):
    if metric == "accuracy" and (target == IGNORED).any():
        return None
    scored = target != IGNORED
    maps = [torch.from_numpy(np.where(scored, labels, 0)).long()[:, None] for labels in (prediction, target)]
    stats = smp.metrics.get_stats(*maps, mode="binary")
    return getattr(smp.metrics, metric)(*stats, reduction=reduction, zero_division=zero_division)


def run_classification(name, options, num_classes, prediction, target):
    if name.startswith("Multiclass"):
        options = {"num_classes": num_classes, **options}
    metric = getattr(classification, name)(**{"ignore_index": IGNORED, **options})
    for batch in np.array_split(np.arange(len(target)), 2):
        if len(batch):
            metric.update(torch.from_numpy(prediction[batch]).long(), torch.from_numpy(target[batch]).long())
    return metric.compute().mean()


def run_background_ignored(num_classes, prediction, target):
    scored = target != IGNORED
    maps = [torch.from_numpy(labels[scored]).long() for labels in (prediction, target)]
    return classification.MulticlassJaccardIndex(num_classes=2, ignore_index=0)(*maps)


def one_hot(num_classes, prediction, target):
    scored = target != IGNORED
    return [
        torch.from_numpy(np.stack([(labels == label) & scored for label in range(num_classes)], axis=1)).int()
        for labels in (prediction, target)
    ]


def run_segmentation(name, options, num_classes, prediction, target):
    metric = getattr(segmentation, name)(num_classes=num_classes, **options)
    tensors = one_hot(num_classes, prediction, target)
    for batch in torch.arange(len(target)).tensor_split(2):
        if len(batch):
            metric.update(*(tensor[batch] for tensor in tensors))
    return metric.compute().mean()


def run_mean_iou(num_classes, prediction, target):
    return mean_iou(*one_hot(num_classes, prediction, target), num_classes=num_classes).nanmean()


def run_sklearn(name, options, num_classes, prediction, target):
    scored = target != IGNORED
    if not scored.any():
        return nan
    if options.get("labels"):
        options = {**options, "labels": range(num_classes)}
    return getattr(sklearn.metrics, name)(target[scored], prediction[scored], **options)


def of_smp():
    rows = {}
    for key, metric in {"iou": "iou_score", "f1": "f1_score", "accuracy": "accuracy"}.items():
        for reduction in ("micro", "macro", "weighted", "micro-imagewise", "macro-imagewise", "weighted-imagewise"):
            if key != "accuracy" or "weighted" not in reduction:
                rows[f"smp.{key}.{reduction}"] = partial(run_smp, metric, reduction)
        for reduction in ("micro", "micro-imagewise"):
            rows[f"smp.{key}.binary.{reduction}"] = partial(run_smp_binary, metric, reduction)
        if key != "accuracy":
            rows[f"smp.{key}.binary.micro-imagewise.empty0"] = partial(
                run_smp_binary, metric, "micro-imagewise", zero_division=0.0
            )
    return rows


def of_torchmetrics():
    rows = {"jaccard.macro.ignore0": run_background_ignored, "mean_iou.functional": run_mean_iou}
    for average in ("macro", "micro", "weighted"):
        options = {"average": average}
        rows[f"jaccard.{average}"] = partial(run_classification, "MulticlassJaccardIndex", options)
        rows[f"f1.{average}"] = partial(run_classification, "MulticlassF1Score", options)
        for level in ("samplewise", "global"):
            for background in (True, False):
                options = {"average": average, "aggregation_level": level, "include_background": background}
                suffix = "" if background else ".foreground"
                rows[f"dice.{average}.{level}{suffix}"] = partial(run_segmentation, "DiceScore", options)
    rows["accuracy.micro"] = partial(run_classification, "MulticlassAccuracy", {"average": "micro"})
    rows["accuracy.macro"] = partial(run_classification, "MulticlassAccuracy", {})
    rows["jaccard.binary"] = partial(run_classification, "BinaryJaccardIndex", {})
    rows["f1.binary"] = partial(run_classification, "BinaryF1Score", {})
    samplewise = {"multidim_average": "samplewise"}
    rows["f1.binary.samplewise"] = partial(run_classification, "BinaryF1Score", samplewise)
    for suffix, options in {
        "": {},
        ".foreground": {"include_background": False},
        ".per_class": {"per_class": True},
    }.items():
        rows[f"mean_iou{suffix}"] = partial(run_segmentation, "MeanIoU", options)
    return {f"torchmetrics.{key}": run for key, run in rows.items()}


def of_sklearn():
    rows = {"accuracy": ("accuracy_score", {}), "balanced_accuracy": ("balanced_accuracy_score", {})}
    for key, name in {"jaccard": "jaccard_score", "f1": "f1_score"}.items():
        for average in ("macro", "micro", "weighted"):
            rows[f"{key}.{average}"] = (name, {"average": average, "zero_division": 0.0})
        labelled = {"average": "macro", "labels": True}
        rows[f"{key}.macro.labels"] = (name, {**labelled, "zero_division": 0.0})
        rows[f"{key}.macro.labels.zero1"] = (name, {**labelled, "zero_division": 1.0})
        rows[f"{key}.binary"] = (name, {"zero_division": 0.0})
    return {f"sklearn.{key}": partial(run_sklearn, name, options) for key, (name, options) in rows.items()}


TOOLS = {**of_smp(), **of_torchmetrics(), **of_sklearn()}


def test_every_convention_that_claims_its_tool_is_run_here():
    claimed = {c.key for c in CONVENTIONS if c.checked == "tool" and c.tool != "maskwright"}
    assert claimed == set(TOOLS)
    assert {c.version for c in CONVENTIONS if c.tool == "torchmetrics"} == {torchmetrics.__version__}
    assert {c.version for c in CONVENTIONS if c.tool == "scikit-learn"} == {sklearn.__version__}
    assert {c.version for c in CONVENTIONS if c.tool.startswith("segmentation-models")} == {smp.__version__}


@pytest.fixture(scope="module")
def ours():
    return {name: convention_scores(result_of(case)) for name, case in CASES.items()}


@pytest.mark.parametrize("key", TOOLS)
def test_parity_with_the_tool(ours, key):
    tolerance = 1e-12 if key.startswith("sklearn") else FLOAT32
    compared = 0
    for name, case in CASES.items():
        found = ours[name][key]
        if case[0] != 2 and (".binary" in key or key.endswith("ignore0")):
            assert isnan(found)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = TOOLS[key](*case)
        if theirs is not None:
            np.testing.assert_allclose(found, float(theirs), rtol=tolerance, atol=tolerance, err_msg=name)
            compared += not isnan(found)
    assert compared >= 4


@pytest.mark.parametrize("name", CASES)
def test_own_conventions_are_the_fields_of_scores(ours, name):
    fields = scores.scores(result_of(CASES[name])).as_dict()
    own = {key: value for key, value in ours[name].items() if key.startswith("maskwright.")}
    assert len(own) == 11
    for key, value in own.items():
        expected = fields[key.removeprefix("maskwright.")]
        np.testing.assert_allclose(value, nan if expected is None else expected, rtol=1e-12, err_msg=key)
