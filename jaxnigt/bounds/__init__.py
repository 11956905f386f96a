"""Bounds on times, each with its source: what a method is sure to need, and what nobody can beat."""

from jaxnigt.bounds.certificate import certified_gradient_norm
from jaxnigt.bounds.level_game import block_game, level_game, level_game_order
from jaxnigt.bounds.lower_bounds import lower
from jaxnigt.bounds.names import supports_allreduce
from jaxnigt.bounds.parameters import prescribe
from jaxnigt.bounds.result import Bound
from jaxnigt.bounds.round_time import (
    m_synchronous_total,
    malenia_round,
    rennala_round,
    rennala_round_literature,
)
from jaxnigt.bounds.upper_bounds import upper

__all__ = [
    "Bound",
    "block_game",
    "certified_gradient_norm",
    "level_game",
    "level_game_order",
    "lower",
    "m_synchronous_total",
    "malenia_round",
    "prescribe",
    "rennala_round",
    "rennala_round_literature",
    "supports_allreduce",
    "upper",
]
