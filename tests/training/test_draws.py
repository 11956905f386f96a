"""Draws of the clock: an axis of independent realisations, of which the first needs no axis."""

import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.figures import runs
from jaxnigt.profiles import noise as noises

PROFILE = jn.Profile(np.stack([np.ones(4), np.arange(1.0, 5.0)]), noise=noises.exponential())
FIXED = jn.Profile(PROFILE.compute)


@pytest.fixture(scope="module")
def replayed():
    method = jn.methods.rennala_nigt(6, stepsize=0.05)
    return jn.train(jn.problems.tabular(), method, iterations=40, eval_every=10, seeds=3)


def test_draws_of_a_replay_are_independent_and_more_of_them_change_none(replayed):
    one = jn.replay(replayed, PROFILE, key=3)
    five, nine = (jn.replay(replayed, PROFILE, key=3, draws=count) for count in (5, 9))
    assert five.shape == (2, 5, 40)
    np.testing.assert_array_equal(five[:, 0], one)
    np.testing.assert_array_equal(nine[:, :5], five)
    lengths = np.diff(nine, axis=-1)
    between = np.corrcoef(lengths.reshape(-1, 39))
    np.fill_diagonal(between, 0.0)
    assert abs(between).max() < 5 / np.sqrt(39)
    assert len(np.unique(nine[..., -1])) == 18


def test_fixed_times_are_the_same_in_every_draw(replayed):
    found = jn.replay(replayed, FIXED, draws=3)
    np.testing.assert_array_equal(found, np.repeat(jn.replay(replayed, FIXED)[:, None], 3, axis=1))


@pytest.mark.parametrize("name", ["malenia_nigt", "afedpg"])
def test_training_along_draws(name):
    problem = jn.problems.tabular(workers=4)
    method = getattr(jn.methods, name)(**({"batch": 6} if name == "malenia_nigt" else {}), stepsize=0.02)
    options = {"iterations": 12, "eval_every": 4, "seeds": 2, "key": 5}
    one = jn.train(problem, method, profile=PROFILE, **options)
    drawn = jn.train(problem, method, profile=PROFILE, draws=3, **options)
    assert (drawn.draws, one.draws, drawn.times.shape) == (3, None, (2, 3, 12))
    assert drawn.objective.shape == (2, 3, 2, 3)
    assert drawn.params["logits"].shape[:3] == (2, 3, 2)
    np.testing.assert_array_equal(drawn.times[:, 0], one.times)
    np.testing.assert_array_equal(drawn.samples[:, 0], one.samples)
    np.testing.assert_allclose(drawn.objective[:, 0], one.objective, rtol=1e-5)
    assert len(np.unique(drawn.times[..., -1])) == 6
    dataset = drawn.to_xarray(["equal", "linear"])
    assert dataset["objective"].dims == ("profile", "draw", "seed", "evaluation")
    assert jn.Trace.from_xarray(dataset, method).draws == 3
    assert drawn.time_to(float(drawn.objective.max())).dims == ("profile", "draw", "seed")
    fixed = jn.train(problem, method, profile=FIXED, draws=2, **options)
    np.testing.assert_array_equal(fixed.objective[:, 0], fixed.objective[:, 1])
    assert fixed.times.shape == (2, 2, 12)


def test_a_number_of_draws_is_checked(replayed):
    with pytest.raises(jn.InputError, match="draws: got 0"):
        jn.replay(replayed, PROFILE, key=3, draws=0)
    with pytest.raises(jn.InputError, match="draws: got -1"):
        jn.train(jn.problems.tabular(), replayed.method, iterations=2, draws=-1)


def test_a_sweep_has_draws_in_its_data_medians_and_bands(tmp_path):
    definition = {
        "name": "drawn",
        "workers": 4,
        "figure": False,
        "problem": {"kind": "tabular", "own": True, "horizon": 5},
        "training": {"seeds": 2, "draws": 3, "eval_every": 5, "key": 7},
        "methods": [
            {"name": "synchronous_nigt", "iterations": 20, "stepsize": 0.05},
            {"name": "malenia_nigt", "batch": 6, "iterations": 20, "stepsize": 0.05},
        ],
        "profiles": [
            {"label": "random", "family": "equal", "noise": "exponential"},
            {"label": "fixed", "family": "equal"},
        ],
    }
    tree = jn.sweep.run(definition, tmp_path / "out")
    synchronous, malenia = (tree[f"methods/{m['name']}"].to_dataset() for m in definition["methods"])
    assert synchronous["time"].dims == ("comm_model", "profile", "draw", "round")
    assert malenia["objective"].dims[:3] == ("comm_model", "profile", "draw")
    random = synchronous["time"].isel(comm_model=0).sel(profile="random")
    trace = jn.Trace.from_xarray(synchronous, jn.methods.synchronous_nigt(4, stepsize=[0.05]))
    expected = jn.replay(trace, jn.Profile(np.ones((1, 4)), noise=noises.exponential()), key=7, draws=3)
    np.testing.assert_array_equal(random, expected[0])
    assert (synchronous["time"].sel(profile="fixed").std("draw") == 0).all()
    # A band holds a run for each seed and draw, at times that all draws reach.
    data = malenia.isel(comm_model=0, stepsize=0, momentum=0).sel(profile="random")
    times, values = runs(data)
    assert values.shape == (6, len(times))
    assert times.max() <= float(data["eval_time"].max("evaluation").min())
    for draw, seed in ((0, 0), (2, 1)):
        own = data.isel(draw=draw, seed=seed)
        at = np.searchsorted(own["eval_time"].values, times[-1], side="right") - 1
        assert values[2 * draw + seed, -1] == own["objective"].values[at]
