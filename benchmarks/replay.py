"""From a trained trace to times under 10,000 profiles, against the training that made the trace."""

from __future__ import annotations

from typing import Any

import numpy as np
from _timing import alternate, show, write
from rich.console import Console

import jaxnigt as jn
from jaxnigt.sweep import cores
from jaxnigt.sweep.work import use_compilation_cache

PROFILES, ROUNDS, TARGET = 10_000, 100, 1.0
STEPSIZES = 2.0 ** -np.arange(6.0, 9.0)
METHODS = {
    "Rennala NIGT, cancel": jn.methods.rennala_nigt(20, stepsize=STEPSIZES),
    "Rennala NIGT, finish": jn.methods.rennala_nigt(20, stepsize=STEPSIZES, restart="finish"),
    "Synchronized NIGT": jn.methods.synchronous_nigt(10, stepsize=STEPSIZES),
}


def measure(name: str, method: jn.methods.Method, profiles: jn.profiles.Profile) -> dict[str, Any]:
    """Seconds of a training of 3 stepsizes and 3 seeds, and of the replay of all its runs."""
    problem = jn.problems.policy_gradient("reacher", backend="mjx", horizon=50)

    def train() -> jn.Trace:
        return jn.train(
            problem, method, iterations=ROUNDS, seeds=3, key=0, eval_every=ROUNDS, eval_batch=8
        )

    trace = train()
    training, replaying = alternate(train, lambda: jn.replay(trace, profiles))
    share = 100 * replaying / training
    return {
        "method": name,
        "training [s]": training,
        "replay [s]": replaying,
        "share [%]": share,
        "target": f"< {TARGET:g}",
        "reached": "yes" if share < TARGET else "no",
    }


def main() -> None:
    """Run, print a table, write JSON."""
    cores.use_all()
    use_compilation_cache()
    console = Console(width=110)
    exponent, scale = np.meshgrid(np.linspace(0, 2, 100), np.logspace(-2, 2, PROFILES // 100))
    profiles = jn.profiles.power_law(10, exponent.ravel(), comm_exponent=0.5, comm_scale=scale.ravel())
    rows = [measure(name, method, profiles) for name, method in METHODS.items()]
    show(console, f"Replay of {PROFILES:,} profiles: Reacher (mjx), H = 50, n = 10, K = {ROUNDS}", rows)
    write(console, "replay", {"replays": rows})


if __name__ == "__main__":
    main()
