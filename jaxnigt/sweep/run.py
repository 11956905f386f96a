"""Running a sweep: train what is not there yet, replay, write, draw, and say what was done."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import platformdirs
from rich.console import Console

from jaxnigt.errors import TrainingDiverged
from jaxnigt.problems import Problem
from jaxnigt.sweep import plan, report, store
from jaxnigt.sweep.progress import training_progress
from jaxnigt.sweep.results import assemble
from jaxnigt.sweep.spec import Definition
from jaxnigt.trace import Trace
from jaxnigt.training import train


def run(definition: Definition, out: Path, console: Console, *, fresh: bool = False) -> int:
    """Run a sweep into a folder.

    Units that are there already, with the same content, are read instead of computed.

    Args:
        definition: what to run.
        out: the folder; made where it does not exist.
        console: where progress and the table go.
        fresh: compute everything again.

    Returns:
        0, or 1 where a unit failed.

    Raises:
        InputError: something in the definition is not allowed; nothing has been written then.
    """
    units = plan.check(definition)
    store.check_writable(out)
    found = {} if fresh else _reusable(units, out)
    problem = plan.problem(definition) if len(found) < len(units) else None
    use_compilation_cache()
    traces: dict[str, Trace] = {}
    failures: list[str] = []
    for unit in units:
        if unit.label in found:
            traces[unit.label] = found[unit.label]
            console.print(f"{unit.label}: reused {out / 'units' / unit.filename}")
            continue
        try:
            assert problem is not None
            traces[unit.label] = _train(definition, problem, unit, console)
        except TrainingDiverged as error:
            failures.append(f"{unit.label}: {error}")
            console.print(f"{unit.label}: stopped, the others go on", style="bold red")
            continue
        store.write(store.trace_dataset(traces[unit.label]), out / "units" / unit.filename)
    if traces:
        _finish(definition, traces, out, console)
    for failure in failures:
        console.print(f"failed: {failure}", style="bold red")
    return 1 if failures else 0


def use_compilation_cache() -> None:
    """Keep compiled programs between runs, unless the user has said where or that they be not."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path(platformdirs.user_cache_dir("jaxnigt")) / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))


def _reusable(units: list[plan.TrainingUnit], out: Path) -> dict[str, Trace]:
    found = {}
    for unit in units:
        dataset = store.read(out / "units" / unit.filename)
        if dataset is not None:
            found[unit.label] = store.dataset_trace(dataset, unit.method)
    return found


def _train(definition: Definition, problem: Problem, unit: plan.TrainingUnit, console: Console) -> Trace:
    training = definition.training
    runs = len(next(iter(unit.method.leaves().values()))) * training.seeds
    console.print(
        f"{unit.label}: training {runs} runs of {unit.iterations} rounds, "
        f"{unit.method.collection.batch} trajectories each"
    )
    with training_progress(console, unit.label, unit.iterations) as progress:
        return train(
            problem,
            unit.method,
            iterations=unit.iterations,
            seeds=training.seeds,
            key=training.key,
            eval_every=training.eval_every,
            eval_batch=training.eval_batch,
            progress=progress,
        )


def _finish(definition: Definition, traces: dict[str, Trace], out: Path, console: Console) -> None:
    tree = assemble(definition, traces)
    store.write(tree, out / store.RESULTS)
    written = [out / store.RESULTS]
    if definition.figure:
        from jaxnigt.figures import draw

        written += draw(tree, out)
    report.show(tree, written, console)
