"""A snapshot serves the training that it was taken of, and no other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnigt as jn
from jaxnigt.environments import flipped
from jaxnigt.policies import GaussianPolicy
from jaxnigt.training.snapshots import Identity
from tests.line import Line

POLICY = GaussianPolicy(1, hidden=(4,))


def line(shift=0.0, **options):
    """Each call makes another object, as another process would."""

    class Moved(Line):
        def reset(self, rng):
            state = super().reset(rng)
            return state.replace(obs=state.obs + jnp.array([shift, 0.0]))

    return jn.problems.policy_gradient(Moved(), horizon=2, policy=POLICY, **options)


def by(update, **options):
    return jn.Method(
        "mine",
        jn.methods.Collection(jn.clock.Rennala(4)),
        update,
        hyperparameters={"learning_rate": 0.05},
        **options,
    )


def momentum(learning_rate, decay):
    return optax.sgd(learning_rate, momentum=decay)


def train(problem, method, folder, **options):
    kept = jn.Snapshots(folder, every=0.0)
    options = {"iterations": 6, "eval_every": 3, "eval_batch": 8, "snapshots": kept, **options}
    options = {"profile": jn.profiles.equal(3), **options}
    return jn.train(problem, method, **options).objective, kept.restored


SGD = by(optax.sgd)
TABULAR = functools.partial(jn.problems.tabular, horizon=3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((line, SGD), (functools.partial(line, 0.2), SGD)),
        ((line, SGD), (functools.partial(line, discounting="step", discount=0.5), SGD)),
        ((line, SGD), (functools.partial(line, action_scale=4.0), SGD)),
        ((line, SGD), (functools.partial(line, normalisation=jn.problems.RunningNormalisation()), SGD)),
        ((TABULAR, SGD), (functools.partial(TABULAR, seed=1), SGD)),
        ((TABULAR, SGD), (functools.partial(TABULAR, discount=0.5), SGD)),
        ((TABULAR, SGD), (TABULAR, by(optax.sign_sgd))),
        (
            (TABULAR, by(functools.partial(momentum, decay=0.9))),
            (TABULAR, by(functools.partial(momentum, decay=0.5))),
        ),
        (
            (TABULAR, SGD),
            (
                TABULAR,
                jn.Method(
                    "mine",
                    jn.methods.Collection(
                        jn.clock.Rennala(4), lambda counts: 0.5 * jn.methods.mean(counts)
                    ),
                    optax.sgd,
                    hyperparameters={"learning_rate": 0.05},
                ),
            ),
        ),
    ],
    ids=[
        *("environment", "discounting", "action_scale", "normalisation", "table", "discount"),
        *("rule", "its momentum", "weights"),
    ],
)
def test_another_training_does_not_go_on_from_it(one, other, tmp_path, caplog):
    train(one[0](), one[1], tmp_path / "s")
    found, restored = train(other[0](), other[1], tmp_path / "s")
    assert not restored
    assert "another training" in caplog.text
    expected, _ = train(other[0](), other[1], tmp_path / "fresh")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "method", [SGD, jn.methods.rennala_nigt(4, init_batch=6), jn.methods.afedpg()], ids=lambda m: m.name
)
def test_the_same_training_goes_on_whoever_built_it(method, tmp_path):
    profile = jn.profiles.power_law(3, 1.0)
    first, _ = train(line(), method, tmp_path, profile=profile)
    again, restored = train(line(), method, tmp_path, profile=profile)
    assert restored
    np.testing.assert_array_equal(first, again)


def test_a_damaged_snapshot_is_passed_over_and_replaced(tmp_path, caplog):
    whole, _ = train(TABULAR(), SGD, tmp_path)
    (snapshot,) = tmp_path.glob("round_*.npz")
    content = snapshot.read_bytes()
    middle = content.index(b"NUMPY") + 140  # among the numbers of the first array
    snapshot.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    again, restored = train(TABULAR(), SGD, tmp_path)
    assert not restored
    assert "is of no use" in caplog.text
    assert "no snapshot" not in caplog.text
    np.testing.assert_array_equal(whole, again)
    assert train(TABULAR(), SGD, tmp_path)[1]


def test_a_heterogeneous_problem_is_known_by_its_workers(tmp_path):
    method = jn.methods.synchronous_nigt(2)
    options = {"profile": jn.profiles.equal(2)}
    train(line(heterogeneity=flipped((1, 1), indicator=False)), method, tmp_path, **options)
    changed = line(heterogeneity=flipped((1, -1), indicator=False))
    _, restored = train(changed, method, tmp_path, **options)
    assert not restored


def test_numbers_of_any_kind_are_kept(tmp_path):
    kinds = (jnp.bfloat16, jnp.float8_e4m3fn, jnp.float32, jnp.int8, jnp.bool)
    state = [jnp.arange(3).astype(kind) for kind in kinds] + [jnp.zeros(()), jnp.zeros((0, 2))]
    kept, identity = jn.Snapshots(tmp_path, every=0.0), Identity("this", np.zeros(1))
    kept.offer(5, state, lambda: {"record": np.ones(2)}, identity)
    done, found, records = kept.restore(state, identity)
    assert (done, list(records)) == (5, ["record"])
    for one, other in zip(state, found, strict=True):
        np.testing.assert_array_equal(np.asarray(one), other)
        assert one.dtype == other.dtype
    assert kept.restore(state[1:], identity) is None
    assert kept.restore([*state, jnp.zeros(1)], identity) is None


def test_rounding_does_not_make_another_training():
    computed = np.array([[1.0, 1e-7], [np.nan, 200.0]])
    identity = Identity("words", computed)
    words = identity.saved_words()
    assert identity.same(words, computed * (1 + 3e-6) + np.array([[0.0, 5e-7], [0.0, 0.0]]))
    assert not identity.same(words, computed * (1 + 1e-4))
    assert not identity.same(words, np.nan_to_num(computed))
    assert not identity.same(words, computed[:1])
    diverged = Identity("words", np.array([[1.0, np.inf]]))
    assert diverged.same(words, diverged.computed)
    assert not diverged.same(words, np.array([[1.5, np.inf]]))
    assert not identity.same(Identity("others", computed).saved_words(), computed)


@pytest.mark.loose
def test_update_rules_do_not_see_what_the_normalisation_keeps():
    """The second entry of an observation is 0 and then 1 in each episode, so that its mean is 1/2."""
    problem = jn.problems.policy_gradient(
        Line(), horizon=2, policy=POLICY, normalisation=jn.problems.RunningNormalisation()
    )

    def decaying(learning_rate):
        def see(updates, state, params=None):
            assert jax.tree.structure(updates) == jax.tree.structure(params)
            assert set(params) == {"params"}
            return updates, state

        spy = optax.GradientTransformation(lambda params: optax.EmptyState(), see)
        return optax.chain(spy, optax.adamw(learning_rate, weight_decay=0.5), optax.clip(1e-3))

    for method in (
        by(decaying),
        jn.Method(
            "arrivals", jn.methods.Asynchronous(), decaying, hyperparameters={"learning_rate": 0.05}
        ),
    ):
        trace = jn.train(problem, method, iterations=8, eval_batch=4, profile=jn.profiles.equal(2))
        moments = jax.tree.map(lambda x: x[0], trace.params["normaliser"])
        assert moments["count"] == 2 * trace.samples.sum()
        np.testing.assert_allclose(moments["mean"][1], 0.5, rtol=1e-6)
        np.testing.assert_allclose(moments["deviation"][1] / moments["count"], 0.25, rtol=1e-5)
