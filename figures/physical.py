"""Ten Hoppers with gravities and masses of their own."""

from __future__ import annotations

from figures.common import Drawn, Panel, Results, compared, draw_returns, scale

SWEEPS = ("physical",)


def draw(results: Results) -> Drawn:
    """J, and the return of the worker that is served worst."""
    tree = results.panel("physical")
    whole = compared(tree, "heterogeneous", "J, mean of ten workers")
    worst = {
        label: line._replace(
            data=line.data.assign(objective=line.data["worker_objective"].min("problem"))
        )
        for label, line in whole.lines.items()
    }
    return Drawn(
        draw_returns([whole, Panel(r"$J_i$ of the worker served worst", worst, None)]),
        "Physical heterogeneity, beyond the paper: gravity and masses drawn for each of ten workers, "
        "log-deviation 0.4 each, h = κ = √i. Rennala NIGT weighs workers by their speed, so what it "
        "maximises is not J. " + scale(results, "physical", tree),
    )
