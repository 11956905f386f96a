"""Bounds on times, each with its source: what a method is sure to reach, and what no method can beat."""

from jaxnigt.bounds.analysis import supports_allreduce
from jaxnigt.bounds.level_game import block_game, level_game, level_game_order
from jaxnigt.bounds.lower import lower
from jaxnigt.bounds.prescribe import certified_gradient_norm, prescribe
from jaxnigt.bounds.question import Bound
from jaxnigt.bounds.upper import (
    m_synchronous_total,
    malenia_round,
    rennala_round,
    rennala_round_literature,
    upper,
)

__all__ = ["Bound", "block_game", "certified_gradient_norm", "level_game", "level_game_order", "lower"]
__all__ += ["m_synchronous_total", "malenia_round", "prescribe", "rennala_round"]
__all__ += ["rennala_round_literature", "supports_allreduce", "upper"]


def __dir__() -> list[str]:
    return sorted(__all__)
