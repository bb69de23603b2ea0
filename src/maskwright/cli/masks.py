"""Commands that make masks of images: `predict`, `refine`, `cluster`."""

from pathlib import Path
from typing import Literal

from ..errors import BatchError, ConfigError
from .show import command_line


def predict(
    images: Path,
    out: Path,
    run: Path | None = None,
    model: str = "",
    save: Literal["labels", "probabilities", "logits", "instances"] = "labels",
    flip: bool = False,
    method: str | None = None,
    threshold: float | None = None,
    size: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Segment the images of a folder (or one image) with a trained run, refined where the run has a refiner, or with a
    library's model and its own weights.

    What is already there is not done again; one bad image does not stop the others.

    Args:
        images: a folder of images, or one image.
        out: folder of the masks.
        run: folder of a run.
        model: instead of --run, a model of torchvision: or hf: with the weights and classes that it has, such as
            torchvision:deeplabv3_resnet50; classes.yaml beside the masks names the classes.
        save: labels (8-bit PNG with a palette), probabilities or logits (.npz, channels first), or instances (16-bit PNG of
            the objects' numbers, and instances.json with all objects in COCO's format).
        method: refines the masks last: dense_crf (or dense_crf:deeplab, dense_crf:pydensecrf), bundled, guided or none; the
            run's own where it is not given.
        flip: average with the prediction of the mirrored image, at twice the time.
        threshold: of --save instances: score that an object must reach; not given, all that the network finds
            (of universal networks of hf:, 0.5).
        size: of --model: side of the square that images are resized to for the network, pixels; 0 keeps their size.
        device: where to compute.
    """
    from ..engine.library import predict_with_library
    from ..engine.predict import predict_folder
    from ..engine.predict_instances import OBJECTS, predict_instances

    if (run is None) == (not model):
        raise ConfigError("expected --run, a trained run, or --model, a model of torchvision: or hf:, and not both")
    if threshold is not None and save != "instances":
        raise ConfigError("--threshold is given without --save instances, to which it belongs; leave it out")
    if run is None:
        written = predict_with_library(
            model,
            images,
            out,
            save=save,
            size=size,
            flip=flip,
            method=method,
            device=device,
            threshold=threshold,
        )
    elif size:
        raise ConfigError(f"--size {size} is given beside --run, which has its own; leave it out")
    elif save == "instances":
        written = predict_instances(run, images, out, flip=flip, method=method, device=device, threshold=threshold)
    else:
        written = predict_folder(run, images, out, save=save, flip=flip, method=method, device=device)
    if save == "instances":
        print(f"{len(written)} maps of objects in {out}; all objects: {out / OBJECTS}")
    else:
        print(f"{len(written)} masks in {out}")


def refine(
    images: Path,
    masks: Path,
    out: Path,
    refiner: Path | None = None,
    method: str | None = None,
    mask_kind: Literal["auto", "labels", "binary", "probabilities", "logits"] = "auto",
    save: Literal["labels", "probabilities", "logits"] = "labels",
    smaller: Literal["refuse", "estimate", "shares"] = "refuse",
    size: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Refine the masks of any tool: with the refiner that comes with the package, one of your own, or another method.

    Writes refinement.csv beside the masks: for each image the changed pixels, the gain that the method's gate expects,
    whether the gate left the mask alone, and the seconds.

    Args:
        images: folder of images.
        masks: folder of masks with the same stems.
        out: folder of the refined masks.
        refiner: folder of a run of `maskwright train-refiner`.
        method: bundled (the default), dense_crf (or with the parameters of a paper, dense_crf:deeplab,
            dense_crf:pydensecrf), guided (the guided filter) or none (to compare with); not beside --refiner.
        mask_kind: labels (0..C-1), binary (0 and one other value), probabilities or logits; auto looks at each file.
        save: labels (8-bit PNG with a palette), probabilities or logits (.npz, channels first).
        smaller: masks smaller than their images: refuse; estimate (enlarged, then refined like others); or shares (their
            probabilities are exact shares of the classes in each cell, as in averaged masks, and stay so).
        size: side of the square at which the refiner works, pixels; 0 is each image's own size; the size that it was
            trained at where it is not given.
        device: where the refiner of --refiner works; methods work on the CPU.
    """
    from ..engine.refine import refine_folder
    from ..engine.refinements import TABLE, read_refinements, summary_line

    written = refine_folder(
        images,
        masks,
        out,
        refiner=refiner,
        method=method,
        mask_kind=mask_kind,
        save=save,
        smaller=smaller,
        size=size,
        device=device,
    )
    print(f"{len(written)} refined masks in {out}")
    # Masks that an earlier version wrote have no rows.
    if (out / TABLE).exists() and (rows := read_refinements(out / TABLE)):
        print(f"{summary_line(rows)}; by image: {out / TABLE}")


def cluster(
    images: Path,
    out: Path,
    bandwidth: float = 2.5,
    steps: int = 20,
    spatial: float = 0.0,
    reduce: int | None = None,
    merge: Literal["round", "modes"] | None = None,
    connected: bool = False,
    min_region: int = 0,
    fuse: float = 0.0,
    tolerance: float | None = None,
    method: Literal["auto", "naive", "exact", "fast"] = "auto",
) -> None:
    """Group the pixels of a folder's images (or of one image) by mean shift of their colours, without training.

    Writes label PNGs, pictures of the segments in their mean colours and of their outlines, clusters.csv and report.html.
    What is already there is not done again; one bad image does not stop the others.

    Args:
        images: a folder of images, or one image.
        out: folder of the results.
        bandwidth: standard deviation of the Gaussian, CIELAB units; a larger one gives fewer segments.
        steps: of mean shift.
        spatial: standard deviation of the Gaussian over positions, pixels; 0 groups by colour alone.
        reduce: with --spatial, move blocks of so many pixels a side, and give every pixel the segment of the nearest; 1
            moves every pixel, which takes long; not given, it is chosen by the size of the image and --spatial.
        merge: which modes are one segment: round (those of equal round(mode / 4), the default without positions) or modes
            (those linked by steps shorter than the bandwidth, the default with positions).
        connected: pieces that do not touch are segments of their own.
        min_region: segments of fewer pixels join the neighbour of the nearest colour; implies --connected.
        fuse: then neighbours whose colours differ by less than so many CIELAB units become one; implies --connected.
        tolerance: what the method fast may be off in one step, CIELAB units.
        method: exact (sums over all pairs), fast (within the tolerance), naive (the definition, slow); auto chooses.
    """
    from ..engine.cluster import PAGE, cluster_folder

    try:
        written = cluster_folder(
            images,
            out,
            bandwidth=bandwidth,
            steps=steps,
            spatial=spatial,
            reduce=reduce,
            merge=merge,
            connected=connected,
            min_region=min_region,
            fuse=fuse,
            tolerance=tolerance,
            method=method,
            commands=[command_line()],
        )
    except BatchError:
        # The others are done, and the page shows them.
        print(f"report: {out / PAGE}")
        raise
    print(f"{len(written)} label map{'s' * (len(written) != 1)} in {out}\nreport: {out / PAGE}")
