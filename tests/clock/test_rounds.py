import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnigt as jn
from jaxnigt.clock.types import whole
from tests.clock import reference

INF = float("inf")
SQRT = [math.sqrt(i) for i in range(1, 5)]

# Times whose multiples meet, some of them only up to rounding: 3 * 0.1 > 0.3 in float64.
TIMES = st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.0, 2.0, 3.0, 1 / 3, 2 / 3, *SQRT]) | st.floats(0.05, 20.0)
LINKS = st.sampled_from([0.0, 0.0, 0.1, 0.3, 1.0]) | st.floats(0.0, 5.0)


@st.composite
def profiles(draw):
    """Times of up to eight workers padded to eight with dead ones, so that one program serves all."""
    n = draw(st.integers(1, 8))
    compute = draw(st.lists(TIMES, min_size=n, max_size=n)) + [INF] * (8 - n)
    comm = draw(st.lists(LINKS, min_size=n, max_size=n)) + [0.0] * (8 - n)
    order = draw(st.permutations(range(8)))
    return [compute[i] for i in order], [comm[i] for i in order]


def agree(rounds, expected):
    end, counts = (np.array(x) for x in expected)
    np.testing.assert_allclose(rounds.end, end, rtol=1e-9, atol=0)
    np.testing.assert_array_equal(np.broadcast_to(rounds.counts, counts.shape), counts)


@pytest.mark.parametrize("restart", ["cancel", "finish"])
@pytest.mark.parametrize("comm_model", ["allreduce", "server"])
@settings(max_examples=300, deadline=None, derandomize=True)
@given(profile=profiles(), batch=st.integers(1, 24))
def test_rennala_agrees_with_an_event_queue(restart, comm_model, profile, batch):
    compute, comm = profile
    rounds = jn.clock.rennala(
        jn.Profile(compute, comm), batch, 6, restart=restart, comm_model=comm_model
    )
    agree(rounds, reference.rennala(compute, comm, batch, 6, restart, comm_model))


@pytest.mark.parametrize("comm_model", ["allreduce", "server"])
@settings(max_examples=300, deadline=None, derandomize=True)
@given(profile=profiles())
def test_synchronous_agrees_with_an_event_queue(comm_model, profile):
    live = [pair for pair in zip(*profile, strict=True) if pair[0] < INF]
    compute, comm = ([pair[k] for pair in (live * 8)[:8]] for k in (0, 1))
    rounds = jn.clock.synchronous(jn.Profile(compute, comm), 6, comm_model=comm_model)
    agree(rounds, reference.synchronous(compute, comm, 6, comm_model))


# h = sqrt(i), n = 4. Completions in order: 1 (w1), 1.414 (w2), 1.732 (w3), 2 (w1), 2 (w4, a tie that
# the lower index wins), 2.828 (w2), 3 (w1), 3.464 (w3), 4 (w1), 4 (w4), 4.243 (w2), ...
@pytest.mark.parametrize(
    ("batch", "one", "count"),
    [
        (1, 1.0, [1, 0, 0, 0]),
        (3, math.sqrt(3), [1, 1, 1, 0]),
        (4, 2.0, [2, 1, 1, 0]),
        (5, 2.0, [2, 1, 1, 1]),
        (6, 2 * math.sqrt(2), [2, 2, 1, 1]),
        (9, 4.0, [4, 2, 2, 1]),
        (10, 4.0, [4, 2, 2, 2]),
    ],
)
def test_rennala_by_hand(batch, one, count):
    rounds = jn.clock.rennala(jn.Profile(SQRT), batch, 3)
    np.testing.assert_allclose(rounds.end, [one, 2 * one, 3 * one], rtol=1e-12)
    np.testing.assert_array_equal(np.broadcast_to(rounds.counts, (3, 4)), [count] * 3)


def test_rennala_finish_by_hand():
    # M = 4 at t = 2 goes to worker 1; worker 4's tied gradient comes after it, is stale and dropped at
    # once. Fresh then: w1 and w4 from 2; w2 from 2.828, w3 from 3.464 once their stale ones are done.
    # Next: 3 (w1), 4 (w1), 4 (w4), 4.243 (w2), 5 (w1), 5.196 (w3), ...
    rounds = jn.clock.rennala(jn.Profile(SQRT), 4, 2, restart="finish")
    np.testing.assert_allclose(rounds.end, [2.0, 3 * math.sqrt(2)], rtol=1e-12)
    np.testing.assert_array_equal(rounds.counts, [[2, 1, 1, 0], [2, 1, 0, 1]])


def test_rennala_finish_with_communication_by_hand():
    # n = 2, h = (1, 1.5), M = 2, kappa = 1: gradients at 1 (w1) and 1.5 (w2). The round communicates
    # until 2.5; w1's stale gradient is done at 2, so it waits; w2 delivered last and waits too. Both
    # start afresh at 2.5.
    rounds = jn.clock.rennala(jn.Profile([1.0, 1.5], 1.0), 2, 3, restart="finish")
    np.testing.assert_allclose(rounds.end, [2.5, 5.0, 7.5], rtol=1e-12)
    # With kappa = 0.25 w1 is busy until 2 at the second round's start, 1.75, and w2 is fresh: 3 (w1),
    # 3.25 (w2). The third starts at 3.5, when w1 is busy until 4: 5 (w1, tied), 5 (w2).
    rounds = jn.clock.rennala(jn.Profile([1.0, 1.5], 0.25), 2, 3, restart="finish")
    np.testing.assert_allclose(rounds.end, [1.75, 3.5, 5.25], rtol=1e-12)
    np.testing.assert_array_equal(rounds.counts, [[1, 1], [1, 1], [1, 1]])


def test_communication_by_hand():
    profile = jn.Profile([1.0, 2.0, 5.0], [0.5, 0.25, 4.0])
    assert jn.clock.rennala(profile, 2, 1, comm_model="allreduce").end == pytest.approx([6.0])
    assert jn.clock.rennala(profile, 2, 1, comm_model="server").end == pytest.approx([2.5])
    assert jn.clock.synchronous(profile, 1, comm_model="allreduce").end == pytest.approx([9.0])
    assert jn.clock.synchronous(profile, 1, comm_model="server").end == pytest.approx([9.0])
    slow_link = jn.Profile([1.0, 2.0, 5.0], [9.0, 0.25, 4.0])
    assert jn.clock.synchronous(slow_link, 1, comm_model="server").end == pytest.approx([10.0])


def test_dead_workers():
    profile = jn.Profile([1.0, INF], [0.5, 7.0])
    rounds = jn.clock.rennala(profile, 3, 2)
    np.testing.assert_allclose(rounds.end, [3.5, 7.0])
    np.testing.assert_array_equal(rounds.counts, [[3, 0]])
    assert np.isinf(jn.clock.synchronous(profile, 2).end).all()


@pytest.mark.parametrize("restart", ["cancel", "finish"])
def test_a_batch_of_profiles_is_its_profiles_one_by_one(restart):
    profile = jn.profiles.power_law(5, np.linspace(0, 2, 6).reshape(2, 3), 0.5, 0.3)
    together = jn.clock.rennala(profile, 7, 4, restart=restart)
    assert together.end.shape == (2, 3, 4)
    assert together.end.dtype == np.float64
    for index in np.ndindex(2, 3):
        alone = jn.clock.rennala(profile[index], 7, 4, restart=restart)
        np.testing.assert_array_equal(together.end[index], alone.end)
        np.testing.assert_array_equal(together.counts[index], alone.counts)


def test_the_batch_may_differ_from_round_to_round():
    profile = jn.profiles.power_law(5, 0.5, 0.5, 0.3)
    sizes = np.array([9, 4, 4])
    ends = jn.clock.rennala(profile, sizes, 3).end
    one = [jn.clock.rennala(profile, int(size), 1).end[0] for size in sizes]
    np.testing.assert_allclose(ends, np.cumsum(one), rtol=1e-12)
    finish = jn.clock.rennala(profile, sizes, 3, restart="finish")
    np.testing.assert_array_equal(finish.counts.sum(axis=-1), sizes)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: jn.clock.rennala(p, 0, 3), "batch: got 0"),
        (lambda p: jn.clock.rennala(p, 2, 0), "rounds: got 0"),
        (lambda p: jn.clock.rennala(p, 2, 3, restart="wait"), "restart: got 'wait', allowed are cancel"),
        (lambda p: jn.clock.rennala(p, 2, 3, comm_model="ring"), "comm_model: got 'ring', allowed are"),
        (lambda p: jn.clock.synchronous(p, 3, comm_model="ring"), "comm_model: got 'ring'"),
        (lambda p: jn.clock.synchronous(p, 3, per_worker=[1, 2]), "per_worker: one whole number"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(jn.InputError, match=words):
        call(jn.profiles.equal(3))


@pytest.mark.parametrize("value", [2.0, True, "3", -1, None])
def test_counts_are_whole_numbers(value):
    with pytest.raises(jn.InputError, match=r"batch: got .*, a whole number of at least 1"):
        whole("batch", value)


def test_the_clock_leaves_precision_alone():
    import jax.numpy as jnp

    jn.clock.rennala(jn.profiles.equal(3), 2, 3)
    assert jnp.zeros(1).dtype == jnp.float32
