"""Brax's swimmer on every engine.

Brax builds it for the generalized engine alone, although the others move it as well, and its fluid
calls `jnp.clip` by an argument name that JAX no longer has.
"""

from __future__ import annotations

import inspect
import types
from typing import TYPE_CHECKING

import jax.numpy as jnp

if TYPE_CHECKING:
    from brax.envs import Env


def swimmer(backend: str) -> Env:
    """A swimmer moved by the "mjx", "spring", "positional" or "generalized" engine."""
    import brax.envs.swimmer
    from brax import fluid
    from brax.envs import base

    if "a_min" not in inspect.signature(jnp.clip).parameters:
        clip = {"clip": lambda x, a_min: jnp.maximum(x, a_min)}
        fluid.jp = types.SimpleNamespace(**{**vars(jnp), **clip})
    env = brax.envs.swimmer.Swimmer()
    engines = {
        "mjx": base.m_pipeline,
        "spring": base.s_pipeline,
        "positional": base.p_pipeline,
        "generalized": base.g_pipeline,
    }
    env._pipeline, env._backend = engines[backend], backend
    return env
