"""Bounds on times, each with its source."""

from jaxnigt.bounds.round_time import (
    m_synchronous_total,
    malenia_round,
    rennala_round,
    rennala_round_literature,
)

__all__ = [
    "m_synchronous_total",
    "malenia_round",
    "rennala_round",
    "rennala_round_literature",
]
