"""Environments: adapters to Brax and MJX."""

from jaxnigt.environments.brax import BACKENDS, make, names

__all__ = ["BACKENDS", "make", "names"]
