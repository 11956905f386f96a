"""Tabular and linear-quadratic problems: J by enumeration, gradients by three other ways."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.problems import MDP, garnet, gridworld, tabular
from jaxnigt.problems.score import score_estimate

PROBLEMS = {
    "tabular": lambda: tabular(horizon=6),
    "heterogeneous": lambda: tabular(workers=3, horizon=5, discount=0.8, seed=2),
    "linear_quadratic": lambda: jn.problems.linear_quadratic(horizon=5),
    "two goals": lambda: jn.problems.linear_quadratic(goals=((1.0, 0.0), (0.0, -1.0)), horizon=4),
}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    with jax.enable_x64(True):
        yield PROBLEMS[request.param]()


def flat(pytree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(pytree)])


def every_trajectory(mdp, policy, horizon):
    """(probability, states, actions) of every trajectory of worker 0 that can happen."""
    transition, _, start = (table[0] for table in mdp)
    states, actions = policy.shape
    for s in itertools.product(range(states), repeat=horizon):
        for a in itertools.product(range(actions), repeat=horizon):
            chance = start[s[0]] * np.prod([policy[x, u] for x, u in zip(s, a, strict=True)])
            moves = [transition[s[t], a[t], s[t + 1]] for t in range(horizon - 1)]
            if (chance := chance * np.prod(moves)) > 0:
                yield chance, s, a


def test_tabular_j_and_g_h_by_enumeration():
    """The mean of g_H over every trajectory is the gradient of J, to rounding."""
    with jax.enable_x64(True):
        problem = tabular(states=2, actions=2, branching=2, horizon=3, discount=0.7, seed=4)
        params = problem.init(jax.random.key(0))
        policy = np.asarray(jax.nn.softmax(params["logits"]))
        chance, states, actions = map(
            np.array, zip(*every_trajectory(problem.mdp, policy, 3), strict=True)
        )
        np.testing.assert_allclose(chance.sum(), 1.0)
        reward = jnp.asarray(problem.mdp.reward[0][states, actions])
        seen = (jnp.asarray(states), jnp.asarray(actions))
        objective = chance @ np.asarray(reward) @ (0.7 ** np.arange(3))
        np.testing.assert_allclose(problem.objective(params), objective, rtol=1e-12)

        def log_density(params):
            return jax.vmap(problem.log_density, (None, 0))(params, seen)

        mean = score_estimate(log_density, params, jnp.asarray(chance), reward, 0.7)
        exact = problem.gradient_exact(params)
        np.testing.assert_allclose(mean.gradient["logits"], exact["logits"], atol=1e-13)
        # Discounts that begin anew at every step give another vector: the test can tell.
        biased = score_estimate(log_density, params, jnp.asarray(chance), reward, 0.7, True)
        assert np.abs(biased.gradient["logits"] - exact["logits"]).max() > 1e-3


def test_sampled_gradients_and_returns_have_the_exact_means(problem):
    params, count = problem.init(jax.random.key(1)), 40_000
    workers = jnp.arange(count) % (problem.workers or 1)
    keys = jax.random.split(jax.random.key(2), count)

    def one(key, worker):
        return problem.estimate(params, key[None], worker[None], jnp.ones(1))

    each = jax.jit(jax.vmap(one))(keys, workers)
    gradients = np.concatenate(
        [np.reshape(leaf, (count, -1)) for leaf in jax.tree.leaves(each.gradient)], 1
    )
    for values, truth in (
        (gradients, flat(problem.gradient_exact(params))),
        (np.asarray(each.discounted), problem.objective(params)[None]),
        (np.asarray(each.undiscounted), problem.evaluate(params, keys[:1]).undiscounted[None]),
    ):
        error = values.reshape(count, -1).std(axis=0) / np.sqrt(count)
        assert (np.abs(values.reshape(count, -1).mean(axis=0) - np.asarray(truth)) < 5 * error).all()
        assert np.linalg.norm(error) < 0.2 * np.linalg.norm(truth)


def test_workers_sample_their_own_problems():
    with jax.enable_x64(True):
        problem = tabular(workers=3, horizon=5, seed=2)
        params, count = problem.init(jax.random.key(1)), 20_000
        keys = jax.random.split(jax.random.key(3), count)
        for worker in range(3):
            slots = jnp.full(count, worker), jnp.full(count, 1 / count)
            returns = np.asarray(problem.estimate(params, keys, *slots).discounted)
            error = returns.std() / np.sqrt(count)
            assert abs(returns.mean() - problem.objectives(params)[worker]) < 5 * error
        assert np.ptp(problem.objectives(params)) > 20 * error


def test_gradients_and_hessians_against_finite_differences(problem):
    params = problem.init(jax.random.key(5))
    direction = problem.init(jax.random.key(6))
    step = 1e-4

    def moved(by):
        return jax.tree.map(lambda p, v: p + by * v, params, direction)

    slope = (problem.objective(moved(step)) - problem.objective(moved(-step))) / (2 * step)
    exact = flat(problem.gradient_exact(params)) @ flat(direction)
    np.testing.assert_allclose(exact, slope, rtol=1e-6)
    ahead, behind = (flat(problem.gradient_exact(moved(by))) for by in (step, -step))
    vector = flat(problem.hessian_vector(params, direction))
    np.testing.assert_allclose(vector, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-8)


def test_objective_of_many_steps_is_that_of_infinitely_many():
    with jax.enable_x64(True):
        short, long = (tabular(discount=0.8, horizon=h, workers=2) for h in (10, 200))
        params = short.init(jax.random.key(0))
        np.testing.assert_allclose(long.objective(params), short.objective_unbounded(params), rtol=1e-12)
        # |J - J_H| <= R_max gamma^H / (1 - gamma), and rewards are at most 1.
        gap = float(short.objective_unbounded(params) - short.objective(params))
        assert 0 < gap <= 0.8**10 / 0.2


def test_a_bandit_and_a_corridor_by_hand():
    bandit = tabular(MDP(np.ones((1, 1, 2, 1)), np.array([[[1.0, 3.0]]]), np.ones((1, 1))), horizon=1)
    logits = {"logits": jnp.log(jnp.array([[0.25, 0.75]]))}
    np.testing.assert_allclose(bandit.objective(logits), 0.25 * 1 + 0.75 * 3, rtol=1e-6)
    # dJ/dlogit_a = pi_a (r_a - J)
    np.testing.assert_allclose(bandit.gradient_exact(logits)["logits"], [[-0.375, 0.375]], rtol=1e-5)

    # Always down, then always right, without slipping: the goal of a 2 x 2 world after two steps.
    world = tabular(gridworld(2, goals=((1, 1),), slip=0.0), horizon=5, discount=0.5)
    down_then_right = jnp.zeros((4, 4)).at[:2, 1].set(200.0).at[2:, 3].set(200.0)
    expected = 0.5**2 + 0.5**3 + 0.5**4
    np.testing.assert_allclose(world.objective({"logits": down_then_right}), expected, rtol=1e-6)


def test_linear_quadratic_by_hand():
    """x' = x + u, u = b exactly known: one state, no noise but the policy's."""
    problem = jn.problems.linear_quadratic(
        dynamics=((1.0,),),
        control=((1.0,),),
        goals=((2.0,),),
        cost=0.5,
        noise=0.0,
        std=0.1,
        discount=0.5,
        horizon=2,
    )
    params = {"gain": jnp.zeros((1, 1)), "bias": jnp.ones(1)}
    effort = 0.5 * (1.0 + 0.01)
    first = (0 - 2) ** 2 + 1.0 + effort  # x_0 ~ N(0, 1)
    second = (1 - 2) ** 2 + (1.0 + 0.01) + effort  # x_1 ~ N(1, 1 + 0.01)
    np.testing.assert_allclose(problem.objective(params), -(first + 0.5 * second), rtol=1e-6)


def test_tabular_and_garnet_have_the_same_defaults():
    drawn, problem = (inspect.signature(f).parameters for f in (garnet, tabular))
    assert {name: problem[name].default for name in drawn} == {n: p.default for n, p in drawn.items()}
    for table, own in zip(tabular().mdp, garnet(), strict=True):
        np.testing.assert_array_equal(table, own)


def test_heterogeneity_of_garnets_goes_from_none_to_independent():
    alike, apart = garnet(workers=3, heterogeneity=0.0), garnet(workers=3, heterogeneity=1.0)
    between = garnet(workers=3, heterogeneity=0.25)
    for same, own, mixed in zip(alike, apart, between, strict=True):
        np.testing.assert_array_equal(same, np.broadcast_to(same[:1], same.shape))
        assert np.abs(own[0] - own[1]).max() > 0.01
        np.testing.assert_allclose(mixed, 0.75 * same + 0.25 * own)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tabular(states=0), "states: got 0"),
        (lambda: tabular(branching=9), "branching: got 9, 1 to states = 5 is allowed"),
        (lambda: tabular(heterogeneity=2), "heterogeneity: got 2, numbers in"),
        (lambda: tabular(garnet(), states=3), "states: has no effect on a problem that is given"),
        (lambda: tabular(garnet(), heterogeneity=0.5), "heterogeneity: has no effect on a problem"),
        (lambda: tabular(discount=0.0), "discount: got 0.0"),
        (lambda: tabular(horizon=0), "horizon: got 0"),
        (lambda: tabular(gridworld(2)), "goals: got \\(3, 3\\), cells from \\(0, 0\\) to \\(1, 1\\)"),
        (lambda: gridworld(slip=1.0), "slip: got 1.0"),
        (
            lambda: tabular(MDP(np.ones((1, 2, 1, 2)), np.ones((1, 2, 1)), np.full((1, 2), 0.5))),
            "mdp: transition must be probabilities",
        ),
        (
            lambda: tabular(MDP(np.ones((1, 2, 1, 3)), np.ones((1, 2, 1)), np.ones((1, 2)))),
            "mdp: transition \\(1, 2, 1, 3\\)",
        ),
        (
            lambda: tabular(MDP(np.ones((1, 1, 1, 1)), np.full((1, 1, 1), np.nan), np.ones((1, 1)))),
            "mdp: reward must be finite",
        ),
        (lambda: jn.problems.linear_quadratic(dynamics=((1.0, 0.0),)), "dynamics: shapes \\(1, 2\\)"),
        (lambda: jn.problems.linear_quadratic(std=0.0), "std: got 0.0"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(jn.InputError, match=words):
        make()
