"""The virtual clock: who finishes when. It maps a profile and a collection rule to times and counts."""

from jaxnigt.clock.arrivals import asynchronous
from jaxnigt.clock.communication import parameter_server, ring_allreduce
from jaxnigt.clock.malenia import malenia
from jaxnigt.clock.rennala import RESTARTS, rennala
from jaxnigt.clock.synchronous import m_synchronous, synchronous
from jaxnigt.clock.types import Arrivals, Rounds
from jaxnigt.clock.verify import verify

__all__ = [
    "RESTARTS",
    "Arrivals",
    "Rounds",
    "asynchronous",
    "m_synchronous",
    "malenia",
    "parameter_server",
    "rennala",
    "ring_allreduce",
    "synchronous",
    "verify",
]
