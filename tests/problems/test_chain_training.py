"""Every kind of method climbs the hard instances through `jn.train`."""

import jax
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.problems import chain, chain_blocks, chain_deterministic, chain_group, chain_split

TRAINED = {
    "rennala_nigt": (chain, lambda: jn.methods.rennala_nigt(8, momentum=0.3, stepsize=0.05), 20.0),
    "rennala_nigt with a threshold": (
        lambda: chain(threshold=0.25),
        lambda: jn.methods.rennala_nigt(8, momentum=0.3, stepsize=0.05),
        20.0,
    ),
    "rennala_pg": (chain, lambda: jn.methods.rennala_pg(8, stepsize=0.02), 20.0),
    "synchronous_nigt": (
        chain,
        lambda: jn.methods.synchronous_nigt(4, momentum=0.3, stepsize=0.05),
        20.0,
    ),
    "afedpg": (chain, lambda: jn.methods.afedpg(momentum=0.2, stepsize=0.02), 8.0),
    "malenia_nigt on blocks": (
        chain_blocks,
        lambda: jn.methods.malenia_nigt(16, momentum=0.3, stepsize=0.05),
        15.0,
    ),
    "malenia_nigt on a group": (
        lambda: chain_group(owners=(2, 3)),
        lambda: jn.methods.malenia_nigt(16, momentum=0.3, stepsize=0.05),
        20.0,
    ),
    "malenia_pg on a split": (
        lambda: chain_split(workers=4),
        lambda: jn.methods.malenia_pg(16, stepsize=0.02),
        20.0,
    ),
    "synchronous_nigt, deterministic": (
        chain_deterministic,
        lambda: jn.methods.synchronous_nigt(1, momentum=0.3, stepsize=0.05),
        4.0,
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_methods_climb(name):
    make, method, climbed = TRAINED[name]
    problem = make()
    profile = jn.profiles.power_law(method().collection.batch if "deterministic" in name else 4, 1.0)
    trace = jn.train(problem, method(), iterations=160, seeds=2, key=1, eval_every=40, profile=profile)
    objective = trace.objective.reshape(-1, 4)
    print(f"{name}: J {objective.mean(axis=0)}")
    assert (objective[:, -1] > objective[:, 0] + climbed).all()
    start = problem.evaluate(problem.init(jax.random.key(0)), jax.random.split(jax.random.key(0), 1))
    np.testing.assert_allclose(objective[:, 0], start.objective, rtol=1e-6)
    assert trace.params["x"].shape[-2:] == problem.shape
