"""How long units take: from what earlier ones of this machine took, or from a table."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import jax
import platformdirs
import xarray as xr

from jaxnigt.problems import PolicyGradient
from jaxnigt.sweep import build, files
from jaxnigt.sweep.plan import Unit

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

_KEPT = 8
"""Measurements that are remembered for each environment."""


def steps(unit: Unit) -> int:
    """Environment steps of a unit, those of evaluations included."""
    problem = build.problem(unit.problem, unit.workers)
    method = build.method(unit.method, unit.workers)
    trajectories = int(method.sizes(unit.iterations).sum())
    evaluations = -(-unit.iterations // unit.training["eval_every"])
    if isinstance(problem, PolicyGradient):
        trajectories += evaluations * unit.training["eval_batch"]
    return unit.runs * trajectories * getattr(problem, "horizon", 1)


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
