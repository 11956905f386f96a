"""Every rule under every time and communication model against the event queue."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import jaxnigt as jn
from jaxnigt.clock.rounds import run
from jaxnigt.profiles import noise as noises
from tests.clock import reference

INF = math.inf
PHASES = [Phase.explicit, Phase.generate]
N, K, LARGEST = 6, 5, 12

# Times whose multiples meet, some of them only up to rounding: 3 * 0.1 > 0.3 in float64.
TIMES = st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.0, 2.0, 3.0, 1 / 3, 2 / 3, *np.sqrt([2.0, 3.0, 4.0])])
TIMES = TIMES | st.floats(0.1, 5.0)
# Processors may take subnormal numbers for 0, so they are left out.
LINKS = st.sampled_from([0.0, 0.0, 0.1, 0.3, 1.0]) | st.floats(0.0, 5.0, allow_subnormal=False)
POWERS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 3.0]) | st.floats(0.1, 4.0)
NOISES = {
    "exponential": noises.exponential(),
    "outage": noises.bernoulli_outage(0.25, 4.0),  # takes two values, so that ties happen
}
ROUNDS = ["synchronous", "m_synchronous", "rennala", "malenia"]
MODELS = ["allreduce", "server", "serial", "gather"]
CASES = settings(max_examples=300, deadline=None, derandomize=True, phases=PHASES)


@st.composite
def workers(draw, dead=2):
    """Times of N workers, up to `dead` of them dead."""
    compute = draw(st.lists(TIMES, min_size=N, max_size=N))
    comm = draw(st.lists(LINKS, min_size=N, max_size=N))
    for i in draw(st.lists(st.integers(0, N - 1), max_size=dead)):
        compute[i] = INF
    return [float(h) for h in compute], comm


@st.composite
def powers(draw):
    """Three breaks and four pieces of power for N workers; the last piece is never an outage for all."""
    gaps = draw(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.7]), min_size=3, max_size=3))
    values = draw(st.lists(st.lists(POWERS, min_size=N, max_size=N), min_size=4, max_size=4))
    values[-1] = [p or 1.0 for p in values[-1]]
    return np.cumsum(gaps).tolist(), values


def sizes_for(rule):
    """Sizes of K rounds; the last is always the largest, so that one program serves all."""
    largest = {"synchronous": 2, "m_synchronous": N}.get(rule, LARGEST)
    return st.lists(st.integers(1, largest), min_size=K - 1, max_size=K - 1).map(lambda s: [*s, largest])


def call(rule, profile, sizes, **options):
    """The clock's rounds of these sizes; m-synchronous rounds have one size in public."""
    sizes = np.array(sizes)
    if rule == "synchronous":
        return jn.clock.synchronous(profile, K, per_worker=sizes, **options)
    if rule == "m_synchronous":
        options = {"key": None, "comm_model": "allreduce", **options}
        return run(jn.clock.MSynchronous(N), profile, sizes, options["key"], options["comm_model"])
    return getattr(jn.clock, rule)(profile, sizes, K, **options)


@dataclasses.dataclass(frozen=True)
class Distinct(jn.clock.Rule):
    """A rule of one's own, which has `done` and nothing else."""

    q: int = 3

    def done(self, counts):
        return (counts >= 2).sum(axis=-1) >= self.q


@dataclasses.dataclass(frozen=True)
class Bus(jn.clock.Communication):
    """A model of one's own."""

    def pause(self, comm, alive, counts):
        senders = (counts > 0).sum(axis=-1)
        return senders * jnp.where(counts > 0, comm, 0.0).max(axis=-1)


def agree(rounds, expected, profile):
    ends, counts = expected
    np.testing.assert_allclose(rounds.end, ends, rtol=1e-9, atol=0)
    actual = np.broadcast_to(rounds.counts, (K, N))
    for k, count in enumerate(counts):
        if count is not None:
            np.testing.assert_array_equal(actual[k], count)
    jn.clock.verify(rounds, profile)


@functools.cache
def _table(noise, seed, rounds, count):
    """Draws by (round, worker, draw), with keys folded in that order after the profile's index."""
    key = jax.random.fold_in(jax.random.key(seed), 0)

    def one(*path):
        folded = key
        for part in path:
            folded = jax.random.fold_in(folded, part)
        return noise.sample(folded)

    def table():
        axes = [jnp.arange(N), jnp.arange(count)]
        axes = axes if rounds is None else [jnp.arange(rounds), *axes]
        grid = jnp.meshgrid(*axes, indexing="ij")
        return jax.vmap(one)(*(x.ravel() for x in grid)).reshape(grid[0].shape)

    with jax.enable_x64(True):
        return np.asarray(jax.jit(table)())


@pytest.mark.parametrize("comm_model", MODELS)
@pytest.mark.parametrize("rule", ROUNDS)
@CASES
@given(data=st.data(), workers=workers())
def test_fixed_times(rule, comm_model, data, workers):
    sizes = data.draw(sizes_for(rule))
    profile = jn.Profile(*workers)
    expected = reference.rounds(rule, *workers, sizes, comm_model=comm_model)
    agree(call(rule, profile, sizes, comm_model=comm_model), expected, profile)


@pytest.mark.parametrize("comm_model", MODELS)
@pytest.mark.parametrize("rule", ROUNDS)
@CASES
@given(data=st.data(), workers=workers(), power=powers())
def test_varying_power(rule, comm_model, data, workers, power):
    sizes = data.draw(sizes_for(rule))
    profile = jn.Profile(*workers, power=power)
    expected = reference.rounds(rule, *workers, sizes, comm_model=comm_model, power=power)
    agree(call(rule, profile, sizes, comm_model=comm_model), expected, profile)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("rule", ROUNDS)
@CASES
@given(data=st.data(), workers=workers(), seed=st.integers(0, 3))
def test_random_times(rule, noise, data, workers, seed):
    sizes = data.draw(sizes_for(rule))
    comm_model = data.draw(st.sampled_from(["allreduce", "gather"]))
    profile = jn.Profile(*workers, noise=NOISES[noise])
    table = _table(NOISES[noise], seed, K, 4000)
    expected = reference.rounds(
        rule, *workers, sizes, comm_model=comm_model, draws=lambda k, i, d: float(table[k, i, d])
    )
    agree(call(rule, profile, sizes, comm_model=comm_model, key=seed), expected, profile)


@pytest.mark.parametrize("comm_model", ["allreduce", "server", "serial"])
@pytest.mark.parametrize("times", ["fixed", "power", "outage"])
@CASES
@given(data=st.data(), workers=workers(), power=powers())
def test_rennala_finish(times, comm_model, data, workers, power):
    sizes = data.draw(sizes_for("rennala"))
    options = {"restart": "finish", "comm_model": comm_model}
    profile = jn.Profile(*workers, power=power if times == "power" else None)
    draws = None
    if times == "outage":
        table = _table(NOISES[times], 0, K + 1, 4000)
        profile = profile.replace(noise=NOISES[times])
        draws = lambda k, i, d: float(table[k, i, d])  # noqa: E731
    expected = reference.rounds(
        "rennala", *workers, sizes, power=profile.power and power, draws=draws, **options
    )
    agree(call("rennala", profile, sizes, key=0, **options), expected, profile)


@pytest.mark.parametrize("comm_model", ["parallel", "serial"])
@pytest.mark.parametrize("times", ["fixed", "power", "exponential", "outage"])
@CASES
@given(workers=workers(), power=powers())
def test_asynchronous(times, comm_model, workers, power):
    updates = 30
    profile = jn.Profile(*workers, power=power if times == "power" else None)
    draws = None
    if times in NOISES:
        table = _table(NOISES[times], 0, None, updates + 1)
        profile = profile.replace(noise=NOISES[times])
        draws = lambda i, d: float(table[i, d])  # noqa: E731
    expected = reference.asynchronous(
        *workers, updates, comm_model=comm_model, power=profile.power and power, draws=draws
    )
    arrivals = jn.clock.asynchronous(profile, updates, key=0, comm_model=comm_model)
    np.testing.assert_allclose(arrivals.time, expected[0], rtol=1e-9, atol=0)
    np.testing.assert_array_equal(arrivals.worker, expected[1])
    np.testing.assert_array_equal(arrivals.staleness, expected[2])
    jn.clock.verify(arrivals, profile)


@pytest.mark.parametrize("restart", ["cancel", "finish"])
@pytest.mark.parametrize("times", ["fixed", "power", "outage"])
@CASES
@given(data=st.data(), workers=workers(dead=1), power=powers())
def test_a_rule_and_a_network_of_ones_own(times, restart, data, workers, power):
    q = data.draw(st.sampled_from([2, 4]))
    profile = jn.Profile(*workers, power=power if times == "power" else None)
    draws = None
    if times == "outage":
        table = _table(NOISES[times], 0, K + 1, 4000)
        profile = profile.replace(noise=NOISES[times])
        draws = lambda k, i, d: float(table[k, i, d])  # noqa: E731
    expected = reference.rounds(
        *(reference.Distinct(q), *workers, [0] * K),
        power=profile.power and power,
        draws=draws,
        restart=restart,
        comm_model="bus",
    )
    options = {"key": 0, "restart": restart, "comm_model": Bus()}
    agree(jn.clock.collect(profile, Distinct(q), K, **options), expected, profile)


def test_random_and_varying_times_together():
    power = ([1.0, 2.5], [[1.0] * N, [0.0, 0.0, 1.0, 1.0, 2.0, 0.5], [2.0] * N])
    compute, comm = [1.0, 0.5, 0.7, 2.0, 1.5, 3.0], [0.1] * N
    profile = jn.Profile(compute, comm, noise="exponential", power=power)
    table = _table(NOISES["exponential"], 0, K, 4000)
    for rule in ROUNDS:
        sizes = [2] * K
        expected = reference.rounds(
            rule, compute, comm, sizes, power=power, draws=lambda k, i, d: float(table[k, i, d])
        )
        agree(call(rule, profile, sizes, key=0), expected, profile)
