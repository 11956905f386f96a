import re

import jax
import jaxtyping
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.problems.measured import by_gradient
from jaxnigt.training.passages import band

PROBLEM = jn.problems.linear_quadratic(horizon=5)
LEVELS = [-7.5, -7.0, -6.6]
STEPS = np.array([0.01, 0.02, 0.05, 0.1])
SEEDS, BUDGET, EVALUATIONS = 6, 600, 20
PROFILES = jn.Profile([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [5.0, 1.0, 2.0]], comm=0.5)


def passage(values, times, level):
    """When a polygon through values at times first reaches a level, walked through point by point."""
    for e, value in enumerate(values):
        if value >= level:
            if e == 0:
                return times[0]
            share = (level - values[e - 1]) / (value - values[e - 1])
            return times[e - 1] + share * (times[e] - times[e - 1])
    return np.inf


def by_hand(method, profile, along, **clock):
    """Passages [candidate, seed, level] of one method under one profile."""
    rounds = BUDGET // method.collection.batch
    options = {"iterations": rounds, "seeds": SEEDS, "eval_every": rounds // EVALUATIONS}
    trace = jn.train(PROBLEM, method, **options, **({"profile": profile, **clock} if along else {}))
    end = trace.times if along else jn.replay(trace, profile, **clock)
    times = [0.0, *end]
    at = [times[t] for t in trace.eval_rounds]
    values = trace.objective.reshape(-1, SEEDS, len(at))
    return np.array([[[passage(v, at, x) for x in LEVELS] for v in seeds] for seeds in values])


CANDIDATES = {
    "Rennala": [
        jn.methods.rennala_nigt(M, stepsize=STEPS[:, None], momentum=[0.1, 0.3]) for M in (3, 6)
    ],
    "Synchronized": jn.methods.synchronous_nigt(3, stepsize=STEPS),
    "AFedPG": jn.methods.afedpg(stepsize=STEPS),
}


@pytest.fixture(scope="module")
def found():
    said = []
    result = jn.complexity(
        PROBLEM,
        CANDIDATES,
        PROFILES,
        LEVELS,
        gradients=BUDGET,
        seeds=SEEDS,
        evaluations=EVALUATIONS,
        extend=0,
        comm_model={"AFedPG": "serial"},
        progress=said.append,
    )
    return result, said


@pytest.mark.parametrize("p", [0, 2])
@pytest.mark.parametrize("label", CANDIDATES)
def test_it_is_tuned_on_one_half_and_reported_on_the_other(found, label, p):
    result, _ = found
    methods = CANDIDATES[label] if isinstance(CANDIDATES[label], list) else [CANDIDATES[label]]
    clock = {"comm_model": "serial"} if label == "AFedPG" else {}
    times = np.concatenate([by_hand(m, PROFILES[p], label == "AFedPG", **clock) for m in methods])
    names = [(*h, m.collection.batch) for m in methods for h in zip(*m.leaves().values(), strict=True)]
    own = result.sel(label=label).isel(profile=p)
    for i in range(len(LEVELS)):
        medians = np.median(times[:, : SEEDS // 2, i], axis=1)
        best = int(medians.argmin())
        report = np.sort(times[best, SEEDS // 2 :, i])
        at = own.isel(level=i)
        np.testing.assert_allclose(at["tuning_time"], medians[best], rtol=1e-6)
        np.testing.assert_allclose(
            [at["low"], at["time"], at["high"]],
            report if np.isfinite(medians[best]) else np.nan,
            rtol=1e-6,
        )
        if np.isfinite(medians[best]):
            chosen = at["stepsize"], at["momentum"], at["batch"]
            np.testing.assert_allclose(np.array(chosen, float), names[best], rtol=1e-6)
            assert at["inside"] == (STEPS.min() < at["stepsize"] < STEPS.max())
    assert result.attrs["tuned_on"] == [0, 1, 2]
    assert result.attrs["reported_on"] == [3, 4, 5]


def test_the_same_iterates_are_trained_once(found):
    """Rennala with M = n at the same hyperparameters is Synchronized with another clock."""
    methods = {
        "Rennala": jn.methods.rennala_nigt(3, stepsize=STEPS),
        "Synchronized": jn.methods.synchronous_nigt(3, stepsize=STEPS),
    }
    said = []
    options = {"gradients": 300, "seeds": 4, "evaluations": 50, "progress": said.append, "extend": 0}
    rng = np.random.default_rng(0)
    wild = jn.Profile(np.exp(rng.normal(size=(200, 3))), comm=np.exp(rng.normal(size=(200, 3))))
    result = jn.complexity(PROBLEM, methods, wild, LEVELS[:2], **options)
    assert len(said) == 1
    rennala, synchronized = result["time"]
    assert (rennala <= synchronized * (1 + 1e-12)).all()
    assert (rennala < synchronized).any()
    tie = jn.complexity(PROBLEM, methods, jn.profiles.equal(3, comm=1.0), LEVELS[:2], **options)["time"]
    np.testing.assert_array_equal(*tie)
    assert np.isfinite(tie).all()


def test_a_grid_grows_until_the_best_is_inside():
    method = {"Rennala": jn.methods.rennala_nigt(3, stepsize=STEPS[:2] / 50)}
    options = {"gradients": 600, "seeds": 4, "evaluations": 50}
    short = jn.complexity(PROBLEM, method, PROFILES, LEVELS[:2], extend=0, **options)
    assert not short["inside"].any()
    assert np.isinf(short["tuning_time"]).all()
    grown = jn.complexity(
        PROBLEM, {"Rennala": jn.methods.rennala_nigt(3, stepsize=STEPS[:2] / 5)}, PROFILES, LEVELS[:2],
        extend=9, **options,
    )  # fmt: skip
    assert grown["inside"].all()
    assert (grown["stepsize"] > STEPS[1] / 5).all()


def test_every_grid_of_a_label_grows_by_itself():
    """So that several methods of one label, of one batch even, are as fast as the fastest alone."""
    grids = {
        "NIGT": jn.methods.rennala_nigt(3, stepsize=STEPS[:2] / 5),
        "PG": jn.methods.rennala_pg(3, stepsize=[1e-4, 2e-4]),
        "larger batch": jn.methods.rennala_nigt(6, stepsize=STEPS[:2]),
    }
    options = {"gradients": 300, "seeds": 4, "evaluations": 50, "extend": 3}
    alone = jn.complexity(PROBLEM, grids, PROFILES, LEVELS[:2], **options)
    both = jn.complexity(PROBLEM, {"all": list(grids.values())}, PROFILES, LEVELS[:2], **options)
    np.testing.assert_array_equal(both["tuning_time"][0], alone["tuning_time"].min("label"))
    assert np.isfinite(both["tuning_time"]).all()


def test_draws_and_gradient_norms():
    problem = jn.problems.chain(delta=24.0)
    method = jn.methods.malenia_nigt(4, stepsize=[0.1, 0.2])
    profile = jn.profiles.power_law(3, 0.5).replace(noise="exponential")
    options = {"gradients": 200, "seeds": 4, "accuracy": "gradient", "extend": 0}
    found = jn.complexity(problem, {"M": method}, profile, [1.2, 1.1], draws=3, **options)
    one = jn.complexity(problem, {"M": method}, profile, [1.2, 1.1], **options)
    assert found["time"].shape == one["time"].shape == (1, 1, 2)
    assert (found["low"] <= found["high"]).all()
    assert found.attrs["draws"] == 3
    assert (found["low"] < one["low"]).all()  # the middle one of three draws is the first
    # By hand: all draws of the seeds that tune, of both candidates.
    given = {"iterations": 50, "eval_every": 1, "seeds": 4, "draws": 3, "profile": profile}
    trace = jn.train(by_gradient(problem), method, **given)
    passages = [
        passage(values, [0.0, *end], -1.1)
        for candidate in np.moveaxis(trace.objective, 0, 1)
        for seeds, end in zip(candidate, trace.times, strict=True)
        for values in seeds[:2]
    ]
    medians = np.median(np.reshape(passages, (2, -1)), axis=1)
    np.testing.assert_allclose(found["tuning_time"][0, 0, 1], medians.min(), rtol=1e-6)
    trace = jn.train(by_gradient(problem), method, iterations=5, profile=profile, eval_every=1)
    plain = jn.train(problem, method, iterations=5, profile=profile, eval_every=1)
    np.testing.assert_array_equal(trace.params["x"], plain.params["x"])
    np.testing.assert_array_equal(trace.worker_objective, plain.worker_objective)
    start = problem.init(jax.random.key(0))
    norm = np.linalg.norm(problem.gradient_exact(start)["x"])
    np.testing.assert_allclose(trace.objective[..., 0], -norm, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 25])
def test_a_band_holds_the_median_as_often_as_it_says(count):
    rank, coverage = band(count)
    rng = np.random.default_rng(0)
    draws = np.sort(rng.normal(size=(40_000, count)), axis=1)
    held = ((draws[:, rank - 1] < 0) & (draws[:, count - rank] > 0)).mean()
    assert abs(held - coverage) < 0.01
    assert coverage >= 0.8 or rank == 1


SAMPLED = jn.problems.stochastic(lambda params, key, worker: -(params**2), lambda key: 0.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"seeds": 1}, "seeds: got 1, at least 2 are needed"),
        ({"levels": []}, r"levels: got shape \(0,\), one or more finite numbers"),
        ({"levels": [np.nan]}, "levels: got shape"),
        ({"gradients": 0}, "gradients: got 0, a whole number of at least 1"),
        ({"accuracy": "loss"}, "accuracy: got 'loss', allowed are objective, gradient"),
        ({"methods": {}}, "methods: a dictionary of methods by label"),
        ({"methods": {"a": "rennala"}}, "methods.a: got 'rennala', a Method or a list"),
        ({"methods": {"a": []}}, r"methods.a: got \[\], a Method"),
        ({"comm_model": {"b": "serial"}}, "comm_model: got .* with labels of methods is allowed: a"),
        ({"profile": PROFILES.reshape(3, 1)}, r"profile: got leading axes \(3, 1\), one at most"),
        ({"problem": SAMPLED, "accuracy": "gradient"}, "problem: Stochastic.* does not know its grad"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_sentence(arguments, words):
    jaxtyping.config.update("jaxtyping_disable", True)
    given = {"problem": PROBLEM, "methods": {"a": jn.methods.rennala_nigt(3)}, "profile": PROFILES}
    given |= {"levels": LEVELS, "gradients": 30, "seeds": 2} | arguments
    try:
        with pytest.raises(jn.InputError, match=re.compile(words)):
            jn.complexity(**given)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_candidates_that_diverge_come_to_no_level():
    methods = {
        "wild": jn.methods.rennala_nigt(3, stepsize=[1e12, 1e13]),
        "calm": CANDIDATES["Synchronized"],
    }
    options = {"gradients": 300, "seeds": 4, "extend": 0}
    found = jn.complexity(PROBLEM, methods, PROFILES, LEVELS[:1], **options)
    assert np.isnan(found["time"].sel(label="wild")).all()
    assert np.isfinite(found["tuning_time"].sel(label="calm")).all()
