"""Malenia's rounds of unequal sizes: packed into batches of one shape, and each round whole."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from _timing import alternate, show, write
from rich.console import Console

import jaxnigt as jn
from jaxnigt.profiles import noise
from jaxnigt.sweep.cost import use_compilation_cache
from jaxnigt.training.packed import PackedProgram
from jaxnigt.training.packing import layout
from jaxnigt.training.rounds import Task
from jaxnigt.training.runs import seed_keys

ROUNDS, EVERY, SEEDS, WORKERS = 40, 20, 3, 10
TIMES = {
    "fixed": (None, 0.8),
    "exponential": (noise.exponential(), 1.0),
    "Pareto 1.5": (noise.pareto(1.5), 5.0),
}
"""Noise of the times, and the ratio that is aimed at."""


def program(task: Task, *, whole: bool) -> tuple[Any, PackedProgram]:
    """A call that trains from the start, clock and evaluation aside."""
    made = PackedProgram(task)
    made.layout = layout(made.samples, EVERY, SEEDS, whole=whole)
    keys = seed_keys(jax.random.key(0), task.seeds)

    def run() -> None:
        state = made.initial(keys)
        for done in range(0, ROUNDS, EVERY):
            state, _ = made.advance(state, keys, done, done + EVERY)
        jax.block_until_ready(state)

    return run, made


def row(problem: jn.Problem, name: str) -> dict[str, Any]:
    """One kind of times: eight profiles from equal workers to h_i = i."""
    own, target = TIMES[name]
    compute = np.arange(1.0, WORKERS + 1) ** np.linspace(0.0, 1.0, 8)[:, None]
    profile = jn.Profile(compute, noise=own)
    method, devices = jn.methods.malenia_nigt(20, stepsize=0.02), jax.local_devices()[:1]
    seeds, key = tuple(range(SEEDS)), jax.random.key(1)
    task = Task(problem, method, ROUNDS, EVERY, 1, seeds, profile, key, None, None, devices)
    (packed, made), (whole, _) = (program(task, whole=whole) for whole in (False, True))
    fast, slow = alternate(packed, whole, repeats=3)
    gradients = int(made.samples.sum()) * SEEDS
    return {
        "times": name,
        "gradients": gradients,
        "widest round": int(made.samples.max()),
        "mean round": float(made.samples.mean()),
        "width": made.layout.width,
        "lanes": made.layout.lanes,
        "gradients/s": gradients / fast,
        "ratio": slow / fast,
        "target": target,
        "reached": "yes" if slow / fast >= target else "no",
    }


def main() -> None:
    """Run, print a table, write JSON."""
    use_compilation_cache()
    console = Console(width=130)
    problem = jn.problems.tabular(workers=WORKERS)
    rows = [row(problem, name) for name in TIMES]
    show(
        console,
        "Malenia NIGT, tabular, n = 10, M = 20, 8 profiles x 3 seeds: packed against whole",
        rows,
    )
    write(console, "packing", {"packing": rows})


if __name__ == "__main__":
    main()
