"""Images of the test that the training saw, byte for byte, resized or compressed anew; by what `doctor` finds twins by."""

from collections.abc import Iterator
from pathlib import Path

from ..data.doctor.facts import ImageFacts, Item
from ..data.doctor.probe import probe, probe_arrays
from ..data.doctor.twins import find_twins
from ..data.folder import first_ten
from ..data.naming import list_images
from ..errors import DataError
from ..metrics.conventions import convention, recommended
from ..progress import track
from .audit import Audited
from .audit_records import Truth


def overlap(audited: Audited, train: Path) -> Iterator[str]:
    """Say which of the scored images are among those of a folder, and what the first number to quote is without them.

    Raises:
        DataError: no image in the folder.
    """
    files = list_images(train)
    if not files:
        raise DataError(f"{train} holds no image; expected those of the training for --train")
    result = next(iter(audited.stages.values())).result
    seen = [_facts(path) for path in track(files, label="training images", total=len(files))]
    own = [
        _test_facts(audited.truth, name) for name in track(result.names, label="test images", total=len(result.names))
    ]
    same: dict[str, str] = {}
    alike: dict[str, str] = {}
    for twins in find_twins([*seen, *own], ["training"] * len(seen) + ["test"] * len(own)):
        if twins.first < len(files) <= twins.second:
            name = result.names[twins.second - len(files)]
            (same if twins.same else alike)[name] = files[twins.first].name
    images, training = len(result.names), f"the {len(files)} of {train}"
    if same:
        kept = [row for row, name in enumerate(result.names) if name not in same]
        quote = recommended(result)
        without = f"{convention(quote.key).of(result.counts[kept]):.3f}" if kept else "undefined"
        yield (
            f"{len(same)} of {images} test images are training images, too ({_listed(same)}): what was learnt by heart is "
            f"scored. Without them the number to quote is {without} instead of {quote.interval.value:.3f}."
        )
    alike = {name: other for name, other in alike.items() if name not in same}
    if alike:
        yield f"{len(alike)} of {images} test images are almost the same as training images ({_listed(alike)})."
    unread = sum(one is None for one in seen)
    if unread:
        yield f"{unread} of {training} could not be read and were not compared."
    lacking = sum(one is None for one in own)
    if lacking:
        yield f"{lacking} of {images} test images were not compared with {training}: they are missing or cannot be read."


def _facts(path: Path) -> ImageFacts | None:
    return probe(Item(name=path.stem, images=(path,))).image


def _test_facts(truth: Truth, name: str) -> ImageFacts | None:
    if name in truth.image_files:
        return _facts(truth.image_files[name])
    image = truth.image(name)
    return None if image is None else probe_arrays(Item(name=name), image, None).image


def _listed(pairs: dict[str, str]) -> str:
    return first_ten([f"{name} = {other}" for name, other in pairs.items()])
