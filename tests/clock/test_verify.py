"""Every invariant catches a result that breaks it and nothing else."""

import dataclasses

import numpy as np
import pytest

import jaxnigt as jn

PROFILE = jn.profiles.power_law(4, np.array([0.5, 1.0]), 0.5, 0.3)


def rounds(rule, *arguments, **options):
    return getattr(jn.clock, rule)(PROFILE, *arguments, **options)


def change(result, field, index, by):
    values = np.array(np.broadcast_to(getattr(result, field), CHANGED.get(field, result.end.shape)))
    values[index] += by
    return dataclasses.replace(result, **{field: values})


CHANGED = {"counts": (2, 6, 4)}
BROKEN = [
    (("rennala", 5, 6), "end", (1, 3), np.nan, "no end is NaN"),
    (("rennala", 5, 6), "end", (1, 3), -100.0, "every round takes time"),
    (("rennala", 5, 6), "counts", (0, 2, 1), 1, "Rennala: the rule .*"),
    (("rennala", 5, 6), "counts", (0, 2, 1), -9, "no negative counts"),
    (("synchronous", 6), "counts", (0, 2, 1), 1, "Synchronous: no worker delivers more than its share"),
    (
        ("m_synchronous", 2, 6),
        "counts",
        (0, 2, 0),
        1,
        "MSynchronous: no worker delivers more than its share",
    ),
    (
        ("m_synchronous", 2, 6),
        "counts",
        (0, 2, 3),
        1,
        "MSynchronous: the rule does not hold one arrival earlier",
    ),
    (("malenia", 12, 6), "counts", (0, 2, 3), -1, "Malenia: the rule holds at the stop"),
    (
        ("malenia", 4, 6),
        "counts",
        (0, 2, slice(None)),
        5,
        "Malenia: the rule does not hold one arrival earlier",
    ),
    (("rennala", 5, 6), "end", (0, slice(None)), 50.0 * np.arange(1, 7), "no worker is slower"),
    (("synchronous", 6), "end", (0, slice(None)), -0.5 * np.arange(1, 7), "no worker is faster"),
    (("rennala", 5, 6), "end", (0, slice(5, None)), 50.0, "alike rounds take the same time"),
]


@pytest.mark.parametrize(("call", "field", "index", "by", "words"), BROKEN)
def test_a_broken_round_is_named(call, field, index, by, words):
    result = rounds(*call)
    jn.clock.verify(result, PROFILE)
    with pytest.raises(jn.InvariantError, match=words) as caught:
        jn.clock.verify(change(result, field, index, by), PROFILE)
    assert "first at [" in str(caught.value)


def test_gradients_moved_to_a_slower_worker_are_seen():
    result = rounds("rennala", 5, 6)
    counts = np.array(np.broadcast_to(result.counts, (2, 6, 4)))
    counts[1, 4, 0] -= 1
    counts[1, 4, 3] += 1
    with pytest.raises(jn.InvariantError, match="no worker is faster than its times allow"):
        jn.clock.verify(dataclasses.replace(result, counts=counts), PROFILE)


ARRIVALS = [
    ("time", (0, 3), np.nan, "no time is NaN"),
    ("time", (0, 3), -50.0, "no update at time 0 or before"),
    ("time", (0, 3), 50.0, "times do not fall"),
    ("staleness", (1, 7), 1, "staleness is what the order implies"),
    ("time", (0, slice(1, None)), -0.4, "no worker is faster than its times allow"),
]


@pytest.mark.parametrize(("field", "index", "by", "words"), ARRIVALS)
def test_a_broken_arrival_is_named(field, index, by, words):
    result = jn.clock.asynchronous(PROFILE, 20)
    jn.clock.verify(result, PROFILE)
    values = np.array(getattr(result, field))
    values[index] += by
    with pytest.raises(jn.InvariantError, match=words):
        jn.clock.verify(dataclasses.replace(result, **{field: values}), PROFILE)


def test_a_result_of_another_profile_is_refused():
    with pytest.raises(jn.InvariantError, match="one end for each profile and round"):
        jn.clock.verify(rounds("rennala", 5, 6), jn.profiles.equal(4))
