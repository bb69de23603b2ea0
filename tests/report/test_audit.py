"""The page of an audit and its words: what is said follows from the numbers, and odd names break nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskwright.metrics.bootstrap import Interval
from maskwright.metrics.confusion import EvaluationMeter
from maskwright.metrics.conventions import CONVENTIONS
from maskwright.report.audit import AuditReport, number_rows, pair_sentence, spread_sentence, write_audit_report
from maskwright.report.audit_findings import AGREE, Findings, Pair, Stage, find
from maskwright.report.audit_plots import reliability_plot, spread_plot
from maskwright.report.records import Picture

SIZE = (12, 14)


def masks(seed: int, classes: int, wrong: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.integers(classes, size=SIZE).astype(np.uint8)
    noise = generator.integers(classes, size=SIZE).astype(np.uint8)
    return truth, np.where(generator.random(SIZE) < wrong, noise, truth)


def stage(name: str, *, classes: int = 3, wrong: float = 0.4, images: int = 8) -> Stage:
    meter = EvaluationMeter([f"c{i}" for i in range(classes)])
    for i in range(images):
        truth, mask = masks(i, classes, wrong)
        meter.update(f"i{i}", mask, truth)
    return Stage(name=name, source=f"/masks/{name}", taken="label maps", result=meter.result())


def page(tmp_path: Path, findings: Findings, *, title: str = "Audit") -> str:
    def picture(name: str) -> Picture:
        truth, mask = masks(int(name[1:]), len(findings.first.result.classes), 0.4)
        image = np.zeros((*SIZE, 3), np.uint8)
        return Picture(image=image, truth=truth, masks={one.name: mask for one in findings.stages})

    report = AuditReport(
        title=title,
        subject="eight images",
        findings=findings,
        truth="/truth",
        truth_taken="label maps",
        pictures=picture,
        commands=("maskwright audit",),
        facts={"machine": "one"},
    )
    write_audit_report(tmp_path / "page.html", report)
    return (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("classes", [2, 3])
def test_every_number_of_a_tool_stands_in_exactly_one_row(classes: int) -> None:
    findings = find([stage("a", classes=classes)])
    rows = [row for score in ("IoU", "Dice", "accuracy") for row in number_rows(findings, score)]
    keys = [one.key for row in rows for one in row.calls]
    assert sorted(keys) == sorted(one.key for one in CONVENTIONS)
    assert sum(row.quoted for row in rows) == 1
    for row in rows:
        values = [findings.numbers["a"][one.key].value for one in row.calls]
        assert np.isnan(values).all() or np.ptp(values) <= AGREE


def test_rows_that_agree_on_the_first_folder_say_so_where_others_do_not() -> None:
    first, second = stage("a"), stage("b", wrong=0.9)
    counts = second.result.counts.copy()
    counts[:4, 1, 0] += 5  # more false alarms of one class, in some images
    findings = find([first, replace(second, result=replace(second.result, counts=counts))])
    for row in number_rows(findings, "IoU"):
        values = [findings.numbers["b"][one.key].value for one in row.calls]
        assert row.spread == (False, np.ptp(values) > AGREE)


def test_stated_parts_add_up_to_the_difference() -> None:
    for one in find([stage("a")]).differences:
        assert sum(share for share, _ in one.parts) + one.rest == pytest.approx(one.by)


def test_a_page_of_two_folders_with_hostile_names(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    findings = find([stage("a"), stage(bad, wrong=0.2)], cautions=[bad], skipped={bad: bad})
    html = page(tmp_path, findings, title=bad)
    assert bad not in html and "&lt;script&gt;" in html
    assert 'id="compared"' in html and "Left out" in html and "Most improved" in html


def test_a_page_of_one_folder_compares_nothing(tmp_path: Path) -> None:
    html = page(tmp_path, find([stage("a", classes=2)]))
    assert 'id="compared"' not in html and "Most improved" not in html and "p (Holm)" not in html
    assert "Quote this number" in html


def pair(value: float, p: float, *, higher: int = 9, lower: int = 0) -> str:
    keys = tuple(one.key for one in CONVENTIONS)
    one = Pair(
        base="a",
        other="b",
        difference=Interval(value, value - 0.01, value + 0.01),
        p=p,
        p_holm=p,
        better=0.5,
        worse=0.1,
        higher=keys[:higher],
        lower=keys[len(keys) - lower :],
    )
    return pair_sentence(one)


def test_a_difference_is_claimed_only_where_the_test_shows_it() -> None:
    assert pair(0.02, 0.001).startswith("b is better than a (+0.0200 [+0.0100, +0.0300], p = 0.001)")
    assert pair(-0.02, 0.0001).startswith("b is worse than a") and "p < 0.001" in pair(-0.02, 0.0001)
    assert pair(0.02, 0.2).startswith("No difference between b and a is shown")
    assert pair(0.02, np.nan).startswith("One image does not tell")
    assert pair(np.nan, np.nan).startswith("b cannot be compared with a")


def test_tools_by_which_the_other_folder_wins_are_named_where_they_are_few() -> None:
    assert "depends" not in pair(0.02, 0.001)
    last = CONVENTIONS[-1].key
    assert f"b is lower by 1 way to report it ({last}) and higher by 9" in pair(0.02, 0.001, lower=1)
    assert "lower by 5 ways to report it and higher by 9" in pair(0.02, 0.001, lower=5)


def test_the_spread_is_that_of_the_numbers() -> None:
    findings = find([stage("a")])
    said = spread_sentence(findings)
    assert f"IoU from {findings.ways('IoU')[0]:.3f} to {findings.ways('IoU')[-1]:.3f}" in said
    assert f"{len(findings.ways('IoU'))} ways" in said


def test_few_far_numbers_stand_at_the_edge_of_the_plot() -> None:
    many = [0.8 + 0.001 * i for i in range(30)]
    assert "◂ 0.100" in spread_plot({"IoU": [0.1, *many]}, quoted=0.81)
    assert "▸" in spread_plot({"IoU": [*[x - 0.7 for x in many], 0.9]}, quoted=0.11)
    assert "◂" not in spread_plot({"IoU": [0.1] * 9 + many}, quoted=0.81)
    assert "<svg" in spread_plot({"IoU": [0.5]}, quoted=np.nan)


def test_a_reliability_diagram_of_empty_bins() -> None:
    empty = np.full(15, np.nan)
    assert "of 0 bins" in reliability_plot(empty, empty, np.zeros(15))
