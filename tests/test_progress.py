"""Progress: a bar on a terminal, plain lines elsewhere, and never more than one every so often."""

import io

import pytest
from rich.console import Console

from maskwright import progress
from maskwright.progress import Bar, say, track


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def output(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> io.StringIO:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120)
    monkeypatch.setattr(progress, "console", console)
    return stream


def test_elsewhere_than_on_a_terminal_come_plain_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    stream = output(monkeypatch, terminal=False)
    with Bar("predict", total=100) as bar:
        for _ in range(50):
            clock.now += 0.5  # two images per second, one line in ten seconds
            bar.advance()
    assert stream.getvalue().splitlines() == [
        "predict: 20/100 images, 2.0/s, 0:40 left ",
        "predict: 40/100 images, 2.0/s, 0:30 left ",
    ]


def test_what_an_earlier_run_did_is_not_counted_in_the_rate(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    stream = output(monkeypatch, terminal=False)
    with Bar("train", total=1000, done=900, unit="batches") as bar:
        clock.now += 10
        bar.advance(10, note="loss 0.5")
    assert stream.getvalue() == "train: 910/1000 batches, 1.0/s, 1:30 left loss 0.5\n"


def test_on_a_terminal_comes_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = output(monkeypatch, terminal=True)
    with Bar("predict", total=3) as bar:
        bar.advance(3, note="done")
    assert "predict" in stream.getvalue() and "3/3" in stream.getvalue() and "images/s done" in stream.getvalue()


def test_track_yields_the_items_and_counts_them(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    stream = output(monkeypatch, terminal=False)
    found = []
    for item in track("abc", label="read", total=3):
        clock.now += 10
        found.append(item)
    assert found == ["a", "b", "c"]
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [f"read: {n}/3 images" for n in (1, 2, 3)]


def test_an_exception_passes_and_ends_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    output(monkeypatch, terminal=True)
    bar = Bar("x", total=2)
    with pytest.raises(ValueError, match="from inside"), bar:
        raise ValueError("from inside")
    assert bar.bar is not None and bar.bar.finished is False and not bar.bar.live.is_started


def test_remarks_are_printed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = output(monkeypatch, terminal=False)
    say("a path: " + "x" * 300)
    say("left with [brackets] 1 of 2")
    assert stream.getvalue() == "a path: " + "x" * 300 + "\nleft with [brackets] 1 of 2\n"


def test_progress_goes_to_standard_error() -> None:
    assert progress.console.stderr
