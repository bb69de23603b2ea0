"""Refining one mask in memory: NumPy, PIL or PyTorch in, the same out."""

from functools import partial
from pathlib import Path
from typing import Literal, overload

from ..errors import ConfigError
from ..refine.containers import ImageLike, MaskLike, rgb, unpacked
from ..refine.kinds import CoarseMask, MaskKind, Smaller
from ..refine.methods import DEFAULT, METHODS, apply_method, method_of
from ..refine.outcome import RefinementReport, reported


@overload
def refine_mask(
    image: ImageLike,
    mask: MaskLike,
    *,
    method: str | Path = ...,
    kind: MaskKind = ...,
    smaller: Smaller = ...,
    report: Literal[False] = ...,
) -> MaskLike: ...


@overload
def refine_mask(
    image: ImageLike,
    mask: MaskLike,
    *,
    method: str | Path = ...,
    kind: MaskKind = ...,
    smaller: Smaller = ...,
    report: Literal[True],
) -> tuple[MaskLike, RefinementReport]: ...


def refine_mask(
    image: ImageLike,
    mask: MaskLike,
    *,
    method: str | Path = DEFAULT,
    kind: MaskKind = "auto",
    smaller: Smaller = "refuse",
    report: bool = False,
) -> MaskLike | tuple[MaskLike, RefinementReport]:
    """Refine one mask of any tool and return it in the form in which it came.

    Args:
        image: NumPy (H, W, 3), uint8; PIL; or PyTorch (3, H, W), uint8. Floats in [0, 1], 16 bits (of which the high byte
            is read), grey of one channel or none, and a fourth channel as alpha, shown over white, will do too.
        mask: NumPy array, PIL image of one channel, or PyTorch tensor, of the image's size or as `smaller` says: binary
            (bool, or 0 and one other value), a label map (any integers; 255 is ignored and stays), probabilities of the
            foreground (H, W) or of classes (C, H, W), or logits. Probabilities are floats in [0, 1], or uint8 or uint16
            of which the largest possible value is 1. PIL masks with a palette are labels or binary.
        method: a name of `maskwright.refine.methods.METHODS`: "bundled" (the refiner that comes with the package),
            "dense_crf", "guided" (filter) or "none"; or the folder of a run of `train_refiner`, which is read once per
            process. The mask then is of the run's classes: its labels are theirs, and so is the number of channels.
        kind: what the mask holds; "auto" looks, see `maskwright.refine.kinds.guess_kind`.
        smaller: what to do with a mask smaller than the image, of any shape, which covers all of it. "refuse": an error.
            "estimate": it is enlarged bilinearly and then refined like others, which suits a network's output. "shares":
            its probabilities are the shares that the classes have of each cell of the image, exactly, such as those of
            a mask that was averaged to a smaller size; the refined mask has them, too, and no gate is asked. Not for
            hard masks. It makes masks of networks worse, whose errors would come back.
        report: whether to say what the refinement did, too: changed pixels, estimated gain, time.

    Returns:
        A new mask of the same container, kind, shape, dtype (PIL: mode and palette; PyTorch: device) and range, at the
        image's size. A hard mask holds no value that it did not hold, and a mask of a single label comes back as it is.
        The report compares with the enlarged mask. With `report` a pair:
        this mask and its `RefinementReport`.

    Raises:
        ConfigError: an unknown method, kind or `smaller`; a run without a refiner.
        CheckpointError: no run that can be read.
        DataError: image or mask of a wrong type, shape, size or range; a mask that may be of two kinds, or of other
            classes than the run's.
    """
    pixels = rgb(image)
    values, repacked = unpacked(mask)
    run = _run_of(method)
    if run is None:
        coarse, shares = CoarseMask.of(values, kind=kind).at_size_of(pixels, smaller=smaller)
        refine = partial(apply_method, coarse.probabilities, pixels, method=str(method), gated=shares is None)
    else:
        from .trained import loaded_refiner  # here, since engine's libraries take seconds to import

        refiner = loaded_refiner(run)
        coarse = CoarseMask.of(values, kind=kind, num_classes=len(refiner.classes))
        coarse, shares = coarse.at_size_of(pixels, smaller=smaller)
        refine = partial(refiner.refine, coarse, pixels)
    probabilities, done = reported(refine, coarse, shares=shares)
    refined = repacked(coarse.restored(probabilities))
    return (refined, done) if report else refined


def _run_of(method: str | Path) -> Path | None:
    """Return the folder of the run that `method` is, or None where it is the name of a method.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(method, Path):
        return method
    if method and method not in METHODS and Path(method).is_dir():
        return Path(method)
    try:
        method_of(method)
    except ConfigError as error:
        raise ConfigError(f"{error}, or the folder of a run of train-refiner") from None
    return None
