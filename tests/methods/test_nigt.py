import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnigt as jn


def test_a_hand_computed_sequence():
    # alpha = 5, eta = 1/2, descent. d_0 = g_0 = (3, 4), norm 5: theta_1 = (0, 0) - (3, 4).
    # theta~_1 = theta_1 + (theta_1 - theta_0) = (-6, -8).
    # g_1 = (5, -4): d_1 = ((3, 4) + (5, -4)) / 2 = (4, 0): theta_2 = (-3, -4) - (5, 0) = (-8, -4).
    # theta~_2 = (-8, -4) + (-5, 0) = (-13, -4).
    # g_2 = (-4, 24): d_2 = (0, 12): theta_3 = (-8, -9); theta~_3 = (-8, -14).
    optimiser = jn.nigt(stepsize=5.0, momentum=0.5)
    params = {"a": jnp.array([0.0]), "b": jnp.array(0.0)}
    state = optimiser.init(params)
    steps = [
        ((0.0, 0.0), (3.0, 4.0), (-3.0, -4.0)),
        ((-6.0, -8.0), (5.0, -4.0), (-8.0, -4.0)),
        ((-13.0, -4.0), (-4.0, 24.0), (-8.0, -9.0)),
        ((-8.0, -14.0), (0.0, 0.0), None),
    ]
    for point, gradient, after in steps:
        at = jn.nigt_eval_params(state, params)
        np.testing.assert_allclose((at["a"][0], at["b"]), point, rtol=1e-6)
        if after is None:
            break
        gradient = {"a": jnp.array([gradient[0]]), "b": jnp.array(gradient[1])}
        updates, state = optimiser.update(gradient, state)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose((params["a"][0], params["b"]), after, rtol=1e-6)


def test_a_zero_direction_makes_a_zero_step():
    optimiser = jn.nigt(0.1, 0.5)
    params = jnp.ones(3)
    updates, _ = optimiser.update(jnp.zeros(3), optimiser.init(params))
    np.testing.assert_array_equal(updates, np.zeros(3))


def test_momentum_one_is_a_normalised_gradient_step_at_the_params():
    optimiser = jn.nigt(0.25, 1.0)
    params = jnp.array([1.0, 2.0])
    state = optimiser.init(params)
    for gradient in (jnp.array([3.0, 4.0]), jnp.array([0.0, -2.0])):
        np.testing.assert_array_equal(jn.nigt_eval_params(state, params), params)
        updates, state = optimiser.update(gradient, state)
        np.testing.assert_allclose(updates, -0.25 * gradient / jnp.linalg.norm(gradient), rtol=1e-6)
        params = optax.apply_updates(params, updates)


def test_schedules_use_the_momentum_of_the_coming_update():
    eta = [1.0, 0.5, 0.25]
    optimiser = jn.nigt(
        lambda count: 1.0 / (1.0 + count.astype(jnp.float32)), lambda count: jnp.array(eta)[count]
    )
    params = jnp.array([0.0, 0.0])
    state = optimiser.init(params)
    updates, state = optimiser.update(jnp.array([1.0, 0.0]), state)
    params = optax.apply_updates(params, updates)
    # theta_1 = (-1, 0), eta_1 = 1/2: one displacement ahead.
    np.testing.assert_allclose(jn.nigt_eval_params(state, params), [-2.0, 0.0])
    updates, state = optimiser.update(jnp.array([0.0, 1.0]), state)
    # d_1 = (1/2, 1/2), alpha_1 = 1/2.
    np.testing.assert_allclose(updates, [-0.5 / np.sqrt(2), -0.5 / np.sqrt(2)], rtol=1e-6)
    params = optax.apply_updates(params, updates)
    # eta_2 = 1/4: three displacements ahead.
    np.testing.assert_allclose(jn.nigt_eval_params(state, params), params + 3 * updates, rtol=1e-6)


def test_inside_a_chain_and_under_vmap():
    def run(stepsize):
        optimiser = optax.chain(optax.clip_by_global_norm(1.0), jn.nigt(stepsize, 0.3))
        params = jnp.array([1.0, -2.0])
        state = optimiser.init(params)
        for _ in range(3):
            updates, state = optimiser.update(jn.nigt_eval_params(state, params), state)
            params = optax.apply_updates(params, updates)
        return params

    stepsizes = jnp.array([0.01, 0.1])
    together = jax.jit(jax.vmap(run))(stepsizes)
    np.testing.assert_allclose(together, jnp.stack([run(a) for a in stepsizes]), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch": -1}, "batch: got -1"),
        ({"init_batch": 0}, "init_batch: got 0"),
        ({"momentum": 0.0}, "momentum: got 0.0, numbers in \\(0, 1\\] are allowed"),
        ({"momentum": 1.5}, "momentum: got 1.5"),
        ({"momentum": [0.1, float("nan")]}, "momentum: got"),
        ({"stepsize": 0.0}, "stepsize: got 0.0, finite numbers above 0"),
        ({"stepsize": "large"}, "stepsize: got 'large'"),
        ({"stepsize": [0.1, 0.2], "momentum": [0.1, 0.2, 0.3]}, "do not broadcast together"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(jn.InputError, match=words):
        _ = jn.methods.rennala_nigt(**arguments).leaf_shape


def test_synchronous_first_rounds_are_whole():
    with pytest.raises(jn.InputError, match="init_batch: got 15, multiples of the 10 workers"):
        jn.methods.synchronous_nigt(10, init_batch=15)


def test_methods_work_with_their_defaults():
    assert jn.methods.rennala_nigt().leaf_shape == ()
    assert jn.methods.synchronous_nigt().init_batch == 10
