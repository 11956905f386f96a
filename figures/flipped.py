"""Malenia NIGT against AFedPG on the flipped Humanoid without the entry that tells workers apart."""

from __future__ import annotations

from figures.common import Drawn, Results, compared, draw_returns, each_worker, scale

SWEEPS = ("malenia",)
_PANEL = 1


def draw(results: Results) -> Drawn:
    """J, and the return J_i of each worker's own task."""
    tree = results.panel("malenia", _PANEL)
    whole = compared(tree, "slow", "J, mean of both workers")
    names = {0: r"$J_1$ of worker 1, which sees s", 1: r"$J_2$ of worker 2, which sees -s"}
    shown = [whole, *(each_worker(whole, name, i) for i, name in names.items())]
    return Drawn(
        draw_returns(shown),
        "Flipped Humanoid, n = 2, h = (1, 10), κ = 0, without the entry that tells the workers apart: "
        "one policy has to serve both; beyond the paper. " + scale(results, "malenia", tree),
    )
