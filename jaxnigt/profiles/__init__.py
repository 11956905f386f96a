"""Profiles: how fast each worker computes and communicates. They say nothing of what is computed."""

from jaxnigt.profiles import noise
from jaxnigt.profiles.families import (
    decreasing,
    equal,
    linear,
    lognormal,
    outages,
    power_law,
    stragglers,
)
from jaxnigt.profiles.noise import Noise
from jaxnigt.profiles.profile import Profile
from jaxnigt.profiles.table import from_csv

__all__ = [
    "Noise",
    "Profile",
    "decreasing",
    "equal",
    "from_csv",
    "linear",
    "lognormal",
    "noise",
    "outages",
    "power_law",
    "stragglers",
]


def __dir__() -> list[str]:
    return sorted(__all__)
