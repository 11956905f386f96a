"""Code of the user's that answers with something else: each is named before anything is trained."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import jaxnigt as jn
from jaxnigt.policies import Gaussian
from jaxnigt.problems import Estimate, Evaluation
from jaxnigt.registry import make
from tests.test_readme import BLOCKS


@pytest.fixture(autouse=True)
def _no_types():
    """Types are checked as users have it, who do not switch jaxtyping on."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


PROFILE = jn.Profile([1.0, 2.0, 3.0])


def own(base, **methods):
    """A thing of the user's: a frozen dataclass without fields."""
    return dataclasses.make_dataclass("Own", [], bases=(base,), frozen=True, namespace=methods)()


def rule(done):
    return own(jn.clock.Rule, done=lambda self, counts: done(counts))


def train(problem=None, collection="rennala", update=optax.sgd):
    collection = jn.methods.Collection(jn.clock.Rennala(3)) if collection == "rennala" else collection
    method = jn.Method("own", collection, update, hyperparameters={"learning_rate": 0.1})
    problem = problem or jn.problems.tabular(horizon=2)
    return jn.train(problem, method, iterations=2, profile=PROFILE, eval_every=1, eval_batch=2)


RULES = [
    (lambda c: True, r"rule: Own.\S+ gives bool\[\], truth values of shape \[2\]"),
    (lambda c: c >= 2, r"gives bool\[2, 3\], truth values of shape \[2\]"),
    (lambda c: c.sum(axis=0) > 2, r"gives bool\[3\], truth values of shape \[2\]"),
    (lambda c: c.sum(axis=-1), r"gives int64\[2\], truth values"),
    (lambda c: None, "gives None, truth values"),
    (lambda c: 1 / 0, "raises ZeroDivisionError: division by zero"),
    (lambda c: c.absent(), "raises AttributeError"),
]


@pytest.mark.parametrize(("done", "words"), RULES)
def test_a_rule(done, words):
    for profile, key in ((PROFILE, None), (PROFILE.replace(noise="exponential"), 1)):
        with pytest.raises(jn.InputError, match=words):
            jn.clock.collect(profile, rule(done), 2, key=key)
    with pytest.raises(jn.InputError, match=words):
        train(collection=jn.methods.Collection(rule(done)))


WEIGHTS = [
    (lambda c: 1.0, r"weights: <lambda> gives float64\[\], numbers of shape"),
    (lambda c: "x", "weights: <lambda> gives 'x', numbers"),
    (lambda c: c - 1.0, "weights: <lambda> gives 0 to all gradients of a round"),
    (lambda c: -1.0 * c, "weights: <lambda> gives -1 where counts are above 0"),
    (lambda c: c * np.nan, "weights: <lambda> gives nan where counts are above 0"),
    (lambda c: 1 / 0, "weights: <lambda> raises ZeroDivisionError"),
]


@pytest.mark.parametrize(("weights", "words"), WEIGHTS)
def test_weights(weights, words):
    one_each = jn.methods.Collection(jn.clock.Synchronous(3), weights)
    with pytest.raises(jn.InputError, match=words):
        train(collection=one_each)


PAUSES = [
    (lambda c, a, k: c, r"comm_model: Own.\S+ gives float64\[3\], numbers of shape \[\]"),
    (lambda c, a, k: a.any(axis=-1), r"gives bool\[\], numbers"),
    (lambda c, a, k: c.sum(axis=-1) + 1j, r"gives complex128\[\], numbers"),
    (lambda c, a, k: c.sum(axis=-1) * np.nan, "gives no seconds of at least 0 for some round"),
    (lambda c: 1.0, "raises TypeError"),
]


@pytest.mark.parametrize(("pause", "words"), PAUSES)
def test_a_communication_model(pause, words):
    network = own(jn.clock.Communication, pause=lambda self, *given: pause(*given))
    with pytest.raises(jn.InputError, match=words):
        jn.clock.rennala(PROFILE, 3, 2, comm_model=network)


ACCEPTS = [
    (lambda s: np.ones(3, bool), r"rule: Own.\S+ gives bool\[3\], truth values of shape \[2\]"),
    (lambda s: 1.0 - s, r"gives float64\[2\], truth values"),
    (lambda s: True, r"gives bool\[\], truth values of shape \[2\]"),
    (lambda s: s < 0, "refuses a gradient of staleness 0"),
    (lambda: True, "raises TypeError"),
]


@pytest.mark.parametrize(("accept", "words"), ACCEPTS)
def test_an_arrival_rule(accept, words):
    with pytest.raises(jn.InputError, match=words):
        jn.clock.asynchronous(
            PROFILE, 4, rule=own(jn.clock.ArrivalRule, accept=lambda self, *given: accept(*given))
        )


NOISES = [
    (lambda u: None, r"Own.quantile\(0\) gives None, floats"),
    (lambda u: jnp.ones(3), r"gives float64\[3\], floats of shape \[\]"),
    (lambda u: -u, r"Own.quantile\(0.001\) gives -0.001, finite numbers of at least 0"),
    (lambda u: u / 0, "gives nan, finite numbers"),
    (lambda u: 1 / (0.5 - u), r"Own.quantile\(0.5\) gives inf, finite numbers"),
    (lambda: 1.0, "raises TypeError"),
]


@pytest.mark.parametrize(("quantile", "words"), NOISES)
def test_a_noise(quantile, words):
    noise = own(jn.profiles.Noise, quantile=lambda self, *given: quantile(*given))
    with pytest.raises(jn.InputError, match=words):
        jn.Profile([1.0], noise=noise)


class Loose(jn.clock.Rule):
    """Not a dataclass, so that two of them are equal whatever they hold."""

    def __init__(self, q):
        self.q = q

    def done(self, counts):
        return counts.sum(axis=-1) >= self.q


@dataclasses.dataclass(frozen=True)
class Listed(jn.clock.Rule):
    """With a field that may hold anything."""

    q: object

    def done(self, counts):
        return counts.sum(axis=-1) >= self.q[0]


def test_things_that_are_equal_only_by_accident_are_refused():
    with pytest.raises(jn.InputError, match="rule: Loose keeps 'q' in no field of a dataclass"):
        jn.clock.collect(PROFILE, Loose(3), 2)
    for unhashable in ([3], np.array([3])):
        with pytest.raises(jn.InputError, match="rule: Listed has no hash"):
            jn.methods.Collection(Listed(unhashable))
    assert jn.clock.collect(PROFILE, Listed((3,)), 1).end == [2.0]
    chain = jn.problems.chain()  # which is equal to itself alone, and keeps its shape in no field
    assert make("problem", chain) is chain


class Quadratic(jn.Problem):
    """Minus |params|^2, with one part of its answers replaced."""

    def __init__(self, **replaced):
        self.replaced = replaced

    def init(self, key):
        return self.replaced.get("init", jnp.ones(2))

    def estimate(self, params, keys, workers, weights):
        zero = jnp.zeros(len(weights))
        answer = Estimate(-2 * params * weights.sum(), zero, zero)
        return self.replaced["estimate"](answer) if "estimate" in self.replaced else answer

    def evaluate(self, params, keys):
        value = -(params**2).sum()
        answer = Evaluation(value, value, value[None])
        return self.replaced["evaluate"](answer) if "evaluate" in self.replaced else answer


def broken(answer):
    raise KeyError("speed")


PROBLEMS = [
    ({"estimate": lambda e: None}, "Quadratic.estimate gives a NoneType, a jn.problems.Estimate"),
    ({"estimate": tuple}, "Quadratic.estimate gives a tuple, a jn.problems.Estimate"),
    (
        {"estimate": lambda e: e._replace(gradient=jnp.zeros(3))},
        r"gradient gives float32\[1, 3\], floats",
    ),
    ({"estimate": lambda e: e._replace(gradient={"a": 1.0})}, "gradient is made of .'a'., one array is"),
    (
        {"estimate": lambda e: e._replace(discounted=0.0)},
        r"discounted gives float32\[1\], floats of shape",
    ),
    ({"estimate": broken}, "Quadratic.estimate raises KeyError: 'speed'"),
    (
        {"evaluate": lambda e: e.objective},
        "Quadratic.evaluate gives a .*Tracer, a jn.problems.Evaluation",
    ),
    (
        {"evaluate": lambda e: e._replace(objective=jnp.ones(2))},
        r"objective gives float32\[1, 2\], floats",
    ),
    ({"evaluate": lambda e: e._replace(per_worker=1.0)}, r"per_worker gives float32\[1\], floats of"),
    ({"evaluate": lambda e: e._replace(undiscounted=jnp.complex64(1j))}, "undiscounted gives complex64"),
    ({"init": {}}, "Quadratic.init gives no numbers"),
    ({"init": jnp.zeros(2, int)}, r"Quadratic.init: params gives int32\[2\], floats"),
    ({"init": "theta"}, "Quadratic.init: params gives 'theta', floats"),
]


@pytest.mark.parametrize(("replaced", "words"), PROBLEMS)
def test_a_problem(replaced, words):
    with pytest.raises(jn.InputError, match=words):
        train(Quadratic(**replaced))


def transformation(update, state=None):
    return lambda learning_rate: optax.GradientTransformation(lambda params: state, update)


UPDATES = [
    (lambda learning_rate: None, "update: it makes a NoneType, a transformation"),
    (transformation(lambda g, s, p=None: None), "update: update gives a NoneType, updates and a state"),
    (
        transformation(lambda g, s, p=None: (jnp.ones(2), s)),
        "updates is made of one array, .'logits'. is",
    ),
    (transformation(lambda g, s, p=None: (g, jnp.ones(2)), jnp.ones(())), r"state gives float32\[2\]"),
    (transformation(lambda g, s, p=None: (g, jnp.ones(2)), jnp.arange(2)), "state gives float32"),
    (transformation(lambda g: g), "update: update raises TypeError"),
]


@pytest.mark.parametrize(("update", "words"), UPDATES)
def test_an_update_rule(update, words):
    with pytest.raises(jn.InputError, match=words):
        train(update=update)


class Policy(nn.Module):
    """Linear, or something that is no policy."""

    width: int = 1
    answer: str = "gaussian"

    @nn.compact
    def __call__(self, observation):
        mean = nn.Dense(self.width)(observation)
        if self.answer == "broken":
            raise KeyError("speed")
        return Gaussian(mean, nn.softplus(mean)) if self.answer == "gaussian" else mean


@pytest.fixture
def point():
    names = {}
    exec(next(block for block in BLOCKS if "class Point" in block).split("problem =")[0], names)
    return names["Point"]()


def test_a_policy(point):
    for policy, words in (
        ("mlp", "policy: got 'mlp', a flax.linen.Module is allowed"),
        (Policy(2), r"policy: Policy: sample gives float32\[2\], floats of shape \[1\]"),
        (Policy(answer="mean"), "policy: Policy raises AttributeError"),
        (Policy(answer="broken"), "policy: Policy raises KeyError: 'speed'"),
    ):
        with pytest.raises(jn.InputError, match=words):
            jn.problems.policy_gradient(point, horizon=2, policy=policy)
    assert np.isfinite(
        train(jn.problems.policy_gradient(point, horizon=2, policy=Policy())).objective
    ).all()
