import jax
import numpy as np
import optax
import pytest

import jaxnigt as jn
from jaxnigt.checks import as_key, as_seeds
from jaxnigt.policies import GaussianPolicy
from jaxnigt.training import rounds as training_rounds
from tests.compiled import cleared

STEPSIZES = [0.01, 0.03]


@pytest.fixture(scope="module")
def problem():
    return jn.problems.policy_gradient(
        "line", horizon=2, discount=0.9, policy=GaussianPolicy(1, hidden=(4,))
    )


def run(problem, method, **options):
    options = {"iterations": 50, "seeds": 3, "key": 7, "eval_every": 10, "eval_batch": 256, **options}
    return jn.train(problem, method, **options)


def same(one, other):
    for name in ("objective", "gradient_norm", "direction_norm", "batch_discounted"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


@pytest.mark.parametrize("method", [jn.methods.rennala_nigt, jn.methods.synchronous_nigt])
def test_a_trace_has_the_promised_shapes_and_j_improves(problem, method):
    trace = run(problem, method(16, momentum=0.5, stepsize=STEPSIZES))
    np.testing.assert_array_equal(trace.eval_rounds, [0, 10, 20, 30, 40])
    assert trace.objective.shape == trace.undiscounted.shape == (2, 3, 5)
    for name in ("gradient_norm", "direction_norm", "batch_discounted", "batch_undiscounted"):
        assert getattr(trace, name).shape == (2, 3, 50)
        assert getattr(trace, name).dtype == np.float32
    np.testing.assert_array_equal(trace.samples, [16] * 50)
    assert trace.params["params"]["mean"]["bias"].shape == (2, 3, 1)
    assert trace.replayable
    assert trace.times is None
    assert (trace.objective[..., -1] > trace.objective[..., 0] + 0.2).all()


def test_hyperparameters_broadcast_together(problem):
    stepsize, momentum = np.array([[0.01], [0.03]]), np.array([[0.2, 0.5, 1.0]])
    together = run(problem, jn.methods.rennala_nigt(8, stepsize=stepsize, momentum=momentum))
    assert together.objective.shape == (2, 3, 3, 5)
    alone = run(problem, jn.methods.rennala_nigt(8, stepsize=0.03, momentum=0.2))
    np.testing.assert_allclose(together.objective[1, 0], alone.objective, rtol=2e-4, atol=2e-4)


def test_equal_keys_give_equal_traces_and_others_do_not(problem):
    method = jn.methods.rennala_nigt(8)
    first = run(problem, method)
    same(first, run(problem, method, key=jax.random.key(7)))
    assert not np.array_equal(first.objective, run(problem, method, key=8).objective)
    assert len(np.unique(first.objective[:, 0])) == 3


def test_a_trace_that_differs_only_in_its_profile_is_bit_identical(problem):
    method = jn.methods.rennala_nigt(8)
    fast = run(problem, method, profile=jn.profiles.equal(4))
    slow = run(problem, method, profile=jn.profiles.power_law(4, 2.0, 0.5, 3.0))
    same(fast, slow)
    same(fast, run(problem, method))


def test_evaluation_does_not_touch_training(problem):
    method = jn.methods.rennala_nigt(8)
    often, seldom = run(problem, method, eval_every=5), run(problem, method, eval_every=50)
    np.testing.assert_array_equal(often.gradient_norm, seldom.gradient_norm)
    np.testing.assert_array_equal(often.objective[:, 0], seldom.objective[:, 0])


def test_one_program_serves_both_methods_and_any_number_of_rounds(problem):
    added = cleared(training_rounds.advance)
    run(problem, jn.methods.rennala_nigt(6, stepsize=STEPSIZES), iterations=25)
    run(problem, jn.methods.synchronous_nigt(6, stepsize=STEPSIZES), iterations=40)
    assert added() == (1,)


def test_training_follows_algorithm_1_step_by_step(problem):
    """The loop of the paper written out, one seed, no scan, no vmap."""
    batch, init_batch, eta, alpha, rounds = 5, 8, 0.4, 0.05, 4
    method = jn.methods.rennala_nigt(batch, init_batch=init_batch, momentum=eta, stepsize=alpha)
    trace = run(problem, method, iterations=rounds, seeds=1, eval_every=2)
    seed = jax.random.fold_in(jax.random.key(7), 0)
    init_key, train_key, _ = jax.random.split(seed, 3)
    theta = before = problem.init(init_key)
    d = None
    for t in range(rounds):
        size = init_batch if t == 0 else batch
        ahead = jax.tree.map(lambda a, b: a + (1 - eta) / eta * (a - b), theta, before)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(
            jax.random.fold_in(train_key, t), jax.numpy.arange(size)
        )
        weights = jax.numpy.full(size, 1 / size)
        g = problem.gradient(ahead, keys, jax.numpy.zeros(size, int), weights)
        np.testing.assert_allclose(optax.tree.norm(g), trace.gradient_norm[0, t], rtol=1e-3)
        d = g if d is None else jax.tree.map(lambda d, g: (1 - eta) * d + eta * g, d, g)
        norm = optax.tree.norm(d)
        theta, before = jax.tree.map(lambda p, d, norm=norm: p + alpha * d / norm, theta, d), theta
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b[0], rtol=1e-3, atol=1e-4), theta, trace.params
    )
    np.testing.assert_array_equal(trace.samples, [8, 5, 5, 5])


@pytest.mark.loose
def test_any_optax_optimiser_is_an_update_rule(problem):
    adam = jn.Method(
        "adam",
        jn.methods.Collection(jn.clock.Rennala(16)),
        optax.adam,
        16,
        hyperparameters={"learning_rate": [0.01, 0.03]},
    )
    trace = run(problem, adam)
    assert (trace.objective[..., -1] > trace.objective[..., 0]).all()


def test_a_number_that_is_not_finite_stops_training_and_says_where(problem):
    method = jn.methods.rennala_nigt(4, stepsize=[0.01, 3e38], momentum=0.5)
    with pytest.raises(jn.TrainingDiverged, match=r"at round \d+, seed 0 \(stepsize = 3e\+38") as caught:
        run(problem, method)
    assert caught.value.round <= 2


def test_an_evaluation_that_is_not_finite_stops_training_and_says_where():
    """Its gradients are finite, so that nothing else would tell."""

    def objective(params, key, worker):
        return -((params - 1.0) ** 2)

    problem = jn.problems.stochastic(
        objective, lambda key: jax.numpy.zeros(()), exact=lambda x, worker: jax.numpy.log(0.35 - x)
    )
    method = jn.methods.rennala_nigt(4, stepsize=[0.01, 0.1], momentum=0.5)
    with pytest.raises(jn.TrainingDiverged, match=r"at round 4, seed 0 \(stepsize = 0.1"):
        run(problem, method, seeds=1, iterations=6, eval_every=2)
    trace = run(problem, method, seeds=1, iterations=6, eval_every=2, keep_diverged=True)
    assert np.isfinite(trace.objective[0]).all()
    assert np.isnan(trace.objective[1, 0]).tolist() == [False, False, True]
    alone = jn.methods.rennala_nigt(4, stepsize=0.1, momentum=0.5)
    kept = run(problem, alone, seeds=1, iterations=6, eval_every=2, keep_diverged=True)
    assert np.isfinite(kept.gradient_norm).all()


@pytest.mark.parametrize(
    ("update", "hyperparameters", "words"),
    [
        (optax.adam, {"lr": 0.1}, "hyperparameters: `update` does not take them"),
        (optax.adam, {}, "hyperparameters: got none"),
    ],
)
def test_update_rules_that_cannot_be_used(update, hyperparameters, words):
    with pytest.raises(jn.InputError, match=words):
        jn.Method(
            "mine",
            jn.methods.Collection(jn.clock.Rennala(4)),
            update,
            4,
            hyperparameters=hyperparameters,
        )


def test_traces_and_problems_print_in_a_line(problem):
    trace = run(problem, jn.methods.rennala_nigt(8, stepsize=STEPSIZES))
    assert repr(trace) == (
        "Trace(rennala_nigt, hyperparameters[2], seeds=3, rounds=50, evaluations=5, replayable=True)"
    )
    assert repr(problem).startswith("PolicyGradient(Line, backend=mjx, horizon=2, discount=0.9, d=")


def test_evaluating_less_than_once(problem):
    with pytest.raises(jn.InputError, match="eval_every: got 60, 1 to iterations = 50"):
        run(problem, jn.methods.rennala_nigt(4), eval_every=60)


def test_a_profile_with_the_wrong_number_of_workers(problem):
    with pytest.raises(jn.InputError, match="got n = 4 workers, the rule waits for 6"):
        run(problem, jn.methods.synchronous_nigt(6), profile=jn.profiles.equal(4))


def test_progress_in_words(problem, capsys):
    trace = run(problem, jn.methods.rennala_nigt(4), progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"round {k}/50" for k in range(10, 51, 10)]
    assert lines[-1].endswith(f"best J {trace.objective.mean(axis=0).max():.3g}")


def test_the_first_round_is_like_the_others_by_default():
    adam = jn.Method(
        "adam",
        jn.methods.Collection(jn.clock.Rennala(7)),
        optax.adam,
        hyperparameters={"learning_rate": 0.1},
    )
    assert adam.init_batch == 7


@pytest.mark.parametrize(("iterations", "rounds"), [(3, [0]), (25, [0, 10, 20])])
def test_evaluations_by_default(iterations, rounds):
    trace = jn.train(jn.problems.tabular(), jn.methods.rennala_nigt(4), iterations=iterations)
    assert trace.eval_rounds.tolist() == rounds


@pytest.mark.parametrize("name", ["iterations", "seeds", "eval_every", "eval_batch"])
def test_bad_arguments(problem, name):
    with pytest.raises(jn.InputError, match=f"{name}: got 0, a whole number of at least 1"):
        run(problem, jn.methods.rennala_nigt(4), **{name: 0})


@pytest.mark.parametrize("key", [2**32, 2**70, -1, True, 1.0, "0", None, np.arange(2)])
def test_keys_that_jax_would_cut_or_not_take(key):
    with pytest.raises(jn.InputError, match=r"key: got .*, a JAX key or a whole number from 0 to"):
        as_key("key", key)


@pytest.mark.parametrize(
    "seeds", [0, -1, [], [0, 0], [0, 2**32 - 1], [-1], [0.0], [True], "0", 1.5, np.array([1, 1])]
)
def test_seeds_that_would_be_cut_or_run_twice(seeds):
    with pytest.raises(jn.InputError, match="seeds: got"):
        as_seeds(seeds)


def test_keys_and_seeds_of_every_type_that_says_the_same():
    problem, method = jn.problems.tabular(horizon=2), jn.methods.rennala_nigt(2)

    def trained(key, seeds):
        return jn.train(problem, method, iterations=2, key=key, seeds=seeds)

    large = 2**31 + 5
    found = [
        trained(3, [0, large]),
        trained(np.int64(3), np.array([0, large])),
        trained(jax.random.key(3), (0, large)),
        trained(jax.random.PRNGKey(3), (np.int64(0), large)),
    ]
    for trace in found:
        assert trace.seeds == (0, large)
        np.testing.assert_array_equal(trace.objective, found[0].objective)
    assert (trained(2**32 - 1, 1).objective != found[0].objective[:1]).any()
    with pytest.raises(jn.InputError, match="key: got 4294967296"):
        trained(2**32, 1)
    with pytest.raises(jn.InputError, match="key: got 4294967296"):
        jn.clock.rennala(jn.Profile([1.0], noise="exponential"), 2, 1, key=2**32)
