"""The whole policy gradient against PyTorch and Gymnasium: useful environment steps per second.

Useful steps are those that enter a gradient; trajectories and their mean length stand beside them,
because the simulators' episodes differ in length. Both sides have the same network, horizon,
discount and batch, and both two cores: here a device each, which share the slots out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _loop import Loop, Setting
from _timing import alternate, show, write
from rich.console import Console

import jaxnigt as jn
from jaxnigt.environments.brax import quiet
from jaxnigt.problems import Estimate, PolicyGradient
from jaxnigt.sweep.cost import use_all_cores, use_compilation_cache

BATCH, DISCOUNT, CORES = 256, 0.99, 2
ROUNDS, STEPSIZE = 20, 0.2
"""Normalised steps from the fresh to the trained policy, on each side in its own simulator."""


class Case(NamedTuple):
    """An environment, and how many times as fast we want to be: on the best backend, and on mjx."""

    name: str
    gym: str
    horizon: int
    best: float
    mjx: float


CASES = (
    Case("reacher", "Reacher-v5", 50, 10.0, 4.0),
    Case("hopper", "Hopper-v5", 200, 8.0, 1.0),
    Case("humanoid", "Humanoid-v5", 100, 3.0, 2.0),
)


class Counted(PolicyGradient):
    """Policy gradients that give a trajectory's steps in place of its sum of rewards.

    So they come with the gradient, which a program of their own would double the time to compile for.
    """

    def _estimate(self, params: Any, seen: Any, weights: Any) -> Estimate:
        steps = seen.alive.sum(axis=-1).astype(seen.reward.dtype)
        return super()._estimate(params, seen, weights)._replace(undiscounted=steps)


class Ours:
    """Our gradient on one backend."""

    def __init__(self, case: Case, backend: str):
        problem = jn.problems.policy_gradient(
            case.name, backend=backend, horizon=case.horizon, discount=DISCOUNT
        )
        problem.__class__ = Counted
        self.estimate = jax.jit(jn.parallel.over_slots(problem, jn.parallel.mesh()).estimate)
        self.keys = jax.random.split(jax.random.key(1), BATCH)
        self.slots = jnp.zeros(BATCH, jnp.int32), jnp.full(BATCH, 1 / BATCH)
        self.params = problem.init(jax.random.key(0))

    def gradient(self) -> Any:
        return jax.block_until_ready(self.estimate(self.params, self.keys, *self.slots))

    def steps(self) -> int:
        return int(self.gradient().undiscounted.sum())

    def ascend(self, round_: int) -> None:
        keys = jax.random.split(jax.random.key(2 + round_), BATCH)
        gradient = self.estimate(self.params, keys, *self.slots).gradient
        self.params = jax.block_until_ready(ascended(self.params, gradient))


@jax.jit
def ascended(params: Any, gradient: Any) -> Any:
    """A normalised step, as one program.

    A device of a CPU takes 32 at a time: many small ones, waiting for a gradient that is summed over
    devices, would keep another device from beginning its part of it.
    """
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
    return jax.tree.map(lambda p, g: p + STEPSIZE * g / norm, params, gradient)


def compared(case: Case, policy: str, ours: dict[str, Ours], loop: Loop) -> list[dict[str, Any]]:
    """Rows of one environment at one policy of each side."""
    taken: list[int] = []
    runs = [side.gradient for side in ours.values()]
    seconds = alternate(*runs, lambda: taken.append(loop.gradient()[1]))
    steps = [*(side.steps() for side in ours.values()), float(np.median(taken))]
    speeds = [n / s for n, s in zip(steps, seconds, strict=True)]
    best = int(np.argmax(speeds[:-1]))
    rows = []
    for i, name in enumerate((*ours, "Gymnasium + PyTorch")):
        row = {"environment": case.name, "policy": policy, "engine": name}
        row |= {"useful [steps/s]": speeds[i], "[trajectories/s]": BATCH / seconds[i]}
        row |= {"mean length [steps]": steps[i] / BATCH, "ratio": speeds[i] / speeds[-1]}
        wanted = [case.best] * (i == best) + [case.mjx] * (name == "mjx")
        target = max(wanted, default=None)
        row["target"] = "-" if target is None else f"{target:g}"
        row["reached"] = "-" if target is None else "yes" if row["ratio"] >= target else "no"
        rows.append(row)
    return rows


def measure(case: Case) -> list[dict[str, Any]]:
    """At a fresh policy, then at one trained a little."""
    loop = Loop(Setting(case.gym, case.horizon, DISCOUNT), BATCH, CORES)
    with quiet():
        ours = {backend: Ours(case, backend) for backend in ("mjx", "spring")}
        rows = compared(case, "fresh", ours, loop)
        for round_ in range(ROUNDS):
            loop.ascend(STEPSIZE)
            for side in ours.values():
                side.ascend(round_)
        rows += compared(case, "trained", ours, loop)
    loop.close()
    return rows


def main() -> None:
    """Run, print a table, write JSON."""
    use_all_cores(CORES, lapack=False)
    use_compilation_cache()
    console = Console(width=140)
    title = f"Policy gradients of {BATCH} trajectories against PyTorch and Gymnasium in two processes"
    rows = []
    for case in CASES:
        found = measure(case)
        show(console, title, found)
        rows += found
        write(console, "gradient", {"gradients": rows})


if __name__ == "__main__":
    main()
