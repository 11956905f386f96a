"""Builds Brax and MJX environments by name, and hides what these libraries print."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from jaxnigt.checks import choice
from jaxnigt.registry import declare, entries, find

if TYPE_CHECKING:
    from brax.envs import Env

Backend = Literal["mjx", "spring", "positional", "generalized"]

BACKENDS = get_args(Backend)

_WARP = "MJX_GPU_DEFAULT_WARP"
"""The environment variable that lets MJX choose Warp's physics on NVIDIA's GPUs."""


@runtime_checkable
class Environment(Protocol):
    """What `policy_gradient` needs of an environment. A `brax.envs.Env` has all of it.

    A state is a pytree with attributes `obs` f32[o], `reward` f32[] and `done`, which is not 0 once the
    episode is over.

    Attributes:
        action_size: a, the number of entries of an action. Actions lie in [-1, 1].
    """

    @property
    def action_size(self) -> int: ...  # noqa: D102

    def reset(self, rng: Any, /) -> Any:
        """The first state of an episode. The key is consumed."""
        ...

    def step(self, state: Any, action: Any, /) -> Any:
        """The state after an action f32[a]."""
        ...


_VERBS = ("reset", "step", "action_size")
declare("environment", lambda found: all(hasattr(found, name) for name in _VERBS))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what Brax, MJX and JAXopt print when they are imported and when they build or trace a model.

    They report that Warp is missing and that they are no longer maintained. A user can act on neither.

    Example:
        >>> with quiet():
        ...     print("hidden")
    """
    logger = logging.getLogger("absl")
    level = logger.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def names() -> tuple[str, ...]:
    """The names that `make` accepts: Brax's own, and yours that you registered here or with Brax.

    Example:
        >>> "humanoid" in names()
        True
    """
    with quiet():
        from brax import envs
    return tuple(sorted({*envs._envs, *entries("environment")}))


def make(name: str = "reacher", backend: Backend = "mjx") -> Env:
    """Build an environment by its name.

    Trace its `reset` and `step` within `substituted()`: the swimmer needs it, the others run faster for
    it. `policy_gradient` does so itself.

    Args:
        name: one of `names()`, such as "reacher" or "humanoid".
        backend: the physics engine, "mjx", "spring", "positional" or "generalized". A class of your own
            that takes no backend does not get it.

    Returns:
        A `brax.envs.Env`. MJX runs its implementation in JAX, on any hardware.

    Raises:
        InputError: an unknown name or backend.

    Example:
        >>> make("reacher", "spring").action_size
        2
    """
    choice("environment", name, names())
    choice("backend", backend, BACKENDS)
    with quiet(), _building():
        from brax import envs

        if name == "swimmer":
            return _swimmer(backend)
        own = find("environment", name)
        takes = inspect.signature(own.maker if own else envs._envs[name]).parameters.values()
        named = any(p.name == "backend" or p.kind is p.VAR_KEYWORD for p in takes)
        given = {"backend": backend} if named else {}
        return own.maker(**given) if own else envs.get_environment(name, **given)


def _swimmer(backend: Backend) -> Env:
    """Brax's swimmer. Brax builds it for "generalized" alone, but the other engines move it too."""
    import brax.envs.swimmer
    from brax.envs import base

    env = brax.envs.swimmer.Swimmer()
    engines = {
        "mjx": base.m_pipeline,
        "spring": base.s_pipeline,
        "positional": base.p_pipeline,
        "generalized": base.g_pipeline,
    }
    env._pipeline, env._backend = engines[backend], backend
    return env


@contextlib.contextmanager
def _building() -> Iterator[None]:
    """Keep MJX from choosing Warp, and MuJoCo from warning of old attributes in Brax's models.

    MJX looks at an environment variable. MuJoCo's warnings go to the screen and into a log file.
    """
    import mujoco as c_library

    mujoco: Any = c_library  # whose stubs lack the two functions
    before, warn = os.environ.get(_WARP), mujoco.get_mju_user_warning()
    os.environ[_WARP] = "false"
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(warn)
        if before is None:
            del os.environ[_WARP]
        else:
            os.environ[_WARP] = before
