"""Draws the mean of M samples of Bernoulli(p) / p with one random number, however large M is.

It inverts a table of the binomial distribution in unsigned 32-bit integers, so that draws are the same
in every precision. A probability is off by at most 2^-32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt32


class BinomialTable(NamedTuple):
    """The distribution of a Binomial(count, p).

    Attributes:
        first: i32[], the least value that is ever drawn.
        below: u32[K], 2^32 times the probabilities of a value up to first, up to first + 1, and so on.
    """

    first: Int32[np.ndarray | Array, ""]
    below: UInt32[np.ndarray | Array, " K"]


def binomial_table(count: int, probability: float) -> BinomialTable:
    """Tabulate Binomial(count, probability), for a probability in (0, 1]."""
    if probability == 1.0:
        return BinomialTable(np.asarray(count - 1, np.int32), np.zeros(1, np.uint32))
    mean = count * probability
    # By Bernstein's inequality the values beyond this reach have a probability below e^-50.
    reach = 10 * math.sqrt(mean * (1 - probability)) + 40
    least, most = max(0, math.floor(mean - reach)), min(count, math.ceil(mean + reach))
    k = np.arange(least, most)
    odds = math.log(probability) - math.log1p(-probability)
    logs = np.concatenate([[0.0], np.cumsum(np.log((count - k) / (k + 1)) + odds)])
    weights = np.exp(logs - logs.max())
    below = np.rint(2.0**32 * (np.cumsum(weights) / weights.sum()))
    first = least + int((below == 0).sum())
    inside = below[(below > 0) & (below < 2.0**32)]
    # A table must not be empty. An entry of 0 is below every draw and so changes nothing.
    if not len(inside):
        first, inside = first - 1, np.zeros(1)
    return BinomialTable(np.asarray(first, np.int32), inside.astype(np.uint32))


def draw(table: BinomialTable, bits: UInt32[Array, "*s"]) -> Int32[Array, "*s"]:
    """One binomial draw for each number of uniform bits."""
    above = jnp.searchsorted(jnp.asarray(table.below), bits, side="right")
    return jnp.asarray(table.first) + above.astype(jnp.int32)


def mean_factor(
    table: BinomialTable, expected: Float[Array, ""], bits: UInt32[Array, "*s"]
) -> Float[Array, "*s"]:
    """Binomial(M, p) / (M p), where `expected` is M p: the mean of M samples of Bernoulli(p) / p."""
    return draw(table, bits).astype(jnp.result_type(float)) / expected
