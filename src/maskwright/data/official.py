"""What the public data sets in their official layouts share: pairing, value tables, and the message of what is missing."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from ..errors import DataError
from ..types import IGNORE_INDEX
from .colours import Colour, describe_colours, labels_of_colours
from .folder import Pair, first_ten, raise_all
from .io import read_image
from .naming import list_images


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a data set comes from and how its folder looks, for the message where it is not there.

    Attributes:
        title: the data set's own name.
        address: the official page.
        download: what to take from there, with its size.
        tree: the expected layout, in lines.
    """

    title: str
    address: str
    download: str
    tree: str

    def require(self, root: Path, wanted: Iterable[str]) -> None:
        """Raise where one of `wanted`, paths below `root`, is missing.

        Raises:
            DataError: names all that are missing, the expected tree, the official address and the size.
        """
        self.require_any(root, [wanted])

    def require_any(self, root: Path, layouts: Iterable[Iterable[str]]) -> int:
        """Return the index of the first layout, a list of paths below `root`, of which nothing is missing.

        Raises:
            DataError: no layout is complete; names what is missing of the one with the fewest gaps.
        """
        gaps = [[path for path in paths if not (root / path).exists()] for paths in layouts]
        for index, missing in enumerate(gaps):
            if not missing:
                return index
        nearest = gaps[min(range(len(gaps)), key=lambda layout: len(gaps[layout]))]
        lacks = f"lacks {', '.join(nearest)}" if root.is_dir() else "is no folder"
        raise DataError(
            f"{root} {lacks}; expected {self.title} as\n{self.tree}\nDownload: {self.download}, from {self.address}"
        )


def first_with(roots: Sequence[Path], inside: str) -> Path:
    """Return the first of `roots` that has `inside`, else the first."""
    return next((root for root in roots if (root / inside).exists()), roots[0])


def identity(count: int) -> dict[int, int]:
    """Return the value table of masks that store the labels 0..count − 1 themselves."""
    return {label: label for label in range(count)}


def stem_without(ending: str) -> Callable[[Path], str | None]:
    """Return the function from a file to its stem without `ending`, None where the stem does not end so."""
    return lambda path: path.stem.removesuffix(ending) if path.stem.endswith(ending) else None


def pair_folders(
    image_folder: Path,
    mask_folder: Path,
    *,
    image_name: Callable[[Path], str | None] = lambda path: path.stem,
    mask_name: Callable[[Path], str | None] = lambda path: path.stem,
    listing: Callable[[Path], list[Path]] = list_images,
) -> tuple[list[Pair], list[str]]:
    """Pair the files of two folders by their names.

    Args:
        image_folder: of the images.
        mask_folder: of the masks.
        image_name: from an image file to the sample's name; None leaves the file out.
        mask_name: likewise of a mask file.
        listing: gives the files of a folder.

    Returns:
        The pairs sorted by name, and in words every file that is not in exactly one pair.

    Raises:
        DataError: a folder cannot be listed.
    """
    images = _by_name(listing(image_folder), image_name)
    masks = _by_name(listing(mask_folder), mask_name)
    problems = {
        f"images in {image_folder} without a mask in {mask_folder}": images.keys() - masks.keys(),
        f"masks in {mask_folder} without an image in {image_folder}": masks.keys() - images.keys(),
        f"images in {image_folder} that share a name": {name for name, same in images.items() if len(same) > 1},
        f"masks in {mask_folder} that share a name": {name for name, same in masks.items() if len(same) > 1},
    }
    told = [f"{len(names)} {what}: {first_ten(sorted(names))}" for what, names in problems.items() if names]
    if not images:
        told.append(f"no images in {image_folder}")
    common = sorted(images.keys() & masks.keys())
    return [Pair(name=name, image=images[name][0], mask=masks[name][0]) for name in common], told


def _by_name(paths: Iterable[Path], name_of: Callable[[Path], str | None]) -> dict[str, list[Path]]:
    groups = defaultdict(list)
    for path in paths:
        name = name_of(path)
        if name is not None:
            groups[name].append(path)
    return groups


def require_files(root: Path, parts: Mapping[str, Sequence[Pair]]) -> None:
    """Check parts whose samples come from lists.

    Args:
        root: of the data set.
        parts: name of the list → its samples.

    Raises:
        DataError: names all at once: missing files, empty lists, samples that are listed twice or in two lists.
    """
    problems = []
    seen: dict[str, str] = {}
    for part, pairs in parts.items():
        if not pairs:
            problems.append(f"{part} names no sample")
        missing = [path for pair in pairs for path in (pair.image, pair.mask) if path and not path.is_file()]
        if missing:
            shown = first_ten([str(path.relative_to(root)) for path in missing])
            problems.append(f"{root} lacks {len(missing)} file(s) that {part} names: {shown}")
        again = []
        for pair in pairs:
            if pair.name in seen:
                again.append(f"{pair.name} (in {seen[pair.name]} too)")
            seen[pair.name] = part
        if again:
            problems.append(f"{part} names {len(again)} sample(s) that are listed already: {first_ten(again)}")
    raise_all(problems)


class ColourReader:
    """Reads masks whose classes are colours, as the indices of the colours; a `read` of `FolderDataset`.

    Args:
        colours: all that may occur, at most 255 and different.
    """

    def __init__(self, colours: Sequence[Colour]) -> None:
        self.colours = tuple(colours)

    def __call__(self, path: Path) -> Integer[np.ndarray, "h w"]:
        """Return the index of each pixel's colour.

        Raises:
            ImageError: the file cannot be decoded.
            DataError: other colours, named with their pixels.
        """
        found, unknown = labels_of_colours(read_image(path), self.colours)
        if unknown:
            raise DataError(
                f"{path}: holds the colours {describe_colours(unknown)}; expected only the {len(self.colours)} of the data "
                "set. Take the mask anew from the data set's own files."
            )
        return found


def ignored(values: Iterable[int]) -> dict[int, int]:
    """Return the value table of stored values that are ignored."""
    return dict.fromkeys(values, IGNORE_INDEX)
