"""One fault of each kind among clean pairs: each is named, nothing else is called an error, and the copy is clean."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskwright.data.doctor.inspection import Options
from maskwright.data.folder import open_folder
from maskwright.data.io import read_mask
from maskwright.engine.doctor import Checkup, check_data, write_copy
from planted_faults import FAULTS, NAMES, Fault, Sample, make_clean, plant_all, tree_hash

SERIAL = Options(workers=0)
PAIRS = 60


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sample], list[Fault], Checkup]:
    root = tmp_path_factory.mktemp("planted")
    samples = make_clean(root, PAIRS)
    faults = plant_all(root, samples)
    return root, samples, faults, check_data(str(root), SERIAL)


@pytest.fixture(scope="module")
def copy(planted: tuple[Path, list[Sample], list[Fault], Checkup]) -> Path:
    out = planted[0].parent / f"{planted[0].name}_clean"
    write_copy(planted[3], out, workers=0)
    return out


def stems(checkup: Checkup, code: str) -> set[str]:
    concerns = [one for finding in checkup.findings if finding.code == code for one in finding.concerns]
    return {str(Path(one.name).with_suffix("")).lower() for one in concerns}


@pytest.mark.parametrize("code", [*FAULTS, "same-image"])
def test_every_fault_is_named(planted: tuple[Path, list[Sample], list[Fault], Checkup], code: str) -> None:
    (fault,) = [fault for fault in planted[2] if fault.code == code]
    assert stems(planted[3], code) & set(fault.files)


def test_nothing_else_is_an_error(planted: tuple[Path, list[Sample], list[Fault], Checkup]) -> None:
    faulty = {Path(stem).name for fault in planted[2] for stem in fault.files}
    errors = [finding for finding in planted[3].findings if finding.kind.severity == "error"]
    assert not [one.name for finding in errors for one in finding.concerns if Path(one.name).stem.lower() not in faulty]
    assert not [finding.code for finding in errors if finding.whole]


def test_a_clean_set_has_no_errors(tmp_path: Path) -> None:
    make_clean(tmp_path, 24, seed=1)
    assert not check_data(str(tmp_path), SERIAL).has_errors


def test_labels_are_had_back(planted: tuple[Path, list[Sample], list[Fault], Checkup], copy: Path) -> None:
    owed = {fault.sample: fault.owed for fault in planted[2]}
    kept = set()
    for sample in planted[1]:
        path = copy / sample.image.parts[-3] / "masks" / f"{sample.image.stem}.png"
        if not path.exists():
            assert owed[sample.name] == "left out"
            continue
        kept.add(sample.name)
        labels = read_mask(path)
        exact = owed.get(sample.name, "exact") == "exact"
        assert ((labels == sample.labels) | (not exact and labels == 255)).all(), sample.name
        assert (labels == 255).mean() < 0.2
    assert not kept & {name for name, what in owed.items() if what == "left out"}


def test_the_copy_is_a_data_set_without_errors(
    planted: tuple[Path, list[Sample], list[Fault], Checkup], copy: Path
) -> None:
    splits = open_folder(copy)
    assert splits.val is not None
    assert len(splits.classes) == len(NAMES)
    for part in (splits.train, splits.val):
        assert all(part[index].target is not None for index in range(len(part)))
    assert not check_data(str(copy), SERIAL).has_errors


def test_all_that_is_left_out_is_listed(planted: tuple[Path, list[Sample], list[Fault], Checkup], copy: Path) -> None:
    listed = (copy / "fixes.csv").read_text()
    for fault in planted[2]:
        assert Path(fault.sample).name.lower() in listed.lower(), fault.code


def test_the_users_files_stay(tmp_path: Path) -> None:
    plant_all(tmp_path / "set", make_clean(tmp_path / "set", PAIRS))
    before = tree_hash(tmp_path / "set")
    write_copy(check_data(str(tmp_path / "set"), SERIAL), tmp_path / "out", workers=0)
    assert tree_hash(tmp_path / "set") == before


def test_no_copy_of_a_validation_image_stays_in_the_training(tmp_path: Path) -> None:
    samples = make_clean(tmp_path / "set", 16)
    (val, *_) = [sample for sample in samples if sample.name.startswith("val/")]
    for name in ("copy_a", "copy_b"):
        for path in (val.image, val.mask):
            shutil.copy(path, tmp_path / "set" / "train" / path.parent.name / f"{name}{path.suffix}")
    checkup = check_data(str(tmp_path / "set"), SERIAL)
    assert stems(checkup, "same-image") == {"train/images/copy_a", "train/images/copy_b"}
    assert not stems(checkup, "mask-shared")
    write_copy(checkup, tmp_path / "out", workers=0)
    assert not list((tmp_path / "out" / "train").rglob("copy_*"))
    assert not check_data(str(tmp_path / "out"), SERIAL).has_errors


@pytest.mark.parametrize("edges", [True, False])
def test_a_lying_mask_is_turned_only_where_edges_tell(tmp_path: Path, edges: bool) -> None:
    samples = make_clean(tmp_path / "set", 6)
    for number, sample in enumerate(samples):
        Image.fromarray(np.rot90(sample.labels, 1 if number % 2 else 3)).save(sample.mask)
        if not edges:
            Image.new("RGB", sample.labels.shape[::-1], (number, 0, 0)).save(sample.image)
    checkup = check_data(str(tmp_path / "set"), SERIAL)
    assert len(stems(checkup, "orientation")) == 6
    assert checkup.plan is None or edges
    if edges:
        write_copy(checkup, tmp_path / "out", workers=0)
    for sample in samples if edges else ():
        copied = tmp_path / "out" / sample.mask.relative_to(tmp_path / "set")
        assert not copied.exists() or (read_mask(copied) == sample.labels).all()


@pytest.mark.parametrize(("stored", "habit"), [((0, 255), "binary"), ((0, 7), "binary"), ((1, 2), "shifted")])
def test_a_binary_set_with_one_odd_mask(tmp_path: Path, stored: tuple[int, int], habit: str) -> None:
    samples = make_clean(tmp_path / "set", 16)
    for number, sample in enumerate(samples):
        labels = (sample.labels > 0).astype(np.uint8)
        values = labels if number == 5 else np.array(stored, np.uint8)[labels]
        Image.fromarray(values).save(sample.mask)
    checkup = check_data(str(tmp_path / "set"), SERIAL)
    assert checkup.examination.reading is not None and checkup.examination.reading.habit == habit
    assert stems(checkup, "odd-encoding") == {str(samples[5].mask.with_suffix("").relative_to(tmp_path / "set"))}
    write_copy(checkup, tmp_path / "out", workers=0)
    for sample in samples:
        copied = tmp_path / "out" / sample.mask.relative_to(tmp_path / "set")
        assert (read_mask(copied) == (sample.labels > 0)).all()
