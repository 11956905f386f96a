"""Tuned complexity of what a sweep has trained: the least time of each method to each of many levels.

The table `[complexity]` of a definition asks for it. The methods' grids are the definition's, so nothing
grows by itself as in `jaxnigt.complexity`; an end of a grid that is best is marked.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from jaxnigt.sweep import build
from jaxnigt.sweep.plan import Panel
from jaxnigt.sweep.schema import Definition
from jaxnigt.sweep.selection import leaf_axes, threshold
from jaxnigt.training import tuning
from jaxnigt.training.passages import band
from jaxnigt.training.times import eval_times


def tuned(definition: Definition, panel: Panel, named: Mapping[str, xr.Dataset]) -> xr.Dataset | None:
    """What `jaxnigt.complexity` returns, with an axis of communication models in front.

    A label is a table of the definition with all that it varies. None where fewer than two seeds were
    trained for every method.
    """
    table = definition.complexity
    assert table is not None
    seeds = sorted(set.intersection(*(set(data["seed"].values.tolist()) for data in named.values())))
    if len(seeds) < 2:
        return None
    named = {label: data.sel(seed=seeds) for label, data in named.items()}
    by_norm = panel.problem.get("measure") == "gradient"
    shared = threshold(list(named.values()), table.share, highest=True)[1]
    levels = np.asarray(table.level or shared, np.float64)
    plans = [plan for plan in panel.methods if plan.label in named]
    groups = dict.fromkeys(plan.title for plan in plans)

    def of_model(model: str) -> xr.Dataset:
        parts: list[xr.Dataset] = []
        for title in groups:
            own = [plan for plan in plans if plan.title == title]
            found = []
            for grid, plan in enumerate(own):
                batch = build.method(plan.table, panel.workers).collection.batch or 0
                one = named[plan.label].sel(comm_model=model)
                found.append(_passages(one, -levels if by_norm else levels, float(batch), grid))
            parts.append(tuning.report(found, len(seeds)))
        return xr.concat(parts, "label")

    models = list(next(iter(named.values()))["comm_model"].values)
    found = xr.concat([of_model(model) for model in models], "comm_model")
    half = len(seeds) // 2
    return found.assign_coords(
        comm_model=models,
        label=list(groups),
        profile=next(iter(named.values()))["profile"].values,
        level=("level", levels, {"units": "1", "long_name": "||grad J||" if by_norm else "J"}),
    ).assign_attrs(
        methods=[next(p.table["name"] for p in plans if p.title == title) for title in groups],
        accuracy="gradient" if by_norm else "objective",
        gradients=table.gradients,
        tuned_on=seeds[:half],
        reported_on=seeds[half:],
        draws=definition.training.draws,
        coverage=band(len(seeds) - half)[1],
    )


def _passages(data: xr.Dataset, thresholds: np.ndarray, batch: float, grid: int) -> tuning.Passages:
    """First passages of a method under one communication model."""
    leaves, order = leaf_axes(data), ("profile", "draw")
    spent = data["samples"].astype(np.float64).cumsum("round").broadcast_like(data["time"])
    seconds = data["eval_time"].expand_dims([d for d in order if d not in data["eval_time"].dims])
    spent = spent.expand_dims([d for d in order if d not in spent.dims])
    seconds = seconds.transpose(*order, "evaluation").values
    gradients = eval_times(spent.transpose(*order, "round").values, data["eval_round"].values)
    rounds = np.broadcast_to(data["eval_round"].values.astype(float), seconds.shape)
    values = data["objective"]
    values = values.expand_dims([d for d in order if d not in values.dims])
    values = values.transpose("profile", *leaves, "draw", "seed", "evaluation").values
    profiles, (draws, runs, points) = values.shape[0], values.shape[-3:]
    columns = np.meshgrid(*(data[name].values.astype(float) for name in leaves), indexing="ij")
    return tuning.passages(
        values.astype(np.float64).reshape(profiles, -1, draws, runs, points),
        np.stack([seconds, gradients, rounds]),
        thresholds,
        {name: column.ravel() for name, column in zip(leaves, columns, strict=True)},
        batch,
        grid,
    )
