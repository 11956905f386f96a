"""Environments: Brax and MJX by name, and the differences between workers."""

from jaxnigt.environments.brax import BACKENDS, Environment, make, names
from jaxnigt.environments.heterogeneity import Flipped, Heterogeneity, Physical, flipped
from jaxnigt.environments.mjx_cpu import substituted

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
