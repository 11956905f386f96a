"""Sweeps: from a TOML definition to a data set that can be resumed."""

from jaxnigt.sweep.store import load

__all__ = ["load"]
