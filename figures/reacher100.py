"""Reacher with 100 workers: equal times, heterogeneous times, increased communication."""

from __future__ import annotations

from figures.common import Drawn, Results, compared, draw_returns, scale

SWEEPS = ("reacher100",)


def draw(results: Results) -> Drawn:
    """The figure and its caption."""
    tree = results.panel("reacher100")
    shown = [compared(tree, profile) for profile in ("equal", "heterogeneous", "communication")]
    return Drawn(
        draw_returns(shown),
        "Reacher, n = 100, under equal times, heterogeneous times and increased communication. "
        + scale(results, "reacher100", tree),
    )
