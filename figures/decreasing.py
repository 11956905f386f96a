"""Humanoid with 10 workers that all get faster while they compute."""

from __future__ import annotations

from figures.common import Drawn, Results, compared, draw_returns, scale

SWEEPS = ("decreasing",)


def draw(results: Results) -> Drawn:
    """The figure and its caption."""
    tree = results.panel("decreasing")
    return Drawn(
        draw_returns([compared(tree, "decreasing")]),
        "Decreasing computation times, n = 10. " + scale(results, "decreasing", tree),
    )
