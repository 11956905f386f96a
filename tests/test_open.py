"""Ideas of other people: each of a few lines of theirs and none of ours, from Python and from TOML.

`MINE` is what a user writes. Its lines are counted; imports and blank lines are not.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt import registry
from jaxnigt.sweep.definition import run_module
from tests.sweep.running import here

pytestmark = pytest.mark.loose  # others write JAX as it comes

IMPORTS = """
import dataclasses

import jax
import jax.numpy as jnp
import optax

import jaxnigt as jn
"""

# Name -> (lines that are allowed, the code).
MINE = {
    "weights": (
        8,
        """
def by_worker(counts):
    delivered = (counts > 0).sum(axis=-1, keepdims=True)
    return (counts > 0) / (delivered * counts.clip(1))

@jn.register("fair_nigt")
def fair_nigt(batch: int = 8, stepsize=0.05, momentum=0.1) -> jn.Method:
    rule, leaves = jn.clock.Rennala(batch), {"stepsize": stepsize, "momentum": momentum}
    return jn.methods.collect_nigt(rule, weights=by_worker, **leaves)
""",
    ),
    "rule": (
        15,
        """
@jn.register("distinct")
@dataclasses.dataclass(frozen=True)
class Distinct(jn.clock.Rule):
    q: int = 3
    each: int = 2

    def done(self, counts):
        return (counts >= self.each).sum(axis=-1) >= self.q
""",
    ),
    "arrival rule": (
        12,
        """
@jn.register("fresh")
@dataclasses.dataclass(frozen=True)
class Fresh(jn.clock.ArrivalRule):
    most: int = 1

    def accept(self, staleness):
        return staleness <= self.most
""",
    ),
    "update": (
        4,
        """
@jn.register("rennala_adam")
def rennala_adam(batch: int = 8, learning_rate=0.01) -> jn.Method:
    collection, leaf = jn.methods.Collection(jn.clock.Rennala(batch)), {"learning_rate": learning_rate}
    return jn.Method("rennala_adam", collection, optax.adam, hyperparameters=leaf)
""",
    ),
    "problem": (
        12,
        """
@jn.register("valley")
def valley(noise: float = 0.3, dimension: int = 3) -> jn.Problem:
    def objective(params, key, worker):
        target = params - 1.0 - noise * jax.random.normal(key, (dimension,))
        return (target**2).sum()

    def init(key):
        return jax.random.normal(key, (dimension,))

    return jn.problems.stochastic(objective, init, minimise=True)
""",
    ),
    "profile": (
        3,
        """
@jn.register("two_speeds")
def two_speeds(n: int, slow: float = 4.0) -> jn.Profile:
    return jn.Profile(jnp.where(jnp.arange(n) < n // 2, 1.0, slow), comm=0.5)
""",
    ),
    "noise": (
        4,
        """
@jn.register("uniform")
class Uniform(jn.profiles.Noise):
    def quantile(self, uniform):
        return 2 * uniform
""",
    ),
    "communication": (
        15,
        """
@jn.register("tree")
@dataclasses.dataclass(frozen=True)
class Tree(jn.clock.Communication):
    def pause(self, comm, alive, counts):
        senders = (counts > 0).sum(axis=-1)
        return jnp.log2(senders + 0.0) * jnp.where(counts > 0, comm, 0.0).max(axis=-1)
""",
    ),
}
TOML = """
name = "mine"
module = "mine.py"
workers = 4
comm_model = ["allreduce", "tree"]
figure = true

[problem]
kind = "valley"
noise = [0.1, 0.3]

[training]
seeds = 2
eval_every = 10

[[methods]]
name = "fair_nigt"
iterations = 20
stepsize = [0.02, 0.05]

[[methods]]
name = "collect_nigt"
label = "distinct"
rule = { name = "distinct", q = 3 }
weights = "worker_mean"
iterations = 20

[[methods]]
name = "afedpg"
rule = "fresh"
iterations = 40

[[methods]]
name = "rennala_adam"
iterations = 20
learning_rate = [0.01, 0.1]

[[profiles]]
label = "fixed"
family = "two_speeds"
slow = [2.0, 4.0]

[[profiles]]
label = "random"
family = "two_speeds"
noise = "uniform"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with mine.py and mine.toml, whose names are registered."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(IMPORTS + "\n".join(code for _, code in MINE.values()))
    (folder / "mine.toml").write_text(TOML)
    run_module(str(folder / "mine.py"))
    return folder


def make(kind, name, **arguments):
    return registry.make(kind, {registry.KEYS[kind]: name, **arguments})


@pytest.mark.parametrize("row", MINE)
def test_no_more_lines_than_that(row):
    most, code = MINE[row]
    assert len([line for line in code.splitlines() if line.strip()]) <= most


PROFILE = jn.profiles.power_law(4, np.array([0.0, 1.0]), 0.5, 0.3)


def trained(method, problem=None, **options):
    problem = problem or jn.problems.tabular(horizon=4)
    return jn.train(problem, method, iterations=12, seeds=2, eval_every=4, profile=PROFILE, **options)


def test_own_weights_train_along_the_clock(folder):
    trace = trained(make("method", "fair_nigt", stepsize=0.05))
    assert trace.objective.shape == (2, 2, 3)
    assert not trace.replayable
    weights = make("method", "fair_nigt").collection.weights
    np.testing.assert_allclose(weights(np.array([[3, 1, 0]])), [[1 / 6, 1 / 2, 0]])


@pytest.mark.parametrize("kind", ["fixed", "random", "varying"])
@pytest.mark.parametrize("restart", ["cancel", "finish"])
def test_own_rule_with_own_communication(folder, kind, restart):
    """Stop when q workers have delivered two each; a tree of contributors sends the sum."""
    profile = {
        "fixed": PROFILE,
        "random": PROFILE.replace(noise="exponential"),
        "varying": PROFILE.replace(power=([2.0, 5.0], [[1.0] * 4, [0.5] * 4, [2.0] * 4])),
    }[kind]
    rule = make("rule", "distinct", q=3)
    options = {"key": 1, "restart": restart}
    rounds = jn.clock.collect(profile, rule, 6, comm_model="tree", **options)
    jn.clock.verify(rounds, profile)
    counts = np.broadcast_to(rounds.counts, (2, 6, 4))
    assert ((counts >= 2).sum(axis=-1) == 3).all()
    if kind == "fixed" and restart == "cancel":
        # h = 1: all deliver their second gradient at 2, and the third worker in order ends it.
        np.testing.assert_array_equal(counts[0, 0], [2, 2, 2, 1])
        pause = np.log2(4) * 0.3 * 2  # log2 of the contributors times the slowest link, sqrt(4)
        np.testing.assert_allclose(rounds.end[0, 0], 2 + pause)
    wrong = np.array(counts)
    wrong[1, 2, np.flatnonzero(wrong[1, 2] >= 2)[0]] = 1
    broken = dataclasses.replace(rounds, counts=wrong.astype(np.int32), end=rounds.end)
    with pytest.raises(jn.InvariantError, match=r"the rule holds at the stop|alike rounds"):
        jn.clock.verify(broken, profile)


def test_own_rule_trains_and_says_that_it_names_no_batch(folder):
    rule = make("rule", "distinct", q=2)
    trace = trained(jn.methods.collect_nigt(rule, weights="worker_mean"), comm_model="tree")
    rounds = jn.clock.collect(PROFILE, rule, 12, comm_model="tree")
    np.testing.assert_array_equal(trace.times, rounds.end)
    assert (trace.samples == rounds.counts.sum(axis=-1)).all()
    with pytest.raises(jn.InputError, match="init_batch: rounds of distinct"):
        jn.methods.collect_nigt(rule, init_batch=4)


def test_own_communication_replays(folder):
    trace = trained(jn.methods.rennala_nigt(4))
    one, tree = (jn.replay(trace, PROFILE, comm_model=model) for model in ("server", "tree"))
    counts = jn.clock.rennala(PROFILE, 4, 12).counts
    senders = (counts > 0).sum(axis=-1)
    slowest = np.where(counts > 0, PROFILE.comm[:, None], 0.0).max(axis=-1)
    np.testing.assert_allclose(tree - one, ((np.log2(senders) - 1) * slowest) * np.arange(1, 13))


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("comm_model", ["parallel", "serial"])
def test_own_arrival_rule_is_an_event_queue_that_discards(folder, comm_model, restart):
    rule = make("arrival_rule", "fresh", most=1)
    if restart:
        kind = dataclasses.make_dataclass("Again", [], bases=(type(rule),), frozen=True)
        kind.restart = True
        rule = kind(most=1)
    profile = jn.Profile([1.0, 1.5, 2.0, 7.0], 0.25)
    arrivals = jn.clock.asynchronous(profile, 40, rule=rule, comm_model=comm_model)
    jn.clock.verify(arrivals, profile)
    times, workers, staleness = discarding(profile, 40, 1, comm_model, restart)
    np.testing.assert_allclose(arrivals.time, times, rtol=1e-12)
    np.testing.assert_array_equal(arrivals.worker, workers)
    np.testing.assert_array_equal(arrivals.staleness, staleness)
    trace = jn.train(
        jn.problems.tabular(horizon=4),
        jn.methods.afedpg(rule=rule, stepsize=0.05),
        iterations=40,
        profile=profile,
        comm_model=comm_model,
    )
    np.testing.assert_array_equal(trace.times, arrivals.time)
    assert np.isfinite(trace.objective).all()


def discarding(profile, updates, most, comm_model, restart):
    """The server written out: one list of workers, in plain Python."""
    h, comm = profile.compute.tolist(), profile.comm.tolist()
    one_link = comm_model == "serial"
    start, number, version = [0.0] * 4, [0] * 4, [0] * 4
    free, done, found = 0.0, 0, []

    def begin(i, time):
        number[i] += 1
        if one_link:
            return time + h[i]
        return start[i] + number[i] * (h[i] + comm[i])

    ready = [begin(i, 0.0) for i in range(4)]
    while done < updates:
        i = min(range(4), key=lambda i: (ready[i], i))
        time = max(ready[i], free) + comm[i] if one_link else ready[i]
        free, stale = time, done - version[i]
        accepted = stale <= most
        if accepted:
            found.append((time, i, stale))
            done += 1
        version[i] = done
        ready[i] = begin(i, time)
        for j in range(4) if accepted and restart else ():
            if done - version[j] > most:
                start[j], number[j], version[j] = time, 0, done
                ready[j] = begin(j, time)
    return zip(*found, strict=True)


def test_a_rule_that_refuses_fresh_gradients_is_refused(folder):
    with pytest.raises(jn.InputError, match="it refuses a gradient of staleness 0"):
        jn.clock.asynchronous(PROFILE, 3, rule=make("arrival_rule", "fresh", most=-1))


def test_own_update_rule_and_problem(folder):
    problem = make("problem", "valley", noise=0.1)
    trace = trained(make("method", "rennala_adam", learning_rate=np.array([0.05, 0.1])), problem)
    assert trace.to_xarray()["objective"].dims == ("learning_rate", "seed", "evaluation")
    assert (trace.objective[..., -1] > trace.objective[..., 0]).all()
    assert jn.replay(trace, PROFILE).shape == (2, 12)


def test_own_profile_and_noise_make_a_clock(folder):
    profile = make("profile", "two_speeds", n=4, slow=3.0).replace(noise="uniform")
    rounds = jn.clock.synchronous(profile, 20_000, key=3)
    jn.clock.verify(rounds, profile)
    # The largest of two uniform numbers on [0, 6] has mean 4, which two faster ones hardly change.
    steps = np.diff(rounds.end, prepend=0.0) - 0.5
    assert 4.0 < steps.mean() < 4.2


def test_all_of_it_from_one_toml_file(folder, capsys, monkeypatch):
    out = folder / "out"
    status, output = here(capsys, monkeypatch, "sweep", folder / "mine.toml", "--out", out)
    assert status == 0, output
    tree = jn.load(out)
    panel = tree["panels/noise=0.3"]
    methods = {str(name): group.to_dataset() for name, group in panel["methods"].children.items()}
    assert set(methods) == {"fair_nigt", "distinct", "afedpg", "rennala_adam"}
    for data in methods.values():
        assert data["comm_model"].values.tolist() == ["allreduce", "tree"]
        assert data.sizes["profile"] == 3
        assert np.isfinite(data["objective"]).all()
        assert np.isfinite(data["time"]).all()
    assert methods["rennala_adam"]["objective"].dims == ("learning_rate", "seed", "evaluation")
    assert methods["rennala_adam"]["best_learning_rate_index"].size == 1
    stored = methods["distinct"]["time"].sel(comm_model="tree", profile="fixed,slow=4")
    profile = make("profile", "two_speeds", n=4, slow=4.0)
    rounds = jn.clock.collect(profile, make("rule", "distinct", q=3), 20, comm_model="tree")
    np.testing.assert_array_equal(stored, rounds.end)
    status, output = here(capsys, monkeypatch, "sweep", folder / "mine.toml", "--out", out)
    assert (status, output.count(": training")) == (0, 0), output


def test_a_trace_goes_to_a_file_and_back_and_is_replayed(folder, tmp_path):
    own = jn.methods.Collection(jn.clock.Rennala(6), restart="finish")
    method = dataclasses.replace(jn.methods.rennala_nigt(6, stepsize=[0.02, 0.05]), collection=own)
    trace = trained(method)
    again = jn.Trace.load(trace.save(tmp_path / "trace.nc"))
    assert again.to_xarray().equals(trace.to_xarray())
    np.testing.assert_array_equal(jn.replay(again, PROFILE), jn.replay(trace, PROFILE))
    reached = again.time_to(float(trace.objective[0, 0, 1]), PROFILE)
    assert reached.dims == ("profile", "stepsize", "seed")
    expected = jn.eval_times(jn.replay(trace, PROFILE), trace.eval_rounds)
    assert reached[0, 0, 0] <= expected[0, 1]
    with pytest.raises(jn.InputError, match="a trace from a file has no update rule"):
        trained(again.method)


def test_wrong_registrations_are_one_sentence():
    with pytest.raises(jn.InputError, match="kind: got 'rules', allowed are rule, communication"):
        jn.register("x", kind="rules")
    with pytest.raises(jn.InputError, match="kind: that of 'x' cannot be told"):
        jn.register("x")(lambda: 1)
    with pytest.raises(jn.InputError, match="name: 'rennala' is taken by another rule"):
        jn.register("rennala", kind="rule")(lambda: 1)
    with pytest.raises(jn.InputError, match="rule: got 'renala', allowed are rennala, malenia"):
        jn.clock.collect(PROFILE, "renala", 2)
    with pytest.raises(jn.InputError, match=r"rule.btch: rennala allows batch"):
        make("rule", "rennala", btch=3)


def test_a_model_of_ones_own_may_use_any_array_library(folder):
    """`pause` and `done` are called with NumPy and with JAX arrays, in float64."""
    rule = make("rule", "distinct", q=2)
    for namespace in (np, jnp):
        assert bool(rule.done(namespace.asarray([2, 2, 0])))


def test_a_fault_in_a_maker_is_not_taken_for_a_wrong_argument(monkeypatch):
    monkeypatch.setattr(
        registry, "_ENTRIES", {kind: dict(found) for kind, found in registry._ENTRIES.items()}
    )

    @jn.register("faulty", kind="rule")
    def faulty(q: int = 1):
        return q + "1"

    with pytest.raises(TypeError, match="unsupported operand"):
        make("rule", "faulty")
    with pytest.raises(jn.InputError, match=r"rule\.z: faulty allows q"):
        make("rule", "faulty", z=1)
