"""Sweeps: from a TOML definition to a data set that can be resumed."""

from jaxnigt.sweep.execute import run
from jaxnigt.sweep.store import load, panels

__all__ = ["load", "panels", "run"]


def __dir__() -> list[str]:
    return sorted(__all__)
