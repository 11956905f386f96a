"""Factorisations side by side: as LAPACK's, without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnigt import problems
from jaxnigt.environments.brax import quiet
from jaxnigt.environments.factorisation import side_by_side

linalg = jax.scipy.linalg


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
    with side_by_side():
        ours = jax.jit(jax.vmap(way))(a, b)
        one = jax.jit(lambda a, b: way(a, b))(a[0], b[0])
    exact = np.linalg.solve(np.asarray(a, float), np.asarray(b, float)[..., None])[..., 0]
    np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one, exact[0], rtol=1e-4, atol=1e-6)


def test_a_batch_of_either_argument_alone():
    a, b = positive(4)
    with side_by_side():
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
    with side_by_side():
        u, lower = linalg.cho_factor(jnp.triu(a[0]))
        solved = linalg.cho_solve((u.T, True), a[1])
        below = linalg.cho_factor(jnp.tril(a[0]), lower=True)
        np.testing.assert_allclose(linalg.cho_solve(below, a[1]), expected, rtol=1e-4, atol=1e-5)
        x = linalg.solve(jnp.tril(a[0]), b[0], lower=True, assume_a="pos")
    np.testing.assert_allclose(a[0] @ x, b[0], rtol=1e-4, atol=1e-5)
    assert not lower
    np.testing.assert_allclose(jnp.triu(u), np.linalg.cholesky(a[0]).T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(solved, expected, rtol=1e-4, atol=1e-5)


def test_a_matrix_that_is_not_positive_definite_gives_nan():
    with side_by_side():
        assert jnp.isnan(by_factor(-jnp.eye(3), jnp.ones(3))).any()


def test_other_solves_are_left_alone():
    a = jnp.array([[0.0, 2.0], [1.0, 0.0]])
    with side_by_side():
        np.testing.assert_allclose(linalg.solve(a, jnp.array([2.0, 3.0])), [3.0, 1.0])


def test_an_accelerator_has_its_own(monkeypatch):
    before = linalg.cho_factor
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with side_by_side():
        assert linalg.cho_factor is before


def test_jax_is_left_as_it_was():
    before = linalg.cho_factor, linalg.cho_solve, linalg.solve

    def fail():
        assert linalg.cho_factor is not before[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), side_by_side():
        fail()
    assert (linalg.cho_factor, linalg.cho_solve, linalg.solve) == before


@pytest.mark.loose
@pytest.mark.parametrize("backend", ["mjx", "generalized", "spring", "positional"])
def test_no_gradient_waits_for_lapack(backend):
    """Its batches stand still on several devices, with a thread of the pool for each."""
    problem = problems.policy_gradient("reacher", backend=backend, horizon=3)
    keys = jax.random.split(jax.random.key(0), 4)
    with quiet():
        lowered = jax.jit(problem.sample).lower(problem.init(jax.random.key(1)), keys)
    assert "lapack" not in lowered.as_text()


@pytest.mark.loose
def test_the_plain_physics_does():
    """So that the test above can fail."""
    problem = problems.policy_gradient("reacher", backend="mjx", horizon=3)
    with quiet():
        states = jax.eval_shape(problem.env.reset, jax.random.key(0))
        lowered = jax.jit(problem.env.step).lower(states, jnp.zeros(problem.env.action_size))
    assert "lapack" in lowered.as_text()
