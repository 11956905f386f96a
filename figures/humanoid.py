"""Humanoid with 10 workers: equal times, heterogeneous times, increased communication."""

from __future__ import annotations

import functools

from figures.common import draw_three_times

SWEEPS = ("humanoid",)
draw = functools.partial(draw_three_times, name="humanoid", what="Humanoid, n = 10")
