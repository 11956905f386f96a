"""How long units take: from what earlier ones of this machine took, or from a table."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import jax
import platformdirs
import xarray as xr

from jaxnigt.problems import PolicyGradient
from jaxnigt.sweep import build, files, memory
from jaxnigt.sweep.unit import Unit

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

_ACCELERATOR = "one NVIDIA A100"
_PHYSICS, _BATCH = 9.5e5, 8192
"""Physics steps a second of one MJX humanoid on an A100, and the batch at which it was measured; from
the documentation of MuJoCo (MJX-JAX, "The Sharp Bits", section on large scenes)."""

_KEPT = 8
"""Measurements that are remembered for each environment."""


def steps(unit: Unit) -> int:
    """Environment steps of a unit, those of evaluations included."""
    problem = build.problem(unit.problem, unit.workers)
    return unit.runs * sum(_trajectories(unit)) * getattr(problem, "horizon", 1)


def _trajectories(unit: Unit) -> tuple[int, int]:
    """Trajectories of a run in training and in evaluations."""
    method = build.method(unit.method, unit.workers)
    evaluations = -(-unit.iterations // unit.training["eval_every"])
    sampled = isinstance(build.problem(unit.problem, unit.workers), PolicyGradient)
    return (
        int(method.sizes(unit.iterations).sum()),
        evaluations * unit.training["eval_batch"] if sampled else 0,
    )


def accelerator_seconds(unit: Unit) -> tuple[float, float] | None:
    """Seconds that an MJX unit takes on an accelerator by published speeds, from least to most.

    Least: all batches are as efficient as the published one. Most: a batch of any size up to the
    published one takes as long as that. Every body is taken to be as slow as the humanoid.

    Returns:
        None where MJX does not move the problem.
    """
    problem = build.problem(unit.problem, unit.workers)
    if not isinstance(problem, PolicyGradient) or problem.env.backend != "mjx":
        return None
    physics = problem.horizon * int(getattr(problem.env, "_n_frames", 1))
    training, evaluation = _trajectories(unit)
    method = build.method(unit.method, unit.workers)
    lanes = memory.slots(method, unit)
    batches = math.ceil(training / lanes) * math.ceil(unit.runs * lanes / _BATCH)
    once = math.ceil(unit.runs * unit.training["eval_batch"] / _BATCH)
    batches += evaluation // unit.training["eval_batch"] * once
    least = unit.runs * (training + evaluation) * physics / _PHYSICS
    return least, max(least, batches * physics * _BATCH / _PHYSICS)


def accelerator_words() -> str:
    """Where `accelerator_seconds` has its speed from."""
    return (
        f"{_ACCELERATOR}, by MuJoCo's published {_PHYSICS:,.0f} physics steps a second of {_BATCH:,} "
        "MJX humanoids"
    )


def seconds(unit: Unit) -> tuple[float | None, str]:
    """Seconds that training a unit takes without compilation, and where that is known from.

    Returns:
        None where nothing is known of its environment on this hardware.
    """
    measured = _measured().get(_name(unit))
    if measured:
        return steps(unit) / sorted(measured)[len(measured) // 2], "earlier units on this machine"
    table = _TABLE.get(jax.default_backend(), {})
    rate = table.get(" ".join(_name(unit).split()[:2]))
    if rate is None:
        return None, "nothing known of it yet"
    return steps(unit) / rate, "rollouts on two cores"


def remember(unit: Unit, result: xr.Dataset) -> None:
    """Note how fast a unit was; what cannot be noted is no harm."""
    spent = result.attrs["compiled_seconds"]
    if spent < 1.0:
        return
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = _measured()
        known[_name(unit)] = [*known.get(_name(unit), []), steps(unit) / spent][-_KEPT:]
        files.write_text(_path(), json.dumps(known))


def _name(unit: Unit) -> str:
    """What a rate is about: environment, backend and device."""
    problem, devices = unit.problem, jax.local_devices()
    what = problem.get("environment", "reacher"), problem.get("backend", "mjx")
    if problem["kind"] != "policy_gradient":
        what = problem["kind"], "-"
    return " ".join([*what, f"{devices[0].device_kind} x{len(devices)}"])


def _path() -> Path:
    return Path(platformdirs.user_cache_dir("jaxnigt")) / "rates.json"


def _measured() -> dict[str, list[float]]:
    try:
        return json.loads(_path().read_text())
    except (OSError, ValueError):
        return {}
