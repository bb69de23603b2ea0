"""Who may import whom: stages never meet but in `engine`, and leaves know nothing of images."""

import ast
from pathlib import Path

import pytest

import maskwright

ROOT = Path(maskwright.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

LEAVES = {"errors", "files", "layers", "ops", "progress", "types"}
MAY_IMPORT = {
    "errors": set(),
    "types": set(),
    "progress": set(),
    "layers": set(),
    "ops": set(),
    "files": {"errors"},
    "losses": {"errors", "ops", "types"},
    "instances": {"errors", "ops", "types"},
    "data": {"errors", "files", "ops", "types"},
    "models": {"errors", "layers", "types"},
    "cluster": {"errors", "ops", "types"},
    "refine": {"errors", "layers", "ops", "types"},
    "metrics": {"errors", "ops", "types"},
    "report": {"errors", "files", "metrics", "types"},
    "engine": {"cluster", "data", "instances", "losses", "metrics", "models", "refine", "report", *LEAVES},
    "cli": {"cluster", "data", "engine", "instances", "losses", "metrics", "models", "refine", "report", *LEAVES},
    "__main__": {"cli"},
}
"""Part of the package (module or folder) → the other parts that it may import; the package's version anyone may."""


def part_of(module: str) -> str:
    """`data` for `maskwright.data.io`, and nothing for the package itself."""
    return module.split(".")[1] if "." in module else ""


def imported(source: str, package: str) -> set[str]:
    """Modules of maskwright that `source`, which lies in the package `package`, imports anywhere in its code."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from maskwright import data` names the part after `import`; any other import has it in its base.
            found |= {f"{base}.{alias.name}" for alias in node.names} if base == "maskwright" else {base}
    return {name for name in found if name.split(".")[0] == "maskwright"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import maskwright.data.io as io", {"maskwright.data.io"}),
        ("from maskwright.data import io", {"maskwright.data"}),
        ("from maskwright import data, refine", {"maskwright.data", "maskwright.refine"}),
        ("from ..models import build", {"maskwright.models"}),
        ("from .. import models", {"maskwright.models"}),
        ("from . import affinity", {"maskwright.refine"}),
        ("def f():\n    from ..metrics.scores import scores", {"maskwright.metrics.scores"}),
        ("import torch\nfrom maskwrighting import x", set()),
    ],
)
def test_every_way_to_import_is_seen(source: str, expected: set[str]) -> None:
    assert imported(source, "maskwright.refine") == expected


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    relative = path.relative_to(ROOT)
    own = relative.parts[0].removesuffix(".py")
    if own == "__init__":
        return
    assert own in MAY_IMPORT, f"{relative}: say in MAY_IMPORT what the new part may import"
    package = ".".join(["maskwright", *relative.parts[:-1]])
    parts = {part_of(module) for module in imported(path.read_text(encoding="utf-8"), package)}
    assert not (parts - {own, "", "__version__"} - MAY_IMPORT[own])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_opens_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
