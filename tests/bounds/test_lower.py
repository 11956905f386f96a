import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.bounds import lower, upper
from jaxnigt.bounds.analysis import KINDS, PG
from jaxnigt.bounds.lower import attempts, chain_length, quadratic_length
from jaxnigt.bounds.question import ask
from jaxnigt.constants import Constants
from tests.bounds.instances import constants, powers, profiles, slope

COUNT = 10_000
UNIT = Constants(1.0, 1.0, 1.0, 1.0)
# At epsilon = 1 the chain has length scale 1 by both constants, 20 coordinates and p = 1/100.
CHAIN = Constants(L_g=304.0, L_h=4140.0, sigma=460.0, delta=480.0)
H = np.array([1.0, 2.0, 4.0])


def test_the_reconstruction_by_hand():
    e, kappa, profile = 0.01, 3.0, jn.Profile(H)
    c = Constants(L_g=2.0, L_h=3.0, sigma=5.0, delta=7.0)
    B, s = 7 * 3**0.5 / e**1.5, 25 / e**2
    X = 2 ** (3 / 7) * 3 ** (2 / 7) * 7 / e ** (12 / 7)
    share = [1.0, 1 / 1.5, 1 / 1.75]
    best = min((m + 1) * share[m] * (X + s * B / (m + 1)) for m in range(3))
    found = lower("rennala_nigt", profile, c, e, kappa=kappa)
    np.testing.assert_allclose([found.computation, found.communication], [best, kappa * X])
    X = 2**0.5 * 3**0.25 * 7 / e**1.75
    found = lower("rennala_nigt", profile, c, e, kappa=kappa, power="7/4")
    np.testing.assert_allclose(found.communication, kappa * X)
    found = lower("malenia_nigt", profile, c, e, kappa=kappa, power="7/4")
    np.testing.assert_allclose(found.computation, 4 * X + 7 / 3 * s * B / 3)
    # A single worker that never communicates.
    free = lower("rennala_nigt", profile, c, e, kappa=1e9, power="7/4", protocol="any")
    np.testing.assert_allclose([free.time, free.communication, free.m], [X + s * B, 0, 1])
    # Beyond epsilon = L_g^2 / L_h the gradient's constant decides alone.
    coarse = lower("rennala_nigt", profile, c, 100.0, kappa=kappa)
    np.testing.assert_allclose(coarse.communication, kappa * 14 / 100.0**2)


def test_first_order_bounds_are_what_rennala_and_malenia_pg_attain():
    """Tyurin and Richtarik: optimal, so that upper and lower orders are the same."""
    rng = np.random.default_rng(0)
    c, epsilon, profile = constants(rng, 100), powers(rng, -3, 0, 100), profiles(rng, 100, 5)
    for name in ("rennala_pg", "malenia_pg"):
        above = upper(name, profile, c, epsilon, kappa=2.0)
        below = lower(name, profile, c, epsilon, kappa=2.0, smooth="gradient")
        np.testing.assert_allclose(above.time, below.time)
        assert (above.m == below.m).all()


def test_the_chain_by_hand():
    q = ask(jn.Profile(H), CHAIN, 1.0, 0.0)
    assert chain_length(q, curved=True) == 20
    assert attempts(q) == pytest.approx(100)
    profile = jn.Profile(H)
    found = lower("rennala_nigt", profile, CHAIN, 1.0, kappa=3.0, form="certified")
    np.testing.assert_allclose([found.computation, found.communication], [2 * 103 / 1.75, 60])
    assert (found.m, found.regime) == (3, "noise")
    # The slowest alone needs n^2 = 9 times fewer gradients, and all three are faster together.
    found = lower("malenia_nigt", profile, CHAIN, 1.0, kappa=3.0, form="certified")
    groups = [4.0 * 100 / 9, 100 * 4 / 9 / 0.75, 100 / 1.75]
    np.testing.assert_allclose(found.computation, max(2 * max(groups), 2 * 103 / 1.75))
    # Without the Hessian's constant nothing changes at this scale, with a smaller one T does.
    assert chain_length(q, curved=False) == 20
    smoother = ask(profile, Constants(304.0, 4140.0 / 4, 460.0, 480_000.0), 1.0, 0.0)
    assert chain_length(smoother, curved=True) == 10_000
    assert chain_length(smoother, curved=False) == 20_000


def test_the_deterministic_instance_by_hand():
    c = Constants(L_g=368.0, L_h=10.0, sigma=0.0, delta=50.0)
    e = 1e-4
    mu = (4 * e * 10 / (314.1 * 4)) ** (4 / 7)
    s = 314.1 * 2 * mu / 10
    T = np.floor((50 / (2 * s**2) - mu**0.5 / 2) / (7.35 * mu))
    assert T > 100
    assert quadratic_length(ask(jn.Profile(H), c, e, 0.0)) == T
    # The nested chain: s^2 = 8 * 314.1 e / L_h, l s^2 nu = L_h s^3 / 314.1, and the largest bridge.
    s = (8 * 314.1 * e / 10) ** 0.5
    outer = np.floor((50 / (10 * s**3 / 314.1) - 0.5) / 7.35)
    nu = [1 / (m * (3 * m - 1)) for m in range(1, 100)]
    m = sum(10 * s / (314.1 * each) * (5 + 180 * each) <= 368 for each in nu)
    N = (outer - 1) * (m + 1) + 1
    assert N > T
    found = lower("rennala_nigt", jn.Profile(H), c, e, kappa=0.5, form="certified")
    assert (found.computation, found.communication, found.regime) == (N, N / 2, "nested")
    assert lower("malenia_nigt", jn.Profile(H), c, e, form="certified").time == 4 * N
    # Its constant for small epsilon, and nothing where mu would be above 1.
    tiny = ask(jn.Profile(H), UNIT, 1e-12, 0.0)
    assert quadratic_length(tiny)[0] * 1e-12 ** (12 / 7) == pytest.approx(2.615e-4, rel=1e-3)
    assert quadratic_length(ask(jn.Profile(H), UNIT, 0.01, 0.0)) == 0


def test_the_chain_is_that_of_the_problem():
    for epsilon, L_h in ((0.7, 2070.0), (0.2, 50.0), (0.3, 1e5)):
        problem = jn.problems.chain(delta=900.0, L_g=120.0, L_h=L_h, sigma=70.0, epsilon=epsilon)
        q = ask(jn.profiles.equal(2), problem.constants, epsilon)
        assert chain_length(q, curved=True) == problem.levels
        np.testing.assert_allclose(1 / attempts(q)[..., 0], problem.probability[0])


def geometric(rng, p, shape):
    return rng.geometric(p, shape).astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_the_chain_takes_longer_than_its_bound_half_of_the_time(seed):
    """The level game: sum over levels of min_i h_i G_i, all workers on one chain or a group."""
    rng = np.random.default_rng(seed)
    profile = profiles(rng, 1, 8)[0]
    h = np.sort(profile.compute)
    draws = geometric(rng, 0.01, (4000, 20, 8))
    bound = lower("rennala_nigt", profile, CHAIN, 1.0, form="certified").time
    times = (h * draws).min(axis=-1).sum(axis=-1)
    assert (times > bound).mean() >= 0.5
    assert np.median(times) < 20 * bound
    # Groups of the k slowest, whose objectives are n/k times as large.
    bound = lower("malenia_nigt", profile, CHAIN, 1.0, form="certified").time
    medians = [np.median(times)]
    for k in range(1, 8):
        p = min(1.0, 0.01 * (8 / k) ** 2)
        medians.append(np.median((h[-k:] * geometric(rng, p, (4000, 20, k))).min(-1).sum(-1)))
    assert bound < max(medians) < 20 * bound


@pytest.mark.parametrize("kappa", [0.1, 3.0, 30.0, 1e4])
def test_workers_that_go_on_alone_are_no_faster_than_their_bound(kappa):
    """y_j = min_i y_i + h_i G_i + kappa [i != j], level by level."""
    rng = np.random.default_rng(7)
    profile = profiles(rng, 1, 8, deviation=0.3)[0]
    known = np.zeros((2000, 8))
    for _ in range(20):
        found = known + profile.compute * geometric(rng, 0.01, known.shape)
        known = np.minimum(found, found.min(axis=-1, keepdims=True) + kappa)
    times = known.min(axis=-1)
    bound = lower("rennala_nigt", profile, CHAIN, 1.0, kappa=kappa, form="certified", protocol="any")
    assert (times > bound.time).mean() >= 0.5
    rounds = lower("rennala_nigt", profile, CHAIN, 1.0, kappa=kappa, form="certified")
    assert bound.time <= rounds.time


def test_communication_counts_where_workers_go_on_alone():
    """With many workers a level's computation is short, and messages cannot all be saved."""
    slow = Constants(304.0, 4140.0, 4600.0, 480.0)  # p = 1e-4
    profile = jn.profiles.equal(1000)
    found = lower("rennala_nigt", profile, slow, 1.0, kappa=500.0, form="certified", protocol="any")
    assert found.regime == "communication"
    assert found.time == 250.0  # half of one message a stretch of ceil(2 + log2 1000) = 12 levels


def test_groups_come_within_a_logarithm_of_the_mean():
    """max_k k^2 / sum_{slowest k} 1/h >= sum h / (1 + ln n), which the docstring says."""
    h = np.sort(profiles(np.random.default_rng(8), 5000, 30, deviation=3.0).compute)[:, ::-1]
    groups = (np.arange(1, 31) ** 2 / np.cumsum(1 / h, axis=-1)).max(axis=-1)
    assert (groups >= h.sum(axis=-1) / (1 + np.log(30))).all()
    assert (groups <= h.sum(axis=-1) * (1 + 1e-12)).all()


@pytest.mark.parametrize("heterogeneous", [False, True])
@pytest.mark.parametrize("form", ["order", "certified"])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "afedpg"])
def test_nothing_beats_the_lower_bound(name, form, heterogeneous):
    if heterogeneous and not KINDS[name].collection.heterogeneous:
        return
    rng = np.random.default_rng(9)
    c, epsilon, kappa = constants(rng, COUNT), powers(rng, -8, -1, COUNT), powers(rng, -3, 6, COUNT)
    profile = profiles(rng, COUNT, 6, deviation=2.0)
    above = upper(name, profile, c, epsilon, kappa=kappa, form=form)
    options = [{}, {"protocol": "any"}]
    options += [{"power": "7/4"}] if form == "order" else []
    options += [{"smooth": "gradient"}] if isinstance(KINDS[name].update, PG) else []
    for option in options:
        below = lower(
            name, profile, c, epsilon, kappa=kappa, form=form, heterogeneous=heterogeneous, **option
        )
        assert (below.time > 0).mean() > 0.6
        assert (above.time >= below.time * (1 - 1e-12)).all()


ORDERS = [
    ("noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, {}, -3.5),
    ("noise", Constants(1.0, 1.0, 1.0, 1.0), 0.0, {"smooth": "gradient"}, -4),
    ("chain", Constants(1.0, 1.0, 0.0, 1.0), 0.0, {}, -12 / 7),
    ("communication", Constants(1.0, 1.0, 0.0, 1.0), 1e9, {}, -12 / 7),
]
"""Where the chain decides, the certified form has the nested chain in its place."""


@pytest.mark.parametrize("name", ["rennala_nigt", "malenia_nigt"])
@pytest.mark.parametrize("form", ["order", "certified"])
@pytest.mark.parametrize(("regime", "c", "kappa", "options", "exponent"), ORDERS)
def test_exponents(name, form, regime, c, kappa, options, exponent):
    epsilon = np.logspace(-12, -11, 5)
    profile = jn.profiles.power_law(5, 0.5)
    found = lower(name, profile, c, epsilon, kappa=kappa, form=form, **options)
    if form == "certified" and exponent == -12 / 7:
        regime, exponent = regime.replace("chain", "nested"), -7 / 4
    assert (found.regime == regime).all()
    np.testing.assert_allclose(slope(found.time, epsilon), exponent, atol=2e-3)


def test_the_certified_bound_is_as_long_as_its_hard_instances():
    """One worker, exact gradients: seconds are queries, of the chain or of the nested one."""
    which = []
    for epsilon in (3e-4, 1e-4, 1e-5):
        c = Constants(L_g=1.0, L_h=0.5, sigma=0.0, delta=0.3)
        found = lower("rennala_nigt", jn.profiles.equal(1), c, epsilon, form="certified")
        given = {"delta": 0.3, "L_g": 1.0, "L_h": 0.5, "epsilon": epsilon}
        lengths = []
        for make in (jn.problems.chain_deterministic, jn.problems.chain_nested):
            try:
                lengths.append(int(make(**given).levels[0]))
            except jn.InputError:  # not hard at this accuracy
                lengths.append(0)
        assert found.time == max(lengths)
        assert found.regime == ("nested" if lengths[1] > lengths[0] else "chain")
        which.append(str(found.regime))
        either = lower("rennala_nigt", jn.profiles.equal(1), c, epsilon, form="certified", power="7/4")
        assert either.time == found.time
    assert "nested" in which


@pytest.mark.parametrize("name", ["rennala_nigt", "malenia_nigt"])
def test_exponents_of_single_forms(name):
    epsilon, profile, calm = np.logspace(-12, -11, 5), jn.profiles.power_law(5, 0.5), UNIT
    calm = Constants(1.0, 1.0, 0.0, 1.0)
    found = lower(name, profile, calm, epsilon, power="7/4")
    np.testing.assert_allclose(slope(found.time, epsilon), -7 / 4, atol=1e-3)
    for form in ("order", "certified"):
        found = lower(name, profile, calm, epsilon, smooth="gradient", form=form)
        assert (found.regime == "smoothness").all()
        np.testing.assert_allclose(slope(found.time, epsilon), -2, atol=1e-3)


def test_broadcasting_is_one_by_one():
    rng = np.random.default_rng(10)
    profile = profiles(rng, 3, 4).reshape(3, 1)
    c, epsilon = Constants(1.0, powers(rng, -1, 1, (5, 1, 1)), 1.0, 1.0), np.array([1e-3, 1e-5])
    for form in ("order", "certified"):
        for heterogeneous in (False, True):
            for protocol in ("rounds", "any"):
                options = {
                    "form": form,
                    "heterogeneous": heterogeneous,
                    "protocol": protocol,
                    "kappa": 2.0,
                }
                found = lower("rennala_nigt", profile, c, epsilon, **options)
                for i, j, k in np.ndindex(5, 3, 2):
                    alone = Constants(1.0, c.L_h[i, 0, 0], 1.0, 1.0)
                    one = lower("rennala_nigt", profile[j, 0], alone, epsilon[k], **options)
                    for field in ("time", "computation", "communication", "m", "regime"):
                        assert getattr(found, field)[i, j, k] == getattr(one, field)


@pytest.mark.parametrize("form", ["order", "certified"])
def test_units_do_not_matter(form):
    rng = np.random.default_rng(11)
    c, epsilon, profile = constants(rng, 200), powers(rng, -6, -2, 200), profiles(rng, 200, 4)
    other = Constants(c.L_g * 4, c.L_h, c.sigma * 16, c.delta * 64)
    for name in ("rennala_nigt", "malenia_nigt"):
        found = lower(name, profile, c, epsilon, kappa=2.0, form=form)
        again = lower(name, profile, other, epsilon * 16, kappa=2.0, form=form)
        np.testing.assert_allclose(found.time, again.time, rtol=1e-9)


@pytest.mark.parametrize("form", ["order", "certified"])
def test_dead_workers_and_problems_that_are_not_hard(form):
    alive, dead = jn.Profile([1.0, 3.0]), jn.Profile([1.0, np.inf, 3.0])
    found = lower("rennala_nigt", dead, UNIT, 1e-4, form=form)
    assert found.time == lower("rennala_nigt", alive, UNIT, 1e-4, form=form).time
    assert np.isinf(lower("malenia_nigt", dead, UNIT, 1e-4, form=form).time)
    straight = lower("malenia_nigt", dead, Constants(1.0, 0.0, 1.0, 1.0), 1e-4, kappa=1.0, form=form)
    assert (straight.time, straight.regime) == (0.0, "none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"power": "2"}, "power: got '2', allowed are 12/7, 7/4."),
        ({"smooth": "third"}, "smooth: got 'third', allowed are hessian, gradient."),
        ({"protocol": "none"}, "protocol: got 'none', allowed are rounds, any."),
        ({"form": "exact"}, "form: got 'exact', allowed are order, certified."),
    ],
)
def test_wrong_words_are_one_sentence(options, message):
    with pytest.raises(jn.InputError, match="^" + message):
        lower("rennala_nigt", jn.profiles.equal(2), UNIT, 0.1, **options)
