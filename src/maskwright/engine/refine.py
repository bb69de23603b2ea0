"""Refining the masks of any segmenter: with a trained refiner, or by a method that needs no training."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import __version__
from ..data.catalog import official_colours
from ..data.io import read_image, write_mask
from ..data.naming import ARRAY_SUFFIXES, IMAGE_SUFFIXES
from ..errors import ConfigError
from ..files import atomic_write
from ..refine.inputs import check_same_size
from ..refine.kinds import MaskKind, Smaller, check_smaller, to_logits
from ..refine.methods import DEFAULT, METHODS, apply_method, method_of
from ..refine.outcome import RefinementReport, reported
from ..report.pictures import label_palette
from ..types import IGNORE_INDEX
from .batch import digest_of, run_batch
from .masks import pair_by_stem, read_coarse, read_mask_alone
from .network import decide
from .predict import SUFFIX, Save, write_logits
from .refinements import TABLE, RefinementTable
from .run import model_file
from .trained import TrainedRefiner

Write = Callable[[Path], None]
"""Writes a refined mask, atomically."""

RefineFile = Callable[[Path, Path], tuple[Write, RefinementReport]]
"""Refines with the image of a file the mask of another; what writes the outcome, and what was done."""


def refine_folder(
    images: Path,
    masks: Path,
    out: Path,
    *,
    refiner: Path | None = None,
    method: str | None = None,
    mask_kind: MaskKind = "auto",
    save: Save = "labels",
    smaller: Smaller = "refuse",
    size: int | None = None,
    device: str = "auto",
) -> list[Path]:
    """Refine one mask per image and write one file each; what is already there is not done again.

    What was done to each mask stands in `refinement.csv` beside them, see `read_refinements`.

    At most one of `refiner` and `method` is given. With a method, the number of classes is told by each mask: a label map
    keeps to the labels that it holds, where 255 stays 255, and its probabilities have a channel for each label up to its
    largest.

    Args:
        images: folder of images.
        masks: folder of masks with the same stems, from any tool.
        out: folder of the outputs.
        refiner: run folder of a trained refiner; its coarse network is not used.
        method: a name of `METHODS`, which need no trained run; without `refiner` it is "bundled" where it is not given.
        mask_kind: what the masks hold: "labels" (0..C − 1), "binary" (0 and any one other value), "probabilities"
            (grey picture, `.npy`, `.npz`), "logits" (`.npy`, `.npz`); "auto" looks at each file, see `guess_kind`.
        save: see `predict_folder`; the labels of a binary mask are 0 and 1.
        smaller: what a method does with masks smaller than their images, see `refine_mask`.
        size: side of the square at which the refiner works, pixels; 0 works at each image's own size, None at the size
            that the refiner was trained at. A method works at each image's own size.
        device: "auto", "cpu" or "cuda": where the refiner works. A method works on the CPU.

    Returns:
        The output files.

    Raises:
        ConfigError: both `refiner` and `method`; the run has no refiner; an unknown method or `smaller`; `size` or "cuda"
            beside a method; `smaller` beside a refiner; `out` holds masks of another refiner or of other settings, or a
            `refinement.csv` of another origin.
        DataError: masks without an image of their stem, all named; images without a mask are left alone.
        BatchError: some files failed; all others are written.
    """
    if refiner is not None and method is not None:
        raise ConfigError(
            f"both refiner and method given; expected one: the run of a trained refiner, or a method ({', '.join(METHODS)})"
        )
    if refiner is not None:
        if smaller != "refuse":
            raise ConfigError(
                f"smaller {smaller} is given beside a refiner; masks need the sizes of their images there"
            )
        refine, by = _by_refiner(refiner, mask_kind=mask_kind, save=save, size=size, device=device)
        advice = "refine at a smaller --size"
    else:
        refine, by = _by_method(
            DEFAULT if method is None else method,
            mask_kind=mask_kind,
            save=save,
            smaller=smaller,
            size=size,
            device=device,
        )
        advice = "free some, or refine smaller copies of image and mask"
    pairs = pair_by_stem(masks, images, suffixes=IMAGE_SUFFIXES | ARRAY_SUFFIXES, every_partner=False)
    stem_of = {mask: stem for stem, (mask, _) in pairs.items()}
    outputs = {mask: out / f"{stem}{SUFFIX[save]}" for mask, stem in stem_of.items()}
    image_of = dict(pairs.values())

    settings: dict[str, str | int | None] = {
        **by,
        "images": str(images.resolve()),
        "masks": str(masks.resolve()),
        "mask_kind": mask_kind,
        "save": save,
    }
    with RefinementTable(out / TABLE, {stem_of[mask]: output for mask, output in outputs.items()}) as table:

        def one(mask: Path) -> None:
            write, report = refine(image_of[mask], mask)
            table.add(stem_of[mask], report)
            write(outputs[mask])

        run_batch(outputs, one, label="refine", settings=settings, memory_advice=advice, inputs=image_of.values())
    return list(outputs.values())


def _by_refiner(
    run: Path, *, mask_kind: MaskKind, save: Save, size: int | None, device: str
) -> tuple[RefineFile, dict[str, str | int]]:
    """Return what refines a file with a trained refiner, and the settings that it depends on."""
    refiner = TrainedRefiner(run, size=size, device=device)
    classes = len(refiner.classes)
    palette = label_palette(classes, official_colours(refiner.predictor.model.data, classes))

    def refine(path: Path, mask: Path) -> tuple[Write, RefinementReport]:
        image = refiner.predictor.read(path)
        coarse = read_coarse(mask, num_classes=classes, kind=mask_kind)
        check_same_size(coarse.shape[-2:], image, name=str(mask))
        start = time.perf_counter()
        refined = refiner.logits(coarse, image)
        seconds = time.perf_counter() - start
        write = partial(write_logits, logits=refined, save=save, palette=palette)
        return write, RefinementReport.of((decide(refined) != decide(coarse)).numpy(), seconds=seconds)

    return refine, {"refiner": digest_of(model_file(run)), "size": refiner.size}


def _by_method(
    method: str, *, mask_kind: MaskKind, save: Save, smaller: Smaller, size: int | None, device: str
) -> tuple[RefineFile, dict[str, str | int]]:
    """Return what refines a file by a method, and the settings that it depends on."""
    if method and method not in METHODS and Path(method).is_dir():
        raise ConfigError(f"method {method} is a folder; give the run of a trained refiner as --refiner")
    method_of(method)
    check_smaller(smaller)
    if size is not None:
        raise ConfigError(f"size {size} is given beside the method {method}, which works at each image's own size")
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device {device} is given beside the method {method}, which works on the CPU; leave it out")

    def refine(path: Path, mask: Path) -> tuple[Write, RefinementReport]:
        image = read_image(path)
        coarse, shares = read_mask_alone(mask, kind=mask_kind).at_size_of(image, smaller=smaller, name=str(mask))
        apply = partial(apply_method, coarse.probabilities, image, method=method, gated=shares is None)
        refined, report = reported(apply, coarse, shares=shares)
        probabilities = coarse.channels(refined, name=str(mask))
        return partial(_write, probabilities=probabilities, ignored=coarse.ignored, save=save), report

    return refine, {"method": method, "smaller": smaller, "version": __version__}  # which may bring other weights


def _write(path: Path, probabilities: NDArray[np.float32], *, ignored: NDArray[np.bool_], save: Save) -> None:
    """Write probabilities (C, H, W) in the form that `save` names, atomically; ignored pixels get the ignored label."""
    logits = to_logits(probabilities)
    if save == "labels":
        labels = decide(torch.from_numpy(logits)).numpy()
        labels[ignored] = IGNORE_INDEX
        write_mask(path, labels, palette=label_palette(max(len(logits), 2)))
        return
    arrays: dict[str, Any] = {save: probabilities.astype(np.float16) if save == "probabilities" else logits}
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)
