import math

import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.checks import whole

INF = float("inf")
SQRT = [math.sqrt(i) for i in range(1, 5)]


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


# Malenia stops when (sum 1/M_i) M <= n^2. n = 4, M = 8: sum <= 2. After 2 (w4's tie) the counts are
# 2, 1, 1, 1: sum 3.5; 2.828: 2, 2, 1, 1: 3; 3: 3, 2, 1, 1: 2.83; 3.464: 3, 2, 2, 1: 2.33; 4 (w1): 4, 2,
# 2, 1: 2.25; 4 (w4): 4, 2, 2, 2: 1.75 and over.
def test_malenia_by_hand():
    rounds = jn.clock.malenia(jn.Profile(SQRT), 8, 2)
    np.testing.assert_allclose(rounds.end, [4.0, 8.0], rtol=1e-12)
    np.testing.assert_array_equal(rounds.counts, [[4, 2, 2, 2]])
    # n = 3, h = (1, 1, 3), M = 9: sum <= 1. At 3: 3, 3, 1; at 6: 6, 6, 2: 5/6. At 5 the sum is 1.4.
    rounds = jn.clock.malenia(jn.Profile([1.0, 1.0, 3.0]), 9, 1)
    np.testing.assert_array_equal(rounds.counts, [[6, 6, 2]])
    # M = n: everyone once, and the tie at 3 is over with w3, the last in order.
    rounds = jn.clock.malenia(jn.Profile([1.0, 1.0, 3.0]), 3, 1)
    np.testing.assert_array_equal(rounds.counts, [[3, 3, 1]])


def test_malenia_counts_equal_fractions_as_equal():
    # 49 workers with 49 gradients each: in float64 49 * (1/49) summed may miss 1 by a rounding.
    rounds = jn.clock.malenia(jn.profiles.equal(49), 49 * 49, 1)
    np.testing.assert_array_equal(rounds.counts, [[49] * 49])


def test_m_synchronous_by_hand():
    # n = 3 with a tie for the second place: the lower index wins it.
    rounds = jn.clock.m_synchronous(jn.Profile([2.0, 1.0, 2.0], [0.5, 0.25, 4.0]), 2, 2)
    np.testing.assert_allclose(rounds.end, [6.0, 12.0])
    np.testing.assert_array_equal(rounds.counts, [[1, 1, 0]])
    for model, end in (("server", 2.5), ("serial", 2.75), ("gather", 2.5)):
        rounds = jn.clock.m_synchronous(
            jn.Profile([2.0, 1.0, 2.0], [0.5, 0.25, 4.0]), 2, 1, comm_model=model
        )
        np.testing.assert_allclose(rounds.end, [end])


def test_asynchronous_by_hand():
    # n = 4, h = sqrt(i). Order: 1 (w1), 1.414 (w2), 1.732 (w3), 2 (w1), 2 (w4), 2.828 (w2), 3 (w1).
    arrivals = jn.clock.asynchronous(jn.Profile(SQRT), 7)
    np.testing.assert_allclose(arrivals.time, [1, SQRT[1], SQRT[2], 2, 2, 2 * SQRT[1], 3], rtol=1e-12)
    np.testing.assert_array_equal(arrivals.worker, [0, 1, 2, 0, 3, 1, 0])
    np.testing.assert_array_equal(arrivals.staleness, [0, 1, 2, 2, 4, 3, 2])


def test_asynchronous_with_messages_that_queue_by_hand():
    # n = 3, h = (1, 1, 2), kappa = 1/2. Ready at 1 (w1, w2), 2 (w3). The link serves w1 until 1.5, w2
    # until 2, w3 until 2.5. w1 is ready again at 2.5 and served until 3, w2 at 3 and until 3.5.
    arrivals = jn.clock.asynchronous(jn.Profile([1.0, 1.0, 2.0], 0.5), 5, comm_model="serial")
    np.testing.assert_allclose(arrivals.time, [1.5, 2.0, 2.5, 3.0, 3.5])
    np.testing.assert_array_equal(arrivals.worker, [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(arrivals.staleness, [0, 1, 2, 2, 2])


def test_an_outage_by_hand():
    # One worker, h = 1, away from 1.5 to 4: half a gradient is done by then, the rest after.
    profile = jn.Profile([1.0], power=([1.5, 4.0], [[1.0], [0.0], [1.0]]))
    np.testing.assert_allclose(jn.clock.synchronous(profile, 3).end, [1.0, 4.5, 5.5])
    # Twice as fast from 2 on.
    profile = jn.Profile([1.0], power=([2.0], [[1.0], [2.0]]))
    np.testing.assert_allclose(jn.clock.rennala(profile, 3, 2).end, [2.5, 4.0])


def test_workers_that_stay_away_for_good():
    gone = ([2.0], [[1.0, 1.0], [0.0, 0.0]])
    rounds = jn.clock.rennala(jn.Profile([1.0, 1.0], power=gone), 2, 4)
    np.testing.assert_allclose(rounds.end, [1.0, 2.0, np.inf, np.inf])
    rounds = jn.clock.malenia(jn.Profile([1.0, 1.0], power=gone, noise="exponential"), 50, 2, key=0)
    assert np.isinf(rounds.end).all()


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
        (lambda p: jn.clock.m_synchronous(p, 4, 3), "m: got 4, 1 to n = 3 workers"),
        (lambda p: jn.clock.asynchronous(p, 0), "updates: got 0"),
        (lambda p: jn.clock.asynchronous(p, 3, comm_model="server"), "allowed are serial, parallel"),
        (lambda p: jn.clock.rennala(p.replace(noise="exponential"), 2, 3), "key: random times need"),
        (lambda p: jn.clock.rennala(p, 2, 3, restart="finish", comm_model="gather"), "for restart ="),
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


@pytest.mark.parametrize(
    ("rule", "first", "words"),
    [
        (jn.clock.Rennala(3), -3, "init_batch: got -3, a whole number of at least 1"),
        (jn.clock.Rennala(3), 0, "init_batch: got 0, a whole number of at least 1"),
        (jn.clock.Synchronous(2), 3, "init_batch: got 3, multiples of the 2 workers"),
        (jn.clock.MSynchronous(1), 5, "m: got 5, 1 to n = 2 workers"),
    ],
)
def test_a_first_batch_that_a_rule_cannot_have(rule, first, words):
    with pytest.raises(jn.InputError, match=words):
        jn.clock.collect(jn.Profile([1.0, 2.0]), rule, 2, init_batch=first)
