"""One device of JAX for each core, as a CPU hardly shares out a batch as narrow as a round's."""

from __future__ import annotations

import contextlib
import os

import jax

_MOST = 8
"""More devices would each have a trajectory or two of a usual round."""

_THREADS = 4
"""For each device. A factorisation by LAPACK waits, on a thread of XLA's pool, for parts of it that
run on others; with a thread for each device all may wait and none work."""


def use_all(most: int = _MOST, *, lapack: bool = True) -> None:
    """Give the CPU as many devices as this process may use cores, before JAX has started.

    The user's own JAX_NUM_CPU_DEVICES or XLA_FLAGS win, and a JAX that runs already stays as it is.

    Args:
        most: no more than these.
        lapack: whether programs may call LAPACK, for which XLA needs more threads than devices; they
            cost speed. The environments of Brax never do, see `jaxnigt.environments.factorisation`.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    devices = int(os.environ.get("JAX_NUM_CPU_DEVICES", min(_cores(), most)))
    with contextlib.suppress(RuntimeError):  # JAX has started
        jax.config.update("jax_num_cpu_devices", devices)
        if lapack and devices > 1:
            os.environ.setdefault("NPROC", str(_THREADS * devices))  # what XLA makes its pool of


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
