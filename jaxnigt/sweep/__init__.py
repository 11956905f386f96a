"""Sweeps: from a TOML definition to a data set that can be resumed."""

from jaxnigt.sweep.store import load, panels

__all__ = ["load", "panels"]
