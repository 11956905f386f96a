"""What hardware, versions and precision are in use."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import jax
import jax.numpy as jnp

from jaxnigt import __version__, clock
from jaxnigt.profiles import equal
from jaxnigt.sweep import memory
from jaxnigt.sweep.work import use_compilation_cache

_CACHE = "jax_compilation_cache_dir"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "brax", "mujoco", "mujoco-mjx", "numpy", "xarray")


def facts() -> dict[str, str]:
    """One line a fact, measured by computing something where that is possible."""
    use_compilation_cache()
    end = clock.synchronous(equal(2), 1).end
    return {
        "jaxnigt": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cores": str(os.cpu_count()),
        "memory budget": f"{memory.shown(memory.default_budget())} for a unit of a sweep",
        "compilation cache": str(getattr(jax.config, _CACHE)),
        "devices": ", ".join(f"{d.platform}:{d.id} ({d.device_kind})" for d in jax.devices()),
        "clock precision": str(end.dtype),
        "rollout precision": str(jnp.zeros(1).dtype),
    }
