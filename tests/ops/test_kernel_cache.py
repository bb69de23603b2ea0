"""Where numba keeps its kernels: a folder of the process where it could write to no other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskwright.ops import kernel_cache

COUNT = """
import os
{before}
real, os.access = os.access, lambda path, mode, **options: str(path).startswith({allowed!r}) and real(path, mode, **options)
import maskwright.ops
import numba
os.access = real
print(os.environ.get("NUMBA_CACHE_DIR"), numba.config.CACHE_DIR, os.path.isdir(numba.config.CACHE_DIR))
"""


def found(allowed: str, before: str = "", **variables: str) -> list[str]:
    """What a process says that may write only to folders that begin so."""
    environment = {key: value for key, value in os.environ.items() if key != kernel_cache.VARIABLE} | variables
    code = COUNT.format(allowed=allowed, before=before)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("before", ["", "import numba"])
def test_where_nothing_can_be_written_there_is_a_folder_as_long_as_the_process(before: str, tmp_path: Path) -> None:
    variable, used, there = found("nowhere", before, TMPDIR=str(tmp_path))
    assert variable == used and there == "True" and Path(used).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_numba_keeps_its_own_place_where_it_has_one(tmp_path: Path) -> None:
    assert found(str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "not" / "yet"))[0] == "None"
    named = str(tmp_path / "named")
    assert found("nowhere", NUMBA_CACHE_DIR=named)[:2] == [named, named]
