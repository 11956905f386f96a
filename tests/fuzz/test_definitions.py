"""Definitions as nobody should write them: planned, and where they are short run twice."""

import hashlib
import warnings
from pathlib import Path

import pytest
from hypothesis import strategies as st

import jaxnigt as jn
from jaxnigt.sweep import cost, plan
from jaxnigt.sweep.definition import read
from jaxnigt.sweep.template import template
from tests.fuzz.running import command, count, fuzzed, place, untouched
from tests.fuzz.values import Raw, damaged, document, mutated
from tests.sweep.running import same

TIMES = "compute,comm\n1.0,0.5\n2.0,0.5\n"
EQUAL = {"label": "equal", "family": "equal"}
RENNALA = {"name": "rennala_nigt", "batch": 2, "iterations": 3, "stepsize": [0.1, 0.2]}
TRAINING = {"seeds": 2, "key": 0, "eval_every": 1, "eval_batch": 4}

TABULAR = {
    "name": "tabular",
    "description": "rules of rounds on a small problem",
    "workers": 2,
    "comm_model": ["allreduce", "serial"],
    "figure": False,
    "problem": {"kind": "tabular", "horizon": 2, "states": 3, "actions": 2},
    "training": TRAINING,
    "methods": [
        RENNALA,
        {"name": "malenia_nigt", "label": "malenia", "batch": 3, "iterations": 2, "momentum": 0.5},
        {"name": "synchronous_pg", "iterations": 2, "stepsize": {"start": 0.1, "stop": 0.4, "num": 2}},
    ],
    "profiles": [
        {
            "label": "law",
            "title": "√i",
            "family": "power_law",
            "exponent": [0.0, 0.5],
            "comm_scale": 0.1,
        },
        {"label": "random", "family": "equal", "noise": {"name": "lognormal", "sigma": 0.5}},
    ],
    "analysis": {"threshold": [0.5, 0.8], "level": [0.1], "baseline": "rennala_nigt"},
}
CHAIN = {
    "name": "chain",
    "workers": [2, 3],
    "comm_model": "server",
    "arrival_model": "parallel",
    "figure": False,
    "depends": ["times.csv"],
    "problem": {"kind": "chain", "epsilon": 0.5},
    "training": TRAINING,
    "methods": [
        {"name": "afedpg", "iterations": 3, "stepsize": 0.1, "schedule": "decreasing", "lanes": 1},
        {"name": "collect_nigt", "rule": {"name": "malenia", "batch": 2}, "iterations": 2},
    ],
    "profiles": [EQUAL, {"label": "away", "family": "outages", "share": 0.1, "until": 20.0}],
    "grid": {"exponent": [0.0, 1.0], "comm_scale": [0.1, 1.0], "comm_exponent": 0.5, "trained": False},
}
FILES = {
    "name": "files",
    "base": "base.toml",
    "figure": False,
    "workers": 2,
    "size": {"small": {"training": {"seeds": 1}, "methods": {"rennala_nigt": {"iterations": 1}}}},
    "problem": {"kind": "linear_quadratic", "horizon": 2, "goals": [[0.5, 0.0]], "std": 0.5},
    "profiles": [
        {"label": "file", "family": "from_csv", "path": "times.csv", "columns": {"comm": "comm"}},
        {"label": "slow", "family": "stragglers", "count": 1, "slowdown": 3.0, "noise": "exponential"},
    ],
}
BASE = {"training": TRAINING, "methods": [RENNALA], "profiles": [EQUAL]}
FOLDER = {"times_csv": TIMES, "base_toml": document(BASE), "mine_py": "import jaxnigt\n"}

TREES = st.sampled_from([TABULAR, CHAIN, FILES])
KEYS = sorted({line.strip("# ").partition(" ")[0] for line in template().splitlines() if "=" in line})
DEFINITIONS = mutated(TREES, KEYS).map(document).map(lambda text: text.encode("utf-8", "replace"))
DEFINITIONS |= damaged(TREES.map(document).map(str.encode))
SIZES = st.sampled_from([(), (), (), ("--size", "small"), ("--size", ""), ("--memory", "1MiB")])

_MOST_STEPS, _MOST_PROFILES, _MOST_UNITS = 20_000, 50, 6
"""Of a definition that is run."""


def _short(path):
    """Whether a definition that can be planned is also soon run, without physics."""
    definition = read(path)
    panels = plan.panels(definition)
    units = plan.unique_units(panels)
    steps = sum(cost._steps(unit) + unit.training["eval_batch"] * unit.iterations for unit in units)
    profiles = max(len(batch.labels) for panel in panels for batch in panel.batches)
    physics = any(panel.problem["kind"] == "policy_gradient" for panel in panels)
    few = len(units) <= _MOST_UNITS and max(panel.workers for panel in panels) <= _MOST_PROFILES
    return few and steps <= _MOST_STEPS and profiles <= _MOST_PROFILES and not physics


@fuzzed("definitions", content=DEFINITIONS, options=SIZES)
def test_a_definition_is_planned_or_refused(content, options):
    count("definitions")
    with place(**FOLDER, good_toml=content) as work, untouched(work):
        first = command("sweep", "--dry-run", "good.toml", *options)
        assert first.status in (0, 2), first
        assert command("sweep", "--dry-run", "good.toml", *options) == first


@fuzzed("sweeps", content=mutated(TREES, KEYS, most=2).map(document), fresh=st.booleans())
def test_a_short_sweep_comes_out_the_same_again(content, fresh):
    count("sweeps")
    with place(**FOLDER, good_toml=content.encode("utf-8", "replace")) as work:
        one, other, usual = (work / name for name in ("one", "other", "results"))
        with untouched(work, one, other, usual):
            if command("sweep", "--dry-run", "good.toml").status or not _short(Path("good.toml")):
                return
            outcome = command("sweep", "good.toml", "--out", "one")
            assert outcome.status in (0, 1), outcome
            assert command("sweep", "good.toml", "--out", "other").status == outcome.status
            _compare(one, other, outcome)
            stored = _units(one)
            again = command("sweep", "good.toml", "--out", "one", *["--fresh"] * fresh)
            assert again.status == outcome.status
            _compare(one, other, again)
            assert fresh or _units(one) == stored
            assert command("status", "one").status == 0


def _units(folder):
    """Digests of the stored units, which a second run leaves alone."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("units/*.nc")}


def _compare(one, other, outcome):
    """The same numbers in two folders, where there are any."""
    there = [(folder / "results.nc").exists() for folder in (one, other)]
    assert there in ([True, True], [False, False])
    assert all(there) or outcome.status == 1
    if all(there):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert same(one, other)
            assert jn.load(one).attrs["definition"] == jn.load(other).attrs["definition"]


FOUND = {
    "it has too many levels": {"workers": Raw("[" * 3000 + "]" * 3000)},
    "is not valid TOML": {"workers": Raw("9" * 5000)},
    "one of 20000 bits": {"workers": Raw("0x" + "f" * 5000)},
    "workers: got 9999999999, input should be less": {"workers": 9_999_999_999},
    "seeds: got 9999999999, input should be less": {"training": TRAINING | {"seeds": 9_999_999_999}},
    "problem.states: it asks for": {"problem": {"kind": "tabular", "states": 100_000}},
    "problem.epsilon: got 1e+300, numbers from": {"problem": {"kind": "chain", "epsilon": 1e300}},
    "problem.epsilon: it asks for": {"problem": {"kind": "chain", "epsilon": 1e-9}},
    "size: got 'small', good.toml allows none": {"size": {"small": 3}},
    "...": {"figure": list(range(1000))},
}
"""What fuzzing has found, one of each kind: words of the answer, and keys that ask for it."""


@pytest.mark.parametrize("words", FOUND)
def test_what_was_found_once_is_one_short_sentence(words):
    options = ("--size", "small") if words.startswith("size") else ()
    with place(**FOLDER, good_toml=document(TABULAR | FOUND[words])):
        outcome = command("sweep", "--dry-run", "good.toml", *options)
    assert (outcome.status, words in outcome.output) == (2, True), outcome
