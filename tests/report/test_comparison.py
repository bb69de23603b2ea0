"""The page of a comparison: self-contained, escaped, and plots whose names do not cover each other."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.transforms import Bbox

from comparisons import ENCODERS, made_up_comparison, made_up_report
from maskwright.report.comparison import gmacs, megabytes, p_value, rate, table_rows, write_comparison_report
from maskwright.report.terminal import show_comparison
from maskwright.report.trade_off import Point, draw, trade_off


def page_of(tmp_path: Path, **changes: object) -> str:
    path = tmp_path / "report.html"
    write_comparison_report(path, made_up_report(made_up_comparison(**changes)))  # type: ignore[arg-type]
    return path.read_text(encoding="utf-8")


def test_the_page_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path, failed={"vgg11, seed 1": "the loss is <nan>"})
    for name in ENCODERS:
        assert page.count(name.partition("@")[0].removeprefix("tu-")) >= 4
    for words in ("Take tf_efficientnet_lite1", "no difference shown", "shown to be worse", "Pareto front", "p (Holm)"):
        assert words in page
    assert "a &lt;b&gt; image" in page and "the loss is &lt;nan&gt;" in page and "<nan>" not in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page) and "http" not in re.sub(r"data:\S+", "", page)


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    assert page_of(tmp_path) == page_of(tmp_path)


def test_one_seed_is_said_where_the_intervals_are(tmp_path: Path) -> None:
    page = page_of(tmp_path, seeds=1)
    assert "with one training each it knows nothing of seeds" in page
    assert "each was trained once" in page


def test_one_candidate_needs_no_differences(tmp_path: Path) -> None:
    comparison = made_up_comparison()
    name = comparison.ranking.best
    ranking = dataclasses.replace(comparison.ranking, candidates={name: comparison.ranked(name)})
    alone = dataclasses.replace(comparison, ranking=ranking, candidates={name: comparison.candidates[name]})
    write_comparison_report(tmp_path / "report.html", made_up_report(alone))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="differences"' not in page and "only candidate" in page


def test_rows_are_in_order_and_mark_the_choice() -> None:
    rows = table_rows(made_up_comparison())
    assert [row.score.value for row in rows] == sorted((row.score.value for row in rows), reverse=True)
    assert [row.one.label for row in rows if row.chosen] == ["tf_efficientnet_lite1"]
    assert "time" in next(row for row in rows if row.one.label == "mobilenetv3_small_100").fronts


def test_the_terminal_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(made_up_comparison(), Path("out/report.html"))
    output = capsys.readouterr().out
    assert "take tf_efficientnet_lite1 (*): --model smp:Unet/tu-tf_efficientnet_lite1 --model.pretrained" in output
    assert "report: out/report.html" in output and "vgg11" in output


def overlap(a: Bbox, b: Bbox) -> bool:
    return min(a.x1, b.x1) > max(a.x0, b.x0) and min(a.y1, b.y1) > max(a.y0, b.y0)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [1.05, 50.0])
def test_names_cover_neither_each_other_nor_leave_the_plot(seed: int, spread: float) -> None:
    generator = np.random.default_rng(seed)
    points = [
        Point(
            label=f"encoder_of_length_{i}",
            cost=float(spread ** generator.uniform()),
            score=(score := float(generator.uniform(0.80, 0.82))),
            low=score - 0.004,
            high=score + 0.004,
            pretrained=bool(i % 2),
            front=i == 0,
            chosen=i == 1,
        )
        for i in range(8)
    ]
    figure, names = draw(points, cost="GMACs", score="IoU")
    assert not any(overlap(a, b) for i, a in enumerate(names) for b in names[:i])
    width, height = figure.get_size_inches() * 72
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in names)


def test_a_name_stands_nearest_to_its_own_point() -> None:
    costs, scores = (46.0, 49.0, 61.0, 45.0, 72.0, 21.0), (0.866, 0.864, 0.854, 0.806, 0.744, 0.798)
    points = [
        Point(
            label=f"tf_efficientnet_lite{i}",
            cost=cost,
            score=score,
            low=score - 0.017,
            high=score + 0.017,
            pretrained=True,
            front=True,
            chosen=i == 1,
        )
        for i, (cost, score) in enumerate(zip(costs, scores, strict=True))
    ]
    figure, names = draw(points, cost="images per second", score="IoU")
    centres = figure.axes[0].transData.transform(list(zip(costs, scores, strict=True)))
    for i, box in enumerate(names):
        away = [np.hypot(max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0)).item() for x, y in centres]
        assert np.argmin(away) == i


def test_names_and_odd_values_cannot_break_the_plot() -> None:
    point = Point(
        label="$x<&_",
        cost=1.0,
        score=0.5,
        low=float("nan"),
        high=float("nan"),
        pretrained=False,
        front=True,
        chosen=True,
    )
    svg = trade_off([point, dataclasses.replace(point, label="a" * 200)], cost="GMACs", score="IoU", salt="s")
    assert "$x&lt;&amp;_" in svg and "a" * 25 + "…" in svg and "a" * 27 not in svg


def test_numbers_in_words() -> None:
    assert [rate(v) for v in (0.523, 7.314, 68.41, 1530.2)] == ["0.52", "7.31", "68.4", "1530"]
    assert [p_value(v) for v in (0.0001, 0.0123, 0.5, float("nan"))] == ["< 0.001", "0.012", "0.50", "–"]
    assert gmacs(1_349_517_312) == "1.35" and gmacs(36_000) == "0.0000"
    assert megabytes(None) == "–" and megabytes(1_400_000_000) == "1\N{NARROW NO-BREAK SPACE}400 MB"
