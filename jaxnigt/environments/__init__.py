"""Environments: adapters to Brax and MJX, and what differs from worker to worker."""

from jaxnigt.environments.brax import BACKENDS, make, names
from jaxnigt.environments.heterogeneity import Flipped, Heterogeneity, Physical, flipped

__all__ = ["BACKENDS", "Flipped", "Heterogeneity", "Physical", "flipped", "make", "names"]
