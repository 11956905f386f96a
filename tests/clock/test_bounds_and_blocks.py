import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.clock import batching as types
from jaxnigt.clock import events, rounds
from jaxnigt.training.climb import Case, climb
from tests.compiled import cleared


def random_profiles(count=2000, n=7):
    rng = np.random.default_rng(0)
    return jn.Profile(np.exp(rng.normal(0.0, 1.5, (count, n))))


@pytest.mark.parametrize("batch", [1, 3, 7, 20, 200])
def test_rennala_rounds_are_within_their_bounds(batch):
    profile = random_profiles()
    time = jn.clock.rennala(profile, batch, 1).end[:, 0]
    bound = jn.bounds.rennala_round(profile, batch)
    assert (time <= bound * (1 + 1e-12)).all()
    np.testing.assert_allclose(jn.bounds.rennala_round_literature(profile, batch), 2 * bound)
    # The bound says something: rounds come within a factor of four of it.
    assert (time >= bound / 4).all()


@pytest.mark.parametrize("batch", [1, 3, 7, 20, 200])
def test_malenia_rounds_are_within_their_bound(batch):
    profile = random_profiles()
    time = jn.clock.malenia(profile, batch, 1).end[:, 0]
    bound = jn.bounds.malenia_round(profile, batch)
    assert (time <= bound / 2).all()  # what certified bounds use; the literature has this factor 2
    assert (time >= bound / 8).all()


@pytest.mark.parametrize("gradients", [0.0, 1.0, 10.0, 1000.0])
def test_m_synchronous_is_within_a_logarithm_of_rennala(gradients):
    """Both are min over m of something: h_m (1 + s/m) against (sum 1/h_i)^-1 (s + m)."""
    profile = random_profiles()
    total = jn.bounds.m_synchronous_total(profile, gradients)
    rennala = jn.bounds.rennala_round(profile, gradients)
    assert (total <= (1 + np.log(profile.n)) * rennala * (1 + 1e-12)).all()


def test_m_synchronous_rounds_attain_their_total():
    """The best m, with as many rounds as s gradients beyond the first round need."""
    profile = random_profiles(20)
    best = np.inf
    for m in range(1, profile.n + 1):
        one = jn.clock.m_synchronous(profile, m, 1).end[:, 0]
        best = np.minimum(best, one * (1 + 21 / m))
    np.testing.assert_allclose(jn.bounds.m_synchronous_total(profile, 21), best, rtol=1e-12)


def test_dead_workers_leave_the_bounds_of_the_living():
    alive, dead = jn.Profile([1.0, 2.0]), jn.Profile([1.0, np.inf, 2.0])
    assert jn.bounds.rennala_round(alive, 5) == jn.bounds.rennala_round(dead, 5)
    assert np.isinf(jn.bounds.malenia_round(dead, 5))


def test_kappa_from_a_message():
    # 4 workers, 1 MB, 1 ms, 1 MB/s: 2 * 3 * 0.001 + 2 * 3/4 s.
    assert jn.clock.ring_allreduce(4, 1e6, 1e-3, 1e6) == pytest.approx(1.506)
    assert jn.clock.parameter_server(1e6, 1e-3, 1e6) == pytest.approx(2.002)
    assert jn.clock.ring_allreduce(4, np.ones(3), 0.0, 2.0).shape == (3,)


@pytest.mark.parametrize("restart", ["cancel", "finish"])
def test_blocks_change_nothing_and_compile_once(monkeypatch, restart):
    profile = jn.profiles.power_law(5, np.linspace(0, 2, 23), 0.5, 0.3)
    whole = jn.clock.rennala(profile, 7, 4, restart=restart)
    added = cleared(types._vmapped)
    monkeypatch.setattr(types, "_BLOCK_NUMBERS", 5 * 4)  # four profiles a block, the last not full
    blocks = jn.clock.rennala(profile, 7, 4, restart=restart)
    assert added() == (1,)
    np.testing.assert_array_equal(whole.end, blocks.end)
    np.testing.assert_array_equal(whole.counts, blocks.counts)


def test_families_of_varying_and_random_profiles():
    assert jn.profiles.linear(3).compute.tolist() == [1, 2, 3]
    assert jn.profiles.lognormal(5, np.array([0.0, 1.0])).compute[0].tolist() == [1] * 5
    faster = jn.profiles.decreasing(4, factor=2.0, every=10.0, times=3)
    ends = np.diff(jn.clock.synchronous(faster, 60).end)
    assert ends[0] == pytest.approx(2.0)
    assert ends[-1] == pytest.approx(0.25)
    away = jn.profiles.outages(6, share=0.5, length=5.0, until=100.0, seed=1)
    assert jn.clock.synchronous(away, 40).end[-1] > 60


@pytest.mark.parametrize("slow", [1e10, 1e16, 1e90])
@pytest.mark.parametrize("counts", [True, False])
def test_counts_that_nothing_can_hold_are_refused(slow, counts):
    """Malenia waits for the slow worker, and the fast one delivers all the while."""
    profile = jn.Profile([1.0, slow])
    with pytest.raises(jn.InputError, match="more than 2,147,483,647 gradients before a round is over"):
        jn.clock.malenia(profile, 2, 3, counts=counts)
    for result in (jn.clock.m_synchronous(profile, 2, 1), jn.clock.synchronous(profile, 1)):
        np.testing.assert_array_equal(result.end, [slow])
        np.testing.assert_array_equal(result.counts, [[1, 1]])
    finished = jn.clock.rennala(profile, 2, 3, restart="finish")
    np.testing.assert_array_equal(finished.end, [2.0, 4.0, 6.0])


def test_rounds_of_too_many_random_times_are_refused(monkeypatch):
    """Malenia waits for a worker that is a million times as slow; so does a rule of the user's."""
    monkeypatch.setattr(events, "MOST_ARRIVALS", 1000)
    monkeypatch.setattr(rounds, "MOST_ARRIVALS", 1000)
    profile = jn.Profile([[1.0, 1e6], [1.0, 2.0]], noise="exponential")
    for collect in (
        lambda: jn.clock.malenia(profile, 2, 3, key=1),
        lambda: jn.clock.collect(profile, Twice(), 3, key=1),
    ):
        with pytest.raises(jn.InputError, match=r"more than 1,0\d\d gradients before a round is over"):
            collect()


def test_what_never_ends_is_told_from_what_takes_too_long():
    ends = jn.clock.collect(jn.Profile([1.0, np.inf]), Twice(), 2).end
    assert np.isinf(ends).all()


def test_ends_that_lose_a_gradient_to_rounding_are_verified():
    """A gradient of 1e-300 seconds is lost beside a tenth of a second of communication."""
    profile = jn.Profile([1e-300, 1e300], comm=0.1, power=([1.0], [[1.0, 1.0], [1e-300, 1e-300]]))
    for result in (jn.clock.rennala(profile, 5, 3), jn.clock.synchronous(profile, 2)):
        jn.clock.verify(result, profile)


@dataclasses.dataclass(frozen=True)
class Twice(jn.clock.Rule):
    """Two of each worker."""

    def done(self, counts):
        return (counts >= 2).all(axis=-1)


@pytest.mark.parametrize(
    "compiling",
    [
        lambda n: jn.clock.rennala(jn.profiles.equal(n), 2, 2),
        lambda n: jn.train(jn.problems.tabular(horizon=2), jn.methods.rennala_nigt(n), iterations=1),
        lambda n: climb(
            [Case(jn.problems.chain(delta=24.0), jn.methods.rennala_nigt(n))], rounds=4, chunk=4
        ),
    ],
    ids=["clock", "train", "climb"],
)
def test_programs_are_forgotten_before_memory_maps_run_out(compiling, monkeypatch, tmp_path):
    limit = tmp_path / "max_map_count"
    monkeypatch.setattr(types, "_MOST_MAPS", limit)
    program = jax.jit(lambda x: x * 3.0 + 1.0)
    program(jnp.zeros(7))
    limit.write_text("100000000\n")
    compiling(41)  # numbers that no other test has
    assert program._cache_size() == 1
    limit.write_text("100\n")
    compiling(43)
    assert program._cache_size() == 0
    assert program(jnp.zeros(7))[0] == 1.0


def test_a_negative_pause_is_no_count_that_is_too_large():
    class Backwards(jn.clock.Communication):
        def pause(self, comm, alive, counts):
            return -1.0 - comm.max(axis=-1)

    profile = jn.Profile([1.0, 2.0])
    with pytest.raises(jn.InputError, match="Backwards gives no seconds of at least 0 for some round"):
        jn.clock.rennala(profile, 2, 2, comm_model=Backwards())
