"""Who is next: rows and bisection against sorting; keys against those of JAX."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.clock import events as keys
from jaxnigt.clock.counting import first_of
from jaxnigt.clock.events import queue
from jaxnigt.profiles import noise as noises
from tests.clock import reference


@pytest.mark.parametrize("n", [1, 5, 32, 33, 100])
def test_a_queue_gives_the_first_of_the_lowest_index(n):
    rng = np.random.default_rng(n)
    times = rng.integers(1, 6, n).astype(float)  # many ties
    with jax.enable_x64(True):
        line = queue(jnp.asarray(times))
        for _ in range(3 * n):
            time, worker = line.head()
            assert (time, worker) == (times.min(), times.argmin())
            times[worker] = rng.choice([times[worker] + rng.integers(0, 4), np.inf], p=[0.9, 0.1])
            line = line.put(worker, jnp.asarray(times[worker]))
            np.testing.assert_array_equal(line.times(n), times)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_the_first_m_are_those_of_a_stable_sort(n):
    rng = np.random.default_rng(n)
    with jax.enable_x64(True):
        first = jax.jit(first_of)
        for _ in range(30):
            times = rng.choice([0.0, 0.5, 1.0, 1.0 + 1e-15, 7.0, 1e300, np.inf], n)
            times = np.where(rng.random(n) < 0.5, times, rng.exponential(size=n))
            m = int(rng.integers(1, n + 1))
            expected = np.isin(np.arange(n), np.argsort(times, kind="stable")[:m])
            np.testing.assert_array_equal(first(jnp.asarray(times), jnp.asarray(m)), expected)


@pytest.mark.parametrize(
    "noise",
    [noises.exponential(), noises.lognormal(0.7), noises.gamma(2.0), noises.pareto(1.5)],
    ids=lambda noise: noise.name,
)
def test_draws_are_those_of_keys_folded_by_jax(noise):
    key = jax.random.key(5)
    with jax.enable_x64(True):
        folded = jax.random.fold_in(jax.random.fold_in(key, 3), 70_000)
        ours = keys.draw(noise, keys.fold(keys.words(key), jnp.int32(3), jnp.int32(70_000)))
        assert ours == noise.sample(folded)
        assert np.isfinite(keys.draw(noise, keys.words(jax.random.key(1, impl="rbg"))))


@pytest.mark.parametrize("noise", [None, "exponential"])
@pytest.mark.parametrize("comm_model", ["parallel", "serial"])
def test_more_workers_than_fit_one_row(noise, comm_model):
    profile = jn.profiles.power_law(70, 0.5, 0.5, 0.01).replace(noise=noise)
    actual = jn.clock.asynchronous(profile, 300, key=2, comm_model=comm_model)
    key = jax.random.fold_in(jax.random.key(2), 0)

    def draws(worker, draw):
        with jax.enable_x64(True):
            folded = jax.random.fold_in(jax.random.fold_in(key, worker), draw)
            return float(profile.noise.sample(folded))

    times, workers, staleness = reference.asynchronous(
        profile.compute.tolist(),
        profile.comm.tolist(),
        300,
        comm_model=comm_model,
        draws=draws if noise else None,
    )
    np.testing.assert_array_equal(actual.worker, workers)
    np.testing.assert_array_equal(actual.staleness, staleness)
    np.testing.assert_allclose(actual.time, times, rtol=1e-9)
    jn.clock.verify(actual, profile)


def test_random_rounds_of_more_workers_than_fit_one_row():
    profile = jn.profiles.power_law(70, 0.5).replace(noise=noises.bernoulli_outage(0.25, 4.0))
    key = jax.random.fold_in(jax.random.key(2), 0)

    def draws(*path):
        with jax.enable_x64(True):
            folded = key
            for part in path:
                folded = jax.random.fold_in(folded, part)
            return float(profile.noise.sample(folded))

    sizes = [80, 80]
    for rule in ("rennala", "malenia"):
        actual = getattr(jn.clock, rule)(profile, 80, 2, key=2)
        ends, counts = reference.rounds(
            rule, profile.compute.tolist(), profile.comm.tolist(), sizes, draws=draws
        )
        np.testing.assert_allclose(actual.end, ends, rtol=1e-9)
        np.testing.assert_array_equal(actual.counts, counts)


@pytest.mark.parametrize("options", [{}, {"restart": "finish"}, {"key": 1}])
def test_ends_can_be_had_without_counts(options):
    profile = jn.profiles.power_law(5, np.array([0.5, 1.0]), 0.5, 0.1)
    profile = profile.replace(noise="exponential") if "key" in options else profile
    with_counts = jn.clock.rennala(profile, 7, 20, **options)
    without = jn.clock.rennala(profile, 7, 20, counts=False, **options)
    assert without.counts is None
    np.testing.assert_array_equal(with_counts.end, without.end)
    jn.clock.verify(without, profile)
    broken = np.where(np.arange(20) == 3, np.nan, without.end)
    with pytest.raises(jn.InvariantError, match="no end is NaN"):
        jn.clock.verify(dataclasses.replace(without, end=broken), profile)
