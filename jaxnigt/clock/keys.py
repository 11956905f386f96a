"""JAX's own Threefry keys with the hash written out, for loops that draw one number at a time.

JAX compiles the hash as a loop of its own on CPU, and stacks its two words after every fold: small
code, but a dozen launches a draw. Written out, a draw is one fused operation. Folds and uniform
numbers are the same as those of `jax.random`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float64, Int, Key, UInt32

from jaxnigt.profiles import Noise

Words = tuple[UInt32[Array, ""], UInt32[Array, ""]]
"""The two words of a Threefry key."""

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def words(key: Key[Array, ""]) -> Words:
    """The words of a key; of another generator than Threefry, two words that it draws."""
    if jax.random.key_impl(key) == "threefry2x32":
        data = jax.random.key_data(key)
    else:
        data = jax.random.bits(key, (2,), jnp.uint32)
    return data[0], data[1]


def fold(key: Words, *data: Int[Array, ""]) -> Words:
    """`jax.random.fold_in` for each number in turn."""
    for number in data:
        key = _hashed(key, number.astype(jnp.uint32))
    return key


def draw(noise: Noise, key: Words) -> Float64[Array, ""]:
    """One draw of a noise, the same as `noise.sample` of this key."""
    if noise.quantile is None:
        return noise.sample(jax.random.wrap_key_data(jnp.stack(key), impl="threefry2x32"))
    high, low = (word.astype(jnp.uint64) for word in _hashed(key, jnp.uint32(0)))
    # 52 random bits under the exponent of 1.0 are a number in [1, 2).
    mantissa = ((high << jnp.uint64(32)) | low) >> jnp.uint64(12)
    one = jnp.uint64(0x3FF0000000000000)
    return noise.quantile(jax.lax.bitcast_convert_type(mantissa | one, jnp.float64) - 1.0)


def _hashed(key: Words, counter: UInt32[Array, ""]) -> Words:
    """Threefry-2x32 with 20 rounds of the counter (0, counter) (Salmon et al., SC 2011)."""
    schedule = (*key, key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    a, b = schedule[0], counter + schedule[1]
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            a = a + b
            b = a ^ ((b << jnp.uint32(turn)) | (b >> jnp.uint32(32 - turn)))
        a = a + schedule[(group + 1) % 3]
        b = b + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return a, b
