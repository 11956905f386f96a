"""Actual smoothness and noise of decision problems beside the constants that bound them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.constants import softmax_policy
from jaxnigt.problems import local_constants

POINTS = 4


def points(problem, key=0):
    """From nearly uniform policies to nearly deterministic ones."""
    shape = (POINTS, *problem.mdp.reward.shape[1:])
    logits = jax.random.normal(jax.random.key(key), shape, float)
    return {"logits": logits * jnp.linspace(0.1, 3.0, POINTS, dtype=float)[:, None, None]}


# Fifty decision problems in all; the workers of one problem are independent ones.
FAMILIES = {
    "half": {"workers": 17, "discount": 0.5, "states": 3, "actions": 2, "branching": 2, "seed": 0},
    "eight tenths": {"workers": 17, "discount": 0.8, "states": 4, "actions": 3, "seed": 1},
    "nine tenths": {"workers": 16, "discount": 0.9, "states": 3, "actions": 3, "seed": 2},
}


@pytest.mark.parametrize("name", FAMILIES)
def test_actual_constants_of_random_problems_are_below_their_bounds(name):
    problem = jn.problems.tabular(horizon=12, **FAMILIES[name])
    bounds = problem.constants
    found = local_constants(problem, points(problem), samples=200, each=True)
    assert found.L_g.shape == found.sigma_error.shape == (POINTS, problem.workers)
    ratios = {
        "L_g": (found.L_g / bounds.L_g).max(),
        "L_h": (found.L_h / bounds.L_h).max(),
        "sigma": ((found.sigma + 4 * found.sigma_error) / bounds.sigma).max(),
    }
    with jax.enable_x64(True):
        horizon = problem.horizon

        def gaps(point):
            bounded = jax.jacrev(problem.objectives)(point)["logits"]
            return jax.jacrev(problem.objectives_unbounded)(point)["logits"] - bounded

        gap = jnp.linalg.norm(
            jax.vmap(gaps)(points(problem)).reshape(POINTS, problem.workers, -1), axis=-1
        )
    ratios["D_g"] = (np.asarray(gap) / bounds.truncation_gradient(horizon)).max()
    print(f"{name}: actual / bound {ratios}")
    for ratio in ratios.values():
        assert 0 < ratio < 1
    # The objective is bounded too.
    with jax.enable_x64(True):
        values = jax.vmap(problem.objectives_unbounded)(points(problem))
        assert np.ptp(np.asarray(values), axis=0).max() <= bounds.delta


def test_smoothness_by_brute_force():
    """Eigenvalues of a dense Hessian, and the third derivative over a fine net of directions.

    J is the mean of two workers' objectives.
    """
    problem = jn.problems.tabular(horizon=5, states=1, actions=3, branching=1, workers=2)
    at = points(problem)
    found = local_constants(problem, at, samples=2)
    with jax.enable_x64(True):

        def objective(flat):
            return problem.objective({"logits": flat[None]})

        hessian, bend = jax.jit(jax.hessian(objective)), jax.jit(jax.jacfwd(jax.hessian(objective)))
        angles = np.stack(np.meshgrid(np.linspace(0, np.pi, 200), np.linspace(0, 2 * np.pi, 400)), -1)
        polar, round_ = angles.reshape(-1, 2).T
        net = np.stack(
            [np.sin(polar) * np.cos(round_), np.sin(polar) * np.sin(round_), np.cos(polar)], axis=-1
        )
        for k in range(POINTS):
            flat = at["logits"][k].ravel().astype(float)
            values = np.linalg.eigvalsh(np.asarray(hessian(flat)))
            np.testing.assert_allclose(found.L_g[k], np.abs(values).max(), rtol=1e-9)
            third = np.asarray(bend(flat))
            # A symmetric form is largest where its three directions are one (Banach).
            along = np.abs(np.einsum("ijk,ni,nj,nk->n", third, net, net, net)).max()
            np.testing.assert_allclose(found.L_h[k], along, rtol=1e-3)


def test_hessian_vector_products_against_finite_differences():
    with jax.enable_x64(True):
        problem = jn.problems.tabular(workers=2, states=4, actions=3)
        gradient, hessian_vector = jax.jit(problem.gradient_exact), jax.jit(problem.hessian_vector)
        for k in range(POINTS):
            point = {"logits": points(problem)["logits"][k]}
            vector = {"logits": jax.random.normal(jax.random.key(k), point["logits"].shape)}
            step = 1e-5

            ahead, behind = (
                gradient({"logits": point["logits"] + sign * step * vector["logits"]})["logits"]
                for sign in (1.0, -1.0)
            )
            difference = (ahead - behind) / (2 * step)
            product = hessian_vector(point, vector)["logits"]
            np.testing.assert_allclose(product, difference, rtol=1e-6, atol=1e-9)


def test_sigma_by_enumeration():
    """One state and one step: bandits whose every outcome can be counted; the noisier one decides."""
    reward = np.array([0.3, -1.0, 2.0])
    both = np.stack([0.1 * reward, reward])[:, None]
    mdp = jn.problems.MDP(np.ones((2, 1, 3, 1)), both, np.ones((2, 1)))
    problem = jn.problems.tabular(mdp, horizon=1, discount=0.9)
    logits = np.array([[[0.2, -0.4, 1.0]]])
    policy = np.exp(logits[0, 0]) / np.exp(logits[0, 0]).sum()
    samples = reward[:, None] * (np.eye(3) - policy)
    exact = policy @ samples
    sigma = np.sqrt(policy @ ((samples - exact) ** 2).sum(axis=1))
    found = local_constants(problem, {"logits": logits}, samples=4000)
    assert abs(found.sigma[0] - sigma) < 4 * found.sigma_error[0]
    assert found.sigma_error[0] < 0.05 * sigma
    covariance = np.diag(policy) - np.outer(policy, policy)
    with jax.enable_x64(True):
        gradient = problem.gradient_exact({"logits": jnp.asarray(logits[0])})["logits"][0]
        np.testing.assert_allclose(gradient, covariance @ reward * 0.55, rtol=1e-9)
    assert problem.constants.delta == 3.0 / (1 - 0.9)


@pytest.mark.parametrize("actions", [2, 3, 5, 9])
def test_softmax_bounds_hold_for_any_number_of_actions(actions):
    """Score, covariance and third central moment over random policies and directions."""
    policy = softmax_policy()
    rng = np.random.default_rng(actions)
    chances = rng.dirichlet(np.ones(actions), 40_000) ** rng.uniform(0.2, 4.0, (40_000, 1))
    chances /= chances.sum(axis=1, keepdims=True)
    # Of two actions all weight is on a pair; that is where the bounds are attained.
    keep = rng.uniform(size=chances.shape) < rng.choice([0.3, 1.0], (40_000, 1))
    vectors = rng.normal(size=chances.shape) * (keep | (np.arange(actions) < 2))
    vectors[:20_000, :2] = np.sqrt(0.5) * np.array([1.0, -1.0])
    vectors[:20_000, 2:] = 0.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = vectors - (chances * vectors).sum(axis=1, keepdims=True)
    spread = (chances * centred**2).sum(axis=1).max()
    third = np.abs((chances * centred**3).sum(axis=1)).max()
    score = np.linalg.norm(np.eye(actions)[0] - chances, axis=1).max()
    print(f"{actions} actions: {score:.4f}, {spread:.4f}, {third:.4f} of {policy}")
    assert score <= policy.M_g
    assert spread <= policy.M_h * (1 + 1e-12)
    assert third <= policy.l_2 * (1 + 1e-12)
    if actions <= 3:
        assert third > 0.95 * policy.l_2
    # These are the derivatives of log pi, up to sign.
    with jax.enable_x64(True):
        logits, direction = np.log(chances[0]), vectors[0]

        def along(t):
            return jax.nn.logsumexp(logits + t * direction)

        second = jax.grad(jax.grad(along))(0.0)
        np.testing.assert_allclose(second, (chances[0] * centred[0] ** 2).sum(), rtol=1e-9)
        third_there = jax.grad(jax.grad(jax.grad(along)))(0.0)
        np.testing.assert_allclose(third_there, (chances[0] * centred[0] ** 3).sum(), rtol=1e-7)


def test_constants_that_do_not_exist_are_refused():
    with pytest.raises(jn.InputError, match="gamma: got 1"):
        _ = jn.problems.tabular(discount=1.0).constants
    nothing = jn.problems.MDP(np.ones((1, 1, 2, 1)), np.zeros((1, 1, 2)), np.ones((1, 1)))
    with pytest.raises(jn.InputError, match="R_max: got 0"):
        _ = jn.problems.tabular(nothing).constants
    with pytest.raises(jn.InputError, match="samples: got 1"):
        local_constants(jn.problems.tabular(), points(jn.problems.tabular()), samples=1)
