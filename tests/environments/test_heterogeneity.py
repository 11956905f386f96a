"""What differs from worker to worker: observations, physics, pay."""

import copy

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.environments import Flipped, Physical, flipped, make
from jaxnigt.environments.brax import quiet
from jaxnigt.policies import GaussianPolicy
from tests import line


def flipped_line(indicator, **options):
    return jn.problems.policy_gradient(
        "line",
        horizon=2,
        discount=0.7,
        policy=GaussianPolicy(1, hidden=(4,)),
        heterogeneity=flipped(indicator=indicator),
        **options,
    )


@pytest.mark.parametrize("indicator", [True, False])
def test_flipped_observations_by_hand(indicator):
    seen = jnp.array([1.0, -2.0])
    both = [flipped((1, -1), indicator=indicator).observation(seen, jnp.array(i)) for i in (0, 1)]
    entry = [[0.0], [1.0]] if indicator else [[], []]
    np.testing.assert_array_equal(both[0], [1.0, -2.0, *entry[0]])
    np.testing.assert_array_equal(both[1], [-1.0, 2.0, *entry[1]])
    problem = flipped_line(indicator)
    assert problem.workers == 2
    assert problem.observation_size == 2 + indicator
    assert problem.init(jax.random.key(0))["params"]["hidden_0"]["kernel"].shape[0] == 2 + indicator


def j_of_each(problem, params):
    """J of both workers, integrated over their actions: the policy sees -s instead of s."""

    class Seen:
        def __init__(self, worker):
            self.worker = jnp.array(worker)

        def apply(self, params, observation):
            seen = problem.heterogeneity.observation(observation, self.worker)
            return problem.policy.apply(params, seen)

    return jnp.stack([line.objective(Seen(worker), params, 0.7) for worker in (0, 1)])


@pytest.mark.parametrize("indicator", [True, False])
def test_j_is_the_mean_of_what_the_workers_see(indicator):
    """Per-worker J and the gradient of their mean against integrals over all actions."""
    problem = flipped_line(indicator)
    params = problem.init(jax.random.key(5))
    truth = np.asarray(jax.jit(lambda p: j_of_each(problem, p))(params))
    count = 40_000
    keys = jax.random.split(jax.random.key(1), count)
    evaluation = jax.jit(problem.evaluate)(params, keys)
    assert np.ptp(truth) > 0.02
    np.testing.assert_allclose(evaluation.per_worker, truth, atol=0.01)
    np.testing.assert_allclose(evaluation.objective, truth.mean(), atol=0.007)

    workers = jnp.arange(count) % 2
    one = jax.jit(jax.vmap(lambda key, i: problem.gradient(params, key[None], i[None], jnp.ones(1))))
    exact = jax.jit(jax.grad(lambda p: j_of_each(problem, p).mean()))(params)
    for sampled, leaf in zip(jax.tree.leaves(one(keys, workers)), jax.tree.leaves(exact), strict=True):
        error = sampled.std(axis=0) / np.sqrt(count)
        assert (np.abs(sampled.mean(axis=0) - leaf) <= 5 * error + 1e-6).all()


def test_evaluation_gives_every_worker_the_same_share():
    """Five keys for two workers: six trajectories, three each."""
    problem = flipped_line(False)
    params = problem.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 5)
    evaluation = problem.evaluate(params, keys)
    every = jnp.concatenate([keys, jax.random.split(keys[0], 1)])
    reward = problem.sample(params, every, jnp.arange(6) % 2).reward
    expected = (reward[:, 0] + 0.7 * reward[:, 1]).reshape(3, 2).mean(axis=0)
    np.testing.assert_allclose(evaluation.per_worker, expected, rtol=1e-6)
    np.testing.assert_allclose(evaluation.objective, expected.mean(), rtol=1e-6)


FACTORS = {"gravity": 0.5, "mass": 1.7, "friction": 0.3, "strength": 2.5}


def changed(model, name, factor):
    """The C model with other physics, its derived fields computed by MuJoCo itself."""
    model = copy.deepcopy(model)
    if name == "gravity":
        model.opt.gravity *= factor
    elif name == "mass":
        model.body_mass *= factor
        model.body_inertia *= factor
        model.dof_armature *= factor
    elif name == "friction":
        model.geom_friction *= factor
    else:
        model.actuator_gear *= factor
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


@pytest.mark.loose
@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("environment", ["hopper", "ant"])
def test_physics_are_those_that_mujoco_computes_itself(environment, name):
    env, factor = make(environment), FACTORS[name]
    ours = Physical(**{name: [1.0, factor]}).environment(env, jnp.array(1)).sys
    with quiet():
        from brax.io import mjcf

        theirs = mjcf.load_model(changed(env.sys.mj_model, name, factor))
    fields = ["opt.gravity", "body_mass", "body_subtreemass", "body_inertia", "body_invweight0"]
    fields += [
        "dof_invweight0",
        "dof_armature",
        "dof.armature",
        "geom_friction",
        "actuator_gear",
        "actuator.gear",
        "gravity",
    ]
    fields += ["link.inertia.mass", "link.inertia.i"]
    for path in fields:
        a, b, before = ours, theirs, env.sys
        for part in path.split("."):
            a, b, before = getattr(a, part), getattr(b, part), getattr(before, part)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7, err_msg=path)


@pytest.mark.loose
@pytest.mark.parametrize("backend", ["spring", "mjx"])
def test_workers_live_under_their_own_physics(backend):
    """One program for all workers: worker 0 moves as without heterogeneity, the others otherwise."""
    env = make("hopper", backend)
    names = list(FACTORS)
    factors = {
        name: [FACTORS[name] if i == place + 1 else 1.0 for i in range(6)]
        for place, name in enumerate(names)
    }
    differs = Physical(**factors, attributes={"_forward_reward_weight": [1.0] * 5 + [-1.0]})
    assert differs.workers == 6

    def run(env):
        def step(state, _):
            state = env.step(state, jnp.array([0.6, -0.4, 0.8]))
            return state, (state.obs, state.reward)

        return jax.lax.scan(step, env.reset(jax.random.key(0)), length=8)[1]

    with quiet():
        seen, reward = jax.jit(jax.vmap(lambda i: run(differs.environment(env, i))))(jnp.arange(6))
        plain, paid = jax.jit(lambda: run(env))()
    np.testing.assert_allclose(seen[0], plain, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(reward[0], paid, rtol=1e-3, atol=1e-3)
    for place, name in enumerate(names):
        assert np.abs(seen[place + 1] - seen[0]).max() > 1e-2, name
    np.testing.assert_allclose(seen[5], seen[0], atol=1e-3)
    assert np.abs(reward[5] - reward[0]).max() > 1e-2


def test_drawn_factors_are_positive_and_belong_to_the_seed():
    one, same, other = (Physical.drawn(500, seed=s, gravity=0.2, mass=0.5) for s in (0, 0, 1))
    assert one.workers == 500
    for name, sigma in (("gravity", 0.2), ("mass", 0.5)):
        logs = np.log(one.factors[name])
        assert abs(logs.mean()) < 5 * sigma / np.sqrt(500)
        assert abs(logs.std() - sigma) < 5 * sigma / np.sqrt(1000)
        np.testing.assert_array_equal(one.factors[name], same.factors[name])
        assert not np.array_equal(one.factors[name], other.factors[name])
    # Other factors are not moved by what else is drawn.
    alone = Physical.drawn(500, mass=0.5)
    np.testing.assert_array_equal(alone.factors["mass"], one.factors["mass"])


def test_an_attribute_of_an_environment_of_ones_own():
    class Aimed(line.Line):
        goal = 1.0

        def step(self, state, action):
            after = super().step(state, action)
            return after.replace(reward=after.reward + self.goal)

    problem = jn.problems.policy_gradient(
        Aimed(), horizon=2, discount=1.0, heterogeneity=Physical(attributes={"goal": [0.0, 10.0]})
    )
    params, key = problem.init(jax.random.key(0)), jax.random.key(1)
    keys = jnp.stack([key, key])
    reward = problem.sample(params, keys, jnp.arange(2)).reward
    np.testing.assert_allclose(reward[1] - reward[0], [10.0, 10.0], rtol=1e-5)


BAD = [
    (lambda: flipped((1, 2)), "signs: got \\(1, 2\\), 1 or -1"),
    (lambda: flipped(()), "signs: got \\(\\)"),
    (lambda: Physical(), "heterogeneity: shapes of nothing, one number a worker"),
    (lambda: Physical(gravity=[1.0], mass=[1.0, 2.0]), "heterogeneity: shapes"),
    (lambda: Physical(gravity=[1.0, 0.0]), "gravity: got \\[1.0, 0.0\\], factors above 0"),
    (lambda: Physical.drawn(3), "heterogeneity: shapes of nothing"),
    (lambda: Physical.drawn(0, mass=0.1), "workers: got 0"),
    (
        lambda: jn.problems.policy_gradient("line", heterogeneity=Physical(gravity=[1.0, 2.0])).evaluate(
            None, jax.random.split(jax.random.key(0), 2)
        ),
        "heterogeneity: Line has no `sys`, so only attributes may differ",
    ),
    (
        lambda: jn.problems.policy_gradient(
            "line", heterogeneity=Physical(attributes={"goal": [1.0]})
        ).evaluate(None, jax.random.split(jax.random.key(0), 2)),
        "attributes: Line has no attribute 'goal'",
    ),
]


@pytest.mark.parametrize(("case", "words"), BAD)
def test_bad_arguments(case, words):
    with pytest.raises(jn.InputError, match=words):
        case()


def test_flipped_is_a_value():
    """Equal differences give equal problems to the compiler."""
    assert flipped([1, -1]) == Flipped((1.0, -1.0), indicator=True) == flipped()
    assert hash(flipped()) == hash(flipped())
