"""Cholesky's factorisation of many small matrices side by side, in place of LAPACK's one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

_linalg = jax.scipy.linalg
_solve_any = _linalg.solve


@contextlib.contextmanager
def side_by_side() -> Iterator[None]:
    """While physics is traced for a CPU, have its matrices factorised along the axis of the batch.

    MJX and Brax's generalized backend factorise the mass matrix in every step. LAPACK takes a batch of
    them one by one, and waits on a thread of XLA's pool for parts that run on other threads: on several
    devices all may wait for ever and none work. Here an entry of the factor is a row of numbers, one
    for each matrix. Results agree to rounding, but cannot be differentiated, as physics never is here.
    Programs grow with the square of the size of a matrix, as for bodies of some dozens of joints.
    """
    if jax.default_backend() != "cpu":
        yield
        return
    ours = {"cho_factor": _cho_factor, "cho_solve": _cho_solve, "solve": _solve}
    before = {name: getattr(_linalg, name) for name in ours}
    _put(ours)
    try:
        yield
    finally:
        _put(before)


def _put(functions: dict[str, Callable[..., Any]]) -> None:
    for name, function in functions.items():
        setattr(_linalg, name, function)


def _cho_factor(a: Float[Array, "n n"], **_: Any) -> tuple[Float[Array, "n n"], bool]:
    return _upper(a), False


def _cho_solve(
    factor: tuple[Float[Array, "n n"], bool], b: Float[Array, "n *m"], **_: Any
) -> Float[Array, "n *m"]:
    u, lower = factor
    each = _substituted if b.ndim == 1 else jax.vmap(_substituted, (None, 1), 1)
    return each(u.T if lower else u, b)


def _solve(a: Float[Array, "n n"], b: Float[Array, "n *m"], **kwargs: Any) -> Float[Array, "n *m"]:
    if kwargs.get("assume_a") != "pos":
        return _solve_any(a, b, **kwargs)
    return _cho_solve(_cho_factor(a), b)


def _batch_last(function: Callable[..., Array]) -> Callable[..., Array]:
    """A batch becomes the last axis, along which a CPU's kernels run."""
    mapped = custom_vmap(function)

    @mapped.def_vmap
    def rule(size: int, batched: list[bool], *args: Array) -> tuple[Array, bool]:
        def last(x: Array, own: bool) -> Array:
            return jnp.moveaxis(x, 0, -1) if own else jnp.broadcast_to(x[..., None], (*x.shape, size))

        return jnp.moveaxis(function(*map(last, args, batched)), -1, 0), True

    return mapped


@_batch_last
def _upper(a: Float[Array, "n n *batch"]) -> Float[Array, "n n *batch"]:
    """U with a = U^T U, of the upper triangle of a."""
    rows = []
    for column in range(a.shape[0]):
        row = a[0] / jnp.sqrt(a[0, :1])
        rows.append(jnp.pad(row, [(column, 0)] + [(0, 0)] * (row.ndim - 1)))
        a = a[1:, 1:] - row[1:, None] * row[None, 1:]
    return jnp.stack(rows)


@_batch_last
def _substituted(u: Float[Array, "n n *batch"], b: Float[Array, "n *batch"]) -> Float[Array, "n *batch"]:
    """x with U^T U x = b: y from the top, then x from the bottom."""
    size, y, x = b.shape[0], [], []
    for row in range(size):
        known = (u[:row, row] * jnp.stack(y)).sum(0) if y else 0.0
        y.append((b[row] - known) / u[row, row])
    for row in reversed(range(size)):
        known = (u[row, row + 1 :] * jnp.stack(x)).sum(0) if x else 0.0
        x.insert(0, (y[row] - known) / u[row, row])
    return jnp.stack(x)
