"""Humanoid with 10 workers: equal times, heterogeneous times, increased communication."""

from __future__ import annotations

from figures.common import Drawn, Results, compared, draw_returns, scale

SWEEPS = ("humanoid",)


def draw(results: Results) -> Drawn:
    """The figure and its caption."""
    tree = results.panel("humanoid")
    shown = [compared(tree, profile) for profile in ("equal", "heterogeneous", "communication")]
    return Drawn(
        draw_returns(shown),
        "Humanoid, n = 10, under equal times, heterogeneous times and increased communication. "
        + scale(results, "humanoid", tree),
    )
