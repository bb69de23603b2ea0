"""Progress on the terminal: a bar with rate and time left, or plain lines where the output is not a terminal."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

console = Console(stderr=True)
"""Where progress and remarks go; results go to standard output."""

LINE_SECONDS = 10.0
"""Time between two plain lines."""


class Bar:
    """One line of progress over `total` items; use it as a context manager.

    Args:
        label: what is being done.
        total: number of items.
        done: items that an earlier run did.
        unit: what the items are.
    """

    def __init__(self, label: str, *, total: int, done: int = 0, unit: str = "images") -> None:
        self.label, self.total, self.done, self.unit = label, total, done, unit
        self.first = done
        self.started = self.last_line = time.monotonic()
        self.bar: Progress | None = None
        if console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
            )
            self.task = self.bar.add_task(label, total=total, completed=done, note="")

    def __enter__(self) -> "Bar":
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """Count `count` more items; `note` stands behind the rate."""
        self.done += count
        seconds = max(time.monotonic() - self.started, 1e-9)
        rate = (self.done - self.first) / seconds
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, note=f"{rate:.1f} {self.unit}/s {note}")
        elif time.monotonic() - self.last_line >= LINE_SECONDS:
            self.last_line = time.monotonic()
            left = (self.total - self.done) / rate
            console.print(
                f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {_clock(left)} left {note}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def track(items: Iterable[T], *, label: str, total: int, unit: str = "images") -> Iterator[T]:
    """Yield `items` and show how far it is."""
    with Bar(label, total=total, unit=unit) as bar:
        for item in items:
            yield item
            bar.advance()


def say(text: str) -> None:
    """Print a remark beside the progress."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
