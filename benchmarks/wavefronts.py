"""AFedPG by wavefronts against one gradient at a time, and all runs at once against a loop."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
from _timing import alternate, show, write
from rich.console import Console

import jaxnigt as jn
from jaxnigt.sweep.cost import use_compilation_cache
from jaxnigt.training import arrivals as training_arrivals
from jaxnigt.training.arrivals import ArrivalProgram
from jaxnigt.training.rounds import Task
from jaxnigt.training.runs import seed_keys

UPDATES = 60
PACES = {
    "equal": (jn.profiles.equal(10), 3.5),
    "sqrt(i)": (jn.profiles.power_law(10, 0.5), 2.5),
    "stragglers": (jn.profiles.stragglers(10, 3, 10.0), None),
    "exponential": (jn.profiles.equal(10).replace(noise="exponential"), None),
}


def program(
    problem: jn.Problem, profile: jn.Profile, lanes: int | None, stepsizes: np.ndarray, seeds: int
) -> tuple[Any, ArrivalProgram]:
    """A call that trains from the start, clock and evaluation aside."""
    method = jn.methods.afedpg(stepsize=stepsizes, lanes=lanes)
    key = jax.random.key(0)
    devices = jax.local_devices()[:1]
    numbers = tuple(range(seeds))
    made = ArrivalProgram(
        Task(problem, method, UPDATES, UPDATES, 1, numbers, profile, key, None, None, devices)
    )
    keys = seed_keys(key, range(seeds))

    def run() -> None:
        jax.block_until_ready(made.advance(made.initial(keys), keys, 0, UPDATES))

    return run, made


def against_one_at_a_time(problem: jn.Problem) -> list[dict[str, Any]]:
    """Every pace for one run; for many, those with the most and with the fewest full lanes."""
    rows = []
    cases = [(pace, 1) for pace in PACES] + [("equal", 20), ("exponential", 20)]
    for pace, runs in cases:
        profile, target = PACES[pace]
        stepsizes = np.full(4 if runs == 20 else 1, 2.0**-7)
        (chosen, made), (one, _) = (
            program(problem, profile, lanes, stepsizes, min(runs, 5)) for lanes in (None, 1)
        )
        fast, slow = alternate(chosen, one, repeats=5)
        wanted = (target if runs == 1 else 0.95) or 0.95
        rows.append(
            {
                "times": pace,
                "runs": runs,
                "lanes": made.lanes,
                "lanes in use": made.useful,
                "gradients/s": UPDATES * runs / fast,
                "ratio": slow / fast,
                "target": wanted,
                "reached": "yes" if slow / fast >= wanted else "no",
            }
        )
    return rows


def all_at_once(name: str, problem: jn.Problem, updates: int, repeats: int) -> dict[str, Any]:
    """4 stepsizes x 5 seeds x 8 profiles: one call of jn.train against 160."""
    stepsizes = 2.0 ** -np.arange(5.0, 9.0)
    profile = jn.profiles.power_law(10, np.linspace(0.0, 1.0, 8))
    options = {"iterations": updates, "eval_every": updates, "eval_batch": 1}

    def together() -> None:
        method = jn.methods.afedpg(stepsize=stepsizes)
        jn.train(problem, method, seeds=5, profile=profile, key=0, **options)

    def alone(stepsize: float, seed: int, place: int) -> None:
        method = jn.methods.afedpg(stepsize=stepsize)
        jn.train(problem, method, seeds=1, profile=profile[place], key=seed, **options)

    def loop() -> None:
        for stepsize, seed, place in itertools.product(stepsizes.tolist(), range(5), range(8)):
            alone(stepsize, seed, place)

    training_arrivals.advance.clear_cache()
    together()
    programs = training_arrivals.advance._cache_size()
    for place in range(8):  # whatever number of lanes a profile asks for is compiled beforehand
        alone(0.01, 0, place)
    fast, slow = alternate(together, loop, repeats=repeats, warm=False)
    return {
        "problem": name,
        "programs": programs,
        "at once [s]": fast,
        "loop [s]": slow,
        "ratio": slow / fast,
        "target": 3,
        "reached": "yes" if slow / fast >= 3 and programs == 1 else "no",
    }


def main() -> None:
    """Run, print tables, write JSON."""
    use_compilation_cache()
    console = Console(width=110)
    reacher = jn.problems.policy_gradient("reacher", backend="mjx", horizon=50)
    alone = against_one_at_a_time(reacher)
    show(console, "Wavefronts against one gradient at a time, Reacher (mjx), n = 10, H = 50", alone)
    together = [
        all_at_once("tabular, H = 20", jn.problems.tabular(), 100, 3),
        all_at_once("Reacher (mjx), H = 50", reacher, 10, 1),
    ]
    title = "AFedPG, 4 stepsizes x 5 seeds x 8 profiles: one program against a Python loop"
    show(console, title, together)
    write(console, "wavefronts", {"one_at_a_time": alone, "loop": together})


if __name__ == "__main__":
    main()
