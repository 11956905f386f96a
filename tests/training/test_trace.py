import dataclasses
import re

import numpy as np
import pytest
import xarray as xr

import jaxnigt as jn
from tests.clock import reference


@pytest.fixture(scope="module")
def traces():
    problem = jn.problems.policy_gradient("line", horizon=2)
    options = {"iterations": 7, "seeds": 2, "eval_every": 3, "eval_batch": 4}
    return {
        "cancel": jn.train(problem, jn.methods.rennala_nigt(6, init_batch=9), **options),
        "finish": jn.train(problem, jn.methods.rennala_nigt(6, restart="finish"), **options),
        "synchronous": jn.train(problem, jn.methods.synchronous_nigt(4, init_batch=8), **options),
    }


PROFILE = jn.profiles.power_law(4, np.linspace(0, 2, 5), 0.5, 0.7)


@pytest.mark.parametrize("comm_model", ["allreduce", "server"])
def test_replay_is_the_clock_round_by_round(traces, comm_model):
    """Sizes of rounds come from the trace: the first is M_init large."""
    ends = jn.replay(traces["cancel"], PROFILE, comm_model=comm_model)
    assert ends.shape == (5, 7)
    for p in range(5):
        compute, comm = PROFILE.compute[p].tolist(), PROFILE.comm[p].tolist()
        rounds = [
            reference.rounds("rennala", compute, comm, [size], comm_model=comm_model)[0][0]
            for size in [9, 6, 6, 6, 6, 6, 6]
        ]
        np.testing.assert_allclose(ends[p], np.cumsum(rounds), rtol=1e-9)


def test_replay_with_the_finish_rule(traces):
    ends = jn.replay(traces["finish"], PROFILE)
    for p in range(5):
        compute, comm = PROFILE.compute[p].tolist(), PROFILE.comm[p].tolist()
        expected = reference.rounds("rennala", compute, comm, [6] * 7, restart="finish")[0]
        np.testing.assert_allclose(ends[p], expected, rtol=1e-9)


def test_synchronous_first_round_takes_as_many_gradients_as_it_says(traces):
    ends = jn.replay(traces["synchronous"], PROFILE)
    slowest, link = PROFILE.compute.max(axis=1), PROFILE.comm.max(axis=1)
    expected = np.cumsum(np.stack([2 * slowest + link] + [slowest + link] * 6, axis=1), axis=1)
    np.testing.assert_allclose(ends, expected, rtol=1e-12)


def test_synchronous_traces_know_their_number_of_workers(traces):
    with pytest.raises(jn.InputError, match="got n = 5 workers, the rule waits for 4"):
        jn.replay(traces["synchronous"], jn.profiles.equal(5))


def test_a_schedule_dependent_trace_is_refused(traces):
    scheduled = dataclasses.replace(traces["cancel"], replayable=False)
    with pytest.raises(jn.InputError, match="was trained with one schedule and cannot be replayed"):
        jn.replay(scheduled, PROFILE)


def test_replay_under_random_times(traces):
    noisy = PROFILE.replace(noise="exponential")
    np.testing.assert_array_equal(
        jn.replay(traces["cancel"], noisy, key=3), jn.replay(traces["cancel"], noisy, key=3)
    )
    with pytest.raises(jn.InputError, match="key: random times need"):
        jn.replay(traces["cancel"], noisy)


def test_eval_times_are_when_the_point_exists():
    end = np.array([[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_array_equal(jn.eval_times(end, np.array([0, 2])), [[0.0, 2.0]])


def test_time_to():
    values = np.array([[0.0, 1.0, 0.5], [0.0, 0.2, 0.4]])
    times = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    np.testing.assert_array_equal(jn.time_to(values, times[0], 0.5), [2.0, np.inf])
    np.testing.assert_array_equal(jn.time_to(values[1], times, 0.4), [3.0, 30.0])
    # Every series under every profile.
    crossed = jn.time_to(values[None], times[:, None], 0.4)
    np.testing.assert_array_equal(crossed, [[2.0, 3.0], [20.0, 30.0]])
    each = jn.time_to(values, times[0], np.array([1.0, 0.1]))
    np.testing.assert_array_equal(each, [2.0, 2.0])
    assert jn.time_to([np.nan, 1.0], [0.0, 1.0], 0.5) == 1.0


def test_time_to_says_where_axes_without_labels_are_paired():
    """Three seeds and three profiles are not three pairs."""
    values, times = np.eye(3), np.arange(1.0, 10.0).reshape(3, 3)
    with pytest.warns(UserWarning, match=r"pairs entry i of values \(3,\) with entry i of times \(3,\)"):
        paired = jn.time_to(values, times, 1.0)
    np.testing.assert_array_equal(paired, [1.0, 5.0, 9.0])
    labelled = jn.time_to(
        xr.DataArray(values, dims=("seed", "evaluation")),
        xr.DataArray(times, dims=("profile", "evaluation")),
        1.0,
    )
    assert labelled.dims == ("profile", "seed")
    np.testing.assert_array_equal(labelled, times)


def test_time_to_refuses_axes_that_do_not_fit():
    values = xr.DataArray(np.zeros((2, 3)), dims=("seed", "evaluation"))
    for arguments, words in (
        ((np.zeros(5), np.zeros(7), 0.0), "times: got shape (7,) for values (5,)"),
        ((np.zeros((5, 2)), np.zeros((7, 2)), 0.0), "times: leading axes (7,) do not broadcast"),
        ((np.zeros((5, 2)), np.zeros(2), np.zeros(2)), "threshold: got shape (2,)"),
        ((np.zeros((2, 3)), np.zeros(3), np.zeros((4, 1))), "threshold: got shape (4, 1)"),
        ((values, np.zeros(3), 0.0), "times: got ndarray, a DataArray"),
        ((values, values.rename(evaluation="round"), 0.0), "times: got DataArray"),
        ((values, values.isel(evaluation=[0, 1]), 0.0), "do not fit values"),
        ((values, values, [0.0, 1.0]), "threshold: got [0.0, 1.0], one number"),
    ):
        with pytest.raises(jn.InputError, match=re.escape(words)):
            jn.time_to(*arguments)
