"""Which predicted mask belongs to which true one, by their names; tools hang different words on the same stem."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.any_mask import MASK_SUFFIXES
from ..data.folder import first_ten
from ..data.naming import list_images
from ..errors import DataError

_WORDS = re.compile(
    r"[_\-. ](masks?|preds?|predictions?|predicted|probs?|probabilit(y|ies)|logits|out|output|refined|gt|groundtruth|truth"
    r"|labels?|label_?train_?ids|label_?ids|seg|segm|segmentation|gtfine|gtcoarse|leftimg8bit|l|trimap|colou?r|image|img)$",
    re.IGNORECASE,
)
"""What may hang on a stem without being part of the image's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairing:
    """Files by the name of their image.

    Attributes:
        paths: name → file.
        lacking: names without a file.
        extra: files that belong to no name.
        doubled: files of a name that has another file, too.
    """

    paths: Mapping[str, Path]
    lacking: tuple[str, ...]
    extra: tuple[Path, ...]
    doubled: tuple[Path, ...]


def bare(stem: str) -> str:
    """Return a stem without the words that tools hang on it: `cat_3_pred` and `cat_3_gt` are `cat_3`."""
    while (shorter := _WORDS.sub("", stem)) != stem and shorter:
        stem = shorter
    return stem


def named_masks(folder: Path) -> dict[str, Path]:
    """Return stem → true mask of a folder, sorted.

    Raises:
        DataError: no such folder, no mask in it, or several masks of one stem.
    """
    files = list_images(folder, suffixes=MASK_SUFFIXES)
    if not files:
        raise DataError(f"{folder} holds no mask; expected {', '.join(sorted(MASK_SUFFIXES))} files")
    by_stem = defaultdict(list)
    for path in files:
        by_stem[path.stem].append(path)
    doubled = [path.name for paths in by_stem.values() if len(paths) > 1 for path in paths]
    if doubled:
        raise DataError(
            f"{folder} holds {len(doubled)} files that share their stem with another: {first_ten(doubled)}; expected one "
            "mask for each image. Move the others away."
        )
    return {stem: path for stem, (path,) in sorted(by_stem.items())}


def pair(names: Sequence[str], files: Sequence[Path]) -> Pairing:
    """Give each name its file: that of the same stem, else the one file whose bare stem is that of no other name."""
    known = set(names)
    by_bare = defaultdict(list)
    for name in names:
        by_bare[bare(name)].append(name)
    found: dict[str, list[Path]] = {name: [] for name in names}
    extra = []
    for path in files:
        own = [path.stem] if path.stem in known else by_bare.get(bare(path.stem), [])
        if len(own) == 1:
            found[own[0]].append(path)
        else:
            extra.append(path)
    return Pairing(
        paths={name: paths[0] for name, paths in found.items() if len(paths) == 1},
        lacking=tuple(name for name, paths in found.items() if not paths),
        extra=tuple(extra),
        doubled=tuple(path for paths in found.values() if len(paths) > 1 for path in paths),
    )


def pair_folder(folder: Path, names: Sequence[str], *, truth: str, others: bool) -> dict[str, Path]:
    """Return name → predicted mask of a folder.

    Args:
        folder: of the predictions.
        names: of the images that have a true mask.
        truth: where those lie, for messages.
        others: whether masks of other images may lie there, too.

    Raises:
        DataError: no such folder; names without a mask, or with several, and masks of no name: all at once.
    """
    files = list_images(folder, suffixes=MASK_SUFFIXES)
    if not files:
        raise DataError(f"{folder} holds no mask; expected {', '.join(sorted(MASK_SUFFIXES))} files")
    found = pair(names, files)
    problems = [
        f"{len(listed)} {what}: {first_ten(listed)}"
        for what, listed in (
            ("true masks have no prediction", found.lacking),
            ("predictions share an image with another", [path.name for path in found.doubled]),
            ("predictions have no true mask", [] if others else [path.name for path in found.extra]),
        )
        if listed
    ]
    if problems:
        raise DataError(
            f"{folder} and {truth} do not pair up: {'; '.join(problems)}. Expected one prediction for each true mask, of "
            "the same stem but for endings such as _pred, _mask or _gt."
        )
    return dict(found.paths)
