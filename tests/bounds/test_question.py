"""What bounds share: the question, its default of kappa, the terms, and how a Bound reads."""

import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.bounds import Bound, lower, upper
from jaxnigt.bounds.analysis import KINDS
from jaxnigt.bounds.question import ask, pairs, product, products, slowest_link, smallest
from jaxnigt.constants import Constants
from tests.bounds.instances import constants, powers, profiles

UNIT = Constants(1.0, 1.0, 1.0, 1.0)
FIELDS = ("time", "computation", "communication", "m", "regime")


def test_only_public_names_are_shown():
    assert dir(jn.bounds) == sorted(jn.bounds.__all__)
    assert all(callable(getattr(jn.bounds, name)) for name in dir(jn.bounds))
    assert not [name for name in dir(jn.bounds) if name.startswith("_")]


def test_the_slowest_link_is_that_of_a_live_worker():
    profile = jn.Profile([[1.0, 2.0, 3.0], [1.0, np.inf, 3.0]], [[4.0, 9.0, 5.0], [4.0, 9.0, 5.0]])
    np.testing.assert_array_equal(slowest_link(profile), [9.0, 5.0])
    np.testing.assert_array_equal(slowest_link(jn.Profile([1.0, np.inf], [0.0, 7.0])), 0.0)


@pytest.mark.parametrize("form", ["order", "certified"])
@pytest.mark.parametrize("name", ["rennala_nigt", "malenia_pg", "synchronous_nigt"])
def test_without_kappa_the_slowest_link_counts(name, form):
    rng = np.random.default_rng(0)
    profile = profiles(rng, 6, 4).replace(comm=rng.uniform(0, 50, (6, 4))).reshape(2, 3)
    links = profile.comm.max(axis=-1)
    for bound in (upper, lower):
        found = bound(name, profile, UNIT, 1e-3, form=form)
        given = bound(name, profile, UNIT, 1e-3, kappa=links, form=form)
        free = bound(name, profile, UNIT, 1e-3, kappa=0.0, form=form)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(found, field), getattr(given, field))
        assert (found.communication > 0).all()
        assert not free.communication.any()
        # Without communication times nothing is communicated.
        silent = bound(name, profile.replace(comm=0.0), UNIT, 1e-3, form=form)
        np.testing.assert_array_equal(silent.time, free.time)


def test_quantities_by_hand():
    c = Constants(L_g=2.0, L_h=9.0, sigma=8.0, delta=5.0)
    q = ask(jn.Profile([6.0, 2.0, 3.0]), c, 0.25, 1.0)
    np.testing.assert_array_equal(q.h, [2, 3, 6])
    np.testing.assert_allclose([q.h_n[0], q.mean[0], 3 * q.pooled_n[0]], [6, 11 / 3, 3])
    np.testing.assert_allclose(q.m * q.pooled, [2, 2 * 6 / 5, 3])
    np.testing.assert_allclose([q.A, q.B, q.s], [[160], [120], [1024]])
    np.testing.assert_allclose(q.D, 3 ** (4 / 3) * 2 * 5 * 2 * 4 ** (7 / 3))
    np.testing.assert_allclose([q.X, q.Y], [[160 ** (3 / 7) * 120 ** (4 / 7)], [19200**0.5]])


def test_nothing_of_an_endless_time_takes_no_time():
    np.testing.assert_array_equal(
        product(np.array([np.inf, 2.0, 0.0]), np.array([0.0, 3.0, np.inf])), [0, 6, 0]
    )
    q = ask(jn.Profile([1.0]), UNIT, 0.1, 2.0)
    terms = products(pairs(q, np.array([3.0]), noise=(np.array([5.0, 4.0]), np.array([1.0, 1.0]))))
    found = smallest(terms, np.array([1, 2]), "derived")
    assert (found.computation, found.communication, found.m, found.regime) == (4, 6, 2, "communication")
    nothing = smallest({"noise": np.zeros(2), "communication": np.zeros(2)}, np.array([1, 2]), "derived")
    assert (nothing.time, nothing.m, nothing.regime) == (0, 1, "none")


def test_a_bound_reads_in_at_most_five_lines():
    profile = jn.profiles.equal(4).replace(comm=1.0)
    one = upper("rennala_pg", profile, UNIT, 0.1)
    assert repr(one).splitlines() == [
        "Bound of shape (), Table 1 of arXiv 2509.24305, Rennala SGD of arXiv 2305.12387",
        "  time           2,700 s",
        "  computation    2,600 s",
        "  communication  100 s",
        "  dominated by   noise, m = 4",
    ]
    many = upper("rennala_nigt", profile, UNIT, [1.0, 0.1], kappa=[[0.0], [1e4]])
    lines = repr(many).splitlines()
    assert lines[0] == "Bound of shape (2, 2), Theorem 4.4 of arXiv 2509.24305"
    assert lines[3] == "  communication  0 to 1.316e+06 s"
    assert lines[4] == "  dominated by   communication (2), noise (1), smoothness (1), m = 4"
    none = np.zeros((0, 3))
    empty = Bound(none, none, none, none.astype(int), none.astype(str), "derived")
    assert repr(empty) == "Bound of shape (0, 3), derived"


def test_rules_say_what_the_methods_do():
    rules = {name: kind.collection for name, kind in KINDS.items()}
    assert [name for name, rule in rules.items() if rule.stale] == ["afedpg"]
    assert [name for name, rule in rules.items() if rule.fixed] == [
        x for x in KINDS if "synchronous" in x
    ]
    assert {name for name, rule in rules.items() if rule.apart} == {"malenia_pg", "malenia_nigt"}
    apart = {"synchronous_pg", "synchronous_nigt", "malenia_pg", "malenia_nigt"}
    assert {name for name, rule in rules.items() if rule.heterogeneous} == apart
    assert [name for name, rule in rules.items() if not rule.free_start] == [
        "m_synchronous_nigt",
        "afedpg",
    ]


def test_rounds_by_hand():
    """Seconds of a round of 6 gradients, for each m, with h = 1, 2, 4."""
    q = ask(jn.Profile([4.0, 1.0, 2.0]), UNIT, 0.1, 0.0)
    expected = {
        "rennala_nigt": [6, 8 / 1.5, 9 / 1.75],
        "malenia_nigt": [4 + 7 / 3 * 6 / 3],
        "m_synchronous_nigt": [6, 6, 8],
        "synchronous_nigt": [8],
    }
    for name, seconds in expected.items():
        rule = KINDS[name].collection
        np.testing.assert_allclose(rule.round_seconds(rule.speeds(q), np.array(6.0)), seconds)
    rng = np.random.default_rng(1)
    profile, batch = profiles(rng, 50, 5), rng.integers(1, 100, 50).astype(float)
    q = ask(profile, constants(rng, 50), powers(rng, -2, 0, 50), 0.0)
    found = {}
    for name in ("rennala_pg", "malenia_pg"):
        rule = KINDS[name].collection
        found[name] = rule.round_seconds(rule.speeds(q), batch[:, None]).min(axis=-1)
    # Half of the literature's: the clock is held against it in tests/clock.
    np.testing.assert_allclose(found["malenia_pg"], jn.bounds.malenia_round(profile, batch) / 2)
    assert (found["rennala_pg"] <= jn.bounds.rennala_round(profile, batch) * (1 + 1e-12)).all()
    ends = [jn.clock.rennala(profile[k], int(batch[k]), 1).end[0] for k in range(50)]
    assert (np.array(ends) <= found["rennala_pg"] * (1 + 1e-12)).all()
