"""Malenia NIGT against AFedPG on the flipped Humanoid as in the paper."""

from __future__ import annotations

import functools

from figures.common import draw_flipped

SWEEPS = ("malenia",)
_WORDS = "with the entry that tells the workers apart."
draw = functools.partial(draw_flipped, index=0, words=_WORDS)
