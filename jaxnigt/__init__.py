"""jaxnigt: asynchronous policy gradient aggregation under thousands of worker-speed profiles at once.

Names are imported when they are first used, so that `import jaxnigt` and the command line answer before
JAX has been loaded.
"""

# ruff: noqa: F401  (type checkers need the imports, `_MODULES` and `_NAMES` say what is public)

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxnigt import (
        bounds,
        clock,
        environments,
        figures,
        methods,
        policies,
        problems,
        profiles,
        sweep,
    )
    from jaxnigt.checks import InputError, InvariantError, Stopped, TrainingDiverged
    from jaxnigt.constants import Constants
    from jaxnigt.methods import Method, nigt, nigt_eval_params
    from jaxnigt.methods.named import citation
    from jaxnigt.problems import Problem
    from jaxnigt.profiles import Profile
    from jaxnigt.registry import register
    from jaxnigt.sweep import load
    from jaxnigt.training import (
        Snapshots,
        Trace,
        complexity,
        eval_times,
        parallel,
        replay,
        time_to,
        train,
    )

__version__ = "0.1.0"

_MODULES = (
    *("bounds", "clock", "environments", "figures", "methods", "policies", "problems", "profiles"),
    "sweep",
)
_NAMES = {
    "checks": ("InputError", "InvariantError", "Stopped", "TrainingDiverged"),
    "constants": ("Constants",),
    "methods": ("Method", "nigt", "nigt_eval_params"),
    "methods.named": ("citation",),
    "problems": ("Problem",),
    "profiles": ("Profile",),
    "registry": ("register",),
    "sweep": ("load",),
    "training": (
        "Snapshots",
        "Trace",
        "complexity",
        "eval_times",
        "parallel",
        "replay",
        "time_to",
        "train",
    ),
}
_HOME = {name: home for home, names in _NAMES.items() for name in names}

__all__ = sorted([*_MODULES, *_HOME])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"jaxnigt.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'jaxnigt' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"jaxnigt.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
