"""What units cost: memory from the shapes of their arrays, time from what earlier ones took.

And what a process has to pay with: the cores of a CPU, and programs that were compiled before.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import platformdirs
import psutil
import xarray as xr

from jaxnigt.checks import InputError
from jaxnigt.methods import Asynchronous, Method
from jaxnigt.problems import PolicyGradient, Problem
from jaxnigt.sweep import store

if TYPE_CHECKING:
    from jaxnigt.sweep.plan import Unit

_UNITS = {"B": 0, "KIB": 1, "MIB": 2, "GIB": 3, "TIB": 4, "K": 1, "M": 2, "G": 3, "T": 4}
_COPIES = 6
"""Of params in a run: theta, the one before, the direction, the point, the gradient and the update."""

_TABLE = {
    "cpu": {
        "reacher spring": 1.2e5,
        "reacher mjx": 4.7e4,
        "hopper spring": 8.4e4,
        "hopper mjx": 1.2e4,
        "humanoid spring": 1.5e4,
        "humanoid mjx": 6e3,
    }
}
"""Environment steps a second on two CPU cores, batch 64, rollouts alone, measured for this project."""

_PHYSICS, _BATCH = 9.5e5, 8192
"""Physics steps a second of one MJX humanoid on an A100, and the batch at which it was measured.

Source: the documentation of MuJoCo (MJX-JAX, "The Sharp Bits", section on large scenes).
"""
ACCELERATOR = (
    f"one NVIDIA A100, by MuJoCo's published {_PHYSICS:,.0f} physics steps a second of {_BATCH:,} "
    "MJX humanoids"
)
"""Where `accelerator_seconds` has its speed from."""

_KEPT = 8
"""Measurements that are remembered for each environment."""

_MOST_DEVICES = 8
"""More devices of a CPU would each have a trajectory or two of a usual round."""

_THREADS = 4
"""For each device: LAPACK waits on one thread of XLA's pool for others, of which none may be left."""


def default_budget() -> int:
    """Bytes: three quarters of an accelerator's memory, half of the machine's on CPU."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(0.75 * stats["bytes_limit"])
    return psutil.virtual_memory().total // 2


def parse(text: str) -> int:
    """Bytes from "4 GiB", "512M" or a number of bytes; an InputError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = (found[2] or "B").upper() if found else ""
    if found is None or unit not in _UNITS or float(found[1]) <= 0:
        raise InputError(f"memory: got {text!r}, a size such as 4GiB or 512MiB is allowed.")
    return int(float(found[1]) * 1024 ** _UNITS[unit])


def shown(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def unit_bytes(problem: Problem, method: Method, unit: Unit) -> int:
    """Bytes that training a unit takes: runs at once, their trajectories, and what is recorded.

    An estimate from above of what lives at one time. The program itself and Python are not in it.
    """
    theta = 4 * problem.dimension()
    lanes = max(slots(method, unit) * unit.runs, unit.training["eval_batch"] * unit.runs)
    trajectories = lanes * (problem.trajectory_bytes() + theta)
    points = unit.workers if isinstance(method.collection, Asynchronous) else 0
    state = unit.runs * theta * (_COPIES + points)
    # Four numbers a round and 2 + W an evaluation, held twice while they are put together.
    each = 4 * unit.iterations + (2 + (problem.workers or 1)) * _evaluations(unit)
    return int(trajectories + state + 2 * unit.runs * 4 * each)


def slots(method: Method, unit: Unit) -> int:
    """Trajectories that a run computes at once."""
    if isinstance(method.collection, Asynchronous):
        return min(method.collection.lanes or unit.workers, unit.workers)
    batch = max(method.init_batch or unit.workers, method.collection.batch or unit.workers)
    if unit.batch is None or method.collection.rule.hint_slots(batch, False) is not None:
        return batch
    # A Malenia round is over after 2 (h_n + mean(h) M / n) seconds, until when all deliver, or never.
    h = unit.batch.profile.compute
    h = h[np.isfinite(h).all(axis=-1)]
    end = 2 * (h.max(axis=-1, keepdims=True) + h.mean(axis=-1, keepdims=True) * batch / h.shape[-1])
    return int(np.ceil(end / h).sum(axis=-1).max(initial=batch))


def _built(unit: Unit) -> tuple[Problem, Method]:
    from jaxnigt.sweep import build

    return build.problem(unit.problem, unit.workers), build.method(unit.method, unit.workers)


def trajectories(unit: Unit) -> int:
    """Trajectories of a run in training; of rules without a batch, one a worker and round is assumed."""
    sizes = _built(unit)[1].sizes(unit.iterations)
    return int(np.where(sizes > 0, sizes, unit.workers).sum())


def _evaluations(unit: Unit) -> int:
    return math.ceil(unit.iterations / unit.training["eval_every"])


def _steps(unit: Unit) -> int:
    """Environment steps of a unit, those of evaluations included."""
    problem, _ = _built(unit)
    each = trajectories(unit)
    if isinstance(problem, PolicyGradient):
        each += _evaluations(unit) * unit.training["eval_batch"]
    return unit.runs * each * getattr(problem, "horizon", 1)


def accelerator_seconds(unit: Unit) -> tuple[float, float] | None:
    """Seconds, from least to most, that an MJX unit takes on an accelerator; None without MJX.

    Least: all batches are as efficient as the published one. Most: a batch of any size up to the
    published one takes as long as that. Every body is taken to be as slow as the humanoid.
    """
    problem, method = _built(unit)
    if not isinstance(problem, PolicyGradient) or getattr(problem.env, "backend", "") != "mjx":
        return None
    frames, lanes = int(getattr(problem.env, "_n_frames", 1)), slots(method, unit)
    batches = math.ceil(trajectories(unit) / lanes) * math.ceil(unit.runs * lanes / _BATCH)
    batches += _evaluations(unit) * math.ceil(unit.runs * unit.training["eval_batch"] / _BATCH)
    least = _steps(unit) * frames / _PHYSICS
    return least, max(least, batches * problem.horizon * frames * _BATCH / _PHYSICS)


def seconds(unit: Unit) -> tuple[float, str]:
    """Seconds of training a unit without compilation, NaN if unknown, and where that is known from."""
    name = _name(unit)
    if measured := _measured().get(name):
        return _steps(unit) / sorted(measured)[len(measured) // 2], "earlier units on this machine"
    rate = _TABLE.get(jax.default_backend(), {}).get(" ".join(name.split()[:2]), math.nan)
    return _steps(unit) / rate, "rollouts on two cores"


def remember(unit: Unit, result: xr.Dataset) -> None:
    """Note how fast a unit was; what cannot be noted is no harm."""
    spent = result.attrs["compiled_seconds"]
    if spent < 1.0:
        return
    with contextlib.suppress(OSError, ValueError, TypeError):
        known, name = _measured(), _name(unit)
        known[name] = [*known.get(name, []), _steps(unit) / spent][-_KEPT:]
        store.write_text(_cache() / "rates.json", json.dumps(known))


def _name(unit: Unit) -> str:
    """What a rate is about: environment, backend and device."""
    problem, devices = unit.problem, jax.local_devices()
    what = problem.get("environment", "reacher"), problem.get("backend", "mjx")
    if problem["kind"] != "policy_gradient":
        what = problem["kind"], "-"
    return " ".join([*what, f"{devices[0].device_kind} x{len(devices)}"])


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("jaxnigt"))


def _measured() -> dict[str, list[float]]:
    try:
        return json.loads((_cache() / "rates.json").read_text())
    except (OSError, ValueError):
        return {}


def use_all_cores(most: int = _MOST_DEVICES, *, lapack: bool = True) -> None:
    """Give the CPU a device for each core that this process may use, before JAX has started.

    A CPU hardly shares out a batch as narrow as a round's. The user's own JAX_NUM_CPU_DEVICES or
    XLA_FLAGS win, and a JAX that runs already stays as it is. Programs that may call LAPACK need more
    threads than devices, which cost speed. The environments of Brax never do, see
    `jaxnigt.environments.mjx_cpu`.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    devices = int(os.environ.get("JAX_NUM_CPU_DEVICES", min(cores, most)))
    with contextlib.suppress(RuntimeError):  # JAX has started
        jax.config.update("jax_num_cpu_devices", devices)
        if lapack and devices > 1:
            os.environ.setdefault("NPROC", str(_THREADS * devices))  # what XLA makes its pool of


def use_compilation_cache() -> None:
    """Keep compiled programs between runs, unless the user has said where or that they be not."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(_cache() / "xla"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # A sweep has dozens of programs that take less than JAX's usual limit of a second.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
