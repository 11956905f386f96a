"""Products term by term: the same numbers, and no call of a library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnigt import problems
from jaxnigt.environments import dots
from jaxnigt.environments.brax import quiet
from jaxnigt.environments.dots import by_term

SHAPES = [((3,), (3,)), ((3,), (3, 5)), ((2, 4), (4,)), ((2, 3), (3, 5)), ((1,), (1,))]


def pair(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_short_products_are_written_out(shapes):
    a, b = pair(*shapes)
    with by_term():
        product = jnp.dot(a, b)
        program = jax.make_jaxpr(lambda a, b: jnp.dot(a, b))(a, b)
    np.testing.assert_allclose(product, np.dot(a, b), rtol=1e-5, atol=1e-6)
    assert product.shape == np.dot(a, b).shape
    assert "dot_general" not in str(program)


@pytest.mark.parametrize("shapes", [((5,), (5,)), ((), (3,)), ((2, 2, 3), (3,)), ((0,), (0,))], ids=str)
def test_others_are_left_alone(shapes):
    a, b = pair(*shapes)
    with by_term():
        program = str(jax.make_jaxpr(lambda a, b: jnp.dot(a, b))(a, b))
    assert program == str(jax.make_jaxpr(lambda a, b: jnp.dot(a, b))(a, b))


def test_what_is_asked_for_of_a_product_is_heeded():
    a, b = pair((3,), (3,))
    with by_term():
        assert jnp.dot(a, b, preferred_element_type=jnp.float16).dtype == jnp.float16


def test_lengths_that_differ_are_an_error():
    with by_term(), pytest.raises(TypeError, match="dot"):
        jnp.dot(jnp.ones(3), jnp.ones(1))


def test_an_accelerator_has_its_own(monkeypatch):
    before = jnp.dot
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with by_term():
        assert jnp.dot is before


def test_jax_is_left_as_it_was():
    before = jnp.dot
    with by_term():
        assert jnp.dot is not before
    assert jnp.dot is before


@pytest.mark.loose
@pytest.mark.parametrize("backend", ["mjx", "spring"])
def test_physics_has_them_written_out(backend, monkeypatch):
    def products():
        problem = problems.policy_gradient("reacher", backend=backend, horizon=3)
        keys = jax.random.split(jax.random.key(0), 4)
        with quiet():
            return jax.jit(problem.sample).lower(problem.init(jax.random.key(1)), keys).as_text()

    ours = products().count("dot_general")
    monkeypatch.setattr(dots, "_SHORT", 0)
    assert ours < products().count("dot_general")
