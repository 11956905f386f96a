import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnigt as jn
from jaxnigt.methods import double_optimism, optimism_eval_params


def by_hand(gradient, x, D, rate, steps, adaptive=False, episode=100):
    """The steps as the paper writes them: all points x_n, with a hint at the start."""
    delta, g = np.zeros_like(x), np.zeros_like(x)
    points, surprise, before = [x], 0.0, np.zeros_like(x)
    for n in range(steps + 1):
        hint = gradient(x + delta / 2)
        rho = rate * D / np.sqrt(D**2 + surprise) if adaptive else rate
        delta = delta - rho * hint - rho * (g - before)
        delta *= min(1.0, D / max(np.linalg.norm(delta), 1e-300))
        before = hint
        g = gradient(x + delta / 2)
        surprise = (0.0 if n % episode == 0 else surprise) + ((g - hint) ** 2).sum()
        x = x + delta
        points.append(x)
    return points


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_update_rule_is_the_one_of_the_paper(adaptive):
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]])
    start, D, rate, steps = np.array([1.0, -2.0]), 0.3, 0.2, 25
    expected = by_hand(lambda x: matrix @ x, start, D, rate, steps, adaptive, episode=7)
    with jax.enable_x64(True):
        optimiser = double_optimism(D, rate, adaptive=adaptive, episode=7)
        params = jnp.asarray(start)
        state = optimiser.init(params)
        found = [start]
        for k in range(2 * (steps + 1)):
            at = optimism_eval_params(state, params)
            updates, state = optimiser.update(jnp.asarray(matrix) @ at, state)
            params = optax.apply_updates(params, updates)
            if k % 2:
                found.append(np.asarray(params))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert np.linalg.norm(found[-1]) < 0.5 < np.linalg.norm(start)


@pytest.mark.parametrize("seed", range(20))
def test_the_regret_is_within_its_lemma(seed):
    """4 D^2 / rho + (5 rho / 2) sum |g - h|^2 - sum |Delta_n - Delta_{n-1}|^2 / (4 rho), one episode."""
    rng = np.random.default_rng(seed)
    D, rate, T = np.exp(rng.uniform(-2, 2)), np.exp(rng.uniform(-3, 1)), 40
    drift, noise = np.exp(rng.uniform(-3, 1)), np.exp(rng.uniform(-4, 1))
    with jax.enable_x64(True):
        optimiser = double_optimism(D, rate)
        params = jnp.zeros(5)
        state = optimiser.init(params)
        centre, deltas, gradients, hints = rng.normal(size=5), [], [], []
        for _ in range(T):
            hint = centre + noise * rng.normal(size=5)
            _, state = optimiser.update(jnp.asarray(hint), state)
            deltas.append(np.asarray(state.displacement))
            centre = centre + drift * rng.normal(size=5)
            gradient = centre + noise * rng.normal(size=5)
            _, state = optimiser.update(jnp.asarray(gradient), state)
            hints.append(hint)
            gradients.append(gradient)
    deltas, gradients, hints = map(np.array, (deltas, gradients, hints))
    assert (np.linalg.norm(deltas, axis=1) <= D * (1 + 1e-12)).all()
    # The best fixed displacement of length D or less goes against the sum.
    regret = (gradients * deltas).sum() + D * np.linalg.norm(gradients.sum(axis=0))
    steps = np.diff(deltas, axis=0, prepend=np.zeros((1, 5)))
    bound = 4 * D**2 / rate + 2.5 * rate * ((gradients - hints) ** 2).sum()
    assert regret <= bound - (steps**2).sum() / (4 * rate)


def test_both_collections_train_and_sweep_over_their_rate():
    problem = jn.problems.linear_quadratic(horizon=8)
    method = jn.methods.rennala_double_optimism(8, stepsize=[[0.01], [0.02]], rate=[1e-3, 1e-2, 1e-1])
    trace = jn.train(problem, method, iterations=200, seeds=2, eval_every=50)
    assert trace.replayable
    assert trace.objective.shape == (2, 3, 2, 4)
    assert (trace.objective[..., -1] > trace.objective[..., 0]).mean() > 0.8
    apart = jn.problems.tabular(workers=3)
    malenia = jn.methods.malenia_double_optimism(6, stepsize=0.05, rate=0.3, adaptive=True)
    trace = jn.train(apart, malenia, iterations=60, profile=jn.profiles.linear(3), eval_every=59)
    assert trace.objective[0, -1] > trace.objective[0, 0]
    assert "Double Optimism" in jn.citation("malenia_double_optimism")
