"""Public functions with a wrong argument: a good answer or one sentence, whatever its type."""

import datetime
import functools
import inspect
import math
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from hypothesis import strategies as st

import jaxnigt as jn
from tests.fuzz.running import count, fuzzed, place, refused_or_done, untouched
from tests.fuzz.values import FLOATS, WORDS

PROFILE, RANDOM = jn.profiles.equal(2), jn.profiles.equal(2, comm=0.5).replace(noise="exponential")
KNOWN = jn.Constants(1.0, 1.0, 1.0, 1.0, 0.5)
METHOD, PROBLEM = jn.methods.rennala_nigt(2), jn.problems.tabular(horizon=2, states=3, actions=2)
TRACE = jn.train(PROBLEM, METHOD, iterations=2)
ROUNDS, PARAMS = (
    jn.clock.rennala(PROFILE, 2, 2),
    jax.vmap(PROBLEM.init)(jax.random.split(jax.random.key(0), 1)),
)
COLLECTION = jn.methods.Collection(jn.clock.Rennala(2))

CALLS = {
    "Constants": {"L_g": 1.0, "L_h": 1.0, "sigma": 1.0, "delta": 1.0},
    "Method": {
        "name": "mine",
        "collection": COLLECTION,
        "update": optax.sgd,
        "hyperparameters": {"learning_rate": 0.1},
    },
    "Profile": {"compute": [1.0, 2.0], "comm": 0.5},
    "Snapshots": {"folder": "out"},
    "Trace.load": {"path": "nothing.nc"},
    "citation": {"method": "afedpg"},
    "complexity": {
        "problem": PROBLEM,
        "methods": {"mine": METHOD},
        "profile": PROFILE,
        "levels": [0.1],
        "gradients": 8,
        "seeds": 2,
        "extend": 0,
    },
    "eval_times": {"end": np.arange(1.0, 4.0), "eval_rounds": np.array([0, 2])},
    "load": {"folder": "out"},
    "nigt": {"stepsize": 0.1, "momentum": 0.5},
    "register": {"name": "of_mine", "kind": "rule"},
    "replay": {"trace": TRACE, "profile": PROFILE},
    "time_to": {"values": [0.0, 1.0], "times": [1.0, 2.0], "threshold": 0.5},
    "train": {"problem": PROBLEM, "method": METHOD, "iterations": 2},
    "clock.MSynchronous": {"batch": 2},
    "clock.Malenia": {"batch": 2},
    "clock.Rennala": {"batch": 2},
    "clock.Synchronous": {"workers": 2, "per_worker": 1},
    "clock.asynchronous": {"profile": PROFILE, "updates": 2},
    "clock.collect": {"profile": PROFILE, "rule": "rennala", "rounds": 2},
    "clock.m_synchronous": {"profile": PROFILE, "m": 1, "rounds": 2},
    "clock.malenia": {"profile": PROFILE, "batch": 2, "rounds": 2},
    "clock.parameter_server": {"message": 1.0, "latency": 0.1, "bandwidth": 2.0},
    "clock.rennala": {"profile": RANDOM, "batch": 2, "rounds": 2, "key": 0},
    "clock.ring_allreduce": {"n": 2, "message": 1.0, "latency": 0.1, "bandwidth": 2.0},
    "clock.synchronous": {"profile": PROFILE, "rounds": 2},
    "clock.verify": {"result": ROUNDS, "profile": PROFILE},
    "methods.Asynchronous": {},
    "methods.Collection": {"rule": jn.clock.Rennala(2)},
    "methods.afedpg": {},
    "methods.collect_nigt": {},
    "methods.m_synchronous_nigt": {},
    "methods.malenia_double_optimism": {},
    "methods.malenia_nigt": {},
    "methods.malenia_pg": {},
    "methods.n_pg_igt": {},
    "methods.rennala_double_optimism": {},
    "methods.rennala_nigt": {},
    "methods.rennala_pg": {},
    "methods.synchronous_nigt": {},
    "methods.synchronous_pg": {},
    "profiles.decreasing": {"n": 2, "times": 2},
    "profiles.equal": {"n": 2},
    "profiles.from_csv": {"path": "times.csv"},
    "profiles.linear": {"n": 2},
    "profiles.lognormal": {"n": 2},
    "profiles.outages": {"n": 2, "until": 20.0},
    "profiles.power_law": {"n": 2, "exponent": 0.5},
    "profiles.stragglers": {"n": 2},
    "profiles.noise.bernoulli_outage": {"probability": 0.1, "slowdown": 2.0},
    "profiles.noise.gamma": {"shape": 2.0},
    "profiles.noise.lognormal": {"sigma": 0.5},
    "profiles.noise.pareto": {"alpha": 2.0},
    "bounds.block_game": {
        "profile": PROFILE,
        "probability": [0.5, 0.5],
        "levels": [2, 2],
        "shares": [0.5, 0.5],
        "draws": 2,
    },
    "bounds.certified_gradient_norm": {
        "name": "rennala_nigt",
        "constants": KNOWN,
        "stepsize": 0.1,
        "momentum": 0.5,
        "batch": 2,
        "init_batch": 2,
        "rounds": 5,
        "horizon": 5,
    },
    "bounds.level_game": {"profile": PROFILE, "probability": 0.5, "levels": 2, "draws": 2},
    "bounds.level_game_order": {"profile": PROFILE, "probability": 0.5, "levels": 2},
    "bounds.lower": {"name": "rennala_nigt", "profile": PROFILE, "constants": KNOWN, "epsilon": 0.1},
    "bounds.m_synchronous_total": {"profile": PROFILE, "gradients": 3},
    "bounds.malenia_round": {"profile": PROFILE, "batch": 3},
    "bounds.prescribe": {"name": "rennala_nigt", "constants": KNOWN, "epsilon": 0.1},
    "bounds.rennala_round": {"profile": PROFILE, "batch": 3},
    "bounds.rennala_round_literature": {"profile": PROFILE, "batch": 3},
    "bounds.supports_allreduce": {"name": "rennala_nigt"},
    "bounds.upper": {"name": "rennala_nigt", "profile": PROFILE, "constants": KNOWN, "epsilon": 0.1},
    "problems.FixedNormalisation": {},
    "problems.by_gradient": {"problem": PROBLEM},
    "problems.chain": {},
    "problems.chain_blocks": {},
    "problems.chain_deterministic": {},
    "problems.chain_group": {},
    "problems.chain_nested": {},
    "problems.chain_split": {},
    "problems.garnet": {"states": 3},
    "problems.gridworld": {"size": 2, "goals": ((1, 1),)},
    "problems.linear_quadratic": {"horizon": 2},
    "problems.local_constants": {"problem": PROBLEM, "params": PARAMS, "samples": 2},
    "problems.stochastic": {
        "objective": lambda params, key, worker: -(params**2),
        "init": lambda key: jax.numpy.ones(()),
    },
    "problems.tabular": {"states": 3, "horizon": 2},
    "problems.winding": {"walls": 2},
}
"""Every public function that takes values, with arguments that are good."""

HELD = {
    *(
        "InputError",
        "InvariantError",
        "Stopped",
        "TrainingDiverged",
        "Problem",
        "Trace",
        "nigt_eval_params",
    ),
    *("clock.ArrivalRule", "clock.Arrivals", "clock.Communication", "clock.Rounds", "clock.Rule"),
    *("methods.Method", "methods.NIGTState", "methods.mean", "methods.nigt", "methods.nigt_eval_params"),
    *("methods.double_optimism", "methods.optimism_eval_params"),
    *("methods.worker_mean", "profiles.Noise", "profiles.Profile", "bounds.Bound", "problems.MDP"),
    *("problems.Chain", "problems.Estimate", "problems.Evaluation", "problems.ExactProblem"),
    *("problems.LinearQuadratic", "problems.LocalConstants", "problems.Problem", "problems.Tabular"),
    *("problems.RunningNormalisation", "problems.PolicyGradient", "problems.policy_gradient"),
}
"""What else is public: results, base classes, functions that others call, and physics."""

WRONG = (
    *(None, True, False, -1, 0, 1, 3, 2**31, 10**18, 10**30, *FLOATS, 1j, *WORDS[:40], b"", b"x"),
    *(
        [],
        (),
        {},
        set(),
        {1},
        [0],
        [1, 2],
        [1.0, -1.0],
        [[1.0], [1.0, 2.0]],
        [None],
        ["x"],
        {"a": 1},
        [[[1]]],
    ),
    *(
        object(),
        Path("x"),
        slice(1),
        Ellipsis,
        NotImplemented,
        range(3),
    ),
    *(
        np.zeros(0),
        np.ones(2),
        np.ones((2, 2)),
        np.array(1),
        np.int64(2),
        np.float32(0.5),
        np.bool_(True),
    ),
    *(
        np.array(["x"]),
        np.array([None]),
        np.array([1j]),
        np.array([True, False]),
        np.ones(2, np.float16),
    ),
    *(
        np.array(["2000-01-01"], "M8[s]"),
        np.array([1, 2], "m8[s]"),
        np.ma.masked_array([1.0, 2.0], [0, 1]),
    ),
    *(np.array([np.nan]), np.array([np.inf, 1.0]), np.array([2**63], np.uint64), np.zeros((1, 0, 2))),
    *(jax.numpy.ones(2), jax.random.key(0), jax.random.PRNGKey(0), jax.numpy.arange(3), iter([1, 2])),
    *(datetime.date(2000, 1, 1), ValueError("x"), math, PROFILE, METHOD, PROBLEM, KNOWN, TRACE, ROUNDS),
)


def found(name):
    """A public thing by its name."""
    return functools.reduce(getattr, name.split("."), jn)


NAMES = st.sampled_from(sorted(CALLS))


@fuzzed("functions", name=NAMES, data=st.data())
def test_a_wrong_argument_is_refused_in_a_sentence(name, data):
    count("functions")
    function, good = found(name), CALLS[name]
    parameters = inspect.signature(function).parameters.values()
    keys = [one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    key = data.draw(st.sampled_from([*keys, "nonsense"]), "argument")
    wrong = data.draw(st.sampled_from(WRONG) | st.sampled_from([*good.values()] or [None]), "value")
    with place(times_csv="compute,comm\n1,0\n") as work, untouched(work):
        try:
            inspect.signature(function).bind(**good | {key: wrong})
        except TypeError:  # Python's own words for an argument that there is not
            with pytest.raises(TypeError, match=key):
                function(**good | {key: wrong})
            return
        with refused_or_done():
            function(**good | {key: wrong})


def test_every_public_function_is_tried_or_named():
    rooms = {
        "": jn,
        **{room: getattr(jn, room) for room in ("clock", "methods", "profiles", "bounds", "problems")},
    }
    public = {
        f"{room}.{name}".lstrip(".")
        for room, module in rooms.items()
        for name in module.__all__
        if not inspect.ismodule(getattr(module, name))
    }
    assert public - CALLS.keys() == HELD
