"""Cholesky's factorisation of many small matrices side by side, in place of LAPACK's one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, Int

from jaxnigt.environments.swapped import swapped

_linalg = jax.scipy.linalg
_solve_any = _linalg.solve

_BLOCK = 6
"""Rows at a time. Hopper's 6 are one block, Humanoid's 23 four."""


@contextlib.contextmanager
def side_by_side() -> Iterator[None]:
    """While physics is traced for a CPU, have its matrices factorised along the axis of the batch.

    MJX and Brax's generalized backend factorise the mass matrix in every step. LAPACK takes a batch of
    them one by one, and waits on a thread of XLA's pool for parts that run on other threads: on several
    devices all may wait for ever and none work. Here an entry of the factor is a row of numbers, one
    for each matrix. Results agree to rounding, but cannot be differentiated, as physics never is here.
    """
    if jax.default_backend() != "cpu":
        yield
        return
    with swapped(_linalg, cho_factor=_cho_factor, cho_solve=_cho_solve, solve=_solve):
        yield


def _cho_factor(
    a: Float[Array, "n n"], lower: bool = False, *_: Any, **__: Any
) -> tuple[Float[Array, "n n"], bool]:
    return _upper(a.T if lower else a), False


def _cho_solve(
    factor: tuple[Float[Array, "n n"], bool], b: Float[Array, "n *m"], *_: Any, **__: Any
) -> Float[Array, "n *m"]:
    u, lower = factor
    each = _substituted if b.ndim == 1 else jax.vmap(_substituted, (None, 1), 1)
    return each(u.T if lower else u, b)


def _solve(
    a: Float[Array, "n n"], b: Float[Array, "n *m"], lower: bool = False, *args: Any, **kwargs: Any
) -> Float[Array, "n *m"]:
    if kwargs.get("assume_a") != "pos":
        return _solve_any(a, b, lower, *args, **kwargs)
    return _cho_solve(_cho_factor(a, lower), b)


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
    """U with a = U^T U, of the upper triangle of a; what is below U's diagonal means nothing.

    By blocks of rows, each taken off the rest at once: one loop over all rows would pass over the whole
    matrix in every turn, and without loops programs take seconds to compile.
    """
    rows, done = [], 0
    while a.shape[0]:
        block = _rows(a, min(_BLOCK, a.shape[0]))
        rows.append(jnp.pad(block, [(0, 0), (done, 0)] + [(0, 0)] * (block.ndim - 2)))
        size = block.shape[0]
        a = a[size:, size:]
        # Term by term: XLA hands sums over an axis to a library that is slow for few numbers.
        for right in block[:, size:]:
            a = a - right[:, None] * right[None]
        done += size
    return jnp.concatenate(rows)


def _rows(a: Float[Array, "n n *batch"], size: int) -> Float[Array, "m n *batch"]:
    """The first m = size rows of U."""
    place = _places(size, a.ndim)

    def row(j: Int[Array, ""], u: Float[Array, "m n *batch"]) -> Float[Array, "m n *batch"]:
        line = _at(u, j)
        line = line / jnp.sqrt(_at(line, j))[None]
        below = u - line[:size, None] * line[None]
        return jnp.where(place == j, line[None], jnp.where(place > j, below, u))

    return jax.lax.fori_loop(0, size, row, a[:size])


@_batch_last
def _substituted(u: Float[Array, "n n *batch"], b: Float[Array, "n *batch"]) -> Float[Array, "n *batch"]:
    """x with U^T U x = b: y with U^T y = b from the top, then x with U x = y from the bottom.

    What is known is taken off all that is not.
    """
    size = b.shape[0]
    place = _places(size, b.ndim)

    def down(j: Int[Array, ""], y: Float[Array, "n *batch"]) -> Float[Array, "n *batch"]:
        line = _at(u, j)
        known = (_at(y, j) / _at(line, j))[None]
        return jnp.where(place == j, known, jnp.where(place > j, y - known * line, y))

    def up(turn: Int[Array, ""], x: Float[Array, "n *batch"]) -> Float[Array, "n *batch"]:
        j = size - 1 - turn
        line = _at(u, j, axis=1)
        known = (_at(x, j) / _at(line, j))[None]
        return jnp.where(place == j, known, jnp.where(place < j, x - known * line, x))

    return jax.lax.fori_loop(0, size, up, jax.lax.fori_loop(0, size, down, b))


def _at(x: Array, j: Int[Array, ""], axis: int = 0) -> Array:
    return jax.lax.dynamic_index_in_dim(x, j, axis, keepdims=False)


def _places(size: int, axes: int) -> Int[Array, "n ..."]:
    """0 to n-1 along the first of some axes."""
    return jnp.arange(size, dtype=jnp.int32).reshape(size, *[1] * (axes - 1))
