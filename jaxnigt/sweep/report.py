"""The tables that end a sweep: what was learnt, how fast, and where it was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxnigt.analysis import best
from jaxnigt.sweep.store import panels


def show(tree: xr.DataTree, written: list[Path], console: Console) -> None:
    """Print learning, times to the threshold, costs and paths."""
    for label, panel in panels(tree).items():
        if label:
            console.rule(escape(label))
        _panel(panel, console)
    training, replay = tree.attrs["training_seconds"], tree.attrs["replay_seconds"]
    share = f" = {100 * replay / training:.2f}% of training" if training else ""
    console.print(
        f"training {training:.1f} s; replay of {tree.attrs['replayed_profiles']:,} profiles "
        f"{replay:.2f} s{share}, compilation included"
    )
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


def _panel(tree: xr.DataTree, console: Console) -> None:
    methods = {str(k): group.to_dataset() for k, group in tree["methods"].children.items()}
    console.print(_learning({label: best(dataset) for label, dataset in methods.items()}))
    for model in next(iter(methods.values()))["comm_model"].values:
        chosen = {label: best(dataset.sel(comm_model=model)) for label, dataset in methods.items()}
        console.print(_times(tree, chosen, str(model)))
    if np.ravel(tree.attrs["thresholds"])[0] <= tree.attrs["start"]:
        console.print(
            f"a method ended no higher than J(theta_0) = {tree.attrs['start']:.3g}: the threshold and "
            "the times to it say nothing"
        )
    if "grid" in tree.children:
        _speedups(tree["grid"].to_dataset(), console)


def _learning(methods: dict[str, xr.Dataset]) -> Table:
    table = Table(
        title=escape("Learning at the best stepsize: mean undiscounted return of a trajectory [1]")
    )
    for column in ("method", "stepsize", "momentum", "seed", "first tenth", "last tenth", "margin"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for label, dataset in methods.items():
        # Along profiles, of which each has its own best stepsize, the mean over them.
        along = [dim for dim in dataset["first_tenth"].dims if dim != "seed"]
        for seed in dataset["seed"].values:
            one = dataset.sel(seed=seed)
            first, last = float(one["first_tenth"].mean(along)), float(one["last_tenth"].mean(along))
            leaves = (_one(dataset[name]) for name in ("stepsize", "momentum"))
            table.add_row(
                label, *leaves, str(seed), f"{first:.2f}", f"{last:.2f}", f"{last - first:+.2f}"
            )
    return table


def _one(values: xr.DataArray) -> str:
    """A number, or from where to where it goes."""
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _times(tree: xr.DataTree, methods: dict[str, xr.Dataset], model: str) -> Table:
    level = float(np.ravel(tree.attrs["thresholds"])[0])
    title = f"Virtual seconds to J >= {level:.3g}, median over seeds, {model} [s]"
    table = Table(title=escape(title))
    table.add_column("method")
    for label in tree["profiles"].to_dataset()["profile"].values:
        table.add_column(escape(str(label)), justify="right")
    for label, dataset in methods.items():
        times = dataset["time_to_threshold"].isel(threshold=0).median("seed").values
        table.add_row(escape(label), *(f"{value:,.0f}" for value in times))
    return table


def _speedups(grid: xr.Dataset, console: Console) -> None:
    for model in grid["comm_model"].values:
        for label in grid["method"].values:
            values = grid["speedup"].isel(threshold=0).sel({"method": label, "comm_model": model}).values
            if label == grid.attrs["baseline"]:
                continue
            if not np.isfinite(values).any():
                console.print(
                    f"{label} or the baseline misses the threshold, so there is no map of speed-ups"
                )
                continue
            console.print(
                f"speed-up of {label} over {grid.attrs['baseline']} on {values.size:,} profiles "
                f"({model}): median {np.nanmedian(values):.2f}, from {np.nanmin(values):.2f} to "
                f"{np.nanmax(values):.2f}"
            )
