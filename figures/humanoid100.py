"""Humanoid with 100 workers: equal times, heterogeneous times, increased communication."""

from __future__ import annotations

import functools

from figures.common import draw_three_times

SWEEPS = ("humanoid100",)
draw = functools.partial(draw_three_times, name="humanoid100", what="Humanoid, n = 100")
