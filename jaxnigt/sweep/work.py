"""Where units are trained: in this process, which can be stopped at safe points, or as tasks of Ray."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from jaxnigt.checks import InputError, Stopped
from jaxnigt.registry import make
from jaxnigt.sweep import build, cost
from jaxnigt.sweep.definition import run_module
from jaxnigt.sweep.plan import Unit
from jaxnigt.sweep.screen import Board
from jaxnigt.training.loop import Progress, train
from jaxnigt.training.snapshots import Snapshots

Finished = tuple[Unit, "xr.Dataset | BaseException"]
"""A unit with what came of it."""

_RETRIES = 5
"""Times that Ray runs a task again where a worker is lost."""
_WAIT, _ANSWER = 0.5, 5.0
"""Seconds between questions whether to stop, and for a cluster to answer."""
_WORDS = b"\nstopping at the next safe point; press Ctrl-C again to stop at once\n"


class Cluster(NamedTuple):
    """Where and with what Ray runs units."""

    address: str | None = None  # None starts a cluster on this machine
    cpus: float = 1.0  # cores that a unit asks for
    gpus: float = 0.0  # accelerators that a unit asks for


class Settings(NamedTuple):
    """How units are run."""

    snapshots: Path  # folder of the snapshots of all units
    every: float  # seconds between snapshots
    stopping: Callable[[], bool]  # asked at safe points whether to stop
    board: Board
    cluster: Cluster


def compute(
    unit: Unit,
    *,
    snapshots: Path,
    every: float,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Train a unit, from plain tables to a data set. It can be done in any process.

    Raises:
        TrainingDiverged: no run is left that is finite.
        Stopped: `stopping` said so, after some `eval_every` rounds; the snapshot is there.
    """
    cost.use_compilation_cache()
    for module in unit.modules:
        run_module(module)
    kept = Snapshots(snapshots, every=every, stopping=stopping, fingerprint=unit.key)
    trace = train(
        build.problem(unit.problem, unit.workers),
        build.method(unit.method, unit.workers),
        iterations=unit.iterations,
        seeds=unit.seeds,
        **unit.training,
        profile=unit.batch.profile if unit.batch else None,
        comm_model=make("communication", unit.clock_model) if unit.clock_model else None,
        progress=progress,
        keep_diverged=True,
        snapshots=kept,
    )
    dataset = trace.to_xarray(unit.batch.labels if unit.batch else None)
    return dataset.assign_attrs(resumed=int(kept.restored))


def run_here(units: Sequence[Unit], settings: Settings) -> Iterator[Finished]:
    """Train units in this process; ends early where it is to stop."""
    for unit in units:
        if settings.stopping():
            return
        settings.board.start(unit)
        try:
            result = compute(
                unit,
                snapshots=settings.snapshots / unit.key,
                every=settings.every,
                stopping=settings.stopping,
                progress=functools.partial(settings.board.update, unit),
            )
        except Stopped as stopped:
            settings.board.stop(unit, stopped.done)
            return
        except Exception as error:  # a unit that fails must not take the others along
            result = error
        yield unit, result


def run_on_ray(units: Sequence[Unit], settings: Settings) -> Iterator[Finished]:
    """Train units as tasks of a Ray cluster, in whatever order they end.

    Snapshots go to the same folder as with the local executor; they serve tasks that are run again
    where the cluster's machines share it. At a stop running tasks are given up after their last one.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    if not units:
        return
    ray = _connected(settings.cluster.address)
    task = ray.remote(_compute).options(
        num_cpus=settings.cluster.cpus,
        num_gpus=settings.cluster.gpus,
        max_retries=_RETRIES,
        retry_exceptions=False,
    )
    folder = settings.snapshots.absolute()
    try:
        waiting = {task.remote(unit, folder / unit.key, settings.every): unit for unit in units}
        for unit in units:
            settings.board.start(unit, "ray")
        while waiting and not settings.stopping():
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=_WAIT)
            for reference in ready:
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None)
                    result = cause if isinstance(cause, Exception) else error
                yield waiting.pop(reference), result
        for reference, unit in waiting.items():
            ray.cancel(reference, force=True)
            settings.board.stop(unit, None)
    finally:
        ray.shutdown()


def _compute(unit: Unit, folder: Path, every: float) -> xr.Dataset:
    """The task, whose name Ray gives to its processes."""
    return compute(unit, snapshots=folder, every=every)


def _connected(address: str | None) -> Any:
    """The module `ray`, connected to a cluster."""
    try:
        import ray
    except ImportError:
        raise InputError(
            "executor: ray is not installed, `pip install 'jaxnigt[ray]'` adds it."
        ) from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    elif address != "auto":
        _check_reachable(address)
    try:
        ray.init(address, **options)
    except ConnectionError as error:
        raise InputError(f"ray-address: got {address!r}, {error}.") from None
    return ray


def _check_reachable(address: str) -> None:
    """Raise InputError where nobody answers; Ray itself goes on asking for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"ray-address: got {address!r}, host:port, ray://host:port or auto is allowed.")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()
    except OSError as error:
        raise InputError(f"ray-address: got {address!r}, nobody answers there ({error}).") from None


EXECUTORS = {"local": run_here, "ray": run_on_ray}


def _heeded() -> list[signal.Signals]:
    """Signals by which people and queues of clusters end a run, but for those that are to be ignored."""
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    numbers = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    # Under `nohup` a run is to go on when its terminal is closed.
    ours = (signal.SIGINT, signal.SIGTERM)
    return [x for x in numbers if x in ours or signal.getsignal(x) != signal.SIG_IGN]


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """A question whether to stop, which Ctrl-C and the other signals of `_heeded` answer with yes."""
    asked = threading.Event()

    def handle(number: int, _: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # Consoles and logs may be in the middle of something; the system's own write never is.
        with contextlib.suppress(OSError):
            os.write(2, _WORDS)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, handle) for number in _heeded()}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
