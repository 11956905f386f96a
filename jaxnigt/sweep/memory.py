"""How much memory a unit takes, estimated from the shapes of its arrays before anything is compiled."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import psutil

from jaxnigt.checks import InputError
from jaxnigt.methods import Asynchronous, Malenia, Method
from jaxnigt.problems import Problem

if TYPE_CHECKING:
    from jaxnigt.sweep.unit import Unit

_UNITS = {"B": 0, "KIB": 1, "MIB": 2, "GIB": 3, "TIB": 4, "K": 1, "M": 2, "G": 3, "T": 4}
_COPIES = 6
"""Of params in a run: theta, the one before, the direction, the point, the gradient and the update."""


def default_budget() -> int:
    """Bytes: three quarters of an accelerator's memory, half of the machine's on CPU."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(0.75 * stats["bytes_limit"])
    return psutil.virtual_memory().total // 2


def parse(text: str) -> int:
    """Bytes from "4 GiB", "512M" or a number of bytes.

    Raises:
        InputError: anything else.
    """
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

    An estimate from above of what lives at one time; the program itself and Python are not in it.
    """
    theta = 4 * problem.dimension()
    lanes = max(slots(method, unit) * unit.runs, unit.training["eval_batch"] * unit.runs)
    trajectories = lanes * (problem.trajectory_bytes() + theta)
    points = unit.workers if isinstance(method.collection, Asynchronous) else 0
    state = unit.runs * theta * (_COPIES + points)
    evaluations = math.ceil(unit.iterations / unit.training["eval_every"])
    worker_problems = problem.workers or 1
    # Four numbers a round and 2 + W an evaluation, held twice while they are put together.
    record = 2 * unit.runs * 4 * (4 * unit.iterations + (2 + worker_problems) * evaluations)
    return int(trajectories + state + record)


def slots(method: Method, unit: Unit) -> int:
    """Trajectories that a run computes at once."""
    if isinstance(method.collection, Asynchronous):
        return min(method.collection.lanes or unit.workers, unit.workers)
    batch = max(method.init_batch, method.collection.batch)
    if unit.batch is None or not isinstance(method.collection, Malenia):
        return batch
    # A round is over after 2 (h_n + mean(h) M / n) seconds, until when all deliver.
    h = unit.batch.profile.compute
    live = np.isfinite(h).all(axis=-1, keepdims=True)
    end = 2 * (h.max(axis=-1, keepdims=True) + h.mean(axis=-1, keepdims=True) * batch / h.shape[-1])
    return int(np.where(live, np.ceil(end / h), 0).sum(axis=-1).max(initial=batch))


def array_bytes(tree: Any) -> int:
    """Bytes of a pytree of arrays or of their shapes."""
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))
