"""Which files of a folder are images, and what the outputs made from them are called."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})
"""Lower-case suffixes that are listed as images; what a file holds is told by its content."""


ARRAY_SUFFIXES = frozenset({".npy"})
"""Those of images of other than three channels besides."""


def list_images(folder: Path, *, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the folder's own entries with an image suffix, in any case of letters, sorted by name.

    Subfolders are not entered, so masks and results that lie there are never taken for images. Hidden files are left
    out. Nothing is opened: an entry that is no readable file is listed, and fails with its name when it is read.

    Raises:
        DataError: no such folder, or it cannot be listed.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}; expected a folder of images.") from error
    return [entry for entry in entries if entry.suffix.lower() in suffixes and not entry.name.startswith(".")]


def output_names(paths: Sequence[Path]) -> dict[Path, str]:
    """Name the output of every input, without a suffix, so that no two are equal in any case of letters.

    A file `a.jpg` gives "a"; beside `a.png` the two give "a.jpg" and "a.png". The names depend on nothing but the set
    of inputs: to continue a batch, name all of it and then leave out what is done.

    Raises:
        DataError: inputs of different folders share a file name.
    """
    paths = list(dict.fromkeys(paths))
    same = [name for name, count in Counter(path.name for path in paths).items() if count > 1]
    if same:
        raise DataError(
            f"{len(same)} file names come from more than one folder, such as {same[0]}; their outputs would overwrite "
            "each other. Run the folders one by one."
        )
    stems = Counter(path.stem.casefold() for path in paths)
    full = {path.name.casefold() for path in paths}
    alone = {path for path in paths if stems[path.stem.casefold()] == 1 and path.stem.casefold() not in full}
    return {path: path.stem if path in alone else path.name for path in paths}
