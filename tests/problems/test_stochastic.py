"""Any objective: gradients of samples against exact ones, and a problem of one's own in a few lines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.problems import ExactProblem, stochastic

CENTRES = jnp.array([[1.0, 0.0], [0.0, 3.0], [-2.0, 1.0]])


def sample(params, key, worker):
    """A smooth loss with multiplicative and additive noise."""
    noise = jax.random.normal(key, (3,), params["x"].dtype)
    away = params["x"] - CENTRES.astype(noise.dtype)[worker]
    return (1 + noise[0]) * (away**2).sum() + params["x"] @ noise[1:] + jnp.cos(params["b"])


def exact(params, worker):
    away = params["x"] - CENTRES.astype(params["x"].dtype)[worker]
    return (away**2).sum() + jnp.cos(params["b"])


def init(key):
    return {"x": jax.random.normal(key, (2,)), "b": jnp.ones(())}


def known(**options):
    return stochastic(sample, init, exact=exact, **{"workers": 3, **options})


def flat(pytree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(pytree)])


@pytest.mark.parametrize("minimise", [False, True])
@pytest.mark.parametrize("workers", [None, 3])
def test_samples_have_the_exact_means(workers, minimise):
    problem, count = known(workers=workers, minimise=minimise), 30_000
    params, keys = problem.init(jax.random.key(1)), jax.random.split(jax.random.key(2), count)
    slots = jnp.arange(count) % 3

    def one(key, worker):
        return problem.estimate(params, key[None], worker[None], jnp.ones(1))

    each = jax.jit(jax.vmap(one))(keys, slots)
    gradients = np.concatenate([np.reshape(x, (count, -1)) for x in jax.tree.leaves(each.gradient)], 1)
    for values, truth in (
        (gradients, flat(problem.gradient_exact(params))),
        (np.asarray(each.discounted), np.asarray(problem.objective(params))[None]),
    ):
        values = values.reshape(count, -1).astype(float)
        error = values.std(axis=0) / np.sqrt(count)
        assert (np.abs(values.mean(axis=0) - truth) <= 5 * error + 1e-6).all()
        assert np.linalg.norm(error) < 0.2 * np.linalg.norm(truth)
    np.testing.assert_array_equal(each.undiscounted, each.discounted)
    sign = -1 if minimise else 1
    alone = np.mean([exact(params, i) for i in range(workers or 1)])
    np.testing.assert_allclose(problem.objective(params), sign * alone, rtol=1e-6)


def test_one_backward_pass_is_the_weighted_sum_of_its_slots():
    problem = known()
    params, keys = problem.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 5)
    workers, weights = jnp.array([0, 1, 2, 2, 0]), jnp.array([0.5, -1.0, 2.0, 0.0, 1.0])
    together = flat(problem.gradient(params, keys, workers, weights))
    alone = [
        flat(problem.gradient(params, keys[i, None], workers[i, None], jnp.ones(1))) for i in range(5)
    ]
    np.testing.assert_allclose(together, np.asarray(weights) @ np.stack(alone), rtol=1e-5, atol=1e-5)


def test_gradients_and_hessians_against_finite_differences():
    with jax.enable_x64(True):
        problem = known(minimise=True)
        params, v = problem.init(jax.random.key(3)), problem.init(jax.random.key(4))
        keys = jax.random.split(jax.random.key(5), 1)

        def moved(by):
            return jax.tree.map(lambda p, v: p + by * v, params, v)

        def returned(by):
            return problem.samples(moved(by), keys, jnp.ones(1, int))[0]

        step = 1e-5
        slope = (problem.objective(moved(step)) - problem.objective(moved(-step))) / (2 * step)
        np.testing.assert_allclose(flat(problem.gradient_exact(params)) @ flat(v), slope, rtol=1e-8)
        gradient = flat(problem.gradient(params, keys, jnp.ones(1, int), jnp.ones(1)))
        slope = (returned(step) - returned(-step)) / (2 * step)
        np.testing.assert_allclose(gradient @ flat(v), slope, rtol=1e-7)
        ahead, behind = (flat(problem.gradient_exact(moved(by))) for by in (step, -step))
        vector = flat(problem.hessian_vector(params, v))
        np.testing.assert_allclose(vector, (ahead - behind) / (2 * step), rtol=1e-6)


def test_evaluations_are_exact_where_the_objective_is_known_and_means_elsewhere():
    problem, sampled = known(minimise=True), stochastic(sample, init, workers=3, minimise=True)
    params, keys = problem.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 4)
    each = [-exact(params, i) for i in range(3)]
    evaluation = problem.evaluate(params, keys)
    np.testing.assert_allclose(evaluation.per_worker, each, rtol=1e-6)
    np.testing.assert_allclose(evaluation.objective, np.mean(each), rtol=1e-6)
    assert isinstance(problem, ExactProblem)
    assert not isinstance(sampled, ExactProblem)
    # Four keys for three workers: two samples of each, with two more keys.
    every = jnp.concatenate([keys, jax.random.split(keys[0], 2)])
    values = sampled.samples(params, every, jnp.arange(6) % 3)
    evaluation = sampled.evaluate(params, keys)
    np.testing.assert_allclose(evaluation.per_worker, values.reshape(2, 3).mean(axis=0), rtol=1e-6)
    many = jax.jit(sampled.evaluate)(params, jax.random.split(jax.random.key(2), 60_000))
    np.testing.assert_allclose(many.per_worker, each, rtol=0.05)
    together = sampled.evaluations(jax.tree.map(lambda x: x[None], params), keys[None])
    np.testing.assert_allclose(together.objective[0], evaluation.objective, rtol=1e-6)


def test_a_shared_objective_does_not_depend_on_who_samples_it():
    problem = stochastic(sample, init)
    params, keys = problem.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 3)
    values = [problem.samples(params, keys, jnp.full(3, i)) for i in range(2)]
    np.testing.assert_array_equal(*values)


def test_a_regression_of_ones_own_is_trained():
    def loss(params, key, worker):
        x = jax.random.normal(key, (2,))
        return (x @ params["w"] + params["b"] - (2 * x[0] - x[1] + 0.5)) ** 2

    problem = stochastic(loss, lambda key: {"w": jnp.zeros(2), "b": 0.0}, minimise=True)
    method = jn.methods.rennala_nigt(8, momentum=0.3, stepsize=0.03)
    trace = jn.train(problem, method, iterations=150, seeds=2, eval_every=50)
    assert trace.replayable
    assert trace.objective.shape == (2, 3)
    assert (trace.objective[:, 0] < -3).all()
    assert (trace.objective[:, -1] > -0.1).all()
    np.testing.assert_allclose(trace.params["w"], [[2.0, -1.0]] * 2, atol=0.15)


def test_methods_for_differing_workers_reach_the_mean_of_their_optima():
    problem = known(minimise=True)
    method = jn.methods.malenia_nigt(12, momentum=0.2, stepsize=0.03)
    profile = jn.profiles.power_law(3, 1.0)
    trace = jn.train(problem, method, iterations=300, seeds=2, profile=profile, eval_every=100)
    np.testing.assert_allclose(trace.params["x"].reshape(2, 2), [np.mean(CENTRES, axis=0)] * 2, atol=0.4)
    best = -np.mean([((CENTRES - CENTRES.mean(axis=0)[None]) ** 2).sum(axis=1)]) + 1
    assert (trace.objective[..., -1] > best - 0.5).all()


def test_reprs_are_one_line():
    assert repr(known()) == "ExactStochastic(sample, workers=3, minimise=False, d=3)"
    assert repr(stochastic(sample, init)) == "Stochastic(sample, workers=None, minimise=False, d=3)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: known(workers=0), "workers: got 0"),
        (
            lambda: stochastic(lambda p, k, w: p["x"], init),
            r"objective gives float32\[2\], floats of shape \[\]",
        ),
        (lambda: stochastic(lambda p, k, w: w, init), r"objective gives int32\[\], floats"),
        (lambda: stochastic(lambda p, k, w: (), init), r"objective gives .*, floats"),
        (lambda: stochastic(sample, init, exact=lambda p, w: (1.0, 2.0)), "exact gives"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(jn.InputError, match=words):
        make()
