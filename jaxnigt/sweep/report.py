"""The tables at the end of a sweep: learning, choices of hyperparameters, times and speed-ups."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxnigt.sweep import store
from jaxnigt.sweep.screen import table_of
from jaxnigt.sweep.selection import (
    at_edge,
    best,
    final,
    final_elsewhere,
    leaf_axes,
    missed,
    over_runs,
    runs_in_words,
)
from jaxnigt.training.tuning import leaders, slopes

_FEW = 8
"""Profiles that have a column each in a terminal."""

_QUANTILES = {"least": 0.0, "quarter": 0.25, "median": 0.5, "three quarters": 0.75, "most": 1.0}


def show_results(tree: xr.DataTree, written: list[Path], console: Console) -> None:
    """Print learning, times to the threshold, costs and paths."""
    for label, panel in store.panels(tree).items():
        if label:
            console.rule(escape(label))
        _show_panel(panel, console)
        asked = json.loads(tree.attrs["definition"]).get("complexity")
        if asked and "complexity" not in panel.children:
            console.print("complexity: no two seeds were trained for every method, so nothing is tuned")
    training, replay = tree.attrs["training_seconds"], tree.attrs["replay_seconds"]
    share = f" = {100 * replay / training:.2f}% of training" if training else ""
    console.print(
        f"training {training:.1f} s; replay of {tree.attrs['replayed_profiles']:,} profiles "
        f"{replay:.2f} s{share}, compilation included"
    )
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True)


def _show_panel(tree: xr.DataTree, console: Console) -> None:
    methods = {str(k): group.to_dataset() for k, group in tree["methods"].children.items()}
    if "complexity" in tree.children:
        _show_complexity(tree["complexity"].to_dataset(), console)
        return
    console.print(_learning({label: best(dataset) for label, dataset in methods.items()}))
    _show_choices(methods, console)
    level, start = float(np.ravel(tree.attrs["thresholds"])[0]), tree.attrs["start"]
    profiles = tree["profiles"].to_dataset()["profile"].values
    runs = runs_in_words(next(iter(methods.values())))
    for model in next(iter(methods.values()))["comm_model"].values:
        title = f"Virtual seconds to J >= {level:.3g}, median over {runs}, {model} [s]"
        times = {}
        for label, dataset in methods.items():
            reached = best(dataset.sel(comm_model=model))["time_to_threshold"].isel(threshold=0)
            times[label] = over_runs(reached).median("run").values
        console.print(_few(title, times, profiles) if len(profiles) <= _FEW else _many(title, times))
    if level <= start:
        console.print(
            f"a method ended no higher than J(theta_0) = {start:.3g}: the threshold and the times to it "
            "say nothing"
        )
    if "grid" in tree.children:
        _show_speedups(tree["grid"].to_dataset(), console)


def _show_complexity(found: xr.Dataset, console: Console) -> None:
    """The least time to each level, what was chosen there, and exponents where levels are accuracies."""
    levels = found["level"].values
    what = "||grad J|| <=" if found.attrs["accuracy"] == "gradient" else "J >="
    for model, profile in itertools.product(found["comm_model"].values, found["profile"].values):
        one = found.sel(comm_model=model, profile=profile)
        words = f"Least virtual seconds to {what} level, {profile}, {model}, tuned for each level [s]"
        table = table_of(words, "method", *(f"{level:.3g}" for level in levels), "M")
        for label in one["label"].values:
            own = one.sel(label=label)
            marks = np.where(own["inside"] & own["resolved"], "", "*")
            times = (f"{t:,.4g}{mark}" for t, mark in zip(own["time"].values, marks, strict=True))
            batches = own["batch"].values
            known = [f"{batch:g}" for batch in np.unique(batches[np.isfinite(batches)])]
            table.add_row(escape(str(label)), *times, " ".join(known) or "-")
        console.print(table)
    chance = 100 * found.attrs["coverage"]
    console.print(
        f"* less may be possible: the best stepsize stands at an end of its grid, or the level is "
        f"crossed before the second evaluation. Bands hold the median with a chance of {chance:.0f}%. "
        f"Tuned on seeds {_listed(found.attrs['tuned_on'])}, reported on "
        f"{_listed(found.attrs['reported_on'])}.",
        soft_wrap=True,
    )
    if found.sizes["label"] > 1:
        _show_leaders(found, console)
    if found.attrs["accuracy"] == "gradient" and len(levels) > 2:
        for of in ("time", "gradients"):
            _show_slopes(found, of, console)


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, np.atleast_1d(seeds)))


def _show_leaders(found: xr.Dataset, console: Console) -> None:
    """The map of who is first: over levels, profiles and networks."""
    map_, levels = leaders(found), found["level"].values
    title = "First at each level, the second's time over its own, and who ties with it"
    table = table_of(title, "profile, network", *(f"{level:.3g}" for level in levels))
    for model, profile in itertools.product(found["comm_model"].values, found["profile"].values):
        one = map_.sel(comm_model=model, profile=profile)
        cells = []
        for k in range(len(levels)):
            at = one.isel(level=k)
            tied = [str(label) for label in at["label"].values[at["ties"].values]]
            words = [str(at["first"].item()), f"{float(at['margin']):.2f}", *(f"= {x}" for x in tied)]
            cells.append(escape("\n".join(words)) if words[0] else "-")
        table.add_row(escape(f"{profile}, {model}"), *cells, end_section=True)
    console.print(table)


def _show_slopes(found: xr.Dataset, of: str, console: Console) -> None:
    fits = slopes(found, of)
    pairs = list(itertools.product(found["comm_model"].values, found["profile"].values))
    title = f"Exponents of 1 / epsilon in {of}, with standard errors [1]"
    table = table_of(title, "method", *(f"{profile}, {model}" for model, profile in pairs))
    for label in found["label"].values:
        own = (fits.sel(label=label, comm_model=model, profile=profile) for model, profile in pairs)
        each = ((float(x["slope"]), float(x["error"])) for x in own)
        cells = ("-" if np.isnan(slope) else f"{slope:.2f} ± {error:.2f}" for slope, error in each)
        table.add_row(escape(str(label)), *cells)
    console.print(table)


def _few(title: str, times: dict[str, np.ndarray], profiles: np.ndarray) -> Table:
    """The time of each method under each profile."""
    table = table_of(title, "method", *map(str, profiles))
    for label, values in times.items():
        table.add_row(escape(label), *(f"{value:,.0f}" for value in values))
    return table


def _many(title: str, times: dict[str, np.ndarray]) -> Table:
    """Quantiles over profiles of the time of each method, and how often it is first, alone or not."""
    every = np.stack(list(times.values()))
    first = np.isfinite(every) & (every == every.min(axis=0))
    table = table_of(f"{title}, {every.shape[1]:,} profiles", "method", *_QUANTILES, "never", "first")
    for (label, values), ahead in zip(times.items(), first, strict=True):
        cuts = np.quantile(values, list(_QUANTILES.values()), method="nearest")
        never = int(np.isinf(values).sum())
        table.add_row(escape(label), *(f"{x:,.0f}" for x in cuts), f"{never:,}", f"{int(ahead.sum()):,}")
    return table


def _learning(methods: dict[str, xr.Dataset]) -> Table:
    names = list(dict.fromkeys(name for dataset in methods.values() for name in leaf_axes(dataset)))
    table = table_of(
        "Learning at the best stepsize: mean undiscounted return of a trajectory [1]",
        *("method", *names, "seed", "first tenth", "last tenth", "margin"),
    )
    for label, dataset in methods.items():
        # Along profiles, of which each has its own best stepsize, the mean over them.
        along = [dim for dim in dataset["first_tenth"].dims if dim != "seed"]
        for seed in dataset["seed"].values:
            one = dataset.sel(seed=seed)
            first, last = (float(one[name].mean(along)) for name in ("first_tenth", "last_tenth"))
            values = (_one(dataset[name]) if name in dataset.coords else "-" for name in names)
            ends = f"{first:.2f}", f"{last:.2f}", f"{last - first:+.2f}"
            table.add_row(escape(label), *values, str(seed), *ends)
    return table


def _show_choices(methods: dict[str, xr.Dataset], console: Console) -> None:
    """How far the choice of hyperparameters can be trusted."""
    table = table_of(
        "J at the end, at hyperparameters that are chosen by it [1]",
        *("method", "by all seeds", "each seed by the others", "never at the threshold"),
    )
    for label, dataset in methods.items():
        chosen = final(dataset).max(leaf_axes(dataset))
        never, runs = missed(dataset)
        ends = (f"{float(x.mean()):.4g}" for x in (chosen, final_elsewhere(dataset)))
        table.add_row(escape(label), *ends, f"{never:,} of {runs:,} times")
    console.print(table)
    for label, dataset in methods.items():
        for name, values in at_edge(dataset).items():
            tried = ", ".join(f"{value:g}" for value in values)
            console.print(
                escape(f"{label}: the best {name} stands at an end of those tried, {tried}; try more"),
                style="yellow",
                soft_wrap=True,
            )


def _one(values: xr.DataArray) -> str:
    """A number, or from where to where it goes."""
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _show_speedups(grid: xr.Dataset, console: Console) -> None:
    baseline = grid.attrs["baseline"]
    others = [label for label in grid["method"].values if label != baseline]
    for model, label in itertools.product(grid["comm_model"].values, others):
        values = grid["speedup"].isel(threshold=0).sel({"method": label, "comm_model": model}).values
        if np.isfinite(values).any():
            console.print(
                f"speed-up of {label} over {baseline} on {values.size:,} profiles ({model}): median "
                f"{np.nanmedian(values):.2f}, from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}"
            )
        else:
            console.print(
                f"{label} or the baseline misses the threshold, so there is no map of speed-ups"
            )
