"""Replaced parts of the physics: the same numbers, and nothing replaced outside the context."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnigt import problems
from jaxnigt.environments import make, mjx_cpu, substituted
from jaxnigt.environments.brax import quiet

with quiet():
    from brax import fluid
    from mujoco.mjx._src import solver

linalg = jax.scipy.linalg
PLACES = [
    (jnp, "dot"),
    (linalg, "cho_factor"),
    (linalg, "cho_solve"),
    (linalg, "solve"),
    (solver, "_while_loop_scan"),
    (fluid, "jp"),
]


def standing():
    return [getattr(place, name) for place, name in PLACES]


def test_everything_is_replaced_inside_and_left_as_it_was_outside():
    before = standing()

    def fail():
        assert all(x is not y for x, y in zip(standing(), before, strict=True))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), substituted():
        fail()
    assert standing() == before


def test_contexts_may_be_nested():
    before = standing()
    with substituted():
        outer = standing()
        with substituted():
            assert standing() == outer
        assert standing() == outer
    assert standing() == before


def test_an_accelerator_keeps_its_own_libraries(monkeypatch):
    before = standing()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with substituted():
        kept = [x is y for x, y in zip(standing(), before, strict=True)]
    assert kept == [True] * 4 + [False] * 2


def test_other_versions_keep_their_own(monkeypatch):
    """Functions with other arguments stay, and a loop that MJX no longer has is not missed."""

    def other(x, y):
        return x, y

    for place, name in PLACES[:4]:
        monkeypatch.setattr(place, name, other)
    monkeypatch.delattr(solver, "_while_loop_scan")
    monkeypatch.setattr(jnp, "clip", lambda x, a_min=None: x)
    numpy = fluid.jp
    with substituted():
        assert all(getattr(place, name) is other for place, name in PLACES[:4])
        assert not hasattr(solver, "_while_loop_scan")
        assert fluid.jp is numpy


def arrays(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def program(a, b):
    return str(jax.make_jaxpr(lambda a, b: jnp.dot(a, b))(a, b))


SHAPES = [((3,), (3,)), ((3,), (3, 5)), ((2, 4), (4,)), ((2, 3), (3, 5)), ((1,), (1,))]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_short_products_are_written_out(shapes):
    a, b = arrays(*shapes)
    with substituted():
        product = jnp.dot(a, b)
        assert "dot_general" not in program(a, b)
    np.testing.assert_allclose(product, np.dot(a, b), rtol=1e-5, atol=1e-6)
    assert product.shape == np.dot(a, b).shape


@pytest.mark.parametrize("shapes", [((5,), (5,)), ((), (3,)), ((2, 2, 3), (3,)), ((0,), (0,))], ids=str)
def test_other_products_are_left_alone(shapes):
    a, b = arrays(*shapes)
    with substituted():
        ours = program(a, b)
    assert ours == program(a, b)


def test_options_and_errors_of_a_product_are_kept():
    a, b = arrays((3,), (3,))
    with substituted():
        assert jnp.dot(a, b, preferred_element_type=jnp.float16).dtype == jnp.float16
        with pytest.raises(TypeError, match="dot"):
            jnp.dot(a, b[:1])


def positive(size, count=5):
    """Positive definite matrices and vectors, a count of each."""
    x = jax.random.normal(jax.random.key(size), (count, size, size + 1))
    a = x[..., :-1] @ jnp.swapaxes(x[..., :-1], 1, 2) + size * jnp.eye(size)[None]
    return a, x[..., -1]


def by_factor(a, b):
    return linalg.cho_solve(linalg.cho_factor(a), b)


def by_solve(a, b):
    return linalg.solve(a, b, assume_a="pos")


def by_inverse(a, b):
    return linalg.solve(a, jnp.eye(len(b)), assume_a="pos") @ b


@pytest.mark.parametrize("size", [1, 2, 6, 7, 23])
@pytest.mark.parametrize("way", [by_factor, by_solve, by_inverse])
def test_the_same_solutions_as_lapack(size, way):
    a, b = positive(size)
    with substituted():
        ours = jax.jit(jax.vmap(way))(a, b)
        one = jax.jit(lambda a, b: way(a, b))(a[0], b[0])
    exact = np.linalg.solve(np.asarray(a, float), np.asarray(b, float)[..., None])[..., 0]
    np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one, exact[0], rtol=1e-4, atol=1e-6)


def test_a_batch_of_either_argument_alone():
    a, b = positive(4)
    with substituted():
        vectors = jax.vmap(by_factor, (None, 0))(a[0], b)
        matrices = jax.vmap(by_factor, (0, None))(a, b[0])
        twice = jax.vmap(jax.vmap(by_factor, (None, 0)), (0, None))(a, b)
    pairs = np.linalg.solve(np.asarray(a, float)[:, None], np.asarray(b, float)[None, ..., None])[..., 0]
    np.testing.assert_allclose(vectors, pairs[0], rtol=1e-4)
    np.testing.assert_allclose(matrices, pairs[:, 0], rtol=1e-4)
    np.testing.assert_allclose(twice, pairs, rtol=1e-4)


def test_the_factor_reads_the_triangle_that_is_asked_for():
    a, b = positive(5)
    expected = np.linalg.solve(a[0], a[1])  # not symmetric
    with substituted():
        u, lower = linalg.cho_factor(jnp.triu(a[0]))
        solved = linalg.cho_solve((u.T, True), a[1])
        below = linalg.cho_factor(jnp.tril(a[0]), lower=True)
        np.testing.assert_allclose(linalg.cho_solve(below, a[1]), expected, rtol=1e-4, atol=1e-5)
        x = linalg.solve(jnp.tril(a[0]), b[0], lower=True, assume_a="pos")
    np.testing.assert_allclose(a[0] @ x, b[0], rtol=1e-4, atol=1e-5)
    assert not lower
    np.testing.assert_allclose(jnp.triu(u), np.linalg.cholesky(a[0]).T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(solved, expected, rtol=1e-4, atol=1e-5)


def test_other_matrices():
    a = jnp.array([[0.0, 2.0], [1.0, 0.0]])
    with substituted():
        assert jnp.isnan(by_factor(-jnp.eye(3), jnp.ones(3))).any()  # not positive definite
        np.testing.assert_allclose(linalg.solve(a, jnp.array([2.0, 3.0])), [3.0, 1.0])


def test_the_line_search_ends_as_its_condition_says():
    with substituted():
        loop = solver._while_loop_scan
        ends = jax.vmap(lambda x: loop(lambda x: x < 7, lambda x: 2 * x, x, 50))(jnp.array([1, 3, 9]))
    np.testing.assert_array_equal(ends, [8, 12, 9])


def moved(env, turns):
    """Observations of six Reachers after some steps, and their program."""

    def run(key):
        reset, act = jax.random.split(key)
        actions = jax.random.uniform(act, (turns, env.action_size), minval=-1.0, maxval=1.0)
        return jax.lax.scan(lambda s, a: (env.step(s, a),) * 2, env.reset(reset), actions)[1].obs

    keys = jax.random.split(jax.random.key(0), 6)
    with quiet():
        traced = jax.jit(jax.vmap(run)).trace(keys)
        return np.asarray(traced.lower().compile()(keys)), str(traced.jaxpr)


@pytest.mark.loose
def test_the_same_physics_in_fewer_turns():
    env = make("reacher", "mjx")
    plain, long = moved(env, 5)
    with substituted():
        early, short = moved(env, 5)
    turns = f"length={env.sys.opt.ls_iterations}"
    assert turns in long
    assert turns not in short
    np.testing.assert_allclose(early, plain, rtol=1e-4, atol=1e-4)
    assert np.abs(early[:, -1] - early[:, 0]).max() > 0.01


def lowered(backend):
    problem = problems.policy_gradient("reacher", backend=backend, horizon=3)
    keys = jax.random.split(jax.random.key(0), 4)
    with quiet():
        traced = jax.jit(problem.sample).trace(problem.init(jax.random.key(1)), keys)
        return str(traced.jaxpr), traced.lower().as_text(), problem


@pytest.mark.loose
@pytest.mark.parametrize("backend", ["mjx", "generalized", "spring", "positional"])
def test_no_gradient_waits_for_lapack(backend, monkeypatch):
    """Its batches stand still on several devices, with a thread of the pool for each."""
    jaxpr, text, problem = lowered(backend)
    assert "lapack" not in text
    if backend == "mjx":
        assert f"length={problem.env.sys.opt.ls_iterations}" not in jaxpr
    if backend in ("mjx", "spring"):
        monkeypatch.setattr(mjx_cpu, "_SHORT", 0)
        assert text.count("dot_general") < lowered(backend)[1].count("dot_general")


@pytest.mark.loose
def test_the_plain_physics_calls_lapack():
    """So that the test above can fail."""
    problem = problems.policy_gradient("reacher", backend="mjx", horizon=3)
    with quiet():
        states = jax.eval_shape(problem.env.reset, jax.random.key(0))
        text = jax.jit(problem.env.step).lower(states, jnp.zeros(problem.env.action_size)).as_text()
    assert "lapack" in text
