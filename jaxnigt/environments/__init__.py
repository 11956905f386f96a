"""Environments: Brax and MJX by name, and the differences between workers."""

from jaxnigt.environments.brax import BACKENDS, Environment, make, names
from jaxnigt.environments.heterogeneity import Flipped, Heterogeneity, Physical, flipped
from jaxnigt.environments.mjx_cpu import substituted
from jaxnigt.registry import declare, register

_VERBS = ("reset", "step", "action_size")
declare("environment", lambda found: all(hasattr(found, name) for name in _VERBS))
declare("heterogeneity", Heterogeneity)
register("flipped", "heterogeneity")(flipped)
register("physical", "heterogeneity")(Physical)
register("drawn", "heterogeneity")(Physical.drawn)

__all__ = [
    "BACKENDS",
    "Environment",
    "Flipped",
    "Heterogeneity",
    "Physical",
    "flipped",
    "make",
    "names",
    "substituted",
]


def __dir__() -> list[str]:
    return sorted(__all__)
