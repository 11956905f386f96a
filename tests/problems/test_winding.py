"""The valley: its gradient by differences, its noise by its moments, and its way down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn

POINTS = [0.0, -0.7, 3.0]


@pytest.mark.parametrize("y", POINTS)
def test_gradient_is_that_of_differences(y):
    with jax.enable_x64(True):
        problem = jn.problems.winding(width=1.5, bend=2.0, walls=3, curvature=2.0)
        x = jnp.array([y, 0.3, -0.2, 0.5])
        found = problem.gradient_exact({"x": x})["x"]
        step = 1e-6 * jnp.eye(4)
        up, down = (
            jnp.stack([problem.objective({"x": x + sign * row}) for row in step]) for sign in (1, -1)
        )
        np.testing.assert_allclose(found, (up - down) / 2e-6, rtol=1e-8)


def test_noise_has_the_variance_of_a_weighted_sum():
    problem = jn.problems.winding(sigma=3.0, walls=4)
    params, weights = problem.init(jax.random.key(0)), jnp.array([0.5, 0.25, 0.25, 0.0])
    keys = jax.random.split(jax.random.key(1), (20_000, 4))
    workers = jnp.zeros(4, jnp.int32)
    found = jax.vmap(lambda keys: problem.estimate(params, keys, workers, weights).gradient["x"])(keys)
    noise = np.asarray(found - problem.gradient_exact(params)["x"][None])
    variance = 9.0 * float((weights**2).sum())
    error = variance * (2 / noise.size) ** 0.5  # the standard error of a sum of squares
    assert abs((noise**2).sum(axis=1).mean() - variance) < 4 * error
    assert np.abs(noise.mean(axis=0)).max() < 4 * (variance / 5 / len(keys)) ** 0.5


def test_the_floor_has_slope_epsilon_at_one_over_epsilon():
    with jax.enable_x64(True):
        problem = jn.problems.winding(curvature=3.0)
        epsilon = 0.02
        y, phase = 1 / epsilon - 1, 2 * np.pi * np.arange(8) / 8
        floor = (np.sin(y + phase) - np.sin(phase)) / 8**0.5
        params = {"x": jnp.concatenate([jnp.array([y]), floor])}
        assert float(jnp.linalg.norm(problem.gradient_exact(params)["x"])) == pytest.approx(epsilon)
        assert float(problem.objective(params)) == pytest.approx(-np.log(epsilon))
        aside = {"x": params["x"].at[1:].add(0.25)}  # up each of the eight walls
        fall = float(problem.objective(params) - problem.objective(aside))
        assert fall == pytest.approx(3.0 / 2 * 8 * 0.25**2)
        start = problem.gradient_exact(problem.init(jax.random.key(0)))["x"]
        assert float(jnp.linalg.norm(start)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("sigma", -1.0), ("bend", float("nan")), ("width", -2.0), ("curvature", 0.0)],
        *[("walls", 0), ("walls", 2 * 10**9)],
    ],
)
def test_what_is_no_valley_is_named(name, value):
    with pytest.raises(jn.InputError, match=f"^{name}: "):
        jn.problems.winding(**{name: value})
