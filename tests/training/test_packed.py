"""Rounds of unequal sizes: every block is computed once and in order, whatever the batches' shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.profiles import noise as noises
from jaxnigt.training import packed, packing
from jaxnigt.training.packing import Layout, blocks_of, layout, place
from tests.line import Line

HEAVY = jn.Profile(np.stack([np.geomspace(1.0, 8.0, 4), np.ones(4)]), noise=noises.pareto(1.3))


@pytest.mark.parametrize("lanes", [1, 3, 8, 64])
def test_every_block_has_one_lane_and_rounds_wait_for_the_one_before(lanes):
    rng = np.random.default_rng(lanes)
    blocks = blocks_of(np.minimum(rng.zipf(1.5, (5, 12)), 200), 3)
    places = place(blocks, lanes)
    profiles, rounds = blocks.shape
    over = np.full((profiles, rounds), -1)
    for step, (profile, at) in enumerate(np.argwhere(places.over)[:, :2]):
        assert step == (over >= 0).sum()
        assert places.at[profile, at] == (over[at] >= 0).sum()  # in order
        over[at, places.at[profile, at]] = profile
    assert (over >= 0).all()
    seen = set()
    for step in range(len(places.profile)):
        for profile, at, block in zip(*(x[step] for x in places[:3]), strict=True):
            if profile < profiles:
                assert block == sum(p == profile and r == at for p, r, _ in seen)
                seen.add((profile, at, block))
                assert step <= over[profile, at]
                assert at == 0 or step > over[profile, at - 1]
    assert len(seen) == blocks.sum()
    assert len(places.profile) >= packing._least(blocks, rounds, [lanes])[0]


def test_a_rare_round_of_many_gradients_does_not_widen_the_others():
    totals = np.full((4, 300), 40)
    totals[2, 117] = 6452
    found = layout(totals, 50, 3)
    useful = totals.sum() * 3
    assert found.width * found.lanes * found.batches * 3 < 1.5 * useful
    assert layout(totals, 50, 3, whole=True).width == 6452
    equal = layout(np.full((4, 300), 40), 50, 3)
    assert equal.width * equal.lanes * equal.batches == 4 * 300 * 40


def trained(monkeypatch, problem, method, shape):
    """A training with batches of a shape of our own."""
    monkeypatch.setattr(packed, "layout", lambda *_, **__: Layout(*shape, 0, 0.0))
    return jn.train(problem, method, iterations=7, seeds=2, eval_every=3, profile=HEAVY, key=4)


def same(trace, other):
    """Whether two traces differ by rounding alone."""
    np.testing.assert_array_equal(trace.samples, other.samples)
    for name in ("objective", "gradient_norm", "direction_norm", "batch_discounted"):
        one, two = getattr(trace, name), getattr(other, name)
        np.testing.assert_allclose(one, two, rtol=2e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("method", ["malenia_nigt", "rennala_nigt"])
def test_the_shape_of_the_batches_changes_nothing(monkeypatch, method):
    problem = jn.problems.tabular(workers=4, seed=5)
    make = getattr(jn.methods, method)(12, stepsize=[0.02, 0.05])
    samples = trained(monkeypatch, problem, make, (32, 2)).samples
    widest = int(samples.max())
    assert method == "rennala_nigt" or widest > 2 * samples.min()
    whole = trained(monkeypatch, problem, make, (widest, 2))
    for shape in ((1, 5), (8, 1), (8, 16)):
        same(trained(monkeypatch, problem, make, shape), whole)


def test_what_a_problem_observes_is_merged_over_the_blocks_of_a_round(monkeypatch):
    class Differ(jn.environments.Heterogeneity):
        workers = 4

    def made():
        return jn.problems.policy_gradient(
            Line(), horizon=2, heterogeneity=Differ(), normalisation=jn.problems.RunningNormalisation()
        )

    method = jn.methods.malenia_nigt(6, stepsize=0.02)
    one, other = (trained(monkeypatch, made(), method, shape) for shape in ((512, 2), (3, 4)))
    same(one, other)
    for key, values in one.params["normaliser"].items():
        np.testing.assert_allclose(values, other.params["normaliser"][key], rtol=2e-4, err_msg=key)
    # Two steps of every gradient were seen.
    np.testing.assert_array_equal(one.params["normaliser"]["count"][:, 0], 2 * one.samples.sum(axis=-1))


class Counting(jn.Problem):
    """Counts its samples among its params, and does not say how parts of a round are merged."""

    workers = 4

    def init(self, key):
        return {"x": jnp.ones(2), "seen": jnp.zeros(())}

    def estimate(self, params, keys, workers, weights):
        noise = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
        gradient = {"x": -params["x"] * weights.sum() + weights @ noise, "seen": jnp.zeros(())}
        returns = jnp.zeros(len(keys))
        return jn.problems.Estimate(gradient, returns, returns, (weights > 0).sum(dtype=jnp.float32))

    def evaluate(self, params, keys):
        value = -(params["x"] ** 2).sum()
        return jn.problems.Evaluation(value, value, value[None])

    def observe(self, params, estimate):
        return {**params, "seen": params["seen"] + estimate.observed}


def test_rounds_stay_whole_where_a_problem_cannot_merge_what_it_observes():
    method = jn.methods.malenia_nigt(6, stepsize=0.02)
    trace = jn.train(Counting(), method, iterations=7, seeds=2, eval_every=3, profile=HEAVY)
    np.testing.assert_array_equal(trace.params["seen"][:, 0], trace.samples.sum(axis=-1))
