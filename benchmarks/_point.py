"""Run as `python benchmarks/_point.py AXIS SIZE`: one point of scale.py, printed as JSON."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnigt as jn
from jaxnigt.environments.brax import quiet
from jaxnigt.policies import GaussianPolicy
from jaxnigt.sweep.cost import use_all_cores, use_compilation_cache


def clock(n: int, profiles: int) -> Callable[[], Any]:
    """100 rounds of Rennala with M = n under profiles of all shades."""
    profile = jn.profiles.power_law(n, np.linspace(0.0, 2.0, profiles))
    return lambda: jn.clock.rennala(profile, n, 100, counts=False)


def round_(name: str, actions: int, width: int, batch: int) -> tuple[Callable[[], Any], int]:
    """One round in an environment of brax, slots shared out over all devices, and its d."""
    policy = GaussianPolicy(actions, hidden=(width, width))
    problem = jn.problems.policy_gradient(name, backend="spring", horizon=50, policy=policy)
    params, keys = problem.init(jax.random.key(0)), jax.random.split(jax.random.key(1), batch)
    slots = jnp.zeros(batch, jnp.int32), jnp.full(batch, 1 / batch)

    def run() -> None:
        jax.block_until_ready(jn.parallel.aggregate(problem, params, keys, *slots))

    return run, problem.dimension()


def peak() -> float:
    """GiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Warm up, time five times, print."""
    use_all_cores(lapack=False)
    use_compilation_cache()
    axis, size = sys.argv[1], int(sys.argv[2])
    with quiet():
        if axis == "n":
            run, x = clock(size, 16), size
        elif axis == "profiles":
            run, x = clock(10, size), size
        elif axis == "d":
            run, x = round_("fast", 1, size, 20)
        else:
            run, x = round_("reacher", 2, 64, 256)[0], jax.device_count()
        at_rest, seconds = peak(), []
        for _ in range(6):
            begin = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - begin)
    more = max(peak() - at_rest, 1e-3)
    print(json.dumps({"x": x, "seconds": statistics.median(seconds[1:]), "GiB": peak(), "more": more}))


if __name__ == "__main__":
    main()
