import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.bounds import certified_gradient_norm, prescribe
from jaxnigt.bounds.analysis import KINDS, NIGT
from jaxnigt.constants import Constants
from tests.bounds.instances import constants, powers

COUNT = 1000
UNIT = Constants(1.0, 1.0, 1.0, 1.0)


def given_batch(name, rng):
    """Synchronous methods are told how many workers they wait for."""
    return {"batch": rng.integers(1, 200, COUNT)} if "synchronous" in name else {}


def nigt_norm(c, p):
    """Lemmas D.1 and D.2 summed over T rounds, as one would write them down."""
    D_g = c.D_g * np.sqrt(1 + (1 - c.gamma) * p["horizon"]) * c.gamma ** p["horizon"]
    D_h = c.D_h * (1 + (1 - c.gamma) * p["horizon"]) * c.gamma ** p["horizon"]
    alpha, eta, T = p["stepsize"], p["momentum"], p["rounds"]
    return (
        c.delta / (alpha * T)
        + c.L_g * alpha / 2
        + 2 * c.sigma / p["init_batch"] ** 0.5 * np.minimum(1, 1 / (T * eta))
        + 2 * (eta / (2 - eta)) ** 0.5 * c.sigma / p["batch"] ** 0.5
        + c.L_h * (alpha / eta) ** 2 * (1 - eta)
        + 8 * D_g / eta
        + 4 * D_h * alpha / eta
        + 2 * D_g
    )


def pg_norm(c, p):
    bias = c.D_g * np.sqrt(1 + (1 - c.gamma) * p["horizon"]) * c.gamma ** p["horizon"]
    a = c.L_g * p["stepsize"]
    assert (a <= 1 + 1e-12).all()
    noise = a * c.sigma**2 / (2 * p["batch"])
    right = c.delta / (p["stepsize"] * p["rounds"]) + noise + a * bias**2 / 2
    # The larger root of (1 - a/2) G^2 - (1 - a) bias G = right.
    half = (1 - a) * bias / (2 - a)
    return half + np.sqrt(half**2 + right / (1 - a / 2))


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_prescribed_parameters_certify_epsilon(name, truncated):
    rng = np.random.default_rng(1)
    c, epsilon = constants(rng, COUNT, truncated), powers(rng, -4, 1, COUNT)
    p = prescribe(name, c, epsilon, **given_batch(name, rng))
    by_hand = (nigt_norm if isinstance(KINDS[name].update, NIGT) else pg_norm)(c, p)
    assert (by_hand <= epsilon * (1 + 1e-12)).all()
    # They ask for no more rounds than they need, but for whole numbers and what a horizon leaves.
    assert np.median(by_hand / epsilon) > (0.7 if truncated else 0.99)
    # AFedPG's are those of NIGT with one worker, which has no stale gradients.
    of = "rennala_nigt" if name == "afedpg" else name
    np.testing.assert_allclose(certified_gradient_norm(of, c, **p), by_hand, rtol=1e-12)


def test_horizons_are_the_least_that_do():
    rng = np.random.default_rng(2)
    c, epsilon = constants(rng, COUNT, truncated=True), powers(rng, -4, 0, COUNT)
    for name in ("rennala_nigt", "rennala_pg"):
        p = prescribe(name, c, epsilon)
        long = p["horizon"] > 1
        assert long.mean() > 0.5
        shorter = np.maximum(p["horizon"] - 1, 1)
        if name == "rennala_pg":
            assert (c.truncation_gradient(p["horizon"]) <= epsilon / 4).all()
            assert (c.truncation_gradient(shorter) > epsilon / 4)[long].all()
            continue
        without, less = (
            certified_gradient_norm(name, c, **{**p, "horizon": H})
            for H in (np.full(COUNT, 10**6), shorter)
        )
        assert (less - without > epsilon / 4 * (1 - 1e-9))[long].all()
    assert prescribe("rennala_nigt", UNIT, 0.1)["horizon"] == 1


def test_rounds_are_of_the_order_of_the_theorem():
    """T = O(1 + A + B), T M = O(1 + A + B + s + s B), M_init = O(1 + s) over all constants."""
    rng = np.random.default_rng(3)
    c, epsilon = constants(rng, COUNT), powers(rng, -4, 1, COUNT)
    A, B, s = c.L_g * c.delta / epsilon**2, c.L_h**0.5 * c.delta / epsilon**1.5, c.sigma**2 / epsilon**2
    p = prescribe("rennala_nigt", c, epsilon)
    assert (p["rounds"] <= 25 * (1 + A + B)).all()
    assert (p["rounds"] * p["batch"] <= 800 * (1 + A + B + s + s * B)).all()
    assert (p["init_batch"] <= 5000 * (1 + s)).all()


def test_what_is_given_is_kept():
    p = prescribe("rennala_nigt", UNIT, 0.5, batch=7, init_batch=3, horizon=11)
    assert (p["batch"], p["init_batch"], p["horizon"]) == (7, 3, 11)
    assert 2 * (p["momentum"] / (2 - p["momentum"]) / 7) ** 0.5 < 0.5  # the noise of 7 gradients
    assert certified_gradient_norm("rennala_nigt", UNIT, **p) <= 0.5
    p = prescribe("synchronous_nigt", UNIT, 0.5, batch=10)
    assert p["init_batch"] % 10 == 0
    assert prescribe("rennala_pg", UNIT, 0.5, batch=[1, 2])["init_batch"].tolist() == [1, 2]


def test_scalars_are_what_the_methods_take():
    p = prescribe("rennala_nigt", UNIT, 0.5)
    assert {k: type(v) for k, v in p.items()} == {
        "stepsize": float,
        "momentum": float,
        "batch": int,
        "init_batch": int,
        "rounds": int,
        "horizon": int,
    }
    own = {k: p[k] for k in ("stepsize", "momentum", "batch", "init_batch")}
    assert jn.methods.rennala_nigt(**own).init_batch == p["init_batch"]


def test_problems_without_noise_or_curvature():
    p = prescribe("rennala_nigt", Constants(1.0, 0.0, 0.0, 1.0), 0.1)
    assert (p["batch"], p["init_batch"], p["momentum"]) == (1, 1, 1.0)
    assert p["rounds"] == 200  # 2 L_g delta / epsilon^2
    assert prescribe("rennala_pg", Constants(1.0, 0.0, 0.0, 1.0), 0.1)["rounds"] == 200


@pytest.mark.parametrize("name", ["rennala_nigt", "rennala_pg", "malenia_nigt", "synchronous_nigt"])
def test_nothing_that_is_certified_takes_much_less_time(name):
    """20,000 random choices of everything, near what is prescribed: none saves more than 7%."""
    rng = np.random.default_rng(7)
    c, epsilon, profile, kappa = Constants(3.0, 2.0, 4.0, 5.0), 0.2, jn.profiles.power_law(6, 0.7), 5.0
    p = prescribe(name, c, epsilon, profile=profile, kappa=kappa)
    bound = jn.bounds.upper(name, profile, c, epsilon, kappa=kappa, form="certified").time
    near = {key: p[key] * 2.0 ** rng.normal(0, 0.7, 20_000) for key in p}
    near["momentum"] = np.minimum(near["momentum"], 1.0)
    if name.endswith("pg"):
        near["stepsize"] = np.minimum(near["stepsize"], 1 / c.L_g)
        near["momentum"] = np.ones(20_000)
    near["horizon"] = np.ones(20_000)
    near["batch"] = (
        np.maximum(np.round(near["batch"]), 1) if "synch" not in name else np.full(20_000, 6.0)
    )
    near["init_batch"] = near["batch"] if name.endswith("pg") else np.ceil(near["init_batch"] / 6) * 6
    # The fewest rounds, by halving.
    low, high = np.ones(20_000), np.full(20_000, 1e30)
    for _ in range(60):
        middle = np.sqrt(low * high)
        short = certified_gradient_norm(name, c, **{**near, "rounds": middle}) > epsilon
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    rounds = np.where(high < 1e29, high, np.inf)
    assert np.isfinite(rounds).mean() > 0.2
    h = np.sort(profile.compute)
    m = np.arange(1, 7)
    if name.startswith("rennala"):
        seconds = lambda M: ((M[:, None] + m) / np.cumsum(1 / h)).min(axis=1)  # noqa: E731
    elif name.startswith("malenia"):
        seconds = lambda M: h[-1] + h.mean() * M / 6  # noqa: E731
    else:
        seconds = lambda M: h[-1] * M / 6  # noqa: E731
    time = seconds(near["init_batch"]) + (rounds - 1) * seconds(near["batch"]) + rounds * kappa
    assert 0.93 * bound < time.min() < 1.3 * bound


def test_a_profile_finds_the_batches():
    profile = jn.profiles.power_law(5, 0.5)
    p = prescribe("rennala_nigt", UNIT, 0.1, profile=profile, kappa=[0.0, 1e4])
    assert p["batch"][0] < p["batch"][1]
    assert p["rounds"][0] > p["rounds"][1]
    for name in ("synchronous_pg", "m_synchronous_nigt"):
        p = prescribe(name, UNIT, 0.1, profile=jn.Profile([1.0, 1.0, 1.0, np.inf]))
        assert p["batch"] == (4 if name == "synchronous_pg" else 3)


@pytest.mark.parametrize("name", ["rennala_nigt", "rennala_pg"])
def test_the_certificate_holds_on_a_sine(name):
    """J = sin x from its minimum's side, gradients with normal noise: L_g = L_h = 1."""
    c, epsilon, runs = Constants(1.0, 1.0, 0.5, 2.0), 0.5, 400
    p = prescribe(name, c, epsilon)
    rng = np.random.default_rng(0)
    x = before = np.full(runs, -1.5)
    direction = np.zeros(runs)
    total = np.zeros(runs)
    for t in range(p["rounds"]):
        total += np.abs(np.cos(x))
        eta, batch = (1.0, p["init_batch"]) if t == 0 else (p["momentum"], p["batch"])
        at = x + (1 - eta) / eta * (x - before)
        gradient = np.cos(at) + c.sigma / batch**0.5 * rng.normal(size=runs)
        direction = (1 - eta) * direction + eta * gradient
        step = np.sign(direction) if name == "rennala_nigt" else direction
        x, before = x + p["stepsize"] * step, x
    measured = total.mean() / p["rounds"]
    assert measured <= certified_gradient_norm(name, c, **p) <= epsilon


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("rennala", {}, "name: got 'rennala', allowed are synchronous_pg"),
        ("rennala_nigt", {"epsilon": 0.0}, "epsilon: got 0"),
        ("synchronous_nigt", {}, "batch: synchronous_nigt needs to be given"),
        ("synchronous_nigt", {"batch": 4, "init_batch": 6}, "init_batch: multiples of batch"),
        ("rennala_nigt", {"batch": 1.5}, "batch: got 1.5, whole numbers"),
        ("rennala_nigt", {"horizon": 0}, "horizon: got 0"),
        ("rennala_pg", {"init_batch": 3}, "init_batch: rennala_pg has none"),
        ("afedpg", {"batch": 2}, "batch: afedpg applies gradients one by one"),
        ("afedpg", {"profile": jn.Profile([1.0])}, "profile: it is for methods with rounds"),
        ("rennala_pg", {"profile": jn.Profile([1.0]), "batch": 2}, "profile: it is for methods with"),
        ("rennala_pg", {"kappa": 1.0}, "kappa: it is paid on the rounds of a profile"),
    ],
)
def test_wrong_requests_are_one_sentence(name, arguments, message):
    with pytest.raises(jn.InputError, match="^" + message):
        prescribe(name, UNIT, **{"epsilon": 0.1, **arguments})


def test_no_certificate_for_stale_gradients_or_long_steps():
    p = prescribe("afedpg", UNIT, 0.5)
    with pytest.raises(jn.InputError, match="whose gradients are stale"):
        certified_gradient_norm("afedpg", UNIT, **p)
    long = {**prescribe("rennala_pg", UNIT, 0.5), "stepsize": 1.1}
    assert np.isinf(certified_gradient_norm("rennala_pg", UNIT, **long))
    with pytest.raises(jn.InputError, match=r"momentum: got 2, numbers in \(0, 1\]"):
        certified_gradient_norm("rennala_nigt", UNIT, **{**p, "momentum": 2.0})
