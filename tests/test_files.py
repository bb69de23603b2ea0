"""Atomic writing: the old file or the new one, never a part, never a word of success that is not true."""

import errno
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import WriteError
from maskwright.files import append_text, atomic_write, sweep_temporary, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Makes every write beyond `size` bytes fail, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_writes_into_folders_that_did_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    with atomic_write(path) as stream:
        stream.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["c.bin"]


@pytest.mark.parametrize("failure", [ValueError("not ours"), KeyboardInterrupt()])
def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(type(failure)), atomic_write(path) as stream:
        stream.write(b"half of the n")
        raise failure
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_content_is_on_disk_before_the_rename_and_the_rename_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        events.append(("fsync", os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
        fsync(descriptor)

    def recorded_replace(source: Path, target: Path) -> None:
        events.append(("replace", source.stat().st_ino, source.stat().st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    write_text(tmp_path / "file", "12345")
    inode = (tmp_path / "file").stat().st_ino
    assert events[:2] == [("fsync", inode, 5), ("replace", inode, 5)]
    assert [event[:2] for event in events[2:]] == [("fsync", tmp_path.stat().st_ino)]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "file", "")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("name", ["n" * 255, "ä" * 127, "two words\n", os.fsdecode(b"not utf-8 \xff"), "-rf", ".part"])
def test_any_name_that_the_file_system_takes(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "content")
    assert names(tmp_path) == [name]


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with file_size_limit(10_000), pytest.raises(WriteError, match=r"cannot write .*file: .*; .*ulimit"):
        write_text(path, "n" * 20_000)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("code", "advice"), [(errno.ENOSPC, "free some space"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")]
)
def test_what_to_do_depends_on_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WriteError, match=advice) as caught:
        write_text(tmp_path / "file", "content")
    assert str(tmp_path / "file") in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into folders without write permission")
def test_a_folder_without_write_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(WriteError, match="permission"):
            write_text(tmp_path / "file", "content")
    finally:
        tmp_path.chmod(0o700)
    assert names(tmp_path) == []


def test_a_path_through_a_file_or_onto_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y", tmp_path / "folder"):
        with pytest.raises(WriteError) as caught:
            write_text(path, "content")
        assert f"cannot write {path}" in str(caught.value)
        assert "choose another" in str(caught.value)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file", "folder"]


def test_text_is_utf8_even_if_a_file_name_in_it_is_not(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "ä \udcff\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa4 \\udcff\n"


def test_json_returns_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"b": [1, None, "ä\udcff"], "a": Path("x") / "y", "c": np.float32(0.5), "d": np.int64(2**60)})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"a": "x/y", "b": [1, None, "ä\udcff"], "c": 0.5, "d": 2**60}
    assert text.startswith('{\n  "a": "x/y",\n  "b"') and text.endswith("}\n") and "ä" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), {1, 2}, np.zeros(2)])
def test_what_json_has_not_is_refused_before_anything_is_written(tmp_path: Path, value: object) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"old")
    with pytest.raises((ValueError, TypeError)):
        write_json(path, {"value": value})
    assert path.read_bytes() == b"old"


def test_sweep_removes_what_dead_processes_left_and_nothing_else(tmp_path: Path, dead_pid: int) -> None:
    left = [tmp_path / f".mask.png.{pid}-{'0' * 16}.part" for pid in (dead_pid, os.getpid(), 999_999_999)]
    others = [f".mask.png.{os.getppid()}-{'0' * 16}.part", f"mask.{dead_pid}-{'0' * 16}.part", "film.part", ".part"]
    for path in [*left, *(tmp_path / name for name in others)]:
        path.write_bytes(b"half")
    (tmp_path / f".folder.{dead_pid}-{'0' * 16}.part").mkdir()
    assert sweep_temporary(tmp_path) == sorted(left)
    assert names(tmp_path) == sorted([*others, f".folder.{dead_pid}-{'0' * 16}.part"])


def test_sweep_spares_what_this_process_is_writing(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file") as stream:
        stream.write(b"new")
        assert len(names(tmp_path)) == 1
        assert sweep_temporary(tmp_path) == []
    assert (tmp_path / "file").read_bytes() == b"new"


def test_sweep_of_a_folder_that_does_not_exist_removes_nothing(tmp_path: Path) -> None:
    assert sweep_temporary(tmp_path / "missing") == []


def test_appended_text_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(WriteError, match="file"):
        append_text(path, "no such file yet")
    path.write_text("old\n")
    append_text(path, "ü\n")
    assert path.read_text(encoding="utf-8") == "old\nü\n"
    before = path.read_bytes()
    with file_size_limit(len(before) + 10), pytest.raises(WriteError, match="file"):
        append_text(path, "more than fits\n" * 3)
    assert path.read_bytes() == before
