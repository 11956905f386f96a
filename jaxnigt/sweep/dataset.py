"""What was trained, under the profiles of a definition, as one data set; and what is read off it."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jaxnigt.sweep import build
from jaxnigt.sweep.plan import (
    GRID,
    Batch,
    MethodPlan,
    Panel,
    Unit,
    networks,
    profile_titles,
)
from jaxnigt.sweep.schema import Definition, leaves
from jaxnigt.sweep.store import provenance
from jaxnigt.training.times import SECONDS, eval_times, first_reached
from jaxnigt.training.trace import Trace, replay


def assemble(
    definition: Definition, plan: list[Panel], found: Mapping[str, xr.Dataset]
) -> xr.DataTree | None:
    """Replay and gather everything in one tree; see `jaxnigt.load`.

    Args:
        definition: of the sweep.
        plan: what it asks for.
        found: what was trained, by the keys of units. Methods of which nothing was trained are left out,
            other gaps are NaN.

    Returns:
        None where nothing was trained.
    """
    begin = time.perf_counter()
    trees = {panel.label: _panel(definition, panel, found) for panel in plan}
    trees = {label: tree for label, tree in trees.items() if tree is not None}
    if not trees:
        return None
    if len(plan) == 1:
        (tree,) = trees.values()
    else:
        tree = xr.DataTree.from_dict({f"/panels/{label}": panel for label, panel in trees.items()})
    keys = {unit.key for panel in plan for method in panel.methods for unit in method.units}
    trained = [found[key] for key in keys & set(found)]
    tree.attrs |= {
        "replay_seconds": time.perf_counter() - begin,
        "replayed_profiles": sum(len(batch.labels) for panel in plan for batch in panel.batches),
        "training_seconds": float(sum(dataset.attrs["training_seconds"] for dataset in trained)),
        "threshold_rule": (
            "shares of the way from J(theta_0) to the lowest final J of the methods at their best "
            "stepsizes, then the definition's own levels"
        ),
        "best_rule": "highest J averaged over seeds and the last tenth of the evaluations",
        **provenance(definition),
    }
    return tree


def _panel(definition: Definition, panel: Panel, found: Mapping[str, xr.Dataset]) -> xr.DataTree | None:
    plans = {plan.label: plan for plan in panel.methods if any(u.key in found for u in plan.units)}
    if not plans:
        return None
    whole = {label: _method(definition, panel, plan, found) for label, plan in plans.items()}
    named = {label: _of(dataset, grid=False) for label, dataset in whole.items()}
    start, levels = threshold(list(named.values()), definition.analysis.threshold)
    levels = np.concatenate([levels, definition.analysis.level])
    groups = {"/profiles": _profiles(definition, panel)}
    for label, dataset in named.items():
        groups[f"/methods/{label}"] = _analysed(dataset, levels)
    if definition.grid is not None:
        groups["/grid"] = _grid(definition, whole, levels)
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
    parts: list[xr.Dataset] = []
    for batch in panel.batches:
        if batch.grid:
            continue
        noise = batch.profile.noise.name if batch.profile.noise else "none"
        values = {
            "compute": (axes, batch.profile.compute, SECONDS | {"long_name": "time per gradient"}),
            "comm": (axes, batch.profile.comm, SECONDS | {"long_name": "communication time"}),
            "noise": (("profile",), [noise] * len(batch.labels)),
            "title": (("profile",), [titles[label] for label in batch.labels]),
        }
        workers = np.arange(1, panel.workers + 1)
        parts.append(xr.Dataset(values, {"profile": list(batch.labels), "worker": workers}))
    whole: Any = xr.concat(parts, "profile")
    return whole.sel(profile=list(titles))


def _method(
    definition: Definition, panel: Panel, plan: MethodPlan, found: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """A method's trace with the ends of its rounds, time [comm_model, profile, round].

    Profiles of the grid come after the named ones, for methods that have them.
    """
    models = networks(definition)
    whole = {**leaves(plan.table), "seed": list(definition.training.seed_list)}
    on_grid = not plan.scheduled or (definition.grid is not None and definition.grid.trained)
    batches = [batch for batch in panel.batches if on_grid or not batch.grid]
    # Named profiles as the definition has them, then those of the grid.
    grid = itertools.chain(*(b.labels for b in batches if b.grid))
    profiles = [*profile_titles(definition), *grid]
    if plan.scheduled:
        parts = [_along(unit, found[unit.key]) for unit in plan.units if unit.key in found]
        dataset = joined(parts, {"comm_model": list(models), "profile": profiles, **whole})
    else:
        dataset = joined([found[unit.key] for unit in plan.units if unit.key in found], whole)
        trace = Trace.from_xarray(dataset, build.method(plan.table, panel.workers))
        key = definition.training.key
        dataset["time"] = xr.concat(
            [
                xr.concat([_ends(trace, batch, key, model) for batch in batches], "profile")
                for model in models.values()
            ],
            xr.Variable("comm_model", list(models)),
        ).sel(profile=profiles)
        dataset["time"].attrs = SECONDS | {"long_name": "end of the round"}
    # Seeds of units that failed say nothing of a method; what is judged are the others.
    there = dataset["objective"].notnull().any([d for d in dataset["objective"].dims if d != "seed"])
    dataset = dataset.isel(seed=np.flatnonzero(there))
    at_eval = eval_times(dataset["time"].values, dataset["eval_round"].values)
    attrs = SECONDS | {"long_name": "time at which theta_t exists"}
    dataset["eval_time"] = (("comm_model", "profile", "evaluation"), at_eval, attrs)
    return dataset


def _ends(trace: Trace, batch: Batch, key: int, model: Any) -> xr.DataArray:
    """When the rounds of a trace are over under the profiles of a batch."""
    end = replay(trace, batch.profile, key=key, comm_model=model)
    return xr.DataArray(end, {"profile": list(batch.labels)}, ("profile", "round"))


def _along(unit: Unit, dataset: xr.Dataset) -> xr.Dataset:
    """What was trained along profiles, with an axis of its communication model."""
    assert unit.batch is not None
    # The labels are the definition's, which may not be those under which it was stored.
    labelled = dataset.assign_coords(profile=list(unit.batch.labels))
    return labelled.expand_dims(comm_model=[unit.comm_model]).transpose("comm_model", "profile", ...)


def joined(parts: Sequence[xr.Dataset], whole: Mapping[str, Sequence[Any]]) -> xr.Dataset:
    """One data set from parts that hold some profiles, hyperparameters and seeds each.

    Args:
        parts: at least one; what none of them holds is NaN (0 for whole numbers).
        whole: all labels of the dimensions that are parted.
    """
    first = parts[0]
    dataset: xr.Dataset = xr.merge(parts, join="outer", compat="no_conflicts", combine_attrs="drop")
    dataset = dataset.reindex({name: list(labels) for name, labels in whole.items()})
    for name, variable in first.data_vars.items():
        if variable.dtype.kind in "iu":
            dataset[name] = dataset[name].fillna(0)
        dataset[name] = dataset[name].astype(variable.dtype).transpose(*variable.dims)
        dataset[name].attrs = variable.attrs
    dataset.attrs = {name: value for name, value in first.attrs.items() if name != "resumed"}
    for name in ("training_seconds", "compiled_seconds"):
        dataset.attrs[name] = math.fsum(part.attrs[name] for part in parts)
    return dataset


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
    out = dataset.copy()
    out["time_to_threshold"] = _to_levels(dataset, levels)
    for name, index in best_indices(dataset).items():
        out[f"best_{name}_index"] = index.assign_attrs(units="1", long_name=f"index of the best {name}")
    for name, value in zip(("first_tenth", "last_tenth"), improvement(dataset), strict=True):
        out[name] = value.assign_attrs(units="1")
    return out


def _grid(definition: Definition, whole: dict[str, xr.Dataset], levels: np.ndarray) -> xr.Dataset:
    """Median over seeds of the time to the thresholds, and speed-ups against the baseline."""
    assert definition.grid is not None
    axes = {name: np.asarray(getattr(definition.grid, name)) for name in ("exponent", "comm_scale")}
    shape = tuple(len(values) for values in axes.values())
    times = {}
    for label, dataset in whole.items():
        on_grid = _of(dataset, grid=True)
        if not on_grid.sizes["profile"]:
            continue
        reached = _to_levels(best(on_grid), levels).median("seed")
        reached = reached.transpose("threshold", "comm_model", "profile")
        times[label] = reached.values.reshape(*reached.shape[:2], *shape)
    labels, models = list(times), list(networks(definition))
    baseline = definition.analysis.baseline or (labels[0] if labels else "")
    time = np.stack(list(times.values())) if times else np.zeros((0, len(levels), len(models), *shape))
    reference = time[labels.index(baseline)] if baseline in labels else np.full(time.shape[1:], np.nan)
    both = np.isfinite(time) & np.isfinite(reference) & (time > 0)
    speedup = np.where(both, reference / np.where(both, time, 1.0), np.nan)
    dims = ("method", "threshold", "comm_model", *axes)
    meaning = "median over seeds of the time at which J first reaches the threshold"
    return xr.Dataset(
        {
            "time_to_threshold": (dims, time, {"units": "s", "long_name": meaning}),
            "speedup": (dims, speedup, {"units": "1", "long_name": f"time of {baseline} / time"}),
        },
        {"method": labels, "threshold": levels, **axes, "comm_model": models},
        {"baseline": baseline, "comm_exponent": definition.grid.comm_exponent},
    )


def diverged(dataset: xr.Dataset) -> list[str]:
    """One line for each run whose numbers stopped being finite."""
    bad = dataset["gradient_norm"].isnull() | np.isinf(dataset["gradient_norm"])
    lines = []
    dims = bad.dims[:-1]
    for index in np.argwhere(bad.any("round").values):
        at = dict(zip(dims, index.tolist(), strict=True))
        first = int(bad.isel(at).values.argmax())
        where = ", ".join(f"{dim} = {dataset[dim].values[i]}" for dim, i in at.items())
        lines.append(f"training stopped being finite at round {first}, {where}")
    return lines


def leaf_axes(dataset: xr.Dataset) -> list[str]:
    """The dimensions of a method's data set that are hyperparameters."""
    return [str(name) for name in np.atleast_1d(dataset.attrs["hyperparameters"])]


def _tenth(length: int) -> int:
    return max(1, length // 10)


def final(dataset: xr.Dataset) -> xr.DataArray:
    """J(theta_t) averaged over seeds and the last tenth of the evaluations.

    It is -inf where a run stopped being finite.

    Args:
        dataset: of a method, with dimensions of hyperparameters, seed and evaluation at least.
    """
    end = dataset["objective"].isel(evaluation=slice(-_tenth(dataset.sizes["evaluation"]), None))
    mean = end.mean(("seed", "evaluation"), skipna=False)
    return mean.where(np.isfinite(mean), -np.inf)


def best_indices(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Where the highest `final` stands: an index for each hyperparameter.

    The rule knows nothing of any profile, but where a method was trained along profiles each has its
    own.
    """
    names = leaf_axes(dataset)
    found = final(dataset).argmax(names)
    assert isinstance(found, dict)
    return {str(name): found[name] for name in names}


def best(dataset: xr.Dataset) -> xr.Dataset:
    """A method at its best hyperparameters, by `best_indices` or as the data set says."""
    stored = {name: f"best_{name}_index" for name in leaf_axes(dataset)}
    found = best_indices(dataset)
    if all(variable in dataset for variable in stored.values()):
        found = {name: dataset[variable] for name, variable in stored.items()}
    return dataset.isel({name: index.astype(int) for name, index in found.items()})


def improvement(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean undiscounted return of the first and of the last tenth of rounds, for every run."""
    returns, tenth = dataset["batch_undiscounted"], _tenth(dataset.sizes["round"])
    ends = returns.isel(round=slice(None, tenth)), returns.isel(round=slice(-tenth, None))
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


def threshold(datasets: Sequence[xr.Dataset], shares: Sequence[float]) -> tuple[float, np.ndarray]:
    """J at the start, and J that lies some shares of the way to the end that all methods reach.

    From J(theta_0), averaged over methods and runs, to the lowest final J of the methods, each at its
    best hyperparameters and, where it was trained along profiles, averaged over them.
    """
    start = float(np.mean([dataset["objective"].isel(evaluation=0).mean() for dataset in datasets]))
    ends = [float(final(dataset).max(leaf_axes(dataset)).mean()) for dataset in datasets]
    lowest = min((end for end in ends if np.isfinite(end)), default=start)
    return start, start + np.asarray(shares) * (lowest - start)
