"""Every method on every small problem, in one table."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.policies import GaussianPolicy
from jaxnigt.training import arrivals as training_arrivals
from jaxnigt.training import packed as training_packed
from jaxnigt.training import rounds as training_rounds
from tests.compiled import cleared

N, SEEDS, EVERY = 4, 3, 25
PROFILES = jn.profiles.power_law(N, np.array([0.0, 0.5, 1.0]), 0.5, 0.1)

# Name -> (makes a method from stepsizes, rounds, stepsize as a multiple of the problem's own).
METHODS = {
    "rennala_nigt": (lambda **a: jn.methods.rennala_nigt(16, init_batch=24, **a), 75, 1.0),
    "malenia_nigt": (lambda **a: jn.methods.malenia_nigt(16, **a), 75, 1.0),
    "synchronous_nigt": (lambda **a: jn.methods.synchronous_nigt(N, **a), 100, 1.0),
    "m_synchronous_nigt": (lambda **a: jn.methods.m_synchronous_nigt(3, **a), 100, 1.0),
    "rennala_pg": (lambda **a: jn.methods.rennala_pg(16, **a), 75, 1.0),
    "malenia_pg": (lambda **a: jn.methods.malenia_pg(16, **a), 75, 1.0),
    "synchronous_pg": (lambda **a: jn.methods.synchronous_pg(N, **a), 100, 1.0),
    "n_pg_igt": (lambda **a: jn.methods.n_pg_igt(**a), 200, 20.0),
    "afedpg": (lambda **a: jn.methods.afedpg(**a), 300, 0.5),
    "afedpg_decreasing": (
        lambda **a: jn.methods.afedpg(schedule="decreasing", momentum=0.9, **a),
        300,
        10.0,
    ),
    "rennala_double_optimism": (
        lambda **a: jn.methods.rennala_double_optimism(16, rate=1.0, **a),
        300,
        1.0,
    ),
    "malenia_double_optimism": (
        lambda **a: jn.methods.malenia_double_optimism(16, rate=1.0, adaptive=True, **a),
        300,
        1.0,
    ),
    "afedpg_without_lookahead": (lambda **a: jn.methods.afedpg(lookahead=False, **a), 300, 0.5),
}
# Name -> (problem, stepsize of normalised steps and of plain ones, by how much J improves).
PROBLEMS = {
    "tabular": (lambda: jn.problems.tabular(), 0.05, 0.25, 0.3),
    "heterogeneous": (lambda: jn.problems.tabular(workers=N, heterogeneity=0.4), 0.05, 0.25, 0.1),
    "linear_quadratic": (lambda: jn.problems.linear_quadratic(horizon=8), 0.005, 0.0005, 0.1),
    "brax": (
        lambda: jn.problems.policy_gradient(
            "line", horizon=2, discount=0.9, policy=GaussianPolicy(1, hidden=(4,))
        ),
        0.02,
        0.1,
        0.1,
    ),
}


@pytest.fixture(scope="module", params=PROBLEMS)
def case(request):
    make, *rest = PROBLEMS[request.param]
    return make(), *rest


PROGRAMS = training_rounds.advance, training_arrivals.advance, training_packed.advance


@pytest.mark.parametrize("name", METHODS)
def test_every_method_on_every_problem(case, name):
    problem, normalised, plain, margin = case
    make, rounds, share = METHODS[name]
    stepsize = plain if name.endswith("_pg") else normalised
    method = make(stepsize=share * stepsize * np.array([0.5, 1.0]))
    profile = PROFILES if name != "n_pg_igt" else jn.profiles.equal(1)
    options = {"seeds": SEEDS, "profile": profile, "eval_every": EVERY, "eval_batch": 512}
    if name == "n_pg_igt" and problem.workers:  # one worker alone has no problem of four
        with pytest.raises(jn.InputError, match="profile: got n = 1 workers, the problem has 4"):
            jn.train(problem, method, iterations=rounds, key=3, **options)
        return
    added = cleared(*PROGRAMS)
    trace = jn.train(problem, method, iterations=rounds, key=3, **options)

    # J improves.
    last = trace.objective[..., -1].mean(axis=-1)
    assert (last > trace.objective[..., 0].mean(axis=-1) + 0.2 * margin).all()
    assert last.max() > trace.objective[..., 0].mean() + margin

    # Shapes and dtypes.
    scheduled = not trace.replayable
    leading = (*((3,) if scheduled else ()), 2, SEEDS)
    evaluations = rounds // EVERY
    assert trace.objective.shape == (*leading, evaluations)
    assert trace.worker_objective.shape == (*leading, evaluations, problem.workers or 1)
    np.testing.assert_allclose(trace.worker_objective.mean(axis=-1), trace.objective, rtol=1e-5)
    for field in ("gradient_norm", "direction_norm", "batch_discounted", "batch_undiscounted"):
        value = getattr(trace, field)
        assert value.shape == (*leading, rounds)
        assert value.dtype == np.float32
        assert np.isfinite(value).all()
    expected = ((3, rounds), np.float64) if scheduled else None
    assert (
        (trace.times is None)
        if expected is None
        else ((trace.times.shape, trace.times.dtype) == expected)
    )
    assert trace.samples.shape == ((3, rounds) if scheduled else (rounds,))
    for leaf in jax.tree.leaves(trace.params):
        assert leaf.shape[: len(leading)] == leading
        assert leaf.dtype == np.float32

    # One program for each shape: the first round of another size is a shape of its own.
    ahead = int(method.init_batch != method.collection.batch)
    along = (0, 1, 0) if name.startswith("afedpg") else (0, 0, 1)
    expected = along if scheduled else (1 + ahead, 0, 0)
    assert added() == expected

    # Equal keys, equal results, without compiling again; another key, another result.
    again = jn.train(problem, method, iterations=rounds, key=3, **options)
    np.testing.assert_array_equal(again.objective, trace.objective)
    np.testing.assert_array_equal(again.gradient_norm, trace.gradient_norm)
    assert added() == expected
    other = jn.train(problem, method, iterations=EVERY, key=4, **options)
    assert not np.array_equal(other.gradient_norm, trace.gradient_norm[..., :EVERY])


@pytest.mark.parametrize("name", METHODS)
def test_update_rules_have_the_arguments_of_optax(name):
    method = METHODS[name][0](stepsize=0.1)
    rule = method.update(**{key: jnp.asarray(leaf[0]) for key, leaf in method.leaves().items()})
    assert list(inspect.signature(rule.init).parameters) == ["params"]
    assert list(inspect.signature(rule.update).parameters)[:3] == ["updates", "state", "params"]
    state = rule.init({"x": jnp.ones(2)})
    assert method.eval_params(state, {"x": jnp.ones(2)})["x"].shape == (2,)
    assert all(field.name in dir(method) for field in dataclasses.fields(jn.Method))
