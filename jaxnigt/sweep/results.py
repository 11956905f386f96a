"""Traces replayed under the profiles of a definition, as one data set."""

from __future__ import annotations

import math
import time

import numpy as np
import xarray as xr

from jaxnigt import analysis
from jaxnigt.profiles import Profile
from jaxnigt.replaying import replay, time_to
from jaxnigt.sweep import plan
from jaxnigt.sweep.spec import Definition, GridTable
from jaxnigt.sweep.store import provenance, trace_dataset
from jaxnigt.trace import Trace, eval_times


def assemble(definition: Definition, traces: dict[str, Trace]) -> xr.DataTree:
    """Replay traces under all profiles and gather everything in one tree; see `jaxnigt.load`."""
    dimension = _dimension(next(iter(traces.values())))
    named = plan.named_profiles(definition, dimension)
    grid = plan.grid_profiles(definition)
    begin = time.perf_counter()
    everything = named if grid is None else _joined(named, grid)
    ends = {
        label: replay(trace, everything, comm_model=definition.comm_model)
        for label, trace in traces.items()
    }
    on_named = {label: end[: len(named.compute)] for label, end in ends.items()}
    on_grid = {}
    if grid is not None:
        shape = (*grid.shape, -1)
        on_grid = {label: end[len(named.compute) :].reshape(shape) for label, end in ends.items()}
    seconds = time.perf_counter() - begin
    start, level = analysis.threshold(list(traces.values()), definition.analysis.threshold)
    groups = {"/profiles": _profiles(definition, named)}
    for label, trace in traces.items():
        groups[f"/methods/{label}"] = _method(definition, trace, on_named[label], level)
    if definition.grid is not None:
        groups["/grid"] = _grid(definition, definition.grid, traces, on_grid, level)
    attrs = {
        "replay_seconds": seconds,
        "replayed_profiles": math.prod(named.shape) + (0 if grid is None else math.prod(grid.shape)),
        "training_seconds": sum(trace.seconds for trace in traces.values()),
        "parameters": dimension,
        "threshold": level,
        "start": start,
        "threshold_rule": (
            f"{definition.analysis.threshold:g} of the way from J(theta_0) to the lowest final J of the "
            "methods at their best stepsizes"
        ),
        "best_rule": "highest J averaged over seeds and the last tenth of the evaluations",
        **provenance(definition),
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = attrs
    return tree


def _joined(named: Profile, grid: Profile) -> Profile:
    """One batch of profiles, so that one program and one call serve all."""
    flat = grid.reshape(-1)
    return Profile(
        np.concatenate([named.compute, flat.compute]), np.concatenate([named.comm, flat.comm])
    )


def _dimension(trace: Trace) -> int:
    """Parameters of the trained policy, from the shapes of its final params."""
    import jax

    leaves = jax.tree.leaves(trace.params["params"])
    return sum(math.prod(leaf.shape[3:]) for leaf in leaves)


def _profiles(definition: Definition, named: Profile) -> xr.Dataset:
    seconds = {"units": "s"}
    return xr.Dataset(
        {
            "compute": (
                ("profile", "worker"),
                named.compute,
                seconds | {"long_name": "time per gradient"},
            ),
            "comm": (("profile", "worker"), named.comm, seconds | {"long_name": "communication time"}),
            "title": (("profile",), [table.title or table.label for table in definition.profiles]),
        },
        {"profile": [table.label for table in definition.profiles], "worker": np.arange(1, named.n + 1)},
    )


def _method(definition: Definition, trace: Trace, end: np.ndarray, level: float) -> xr.Dataset:
    dataset = trace_dataset(trace)
    dataset = dataset.assign_coords(profile=[table.label for table in definition.profiles])
    at_eval = eval_times(end, trace.eval_rounds)
    seconds = {"units": "s"}
    dataset["time"] = (
        ("profile", "round"),
        end,
        seconds | {"long_name": "end of the round"},
    )
    dataset["eval_time"] = (
        ("profile", "evaluation"),
        at_eval,
        seconds | {"long_name": "time at which theta_t exists"},
    )
    dataset["time_to_threshold"] = (
        ("profile", "stepsize", "momentum", "seed"),
        time_to(trace.objective, at_eval[:, None, None, None, :], level),
        seconds | {"long_name": "time at which J first reaches the threshold"},
    )
    stepsize, momentum = analysis.best_leaf(trace)
    first, last = analysis.improvement(trace)
    dataset["first_tenth"] = (("stepsize", "momentum", "seed"), first, {"units": "1"})
    dataset["last_tenth"] = (("stepsize", "momentum", "seed"), last, {"units": "1"})
    dataset.attrs |= {"best_stepsize_index": stepsize, "best_momentum_index": momentum}
    return dataset


def _grid(
    definition: Definition,
    grid: GridTable,
    traces: dict[str, Trace],
    ends: dict[str, np.ndarray],
    level: float,
) -> xr.Dataset:
    """Median over seeds of the time to the threshold, and speed-ups against the baseline."""
    axes = plan.grid_axes(definition)
    times = []
    for label, trace in traces.items():
        at_eval = eval_times(ends[label], trace.eval_rounds)
        per_seed = time_to(trace.objective[analysis.best_leaf(trace)], at_eval[..., None, :], level)
        times.append(np.median(per_seed, axis=-1))
    labels = list(traces)
    baseline = definition.analysis.baseline or labels[0]
    time = np.stack(times)
    reference = time[labels.index(baseline)] if baseline in labels else np.full(time.shape[1:], np.nan)
    both = np.isfinite(time) & np.isfinite(reference) & (time > 0)
    speedup = np.where(both, reference / np.where(both, time, 1.0), np.nan)
    dims = ("method", "exponent", "comm_scale")
    meaning = "median over seeds of the time at which J first reaches the threshold"
    return xr.Dataset(
        {
            "time_to_threshold": (dims, time, {"units": "s", "long_name": meaning}),
            "speedup": (dims, speedup, {"units": "1", "long_name": f"time of {baseline} / time"}),
        },
        {"method": labels, **{name: (name, values) for name, values in axes.items()}},
        {
            "baseline": baseline,
            "comm_exponent": grid.comm_exponent,
        },
    )
