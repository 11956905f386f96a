"""From a trained trace to times under 10,000 profiles, against the training that made the trace."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from _timing import alternate, show, write
from rich.console import Console

import jaxnigt as jn
from jaxnigt.sweep.cost import use_all_cores, use_compilation_cache

PROFILES, ROUNDS, TARGET = 10_000, 100, 1.0
STEPSIZES = 2.0 ** -np.arange(6.0, 9.0)
METHODS = {
    "rennala_nigt": {
        restart: jn.methods.rennala_nigt(20, stepsize=STEPSIZES, restart=restart)
        for restart in ("cancel", "finish")
    },
    "synchronous_nigt": {"-": jn.methods.synchronous_nigt(10, stepsize=STEPSIZES)},
}
"""By name and restart rule, which trainings do not depend on."""


def measure(
    name: str, methods: dict[str, jn.methods.Method], profiles: jn.profiles.Profile
) -> list[dict[str, Any]]:
    """Seconds of a training of 3 stepsizes and 3 seeds, and of the replay of all its runs."""
    problem = jn.problems.policy_gradient("reacher", backend="mjx", horizon=50)
    options = {"iterations": ROUNDS, "seeds": 3, "eval_every": ROUNDS, "eval_batch": 8}
    traces = [jn.train(problem, method, key=0, **options) for method in methods.values()]
    training, *replaying = alternate(
        lambda: jn.train(problem, next(iter(methods.values())), key=0, **options),
        *(functools.partial(jn.replay, trace, profiles) for trace in traces),
    )
    return [
        {
            "method": name,
            "restart": restart,
            "training [s]": training,
            "replay [s]": seconds,
            "share [%]": 100 * seconds / training,
            "target": f"< {TARGET:g}",
            "reached": "yes" if 100 * seconds / training < TARGET else "no",
        }
        for restart, seconds in zip(methods, replaying, strict=True)
    ]


def main() -> None:
    """Run, print a table, write JSON."""
    use_all_cores(lapack=False)
    use_compilation_cache()
    console = Console(width=110)
    exponent, scale = np.meshgrid(np.linspace(0, 2, 100), np.logspace(-2, 2, PROFILES // 100))
    profiles = jn.profiles.power_law(10, exponent.ravel(), comm_exponent=0.5, comm_scale=scale.ravel())
    rows = [row for name, methods in METHODS.items() for row in measure(name, methods, profiles)]
    show(console, f"Replay of {PROFILES:,} profiles: Reacher (mjx), H = 50, n = 10, K = {ROUNDS}", rows)
    write(console, "replay", {"replays": rows})


if __name__ == "__main__":
    main()
