"""Policy gradients against bare rollouts of the same environment and batch: steps per second."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from _timing import alternate, show, write
from rich.console import Console

import jaxnigt as jn
from jaxnigt.environments import substituted
from jaxnigt.environments.brax import quiet
from jaxnigt.sweep.cost import use_compilation_cache

HORIZON = 50


def share(name: str, backend: str, batch: int) -> dict[str, Any]:
    """Throughput of one weighted gradient as a share of stepping the physics with random actions."""
    problem = jn.problems.policy_gradient(name, backend=backend, horizon=HORIZON)
    env, params = problem.env, problem.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), batch)
    workers, weights = jnp.zeros(batch, jnp.int32), jnp.full(batch, 1 / batch)

    def bare(key: jax.Array) -> Any:
        def step(state: Any, key: jax.Array) -> Any:
            action = jax.random.uniform(key, (env.action_size,), minval=-1.0, maxval=1.0)
            state = env.step(state, action)
            return state, state.reward

        reset, steps = jax.random.split(key)
        return jax.lax.scan(step, env.reset(reset), jax.random.split(steps, HORIZON))[1]

    rollouts, gradient = jax.jit(jax.vmap(bare)), jax.jit(problem.gradient)
    with quiet(), substituted():
        ours, theirs = alternate(
            lambda: jax.block_until_ready(gradient(params, keys, workers, weights)),
            lambda: jax.block_until_ready(rollouts(keys)),
            repeats=9,
        )
    steps = batch * HORIZON
    return {
        "environment": f"{name} ({backend})",
        "batch": batch,
        "gradient [steps/s]": steps / ours,
        "rollouts [steps/s]": steps / theirs,
        "share": theirs / ours,
        "target": 0.85,
        "reached": "yes" if theirs / ours >= 0.85 else "no",
    }


def main() -> None:
    """Run, print a table, write JSON."""
    use_compilation_cache()
    console = Console(width=110)
    rows = [share("reacher", *case) for case in itertools.product(("mjx", "spring"), (32, 256))]
    show(console, f"Policy gradients against bare rollouts, H = {HORIZON}", rows)
    write(console, "estimator", {"shares": rows})


if __name__ == "__main__":
    main()
