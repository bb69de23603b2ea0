"""Panoptic files from the command line to their scores: parity with sets of pixels, comparison, pages, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from layouts import put_segments
from maskwright.cli import main
from maskwright.data.coco_panoptic import read_panoptic_truth
from maskwright.engine.panoptic import evaluate_panoptic, segment_labels
from maskwright.metrics import panoptic_quality
from maskwright.metrics.panoptic import class_quality
from maskwright.types import Segments
from reference import panoptic_by_sets

CATEGORIES = [
    {"id": 21, "name": "sky", "isthing": 0},
    {"id": 4, "name": "car", "isthing": 1},
    {"id": 7, "name": "cat", "isthing": 1},
]
LABELS = {21: 1, 4: 2, 7: 3}
Content = dict[int, tuple[np.ndarray, dict[int, int], set[int]]]
"""Image → number of each pixel's segment, number → category, numbers of crowds."""


def put_panoptic(path: Path, content: Content) -> Path:
    listed = {
        image: (ids, [{"id": n, "category_id": one, "iscrowd": int(n in crowds)} for n, one in categories.items()])
        for image, (ids, categories, crowds) in content.items()
    }
    return put_segments(path, listed, categories=CATEGORIES)


def random_content(seed: int) -> tuple[Content, Content]:
    """A truth with void and crowds, and a prediction near it, with void of its own."""
    generator = np.random.default_rng(seed)
    truth: Content = {}
    found: Content = {}
    for image in (3, 11, 12):
        numbers = np.array([0, 7, 300, 70_000, 5, 513])
        ids = np.kron(generator.choice(numbers, (4, 4)), np.ones((4, 4), int))
        categories = {int(number): int(generator.choice([21, 4, 7])) for number in np.unique(ids) if number}
        crowds = {number for number in categories if generator.random() < 0.2}
        truth[image] = (ids, categories, crowds)
        own = np.where(generator.random(ids.shape) < 0.2, generator.choice(numbers, ids.shape), ids)
        guesses = {int(n): int(generator.choice([21, 4, 7])) for n in np.unique(own) if n}
        kept = {n: categories[n] if n in categories and generator.random() < 0.8 else guesses[n] for n in guesses}
        found[image] = (own, kept, set())
    return truth, found


def as_segments(image: int, content: Content) -> Segments:
    ids, categories, crowds = content[image]
    place = {0: 0, **{number: i for i, number in enumerate(categories, start=1)}}
    return Segments(
        name=str(image),
        ids=np.array([[place[int(number)] for number in row] for row in ids], np.int32),
        classes=np.array([LABELS[category] for category in categories.values()], np.int64),
        crowd=np.array([number in crowds for number in categories], np.bool_),
    )


@pytest.mark.parametrize("seed", range(6))
def test_quality_of_files_equals_sets_of_pixels(seed: int, tmp_path: Path) -> None:
    truth, found = random_content(seed)
    files = put_panoptic(tmp_path / "val.json", truth), put_panoptic(tmp_path / "own.json", found)
    one = evaluate_panoptic(files[1], read_panoptic_truth(files[0]))
    pairs = [(as_segments(image, found), as_segments(image, truth)) for image in truth]
    expected = np.array([panoptic_by_sets(pairs, label) for label in (1, 2, 3)]).T
    np.testing.assert_allclose(class_quality(one.panoptic)[:, 1:], expected, rtol=1e-12)
    np.testing.assert_allclose(panoptic_quality(one.panoptic, "things"), np.nanmean(expected[:, 1:], axis=1))
    np.testing.assert_allclose(panoptic_quality(one.panoptic, "stuff"), expected[:, 0])
    scored = sum(int((segment_labels(true, void=255) != 255).sum()) for _, true in pairs)
    assert one.masks.confusion.sum() == scored and one.masks.confusion[0].sum() == 0


def test_void_is_ignored_in_the_truth_and_no_segment_in_a_prediction() -> None:
    one = as_segments(1, {1: (np.array([[0, 7, 9]]), {7: 4, 9: 7}, {9})})
    assert segment_labels(one, void=255).tolist() == [[255, 2, 255]]
    assert segment_labels(one, void=0).tolist() == [[0, 2, 3]]


def evaluate(out: Path, *arguments: object) -> int:
    return main(["evaluate", "--instances", "--out", str(out), *map(str, arguments)])


def test_two_predictions_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = random_content(1)
    targets, own = put_panoptic(tmp_path / "val.json", truth), put_panoptic(tmp_path / "own.json", found)
    whole = {image: (ids, categories, set()) for image, (ids, categories, _) in truth.items()}
    best = put_panoptic(tmp_path / "best.json", whole)
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "images" / "000003.png")
    arguments = ["--predictions", own, best, "--targets", targets, "--images", tmp_path / "images"]
    assert evaluate(tmp_path / "out", *arguments) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("PQ", "SQ", "RQ", "things", "stuff", "own.json", "1.0000"))
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    record: dict[str, Any] = stored["panoptic"]
    # A crowd's own mask, predicted as a segment, is no mistake.
    assert record["best.json"]["all"] == {"pq": 1, "sq": 1, "rq": 1}
    result = evaluate_panoptic(own, read_panoptic_truth(targets)).panoptic
    assert record["own.json"]["things"]["pq"] == pytest.approx(panoptic_quality(result, "things").pq)
    change = record["best.json"]["change"]["all"]
    assert change[0] == pytest.approx(1 - panoptic_quality(result).pq)
    car = record["own.json"]["classes"]["car"]
    assert car["thing"] and [car["matched"], car["spurious"], car["missed"]] == result.counts.sum(0)[:, 2].tolist()
    assert stored["scores"]["best.json"]["pixel_accuracy"] == 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Panoptic quality by class" in page and "car (thing), best.json" in page and "PQ stuff" in page


def test_what_cannot_be_scored_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = random_content(2)
    targets, own = put_panoptic(tmp_path / "val.json", truth), put_panoptic(tmp_path / "own.json", found)
    smaller: Content = {
        image: (ids[:8], {number: one for number, one in categories.items() if number in ids[:8]}, set())
        for image, (ids, categories, _) in truth.items()
    }
    cut = put_panoptic(tmp_path / "cut.json", smaller)
    (tmp_path / "list.json").write_text("[]")
    for arguments, words in (
        ((own, "--classes", own), "--classes"),
        ((cut,), "expected one size"),
        ((tmp_path / "list.json",), "holds a list"),
        ((tmp_path / "nowhere.json",), "nowhere.json"),
        ((tmp_path,), "cannot be read"),
    ):
        code = evaluate(tmp_path / "out", "--targets", targets, "--predictions", *arguments)
        error = capsys.readouterr().err.strip()
        assert code == 2 and words in error and "Traceback" not in error, error
        assert not (tmp_path / "out").exists()
