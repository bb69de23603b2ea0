"""Work in several processes gives what one process gives, and no process outlives its parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from maskwright.data.doctor.workers import spread
from maskwright.errors import DataError

ITEMS = list(range(200))


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def test_every_item_has_its_result() -> None:
    assert dict(spread(partial(pow, exp=2), ITEMS, workers=2)) == {item: item**2 for item in ITEMS}


def test_what_cannot_be_pickled_is_done_here() -> None:
    assert dict(spread(lambda item: item + 1, ITEMS, workers=2)) == {item: item + 1 for item in ITEMS}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_an_early_end_leaves_no_process() -> None:
    before = children()
    results = spread(abs, ITEMS, workers=2)
    next(results)
    assert len(children() - before) == 2
    results.close()
    assert children() <= before


def test_a_killed_worker_is_a_named_error() -> None:
    with pytest.raises(DataError, match="worker ended"):
        list(spread(os._exit, ITEMS, workers=1))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    script = """
        import signal, sys, time
        from maskwright.data.doctor.workers import spread
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
        print("ready", flush=True)
        try:
            for _ in spread(time.sleep, [0.05] * 100_000, workers=2):
                print("going", flush=True)
        except KeyboardInterrupt:
            sys.exit(130)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            while process.stdout.readline().strip() != "going":
                assert process.poll() is None
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            pids = [int(pid) for pid in workers.read_text().split()] if workers.exists() else []
            process.send_signal(number)
            process.wait(30)
        finally:
            process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    deadline = time.monotonic() + 30
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
