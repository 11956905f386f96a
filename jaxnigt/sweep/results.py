"""Everything that was trained, under the profiles of a definition, as one data set."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxnigt import analysis
from jaxnigt.replaying import replay, time_to
from jaxnigt.sweep import build, traces
from jaxnigt.sweep.plan import GRID, MethodPlan, Panel, profile_titles
from jaxnigt.sweep.spec import Definition
from jaxnigt.sweep.store import provenance
from jaxnigt.sweep.unit import Batch, Unit
from jaxnigt.trace import eval_times

_SECONDS = {"units": "s"}


def assemble(
    definition: Definition, plan: list[Panel], found: Mapping[str, xr.Dataset]
) -> xr.DataTree | None:
    """Replay and gather everything in one tree; see `jaxnigt.load`.

    Args:
        definition: of the sweep.
        plan: what it asks for.
        found: what was trained, by the keys of units. Methods of which nothing was trained are left
            out, other gaps are NaN.

    Returns:
        None where nothing was trained.
    """
    begin = time.perf_counter()
    trees = {panel.label: _panel(definition, panel, found) for panel in plan}
    trees = {label: tree for label, tree in trees.items() if tree is not None}
    if not trees:
        return None
    groups: dict[str, xr.DataTree] = {}
    if len(plan) == 1:
        (tree,) = trees.values()
    else:
        groups = {f"/panels/{label}": panel for label, panel in trees.items()}
        tree = xr.DataTree.from_dict(groups)
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
    named = {label: _named(dataset) for label, dataset in whole.items()}
    start, levels = analysis.threshold(list(named.values()), definition.analysis.threshold)
    levels = np.concatenate([levels, definition.analysis.level])
    groups = {"/profiles": _profiles(definition, panel)}
    for label, dataset in named.items():
        groups[f"/methods/{label}"] = _analysed(dataset, levels)
    if definition.grid is not None:
        groups["/grid"] = _grid(definition, whole, named, levels)
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
    batches = [batch for batch in panel.batches if not batch.grid]
    order = list(profile_titles(definition))

    def gathered(name: str) -> np.ndarray:
        rows = np.concatenate([getattr(batch.profile, name) for batch in batches])
        labels = [label for batch in batches for label in batch.labels]
        return rows[[labels.index(label) for label in order]]

    kinds = {label: batch.profile for batch in batches for label in batch.labels}
    names = [str(p.noise.name) if (p := kinds[label]).noise else "none" for label in order]
    axes = ("profile", "worker")
    return xr.Dataset(
        {
            "compute": (axes, gathered("compute"), _SECONDS | {"long_name": "time per gradient"}),
            "comm": (axes, gathered("comm"), _SECONDS | {"long_name": "communication time"}),
            "noise": (("profile",), names),
            "title": (("profile",), list(profile_titles(definition).values())),
        },
        {"profile": order, "worker": np.arange(1, panel.workers + 1)},
    )


def _method(
    definition: Definition, panel: Panel, plan: MethodPlan, found: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """A method's trace with the ends of its rounds, time [comm_model, profile, round].

    Profiles of the grid come after the named ones, for methods that have them.
    """
    models = list(definition.comm_model)
    seeds = definition.training.seed_list
    momenta = build.momenta(plan.table)
    leaves = {"stepsize": plan.table["stepsize"], "momentum": momenta, "seed": seeds}
    if plan.scheduled:
        on_grid = definition.grid is not None and definition.grid.trained
        batches = [batch for batch in panel.batches if on_grid or not batch.grid]
        profiles = _order(definition, batches)
        parts = [_along(unit, found[unit.key]) for unit in plan.units if unit.key in found]
        dataset = traces.joined(parts, {"comm_model": models, "profile": profiles, **leaves})
    else:
        parts = [found[unit.key] for unit in plan.units if unit.key in found]
        dataset = traces.joined(parts, leaves)
        trace = traces.dataset_trace(dataset, build.method(plan.table, panel.workers))
        ends = [
            np.concatenate(
                [
                    replay(trace, batch.profile, key=definition.training.key, comm_model=model)
                    for batch in panel.batches
                ]
            )
            for model in models
        ]
        labels = [label for batch in panel.batches for label in batch.labels]
        profiles = _order(definition, panel.batches)
        order = [labels.index(label) for label in profiles]
        end = np.stack(ends)[:, order]
        attrs = _SECONDS | {"long_name": "end of the round"}
        dataset["time"] = (("comm_model", "profile", "round"), end, attrs)
        dataset = dataset.assign_coords(comm_model=models, profile=profiles)
    # Seeds of units that failed say nothing of a method; what is judged are the others.
    there = dataset["objective"].notnull().any([d for d in dataset["objective"].dims if d != "seed"])
    dataset = dataset.isel(seed=np.flatnonzero(there))
    at_eval = eval_times(dataset["time"].values, dataset["eval_round"].values)
    attrs = _SECONDS | {"long_name": "time at which theta_t exists"}
    dataset["eval_time"] = (("comm_model", "profile", "evaluation"), at_eval, attrs)
    return dataset


def _along(unit: Unit, dataset: xr.Dataset) -> xr.Dataset:
    """What was trained along profiles, with an axis of its communication model."""
    assert unit.batch is not None
    # The labels are the definition's, which may not be those under which it was stored.
    labelled = dataset.assign_coords(profile=list(unit.batch.labels))
    expanded = labelled.expand_dims(comm_model=[unit.comm_model])
    return expanded.transpose("comm_model", "profile", ...)


def _order(definition: Definition, batches: list[Batch]) -> list[str]:
    """Named profiles as the definition has them, then those of the grid."""
    return [*profile_titles(definition), *itertools.chain(*(b.labels for b in batches if b.grid))]


def _named(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.sel(profile=[p for p in dataset["profile"].values if not _of_grid(p)])


def _of_grid(label: str) -> bool:
    return str(label).startswith(f"{GRID}.")


def _to_levels(dataset: xr.Dataset, levels: np.ndarray) -> xr.DataArray:
    """Seconds at which J first reaches each level, for every run and profile."""
    values, times = xr.broadcast(dataset["objective"], dataset["eval_time"])
    values = values.transpose(..., "evaluation")
    times = times.transpose(*values.dims)
    found = np.stack([time_to(values.values, times.values, level) for level in levels])
    # Runs that are not there reach nothing, and miss nothing either.
    found = np.where(np.isnan(values.values[..., 0]), np.nan, found)
    meaning = "time at which J first reaches the threshold"
    return xr.DataArray(
        found,
        {"threshold": levels, **{d: values[d] for d in values.dims[:-1]}},
        ("threshold", *values.dims[:-1]),
        attrs=_SECONDS | {"long_name": meaning},
    )


def _analysed(dataset: xr.Dataset, levels: np.ndarray) -> xr.Dataset:
    out = dataset.copy()
    out["time_to_threshold"] = _to_levels(dataset, levels)
    for name, index in analysis.best_indices(dataset).items():
        out[f"best_{name}_index"] = index.assign_attrs(units="1", long_name=f"index of the best {name}")
    for name, value in zip(("first_tenth", "last_tenth"), analysis.improvement(dataset), strict=True):
        out[name] = value.assign_attrs(units="1")
    return out


def _grid(
    definition: Definition,
    whole: dict[str, xr.Dataset],
    named: dict[str, xr.Dataset],
    levels: np.ndarray,
) -> xr.Dataset:
    """Median over seeds of the time to the thresholds, and speed-ups against the baseline."""
    assert definition.grid is not None
    axes = {name: np.asarray(getattr(definition.grid, name)) for name in ("exponent", "comm_scale")}
    shape = tuple(len(values) for values in axes.values())
    times = {}
    for label, dataset in whole.items():
        on_grid = dataset.sel(profile=[p for p in dataset["profile"].values if _of_grid(p)])
        if not on_grid.sizes["profile"]:
            continue
        reached = _to_levels(analysis.best(on_grid), levels).median("seed")
        reached = reached.transpose("threshold", "comm_model", "profile")
        times[label] = reached.values.reshape(*reached.shape[:2], *shape)
    labels = list(times)
    baseline = definition.analysis.baseline or (labels[0] if labels else "")
    time = (
        np.stack(list(times.values()))
        if times
        else np.zeros((0, len(levels), len(definition.comm_model), *shape))
    )
    reference = time[labels.index(baseline)] if baseline in labels else np.full(time.shape[1:], np.nan)
    both = np.isfinite(time) & np.isfinite(reference) & (time > 0)
    speedup = np.where(both, reference / np.where(both, time, 1.0), np.nan)
    dims = ("method", "threshold", "comm_model", *axes)
    meaning = "median over seeds of the time at which J first reaches the threshold"
    coordinates: dict[str, Any] = {"method": labels, "threshold": levels, **axes}
    coordinates["comm_model"] = list(definition.comm_model)
    return xr.Dataset(
        {
            "time_to_threshold": (dims, time, {"units": "s", "long_name": meaning}),
            "speedup": (dims, speedup, {"units": "1", "long_name": f"time of {baseline} / time"}),
        },
        coordinates,
        {"baseline": baseline, "comm_exponent": definition.grid.comm_exponent},
    )
