"""The table [complexity] of a definition, held against `jaxnigt.complexity`, which trains by itself."""

import io
import json

import jax
import numpy as np
import pytest
from rich.console import Console

import jaxnigt as jn
from jaxnigt.sweep.definition import parse
from jaxnigt.sweep.execute import run
from jaxnigt.training.tuning import leaders, slopes

STEPS, MOMENTA, LEVELS = [0.05, 0.1, 0.2], [0.1, 0.3], [0.5, 0.4, 0.3]
RATES = {"family": "power_law", "exponent": 0.5, "comm_exponent": 0.5, "comm_scale": 1.0}
DEFINITION = {
    "name": "least",
    "workers": 4,
    "comm_model": ["allreduce", "serial"],
    "problem": {"kind": "winding", "measure": "gradient"},
    "training": {"seeds": 4},
    "complexity": {"gradients": 2000, "level": LEVELS, "evaluations": 100},
    "methods": [
        {"name": "rennala_nigt", "batch": [2, 4], "stepsize": STEPS, "momentum": MOMENTA},
        {"name": "synchronous_nigt", "label": "waiting", "stepsize": STEPS, "momentum": MOMENTA},
        {"name": "afedpg", "stepsize": [0.02, 0.05], "momentum": 0.03},
    ],
    "profiles": [{"label": "unlike", **RATES}, {"label": "alike", "family": "equal"}],
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("least")
    text = io.StringIO()
    console = Console(width=160, file=text)
    tree = run(DEFINITION, folder, console=console, draw=jn.figures.draw)
    return tree, folder, " ".join(text.getvalue().split())


def test_it_is_what_complexity_finds_by_itself(swept):
    found = swept[0]["complexity"].to_dataset()
    grid = {"stepsize": np.array(STEPS)[:, None], "momentum": np.array(MOMENTA)}
    methods = {
        "rennala_nigt": [jn.methods.rennala_nigt(M, **grid) for M in (2, 4)],
        "waiting": jn.methods.synchronous_nigt(4, **grid),
        "afedpg": jn.methods.afedpg(stepsize=np.array([0.02, 0.05])[:, None], momentum=np.array([0.03])),
    }
    rates = [jn.profiles.power_law(4, 0.5, 0.5, 1.0), jn.profiles.equal(4)]
    profile = jn.Profile(
        *(
            np.stack([np.broadcast_to(x, 4) for x in each])
            for each in zip(*((p.compute, p.comm) for p in rates), strict=True)
        )
    )
    for model in ("allreduce", "serial"):
        # A message of AFedPG's travels by itself where rounds end with one AllReduce.
        network = dict.fromkeys(methods, model) | {
            "afedpg": "parallel" if model == "allreduce" else model
        }
        own = jn.complexity(
            jn.problems.winding(),
            methods,
            profile,
            LEVELS,
            gradients=2000,
            accuracy="gradient",
            seeds=4,
            evaluations=100,
            extend=0,
            comm_model=network,
        )
        one = found.sel(comm_model=model).transpose("label", "profile", "level")
        assert list(one["label"].values) == list(methods)
        for name in own.data_vars:
            np.testing.assert_allclose(
                one[name].values.astype(float), own[name].values.astype(float), rtol=1e-6, err_msg=name
            )
    for name in ("accuracy", "gradients", "coverage"):
        assert found.attrs[name] == own.attrs[name]
    assert list(found.attrs["tuned_on"]) == own.attrs["tuned_on"]


def test_rows_that_must_tie_tie(swept):
    """Rennala with M = n has the iterates of a synchronous method, and no round is longer."""
    tuning = swept[0]["complexity"].to_dataset()["tuning_time"].sel(comm_model="allreduce")
    assert (tuning.sel(label="rennala_nigt") <= tuning.sel(label="waiting")).all()


def test_it_is_drawn_and_said(swept):
    _, folder, text = swept
    assert (folder / "least.png").stat().st_size > 10_000
    assert "Least virtual seconds to ||grad J|| <= level, unlike, serial" in text
    assert "Exponents of 1 / epsilon in gradients" in text
    assert "Tuned on seeds 0, 1, reported on 2, 3." in text


def test_leaders_are_told_from_ties(swept):
    found = swept[0]["complexity"].to_dataset()
    said = leaders(found)
    for model in found["comm_model"].values:
        for profile in found["profile"].values:
            for level in found["level"].values:
                at = found.sel(comm_model=model, profile=profile, level=level)
                times = dict(zip(at["label"].values, at["time"].values, strict=True))
                best = min(times, key=times.get)
                one = said.sel(comm_model=model, profile=profile, level=level)
                assert times[str(one["first"].item())] == times[best]
                np.testing.assert_allclose(one["margin"], sorted(times.values())[1] / times[best])
                high = float(at.sel(label=one["first"].item())["high"])
                meets = [x for x in times if x != one["first"].item() and at.sel(label=x)["low"] <= high]
                assert list(one["label"].values[one["ties"].values]) == meets
    assert "First at each level" in swept[2]


def test_shares_are_of_the_highest_end(tmp_path):
    problem = {"kind": "linear_quadratic", "horizon": 5}
    study = {"gradients": 800, "share": [0.25, 0.75]}
    tree = run({**DEFINITION, "problem": problem, "complexity": study, "figure": False}, tmp_path)
    found = tree["complexity"].to_dataset()
    ends, starts = [], []
    for group in tree["methods"].children.values():
        data = group.to_dataset()
        values = data["objective"].isel(evaluation=slice(-max(1, data.sizes["evaluation"] // 10), None))
        dims = [d for d in values.dims if d not in ("stepsize", "momentum", "comm_model", "profile")]
        ends.append(
            float(values.mean(dims).max(["stepsize", *({"momentum"} & set(values.dims))]).mean())
        )
        starts.append(float(data["objective"].isel(evaluation=0).mean()))
    start = np.mean(starts)
    expected = start + np.array([0.25, 0.75]) * (max(ends) - start)
    np.testing.assert_allclose(found["level"], expected, rtol=1e-6)
    assert found.attrs["accuracy"] == "objective"
    assert np.isfinite(found["time"].isel(level=0)).all()


def test_slopes_are_those_of_powers():
    levels = np.array([0.4, 0.2, 0.1, 0.05])
    tree = jn.complexity(
        jn.problems.winding(sigma=0.0),
        {"a": jn.methods.rennala_pg(1, stepsize=[0.2, 0.4])},
        jn.profiles.equal(1),
        levels,
        gradients=50,
        accuracy="gradient",
        seeds=2,
        extend=0,
    )
    known = tree.copy()
    known["time"] = known["time"] * 0 + 3 * levels**-2.5
    known["time"] = ("label", "profile", "level"), np.broadcast_to(3 * levels**-2.5, known["time"].shape)
    known["resolved"] = known["resolved"] | True
    found = slopes(known)
    np.testing.assert_allclose(found["slope"], 2.5)
    np.testing.assert_allclose(found["error"], 0.0, atol=1e-12)
    known["resolved"][..., 1:] = False
    assert np.isnan(slopes(known)["slope"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"complexity": None, "problem": {"kind": "winding"}},
            "methods.0.iterations: this key is missing",
        ),
        ({"training": {"seeds": 1}}, "training.seeds: got 1, complexity needs 2 at least"),
        ({"complexity": {"level": LEVELS}}, "complexity.gradients: this key is missing"),
        (
            {
                "complexity": None,
                "methods": [{"name": "rennala_pg", "iterations": 9, "stepsize": 0.1}],
            },
            "problem.measure: 'gradient' is for definitions with complexity",
        ),
        ({"grid": {"exponent": [0.0, 1.0], "comm_scale": 1.0}}, "grid: a definition with complexity"),
        ({"training": {"seeds": 4, "eval_every": 5}}, "training.eval_every: complexity.evaluations"),
        ({"complexity": {"gradients": 9, "share": 0.5}}, "complexity.level: with measure = 'gradient'"),
        ({"complexity": {"gradients": 9, "level": [1.0, -1.0]}}, "complexity.level: with measure"),
        ({"complexity": {"gradients": 9, "level": [float("nan")]}}, "complexity.level: got nan"),
        (
            {"complexity": {"gradients": 9, "level": {"start": 1.0, "stop": 2.0, "num": 2000}}},
            "complexity.level: at most 1000",
        ),
        (
            {"problem": {"kind": "winding", "measure": "norm"}},
            "problem.measure: got 'norm', allowed are",
        ),
    ],
)
def test_wrong_tables_are_one_sentence(changes, message):
    data = {key: value for key, value in {**DEFINITION, **changes}.items() if value is not None}
    with pytest.raises(jn.InputError, match=message):
        parse(json.loads(json.dumps(data)))


def test_only_exact_problems_have_a_gradient_to_measure(tmp_path):
    physics = {"environment": "reacher", "backend": "spring", "horizon": 5, "measure": "gradient"}
    wrong = pytest.raises(jn.InputError, match="does not know its gradient exactly")
    with jax.numpy_dtype_promotion("standard"), wrong:
        run({**DEFINITION, "problem": physics}, tmp_path)
