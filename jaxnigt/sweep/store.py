"""Files of a sweep: one NetCDF file a unit, and one for the whole data set."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from jaxnigt.errors import InputError
from jaxnigt.methods import Method
from jaxnigt.sweep.spec import Definition
from jaxnigt.trace import Trace

RESULTS = "results.nc"
_PARAMS = "theta."
_UNITS = {
    "objective": ("evaluation", "mean discounted return J(theta_t)"),
    "undiscounted": ("evaluation", "mean undiscounted return at theta_t"),
    "batch_discounted": ("round", "mean discounted return of the round's trajectories"),
    "batch_undiscounted": ("round", "mean undiscounted return of the round's trajectories"),
    "gradient_norm": ("round", "norm of the aggregate"),
    "direction_norm": ("round", "norm of the momentum d_k"),
}


def check_writable(folder: Path) -> None:
    """Raise InputError unless files can be written to a folder, which need not exist yet."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        if not place.is_dir():
            raise NotADirectoryError(20, f"{place} is not a folder")
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise InputError(
            f"out: {folder} cannot be written to ({error.strerror}), a writable folder is needed."
        ) from None


def provenance(definition: Definition) -> dict[str, str]:
    """What made a result: the definition as JSON, versions, device, git commit and date."""
    packages = ("jax", "jaxlib", "flax", "optax", "brax", "mujoco", "mujoco-mjx", "numpy")
    versions = {name: metadata.version(name) for name in packages}
    from jaxnigt import __version__

    return {
        "definition": definition.model_dump_json(),
        "jaxnigt": __version__,
        "versions": json.dumps({"python": platform.python_version(), **versions}),
        "device": ", ".join(sorted({f"{d.platform} {d.device_kind}" for d in jax.devices()})),
        "git_commit": _git_commit(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str:
    """Commit of the sources where they are a git checkout, with a mark if they were changed."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        _git("ls-files", "--error-unmatch", "store.py")
        dirty = _git("status", "--porcelain", "--", "..")
        return _git("rev-parse", "HEAD") + ("-modified" if dirty else "")
    return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def trace_dataset(trace: Trace) -> xr.Dataset:
    """A trace with named dimensions (stepsize, momentum, seed, evaluation or round) and units.

    Final params are variables `theta.<path>`, one for each array of the pytree.
    """
    leaf = ("stepsize", "momentum")
    variables: dict[str, Any] = {}
    for name, (axis, meaning) in _UNITS.items():
        attrs = {"long_name": meaning, "units": "1"}
        variables[name] = ((*leaf, "seed", axis), getattr(trace, name), attrs)
    attrs = {"long_name": "J_i(theta_t) of each worker's problem", "units": "1"}
    axes = (*leaf, "seed", "evaluation", "problem")
    variables["worker_objective"] = (axes, trace.worker_objective, attrs)
    attrs = {"long_name": "trajectories used in the round", "units": "1"}
    variables["samples"] = (("round",), trace.samples, attrs)
    for path, value in jax.tree_util.tree_flatten_with_path(trace.params)[0]:
        name = _PARAMS + jax.tree_util.keystr(path, simple=True, separator=".")
        axes = tuple(f"{name}_{i}" for i in range(value.ndim - 3))
        variables[name] = ((*leaf, "seed", *axes), value, {"units": "1"})
    hyperparameters = trace.method.hyperparameters
    coordinates = {
        "stepsize": ("stepsize", np.ravel(hyperparameters["stepsize"])),
        "momentum": ("momentum", np.ravel(hyperparameters["momentum"])),
        "seed": ("seed", np.arange(trace.objective.shape[-2])),
        "round": ("round", np.arange(trace.rounds)),
        "eval_round": ("evaluation", trace.eval_rounds),
    }
    attrs = {
        "method": trace.method.name,
        "replayable": int(trace.replayable),
        "training_seconds": trace.seconds,
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
        seconds=float(dataset.attrs["training_seconds"]),
        worker_objective=dataset["worker_objective"].values,
        **{name: dataset[name].values for name in _UNITS},
    )


def write(data: xr.Dataset | xr.DataTree, path: Path) -> None:
    """Write NetCDF so that the file is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        data.to_netcdf(temporary, engine="h5netcdf")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> xr.Dataset | None:
    """A unit's data set, None where there is no file or an unreadable one."""
    if not path.exists():
        return None
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            return file.load()
    except (OSError, ValueError, KeyError):
        return None


def load(folder: str | Path) -> xr.DataTree:
    """The data set of a sweep.

    Args:
        folder: what `jaxnigt sweep --out` was given.

    Returns:
        A tree with one group a method under `/methods`, the profiles under `/profiles` and, where
        the definition has a grid, `/grid`. Dimensions are named, variables have their units in
        `attrs`, and the root's attrs hold the definition that made it.

    Raises:
        InputError: no readable results in that folder.
    """
    path = Path(folder) / RESULTS
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except (OSError, ValueError) as error:
        raise InputError(
            f"folder: {path} cannot be read ({error.__class__.__name__}), a folder written by "
            "`jaxnigt sweep` is needed."
        ) from None
