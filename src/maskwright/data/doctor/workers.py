"""A function over many items in several processes, each of which ends when this one does.

The processes are plain interpreters that read items from a pipe, rather than `multiprocessing`'s: a script that calls this
needs no `if __name__ == "__main__"`, nothing is forked beside threads, and a worker whose parent was killed reads the end
of its pipe and stops. They do not hear Ctrl-C, which the parent answers by ending them.
"""

import contextlib
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, TypeVar

from ...errors import DataError

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 8
"""Items that a worker is given at once: few enough that the bar moves, enough that the pipe costs nothing."""

_FEW = 64
_LENGTH = struct.Struct("<Q")
_SERVE = "from maskwright.data.doctor.workers import serve; serve()"


def spread(function: Callable[[T], R], items: Sequence[T], *, workers: int) -> Iterator[tuple[int, R]]:
    """Yield index and result of every item, in any order.

    Args:
        function: is pickled; where it cannot be, and for few items, everything is done in this process.
        items: are pickled too.
        workers: processes; 0 takes this one.

    Raises:
        DataError: a worker ended, as when it was killed for its memory; names the items that it had.
        Exception: what `function` raises in this process; in a worker it may raise nothing.
    """
    payload = _pickled(function)
    if workers < 1 or len(items) < _FEW or payload is None:
        yield from ((index, function(item)) for index, item in enumerate(items))
        return
    chunks: queue.SimpleQueue[range] = queue.SimpleQueue()
    for start in range(0, len(items), CHUNK):
        chunks.put(range(start, min(start + CHUNK, len(items))))
    results: queue.Queue[tuple[range, Any]] = queue.Queue(maxsize=4 * workers)
    processes = [_start() for _ in range(workers)]
    threads = [
        threading.Thread(target=_feed, args=(process, payload, items, chunks, results), daemon=True)
        for process in processes
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in range(0, len(items), CHUNK):
            which, answers = results.get()
            if answers is None:
                first = items[which.start] if which else "nothing"
                raise DataError(
                    f"a worker ended at {first}, or one of the {len(which)} from there on; was it killed for its "
                    "memory? Run it again with fewer workers."
                )
            yield from zip(which, answers, strict=True)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()


def serve() -> None:
    """Be a worker: take the function and then lists of items from standard input, write the results to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    asked = sys.stdin.buffer
    function = _receive(asked)
    while True:
        try:
            items = _receive(asked)
        except EOFError:
            return
        _send(answers, [function(item) for item in items])


def _start() -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # so that the terminal's Ctrl-C goes to the parent alone
    )


def _feed(
    process: "subprocess.Popen[bytes]",
    payload: bytes,
    items: Sequence[Any],
    chunks: "queue.SimpleQueue[range]",
    results: "queue.Queue[tuple[range, Any]]",
) -> None:
    """Give one worker chunk after chunk; None as an answer says that it ended."""
    which = range(0)
    try:
        assert process.stdin is not None and process.stdout is not None
        _write(process.stdin, payload)
        while True:
            which = chunks.get_nowait()
            _send(process.stdin, [items[index] for index in which])
            results.put((which, _receive(process.stdout)))
    except queue.Empty:
        return
    except (OSError, EOFError, ValueError):
        results.put((which, None))


def _pickled(function: Callable[..., Any]) -> bytes | None:
    try:
        return pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError):  # a local function, a lambda, an open file
        return None


def _send(pipe: BinaryIO | Any, thing: object) -> None:
    _write(pipe, pickle.dumps(thing))


def _write(pipe: BinaryIO | Any, payload: bytes) -> None:
    pipe.write(_LENGTH.pack(len(payload)))
    pipe.write(payload)
    pipe.flush()


def _receive(pipe: BinaryIO | Any) -> Any:
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return pickle.loads(_exactly(pipe, length))


def _exactly(pipe: BinaryIO | Any, length: int) -> bytes:
    content: bytes = pipe.read(length)
    if len(content) < length:
        raise EOFError
    return content
