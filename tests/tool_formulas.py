"""What tools that are not installed here compute, written anew from their formulas, pixel by pixel from label maps.

Every function takes the number of classes, predictions and targets, (N, H, W), and returns one number. No code of the
tools is used, nor any of maskwright's; ignored pixels, 255 in the target, are taken out first.
"""

import math
from itertools import product

IGNORED = 255


def pixels(prediction, target):
    """Pairs (truth, prediction) of the scored pixels of one image or several."""
    pairs = zip(target.reshape(-1).tolist(), prediction.reshape(-1).tolist(), strict=True)
    return [(true, predicted) for true, predicted in pairs if true != IGNORED]


def areas(pairs, label):
    """Pixels of one class in the intersection, in the prediction, in the truth."""
    both = sum(1 for true, predicted in pairs if true == label and predicted == label)
    return both, sum(1 for _, predicted in pairs if predicted == label), sum(1 for true, _ in pairs if true == label)


def divide(part, whole):
    return part / whole if whole else math.nan


def nanmean(values):
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def plain_mean(values):
    return sum(values) / len(values)


def iou(pairs, label):
    both, predicted, true = areas(pairs, label)
    return divide(both, predicted + true - both)


def dice(pairs, label):
    both, predicted, true = areas(pairs, label)
    return divide(2 * both, predicted + true)


def recall(pairs, label):
    both, _, true = areas(pairs, label)
    return divide(both, true)


def of_classes(score, num_classes, prediction, target):
    pairs = pixels(prediction, target)
    return [score(pairs, label) for label in range(num_classes)]


def in_truth(num_classes, prediction, target):
    """Labels that the truth holds, with their share of its scored pixels."""
    pairs = pixels(prediction, target)
    found = {label: areas(pairs, label)[2] for label in range(num_classes)}
    return {label: true / len(pairs) for label, true in found.items() if true}


def mmseg_mean(score):
    """Areas added over images, one score per class, nan where 0 / 0, mean of those that are not nan."""
    return lambda *case: nanmean(of_classes(score, *case))


def mmseg_nan_to_num_0(*case):
    return plain_mean([0.0 if math.isnan(value) else value for value in of_classes(iou, *case)])


def mmseg_fscore(*case):
    def fscore(pairs, label):
        both, predicted, true = areas(pairs, label)
        precision, share = divide(both, predicted), divide(both, true)
        return divide(2 * precision * share, precision + share)

    return nanmean(of_classes(fscore, *case))


def pixel_accuracy(num_classes, prediction, target):
    pairs = pixels(prediction, target)
    return divide(sum(1 for true, predicted in pairs if true == predicted), len(pairs))


def zero_for_nan(formula):
    def value(*case):
        found = formula(*case)
        return 0.0 if math.isnan(found) else found

    return value


def mean_over_truth(score):
    """detectron2, COCO-Stuff, Ultralytics: mean over the classes that the truth holds."""

    def value(num_classes, prediction, target):
        pairs = pixels(prediction, target)
        return nanmean([score(pairs, label) for label in in_truth(num_classes, prediction, target)])

    return value


def frequency_weighted_iou(num_classes, prediction, target):
    pairs = pixels(prediction, target)
    shares = in_truth(num_classes, prediction, target)
    return sum(share * iou(pairs, label) for label, share in shares.items()) if shares else math.nan


def foreground(score, otherwise):
    """Two classes: the score of class 1 over all images, or `otherwise` where neither mask holds it."""

    def value(num_classes, prediction, target):
        found = score(pixels(prediction, target), 1)
        return otherwise if math.isnan(found) else found

    return value


def voc(*case):
    """A plain mean over all classes, which one class that never occurs makes nan."""
    return plain_mean(of_classes(iou, *case))


def nnunet_foreground_mean(score):
    """Per case and label, nan where both are empty; nanmean over cases, then a plain mean over the labels but 0."""

    def value(num_classes, prediction, target):
        cases = [pixels(*maps) for maps in zip(prediction, target, strict=True)]
        return plain_mean([nanmean([score(pairs, label) for pairs in cases]) for label in range(1, num_classes)])

    return value


def monai_cell(score, pairs, label, ignore_empty):
    _, predicted, true = areas(pairs, label)
    if ignore_empty and not true:
        return math.nan
    return 1.0 if not predicted + true else score(pairs, label)


def monai_mean(score, *, background=True, ignore_empty=True):
    """Mean over the classes of an image that have a score, then over the images that have one; 0 without any."""

    def value(num_classes, prediction, target):
        labels = range(0 if background else 1, num_classes)
        images = []
        for maps in zip(prediction, target, strict=True):
            pairs = pixels(*maps)
            images.append(nanmean([monai_cell(score, pairs, label, ignore_empty) for label in labels]))
        found = nanmean(images)
        return 0.0 if math.isnan(found) else found

    return value


def monai_mean_batch(score):
    """Mean over the images for each class, 0 for a class without any, and then over the classes but 0."""

    def value(num_classes, prediction, target):
        table = {}
        for (image, maps), label in product(enumerate(zip(prediction, target, strict=True)), range(1, num_classes)):
            table[image, label] = monai_cell(score, pixels(*maps), label, True)
        means = [nanmean([table[i, label] for i in range(len(target))]) for label in range(1, num_classes)]
        return plain_mean([0.0 if math.isnan(value) else value for value in means])

    return value


def keras_mean_iou(num_classes, prediction, target):
    """With the tool's epsilon of 1e-7 under both fractions."""
    pairs = pixels(prediction, target)
    total, valid = 0.0, 0
    for label in range(num_classes):
        both, predicted, true = areas(pairs, label)
        union = predicted + true - both
        total += both / (union + 1e-7)
        valid += union > 0
    return total / (valid + 1e-7)


def keras_foreground_iou(num_classes, prediction, target):
    both, predicted, true = areas(pixels(prediction, target), 1)
    union = predicted + true - both
    return both / (union + 1e-7) / ((union > 0) + 1e-7)


FORMULAS = {
    "mmseg.mIoU": mmseg_mean(iou),
    "mmseg.mIoU.nan0": mmseg_nan_to_num_0,
    "mmseg.mDice": mmseg_mean(dice),
    "mmseg.mFscore": mmseg_fscore,
    "mmseg.aAcc": pixel_accuracy,
    "mmseg.mAcc": mmseg_mean(recall),
    "detectron2.mIoU": mean_over_truth(iou),
    "detectron2.fwIoU": frequency_weighted_iou,
    "detectron2.mACC": mean_over_truth(recall),
    "detectron2.pACC": pixel_accuracy,
    "ultralytics.mIoU": zero_for_nan(mean_over_truth(iou)),
    "ultralytics.mIoU.one-class": foreground(iou, 0.0),
    "ultralytics.pixel_acc": zero_for_nan(pixel_accuracy),
    "evaluate.mean_iou": mmseg_mean(iou),
    "evaluate.mean_accuracy": mmseg_mean(recall),
    "evaluate.overall_accuracy": pixel_accuracy,
    "nnunet.dice.foreground_mean": nnunet_foreground_mean(dice),
    "nnunet.iou.foreground_mean": nnunet_foreground_mean(iou),
    "monai.dice": monai_mean(dice),
    "monai.dice.foreground": monai_mean(dice, background=False),
    "monai.dice.foreground.empty1": monai_mean(dice, background=False, ignore_empty=False),
    "monai.dice.foreground.by-class": monai_mean_batch(dice),
    "monai.iou": monai_mean(iou),
    "monai.iou.foreground": monai_mean(iou, background=False),
    "monai.iou.foreground.empty1": monai_mean(iou, background=False, ignore_empty=False),
    "monai.iou.foreground.by-class": monai_mean_batch(iou),
    "keras.MeanIoU": keras_mean_iou,
    "keras.IoU.foreground": keras_foreground_iou,
    "fastai.DiceMulti": mmseg_mean(dice),
    "fastai.JaccardCoeffMulti": mmseg_mean(iou),
    "fastai.Dice": foreground(dice, math.nan),
    "fastai.JaccardCoeff": foreground(iou, math.nan),
    "cityscapes.iou": mmseg_mean(iou),
    "voc.iou": voc,
    "cocostuff.mIoU": mean_over_truth(iou),
    "cocostuff.fwIoU": frequency_weighted_iou,
    "cocostuff.mAcc": mean_over_truth(recall),
    "cocostuff.pAcc": pixel_accuracy,
}
"""Key of the convention to the formula that its tool computes."""
