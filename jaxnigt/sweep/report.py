"""The table that ends a sweep: what was learnt, how fast, and where it was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show(tree: xr.DataTree, written: list[Path], console: Console) -> None:
    """Print learning, times to the threshold, costs and paths."""
    console.print(_learning(tree))
    console.print(_times(tree))
    if tree.attrs["threshold"] <= tree.attrs["start"]:
        console.print(
            f"a method ended no higher than J(theta_0) = {tree.attrs['start']:.3g}: the threshold and "
            "the times to it say nothing"
        )
    if "grid" in tree.children:
        _speedups(tree, console)
    training, replay = tree.attrs["training_seconds"], tree.attrs["replay_seconds"]
    console.print(
        f"training {training:.1f} s; replay of {tree.attrs['replayed_profiles']:,} profiles for "
        f"{len(tree['methods'].children)} methods {replay:.2f} s = {100 * replay / training:.2f}% of "
        "training, compilation included"
    )
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


def best(dataset: xr.Dataset) -> xr.Dataset:
    """A method at its best hyperparameters."""
    return dataset.isel(
        stepsize=dataset.attrs["best_stepsize_index"], momentum=dataset.attrs["best_momentum_index"]
    )


def _learning(tree: xr.DataTree) -> Table:
    table = Table(title=escape("Learning at the best stepsize: mean return of a trajectory [1]"))
    for column in ("method", "stepsize", "momentum", "seed", "first tenth", "last tenth", "margin"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for label, group in tree["methods"].children.items():
        tuned = best(group.to_dataset())
        for seed in tuned["seed"].values:
            one = tuned.sel(seed=seed)
            first, last = float(one["first_tenth"]), float(one["last_tenth"])
            table.add_row(
                label,
                f"{float(tuned['stepsize']):g}",
                f"{float(tuned['momentum']):g}",
                str(seed),
                f"{first:.2f}",
                f"{last:.2f}",
                f"{last - first:+.2f}",
            )
    return table


def _times(tree: xr.DataTree) -> Table:
    title = escape(f"Virtual seconds to J >= {tree.attrs['threshold']:.3g}, median over seeds [s]")
    table = Table(title=title, caption=f"threshold: {tree.attrs['threshold_rule']}")
    table.add_column("method")
    for label in tree["profiles"].to_dataset()["profile"].values:
        table.add_column(str(label), justify="right")
    for label, group in tree["methods"].children.items():
        times = best(group.to_dataset())["time_to_threshold"].values
        table.add_row(label, *(f"{value:,.0f}" for value in np.median(times, axis=-1)))
    return table


def _speedups(tree: xr.DataTree, console: Console) -> None:
    grid = tree["grid"].to_dataset()
    for label in grid["method"].values:
        values = grid["speedup"].sel({"method": label}).values
        if label == grid.attrs["baseline"]:
            continue
        if not np.isfinite(values).any():
            console.print(
                f"{label} or the baseline misses the threshold, so there is no map of speed-ups"
            )
            continue
        console.print(
            f"speed-up of {label} over {grid.attrs['baseline']} on {values.size:,} profiles: "
            f"median {np.nanmedian(values):.2f}, from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}"
        )
