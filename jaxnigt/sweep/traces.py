"""Traces as data sets with named dimensions, whole or from parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from jaxnigt.methods import Method
from jaxnigt.trace import Trace

_PARAMS = "theta."
_SERIES = {
    "objective": ("evaluation", "mean discounted return J(theta_t)"),
    "undiscounted": ("evaluation", "mean undiscounted return at theta_t"),
    "batch_discounted": ("round", "mean discounted return of the round's trajectories"),
    "batch_undiscounted": ("round", "mean undiscounted return of the round's trajectories"),
    "gradient_norm": ("round", "norm of the aggregate"),
    "direction_norm": ("round", "norm of the momentum d_k"),
}
LEAF = ("stepsize", "momentum")


def trace_dataset(
    trace: Trace, seeds: Sequence[int], momenta: Sequence[float], profiles: Sequence[str] | None = None
) -> xr.Dataset:
    """A trace with dimensions (profile), stepsize, momentum, seed, and evaluation or round.

    Final params are variables `theta.<path>`, one for each array of the pytree.

    Args:
        trace: with hyperparameters of shape [stepsizes, momenta] and at most one axis of profiles.
        seeds: numbers of its seeds.
        momenta: of the second axis of hyperparameters.
        profiles: labels of the profiles that it was trained along; None where it replays.
    """
    along = () if profiles is None else ("profile",)
    runs = (*along, *LEAF, "seed")
    variables: dict[str, Any] = {}
    for name, (axis, meaning) in _SERIES.items():
        variables[name] = ((*runs, axis), getattr(trace, name), {"long_name": meaning, "units": "1"})
    attrs = {"long_name": "J_i(theta_t) of each worker's problem", "units": "1"}
    variables["worker_objective"] = ((*runs, "evaluation", "problem"), trace.worker_objective, attrs)
    attrs = {"long_name": "trajectories used in the round", "units": "1"}
    variables["samples"] = ((*along, "round"), trace.samples, attrs)
    if trace.times is not None:
        attrs = {"long_name": "end of the round", "units": "s"}
        variables["time"] = ((*along, "round"), trace.times, attrs)
    for path, value in jax.tree_util.tree_flatten_with_path(trace.params)[0]:
        name = _PARAMS + jax.tree_util.keystr(path, simple=True, separator=".")
        axes = tuple(f"{name}_{i}" for i in range(value.ndim - len(runs)))
        variables[name] = ((*runs, *axes), value, {"units": "1"})
    coordinates = {
        "stepsize": np.ravel(trace.method.hyperparameters["stepsize"]),
        "momentum": np.asarray(momenta, float),
        "seed": np.asarray(seeds),
        "round": np.arange(trace.rounds),
        "eval_round": ("evaluation", trace.eval_rounds),
    }
    if profiles is not None:
        coordinates["profile"] = list(profiles)
    attrs = {
        "method": trace.method.name,
        "replayable": int(trace.replayable),
        "training_seconds": trace.seconds,
        "compiled_seconds": trace.compiled_seconds,
    }
    return xr.Dataset(variables, coordinates, attrs)


def dataset_trace(dataset: xr.Dataset, method: Method) -> Trace:
    """The trace that `trace_dataset` was given, with params as nested dictionaries."""
    params: dict[str, Any] = {}
    for name in dataset.data_vars:
        if str(name).startswith(_PARAMS):
            *path, last = str(name).removeprefix(_PARAMS).split(".")
            inner = params
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = dataset[name].values
    return Trace(
        method=method,
        eval_rounds=dataset["eval_round"].values,
        samples=dataset["samples"].values,
        params=params,
        replayable=bool(dataset.attrs["replayable"]),
        times=dataset["time"].values if "time" in dataset else None,
        seconds=float(dataset.attrs["training_seconds"]),
        compiled_seconds=float(dataset.attrs["compiled_seconds"]),
        worker_objective=dataset["worker_objective"].values,
        **{name: dataset[name].values for name in _SERIES},
    )


def joined(parts: Sequence[xr.Dataset], whole: dict[str, Sequence[Any]]) -> xr.Dataset:
    """One data set from parts that hold some profiles, stepsizes and seeds each.

    Args:
        parts: at least one; what none of them holds is NaN (0 for whole numbers).
        whole: all labels of the dimensions that are parted.
    """
    first = parts[0]
    sizes = {**first.sizes, **{name: len(labels) for name, labels in whole.items()}}
    variables = {}
    for name, variable in first.data_vars.items():
        shape = [sizes[dim] for dim in variable.dims]
        empty = np.nan if variable.dtype.kind == "f" else 0
        variables[name] = (variable.dims, np.full(shape, empty, variable.dtype), variable.attrs)
    coordinates = {**first.coords, **{name: list(labels) for name, labels in whole.items()}}
    attrs = {name: value for name, value in first.attrs.items() if name != "resumed"}
    for name in ("training_seconds", "compiled_seconds"):
        attrs[name] = math.fsum(part.attrs[name] for part in parts)
    dataset = xr.Dataset(variables, coordinates, attrs)
    index = {name: {label: i for i, label in enumerate(labels)} for name, labels in whole.items()}
    for part in parts:
        place = {
            name: np.array([at[label] for label in part[name].values.tolist()])
            for name, at in index.items()
        }
        for name, variable in part.data_vars.items():
            which = tuple(place.get(str(dim), slice(None)) for dim in variable.dims)
            dataset[name].values[_open(which, variable.shape)] = variable.values
    return dataset


def _open(which: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Indices of a block, which may be any entries of some axes."""
    arrays = [
        np.arange(size) if isinstance(index, slice) else index
        for index, size in zip(which, shape, strict=True)
    ]
    return np.ix_(*arrays)


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
