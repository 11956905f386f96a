"""What was trained, under the profiles of a definition, as one data set; and what is read off it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jaxnigt.sweep import build, complexity
from jaxnigt.sweep.build import leaves, networks
from jaxnigt.sweep.plan import GRID, MethodPlan, Panel, profile_titles
from jaxnigt.sweep.reuse import ATTRIBUTE
from jaxnigt.sweep.schema import Definition
from jaxnigt.sweep.selection import best, best_indices, over_runs, tenth, threshold
from jaxnigt.sweep.store import node, provenance
from jaxnigt.training.times import SECONDS, eval_times, first_reached
from jaxnigt.training.trace import Trace, replay


def assemble(
    definition: Definition, plan: list[Panel], found: Mapping[str, xr.Dataset]
) -> xr.DataTree | None:
    """Replay and gather everything in one tree, see `jaxnigt.load`; None where nothing was trained.

    Methods of which none of the units, looked for by their keys, was trained are left out. Other gaps
    are NaN.
    """
    begin = time.perf_counter()
    trees: dict[str, xr.DataTree] = {}
    for panel in plan:
        if any(unit.key in found for method in panel.methods for unit in method.units):
            trees[panel.label] = _panel(definition, panel, found)
    if not trees:
        return None
    if len(plan) == 1:
        (tree,) = trees.values()
    else:
        tree = xr.DataTree.from_dict({f"/panels/{node(label)}": panel for label, panel in trees.items()})
    keys = {unit.key for panel in plan for method in panel.methods for unit in method.units}
    seconds = [found[key].attrs["training_seconds"] for key in keys & set(found)]
    tree.attrs |= {
        "replay_seconds": time.perf_counter() - begin,
        "replayed_profiles": sum(len(batch.labels) for panel in plan for batch in panel.batches),
        "training_seconds": math.fsum(seconds),
        "threshold_rule": (
            "shares of the way from J(theta_0) to the lowest final J of the methods at their best "
            "stepsizes, then the definition's own levels"
        ),
        "best_rule": "highest J averaged over seeds and the last tenth of the evaluations",
        **provenance(definition),
    }
    return tree


def _panel(definition: Definition, panel: Panel, found: Mapping[str, xr.Dataset]) -> xr.DataTree:
    plans = [plan for plan in panel.methods if any(unit.key in found for unit in plan.units)]
    whole = {plan.label: _method(definition, panel, plan, found) for plan in plans}
    named = {label: _of(dataset, grid=False) for label, dataset in whole.items()}
    start, levels = threshold(list(named.values()), definition.analysis.threshold)
    levels = np.concatenate([levels, definition.analysis.level])
    groups = {"/profiles": _profiles(definition, panel)}
    groups |= {f"/methods/{node(label)}": _analysed(dataset, levels) for label, dataset in named.items()}
    if definition.grid is not None:
        groups["/grid"] = _grid(definition, whole, levels)
    if definition.complexity is not None:
        least = complexity.tuned(definition, panel, named)
        groups |= {} if least is None else {"/complexity": least}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "panel": panel.label,
        "parameters": panel.dimension,
        "workers": panel.workers,
        "start": start,
        "thresholds": levels,
    }
    return tree


def _profiles(definition: Definition, panel: Panel) -> xr.Dataset:
    axes, titles = ("profile", "worker"), profile_titles(definition)
    batches = [batch for batch in panel.batches if not batch.grid]
    labels = [label for batch in batches for label in batch.labels]
    noises = [b.profile.noise.name if b.profile.noise else "none" for b in batches for _ in b.labels]
    compute, comm = (
        np.concatenate([getattr(b.profile, name) for b in batches]) for name in ("compute", "comm")
    )
    values = {
        "compute": (axes, compute, SECONDS | {"long_name": "time per gradient"}),
        "comm": (axes, comm, SECONDS | {"long_name": "communication time"}),
        "noise": ("profile", noises),
        "title": ("profile", [titles[label] for label in labels]),
    }
    coords = {"profile": labels, "worker": np.arange(1, panel.workers + 1)}
    return xr.Dataset(values, coords).sel(profile=list(titles))


def _method(
    definition: Definition, panel: Panel, plan: MethodPlan, found: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """A method's trace with the ends of its rounds, time [comm_model, profile, draw, round].

    There is an axis of draws where the definition asks for more than one. Named profiles are as the
    definition has them, those of the grid come after them.
    """
    models, draws = networks(definition), definition.training.draws
    drawn = {"draw": list(range(draws))} if draws > 1 else {}
    on_grid = not plan.scheduled or (definition.grid is not None and definition.grid.trained)
    batches = [batch for batch in panel.batches if on_grid or not batch.grid]
    profiles = [*profile_titles(definition), *(p for b in batches if b.grid for p in b.labels)]
    whole = {**leaves(plan.table), "seed": list(definition.training.seed_list)}
    units = [unit for unit in plan.units if unit.key in found]
    if plan.scheduled:
        parts = []
        for unit in units:
            assert unit.batch is not None
            # The labels are the definition's, which may not be those under which it was stored.
            labelled = found[unit.key].assign_coords(profile=list(unit.batch.labels))
            # Fixed times are the same in every draw.
            new = {name: v for name, v in drawn.items() if name not in labelled.dims}
            labelled = labelled.expand_dims({"comm_model": [unit.comm_model], **new})
            parts.append(labelled.transpose("comm_model", "profile", *drawn, ...))
        dataset = joined(parts, {"comm_model": list(models), "profile": profiles, **drawn, **whole})
    else:
        dataset = joined([found[unit.key] for unit in units], whole)
        trace = Trace.from_xarray(dataset, build.method(plan.table, panel.workers))
        options = {"key": definition.training.key, "draws": draws if drawn else None}
        ends = [
            np.concatenate([replay(trace, b.profile, comm_model=model, **options) for b in batches])
            for model in models.values()
        ]
        labels = {"comm_model": list(models), "profile": [p for b in batches for p in b.labels], **drawn}
        replayed = xr.DataArray(np.stack(ends), labels, (*labels, "round"))
        dataset["time"] = replayed.sel(profile=profiles)
        dataset["time"].attrs = SECONDS | {"long_name": "end of the round"}
    # Seeds of units that failed say nothing of a method; what is judged are the others.
    there = dataset["objective"].notnull().any([d for d in dataset["objective"].dims if d != "seed"])
    dataset = dataset.isel(seed=np.flatnonzero(there))
    at_eval = eval_times(dataset["time"].values, dataset["eval_round"].values)
    attrs = SECONDS | {"long_name": "time at which theta_t exists"}
    dataset["eval_time"] = (("comm_model", "profile", *drawn, "evaluation"), at_eval, attrs)
    return dataset


def joined(parts: Sequence[xr.Dataset], whole: Mapping[str, Sequence[Any]]) -> xr.Dataset:
    """One data set from parts that hold some profiles, hyperparameters and seeds each.

    What none of them holds is NaN, or 0 for whole numbers. What they hold beyond `whole` is left out.
    """
    first = parts[0]
    parts = [_only(part, whole) for part in parts]
    dataset: xr.Dataset = xr.merge(parts, join="outer", compat="no_conflicts", combine_attrs="drop")
    dataset = dataset.reindex({name: list(labels) for name, labels in whole.items()})
    for name, variable in first.data_vars.items():
        if variable.dtype.kind in "iu":
            dataset[name] = dataset[name].fillna(0)
        dataset[name] = dataset[name].astype(variable.dtype).transpose(*variable.dims)
        dataset[name].attrs = variable.attrs
    own = "resumed", ATTRIBUTE
    dataset.attrs = {name: value for name, value in first.attrs.items() if name not in own}
    for name in ("training_seconds", "compiled_seconds"):
        dataset.attrs[name] = math.fsum(part.attrs[name] for part in parts)
    return dataset


def _only(part: xr.Dataset, whole: Mapping[str, Sequence[Any]]) -> xr.Dataset:
    """What of a data set is asked for."""
    asked = {name: [x for x in part[name].values if x in labels] for name, labels in whole.items()}
    return part.sel(asked)


def _of(dataset: xr.Dataset, *, grid: bool) -> xr.Dataset:
    """The profiles of the definition's grid, or the others."""
    labels = dataset["profile"].values
    return dataset.sel(profile=[p for p in labels if str(p).startswith(f"{GRID}.") == grid])


def _to_levels(dataset: xr.Dataset, levels: np.ndarray) -> xr.DataArray:
    """Seconds at which J first reaches each level, for every run and profile."""
    times, values = dataset["eval_time"], dataset["objective"]
    found = xr.concat([first_reached(values, times, level) for level in levels], "threshold")
    attrs = SECONDS | {"long_name": "time at which J first reaches the threshold"}
    order = [d for d in (*values.dims[:-1], *times.dims[:-1]) if d in found.dims]
    found = found.transpose("threshold", *dict.fromkeys(order))
    return found.assign_coords(threshold=levels).assign_attrs(attrs)


def _analysed(dataset: xr.Dataset, levels: np.ndarray) -> xr.Dataset:
    found = {"time_to_threshold": _to_levels(dataset, levels)}
    for name, index in best_indices(dataset).items():
        attrs = {"units": "1", "long_name": f"index of the best {name}"}
        found[f"best_{name}_index"] = index.assign_attrs(attrs)
    for name, value in zip(("first_tenth", "last_tenth"), improvement(dataset), strict=True):
        found[name] = value.assign_attrs(units="1")
    return dataset.assign(found)


def _grid(definition: Definition, whole: dict[str, xr.Dataset], levels: np.ndarray) -> xr.Dataset:
    """Median over seeds and draws of the time to the thresholds, and speed-ups against the baseline."""
    assert definition.grid is not None
    axes = {name: np.asarray(getattr(definition.grid, name)) for name in ("exponent", "comm_scale")}
    on_grid = {label: _of(dataset, grid=True) for label, dataset in whole.items()}
    labels = [label for label, dataset in on_grid.items() if dataset.sizes["profile"]]
    models, baseline = list(networks(definition)), definition.analysis.baseline or next(iter(labels), "")
    shape = len(levels), len(models), *(len(values) for values in axes.values())
    time = np.full((len(labels), *shape), np.nan)
    for k, label in enumerate(labels):
        reached = over_runs(_to_levels(best(on_grid[label]), levels)).median("run")
        time[k] = reached.transpose("threshold", "comm_model", "profile").values.reshape(shape)
    reference = time[labels.index(baseline)] if baseline in labels else np.full(shape, np.nan)
    both = np.isfinite(time) & np.isfinite(reference) & (time > 0)
    speedup = np.where(both, reference / np.where(both, time, 1.0), np.nan)
    dims = ("method", "threshold", "comm_model", *axes)
    meaning = "median over seeds and draws of the time at which J first reaches the threshold"
    return xr.Dataset(
        {
            "time_to_threshold": (dims, time, {"units": "s", "long_name": meaning}),
            "speedup": (dims, speedup, {"units": "1", "long_name": f"time of {baseline} / time"}),
        },
        {"method": labels, "threshold": levels, **axes, "comm_model": models},
        {"baseline": baseline, "comm_exponent": definition.grid.comm_exponent},
    ).sortby(list(axes))  # as maps need them


def diverged(dataset: xr.Dataset) -> list[str]:
    """One line for each run whose numbers, or whose evaluations alone, stopped being finite."""
    stopped: Any = ~np.isfinite(dataset["gradient_norm"])
    lines, stopped = [], stopped.any("round")
    for name, axis, words in (
        ("gradient_norm", "round", "training stopped being finite at round"),
        ("objective", "evaluation", "an evaluation is not finite, that of round"),
    ):
        good: Any = np.isfinite(dataset[name])
        bad = ~good.all(axis) if axis == "round" else ~good.all(axis) & ~stopped
        for index in np.argwhere(bad.values):
            at = dict(zip(good.dims[:-1], index.tolist(), strict=True))
            first = int(good.isel(at).values.argmin())
            first = first if axis == "round" else int(dataset["eval_round"].values[first])
            where = ", ".join(f"{dim} = {dataset[dim].values[i]}" for dim, i in at.items())
            lines.append(f"{words} {first}, {where}")
    return lines


def improvement(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean undiscounted return of the first and of the last tenth of rounds, for every run."""
    returns, few = dataset["batch_undiscounted"], tenth(dataset.sizes["round"])
    ends = returns.isel(round=slice(None, few)), returns.isel(round=slice(-few, None))
    first, last = (part.mean("round", skipna=False) for part in ends)
    return first, last


def objective_at(dataset: xr.Dataset, seconds: float) -> xr.DataArray:
    """J(theta_t) at the last evaluation whose point exists by a time.

    Args:
        dataset: of a method under one profile, with `objective` and `eval_time`, both along evaluation.
        seconds: of virtual time, not before the first evaluation.
    """
    last = int(np.searchsorted(dataset["eval_time"].values, seconds, side="right")) - 1
    return dataset["objective"].isel(evaluation=max(last, 0), drop=True)
