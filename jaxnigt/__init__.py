"""jaxnigt: asynchronous policy gradient aggregation under thousands of worker-speed profiles at once.

Names are imported when they are first used, so that `import jaxnigt` and the command line answer before
JAX has been loaded.
"""

# ruff: noqa: F401  (type checkers need the imports, `_HOME` says which names are public)

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
    from jaxnigt.training import Snapshots, Trace, eval_times, parallel, replay, time_to, train

__version__ = "0.1.0"

_HOME = {
    "Constants": "constants",
    "InputError": "checks",
    "InvariantError": "checks",
    "Method": "methods",
    "Problem": "problems",
    "Profile": "profiles",
    "Snapshots": "training",
    "Stopped": "checks",
    "Trace": "training",
    "TrainingDiverged": "checks",
    "bounds": "",
    "citation": "methods.named",
    "clock": "",
    "environments": "",
    "eval_times": "training",
    "figures": "",
    "load": "sweep",
    "methods": "",
    "nigt": "methods",
    "nigt_eval_params": "methods",
    "parallel": "training",
    "policies": "",
    "problems": "",
    "profiles": "",
    "register": "registry",
    "replay": "training",
    "sweep": "",
    "time_to": "training",
    "train": "training",
}
"""Every public name, and the module that it comes from; "" where the name is a module itself."""

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxnigt' has no attribute {name!r}")
    if not _HOME[name]:
        return importlib.import_module(f"jaxnigt.{name}")
    value = getattr(importlib.import_module(f"jaxnigt.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
