"""MJX's line search that ends early: the same physics by a loop that is shorter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnigt import problems
from jaxnigt.environments import make
from jaxnigt.environments.brax import quiet
from jaxnigt.environments.line_search import ended_early


def moved(env, turns):
    """Observations of six Reachers after some steps, and how long the loops of a step are."""

    def run(key):
        reset, act = jax.random.split(key)
        actions = jax.random.uniform(act, (turns, env.action_size), minval=-1.0, maxval=1.0)
        return jax.lax.scan(lambda s, a: (env.step(s, a),) * 2, env.reset(reset), actions)[1].obs

    keys = jax.random.split(jax.random.key(0), 6)
    with quiet():
        traced = jax.jit(jax.vmap(run)).trace(keys)
        return np.asarray(traced.lower().compile()(keys)), str(traced.jaxpr)


@pytest.mark.loose
def test_the_same_physics_without_turns_that_change_nothing():
    env = make("reacher", "mjx")
    plain, long = moved(env, 5)
    with ended_early():
        early, short = moved(env, 5)
    turns = f"length={env.sys.opt.ls_iterations}"
    assert turns in long
    assert turns not in short
    np.testing.assert_allclose(early, plain, rtol=1e-5, atol=1e-5)
    assert np.abs(early[:, -1] - early[:, 0]).max() > 0.01


@pytest.mark.loose
def test_gradients_are_made_with_it():
    problem = problems.policy_gradient("reacher", backend="mjx", horizon=7)
    keys = jax.random.split(jax.random.key(0), 3)
    with quiet():
        traced = jax.make_jaxpr(problem.sample)(problem.init(jax.random.key(1)), keys)
    assert f"length={problem.env.sys.opt.ls_iterations}" not in str(traced)


def test_mjx_is_left_as_it_was():
    with quiet():
        from mujoco.mjx._src import solver
    before = solver._while_loop_scan

    def fail():
        assert solver._while_loop_scan is not before
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ended_early():
        fail()
    assert solver._while_loop_scan is before


def test_the_loop_ends_as_its_condition_says():
    with quiet():
        from mujoco.mjx._src import solver
    with ended_early():
        loop = solver._while_loop_scan
        ends = jax.vmap(lambda x: loop(lambda x: x < 7, lambda x: 2 * x, x, 50))(jnp.array([1, 3, 9]))
    np.testing.assert_array_equal(ends, [8, 12, 9])
