"""Environments of one's own in a sweep: the file that registers them, and its part in a unit's key."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from jaxnigt.checks import InputError
from jaxnigt.environments.brax import quiet


def run(path: str) -> None:
    """Run a Python file, which registers environments with brax, once in a process.

    Raises:
        InputError: a file that is not there or that raises.
    """
    _run(str(Path(path).resolve()))


@functools.cache
def _run(whole: str) -> None:
    # A name that no other module has, as two files may be called alike.
    name = f"_{Path(whole).stem}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, whole)
    if spec is None or spec.loader is None or not Path(whole).is_file():
        raise InputError(f"module: got {whole!r}, a Python file is allowed.")
    with quiet():  # or the file's own import of it makes noise
        import brax.envs  # noqa: F401
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"module: {whole} raises {type(error).__name__}: {error}.") from error


def code(environment: str) -> str | None:
    """A digest of the file of an environment's class; None for those of brax and of jaxnigt.

    Their versions and code are part of a unit's key already; a file of the user's has no version.
    """
    with quiet():
        from brax import envs
    registered: Any = envs._envs.get(environment)
    while isinstance(registered, functools.partial):
        registered = registered.func
    if registered is None or registered.__module__.partition(".")[0] in ("brax", "jaxnigt"):
        return None
    return _digest(inspect.getsourcefile(registered) or "")


@functools.cache
def _digest(file: str) -> str:
    # Of what was there when it was first asked for, since an edit during a run is not what is trained.
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
