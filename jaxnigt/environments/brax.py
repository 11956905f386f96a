"""Brax and MJX environments by name, without the noise that importing them makes."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jaxnigt.checks import InputError
from jaxnigt.environments.swimmer import swimmer

if TYPE_CHECKING:
    from brax.envs import Env

_WARP = "MJX_GPU_DEFAULT_WARP"
"""What tells MJX to take Warp's physics on NVIDIA's GPUs; brax leaves the choice to it."""

BACKENDS = ("mjx", "spring", "positional", "generalized")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what third parties print on import and while building or tracing an environment.

    mjx reports that warp is missing on standard output; jaxopt and brax warn of their own age.
    None of it is something that a user of ours can act on.
    """
    logger, level = logging.getLogger("absl"), logging.getLogger("absl").level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def names() -> tuple[str, ...]:
    """Environments that can be built by name, those a user registered with brax included."""
    with quiet():
        from brax import envs
    return tuple(sorted(envs._envs))


def make(name: str, backend: str = "mjx") -> Env:
    """Build an environment.

    Args:
        name: a name registered with brax, such as "reacher" or "humanoid".
        backend: "mjx", "spring", "positional" or "generalized"; a class registered by a user need not
            take one.

    Raises:
        InputError: an unknown name or backend.
    """
    if name not in names():
        raise InputError(f"environment: got {name!r}, allowed are {', '.join(names())}.")
    if backend not in BACKENDS:
        raise InputError(f"backend: got {backend!r}, allowed are {', '.join(BACKENDS)}.")
    with quiet(), _no_warnings_of_mujoco(), _physics_in_jax():
        from brax import envs

        if name == "swimmer":
            return swimmer(backend)
        takes = inspect.signature(envs._envs[name]).parameters.values()
        named = any(p.name == "backend" or p.kind is p.VAR_KEYWORD for p in takes)
        return envs.get_environment(name, **({"backend": backend} if named else {}))


@contextlib.contextmanager
def _physics_in_jax() -> Iterator[None]:
    """Have MJX take its implementation in JAX for a model, on any hardware and whatever it prefers."""
    before = os.environ.get(_WARP)
    os.environ[_WARP] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WARP]
        else:
            os.environ[_WARP] = before


@contextlib.contextmanager
def _no_warnings_of_mujoco() -> Iterator[None]:
    """Reading models of Brax warns of old attributes, on screen and in a file in the working folder."""
    import mujoco as c_library

    mujoco: Any = c_library  # whose stubs lack these three
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
