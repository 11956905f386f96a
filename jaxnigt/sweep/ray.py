"""The executor for a Ray cluster: every unit is a task, which Ray runs again where a worker is lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from jaxnigt.checks import InputError
from jaxnigt.sweep.execute import Cluster
from jaxnigt.sweep.plan import Unit
from jaxnigt.sweep.work import Finished, Settings, compute

_RETRIES = 5
_WAIT = 0.5
_ANSWER = 5.0


def run(units: Sequence[Unit], settings: Settings, cluster: Cluster) -> Iterator[Finished]:
    """Train units as tasks of a cluster, in whatever order they end.

    Snapshots go to the same folder as with the local executor; they serve tasks that are run again
    where the cluster's machines share it. At a stop running tasks are given up after their last one.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    ray = _connected(cluster)
    task = ray.remote(_compute).options(
        num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=_RETRIES, retry_exceptions=False
    )
    folder = settings.snapshots.absolute()
    try:
        waiting = {task.remote(unit, folder, settings.every): unit for unit in units}
        for unit in waiting.values():
            settings.board.start(unit, "ray")
        while waiting and not settings.stopping():
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_WAIT)
            for reference in ready:
                unit = waiting.pop(reference)
                yield unit, _result(ray, reference)
        for reference, unit in waiting.items():
            ray.cancel(reference, force=True)
            settings.board.stop(unit, None)
    finally:
        ray.shutdown()


def _connected(cluster: Cluster) -> Any:
    try:
        import ray
    except ImportError:
        raise InputError(
            "executor: ray is not installed, `pip install 'jaxnigt[ray]'` adds it."
        ) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        options |= {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    else:
        _check_reachable(cluster.address)
    try:
        ray.init(cluster.address, **options)
    except ConnectionError as error:
        raise InputError(f"ray-address: got {cluster.address!r}, {error}.") from None
    return ray


def _check_reachable(address: str) -> None:
    """Raise InputError where nobody answers; Ray itself goes on asking for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        if address == "auto":
            return
        raise InputError(f"ray-address: got {address!r}, host:port, ray://host:port or auto is allowed.")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()
    except OSError as error:
        raise InputError(f"ray-address: got {address!r}, nobody answers there ({error}).") from None


def _result(ray: Any, reference: Any) -> xr.Dataset | BaseException:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, Exception) else error
    except ray.exceptions.RayError as error:
        return error


def _compute(unit: Unit, folder: Path, every: float) -> xr.Dataset:
    """The task."""
    return compute(unit, snapshots=folder / unit.key, every=every)
