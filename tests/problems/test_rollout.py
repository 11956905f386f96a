"""Lanes that take the next slot: whatever their number, every slot sees what it would see alone."""

import heapq

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.policies import GaussianPolicy
from jaxnigt.problems import policy_gradient, rollout
from jaxnigt.problems.score import gradient_of_steps, score_estimate
from tests import line

HORIZON = 6
LIFETIMES = np.array([3, 1, 6, 9, 2, 1, 1, 5, 4, 2, 6], np.int32)  # 9 is cut at the horizon


def played(width):
    """What slots that live for LIFETIMES steps keep, and how often all lanes moved."""
    moves = []

    def advance(left, slot, step):
        jax.debug.callback(lambda: moves.append(1))
        return left - 1, (100 * slot + step, left), left == 1

    kept = jax.jit(lambda: rollout.run_lanes(jnp.asarray(LIFETIMES), advance, HORIZON, width))()
    jax.effects_barrier()
    return jax.tree.map(np.asarray, kept), len(moves)


def list_scheduling(lengths, width):
    """When the last job ends where each goes, in turn, to the machine that is free first."""
    free = [0] * width
    for length in lengths:
        heapq.heappush(free, heapq.heappop(free) + int(length))
    return max(free)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 10, 11])
def test_slots_keep_their_own_steps_whatever_the_number_of_lanes(width):
    (name, left), moves = played(width)
    lengths = np.minimum(LIFETIMES, HORIZON)
    steps = np.arange(HORIZON)
    lived = steps < lengths[:, None]
    np.testing.assert_array_equal(name, np.where(lived, 100 * np.arange(11)[:, None] + steps, 0))
    np.testing.assert_array_equal(left, np.where(lived, LIFETIMES[:, None] - steps, 0))
    # No lane waits while slots are left.
    assert moves == list_scheduling(lengths, width)


@pytest.mark.parametrize("width", [1, 3, 4, 11])
def test_slots_of_episodes_that_never_end_early_keep_their_own_steps(width):
    starts = {"first": jnp.arange(11.0) ** 2}

    def advance(state, slot, step):
        return {"first": state["first"] + 1}, (slot, step, state["first"]), jnp.zeros(slot.shape, bool)

    kept = jax.jit(lambda: rollout.run_lanes(starts, advance, HORIZON, width, endless=True))()
    slot, step = np.indices((11, HORIZON))
    for seen, wanted in zip(kept, (slot, step, slot**2.0 + step), strict=True):
        np.testing.assert_array_equal(seen, wanted)


def test_numbers_of_lanes():
    assert rollout.lane_count(10, 3, True) == 3
    assert rollout.lane_count(2, 3, False) == 2
    if jax.default_backend() == "cpu":
        assert [rollout.lane_count(slots, None, True) for slots in (1, 256, 257, 800)] == [
            1,
            256,
            129,
            200,
        ]
        assert [rollout.lane_count(slots, None, False) for slots in (1, 100, 200, 800)] == [
            1,
            32,
            50,
            64,
        ]


@pytest.mark.loose
@pytest.mark.parametrize(("name", "endless"), [("reacher", True), ("hopper", False)])
def test_environments_that_never_end_early_are_told_from_others(name, endless, monkeypatch):
    told = []

    def width(slots, asked, endless):
        told.append(endless)
        return 2

    monkeypatch.setattr(rollout, "lane_count", width)
    problem = policy_gradient(name, backend="spring", horizon=3)
    params = jax.eval_shape(problem.init, jax.random.key(0))
    jax.eval_shape(problem.sample, params, jax.random.split(jax.random.key(1), 4))
    assert told == [endless]


@pytest.mark.parametrize(
    ("over", "endless"),
    [
        (lambda state, pace: state["flag"] > 0, True),
        (lambda state, pace: jnp.zeros((), bool), True),
        (lambda state, pace: jnp.sin(state["flag"]) + state["x"] > 0, False),
        (lambda state, pace: pace > 3, False),
    ],
)
def test_what_may_end_an_episode(over, endless):
    """`flag` stays what it is, x does not."""

    def step(state, pace):
        return {"flag": state["flag"], "x": state["x"] + pace}, over(state, pace)

    assert rollout.is_endless(step, {"flag": jnp.zeros(()), "x": jnp.zeros(())}, jnp.ones(())) == endless


@pytest.mark.parametrize("taken", [0.0, 0.03, 0.5, 1.0])
def test_packed_steps_have_the_gradient_of_masked_ones(taken):
    """700 x 3 steps are several chunks."""
    keys = jax.random.split(jax.random.key(0), 5)
    shape = (700, 3)
    policy = GaussianPolicy(2, hidden=(5,))
    observation, u = jax.random.normal(keys[0], (*shape, 4)), jax.random.normal(keys[1], (*shape, 2))
    alive = jax.random.uniform(keys[2], shape) < taken
    reward, weights = (
        jnp.where(alive, jax.random.normal(keys[3], shape), 0.0),
        jnp.linspace(-1.0, 1.0, 700),
    )
    params = policy.init(keys[4], observation[0, 0])

    def masked(params):
        return jnp.where(alive, policy.apply(params, observation).log_density(u), 0.0)

    def packed(params, step):
        return policy.apply(params, step[0]).log_density(step[1])

    # With discount 0 the weight of a step is its reward.
    expected = score_estimate(masked, params, weights, reward, 0.0, per_step=True).gradient
    found = jax.jit(gradient_of_steps, static_argnums=0)(
        packed, params, (observation, u), weights[:, None] * reward, alive
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), found, expected)


@pytest.mark.loose
def test_trajectories_of_a_hopper_do_not_depend_on_lanes():
    """Against H steps of each slot alone, the physics going on after termination."""
    kept = [policy_gradient("hopper", backend="spring", horizon=120, lanes=n) for n in (1, 3, 8)]
    params = kept[0].init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 8)
    reward, alive = jax.jit(jax.vmap(lambda key: alone(kept[0], params, key)))(keys)
    assert np.ptp(np.asarray(alive).sum(axis=1)) > 10
    for problem in kept:
        seen = jax.jit(problem.sample)(params, keys)
        # Contacts magnify rounding, so the whole of an episode is compared loosely.
        assert np.abs(np.asarray(seen.alive.sum(axis=1) - alive.sum(axis=1))).max() <= 1
        np.testing.assert_allclose(seen.reward[:, :10], reward[:, :10], rtol=1e-3, atol=1e-3)
        assert not np.asarray(seen.reward)[~np.asarray(seen.alive)].any()


def alone(problem, params, key):
    """Rewards and whether they count, of one trajectory in a scan over all H steps."""
    reset, act = jax.random.split(key)

    def step(carry, key):
        state, alive = carry
        noise = jax.random.normal(key, (problem.env.action_size,))
        u = problem.policy.apply(params, state.obs).sample(noise)
        after = problem.env.step(state, jnp.tanh(u))
        return (after, alive & (after.done == 0)), (jnp.where(alive, after.reward, 0.0), alive)

    start = (problem.env.reset(reset), jnp.array(True))
    return jax.lax.scan(step, start, jax.random.split(act, problem.horizon))[1]


def test_runs_at_their_own_points_share_lanes():
    """Estimates and evaluations of three runs together are those of each alone."""
    problem = policy_gradient(line.Line(), horizon=4, policy=GaussianPolicy(1, hidden=(3,)), lanes=4)
    params = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 3))
    keys = jax.random.split(jax.random.key(1), (3, 5))
    workers, weights = jnp.zeros((3, 5), jnp.int32), jnp.linspace(-1.0, 1.0, 15).reshape(3, 5)
    together = problem.estimates(params, keys, workers, weights), problem.evaluations(params, keys)
    for i in range(3):
        own = jax.tree.map(lambda x, i=i: x[i], params)
        each = problem.estimate(own, keys[i], workers[i], weights[i]), problem.evaluate(own, keys[i])
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5), together, each
        )


def test_bad_lanes():
    with pytest.raises(jn.InputError, match="lanes: got 0"):
        policy_gradient(line.Line(), lanes=0)


def test_a_step_is_traced_once_for_gradient_and_evaluation():
    steps = []

    class Counting(line.Line):
        def step(self, state, action):
            steps.append(1)
            return super().step(state, action)

    problem = policy_gradient(Counting(), horizon=4, policy=GaussianPolicy(1, hidden=(3,)))
    params, keys = problem.init(jax.random.key(0)), jax.random.split(jax.random.key(1), 3)
    jax.eval_shape(lambda *at: (problem.sample(*at), problem.evaluate(*at)), params, keys)
    assert len(steps) == 1
