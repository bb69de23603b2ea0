"""Where numba keeps what it has compiled: beside the modules or in the user's cache, else in a folder of this process.

Numba refuses to load a kernel where it can write to neither of the first two, as in a container whose user owns nothing.
There kernels are compiled anew in every process, unless NUMBA_CACHE_DIR names a folder that stays.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def provide() -> None:
    """Give numba a folder of its own where it would find none."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if os.environ.get(VARIABLE) or _writable(Path(__file__).parent / "__pycache__") or _writable(user / "numba"):
        return
    try:
        folder = tempfile.mkdtemp(prefix="maskwright-kernels-")
    except OSError:
        return
    os.environ[VARIABLE] = folder
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = folder
    atexit.register(_remove, folder, os.getpid())


def _writable(folder: Path) -> bool:
    """Whether files can be written to the folder, or it can be made."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _remove(folder: str, owner: int) -> None:
    # A process that was forked ends before the one whose folder it is.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
