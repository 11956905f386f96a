"""The fast runner against NIGT and PG written out with separate draws, in NumPy."""

import jax
import numpy as np
import pytest
from scipy import stats

import jaxnigt as jn
from jaxnigt.bounds.level_game import level_game
from jaxnigt.problems import chain, chain_blocks, chain_deterministic, chain_group, chain_nested
from jaxnigt.training.climb import Case, climb


def psi(x):
    with np.errstate(divide="ignore"):
        return np.where(x > 0.5, np.exp(1 - 1 / (2 * x - 1) ** 2), 0.0)


def psi_slope(x):
    return np.where(x > 0.51, psi(x) * 4 / np.where(x > 0.51, 2 * x - 1, 1.0) ** 3, 0.0)


def phi(x):
    return np.sqrt(2 * np.pi * np.e) * stats.norm.cdf(x)


def slope_of_f(x):
    """The gradient of F_T term by term, x [S, T]."""
    before = np.concatenate([np.ones_like(x[:, :1]), x[:, :-1]], axis=1)
    bell = np.exp((1 - x**2) / 2)
    gradient = -psi(-before) * bell - psi(before) * bell
    later = -psi_slope(-before) * phi(-x) - psi_slope(before) * phi(x)
    gradient[:, :-1] += later[:, 1:]
    return gradient


def progress(x, threshold):
    return np.where(np.abs(x) > threshold, np.arange(1, x.shape[1] + 1), 0).max(axis=1)


def written_out(problem, batch, rounds, seeds, rng, *, stepsize, momentum=None, init_batch=None):
    """Rounds to accuracy and to all levels, and norms [S, K]; momentum None is PG."""
    (b,), (g,), (p,), (T,) = problem.function.width, problem.slopes, problem.probability, problem.levels
    x = np.zeros((seeds, T))
    moved, direction = np.zeros_like(x), np.zeros_like(x)
    norms, climbed = [], []
    for t in range(rounds):
        norms.append(np.linalg.norm(g * slope_of_f(x / b), axis=1))
        climbed.append(progress(x, problem.function.threshold * b) >= T)
        ahead = x if momentum is None else x + (1 - momentum) / momentum * moved
        size = init_batch if t == 0 and init_batch else batch
        xi = rng.uniform(size=(seeds, size)) < p
        beyond = np.arange(T) >= progress(ahead, problem.function.threshold * b)[:, None]
        slope = -g * slope_of_f(ahead / b) * np.where(beyond, xi.mean(axis=1)[:, None] / p, 1.0)
        if momentum is None:
            x = x + stepsize * slope
            continue
        direction = slope if t == 0 else (1 - momentum) * direction + momentum * slope
        length = np.linalg.norm(direction, axis=1, keepdims=True)
        moved = stepsize * direction / np.where(length > 0, length, 1.0)
        x = x + moved
    norms, climbed = np.stack(norms, axis=1), np.stack(climbed, axis=1)
    return first(norms <= problem.epsilon), first(climbed), norms


def first(reached):
    return np.where(reached.any(axis=1), reached.argmax(axis=1), np.inf)


NIGT = {"stepsize": 0.06, "momentum": 0.3}
METHODS = {
    "nigt": (lambda batch: jn.methods.rennala_nigt(batch, init_batch=2 * batch, **NIGT), NIGT),
    "pg": (lambda batch: jn.methods.rennala_pg(batch, stepsize=0.02), {"stepsize": 0.02}),
}


@pytest.mark.parametrize("name", METHODS)
def test_without_noise_it_is_the_method_written_out(name):
    make, numbers = METHODS[name]
    problems = [chain(sigma=0.0, epsilon=epsilon, threshold=0.1) for epsilon in (0.5, 0.3)]
    rounds = 448
    found = climb([Case(p, make(1)) for p in problems], rounds=rounds, chunk=64, stop=False, seeds=2)
    for e, problem in enumerate(problems):
        accuracy, levels, norms = written_out(problem, 1, rounds, 1, np.random.default_rng(0), **numbers)
        assert np.isfinite(levels).all()
        np.testing.assert_array_equal(found.to_accuracy[e], np.repeat(accuracy, 2))
        np.testing.assert_array_equal(found.to_levels[e], np.repeat(levels, 2))
        np.testing.assert_allclose(found.norm[e, 0], norms.reshape(-1, 64).mean(axis=1), rtol=1e-8)
    np.testing.assert_array_equal(found.rounds, np.arange(1, 8) * 64)


@pytest.mark.parametrize("threshold", [0.0, 0.25])
@pytest.mark.parametrize("name", METHODS)
def test_with_noise_it_does_as_separate_draws_do(name, threshold):
    make, numbers = METHODS[name]
    problem = chain(sigma=46.0 * 6, threshold=threshold)
    batch, seeds, rounds = 3, 300, 1024
    extra = {"init_batch": 6} if name == "nigt" else {}
    rng = np.random.default_rng(1)
    accuracy, levels, norms = written_out(problem, batch, rounds, seeds, rng, **numbers, **extra)
    found = climb([Case(problem, make(batch))], rounds=rounds, chunk=256, stop=False, seeds=seeds, key=2)
    assert np.isfinite(found.to_accuracy).mean() > 0.9
    for one, other in ((accuracy, found.to_accuracy[0]), (levels, found.to_levels[0])):
        one, other = np.minimum(one, rounds), np.minimum(other, rounds)
        error = np.sqrt((one.var() + other.var()) / seeds)
        print(f"{name}: {one.mean():.1f} and {other.mean():.1f}, standard error {error:.1f}")
        assert abs(one.mean() - other.mean()) < 4 * error
        assert stats.ks_2samp(one, other, method="asymp").pvalue > 1e-3
    one, other = norms.reshape(seeds, -1, 256).mean(axis=-1), found.norm[0]
    error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / seeds)
    assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4 * error).all()


def test_cases_of_other_lengths_run_together_as_they_do_alone():
    cases = [
        Case(chain(epsilon=0.5), METHODS["nigt"][0](4)),
        Case(chain(epsilon=0.25, sigma=30.0), jn.methods.synchronous_nigt(7, stepsize=0.03)),
    ]
    together = climb(cases, rounds=600, chunk=100, seeds=3, stop=False)
    alone = climb(cases[:1], rounds=600, chunk=100, seeds=5, stop=False)
    np.testing.assert_array_equal(alone.to_levels[0, :3], together.to_levels[0])
    np.testing.assert_allclose(alone.norm[0, :3], together.norm[0], rtol=1e-6)
    assert together.norm.shape == (2, 3, 6)
    # Seeds differ, and so does another key.
    assert len(np.unique(alone.norm[0, :, 1])) == 5
    other = climb(cases[:1], rounds=100, chunk=100, seeds=5, stop=False, key=1)
    assert not np.array_equal(other.norm[..., 0], alone.norm[..., 0])


def test_looking_seldom_and_stopping_early():
    case = Case(chain(), METHODS["nigt"][0](8))
    exact = climb([case], rounds=1024, chunk=256, seeds=4)
    seldom = climb([case], rounds=1024, chunk=256, seeds=4, check_every=16)
    # A discovered coordinate stays so: it is seen at the next look.
    np.testing.assert_array_equal(seldom.to_levels, np.ceil(exact.to_levels / 16) * 16)
    assert (seldom.to_accuracy >= exact.to_accuracy).all()
    assert (exact.to_accuracy >= exact.to_levels).all()
    assert exact.rounds[-1] == 256 * np.ceil((exact.to_accuracy.max() + 1) / 256) < 1024


def test_workers_of_their_own_as_in_training():
    """Without momentum the aggregate is at theta_t itself, and its norm is in the trace."""
    problem = chain_group(owners=(1, 3), sigma=0.0)
    profile = jn.profiles.power_law(4, 1.0)
    method = jn.methods.malenia_nigt(12, momentum=1.0, stepsize=0.05)
    trace = jn.train(problem, method, iterations=60, profile=profile, eval_every=30)
    case = Case(problem, method, counts=(12, 6, 4, 3))
    found = climb([case], rounds=60, chunk=1, stop=False)
    np.testing.assert_allclose(found.norm[0, 0], trace.gradient_norm[0], rtol=2e-4)
    synchronous = Case(chain_blocks(), jn.methods.synchronous_nigt(4, init_batch=8, **NIGT))
    assert synchronous.sizes() == ([2, 2, 2, 2], [1, 1, 1, 1])
    noisy = climb([synchronous], rounds=8192, chunk=1024, seeds=8, check_every=4)
    assert np.isfinite(noisy.to_levels).all()


def test_the_deterministic_chain_takes_a_round_a_coordinate_at_least():
    problem = chain_deterministic(delta=40.0)
    method = jn.methods.synchronous_nigt(1, momentum=1.0, stepsize=0.3)
    found = climb([Case(problem, method)], rounds=4096, chunk=1024)
    assert problem.levels[0] <= found.to_levels[0, 0] < np.inf
    assert found.to_levels[0, 0] < found.to_accuracy[0, 0]


NESTED = {
    "rennala_nigt": lambda a: jn.methods.rennala_nigt(1, momentum=0.3, stepsize=a),
    "synchronous_nigt": lambda a: jn.methods.synchronous_nigt(2, momentum=1.0, stepsize=a),
    "m_synchronous_nigt": lambda a: jn.methods.m_synchronous_nigt(1, momentum=0.1, stepsize=a),
    "rennala_pg": lambda a: jn.methods.rennala_pg(1, stepsize=a),
    "rennala_double_optimism": lambda a: jn.methods.rennala_double_optimism(1, stepsize=a, rate=0.05),
}


@pytest.mark.parametrize("name", NESTED)
def test_no_method_is_faster_on_the_nested_chain_than_its_certified_bound(name):
    problem = chain_nested(delta=0.9)
    bound = jn.bounds.lower(
        "rennala_nigt", jn.Profile([1.0]), problem.constants, problem.epsilon, form="certified"
    )
    assert bound.time >= problem.levels[0]
    for stepsize in (0.01, 0.05, 0.2):
        case = Case(problem, NESTED[name](stepsize))
        found = climb([case], rounds=8192, chunk=1024, check_every=1)
        assert problem.levels[0] <= found.to_accuracy[0, 0]
        assert bound.time <= found.to_accuracy[0, 0]


def test_no_method_beats_the_level_game():
    """One worker, so that a round takes its batch; rounds of one gradient come nearest."""
    problem = chain(sigma=46.0 * 8)
    p, T = problem.probability[0], int(problem.levels[0])
    seeds = 400
    game = level_game(jn.Profile([1.0]), p, T, draws=seeds)
    np.testing.assert_allclose(game.mean(), T / p, rtol=5 * game.std() / np.sqrt(seeds) / game.mean())
    ratios = []
    for batch in (1, 4, 64):
        method = jn.methods.rennala_nigt(batch, momentum=0.5, stepsize=0.5)
        found = climb([Case(problem, method)], rounds=8192, chunk=1024, seeds=seeds, check_every=1)
        seconds = found.to_levels[0] * batch
        ratios.append(seconds.mean() * p / T)
        assert seconds.mean() > T / p - 4 * seconds.std() / np.sqrt(seeds)
    print(f"measured / level game: {ratios}")
    assert ratios[0] < 1.3


REFUSED = [
    (
        "check_every: got 3, divisors of chunk = 8",
        lambda: climb([CASE], rounds=8, chunk=8, check_every=3),
    ),
    ("rounds: got 0", lambda: climb([CASE], rounds=0)),
    ("cases: at least one", lambda: climb([], rounds=8)),
    (
        "one update rule for all",
        lambda: climb([CASE, Case(chain(), jn.methods.rennala_pg())], rounds=8),
    ),
    (
        "cases: hyperparameters must be single numbers",
        lambda: climb([Case(chain(), jn.methods.rennala_nigt(stepsize=[0.1, 0.2]))], rounds=8),
    ),
    (
        "cases: instances must be of one kind",
        lambda: climb([CASE, Case(chain_deterministic(), jn.methods.rennala_nigt())], rounds=8),
    ),
    (
        "counts: malenia_nigt needs the gradients of each of the 4 workers",
        lambda: climb([Case(chain_blocks(), jn.methods.malenia_nigt())], rounds=8),
    ),
]
CASE = Case(chain(), jn.methods.rennala_nigt())


@pytest.mark.parametrize(("words", "run"), REFUSED)
def test_what_cannot_be_run_is_said(words, run):
    with pytest.raises(jn.InputError, match=words):
        run()


def test_precision_is_local():
    assert climb([CASE], rounds=8, chunk=8).norm.dtype == np.float64
    assert jax.numpy.ones(1).dtype == np.float32
