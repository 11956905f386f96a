"""Rounds on several devices and in several processes equal those on one."""

import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.training import runs as spread
from tests.test_package import ROOT

CLOSE = 1e-6


def started(devices, *arguments):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    inherited = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.spread", *map(str, arguments)],
        cwd=ROOT,
        env={**inherited, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed(process):
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def eight():
    return printed(started(8))


@pytest.mark.parametrize("problem", ["tabular", "reacher"])
def test_a_round_on_eight_devices_is_that_of_one(eight, problem):
    assert eight["devices"] == 8
    assert len(eight[problem]) >= 4
    for name, distance in eight[problem].items():
        assert distance <= CLOSE, name


@pytest.mark.parametrize("cut", ["seeds", "stepsizes", "profiles", "arrivals", "slots", "lanes"])
def test_training_on_eight_devices_is_that_on_one(eight, cut):
    # Twelve rounds carry the rounding of sums over slots along.
    assert eight["trainings"][cut] <= (1e-4 if cut == "slots" else 1e-5)
    assert eight["programs"][cut] == 2  # one that advances, one that evaluates


def test_a_round_over_two_processes_of_two_devices_is_that_of_one_device():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [started(2, f"127.0.0.1:{port}", 2, index) for index in range(2)]
    for process in processes:
        found = printed(process)
        assert (found["devices"], found["processes"]) == (4, 2)
        for name, distance in found["tabular"].items():
            assert distance <= CLOSE, name


def test_what_a_problem_has_seen_is_merged_or_said_not_to_be():
    with pytest.raises(
        jn.InputError, match="Tabular has no merge_observed, so its rounds need one device"
    ):
        jn.problems.tabular().merge_observed({})


def test_one_device_needs_no_cut():
    assert spread.split((8, 8, 8), jax.devices()[:1]) is None


@pytest.mark.parametrize(
    ("shape", "axis", "parts"),
    [((8, 8, 8), 2, 4), ((8, 8, 3), 1, 4), ((8, 1, 3), 0, 4), ((2, 1, 3), 2, 3), ((1, 1, 1), None, 1)],
)
def test_the_cut_that_uses_most_devices_is_taken(shape, axis, parts):
    devices = [jax.devices()[0]] * 4
    sizes = {a: spread._parts(shape[a], len(devices)) for a in (2, 1, 0)}
    assert max(sizes.values()) == parts
    if axis is not None:
        assert sizes[axis] == parts
        assert max(sizes, key=sizes.__getitem__) == axis


def test_snapshots_know_a_problem_on_any_devices():
    problem = jn.problems.tabular()
    spread_out = jn.parallel.over_slots(problem, jn.parallel.mesh(jax.devices()[:1]))
    assert repr(spread_out) == repr(problem)


def test_padded_slots_leave_running_statistics_alone():
    normalisation = jn.problems.RunningNormalisation()
    problem = jn.problems.policy_gradient("line", horizon=2, normalisation=normalisation)
    params = problem.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 6)
    workers, weights = jnp.zeros(6, jnp.int32), jnp.array([0.25] * 4 + [0.0] * 2)
    padded = problem.estimate(params, keys, workers, weights).observed
    bare = problem.estimate(params, keys[:4], workers[:4], weights[:4]).observed
    for name in bare:
        np.testing.assert_allclose(padded[name], bare[name], rtol=1e-6)
