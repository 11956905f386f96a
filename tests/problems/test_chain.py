"""Hard instances: their scaling, their noise, and that every method can be trained on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxnigt as jn
from jaxnigt.constants import CHAIN_CURVATURE, CHAIN_DROP, CHAIN_SMOOTHNESS, CHAIN_STEEPEST
from jaxnigt.problems import (
    chain,
    chain_blocks,
    chain_deterministic,
    chain_group,
    chain_nested,
    chain_split,
)
from jaxnigt.problems.chains.draws import binomial_table, draw

NESTED = {"delta": 1.0, "L_g": 1.0, "L_h": 1.0}

INSTANCES = {
    "chain": chain,
    "chain with a threshold": lambda: chain(threshold=0.25),
    "long chain": lambda: chain(delta=3.0, L_g=20.0, L_h=None, sigma=5.0, epsilon=0.01),
    "group": chain_group,
    "two owners": lambda: chain_group(workers=3, owners=(0, 2), sigma=300.0),
    "split": chain_split,
    "blocks": chain_blocks,
    "blocks without Hessian": lambda: chain_blocks(L_h=None),
    "deterministic": chain_deterministic,
    "nested": chain_nested,
}


@pytest.fixture(params=INSTANCES)
def instance(request):
    return INSTANCES[request.param]()


def part_way(problem, key=0, share=0.5):
    """Random params of a run that has climbed a share of each chain."""
    at = 1.0 + 0.3 * jax.random.normal(jax.random.key(key), problem.shape, float)
    climbed = np.arange(problem.shape[1])[None] < np.floor(share * problem.levels)[:, None]
    width = jnp.asarray(problem.function.width, at.dtype)[:, None]
    return {"x": jnp.where(climbed, width * at, 0.0)}


def random_constants(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        epsilon = 10 ** rng.uniform(-3, 1)
        L_g, L_h, room = 10 ** rng.uniform(-2, 3), 10 ** rng.uniform(-2, 3), rng.uniform(1, 200)
        if rng.uniform() < 0.2:
            L_h = None
        b = max(304 * epsilon / L_g, 0.0 if L_h is None else np.sqrt(4140 * epsilon / L_h))
        sigma = 46 * epsilon * 10 ** rng.uniform(-1, 2)
        yield {
            "delta": 24 * epsilon * b * room,
            "L_g": L_g,
            "L_h": L_h,
            "sigma": sigma,
            "epsilon": epsilon,
        }


def test_scaling_keeps_every_constant_and_wastes_none():
    for asked in random_constants(200):
        problem = chain(**asked)
        (height,), (b,) = problem.function.height, problem.function.width
        (slope,), (p,), (T,) = problem.slopes, problem.probability, problem.levels
        np.testing.assert_allclose(slope, 2 * asked["epsilon"])
        smooth, bent = CHAIN_SMOOTHNESS * slope / b / asked["L_g"], CHAIN_CURVATURE * slope / b**2
        ratio = 0.0 if asked["L_h"] is None else bent / asked["L_h"]
        np.testing.assert_allclose(max(smooth, ratio), 1.0)
        assert CHAIN_DROP * height * T <= asked["delta"] < CHAIN_DROP * height * (T + 1)
        variance = (CHAIN_STEEPEST * slope) ** 2 * (1 - p) / p
        assert variance <= asked["sigma"] ** 2 * (1 + 1e-12)
        assert p == min(1.0, (46 * asked["epsilon"] / asked["sigma"]) ** 2)
        constants = problem.constants
        np.testing.assert_allclose(constants.L_h, bent if asked["L_h"] is None else asked["L_h"])
        for name in ("delta", "L_g", "sigma"):
            assert getattr(constants, name) == asked[name]


def test_blocks_share_out_gradient_and_time():
    h = np.array([1.0, 2.0, 5.0, 20.0, 20.0])
    for L_h, power in ((None, 1.0), (3.0, 4 / 3)):
        asked = {"delta": 300.0, "L_g": 20.0, "L_h": L_h, "sigma": 30.0, "epsilon": 0.02}
        problem = chain_blocks(slowness=h, **asked)
        g, b, p = problem.slopes, problem.function.width, problem.probability
        np.testing.assert_allclose(g**2, 4 * 0.02**2 * h**power / (h**power).sum())
        np.testing.assert_allclose(p, (5 * 23 * g / 30.0) ** 2)
        assert (CHAIN_DROP * problem.function.height * problem.levels).sum() <= 300.0
        assert (CHAIN_SMOOTHNESS * g / b <= 20.0 * (1 + 1e-12)).all()
        assert L_h is None or (CHAIN_CURVATURE * g / b**2 <= L_h * (1 + 1e-12)).all()
        # Equal times but for the coordinate that is cut off, and of the promised order.
        time = (problem.levels + 0.5) * h / p
        assert np.ptp(time) / time.mean() < 1.01 / problem.levels.min()
        if L_h is None:
            predicted = h.mean() * 30.0**2 * 20.0 * 300.0 / (5 * 0.02**4) / (12 * 152 * 529 * 16)
        else:
            mean = (h ** (4 / 3)).sum() ** 0.75 * 30.0**2 * np.sqrt(3.0) * 300.0 / (25 * 0.02**3.5)
            predicted = mean / (12 * np.sqrt(2070) * 529 * 2**3.5)
        np.testing.assert_allclose(time.mean(), predicted, rtol=1 / problem.levels.min())


def test_objectives_of_workers_have_j_as_their_mean(instance):
    with jax.enable_x64(True):
        params = part_way(instance, share=1.0)
        workers = instance.workers or 1
        each = jax.jacrev(instance.objectives)(params)["x"]
        assert each.shape == (workers, *instance.shape)
        exact = instance.gradient_exact(params)["x"]
        np.testing.assert_allclose(each.mean(axis=0), exact, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            jax.grad(instance.objective)(params)["x"], exact, rtol=1e-9, atol=1e-12
        )
        evaluation = instance.evaluate(params, jax.random.split(jax.random.key(0), 3))
        np.testing.assert_allclose(evaluation.per_worker.mean(), instance.objective(params), rtol=1e-12)


def test_the_gradient_is_above_epsilon_until_all_is_climbed(instance):
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        for trial in range(40):
            params = part_way(instance, key=trial, share=rng.uniform(0, 0.999))
            missing = np.asarray(instance.progress(params)) < instance.levels
            assert missing.all()
            norm = jnp.linalg.norm(instance.gradient_exact(params)["x"])
            assert norm > instance.epsilon
    assert instance.constants.delta > 0


def test_blocks_that_are_finished_do_not_help():
    problem = chain_blocks()
    with jax.enable_x64(True):
        params = part_way(problem, share=1.0)
        far = 30.0 * jnp.asarray(problem.function.width)[:, None]
        climbed = jnp.broadcast_to(far, problem.shape)
        shares = problem.slopes**2 / (problem.slopes**2).sum()
        for done in range(4):
            rest = np.arange(4) > done - 1
            x = {"x": jnp.where(rest[:, None], params["x"].at[:, 8:].set(0.0), climbed)}
            norm = float(jnp.linalg.norm(problem.gradient_exact(x)["x"]))
            assert norm > 2 * problem.epsilon * np.sqrt(shares[rest].sum())


def test_split_makes_every_coordinate_a_message():
    problem = chain_split(workers=3, owners=(0, 2))
    with jax.enable_x64(True):
        for climbed in range(problem.levels[0]):
            x = jnp.where(jnp.arange(problem.shape[1])[None] < climbed, 1.0, 0.0)
            each = jax.jacrev(problem.objectives)({"x": x})["x"][:, 0]
            found = np.nonzero(np.asarray(each[:, climbed]))[0]
            np.testing.assert_array_equal(found, [0 if climbed % 2 == 0 else 2])


SAMPLES = 20_000


def draws_of(problem, params, worker, samples=SAMPLES):
    def one(key):
        return problem.gradient(params, key[None], jnp.full(1, worker), jnp.ones(1))["x"]

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), samples)))


@pytest.mark.parametrize("name", ["chain", "chain with a threshold", "two owners", "blocks"])
def test_the_oracle_is_unbiased_and_as_noisy_as_it_should_be(name):
    problem = INSTANCES[name]()
    with jax.enable_x64(True):
        params = part_way(problem)
        if name == "chain with a threshold":
            # Undiscovered, but no longer 0.
            params["x"] = params["x"].at[0, problem.levels[0] // 2].set(0.2)
        exact = np.asarray(jax.jacrev(problem.objectives)(params)["x"])
        frontier = np.asarray(problem.progress(params))
        for worker, p in enumerate(problem.probability):
            found = draws_of(problem, params, worker)
            noisy = np.abs(found - exact[worker]).max(axis=0) > 1e-9
            at = exact[worker, np.arange(len(frontier)), frontier]
            # One coordinate of each chain is noisy, unless the worker has none of it.
            np.testing.assert_array_equal(noisy.sum(axis=1), (at != 0) & (p < 1))
            error = found.std(axis=0) / np.sqrt(SAMPLES)
            assert (np.abs(found.mean(axis=0) - exact[worker]) <= 5 * error + 1e-9).all()
            squared = ((found - exact[worker]) ** 2).sum(axis=(1, 2))
            predicted = (at**2).sum() * (1 - p) / p
            slack = 5 * squared.std() / np.sqrt(SAMPLES)
            assert abs(squared.mean() - predicted) <= slack + 1e-9
            assert predicted <= problem.constants.sigma**2
        owner = int(np.argmin(problem.probability))
        print(
            f"{name}: variance {(at**2).sum() * (1 - p) / p:.1f}, bound {problem.constants.sigma**2:.1f}"
        )
        assert problem.probability[owner] < 1


def test_the_noisy_entry_is_at_most_far_below_the_largest_of_all():
    """It is Psi(x_{k-1}) Phi'(x_k) <= e^(3/2), as Psi' is 0 where x_k is undiscovered."""
    with jax.enable_x64(True):
        for problem in (chain(), chain(threshold=0.49)):
            x = jnp.zeros(problem.shape).at[0, 0].set(1e6)
            found = draws_of(problem, {"x": x}, 0, 200)[:, 0, 1]
            np.testing.assert_allclose(np.unique(found), [0.0, 4 * np.exp(1.5)], rtol=1e-9)
            away = jax.random.uniform(jax.random.key(0), (2000, *problem.shape), minval=-3.0, maxval=3.0)
            last = jnp.arange(problem.shape[1])[None, None] < 4
            near = problem.function.threshold * jnp.sign(away)
            points = jnp.where(last, away, near)
            slopes = jax.vmap(problem.gradient_exact)({"x": points})["x"]
            entries = slopes[:, 0, 4]
            assert jnp.abs(entries).max() <= np.exp(1.5)


@pytest.mark.parametrize(
    ("count", "p"),
    [(1, 0.3), (7, 0.02), (40, 0.5), (900, 0.001), (30_000, 0.3), (10**8, 0.006), (5, 1.0)],
)
def test_tables_are_those_of_the_binomial_distribution(count, p):
    table = binomial_table(count, p)
    k = int(table.first) + np.arange(len(table.below))
    cdf = stats.binom.cdf(k, count, p) if p < 1 else (k >= count).astype(float)
    np.testing.assert_allclose(table.below / 2.0**32, cdf, atol=2.0**-32)
    bits = jax.random.bits(jax.random.key(1), (200_000,), jnp.uint32)
    found = np.asarray(draw(table, bits))
    assert found.min() >= 0
    assert found.max() <= count
    error = np.sqrt(count * p * (1 - p) / len(found))
    assert abs(found.mean() - count * p) <= 5 * error
    if p < 1:
        assert abs(found.var() / (count * p * (1 - p)) - 1) < 0.05
    # The ends of the range of bits are the ends of the table.
    ends = np.asarray(draw(table, jnp.asarray([0, 2**32 - 1], jnp.uint32)))
    assert ends[0] == max(table.first, 0) if p < 1 else ends[0] == count
    assert ends[1] <= count


@pytest.mark.parametrize(("name", "batch"), [("chain", 6), ("two owners", (3, 5, 9)), ("blocks", 12)])
def test_one_draw_is_the_mean_of_a_batch_of_draws(name, batch):
    problem = INSTANCES[name]()
    workers = problem.workers or 1
    counts = np.broadcast_to(batch, workers)
    slots = np.repeat(np.arange(workers), counts)
    weights = (1 / (workers * counts))[slots]
    samples = 4000
    with jax.enable_x64(True):
        params = part_way(problem)

        def separate(key):
            keys = jax.random.split(key, len(slots))
            return problem.gradient(params, keys, jnp.asarray(slots), jnp.asarray(weights))["x"]

        def at_once(key):
            return problem.aggregate(params, key, batch)["x"]

        keys = jax.random.split(jax.random.key(2), 2 * samples)
        one = np.asarray(jax.jit(jax.vmap(separate))(keys[:samples]))
        other = np.asarray(jax.jit(jax.vmap(at_once))(keys[samples:]))
        exact = np.asarray(problem.gradient_exact(params)["x"])
    for found in (one, other):
        error = found.std(axis=0) / np.sqrt(samples)
        assert (np.abs(found.mean(axis=0) - exact) <= 5 * error + 1e-9).all()
    noisy = one.std(axis=0) > 1e-9
    np.testing.assert_array_equal(noisy, other.std(axis=0) > 1e-9)
    assert noisy.sum() == len(problem.levels)
    # Kolmogorov and Smirnov's test of each noisy entry; they take few values, which makes it cautious.
    for a, b in zip(one[:, noisy].T, other[:, noisy].T, strict=True):
        spread = np.sqrt(a.var() / samples + b.var() / samples)
        assert abs(a.mean() - b.mean()) < 5 * spread
        assert stats.ks_2samp(np.round(a, 9), np.round(b, 9), method="asymp").pvalue > 1e-3
        assert abs(a.var() / b.var() - 1) < 0.25


REFUSED = [
    ("epsilon: got 5.0, which no coordinate is left for", lambda: chain(epsilon=5.0)),
    ("epsilon: got -1.0, finite numbers above 0", lambda: chain(epsilon=-1.0)),
    ("L_g: got 0, finite", lambda: chain(L_g=0)),
    ("L_h: got 0.0, numbers above 0", lambda: chain(L_h=0.0)),
    ("sigma: got -1, finite", lambda: chain(sigma=-1.0)),
    ("threshold: got 0.5", lambda: chain(threshold=0.5)),
    (r"owners: got \(0, 0\)", lambda: chain_split(owners=(0, 0))),
    (r"owners: got \[4\]", lambda: chain_group(owners=[4])),
    (r"slowness: got \(1.0,\)", lambda: chain_blocks(slowness=(1.0,))),
    ("epsilon: got 10.0, which no chain is hard for", lambda: chain_deterministic(epsilon=10.0)),
    ("epsilon: got 10.0, which no chain is hard for", lambda: chain_nested(epsilon=10.0)),
    ("epsilon: it asks for 7,124,628 numbers at once", lambda: chain_nested(**NESTED, epsilon=1e-6)),
    ("batch: got 0, a whole number", lambda: chain().tables(0)),
]


@pytest.mark.parametrize(("words", "make"), REFUSED)
def test_what_cannot_be_built_is_said(words, make):
    with pytest.raises(jn.InputError, match=words):
        make()


def test_instances_print_in_a_line():
    assert repr(chain()) == "Chain(ZeroChain, shape=(1, 10), workers=None, epsilon=0.5)"
