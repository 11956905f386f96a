"""Replaces parts of MJX, Brax and JAX while an environment is traced. `substituted()` is the one switch.

    original                                replacement                                     where
    `_while_loop_scan` of MJX's solver      a loop that ends when the whole batch is done   everywhere
    `jax.numpy` in Brax's fluid forces      the same with the old argument of `clip`        everywhere
    `jax.numpy.dot`                         short products written out                      CPU
    `cho_factor`, `cho_solve` and `solve`   factorisation of a batch of matrices at once    CPU
      of `jax.scipy.linalg`

The results agree with those of the originals up to rounding. Replacements cannot be differentiated in
reverse; score-function gradients never differentiate the physics. An original that takes other arguments
than those which its replacement was written for stays in place.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, Int

_library_dot, _library_solve = jnp.dot, jax.scipy.linalg.solve

_SHORT = 4
"""Vectors of up to so many entries count as short. Quaternions have the most."""

_BLOCK = 6
"""Rows that `_upper` factorises at a time. A hopper's 6 are one block, a humanoid's 23 are four."""


@contextlib.contextmanager
def substituted() -> Iterator[None]:
    """Use this file's replacements within the context, and the originals again after it.

    JAX keeps what it has traced: trace an environment inside the context the first time. Contexts may be
    nested. Modules that are not loaded are left alone.

    Example:
        >>> x, y = jnp.ones(3), jnp.ones(3)
        >>> with substituted():
        ...     product = jnp.dot(x, y)
        >>> print(product)
        3.0
    """
    cpu = jax.default_backend() == "cpu"
    before = []
    try:
        for module, name, replacement, fits, only_on_cpu in _SUBSTITUTIONS:
            place = sys.modules.get(module)
            original = getattr(place, name, None)
            if original is not None and (cpu or not only_on_cpu) and fits(original):
                before.append((place, name, original))
                setattr(place, name, replacement)
        yield
    finally:
        for place, name, original in before:
            setattr(place, name, original)


class _Substitution(NamedTuple):
    """One row of the table at the top of this file. `fits` tells whether an original may be replaced."""

    module: str
    name: str
    replacement: Any
    fits: Callable[[Any], bool]
    only_on_cpu: bool


def _takes(*names: str) -> Callable[[Any], bool]:
    """A test of whether a function's first parameters have these names."""
    return lambda function: tuple(inspect.signature(function).parameters)[: len(names)] == names


def _while_loop(more: Callable[[Any], Any], turn: Callable[[Any], Any], start: Any, most: int) -> Any:
    """MJX's line search, in a loop that ends when no element of the batch needs another turn.

    MJX wants to be differentiable in reverse. It therefore runs `most` turns, 50 unless the model says
    otherwise, and those after the end of the search change nothing but cost as much as the others.
    """
    del most  # `more` counts the turns and ends the loop after as many.
    return jax.lax.while_loop(more, turn, start)


_NUMPY_OF_FLUID = types.SimpleNamespace(**{**vars(jnp), "clip": lambda x, a_min: jnp.maximum(x, a_min)})
"""Brax's fluid forces move the swimmer. They call `clip(x, a_min=...)`, which JAX has renamed."""


def _dot(a: Any, b: Any, **kwargs: Any) -> Array:
    """`jax.numpy.dot`, as a sum of products where the vectors are short.

    XLA hands a batch of dot products to a library, whatever their length. That costs a call for the
    three numbers of a point in space, and it splits in two what could be one kernel.
    """
    ranks = jnp.ndim(a), jnp.ndim(b)
    if kwargs or not set(ranks) <= {1, 2} or not a.shape[-1] == b.shape[0] in range(1, _SHORT + 1):
        return _library_dot(a, b, **kwargs)
    # The axis of the terms comes first. Rows of a and columns of b, if any, follow in this order.
    left, right = (a.T[:, :, None], b[:, None]) if ranks == (2, 2) else (a.T, b)
    total = left[0] * right[0]
    for k in range(1, len(left)):
        total = total + left[k] * right[k]
    return total


# MJX and Brax's generalized engine factorise the mass matrix in every step. LAPACK takes the matrices of
# a batch one by one. It also waits on a thread of XLA's pool for parts that run on other threads, so
# that on several devices all threads may wait for ever. The functions below need no library: an entry of
# the factor is a row of numbers, one for each matrix of the batch.


def _cho_factor(
    a: Float[Array, "n n"], lower: bool = False, *_: Any, **__: Any
) -> tuple[Float[Array, "n n"], bool]:
    return _upper(a.T if lower else a), False


def _cho_solve(
    factor: tuple[Float[Array, "n n"], bool], b: Float[Array, "n *m"], *_: Any, **__: Any
) -> Float[Array, "n *m"]:
    u, lower = factor
    each = _solved if b.ndim == 1 else jax.vmap(_solved, (None, 1), 1)
    return each(u.T if lower else u, b)


def _solve(
    a: Float[Array, "n n"], b: Float[Array, "n *m"], lower: bool = False, *args: Any, **kwargs: Any
) -> Float[Array, "n *m"]:
    if kwargs.get("assume_a") != "pos":
        return _library_solve(a, b, lower, *args, **kwargs)
    return _cho_solve(_cho_factor(a, lower), b)


def _batch_last(function: Callable[..., Array]) -> Callable[..., Array]:
    """Make `jax.vmap` put the batch on the last axis, along which the kernels of a CPU run."""
    mapped = custom_vmap(function)

    @mapped.def_vmap
    def rule(size: int, batched: list[bool], *args: Array) -> tuple[Array, bool]:
        def last(x: Array, own: bool) -> Array:
            return jnp.moveaxis(x, 0, -1) if own else jnp.broadcast_to(x[..., None], (*x.shape, size))

        return jnp.moveaxis(function(*map(last, args, batched)), -1, 0), True

    return mapped


@_batch_last
def _upper(a: Float[Array, "n n *batch"]) -> Float[Array, "n n *batch"]:
    """U with a = U^T U, from the upper triangle of a. Entries below the diagonal of U mean nothing.

    It works on blocks of rows and subtracts each block from all later rows at once. A loop over single
    rows would pass over the whole matrix in every turn. Without loops a program takes long to compile.
    """
    rows, done = [], 0
    while a.shape[0]:
        block = _rows(a, min(_BLOCK, a.shape[0]))
        rows.append(jnp.pad(block, [(0, 0), (done, 0)] + [(0, 0)] * (block.ndim - 2)))
        size = block.shape[0]
        a = a[size:, size:]
        # One term at a time: XLA hands a sum over an axis to a library that is slow for few terms.
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
def _solved(u: Float[Array, "n n *batch"], b: Float[Array, "n *batch"]) -> Float[Array, "n *batch"]:
    """x with U^T U x = b. First U^T y = b is solved from the top, then U x = y from the bottom.

    Each entry that is found is subtracted from all equations that are left.
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
    """The numbers 0 to n-1 along the first of some axes."""
    return jnp.arange(size, dtype=jnp.int32).reshape(size, *[1] * (axes - 1))


_LINALG = "jax.scipy.linalg"
_SUBSTITUTIONS = (
    _Substitution(
        "mujoco.mjx._src.solver",
        "_while_loop_scan",
        _while_loop,
        _takes("cond_fun", "body_fun", "init_val", "max_iter"),
        False,
    ),
    _Substitution(
        "brax.fluid",
        "jp",
        _NUMPY_OF_FLUID,
        lambda numpy: "a_min" not in inspect.signature(numpy.clip).parameters,
        False,
    ),
    _Substitution("jax.numpy", "dot", _dot, _takes("a", "b"), True),
    _Substitution(_LINALG, "cho_factor", _cho_factor, _takes("a", "lower"), True),
    _Substitution(_LINALG, "cho_solve", _cho_solve, _takes("c_and_lower", "b"), True),
    _Substitution(_LINALG, "solve", _solve, _takes("a", "b", "lower"), True),
)
