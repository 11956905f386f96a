"""Random times against closed forms, with tolerances of five standard errors and fixed keys."""

import jax
import numpy as np
import pytest
from scipy import stats

import jaxnigt as jn
from jaxnigt.profiles import noise as noises

COUNT = 40_000


def close(sample, mean):
    error = sample.std() / np.sqrt(sample.size)
    assert abs(sample.mean() - mean) < 5 * error
    assert error < 0.02 * mean


def durations(rounds):
    return np.diff(rounds.end, prepend=0.0)


def test_one_worker_takes_a_sum_of_exponentials():
    profile = jn.Profile([2.0], noise="exponential")
    sample = durations(jn.clock.rennala(profile, 3, COUNT, key=1))
    close(sample, 6.0)
    assert stats.kstest(sample, stats.gamma(3, scale=2.0).cdf).pvalue > 1e-3


@pytest.mark.parametrize("restart", ["cancel", "finish"])
def test_one_gradient_takes_the_minimum_of_exponentials(restart):
    """With M = 1 rates add up; a stale gradient costs time, so "finish" is slower."""
    h = np.array([1.0, 2.0, 5.0])
    rounds = jn.clock.rennala(jn.Profile(h, noise="exponential"), 1, COUNT, key=2, restart=restart)
    expected = 1 / (1 / h).sum()
    if restart == "cancel":
        close(durations(rounds), expected)
        shares = rounds.counts.mean(axis=0)
        error = np.sqrt(shares * (1 - shares) / COUNT)
        assert (np.abs(shares - expected / h) < 5 * error).all()
    else:
        assert durations(rounds).mean() > expected * 1.05


def test_synchronous_rounds_take_the_maximum():
    profile = jn.Profile([1.0] * 4, noise="exponential")
    close(durations(jn.clock.synchronous(profile, COUNT, key=3)), 1 + 1 / 2 + 1 / 3 + 1 / 4)
    close(durations(jn.clock.m_synchronous(profile, 2, COUNT, key=3)), 1 / 4 + 1 / 3)


def test_malenia_with_one_of_each_waits_for_the_slowest():
    profile = jn.Profile([1.0] * 3, noise="exponential")
    close(durations(jn.clock.malenia(profile, 3, 10_000, key=4)), 1 + 1 / 2 + 1 / 3)


def test_asynchronous_updates_come_at_the_sum_of_rates():
    arrivals = jn.clock.asynchronous(jn.Profile([1.0, 2.0], noise="exponential"), COUNT, key=5)
    close(np.diff(arrivals.time), 1 / 1.5)


DISTRIBUTIONS = {
    "exponential": (noises.exponential(), stats.expon()),
    "lognormal": (noises.lognormal(0.5), stats.lognorm(0.5, scale=np.exp(-0.125))),
    "gamma": (noises.gamma(2.5), stats.gamma(2.5, scale=1 / 2.5)),
    "pareto": (noises.pareto(3.0), stats.pareto(3.0, scale=2 / 3)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_have_their_distribution_and_mean_one(name):
    noise, expected = DISTRIBUTIONS[name]
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(6), COUNT)
        sample = np.asarray(jax.jit(jax.vmap(noise.sample))(keys))
    assert sample.dtype == np.float64
    close(sample, 1.0)
    assert expected.mean() == pytest.approx(1.0)
    assert stats.kstest(sample, expected.cdf).pvalue > 1e-3


def test_outages_take_two_values():
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(7), COUNT)
        sample = np.asarray(jax.jit(jax.vmap(noises.bernoulli_outage(0.1, 11.0).sample))(keys))
    np.testing.assert_allclose(np.unique(sample), [0.5, 5.5])
    close(sample, 1.0)


def test_draws_do_not_depend_on_the_batch_of_profiles():
    """Profile p of a batch draws the same, however many profiles or rounds there are."""
    profile = jn.profiles.power_law(5, np.linspace(0, 1, 7)).replace(noise="exponential")
    many = jn.clock.rennala(profile, 6, 9, key=8)
    few = jn.clock.rennala(profile[:3], 6, 4, key=8)
    np.testing.assert_array_equal(many.end[:3, :4], few.end)
    assert len(np.unique(many.end[:, 0])) == 7


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: noises.pareto(1.0), "alpha: got 1.0, finite numbers above 1"),
        (lambda: noises.lognormal(-1.0), "sigma: got -1.0"),
        (lambda: noises.bernoulli_outage(1.0, 2.0), r"probability: got 1.0, numbers in \[0, 1\)"),
        (lambda: jn.Profile([1.0], noise="normal"), "noise: got 'normal', allowed are exponential"),
        (lambda: jn.Profile([1.0], power=([2.0, 1.0], np.ones((3, 1)))), "power: breaks must be"),
        (lambda: jn.Profile([1.0], power=([1.0], -np.ones((2, 1)))), "power: values must be"),
        (lambda: jn.Profile([1.0], power=([1.0], np.ones((3, 1)))), "do not broadcast"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(jn.InputError, match=words):
        call()
