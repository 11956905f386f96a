"""What one unit is: a training, from plain tables to a data set. Runs in any process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import platformdirs
import xarray as xr

from jaxnigt.parallel import Device
from jaxnigt.snapshots import Snapshots
from jaxnigt.sweep import build
from jaxnigt.sweep.traces import trace_dataset
from jaxnigt.sweep.unit import Unit
from jaxnigt.training import Progress, train


def compute(
    unit: Unit,
    *,
    snapshots: Path | None = None,
    every: float = 120.0,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
    devices: Sequence[Device] | None = None,
) -> xr.Dataset:
    """Train a unit.

    Args:
        unit: of a plan.
        snapshots: folder for snapshots of this unit.
        every: seconds between them.
        stopping: asked after every `eval_every` rounds whether to stop.
        progress: as for `jaxnigt.train`.
        devices: likewise.

    Raises:
        TrainingDiverged: no run is left that is finite.
        Stopped: `stopping` said so; the snapshot is there.
    """
    use_compilation_cache()
    problem = build.problem(unit.problem, unit.workers)
    method = build.method(unit.method, unit.workers)
    kept = snapshots and Snapshots(snapshots, every=every, stopping=stopping)
    batch = unit.batch
    trace = train(
        problem,
        method,
        iterations=unit.iterations,
        seeds=unit.seeds,
        key=unit.training["key"],
        eval_every=unit.training["eval_every"],
        eval_batch=unit.training["eval_batch"],
        profile=batch.profile if batch else None,
        comm_model=unit.clock_model,
        progress=progress,
        keep_diverged=True,
        snapshots=kept or None,
        devices=devices,
    )
    labels = batch.labels if batch else None
    dataset = trace_dataset(trace, unit.seeds, build.momenta(unit.method), labels)
    return dataset.assign_attrs(resumed=int(kept.restored) if kept else 0)


def use_compilation_cache() -> None:
    """Keep compiled programs between runs, unless the user has said where or that they be not."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path(platformdirs.user_cache_dir("jaxnigt")) / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
