"""Writing result files so that a reader finds the old content or the new, and never a part of either.

Every file is written under a temporary name in its own folder, forced to the disk and then renamed, which POSIX makes
atomic (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014, shows what goes wrong without the two fsyncs).
A process that is killed leaves only a hidden `.part` file, which `sweep_temporary` removes at the next start.
"""

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from maskwright.errors import WriteError

JSON: TypeAlias = "None | bool | int | float | str | list[JSON] | dict[str, JSON]"
"""What a JSON file holds."""

# Tells this process's temporaries from those of a killed one that had the same pid: containers reuse small pids.
_PROCESS_TOKEN = secrets.token_hex(4)
_TEMPORARY_NAME = re.compile(r"\..*\.(?P<pid>[1-9]\d{0,8})-(?P<token>[0-9a-f]{8})[0-9a-f]{8}\.part", re.DOTALL)

_ADVICE = {
    errno.ENOSPC: "free some space or choose a folder on another disk",
    errno.EDQUOT: "free some space or ask for a larger quota",
    errno.EFBIG: "raise the file size limit (`ulimit -f`) or choose a folder on another file system",
    errno.EROFS: "choose a folder that is not mounted read-only",
    errno.EACCES: "choose a folder that you may write to, or ask for permission",
    errno.EPERM: "choose a folder that you may write to, or ask for permission",
    errno.ENOTDIR: "a part of the path is a file where a folder is needed; choose another path",
    errno.EEXIST: "a part of the path is a file where a folder is needed; choose another path",
    errno.EISDIR: "a folder has that name; choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that appears under its name only when the block ends without an exception.

    Missing parent folders are created. Until the block has ended, and for ever if it fails, a file that stood there
    before keeps its content. The new file's permissions follow the umask. A symbolic link is replaced, not followed.

    Args:
        path: the file to write.

    Yields:
        The binary stream to write to; leave it open.

    Raises:
        WriteError: no space, no permission, a read-only or unsuitable path.
    """
    # Cut, because the temporary's own name must not exceed the file system's limit where the final name does not.
    temporary = path.parent / f".{path.name[:40]}.{os.getpid()}-{_PROCESS_TOKEN}{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8, atomically. Undecodable bytes of file names (lone surrogates) are written as `\\udcXX`.

    Raises:
        WriteError: see `atomic_write`.
    """
    with atomic_write(path) as stream:
        stream.write(text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, obj: object) -> None:
    """Writes JSON, atomically: keys sorted, indented by 2, one newline at the end. Paths and numpy scalars are allowed.

    Raises:
        ValueError: `obj` holds NaN or infinity, which JSON has not; say None where a number is undefined.
        TypeError: `obj` holds something else that JSON has not.
        WriteError: see `atomic_write`.
    """
    # Not ASCII only, so that people can read it; the `\udcXX` that write_text makes of a surrogate is JSON's own escape.
    text = json.dumps(obj, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
    write_text(path, text + "\n")


def link_or_copy(source: Path, target: Path, *, copy: bool = False) -> None:
    """Give a file a second name (a hard link) where the disk allows it, else a copy; a symbolic link is followed.

    Args:
        source: the file.
        target: its new place, where nothing stands; missing parent folders are created.
        copy: always copy.

    Raises:
        WriteError: no space, no permission, or something stands there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _write_error(target.parent, error) from error
    if not copy:
        with suppress(OSError):  # another disk, or one without links: then a copy does it
            os.link(os.path.realpath(source), target)
            return
    with source.open("rb") as content, atomic_write(target) as stream:
        shutil.copyfileobj(content, stream)


def append_text(path: Path, text: str) -> None:
    """Appends text as UTF-8, and forces it to the disk: all of it, or, where that fails, nothing.

    Raises:
        WriteError: no such file, no space, no permission.
    """
    data = text.encode("utf-8", errors="backslashreplace")
    try:
        with open(path, "r+b", buffering=0) as stream:
            before = stream.seek(0, os.SEEK_END)
            try:
                if stream.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(stream.fileno())
            except OSError:
                stream.truncate(before)
                raise
    except OSError as error:
        raise _write_error(path, error) from error


def sweep_temporary(folder: Path) -> list[Path]:
    """Removes what killed processes left of their writing into `folder` (not its subfolders).

    Call it at the start of a run. A file of a process that lives on this host is never touched. Files of another host
    cannot be told from those of a dead process: one host at a time may use a folder.

    Returns:
        The removed files, sorted; nothing where the folder does not exist.

    Raises:
        WriteError: the folder cannot be read, or a leftover not removed.
    """
    removed = []
    try:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if _is_abandoned(path):
                path.unlink(missing_ok=True)
                removed.append(path)
    except OSError as error:
        raise _write_error(folder, error) from error
    return removed


def _is_abandoned(path: Path) -> bool:
    """Whether `path` is a temporary of `atomic_write` that no living process is writing."""
    name = _TEMPORARY_NAME.fullmatch(path.name)
    return name is not None and path.is_file() and not _in_use(int(name["pid"]), name["token"])


def _in_use(pid: int, token: str) -> bool:
    """Whether the process that made a temporary may still be writing it."""
    if pid == os.getpid():
        return token == _PROCESS_TOKEN
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, and is another user's
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Forces a rename in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems do not sync folders; they need no help of ours to keep a rename.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _write_error(path: Path, error: OSError) -> WriteError:
    reason = error.strerror or str(error)
    advice = _ADVICE.get(error.errno or 0, "check the path and the disk")
    return WriteError(f"cannot write {path}: {reason}; {advice}")


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"JSON cannot hold {type(value).__name__}: {value!r}")
