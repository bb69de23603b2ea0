"""The command `audit`: the masks of any tool, scored as every tool would score them."""

from pathlib import Path
from typing import Literal, TypeAlias

from .show import command_line

KindChoice: TypeAlias = Literal["auto", "labels", "binary", "colours", "probabilities", "logits"]


def audit(
    predictions: list[Path],
    targets: Path | None = None,
    out: Path = Path("audit"),
    data: str = "",
    classes: Path | None = None,
    images: Path | None = None,
    train: Path | None = None,
    kind: KindChoice = "auto",
    target_kind: KindChoice = "auto",
    resize: Literal["refuse", "nearest"] = "refuse",
    skip_broken: bool = False,
    boundary: bool = False,
    threshold: float = 0.5,
) -> None:
    """Score the masks of any tool as every tool would: which number to quote, how far the others are from it, and why.

    Writes report.html, audit.json, audit.csv (a row for each tool's number) and images.csv (a row for each image). Scores
    are taken at the size of the true masks; 255 is ignored.

    Args:
        predictions: folders of masks (PNG, TIFF, .npy, .npz: labels, 0/255, colours, probabilities, logits), or COCO files
            of results; of several, the first is compared with each of the others.
        targets: folder of true masks of the same stems, but for endings such as _gt, or a COCO file of annotations.
        out: folder of the results.
        data: instead of --targets, a data set as in `maskwright train`, whose test part (or validation part) is scored.
        classes: table of classes: classes.yaml, CSV with name,r,g,b, labelmap.txt, JSON; needed for masks in colours. Taken
            from the targets' folder, or its parent, where a classes.yaml is there.
        images: folder of the images, for display, and to find out whether all was scored at a network's size.
        train: folder of the training images; finds those that are among the images of the test, too.
        kind: what the values of predictions mean; auto tells by the values, and says what it took them for.
        target_kind: what those of the true masks mean.
        resize: predictions of another size than the truth are refused, or brought to it by the nearest pixel, which the
            page then says.
        skip_broken: leave out images with a file that cannot be scored, and say so; else nothing is scored.
        boundary: also score the edges of the masks; takes longer.
        threshold: of COCO files of results: score, 0-1, that an object must reach to be drawn into the mask.
    """
    from ..engine.audit import AuditConfig, count_masks
    from ..engine.audit_outputs import PAGE, check_out, write_audit
    from ..report.audit_terminal import show_audit

    config = AuditConfig(
        predictions=tuple(predictions),
        targets=targets,
        data=data,
        classes=classes,
        images=images,
        train=train,
        kind=kind,
        target_kind=target_kind,
        resize=resize,
        skip_broken=skip_broken,
        boundary=boundary,
        threshold=threshold,
    )
    check_out(out)
    found = write_audit(count_masks(config), config, out, commands=[command_line()])
    show_audit(found, out / PAGE)
