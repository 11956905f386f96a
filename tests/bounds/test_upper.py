import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.bounds import lower, prescribe, supports_allreduce, upper
from jaxnigt.bounds.analysis import KINDS, PG
from jaxnigt.constants import Constants
from tests.bounds.instances import constants, powers, profiles, slope

CERTIFIED = [name for name in KINDS if name != "afedpg"]
UNIT = Constants(1.0, 1.0, 1.0, 1.0)
H, N, MEAN, LAST = [1.0, 2.0, 4.0], 3, 7 / 3, 4.0
FASTEST = {1: 1.0, 2: 4 / 3, 3: 12 / 7}
"""Harmonic means of the m fastest of H."""


def table(name, e):
    """Tables 1 and 2 for H with constants 1: pairs of computation and aggregations, by m."""
    nigt, pg, stale = e**-2 + e**-1.5, e**-2, N ** (4 / 3) * e ** (-7 / 3)
    if name == "synchronous_pg":
        return {3: (LAST * (e**-2 + e**-4 / 3), e**-2 + e**-4 / 3)}
    if name == "synchronous_nigt":
        rounds = e**-2 + e**-1.5 + (e**-2 + e**-3.5) / 3
        return {3: (LAST * rounds, rounds)}
    if name == "m_synchronous_nigt":
        rounds = {m: nigt + e**-3 / m**1.5 + e**-3.5 / m for m in (1, 2, 3)}
        return {m: (H[m - 1] * rounds[m], rounds[m]) for m in rounds}
    if name == "rennala_pg":
        return {m: (h * (pg + e**-4 / m), pg) for m, h in FASTEST.items()}
    if name == "rennala_nigt":
        return {m: (h * (nigt + (e**-2 + e**-3.5) / m), nigt) for m, h in FASTEST.items()}
    if name == "malenia_pg":
        return {3: (LAST * pg + MEAN * e**-4 / 3, pg)}
    if name == "malenia_nigt":
        return {3: (LAST * nigt + MEAN * (e**-2 + e**-3.5) / 3, nigt)}
    return {3: (FASTEST[3] * (stale + e**-3.5 / 3), N * (stale + e**-3.5 / 3))}


@pytest.mark.parametrize("epsilon", [0.05, 0.4])
@pytest.mark.parametrize("kappa", [0.0, 3.0])
@pytest.mark.parametrize("name", KINDS)
def test_tables_1_and_2(name, kappa, epsilon):
    found = upper(name, jn.Profile(H[::-1]), UNIT, epsilon, kappa=kappa)
    rows = table(name, epsilon)
    best = min(rows, key=lambda m: rows[m][0] + kappa * rows[m][1])
    computation, rounds = rows[best]
    assert found.m == best
    np.testing.assert_allclose(found.computation, computation, rtol=1e-12)
    np.testing.assert_allclose(found.communication, kappa * rounds, rtol=1e-12)
    assert found.time == found.computation + found.communication
    assert found.time.shape == found.regime.shape == ()


def test_constants_stand_where_theorem_4_4_has_them():
    c, e, kappa = Constants(L_g=2.0, L_h=3.0, sigma=5.0, delta=7.0), 0.1, 11.0
    A, B = 2 * 7 / e**2, 3**0.5 * 7 / e**1.5
    start, noise = 25 / e**2, 25 * 3**0.5 * 7 / e**3.5
    found = upper("rennala_nigt", jn.Profile([13.0]), c, e, kappa=kappa)
    np.testing.assert_allclose(found.computation, 13 * (A + B + start + noise))
    np.testing.assert_allclose(found.communication, 11 * (A + B))
    found = upper("rennala_pg", jn.Profile([13.0]), c, e)
    np.testing.assert_allclose(found.time, 13 * (A + 25 * 14 / e**4))


# Constants and a profile in which one term towers above the others, and its exponent of epsilon.
DOMINANT = [
    ("rennala_nigt", "smoothness", Constants(1.0, 1e-30, 0.0, 1.0), 0.0, -2),
    ("rennala_nigt", "hessian", Constants(1e-9, 1.0, 0.0, 1.0), 0.0, -1.5),
    ("rennala_nigt", "start", Constants(1.0, 1e-6, 1.0, 1e-12), 0.0, -2),
    ("rennala_nigt", "noise", Constants(1e-9, 1.0, 1e9, 1.0), 0.0, -3.5),
    ("rennala_nigt", "communication", Constants(1.0, 1e-30, 1.0, 1.0), 1e20, -2),
    ("malenia_nigt", "smoothness", Constants(1.0, 1e-30, 0.0, 1.0), 0.0, -2),
    ("malenia_nigt", "hessian", Constants(1e-9, 1.0, 0.0, 1.0), 0.0, -1.5),
    ("malenia_nigt", "noise", Constants(1e-9, 1.0, 1e9, 1.0), 0.0, -3.5),
    ("synchronous_nigt", "noise", Constants(1e-9, 1.0, 1e9, 1.0), 0.0, -3.5),
    ("synchronous_nigt", "communication", Constants(1e-9, 1.0, 1e9, 1.0), 1e9, -3.5),
    ("m_synchronous_nigt", "start", Constants(1e-9, 1e-30, 1e3, 1e-9), 0.0, -3),
    ("m_synchronous_nigt", "noise", Constants(1e-9, 1.0, 1e9, 1e9), 0.0, -3.5),
    ("rennala_pg", "smoothness", Constants(1.0, 1.0, 0.0, 1.0), 0.0, -2),
    ("rennala_pg", "noise", Constants(1.0, 1.0, 1e9, 1.0), 0.0, -4),
    ("rennala_pg", "communication", Constants(1.0, 1.0, 1.0, 1.0), 1e20, -2),
    ("malenia_pg", "noise", Constants(1.0, 1.0, 1e9, 1.0), 0.0, -4),
    ("synchronous_pg", "noise", Constants(1.0, 1.0, 1e9, 1.0), 0.0, -4),
    ("synchronous_pg", "communication", Constants(1.0, 1.0, 1e9, 1.0), 1e9, -4),
    ("afedpg", "staleness", Constants(1e9, 1e-30, 1.0, 1.0), 0.0, -7 / 3),
    ("afedpg", "noise", Constants(1e-9, 1.0, 1e9, 1.0), 0.0, -3.5),
]


@pytest.mark.parametrize(("name", "regime", "c", "kappa", "exponent"), DOMINANT)
def test_exponents_of_the_orders(name, regime, c, kappa, exponent):
    epsilon = np.logspace(-6, -5, 5)
    found = upper(name, jn.profiles.power_law(5, 0.5), c, epsilon, kappa=kappa)
    assert (found.regime == regime).all()
    np.testing.assert_allclose(slope(found.time, epsilon), exponent, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "regime", "c", "kappa", "exponent"),
    [
        ("rennala_nigt", "noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, -3.5),
        ("rennala_nigt", "communication", Constants(1.0, 1.0, 1.0, 1.0), 1e20, -2),
        ("rennala_nigt", "smoothness", Constants(1.0, 1.0, 0.0, 1.0), 0.0, -2),
        ("rennala_nigt", "start", Constants(1.0, 1e-6, 1.0, 1e-12), 0.0, -2),
        ("malenia_nigt", "noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, -3.5),
        ("synchronous_nigt", "noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, -3.5),
        ("m_synchronous_nigt", "noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, -3.5),
        ("m_synchronous_nigt", "start", Constants(1e-9, 1e-30, 1.0, 1e-12), 0.0, -3),
        ("rennala_pg", "noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, -4),
        ("rennala_pg", "smoothness", Constants(1.0, 1.0, 0.0, 1.0), 0.0, -2),
        ("malenia_pg", "noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, -4),
        ("synchronous_pg", "noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, -4),
        ("synchronous_pg", "communication", Constants(1.0, 1.0, 1.0, 1.0), 1e9, -4),
    ],
)
def test_exponents_of_the_certified_bounds(name, regime, c, kappa, exponent):
    """They have the exponents of the orders, but for whole rounds and the grid of batches."""
    epsilon = np.logspace(-7, -6, 5)
    found = upper(name, jn.profiles.power_law(5, 0.5), c, epsilon, kappa=kappa, form="certified")
    assert (found.regime == regime).all()
    fitted = np.polyfit(np.log(epsilon), np.log(found.time), 1)[0]
    np.testing.assert_allclose(fitted, exponent, atol=1e-3)


@pytest.mark.parametrize("name", CERTIFIED)
def test_certified_bounds_hold_for_the_clock_at_prescribed_parameters(name):
    """Every round on the clock, the first with M_init, and kappa after each."""
    c, epsilon, kappa = Constants(1.0, 1.0, 0.5, 5.0), 0.6, 0.7
    one_by_one = []
    for profile in profiles(np.random.default_rng(0), 20, 6):
        bound = upper(name, profile, c, epsilon, kappa=kappa, form="certified")
        rule = name.rpartition("_")[0]
        p = prescribe(name, c, epsilon, profile=profile, kappa=kappa)
        batch = p["batch"]
        sizes = np.array([p["init_batch"]] + [p["batch"]] * (p["rounds"] - 1))
        linked = profile.replace(comm=kappa)
        if rule == "synchronous":
            rounds = jn.clock.synchronous(linked, len(sizes), per_worker=sizes // batch)
        elif rule == "m_synchronous":
            rounds = jn.clock.m_synchronous(linked, batch, len(sizes))
        else:
            rounds = getattr(jn.clock, rule)(linked, sizes, len(sizes))
        one_by_one.append(rounds.end[-1] / bound.time)
    assert len(sizes) > 20
    assert max(one_by_one) <= 1 + 1e-12
    assert min(one_by_one) > 0.2


@pytest.mark.parametrize("name", CERTIFIED)
def test_certified_bounds_are_of_the_order(name):
    """Orders with constants 1 are no bounds: times 50 (PG) or 8,000 (NIGT), plus a round, they are."""
    rng = np.random.default_rng(4)
    c, epsilon, kappa = constants(rng, 10_000), powers(rng, -4, 1, 10_000), powers(rng, -3, 3, 10_000)
    profile = profiles(rng, 10_000, 8)
    order = upper(name, profile, c, epsilon, kappa=kappa)
    certified = upper(name, profile, c, epsilon, kappa=kappa, form="certified")
    one_round = profile.compute.max(axis=-1) + kappa
    ratio = certified.time / (order.time + one_round)
    if isinstance(KINDS[name].update, PG):
        # Below, the gradient at theta_0 is of the order of epsilon, and one large batch is too much.
        ratio = ratio[c.L_g * c.delta >= epsilon**2]
    assert ratio.max() < (50 if isinstance(KINDS[name].update, PG) else 8000)
    assert (certified.time > order.time).mean() > 0.9


@pytest.mark.parametrize("form", ["order", "certified"])
@pytest.mark.parametrize("name", KINDS)
def test_broadcasting_is_one_by_one(name, form):
    if name == "afedpg" and form == "certified":
        return
    rng = np.random.default_rng(5)
    profile = profiles(rng, 3, 4).reshape(3, 1, 1)
    epsilon, kappa = np.array([0.3, 0.01]), powers(rng, -1, 2, 3).reshape(3, 1, 1)
    c = Constants(1.0, 2.0, powers(rng, -1, 2, (4, 1)), 1.0)
    found = upper(name, profile, c, epsilon, kappa=kappa, form=form)
    for i, j, k in np.ndindex(3, 4, 2):
        alone = Constants(1.0, 2.0, c.sigma[j, 0], 1.0)
        single = upper(name, profile[i, 0, 0], alone, epsilon[k], kappa=kappa[i, 0, 0], form=form)
        for field in ("time", "computation", "communication", "m", "regime"):
            value = getattr(found, field)
            assert value.shape == (3, 4, 2)
            assert value[i, j, k] == getattr(single, field)


@pytest.mark.parametrize("form", ["order", "certified"])
@pytest.mark.parametrize("name", KINDS)
def test_units_do_not_matter(name, form):
    """Lengths in another unit, 1/4, and J in another, 1/64: powers of 2, so that nothing rounds."""
    if name == "afedpg" and form == "certified":
        return
    rng = np.random.default_rng(6)
    c, epsilon, profile = constants(rng, 200), powers(rng, -4, 0, 200), profiles(rng, 200, 4)
    other = Constants(c.L_g * 4, c.L_h, c.sigma * 16, c.delta * 64)
    found = upper(name, profile, c, epsilon, kappa=2.0, form=form)
    again = upper(name, profile, other, epsilon * 16, kappa=2.0, form=form)
    np.testing.assert_allclose(found.time, again.time, rtol=1e-9)
    slower = profile.replace(compute=profile.compute * 8)
    slow = upper(name, slower, c, epsilon, kappa=16.0, form=form)
    np.testing.assert_allclose(8 * found.time, slow.time, rtol=1e-12)


def test_constants_that_a_bound_does_not_use_still_give_it_their_shape():
    c = Constants(1.0, np.ones(4), 1.0, 1.0, gamma=np.zeros((3, 1)))
    assert upper("rennala_pg", jn.profiles.equal(2), c, 0.1).time.shape == (3, 4)


@pytest.mark.parametrize("form", ["order", "certified"])
def test_dead_workers(form):
    alive, dead = jn.Profile([1.0, 3.0]), jn.Profile([1.0, np.inf, 3.0])
    for name in ("rennala_nigt", "rennala_pg", "m_synchronous_nigt"):
        with_dead = upper(name, dead, UNIT, 0.1, form=form)
        np.testing.assert_allclose(with_dead.time, upper(name, alive, UNIT, 0.1, form=form).time)
        assert with_dead.m <= 2
    for sigma in (0.0, 1.0):
        c = Constants(1.0, 1.0, sigma, 1.0)
        for name in ("malenia_nigt", "malenia_pg", "synchronous_nigt", "synchronous_pg"):
            assert np.isinf(upper(name, dead, c, 0.1, form=form).time)
    assert np.isfinite(upper("afedpg", dead, UNIT, 0.1).time)


@pytest.mark.parametrize("name", KINDS)
def test_no_upper_bound_is_below_the_lower_one(name):
    """For noise from none on, and with dead workers among the others."""
    rng = np.random.default_rng(1)
    sigma = np.concatenate([np.zeros(20), np.exp(rng.uniform(-12, 6, 180))])
    others = np.exp(rng.uniform(-4, 4, (3, 200)))
    c = Constants(L_g=others[0], L_h=others[1], sigma=sigma, delta=others[2])
    compute = np.exp(rng.normal(0, 1.5, (200, 7)))
    compute[::3, 2] = np.inf
    profile, epsilon = jn.Profile(compute, comm=0.3), np.exp(rng.uniform(-8, 0, 200))
    smooth = "gradient" if name.endswith("_pg") else "hessian"
    for form in ("order", "certified") if name != "afedpg" else ("order",):
        above = upper(name, profile, c, epsilon, form=form).time
        below = lower(name, profile, c, epsilon, form=form, smooth=smooth).time
        assert (above >= below * (1 - 1e-12)).all(), form


def test_dead_workers_do_not_count_in_the_row_of_afedpg():
    alive, dead = jn.Profile([1.0, 3.0]), jn.Profile([1.0, np.inf, 3.0])
    for sigma in (0.0, 0.01, 10.0):
        c = Constants(1.0, 1.0, sigma, 1.0)
        one, other = (upper("afedpg", x, c, 0.1, kappa=2.0) for x in (alive, dead))
        np.testing.assert_allclose(one.computation, other.computation)
        np.testing.assert_allclose(one.communication, other.communication)
        assert one.time > 0


def test_only_asynchronous_updates_have_no_allreduce():
    assert [name for name in KINDS if not supports_allreduce(name)] == ["afedpg"]
    with pytest.raises(jn.InputError, match="name: got 'fedavg', allowed are"):
        supports_allreduce("fedavg")


def test_names_are_those_of_methods():
    assert set(KINDS) <= set(jn.methods.__all__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fedavg"}, "name: got 'fedavg', allowed are"),
        ({"epsilon": -1.0}, "epsilon: got -1, finite numbers above 0 are allowed."),
        ({"kappa": np.inf}, "kappa: got inf, finite numbers of at least 0 are allowed."),
        ({"form": "exact"}, "form: got 'exact', allowed are order, certified."),
        ({"epsilon": np.ones(3), "kappa": np.ones(2)}, r"epsilon: shapes \(\) of profiles"),
        ({"profile": jn.profiles.outages(2)}, "profile: bounds are for fixed times"),
        ({"name": "afedpg", "form": "certified"}, "form: no constants are known for afedpg"),
    ],
)
def test_wrong_questions_are_one_sentence(arguments, message):
    question = {"name": "rennala_nigt", "profile": jn.profiles.equal(2), "epsilon": 0.1, **arguments}
    with pytest.raises(jn.InputError, match="^" + message):
        upper(constants=UNIT, **question)
