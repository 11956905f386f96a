"""Malenia NIGT against AFedPG on the flipped Humanoid without the entry that tells workers apart."""

from __future__ import annotations

import functools

from figures.common import draw_flipped

SWEEPS = ("malenia",)
_WORDS = (
    "without the entry that tells the workers apart: one policy has to serve both; beyond the paper."
)
draw = functools.partial(draw_flipped, index=1, words=_WORDS)
