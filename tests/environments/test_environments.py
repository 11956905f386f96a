"""The environments by name, on both engines, and wrapped ones."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.environments import Physical, make, substituted
from jaxnigt.environments.brax import quiet
from tests import line

# Observations and actions, as Brax documents them.
SIZES = {
    "reacher": (11, 2),
    "hopper": (11, 3),
    "walker2d": (17, 6),
    "humanoid": (244, 17),
    "swimmer": (8, 2),
    "halfcheetah": (17, 6),
    "ant": (27, 8),
}


@pytest.mark.loose
@pytest.mark.parametrize("backend", ["mjx", "spring"])
@pytest.mark.parametrize("name", SIZES)
def test_every_environment_makes_a_problem(name, backend):
    problem = jn.problems.policy_gradient(name, backend=backend, horizon=7)
    observations, actions = SIZES[name]
    assert (problem.observation_size, problem.env.action_size) == (observations, actions)
    params = jax.eval_shape(problem.init, jax.random.key(0))
    seen = jax.eval_shape(problem.sample, params, jax.random.split(jax.random.key(0), 3))
    assert seen.observation.shape == (3, 7, observations)
    assert seen.u.shape == (3, 7, actions)
    assert seen.reward.dtype == jnp.float32


@pytest.mark.loose
def test_the_swimmer_moves_alike_on_mjx_and_on_the_generalized_engine():
    """Two independent implementations of the same joints in the same fluid."""
    action = jnp.array([0.3, -0.2])

    def run(backend):
        env = make("swimmer", backend)
        with quiet(), substituted():
            state, step = jax.jit(env.reset)(jax.random.key(0)), jax.jit(env.step)
            seen = []
            for k in range(8):
                state = step(state, action * (-1) ** k)
                seen.append(np.asarray(state.obs))
        return np.stack(seen)

    generalized, mjx, spring = run("generalized"), run("mjx"), run("spring")
    np.testing.assert_allclose(mjx, generalized, rtol=1e-3, atol=1e-3)
    assert np.abs(mjx[-1] - mjx[0]).max() > 0.1
    assert np.isfinite(spring).all()


def test_an_environment_need_not_be_of_brax():
    """A name of a backend, a wrapper and a model are Brax's own; a policy gradient does without."""

    class Plain:
        action_size = 1
        reset, step = line.Line.reset, line.Line.step
        lifetime = 2

    problem = jn.problems.policy_gradient(Plain(), horizon=3, heterogeneity=jn.environments.flipped())
    assert repr(problem) == "PolicyGradient(Plain, backend=None, horizon=3, discount=0.99, d=4546)"
    params, keys = problem.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 4)
    assert np.isfinite(problem.evaluate(params, keys).per_worker).all()


def test_names_are_public_alone():
    assert dir(jn.environments) == sorted(jn.environments.__all__)
    assert dir(jn.problems) == sorted(jn.problems.__all__)


def test_episode_length_and_horizon_are_kept_apart():
    """Rewards count until the episode ends or H steps are over, whichever is first."""
    for lifetime, horizon in ((2, 5), (5, 2)):
        problem = jn.problems.policy_gradient(line.Line(lifetime=lifetime), horizon=horizon)
        params, keys = problem.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 3)
        seen = problem.sample(params, keys)
        assert seen.alive.shape == (3, horizon)
        np.testing.assert_array_equal(seen.alive.sum(axis=1), 2)
        assert (np.asarray(seen.reward)[:, :2] != 0).all()


def test_a_wrapped_environment_keeps_its_wrapper_under_heterogeneity():
    with quiet():
        from brax.envs.base import Wrapper

    class Shifted(Wrapper):
        def step(self, state, action):
            after = self.env.step(state, action)
            return after.replace(reward=after.reward + self.env.bonus + 100.0)

    inner = line.Line()
    inner.bonus = 0.0
    problem = jn.problems.policy_gradient(
        Shifted(inner),
        horizon=1,
        discount=1.0,
        heterogeneity=Physical(attributes={"bonus": [0.0, 10.0]}),
    )
    params, key = problem.init(jax.random.key(0)), jax.random.key(1)
    first, second = problem.sample(params, jnp.stack([key, key]), jnp.arange(2)).reward[:, 0]
    assert first > 90
    np.testing.assert_allclose(second - first, 10.0, rtol=1e-4)
    assert inner.bonus == 0.0


with quiet():
    from brax.envs.base import State


class Point:
    """A point on a line, as a class that is not of Brax."""

    action_size = 1

    def reset(self, key):
        return State(None, jnp.zeros(1), jnp.zeros(()), jnp.zeros(()))

    def step(self, state, action):
        point = state.obs + 0.1 * action
        return state.replace(obs=point, reward=-((point[0] - 1.0) ** 2))


class VectorReward(Point):
    def reset(self, key):
        return super().reset(key).replace(reward=jnp.zeros(1))


class Matrix(Point):
    def reset(self, key):
        return super().reset(key).replace(obs=jnp.zeros((2, 2)))


class Named(Point):
    def reset(self, key):
        return super().reset(key).replace(obs={"state": jnp.zeros(2)})


class Later(Point):
    def step(self, state, action):
        return super().step(state, action).replace(metrics={"distance": state.obs[0]})


class Truth(Point):
    def step(self, state, action):
        return super().step(state, action).replace(done=state.obs[0] > 0.05)


class Other(Point):
    def reset(self, key):
        return jnp.zeros(1), {"time": 0}


class Broken(Point):
    def step(self, state, action):
        return state.velocity


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (VectorReward(), "reward of a state has shape (1,), a number is allowed"),
        (Matrix(), "obs of a state has shape (2, 2), a vector is allowed"),
        (Named(), "observations are a dict, one vector is allowed"),
        (Later(), ".metrics['distance'] of a state is not there after reset and float32[] after step"),
        (Truth(), ".done of a state is float32[] after reset and bool[] after step"),
        (Other(), "reset gives a tuple without obs, reward, done"),
        (Broken(), "step raises AttributeError: 'State' object has no attribute 'velocity'"),
    ],
)
def test_an_environment_of_other_shapes_is_named(env, words):
    def trained():
        problem = jn.problems.policy_gradient(env, horizon=2)
        return jn.train(problem, jn.methods.rennala_nigt(2), iterations=1)

    with pytest.raises(jn.InputError, match=re.escape(f"environment: {words}")):
        trained()
