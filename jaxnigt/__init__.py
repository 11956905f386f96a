"""jaxnigt: asynchronous policy gradient aggregation under thousands of worker-speed profiles at once.

Names are imported when they are first used, so that `import jaxnigt` and the command line answer
before JAX has been loaded. No submodule may carry the name of a public function, because importing
it would put the module in the function's place.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxnigt import bounds, clock, environments, methods, parallel, policies, problems, profiles
    from jaxnigt.checks import InputError, InvariantError, Stopped, TrainingDiverged
    from jaxnigt.citing import citation
    from jaxnigt.constants import Constants
    from jaxnigt.methods import Method, nigt, nigt_eval_params
    from jaxnigt.profiles import Profile
    from jaxnigt.replaying import replay, time_to
    from jaxnigt.snapshots import Snapshots
    from jaxnigt.sweep import load
    from jaxnigt.trace import Trace, eval_times
    from jaxnigt.training import train

__version__ = "0.1.0"

__all__ = [
    "Constants",
    "InputError",
    "InvariantError",
    "Method",
    "Profile",
    "Snapshots",
    "Stopped",
    "Trace",
    "TrainingDiverged",
    "bounds",
    "citation",
    "clock",
    "environments",
    "eval_times",
    "load",
    "methods",
    "nigt",
    "nigt_eval_params",
    "parallel",
    "policies",
    "problems",
    "profiles",
    "replay",
    "time_to",
    "train",
]

_MODULES = (
    "bounds",
    "clock",
    "environments",
    "methods",
    "parallel",
    "policies",
    "problems",
    "profiles",
)
_HOME = {
    "Constants": "constants",
    "InputError": "checks",
    "InvariantError": "checks",
    "Method": "methods",
    "Profile": "profiles",
    "Snapshots": "snapshots",
    "Stopped": "checks",
    "Trace": "trace",
    "TrainingDiverged": "checks",
    "citation": "citing",
    "eval_times": "trace",
    "load": "sweep",
    "nigt": "methods",
    "nigt_eval_params": "methods",
    "replay": "replaying",
    "time_to": "replaying",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"jaxnigt.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"jaxnigt.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jaxnigt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
