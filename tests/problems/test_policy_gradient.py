import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.policies import Gaussian, GaussianPolicy
from jaxnigt.problems import FixedNormalisation, RunningNormalisation, policy_gradient
from jaxnigt.problems.score import reward_to_go
from tests import line

DISCOUNT = 0.7


def line_problem(**options):
    options = {"horizon": 4, "discount": DISCOUNT, "policy": GaussianPolicy(1, hidden=(3,)), **options}
    return policy_gradient("line", backend="mjx", **options)


def flat(pytree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(pytree)])


def samples(problem, params, count, seed=1):
    """g_H of `count` trajectories one by one, f[count, d]."""
    keys = jax.random.split(jax.random.key(seed), count)
    zero, one = jnp.zeros(1, jnp.int32), jnp.ones(1)
    each = jax.jit(jax.vmap(lambda key: problem.gradient(params, key[None], zero, one)))(keys)
    return np.concatenate([np.reshape(leaf, (count, -1)) for leaf in jax.tree.leaves(each)], axis=1)


def within_standard_errors(values, truth, errors=5.0):
    mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(len(values))
    assert (np.abs(mean - truth) <= errors * error + 1e-6).all(), (mean, truth, error)
    # The sample is large enough to tell a wrong gradient from a right one.
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(truth)


def test_g_h_is_unbiased_for_the_integrated_gradient():
    """Four steps are asked for and two are lived: NaN rewards after termination must not matter."""
    problem = line_problem()
    params = problem.init(jax.random.key(3))
    exact = flat(jax.grad(lambda p: line.objective(problem.policy, p, DISCOUNT))(params))
    within_standard_errors(samples(problem, params, 200_000), exact)


def test_j_is_the_integrated_objective():
    problem = line_problem()
    params = problem.init(jax.random.key(3))
    keys = jax.random.split(jax.random.key(2), 50_000)
    reward = jax.jit(problem.sample)(params, keys).reward
    returns = np.asarray(reward @ (DISCOUNT ** np.arange(4, dtype=np.float32)))
    error = returns.std() / np.sqrt(len(returns))
    exact = float(line.objective(problem.policy, params, DISCOUNT))
    assert abs(returns.mean() - exact) < 5 * error
    evaluation = problem.evaluate(params, keys)
    np.testing.assert_allclose(evaluation.objective, returns.mean(), rtol=1e-5)
    np.testing.assert_allclose(evaluation.undiscounted, np.asarray(reward).sum(axis=1).mean(), rtol=1e-5)


@pytest.mark.loose
def test_g_h_is_unbiased_on_reacher_against_finite_differences():
    """Along one direction: paired differences of J under the same keys against g_H."""
    problem = policy_gradient("reacher", backend="spring", horizon=4, discount=0.9)
    params = problem.init(jax.random.key(0))
    one = jax.tree.map(jnp.ones_like, params["params"]["std"])
    direction = jax.tree.map(jnp.zeros_like, params)
    direction["params"]["std"] = one
    keys = jax.random.split(jax.random.key(1), 32_768)

    @jax.jit
    def returns(step):
        moved = jax.tree.map(lambda p, v: p + step * v, params, direction)
        return problem.sample(moved, keys).reward @ (0.9 ** jnp.arange(4, dtype=jnp.float32))

    step = 0.02
    differences = np.asarray(returns(step) - returns(-step)) / (2 * step)
    projected = samples(problem, params, 32_768, seed=2) @ flat(direction)
    error = np.hypot(projected.std(), differences.std()) / np.sqrt(len(keys))
    assert abs(projected.mean() - differences.mean()) < 5 * error
    assert error < 0.1 * abs(differences.mean())


def test_a_weighted_batch_is_the_weighted_sum_of_its_slots():
    problem = line_problem()
    params = problem.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(5), 4)
    weights = jnp.array([0.5, 0.0, -1.0, 2.0])
    workers = jnp.arange(4, dtype=jnp.int32)
    together = flat(problem.gradient(params, keys, workers, weights))
    alone = [flat(problem.gradient(params, keys[i : i + 1], workers[:1], jnp.ones(1))) for i in range(4)]
    np.testing.assert_allclose(together, np.asarray(weights) @ np.stack(alone), rtol=1e-4, atol=1e-5)


def test_reward_to_go_by_hand():
    reward = jnp.array([[1.0, 2.0, 4.0, 0.0]])
    np.testing.assert_allclose(reward_to_go(reward, 0.5, per_step=False), [[1 + 1 + 1, 1 + 1, 1, 0]])
    np.testing.assert_allclose(reward_to_go(reward, 0.5, per_step=True), [[3, 4, 4, 0]])


def test_log_density_is_that_of_a_normal():
    from scipy.stats import norm

    gaussian = Gaussian(jnp.array([0.5, -1.0]), jnp.array([2.0, 0.25]))
    u = jnp.array([1.0, -0.5])
    expected = norm.logpdf([1.0, -0.5], [0.5, -1.0], [2.0, 0.25]).sum()
    np.testing.assert_allclose(gaussian.log_density(u), expected, rtol=1e-6)


def test_fixed_normalisation():
    mean, std = (0.5, 1.0), (2.0, 4.0)
    problem = line_problem(normalisation=FixedNormalisation(mean, std))
    plain = line_problem()
    params = problem.init(jax.random.key(0))
    assert jax.tree.structure(params) == jax.tree.structure(plain.init(jax.random.key(0)))
    seen = problem._distribution(params, jnp.array([[2.5, 9.0]]))
    np.testing.assert_allclose(seen.mean, plain._distribution(params, jnp.array([[1.0, 2.0]])).mean)


def test_running_normalisation_knows_the_moments_and_leaves_the_gradient_alone():
    problem = line_problem(normalisation=RunningNormalisation())
    params = problem.init(jax.random.key(0))
    workers, weights = jnp.zeros(8, jnp.int32), jnp.full(8, 1 / 8)
    seen = []
    for round_ in range(3):
        keys = jax.random.split(jax.random.key(round_), 8)
        trajectories = problem.sample(params, keys)
        seen.append(np.asarray(trajectories.observation)[np.asarray(trajectories.alive)])
        estimate = problem.estimate(params, keys, workers, weights)
        assert not flat(estimate.gradient["normaliser"]).any()
        params = problem.observe(params, estimate)
    seen = np.concatenate(seen)
    running = params["normaliser"]
    assert running["count"] == len(seen) == 3 * 8 * line.LIFETIME
    np.testing.assert_allclose(running["mean"], seen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(running["deviation"] / len(seen), seen.var(axis=0), rtol=1e-4)
    policy = sum(leaf.size for leaf in jax.tree.leaves(params["params"]))
    assert problem.dimension() == line_problem().dimension() == policy


@pytest.fixture
def _as_users_call():
    """Without the checks of annotations, which only tests have and which refuse unknown words first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_an_environment_object_works_as_well_as_a_name():
    problem = policy_gradient(line.Line(lifetime=1), horizon=3)
    keys = jax.random.split(jax.random.key(1), 5)
    trajectories = problem.sample(problem.init(jax.random.key(0)), keys)
    np.testing.assert_array_equal(trajectories.alive, [[True, False, False]] * 5)
    assert not np.asarray(trajectories.reward)[:, 1:].any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"env": "reachr"}, "environment: got 'reachr', allowed are ant"),
        ({"env": line.Line}, "environment: got <class .*Line.*>, a name or an object"),
        ({"backend": "bullet"}, "backend: got 'bullet', allowed are mjx, spring"),
        ({"horizon": 0}, "horizon: got 0"),
        ({"discount": 1.01}, "discount: got 1.01, numbers in \\(0, 1\\]"),
        ({"discounting": "never"}, "discounting: got 'never', allowed are episode, step"),
    ],
)
@pytest.mark.usefixtures("_as_users_call")
def test_bad_arguments(arguments, words):
    with pytest.raises(jn.InputError, match=words):
        jn.problems.policy_gradient(**arguments)
