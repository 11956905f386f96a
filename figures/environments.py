"""Reacher, Walker2d and Hopper with 10 workers under increased communication."""

from __future__ import annotations

from figures.common import Drawn, Results, compared, draw_returns, scale

SWEEPS = ("reacher", "walker2d", "hopper")


def draw(results: Results) -> Drawn:
    """The figure and its caption."""
    trees = {name: results.panel(name) for name in SWEEPS}
    shown = [compared(tree, "communication", name.capitalize()) for name, tree in trees.items()]
    words = [scale(results, name, tree) for name, tree in trees.items()]
    title = "Increased communication, h = √i, κ = √i d^(1/4), n = 10, on three environments."
    return Drawn(draw_returns(shown), "\n\n".join([title, *words]))
