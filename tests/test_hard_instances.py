"""Measured times on the hard instance, at prescribed parameters, between computed bounds."""

import numpy as np
import pytest
from scipy import stats

import jaxnigt as jn
from jaxnigt.bounds.lower import attempts, chain_length
from jaxnigt.bounds.question import ask
from jaxnigt.training.climb import climb, prescribed_case, virtual_seconds

N, KAPPA = 4096, 0.5
# T coordinates in the Hessian branch for these accuracies, to rounding.
LENGTHS = np.array([15, 20, 27, 36])
EPSILONS = (480.0 / (24 * np.sqrt(2.0) * (LENGTHS + 1e-6))) ** (2 / 3)
PROFILES = jn.profiles.power_law(N, [0.0, 0.3, 0.6], 0.0, KAPPA)


def instances():
    return [jn.problems.chain(delta=480.0, L_g=220.0, sigma=46.0, epsilon=e) for e in EPSILONS.tolist()]


def slope(seconds):
    """Exponent a of eps^-a and its standard error, from means over seeds f[E] or f[E, S]."""
    seconds = seconds.reshape(len(EPSILONS), -1)
    x = np.repeat(np.log(1 / EPSILONS), seconds.shape[1])
    fit = stats.linregress(x, np.log(seconds).ravel())
    return fit.slope, fit.stderr


@pytest.mark.parametrize(
    ("name", "chunk"),
    [("rennala_nigt", 4096), ("rennala_pg", 512), ("synchronous_nigt", 16384), ("synchronous_pg", 4096)],
)
def test_measured_times_lie_between_the_level_game_and_the_certified_bound(name, chunk):
    problems = instances()
    assert [int(p.levels[0]) for p in problems] == LENGTHS.tolist()
    pairs = [(PROFILES[p], problem) for p in range(3) for problem in problems]
    cases = [prescribed_case(name, problem, profile=profile) for profile, problem in pairs]
    reached = climb(cases, rounds=8_000_000, seeds=3, key=1, chunk=chunk, check_every=8).to_accuracy
    assert np.isfinite(reached).all()
    measured = np.stack(
        [virtual_seconds(c, r, at) for c, r, (at, _) in zip(cases, reached, pairs, strict=True)]
    ).reshape(3, len(problems), 3)
    games = [
        jn.bounds.level_game(PROFILES, float(p.probability[0]), int(p.levels[0]), draws=100)
        for p in problems
    ]
    lower = np.stack([game.mean(axis=-1) for game in games], axis=1)
    uppers = [
        jn.bounds.upper(name, PROFILES, p.constants, p.epsilon, kappa=KAPPA, form="certified").time
        for p in problems
    ]
    upper = np.stack(uppers, axis=1)
    mean = measured.mean(axis=-1)
    print(f"\n{name}: profile, epsilon, measured [s], measured / lower, upper / measured")
    for p, exponent in enumerate((0.0, 0.3, 0.6)):
        for e, epsilon in enumerate(EPSILONS):
            ratios = mean[p, e] / lower[p, e], upper[p, e] / mean[p, e]
            print(f"  p = {exponent}, {epsilon:.3f}, {mean[p, e]:.3g}, {ratios[0]:.3g}, {ratios[1]:.3g}")
    assert (mean >= lower).all()
    assert (mean <= upper).all()
    for p in range(3):
        (least, _), (found, error), (most, _) = map(slope, (lower[p], measured[p], upper[p]))
        print(f"  exponents: {least:.2f} <= {found:.2f} +- {error:.2f} <= {most:.2f}")
        # Chains as short as these are not in the limit of either bound.
        assert least - 2 * error <= found <= most + 2 * error + 0.05


@pytest.mark.parametrize("name", ["rennala_nigt", "rennala_pg", "synchronous_nigt"])
@pytest.mark.parametrize("model", ["allreduce", "server"])
def test_virtual_seconds_are_those_of_the_clock_round_by_round(name, model):
    case = prescribed_case(name, jn.problems.chain(), 4)
    profile = jn.profiles.power_law(4, [0.0, 1.0], 0.5, 0.3)
    end = case.method.collection.rounds(profile, case.method.sizes(5), comm_model=model).end
    found = virtual_seconds(case, np.array([*range(6), np.inf]), profile, comm_model=model)
    assert not found[:, 0].any()
    np.testing.assert_allclose(found[:, 1:6], end, rtol=1e-12)
    assert np.isinf(found[:, 6]).all()


def test_bounds_and_instances_speak_of_the_same_chains():
    for epsilon, L_h in ((0.7, 2070.0), (0.2, 50.0), (0.3, 1e5)):
        problem = jn.problems.chain(delta=900.0, L_g=120.0, L_h=L_h, sigma=70.0, epsilon=epsilon)
        question = ask(jn.profiles.equal(2), problem.constants, epsilon, 0.0)
        assert chain_length(question, curved=True) == problem.levels
        np.testing.assert_allclose(1 / attempts(question)[..., 0], problem.probability[0])


def test_bad_arguments():
    problem = jn.problems.chain()
    with pytest.raises(
        jn.InputError, match="name: got 'afedpg', allowed are m_synchronous_nigt, rennala_nigt"
    ):
        prescribed_case("afedpg", problem)
    with pytest.raises(jn.InputError, match="batch: synchronous_pg needs"):
        prescribed_case("synchronous_pg", problem)
    case = prescribed_case("rennala_pg", problem)
    with pytest.raises(jn.InputError, match="profile: rounds are alike"):
        virtual_seconds(case, np.ones(1), jn.profiles.equal(2).replace(noise="exponential"))
