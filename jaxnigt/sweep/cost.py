"""What units cost: memory from the shapes of their arrays, time from what earlier ones took.

And what a process has to pay with: the cores of a CPU, and programs that were compiled before.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import platformdirs
import xarray as xr
from jaxtyping import Float, Int

from jaxnigt import machine
from jaxnigt.checks import InputError, as_key
from jaxnigt.methods import Asynchronous, Method
from jaxnigt.problems import PolicyGradient, Problem
from jaxnigt.registry import make
from jaxnigt.sweep import store
from jaxnigt.training import packing
from jaxnigt.training.loop import clock_key
from jaxnigt.training.packed import keeps_whole
from jaxnigt.training.runs import draw_keys

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


_ENTRIES = 2**26
"""Counts that one call of the clock may hold while a sweep is planned."""


def default_budget() -> int:
    """Bytes: three quarters of an accelerator's memory, on a CPU half of what the process may use."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(0.75 * stats["bytes_limit"])
    return machine.memory() // 2


def parse(text: str) -> int:
    """Bytes from "4 GiB", "512M" or a number of bytes; an InputError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = (found[2] or "B").upper() if found else ""
    size = float(found[1]) * 1024 ** _UNITS[unit] if found and unit in _UNITS else 0.0
    if not 0 < size < math.inf:
        raise InputError(f"memory: got {text!r}, a size such as 4GiB or 512MiB is allowed.")
    return int(size)


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
    lanes = max(at_once(problem, method, unit), unit.training["eval_batch"] * unit.runs)
    trajectories = lanes * (problem.trajectory_bytes() + theta)
    points = unit.workers if isinstance(method.collection, Asynchronous) else 0
    # Rounds of unequal sizes add up their blocks in sums of the size of the gradients.
    sums = unit.totals is not None
    state = unit.runs * theta * (_COPIES + points + sums)
    # Four numbers a round and 2 + W an evaluation, held twice while they are put together.
    each = 4 * unit.iterations + (2 + (problem.workers or 1)) * _evaluations(unit)
    return int(trajectories + state + 2 * unit.runs * 4 * each)


def at_once(problem: Problem, method: Method, unit: Unit) -> int:
    """Trajectories that all runs of a unit compute in one batch."""
    if isinstance(method.collection, Asynchronous):
        return min(method.collection.lanes or unit.workers, unit.workers) * unit.runs
    if unit.totals is not None:
        found = _layout(problem, unit)
        return found.width * found.lanes * unit.together
    return max(method.init_batch or unit.workers, method.collection.batch or unit.workers) * unit.runs


def totals(unit: Unit, method: Method) -> Int[np.ndarray, "P D K"] | None:
    """Gradients of the rounds of a unit, None where every gradient is an update.

    Raises:
        InputError: rounds that never end.
    """
    collection = method.collection
    if isinstance(collection, Asynchronous):
        return None
    assert unit.batch is not None
    network = make("communication", unit.clock_model)
    profile, sizes = unit.batch.profile, method.sizes(unit.iterations)
    profiles, first = len(unit.batch.labels), as_key("training.key", unit.training["key"])
    step = profiles if profile.noise else max(1, _ENTRIES // (unit.iterations * unit.workers))
    found = []
    for key in draw_keys(clock_key(first), unit.training.get("draws")):
        parts = []
        for begin in range(0, profiles, step):
            some = profile[np.arange(begin, min(begin + step, profiles))]
            rounds = collection.rounds(some, sizes, key=key, comm_model=network)
            _check_ends(unit, rounds.end, unit.batch.labels[begin : begin + step])
            assert rounds.counts is not None
            counts = np.broadcast_to(rounds.counts, (*rounds.end.shape, unit.workers))
            parts.append(counts.sum(axis=-1, dtype=np.int64))
        found.append(np.concatenate(parts))
    return np.stack(found, axis=1)


def _check_ends(unit: Unit, end: Float[np.ndarray, "P K"], labels: Sequence[str]) -> None:
    """Raise InputError where a round of a profile never ends."""
    never = np.flatnonzero(~np.isfinite(end).all(axis=-1))
    if never.size:
        raise InputError(
            f"methods: {unit.label} cannot be trained along the profile {labels[never[0]]}, where round "
            f"{int(np.argmin(np.isfinite(end[never[0]])))} never ends; profiles whose workers all go on "
            "are allowed."
        )


def _layout(problem: Problem, unit: Unit) -> packing.Layout:
    """The batches of rounds of unequal sizes."""
    return _layouts(unit, keeps_whole(problem))


@functools.lru_cache(maxsize=256)
def _layouts(unit: Unit, whole: bool) -> packing.Layout:
    assert unit.totals is not None
    rows = unit.totals.reshape(-1, unit.iterations)
    return packing.layout(rows, unit.training["eval_every"], unit.together, whole=whole)


def _built(unit: Unit) -> tuple[Problem, Method]:
    from jaxnigt.sweep import build

    return build.problem(unit.problem, unit.workers), build.method(unit.method, unit.workers)


def trajectories(unit: Unit) -> int:
    """Trajectories of all runs in training, by the clock where it decides."""
    if unit.totals is not None:
        return int(unit.totals.sum()) * unit.together
    return int(_built(unit)[1].sizes(unit.iterations).sum()) * unit.runs


def _evaluations(unit: Unit) -> int:
    return math.ceil(unit.iterations / unit.training["eval_every"])


def _evaluated(unit: Unit, problem: Problem) -> int:
    """Trajectories of all evaluations of a run; none where J is exact."""
    return _evaluations(unit) * unit.training["eval_batch"] * isinstance(problem, PolicyGradient)


def _steps(unit: Unit) -> float:
    """Environment steps that a unit takes the time of, evaluations and padding included."""
    problem, _ = _built(unit)
    each = _layout(problem, unit).cost if unit.totals is not None else trajectories(unit)
    return (each + unit.runs * _evaluated(unit, problem)) * getattr(problem, "horizon", 1)


def accelerator_seconds(unit: Unit) -> tuple[float, float] | None:
    """Seconds, from least to most, that an MJX unit takes on an accelerator; None without MJX.

    Least: all batches are as efficient as the published one. Most: a batch of any size up to the
    published one takes as long as that. Every body is taken to be as slow as the humanoid.
    """
    problem, method = _built(unit)
    if not isinstance(problem, PolicyGradient) or getattr(problem.env, "backend", "") != "mjx":
        return None
    frames, lanes = int(getattr(problem.env, "_n_frames", 1)), at_once(problem, method, unit)
    evaluated, together = unit.runs * _evaluated(unit, problem), unit.runs * unit.training["eval_batch"]
    batches = math.ceil(trajectories(unit) / lanes) * math.ceil(lanes / _BATCH)
    batches += _evaluations(unit) * math.ceil(together / _BATCH)
    step = problem.horizon * frames / _PHYSICS
    least = (trajectories(unit) + evaluated) * step
    return least, max(least, batches * step * _BATCH)


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
    """What a rate is about: environment and backend, or the whole problem; and device."""
    problem, devices = unit.problem, jax.local_devices()
    what = problem.get("environment", "reacher"), problem.get("backend", "mjx")
    if problem["kind"] != "policy_gradient":
        table = json.dumps(problem, sort_keys=True, default=str)
        what = problem["kind"], hashlib.sha256(table.encode()).hexdigest()[:8]
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
    devices = int(os.environ.get("JAX_NUM_CPU_DEVICES", min(machine.cores(), most)))
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
