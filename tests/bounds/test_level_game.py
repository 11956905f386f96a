"""The level game against its closed order, its exact mean, and a twin that plays it with a heap."""

import heapq

import jax
import numpy as np
import pytest
from scipy import stats

import jaxnigt as jn
from jaxnigt.bounds.level_game import block_game, level_game, level_game_order

N = 8
SPEEDS = {
    "equal": np.ones(N),
    "square roots": np.arange(1, N + 1) ** 0.5,
    "squares": np.arange(1, N + 1) ** 2.0,
    "two kinds": np.where(np.arange(N) < 3, 1.0, 10.0),
    "one lives": np.where(np.arange(N) == 2, 2.0, np.inf),
}
ALL = jn.Profile(np.stack(list(SPEEDS.values())))


def exact_mean(h, p, gradients=200_000):
    """E min_i h_i eta_i = sum_k (t_{k+1} - t_k) (1 - p)^k over all completions in order."""
    live = h[np.isfinite(h)]
    each = int(gradients / len(live)) + 1
    times = np.sort(np.concatenate([hi * np.arange(1, each) for hi in live]))
    times = times[times <= live.max() * 0 + (live * (each - 1)).min()]
    gaps = np.diff(np.concatenate([[0.0], times]))
    return (gaps * (1 - p) ** np.arange(len(gaps))).sum()


@pytest.mark.parametrize("p", [1e-3, 1e-2, 0.1, 0.5])
def test_the_mean_is_exact_and_below_its_closed_order(p):
    levels, draws = 40, 500
    found = level_game(ALL, p, levels, draws=draws, key=1)
    assert found.shape == (len(SPEEDS), draws)
    assert found.dtype == np.float64
    mean, error = found.mean(axis=-1), found.std(axis=-1) / np.sqrt(draws)
    exact = np.array([levels * exact_mean(h, p) for h in ALL.compute])
    assert (np.abs(mean - exact) <= 4 * error + 1e-9).all()
    order = level_game_order(ALL, p, levels)
    print(f"p = {p}: mean / order {np.round(mean / order, 3)}")
    assert (exact <= order * (1 + 1e-9)).all()
    assert (mean / order > 0.5).all()
    assert (mean / order < 1.05).all()


def test_the_order_by_hand():
    profile = jn.Profile([1.0, 2.0, 2.0])
    # m = 1: 1 + 4; m = 2: (2 + 4) / 1.5; m = 3: (3 + 4) / 2.
    np.testing.assert_allclose(level_game_order(profile, 0.25, 10), 35.0)
    np.testing.assert_allclose(level_game(profile, 1.0, 10, draws=3), 10.0)


def test_one_profile_and_probability_at_a_time_and_many():
    probability = np.array([0.5, 0.1, 0.02, 0.1, 1.0])
    found = level_game(ALL, probability, 30, draws=400)
    alone = level_game(ALL[1], 0.1, 30, draws=400)
    error = np.sqrt((found[1].var() + alone.var()) / 400)
    assert alone.shape == (400,)
    assert abs(found[1].mean() - alone.mean()) < 4 * error
    np.testing.assert_allclose(found[4], 60.0)
    np.testing.assert_array_equal(found, level_game(ALL, probability, 30, draws=400))
    assert not np.array_equal(found, level_game(ALL, probability, 30, draws=400, key=1))
    grid = jn.Profile(np.ones((2, 3, 4)))
    assert level_game(grid, 0.5, 3, draws=7).shape == (2, 3, 7)
    assert level_game_order(grid, np.full((2, 1), 0.5), 3).shape == (2, 3)


def test_times_of_a_geometric_number_of_tries():
    found = level_game(jn.Profile([3.0]), 0.2, 1, draws=20_000)
    tries = np.round(found / 3.0).astype(int)
    np.testing.assert_allclose(tries * 3.0, found, rtol=1e-12)
    expected = stats.geom.pmf(np.arange(1, 16), 0.2) * len(found)
    counted = np.bincount(np.minimum(tries, 16), minlength=17)[1:]
    expected = np.append(expected, len(found) - expected.sum())
    assert stats.chisquare(counted, expected).pvalue > 1e-3


def played_with_a_heap(h, tau, p, levels, rng):
    """Workers draw Bernoulli gradients one by one; messages and completions are events.

    Every worker works on the next level from when it knows the last, starts afresh when it hears of a
    new one, and tells everybody what it has found.
    """
    n = len(h)
    knows, version = np.zeros(n, int), np.zeros(n, int)
    events = [(h[i], 0, i, 0) for i in range(n) if np.isfinite(h[i])]
    heapq.heapify(events)
    while events:
        time, kind, i, stamp = heapq.heappop(events)
        if kind == 0:  # a gradient is done
            if stamp != version[i]:
                continue
            if rng.uniform() >= p:
                heapq.heappush(events, (time + h[i], 0, i, stamp))
                continue
            level = knows[i] + 1
            if level == levels:
                return time
            for j in range(n):
                if j != i and np.isfinite(tau[i, j]):
                    heapq.heappush(events, (time + tau[i, j], 1, j, level))
        else:  # a message with a level
            level = stamp
        if level > knows[i]:
            knows[i], version[i] = level, version[i] + 1
            if np.isfinite(h[i]):
                heapq.heappush(events, (time + h[i], 0, i, version[i]))
    return np.inf


def ring(n, hop):
    around = np.abs(np.arange(n)[:, None] - np.arange(n))
    return hop * np.minimum(around, n - around)


H = np.array([1.0, 1.3, 2.0, 4.0])
KAPPA = np.array([0.5, 3.0, 0.0, 1.0])
NETWORKS = {
    "server": (H, KAPPA, None),
    "far server": (H, 20 * KAPPA + 1, None),
    "ring": (H, 0.0, ring(4, 1.5)),
    "cut": (H, 0.0, np.where(np.arange(4)[:, None] // 2 == np.arange(4) // 2, 0.7, np.inf)),
    "a dead worker": (np.where(np.arange(4) == 1, np.inf, H), KAPPA, None),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_communication_is_that_of_the_heap(name):
    h, kappa, links = NETWORKS[name]
    p, levels, draws = 0.15, 12, 800
    tau = (kappa + np.reshape(kappa, (-1, 1))) / 2 if links is None else links
    rng = np.random.default_rng(3)
    twin = np.array([played_with_a_heap(h, tau, p, levels, rng) for _ in range(draws)])
    profile = jn.Profile(h, kappa)
    found = level_game(profile, p, levels, draws=draws, links=links, key=2)
    error = np.sqrt((twin.var() + found.var()) / draws)
    print(f"{name}: {twin.mean():.2f} and {found.mean():.2f}, standard error {error:.2f}")
    assert abs(twin.mean() - found.mean()) < 4 * error
    assert stats.ks_2samp(twin, found, method="asymp").pvalue > 1e-3


def test_communication_only_costs_and_a_worker_alone_needs_none():
    profile = jn.Profile(H)
    costs = [level_game(profile.replace(comm=c), 0.1, 50, draws=300) for c in (0.0, 1.0, 10.0, 1e6)]
    assert (np.diff(costs, axis=0) >= -1e-9).all()
    assert costs[3].mean() < 1.05 * 50 / 0.1
    # A star in matrix form is the default, draw by draw.
    profile = profile.replace(comm=KAPPA)
    star = level_game(profile, 0.1, 50, draws=300, links=(KAPPA[:, None] + KAPPA) / 2)
    np.testing.assert_allclose(star, level_game(profile, 0.1, 50, draws=300), rtol=1e-12)


@pytest.mark.parametrize("model", ["allreduce", "server", "gather", "serial"])
def test_no_communication_model_of_the_clock_beats_the_game(model):
    """Rounds in which a level is found with the probability of a batch are slower on average."""
    profile, p, levels, draws = jn.Profile(H, KAPPA), 0.15, 12, 800
    game = level_game(profile, p, levels, draws=draws)
    rng = np.random.default_rng(0)
    for batch in (1, 3, 12):
        round_time = jn.clock.rennala(profile, batch, 1, comm_model=model).end[0]
        rounds = rng.geometric(1 - (1 - p) ** batch, (draws, levels)).sum(axis=1)
        seconds = rounds * round_time
        error = np.sqrt((seconds.var() + game.var()) / draws)
        assert seconds.mean() > game.mean() - 4 * error


def test_blocks_are_climbed_alone():
    problem = jn.problems.chain_blocks()
    h = np.array([1.0, 2.0, 4.0, 8.0])
    profile = jn.Profile(np.stack([h, 2 * h, np.where(h == 8.0, np.inf, h)]))
    arguments = (problem.probability, problem.levels, problem.slopes**2)
    found = block_game(profile, *arguments, draws=2000)
    rng = np.random.default_rng(0)
    ends = np.stack(
        [
            hi * (k + rng.negative_binomial(k, p, 2000))
            for hi, p, k in zip(h, *arguments[:2], strict=True)
        ]
    )
    shares = arguments[2] / arguments[2].sum()
    twin = np.empty(2000)
    for draw in range(2000):
        left, order = 1.0, np.argsort(ends[:, draw])
        for i in order:
            left -= shares[i]
            if left <= 0.25:
                twin[draw] = ends[i, draw]
                break
    error = np.sqrt((twin.var() + found[0].var()) / 2000)
    assert abs(twin.mean() - found[0].mean()) < 4 * error
    assert stats.ks_2samp(twin, found[0], method="asymp").pvalue > 1e-3
    np.testing.assert_allclose(found[1], 2 * found[0])
    assert np.isinf(found[2]).all()  # the slowest has more than a quarter
    predicted = (problem.levels * h / problem.probability).mean()
    assert 0.8 * predicted < found[0].mean() < 1.3 * predicted
    assert (block_game(profile, *arguments, needed=0.3, draws=2000) <= found).all()


PROFILE = jn.Profile([1.0, 2.0])
REFUSED = [
    ("probability: got 0.0", lambda: level_game(PROFILE, 0.0, 3)),
    (r"probability: shape \(3,\)", lambda: level_game(PROFILE, np.full(3, 0.5), 3)),
    ("levels: got 0", lambda: level_game(PROFILE, 0.5, 0)),
    ("links: shape", lambda: level_game(PROFILE, 0.5, 3, links=np.ones((3, 3)))),
    ("links: got a number below 0", lambda: level_game(PROFILE, 0.5, 3, links=-np.ones((2, 2)))),
    ("fixed times", lambda: level_game(PROFILE.replace(noise="exponential"), 0.5, 3)),
    ("needed: got 0", lambda: block_game(PROFILE, 0.5, [1, 1], [1, 1], needed=0)),
    ("levels: got", lambda: block_game(PROFILE, 0.5, [1, 1, 1], [1, 1])),
    ("levels: at least 1", lambda: block_game(PROFILE, 0.5, [1, 0], [1, 1])),
]


@pytest.mark.parametrize(("words", "play"), REFUSED)
def test_what_cannot_be_played_is_said(words, play):
    with pytest.raises(jn.InputError, match=words):
        play()


def test_precision_is_local():
    level_game(PROFILE, 0.5, 3)
    assert jax.numpy.ones(1).dtype == np.float32
