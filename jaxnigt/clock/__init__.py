"""The virtual clock: who finishes when. It maps a profile and a collection rule to times and counts."""

from jaxnigt.clock.rennala import RESTARTS, rennala
from jaxnigt.clock.synchronous import synchronous
from jaxnigt.clock.types import Rounds

__all__ = ["RESTARTS", "Rounds", "rennala", "synchronous"]
