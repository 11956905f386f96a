"""What of the code decides the numbers of a unit: part of its key, so that nothing stale is reused."""

from __future__ import annotations

import ast
import functools
import hashlib
from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_OTHERS = (
    "cli.py",
    "__main__.py",
    "citing.py",
    "doctor.py",
    "figures.py",
    "bounds",
    "sweep",
    "hard_run.py",
    "hard_times.py",
)
"""Files and folders that train nothing."""

PACKAGES = ("jax", "jaxlib", "flax", "optax", "brax", "mujoco", "mujoco-mjx", "numpy")
"""Whose versions can change numbers."""


@functools.cache
def code_version() -> str:
    """A digest of all code that training and the clock run, and of the packages below it.

    Comments, docstrings and layout do not count: the digest is taken of syntax trees.
    """
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = path.relative_to(_PACKAGE)
        if name.parts[0] not in _OTHERS or name.name == "build.py":
            digest.update(f"{name}\n{_tree(path)}\n".encode())
    for package in PACKAGES:
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    return digest.hexdigest()[:16]


def _tree(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [x for x in body if not _docstring(x)]  # pyright: ignore[reportAttributeAccessIssue]
    return ast.dump(tree)


def _docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
