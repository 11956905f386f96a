"""What of the code decides the numbers of a unit: part of its key, so that nothing stale is reused."""

from __future__ import annotations

import ast
import errno
import functools
import hashlib
import inspect
import re
import sys
import sysconfig
import uuid
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jaxnigt.checks import InputError
from jaxnigt.environments.brax import quiet
from jaxnigt.registry import KEYS, find

_PACKAGE = Path(__file__).parent.parent
_OTHERS = ("cli.py", "__main__.py", "figures.py", "bounds/", "sweep/", "training/climb.py")
"""Files and folders that train nothing, but for `_BUT`."""
_BUT = ("sweep/build.py", "sweep/work.py")

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

PACKAGES = ("jax", "jaxlib", "flax", "optax", "brax", "mujoco", "mujoco-mjx", "numpy")
"""Whose versions can change numbers."""


@functools.cache
def code_version() -> str:
    """A digest of all code that training and the clock run, and of the packages below it.

    Comments, docstrings and layout do not count: the digest is taken of syntax trees.
    """
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = path.relative_to(_PACKAGE).as_posix()
        if name in _BUT or not name.startswith(_OTHERS):
            digest.update(f"{name}\n{_tree(path)}\n".encode())
    for package in PACKAGES:
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    return digest.hexdigest()[:16]


def settings() -> dict[str, Any]:
    """What is in force in JAX and decides numbers: the kind of its random numbers, and precision."""
    names = (
        "jax_default_prng_impl",
        "jax_threefry_partitionable",
        "jax_enable_x64",
        "jax_default_matmul_precision",
    )
    return {name: getattr(jax.config, name) for name in names}


def contents(files: Sequence[str]) -> list[str]:
    """Digests of files that a user's modules read, as they are now.

    Raises:
        InputError: one that cannot be read.
    """
    found = []
    for name in files:
        try:
            if Path(name).exists() and not Path(name).is_file():  # which may have no end
                raise OSError(errno.EINVAL, "it is not a file")
            with Path(name).open("rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest()[:16])
        except OSError as error:
            raise InputError(f"depends: {name} cannot be read ({error.strerror}).") from None
    return found


def _tree(path: Path) -> str:
    """The syntax tree of a file without docstrings and without what exceptions say."""
    return _written(ast.parse(path.read_text(encoding="utf-8")))


def _written(node: Any) -> str:
    """A part of a syntax tree in words, the same under every version of Python."""
    if isinstance(node, list):
        kept = [x for x in node if not (isinstance(x, ast.Expr) and isinstance(x.value, ast.Constant))]
        return f"[{', '.join(map(_written, kept))}]"
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        node = ast.Raise(node.exc.func, node.cause)
    if not isinstance(node, ast.AST):
        return repr(node)
    # What is empty is left out, as later versions add fields that most programs leave empty.
    fields = {name: value for name, value in ast.iter_fields(node) if name != "kind"}
    if not isinstance(node, ast.Constant):
        fields = {name: value for name, value in fields.items() if value not in (None, [])}
    return f"{type(node).__name__}({', '.join(f'{k}={_written(v)}' for k, v in fields.items())})"


def sources(*tables: Any) -> list[str]:
    """Digests of the user's files that define some classes and what some tables name.

    What has no file has a token. What comes with jaxnigt or brax is left out, as their versions and code
    are part of the key already.
    """
    found = set()
    for maker in _makers(tables):
        whole = maker
        while isinstance(whole, functools.partial):
            given = jax.tree.leaves((whole.args, dict(whole.keywords)), is_leaf=lambda x: x is None)
            found |= {_argument(i, value, maker) for i, value in enumerate(given)}
            whole = whole.func
        if whole.__module__.partition(".")[0] not in ("brax", "jaxnigt"):
            file = _file(whole)
            found.add(_digest(file) if file else _token(maker))
    return sorted(found)


def _argument(place: int, value: Any, maker: Any) -> str:
    """A word for an argument of a partial; where nothing is known of one, nobody else has the word."""
    if hasattr(value, "__array__"):  # whose text leaves out the middle of what is long
        array = np.asarray(value)
        return f"{place} {array.dtype}{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"
    file = _file(value) if callable(value) else None
    if file:
        return f"{place} {value.__qualname__} {_digest(file)}"
    words = repr(value)
    return f"{place} {_token(maker) if _ADDRESS.search(words) else words}"


def _makers(table: Any) -> list[Any]:
    """The classes and functions that a table and the tables in it name."""
    if isinstance(table, list | tuple):
        return [maker for part in table for maker in _makers(part)]
    if not isinstance(table, dict):
        return [table] if isinstance(table, type) and table is not type(None) else []
    entries = [find(kind, table.get(key)) for kind, key in KEYS.items()]
    found: list[Any] = [entry.maker for entry in entries if entry]
    if "environment" in table:
        with quiet():
            from brax import envs
        entry = find("environment", table["environment"])
        maker = entry.maker if entry else envs._envs.get(table["environment"])
        found += [maker] if maker else []
    for key, value in table.items():
        # A word may stand for a thing as well, such as rule = "half".
        words = [find(kind, value) for kind in KEYS] if key not in KEYS.values() else []
        found += [entry.maker for entry in words if entry] or _makers(value)
    return found


def _file(maker: Any) -> str | None:
    """The file that defines a maker, None for what was typed in a notebook."""
    try:
        file = inspect.getsourcefile(maker)
    except TypeError:
        return None
    return file if file and Path(file).is_file() else None


@functools.cache
def _token(maker: Any) -> str:
    """A word for a maker without a file, which another process or another definition does not share."""
    return uuid.uuid4().hex[:16]


_DIGESTS: dict[str, str] = {}


def _digest(file: str) -> str:
    # Of what was there when it was first asked for, since an edit during a run is not what is trained.
    if file not in _DIGESTS:
        look(file)
    return _DIGESTS[file]


def look(file: str) -> None:
    """Take the digest of a file, and of the modules of the user's that it imports, as they are now."""
    digest = hashlib.sha256()
    for path in (file, *(str(module.__file__) for module in imported(file))):
        digest.update(Path(path).read_bytes())
    _DIGESTS[file] = digest.hexdigest()[:16]


def edited(file: str) -> bool:
    """Whether a file, or a module that it imports, is another than when it was looked at before."""
    before = _DIGESTS.get(file)
    look(file)
    return before is not None and before != _DIGESTS[file]


def imported(file: str) -> list[ModuleType]:
    """The modules that a file imports, and those that they import, each after what it needs.

    Those that were installed, or that come with Python or with jaxnigt, are left out.
    """
    found: dict[str, ModuleType] = {}
    _gather(Path(file), found)
    return list(found.values())


def _gather(path: Path, found: dict[str, ModuleType], package: str = "") -> None:
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):  # it cannot be run either, which says more of it
        return
    for node in nodes:
        names = [x.name for x in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            whole = ".".join([*above, *([node.module] if node.module else [])])
            names = [whole, *(f"{whole}.{name}" for name in names)]
        for name in names:
            module = sys.modules.get(name)
            own = getattr(module, "__file__", None)
            if module and own and name not in found and own.endswith(".py") and _is_users(Path(own)):
                found[name] = module  # so that modules which import one another end
                _gather(Path(own), found, module.__package__ or "")
                found[name] = found.pop(name)


def _is_users(path: Path) -> bool:
    installed = [
        Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    ]
    return not any(path.resolve().is_relative_to(x.resolve()) for x in (*installed, _PACKAGE))
