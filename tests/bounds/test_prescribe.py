import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.bounds import certified_gradient_norm, prescribe
from jaxnigt.bounds.prescribe import KINDS, NIGT
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
        + 2 * c.sigma / (T * eta * p["init_batch"] ** 0.5)
        + 2 * eta**0.5 * c.sigma / p["batch"] ** 0.5
        + 4 * c.L_h * (alpha / eta) ** 2
        + 8 * D_g / eta
        + 4 * D_h * alpha / eta
        + 2 * D_g
    )


def pg_norm(c, p):
    bias = c.D_g * np.sqrt(1 + (1 - c.gamma) * p["horizon"]) * c.gamma ** p["horizon"]
    assert (c.L_g * p["stepsize"] <= 1 + 1e-12).all()
    noise = c.L_g * p["stepsize"] * c.sigma**2 / p["batch"]
    return np.sqrt(2 * c.delta / (p["stepsize"] * p["rounds"]) + noise + bias**2)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_prescribed_parameters_certify_epsilon(name, truncated):
    rng = np.random.default_rng(1)
    c, epsilon = constants(rng, COUNT, truncated), powers(rng, -4, 1, COUNT)
    p = prescribe(name, c, epsilon, **given_batch(name, rng))
    by_hand = (nigt_norm if isinstance(KINDS[name].update, NIGT) else pg_norm)(c, p)
    assert (by_hand <= epsilon * (1 + 1e-12)).all()
    # They ask for no more than they need, within a constant.
    assert np.median(by_hand / epsilon) > 0.3
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
        without = certified_gradient_norm(name, c, **{**p, "horizon": np.full(COUNT, 10**6)})
        shorter = certified_gradient_norm(name, c, **{**p, "horizon": np.maximum(p["horizon"] - 1, 1)})
        if name == "rennala_pg":
            without, shorter, share = without**2, shorter**2, epsilon**2 / 4
        else:
            share = epsilon / 4
        assert (shorter - without > share * (1 - 1e-9))[long].all()
    assert prescribe("rennala_nigt", UNIT, 0.1)["horizon"] == 1


def test_rounds_are_of_the_order_of_the_theorem():
    """T = O(1 + A + B), T M = O(1 + A + B + s + s B), M_init = O(1 + s) over all constants."""
    rng = np.random.default_rng(3)
    c, epsilon = constants(rng, 10_000), powers(rng, -4, 1, 10_000)
    A, B, s = c.L_g * c.delta / epsilon**2, c.L_h**0.5 * c.delta / epsilon**1.5, c.sigma**2 / epsilon**2
    p = prescribe("rennala_nigt", c, epsilon)
    assert (p["rounds"] <= 60 * (1 + A + B)).all()
    assert (p["rounds"] * p["batch"] <= 6000 * (1 + A + B + s + s * B)).all()
    assert (p["init_batch"] <= 257 * (1 + s)).all()
    # Where L_h is this small, M of the order of sqrt(L_h) would need 1/eta > A + B rounds.
    assert (c.L_h * c.delta**2 < epsilon**3).mean() > 0.01


def test_what_is_given_is_kept():
    p = prescribe("rennala_nigt", UNIT, 0.5, batch=7, init_batch=3, horizon=11)
    assert (p["batch"], p["init_batch"], p["horizon"]) == (7, 3, 11)
    assert p["momentum"] == pytest.approx(7 * 0.25 / 64)
    assert certified_gradient_norm("rennala_nigt", UNIT, **p) <= 0.5
    p = prescribe("synchronous_nigt", UNIT, 0.5, batch=10)
    assert p["init_batch"] == 1030  # the first multiple of 10 from 256 / 0.25 = 1024 on
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
    assert p["rounds"] == 3200  # 32 L_g delta / epsilon^2
    assert prescribe("rennala_pg", Constants(1.0, 0.0, 0.0, 1.0), 0.1)["rounds"] == 400


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
