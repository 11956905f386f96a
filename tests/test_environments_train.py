"""Training on the environments of the paper: minutes of physics, so marked slow."""

import jax
import numpy as np
import pytest

import jaxnigt as jn

pytestmark = [pytest.mark.slow, pytest.mark.loose]

PROFILE = jn.profiles.power_law(3, 0.5)


@pytest.mark.parametrize("backend", ["mjx", "spring"])
@pytest.mark.parametrize("name", ["hopper", "walker2d", "humanoid"])
def test_fifty_rounds_stay_finite(name, backend):
    problem = jn.problems.policy_gradient(name, backend=backend, horizon=50)
    trace = jn.train(
        problem, jn.methods.rennala_nigt(6), iterations=50, seeds=1, eval_every=25, eval_batch=12
    )
    assert trace.gradient_norm.shape == (1, 50)
    for values in (trace.gradient_norm, trace.direction_norm, trace.objective, trace.undiscounted):
        assert np.isfinite(values).all()
    assert (trace.gradient_norm > 0).all()
    for leaf in (trace.batch_discounted, trace.batch_undiscounted):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("indicator", [True, False])
def test_the_papers_heterogeneous_humanoid(indicator):
    """One worker sees everything negated; Malenia and AFedPG train along the clock's schedule."""
    problem = jn.problems.policy_gradient(
        "humanoid",
        backend="spring",
        horizon=20,
        heterogeneity=jn.environments.flipped((1, 1, -1), indicator=indicator),
    )
    for method, rounds in ((jn.methods.malenia_nigt(6), 10), (jn.methods.afedpg(), 30)):
        trace = jn.train(
            problem, method, iterations=rounds, profile=PROFILE, eval_every=rounds // 2, eval_batch=12
        )
        assert trace.worker_objective.shape == (1, 2, 3)
        assert np.isfinite(trace.worker_objective).all()
        assert np.isfinite(trace.gradient_norm).all()
        np.testing.assert_allclose(trace.worker_objective.mean(axis=-1), trace.objective, rtol=1e-5)


def test_hopper_learns():
    """At least a fifth better within 300 rounds at the best of three stepsizes."""
    problem = jn.problems.policy_gradient("hopper", backend="spring", horizon=200)
    method = jn.methods.rennala_nigt(20, stepsize=[2**-8, 2**-7, 2**-6])
    trace = jn.train(problem, method, iterations=120, seeds=1, eval_every=30, eval_batch=64)
    returns = trace.undiscounted[:, 0]
    print(f"returns of the three stepsizes: {returns.round(1).tolist()}")
    assert returns.max() >= 1.2 * returns[0, 0] > 0


def test_wavefronts_are_one_gradient_at_a_time_on_reacher():
    """In float32, ten updates apart at most by rounding."""
    problem = jn.problems.policy_gradient("reacher", backend="mjx", horizon=50)
    for exponent in (0.0, 0.5):
        profile = jn.profiles.power_law(10, exponent)
        one, batch = (
            jn.train(
                problem,
                jn.methods.afedpg(lanes=lanes),
                iterations=10,
                profile=profile,
                eval_every=10,
                eval_batch=8,
            )
            for lanes in (1, 10)
        )
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(batch.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(a).max())
        np.testing.assert_allclose(one.gradient_norm, batch.gradient_norm, rtol=1e-2)


@pytest.mark.slow
def test_many_runs_of_a_humanoid_are_evaluated_at_once():
    """A kernel for arrays of seven axes, which five stepsizes times two seeds had, ended the process."""
    problem = jn.problems.policy_gradient("humanoid", backend="spring", horizon=2)
    method = jn.methods.rennala_nigt(4, stepsize=[2.0**-k for k in range(5, 10)])
    trace = jn.train(problem, method, iterations=2, seeds=2, eval_every=1, eval_batch=32)
    alone = jn.train(
        problem,
        jn.methods.rennala_nigt(4, stepsize=2.0**-5),
        iterations=2,
        seeds=2,
        eval_every=1,
        eval_batch=32,
    )
    np.testing.assert_allclose(trace.objective[0], alone.objective, rtol=1e-4)
