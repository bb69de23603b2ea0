"""What an audit reads: true masks and predictions, whatever files they come from, one image at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from ..data.classes import ClassTable
from ..data.folder import first_ten
from ..data.io import read_image
from ..data.naming import list_images
from ..errors import DataError
from ..report.records import Look
from .instances import Truth as ObjectTruth
from .pairing import pair

Size: TypeAlias = tuple[int, int]
Labels: TypeAlias = UInt8[np.ndarray, "h w"]
RGB: TypeAlias = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """True masks, read one image at a time.

    Attributes:
        names: of the images.
        table: classes by name, with the colours that predictions may use; names are None where no table gives them.
        count: classes that the true masks hold, at least two.
        read: from a name to its labels, 255 = ignored.
        image: from a name to its image; None where there is none.
        image_files: name → file of its image, where a folder of them was given.
        look: how labels are shown.
        source: where they lie.
        taken: what the files were taken for, in words.
        sizes: name → height and width, where the files were looked at.
        broken: name → why it cannot be read.
        objects: the truth as objects, of a COCO file.
    """

    names: tuple[str, ...]
    table: ClassTable
    count: int
    read: Callable[[str], Labels]
    image: Callable[[str], RGB | None]
    look: Look
    source: str
    taken: str
    sizes: Mapping[str, Size]
    broken: Mapping[str, str]
    image_files: Mapping[str, Path]
    objects: ObjectTruth | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What one file says.

    Attributes:
        labels: integers (H, W), at the file's own size.
        probabilities: of the same size, where the file tells them: C = 1 is the foreground, else one per class.
    """

    labels: NDArray[Any]
    probabilities: Float32[np.ndarray, "c h w"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """Predictions of one tool, read one image at a time.

    Attributes:
        source: folder or file.
        read: from an image's name and the size of its truth to the prediction.
        taken: what the files were taken for, in words.
        count: classes that the files hold, as far as they show.
        soft: whether they tell probabilities.
        broken: name → why it cannot be read.
    """

    source: Path
    read: Callable[[str, Size], Predicted]
    taken: str
    count: int
    soft: bool
    broken: Mapping[str, str]


def images_in(images: Path | None, names: Sequence[str]) -> Mapping[str, Path]:
    """Return name → image of the folder; empty without a folder.

    Raises:
        DataError: the folder holds none of them, or several files for one.
    """
    if images is None:
        return {}
    pairing = pair(names, list_images(images))
    found = pairing.paths
    if pairing.doubled:
        raise DataError(
            f"{images} holds {len(pairing.doubled)} files that share an image with another: "
            f"{first_ten([path.name for path in pairing.doubled])}; expected one for each true mask. Move the others away."
        )
    if not found:
        raise DataError(f"{images} holds no image of the stems of the true masks, such as {names[0]}")
    return found


def image_reader(files: Mapping[str, Path]) -> Callable[[str], RGB | None]:
    """Return what reads the image of a name, None where it has none."""
    return lambda name: read_image(files[name]) if name in files else None
