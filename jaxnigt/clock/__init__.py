"""The virtual clock: who finishes when. It maps a profile and a rule to times and counts."""

from jaxnigt.clock.arrivals import ArrivalRule, Arrivals, asynchronous
from jaxnigt.clock.communication import Communication, parameter_server, ring_allreduce
from jaxnigt.clock.rounds import Rounds, collect, m_synchronous, malenia, rennala, synchronous
from jaxnigt.clock.rules import Malenia, MSynchronous, Rennala, Rule, Synchronous
from jaxnigt.clock.verify import verify

__all__ = [
    "ArrivalRule",
    "Arrivals",
    "Communication",
    "MSynchronous",
    "Malenia",
    "Rennala",
    "Rounds",
    "Rule",
    "Synchronous",
    "asynchronous",
    "collect",
    "m_synchronous",
    "malenia",
    "parameter_server",
    "rennala",
    "ring_allreduce",
    "synchronous",
    "verify",
]


def __dir__() -> list[str]:
    return sorted(__all__)
