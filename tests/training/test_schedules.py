"""Training along schedules: Malenia against exact gradients, wavefronts against one at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt.profiles import noise as noises
from jaxnigt.training import arrivals as wavefronts
from jaxnigt.training.packing import slots_of_counts


def test_slots_by_hand():
    counts = np.array([[[2, 0, 1], [1, 1, 0]]])
    weights = np.array([[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]])
    workers, weight = slots_of_counts(counts, weights, 4)
    np.testing.assert_array_equal(workers, [[[0, 0, 2, 0], [0, 1, 0, 0]]])
    np.testing.assert_allclose(weight, [[[0.1, 0.1, 0.3, 0.0], [0.4, 0.5, 0.0, 0.0]]])


@pytest.fixture(scope="module")
def unequal():
    """Four workers with problems of their own, the slowest taking ten times as long."""
    return jn.problems.tabular(workers=4, seed=5), jn.Profile(np.geomspace(1.0, 10.0, 4))


def aggregates(problem, collection, profile, count, batch):
    """Aggregates of many rounds at one point, flattened, and the rounds' counts."""
    rounds = collection.rounds(profile, np.full(1, batch))
    counts = rounds.counts[0]
    workers, weights = slots_of_counts(
        counts[None, None], collection.weights(counts)[None, None], int(counts.sum())
    )
    with jax.enable_x64(True):
        params = problem.init(jax.random.key(3))

        def one(key):
            keys = jax.random.split(key, workers.shape[-1])
            slots = jnp.asarray(workers[0, 0]), jnp.asarray(weights[0, 0])
            return problem.gradient(params, keys, *slots)["logits"].ravel()

        found = jax.lax.map(one, jax.random.split(jax.random.key(0), count), batch_size=256)
        return params, np.asarray(found), counts


def test_malenia_is_unbiased_where_rennala_is_not(unequal):
    problem, profile = unequal
    count, batch = 4000, 24
    params, malenia, counts = aggregates(
        problem,
        jn.methods.Collection(jn.clock.Malenia(batch), jn.methods.worker_mean),
        profile,
        count,
        batch,
    )
    with jax.enable_x64(True):
        exact = np.asarray(problem.gradient_exact(params)["logits"]).ravel()
        each = np.stack(
            [
                np.asarray(jax.grad(lambda p, i=i: problem.objectives(p)[i])(params)["logits"]).ravel()
                for i in range(4)
            ]
        )
        # sigma^2 of one gradient of each worker, at this point.
        keys = jax.random.split(jax.random.key(1), 4000)
        samples = [
            np.asarray(
                jax.vmap(
                    lambda key, i=i: problem.gradient(params, key[None], jnp.full(1, i), jnp.ones(1))[
                        "logits"
                    ].ravel()
                )(keys)
            )
            for i in range(4)
        ]
    np.testing.assert_allclose(each.mean(axis=0), exact, atol=1e-12)
    variances = np.array([((s - g) ** 2).sum(axis=1).mean() for s, g in zip(samples, each, strict=True)])

    error = malenia.std(axis=0) / np.sqrt(count)
    assert (np.abs(malenia.mean(axis=0) - exact) < 5 * error).all()
    variance = ((malenia - exact) ** 2).sum(axis=1)
    slack = 5 * variance.std() / np.sqrt(count)
    # The weights say it exactly; the stopping rule keeps it below sigma^2 / M.
    assert abs(variance.mean() - (variances / counts).sum() / 16) < slack + 0.05 * variance.mean()
    assert variance.mean() <= variances.max() / batch + slack

    _, rennala, counts = aggregates(
        problem, jn.methods.Collection(jn.clock.Rennala(batch)), profile, count, batch
    )
    predicted = (counts[:, None] / counts.sum() * each).sum(axis=0)
    bias = predicted - exact
    along = rennala @ bias / np.linalg.norm(bias)
    error = along.std() / np.sqrt(count)
    distance = (along.mean() - exact @ bias / np.linalg.norm(bias)) / error
    print(f"Rennala's mean is {distance:.0f} standard errors from the gradient")
    assert distance > 10
    assert abs(along.mean() - predicted @ bias / np.linalg.norm(bias)) < 5 * error


def opposed(seed):
    """Random problems with the same moves, in which the quick worker loses what the others win."""
    mdp = jn.problems.garnet(states=5, actions=4, seed=seed)
    moves, reward, start = (np.repeat(table, 4, axis=0) for table in mdp)
    signs = np.array([-1.0, 1.0, 1.0, 1.0])[:, None, None]
    return jn.problems.tabular(jn.problems.MDP(moves, signs * reward, start))


CONFLICTS = {
    "corners": lambda: jn.problems.tabular(
        jn.problems.gridworld(3, goals=((2, 0), (0, 2), (0, 2), (0, 2))), horizon=12
    ),
    "bandit": lambda: jn.problems.tabular(
        jn.problems.MDP(
            np.ones((4, 1, 3, 1)),
            np.array([[1.0, 0.6, 0.0], [0.0, 0.6, 1.0], [0.0, 0.6, 1.0], [0.0, 0.6, 0.9]])[:, None],
            np.ones((4, 1)),
        ),
        horizon=5,
    ),
    "opposed": lambda: opposed(0),
    "otherwise opposed": lambda: opposed(1),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_malenia_nigt_ends_highest_where_optima_conflict(name):
    """Speeds 1 : 10 : 10 : 10, the best stepsize of each method, the same virtual time for all."""
    problem, profile = CONFLICTS[name](), jn.Profile([1.0, 10.0, 10.0, 10.0])
    stepsizes = np.array([0.02, 0.05, 0.1, 0.2])
    methods = [
        (jn.methods.malenia_nigt(16, stepsize=stepsizes), 200),
        (jn.methods.rennala_nigt(16, stepsize=stepsizes), 800),
        (jn.methods.afedpg(stepsize=stepsizes / 4), 8000),
    ]
    ends = {}
    traces = [
        jn.train(problem, method, iterations=k, seeds=4, profile=profile, eval_every=k // 20, key=1)
        for method, k in methods
    ]
    until = min(trace.times[-1] for trace in traces)
    for trace in traces:
        seen = jn.eval_times(trace.times, trace.eval_rounds) <= until
        tail = trace.objective[..., seen][..., -5:]
        ends[trace.method.name] = tail.mean(axis=(-1, -2)).max()
    margins = {k: ends["malenia_nigt"] - v for k, v in ends.items() if k != "malenia_nigt"}
    print(f"{name}: J after {until:.0f} s {ends}, margins {margins}")
    assert all(margin > 0.01 for margin in margins.values())


def test_windows_by_hand():
    # Workers 0, 1, 0, 0, 1: updates 0 and 1 start at version 0, 2 after 0, 3 after 2, 4 after 1.
    staleness = np.array([0, 1, 1, 0, 2])
    blocked = wavefronts.next_blocked(staleness)
    np.testing.assert_array_equal(blocked, [2, 3, 3, 5, 5])
    assert wavefronts.wavefronts(blocked, 0, 5, 9) == [(0, 2), (2, 1), (3, 2)]
    assert wavefronts.wavefronts(blocked, 0, 5, 1) == [(k, 1) for k in range(5)]
    table = wavefronts.table([[(0, 2), (2, 1)]], 3, 2)
    np.testing.assert_array_equal(table, [[[0, 1], [2, -1], [-1, -1]]])


@pytest.mark.parametrize("seed", range(5))
def test_wavefronts_cover_every_update_once_and_never_wait_for_themselves(seed):
    profile = jn.profiles.lognormal(7, 0.8, seed=seed).replace(noise="exponential")
    staleness = jn.clock.asynchronous(profile, 400, key=seed).staleness
    for runs, platform in ((1, "cpu"), (1, "gpu"), (1000, "cpu")):
        lanes, chunks = wavefronts.plan(staleness[None], 60, runs, platform, None)
        windows = [window for chunk in chunks for window in chunk[0]]
        assert max(size for _, size in windows) == lanes
        covered = np.concatenate([np.arange(first, first + size) for first, size in windows])
        np.testing.assert_array_equal(covered, np.arange(400))
        for first, size in windows:
            versions = np.arange(first, first + size) - staleness[first : first + size]
            assert (versions <= first).all()
            assert first // 60 == (first + size - 1) // 60
        assert (lanes == 1) == (runs == 1000)


PACES = {
    "equal": jn.profiles.equal(6),
    "square roots": jn.profiles.power_law(6, 0.5),
    "stragglers": jn.profiles.stragglers(6, 2, 8.0),
    "random": jn.profiles.power_law(6, 0.5).replace(noise=noises.exponential()),
}


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize(
    "options", [{}, {"schedule": "decreasing", "momentum": 0.9}, {"lookahead": False}]
)
def test_wavefronts_are_one_gradient_at_a_time(pace, options):
    problem = jn.problems.tabular()
    with jax.enable_x64(True):
        traces = [
            jn.train(
                problem,
                jn.methods.afedpg(stepsize=0.05, lanes=lanes, **options),
                iterations=200,
                seeds=2,
                key=jax.random.key(2),
                profile=PACES[pace],
                eval_every=40,
            )
            for lanes in (1, 6)
        ]
    one, batch = (trace.params["logits"] for trace in traces)
    assert one.dtype == np.float64
    np.testing.assert_allclose(batch, one, rtol=1e-8)
    np.testing.assert_allclose(traces[0].objective, traces[1].objective, rtol=1e-8)


def test_afedpg_follows_its_algorithm_step_by_step():
    """The server and its workers written out, one gradient at a time."""
    problem, profile = jn.problems.tabular(), jn.profiles.power_law(3, 0.8)
    eta, alpha, updates = 0.3, 0.05, 30
    method = jn.methods.afedpg(momentum=eta, stepsize=alpha)
    trace = jn.train(problem, method, iterations=updates, key=7, profile=profile, eval_every=10)
    arrivals = jn.clock.asynchronous(profile, updates)
    np.testing.assert_array_equal(trace.times, arrivals.time)
    init_key, train_key, _ = jax.random.split(jax.random.fold_in(jax.random.key(7), 0), 3)
    theta = before = problem.init(init_key)["logits"]
    points, d = [theta] * 3, None
    gradient = jax.jit(problem.gradient)
    for k, i in enumerate(arrivals.worker):
        key = jax.random.fold_in(jax.random.fold_in(train_key, k), 0)
        g = gradient({"logits": points[i]}, key[None], jnp.zeros(1, int), jnp.ones(1))["logits"]
        np.testing.assert_allclose(jnp.linalg.norm(g), trace.gradient_norm[0, k], rtol=1e-3)
        d = g if d is None else (1 - eta) * d + eta * g
        theta, before = theta + alpha * d / jnp.linalg.norm(d), theta
        points[i] = theta + (1 - eta) / eta * (theta - before)
    np.testing.assert_allclose(trace.params["logits"][0], theta, atol=1e-4)


def test_all_schedules_at_once_are_the_schedules_one_by_one():
    problem = jn.problems.tabular(workers=4)
    profile = jn.profiles.power_law(4, np.array([[0.0, 1.0], [0.5, 2.0]]))
    options = {"iterations": 30, "seeds": 2, "key": 4, "eval_every": 10}
    for make in (
        jn.methods.malenia_nigt,
        jn.methods.rennala_nigt,
        lambda b, **a: jn.methods.afedpg(**a),
    ):
        method = make(8, stepsize=np.array([0.02, 0.1]))
        together = jn.train(problem, method, profile=profile, **options)
        assert together.objective.shape == (2, 2, 2, 2, 3)
        assert together.worker_objective.shape == (2, 2, 2, 2, 3, 4)
        assert together.samples.shape == together.times.shape == (2, 2, 30)
        for index in np.ndindex(2, 2):
            alone = jn.train(problem, method, profile=profile[index], **options)
            np.testing.assert_allclose(together.objective[index], alone.objective, rtol=1e-4)
            np.testing.assert_array_equal(together.times[index], alone.times)
            np.testing.assert_array_equal(together.samples[index], alone.samples)


def test_random_times_change_the_counts_and_none_is_cut():
    problem = jn.problems.tabular(workers=3)
    profile = jn.profiles.power_law(3, 1.0).replace(noise="exponential")
    method = jn.methods.malenia_nigt(9, init_batch=30)
    trace = jn.train(problem, method, iterations=40, key=2, profile=profile, eval_every=10)
    assert len(np.unique(trace.samples)) > 3
    rounds = method.collection.rounds(
        profile, method.sizes(40), key=jax.random.fold_in(jax.random.key(2), 2**32 - 1)
    )
    np.testing.assert_array_equal(trace.samples, rounds.counts.sum(axis=-1))
    np.testing.assert_array_equal(trace.times, rounds.end)


REFUSED = [
    ("profile: malenia_nigt trains along a schedule", lambda: {"method": jn.methods.malenia_nigt()}),
    ("profile: afedpg trains along a schedule", lambda: {"method": jn.methods.afedpg()}),
    (
        "profile: rennala_nigt trains along a schedule",
        lambda: {"method": jn.methods.rennala_nigt(), "workers": 3},
    ),
    (
        "profile: got n = 2 workers, the problem has 3",
        lambda: {"method": jn.methods.malenia_nigt(), "workers": 3, "profile": jn.profiles.equal(2)},
    ),
    (
        "batch: got 2 workers, the problem has 3",
        lambda: {"method": jn.methods.synchronous_nigt(2), "workers": 3},
    ),
    (
        "profile: nothing arrives any more from round or update 0",
        lambda: {"method": jn.methods.malenia_nigt(), "profile": jn.Profile([1.0, np.inf])},
    ),
    (
        r"profile 0 on \(compute = inf for workers \[1\]\), training needs workers that go on",
        lambda: {"method": jn.methods.malenia_nigt(), "profile": jn.Profile([1.0, np.inf])},
    ),
]


@pytest.mark.parametrize(("words", "case"), REFUSED)
def test_what_cannot_be_trained_is_said(words, case):
    case = case()
    problem = jn.problems.tabular(workers=case.get("workers", 1))
    with pytest.raises(jn.InputError, match=words):
        jn.train(problem, case["method"], iterations=10, profile=case.get("profile"), eval_every=5)
