"""Hard instances for given constants and accuracy: chains as long as the constants allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from jaxnigt.checks import (
    InputError,
    as_numbers,
    as_sequence,
    in_range,
    one_number,
    positive,
    room,
    whole,
    within,
)
from jaxnigt.constants import (
    CHAIN_CURVATURE,
    CHAIN_DROP,
    CHAIN_SMOOTHNESS,
    CHAIN_STEEPEST,
    NESTED_QUADRATIC,
    NESTED_SLOPE,
    QUADRATIC_CURVATURE,
    QUADRATIC_DROP,
    QUADRATIC_SMOOTHNESS,
    QUADRATIC_THIRD,
    Constants,
)
from jaxnigt.problems.chains.chain import Chain, NestedChain, QuadraticChain, ZeroChain
from jaxnigt.registry import register

_FAR = 1e50
_MOST = 10**6
"""Coordinates of a chain."""


@register("chain")
def chain(
    *,
    delta: float = 120.0,
    L_g: float = 152.0,
    L_h: float | None = 2070.0,
    sigma: float = 46.0,
    epsilon: float = 0.5,
    threshold: float = 0.0,
) -> Chain:
    """The scaled zero-chain: the hardest J known to us for a method of given constants and accuracy.

    J(x) = -a F_T(x / b) with a = 2 epsilon b, b = max(304 epsilon / L_g, sqrt(4140 epsilon / L_h)), T =
    floor(delta / (24 epsilon b)) and p = min(1, (46 epsilon / sigma)^2). While a coordinate is
    undiscovered, |grad J| > 2 epsilon. A method that with probability 1/2 has not discovered all of them
    therefore has E|grad J| > epsilon. The default is -F_10 itself with p = 1/4. Source: Carmon et al.,
    arXiv 1710.11606; Arjevani et al., arXiv 1912.02365. The constant 2070 and the scaling for E|grad J|
    <= epsilon with a Lipschitz Hessian are derived.

    Args:
        delta: upper bound of J* - J(0).
        L_g: Lipschitz constant of the gradient.
        L_h: Lipschitz constant of the Hessian. With None or inf it is unbounded, and `constants` holds
            the chain's own.
        sigma: standard deviation of a stochastic gradient; 0 for exact ones.
        epsilon: accuracy on E|grad J|.
        threshold: a coordinate counts as discovered where |x| / b is above it, in [0, 1/2). With 1/4, as
            in Arjevani et al., the noise stays on until a coordinate has gone a good part of its way.

    Raises:
        InputError: a number out of range, or an accuracy so coarse that no coordinate is left.

    Example:
        >>> problem = chain(epsilon=0.25)
        >>> problem.levels, problem.probability
        (array([28], dtype=int32), array([0.0625]))
    """
    slope = 2 * _size("epsilon", epsilon)
    probability = np.array([_chance(slope, sigma)])
    return _one_chain(np.ones((1, 2)), probability, slope, delta, L_g, L_h, sigma, epsilon, threshold)


@register("chain_group")
def chain_group(
    *,
    workers: int = 4,
    owners: Sequence[int] = (-1,),
    delta: float = 120.0,
    L_g: float = 152.0,
    L_h: float | None = 2070.0,
    sigma: float = 184.0,
    epsilon: float = 0.5,
    threshold: float = 0.0,
) -> Chain:
    """The chain of `chain`, held by k of n workers. The others discover nothing.

    The objective of each owner is n / k times J, that of the others is 0. The noise is measured against
    that larger gradient, so that p = min(1, (46 epsilon n / (k sigma))^2). With the slowest worker as
    only owner a coordinate takes at least its h_n. With the k slowest it takes about 1 / (p sum 1/h_i),
    the sum over them; the best k makes this time that of Malenia up to a factor 1 + ln n.

    `owners` are counted from 0 or, as in lists, from the end; `sigma` is that of each worker. The other
    arguments, and the errors, are those of `chain`. Source: Tyurin and Richtarik, arXiv 2305.12387, for
    an objective that one worker holds. Groups and the scaling are derived.

    Example:
        >>> chain_group(workers=4, owners=[2, 3]).probability
        array([1.    , 1.    , 0.0625, 0.0625])
    """
    n = whole("workers", workers, 2)
    given = as_sequence("owners", owners, "numbers of workers")
    held = sorted({owner % n for owner in given if -n <= whole("owners", owner, -n) < n})
    if not held or len(held) != len(owners):
        raise InputError(f"owners: got {owners}, different workers of {-n} to {n - 1} are allowed.")
    slope, share = 2 * _size("epsilon", epsilon), n / len(held)
    shares, probability = np.zeros((n, 2)), np.ones(n)
    shares[held], probability[held] = share, _chance(share * slope, sigma)
    return _one_chain(shares, probability, slope, delta, L_g, L_h, sigma, epsilon, threshold)


@register("chain_split")
def chain_split(
    *,
    workers: int = 2,
    owners: tuple[int, int] = (0, 1),
    delta: float = 120.0,
    L_g: float = 152.0,
    L_h: float | None = 2070.0,
    epsilon: float = 1.0,
) -> Chain:
    """A chain whose odd links belong to one worker and whose even links belong to another.

    Each coordinate costs a message. Gradients are exact. The owners' objectives are n times their terms
    of J, those of the others are 0. Who discovers coordinate k cannot use it, because coordinate k + 1
    is in the gradients of the other owner alone. So T coordinates need T - 1 messages between the
    owners. Without noise |grad J| > epsilon is enough, and the slope is epsilon instead of 2 epsilon.

    `owners` are who holds the odd links and who the even ones, counted from 0. The other arguments, and
    the errors, are those of `chain`. Source: Tyurin and Richtarik, 2024, the proof of their lower bound
    for heterogeneous workers. The scaling with a Lipschitz Hessian is derived.

    Example:
        >>> chain_split().levels
        array([10], dtype=int32)
    """
    n = whole("workers", workers, 2)
    pair = as_sequence("owners", owners, "numbers of workers")
    if len(pair) != 2 or pair[0] == pair[1] or max(whole("owners", owner, 0) for owner in pair) >= n:
        raise InputError(f"owners: got {owners}, two different workers of 0 to {n - 1} are allowed.")
    shares = np.zeros((n, 2))
    shares[pair, [0, 1]] = n
    return _one_chain(shares, np.ones(n), _size("epsilon", epsilon), delta, L_g, L_h, 0.0, epsilon, 0.0)


@register("chain_blocks")
def chain_blocks(
    *,
    slowness: Float[np.ndarray, " n"] | Sequence[float] = (1.0, 2.0, 4.0, 8.0),
    delta: float = 480.0,
    L_g: float = 152.0,
    L_h: float | None = 2070.0,
    sigma: float = 184.0,
    epsilon: float = 0.5,
    threshold: float = 0.0,
) -> Chain:
    """A chain for each worker. All of them are needed, and all take equally long.

    J = -sum_i g_i b_i F_{T_i}(x_i / b_i) over blocks x_i of coordinates; worker i holds n times term i.
    While block i has an undiscovered coordinate its gradient is above g_i, and sum_i g_i^2 =
    4 epsilon^2: |grad J| > epsilon until blocks with 3/4 of that sum are done. With noise sigma at each
    worker, p_i = min(1, (23 n g_i / sigma)^2). The g_i are chosen so that the time T_i h_i / p_i of
    block i is the same t for all blocks and as large as possible: g_i^2 is in proportion to h_i where
    the gradient limits the widths b_i, and to h_i^(4/3) where the Hessian does.

    With a Lipschitz gradient alone t is of the order of mean(h) sigma^2 L_g delta / (n epsilon^4),
    which is Malenia's. With a Lipschitz Hessian it is of the order of (sum_i h_i^(4/3))^(3/4) sigma^2
    sqrt(L_h) delta / (n^2 epsilon^(7/2)), for equal workers n^(-1/4) times Malenia's; there
    `chain_group` is harder.

    `slowness` holds the h_i up to a common factor; `sigma` is that of each worker. The other arguments,
    and the errors, are those of `chain`. Source: Tyurin and Richtarik, arXiv 2305.12387 (blocks of
    coordinates). The choice of g_i and the case of a Lipschitz Hessian are derived.

    Example:
        >>> chain_blocks(slowness=[1.0, 3.0]).levels
        array([26, 37], dtype=int32)
    """
    h = as_numbers("slowness", slowness)
    if h.ndim != 1 or len(h) < 2 or not (np.isfinite(h) & (h > 0)).all():
        raise InputError(f"slowness: got {slowness!r}, two or more finite numbers above 0 are allowed.")
    n, delta, epsilon = len(h), _size("delta", delta), _size("epsilon", epsilon)
    blocks = [_blocks(h, power, L_g, L_h, sigma, epsilon) for power in (1.0, 4 / 3)]
    # How much of delta each second of the blocks' common time takes, at 12 for each coordinate.
    rates = [(CHAIN_DROP * g * b * p / h).sum() for g, b, p in blocks]
    g, b, p = blocks[int(np.argmin(rates))]
    length = _lengths(delta / min(rates) * CHAIN_DROP * g * b * p / h, g * b, epsilon)
    terms = np.zeros((n, n, length.max()))
    for i in range(n):
        terms[i, i, : length[i]] = n
    function = _zero_chain(terms, g * b, b, threshold)
    constants = Constants(L_g, max(map(_curvature, g, b, [L_h] * n)), sigma, delta)
    return Chain(function, p, length, constants, epsilon)


@register("chain_deterministic")
def chain_deterministic(
    *, delta: float = 15.0, L_g: float = 184.0, L_h: float = 31.41, epsilon: float = 0.0444
) -> Chain:
    """A chain on which exact gradients discover one coordinate at a time while |grad J| stays large.

    J(x) = -l s^2 f(x / s) for the quadratic chain f of `QuadraticChain` on T + 1 coordinates, with
    l = L_g / 184, mu = (4 epsilon L_h / (314.1 l^2))^(4/7), s = 314.1 l mu / L_h and T as large as
    delta allows. While coordinates T and T + 1 are 0, |grad J| >= epsilon. At least T gradients
    therefore have to be computed one after another, of the order of delta L_g^(3/7) L_h^(2/7)
    epsilon^(-12/7). The default is f itself, up to rounding, with mu = 0.1.

    Arguments and errors are those of `chain`, but L_h is a number. Source: Carmon, Duchi, Hinder,
    Sidford, arXiv 1711.00841, for the function and the bound mu^(3/4) / 4 on its gradient. The constants
    184, 314.1 and 7.35 are derived.

    Example:
        >>> chain_deterministic().levels
        array([20], dtype=int32)
    """
    _size("L_h", L_h)
    scale = _size("L_g", L_g) / QUADRATIC_SMOOTHNESS
    mu = (4 * _size("epsilon", epsilon) * L_h / (QUADRATIC_THIRD * scale**2)) ** (4 / 7)
    width = QUADRATIC_THIRD * scale * mu / L_h
    height = scale * width**2
    longest = (_size("delta", delta) / height - math.sqrt(mu) / 2) / (QUADRATIC_DROP * mu)
    if mu > 1 or longest < 1:
        raise InputError(
            f"epsilon: got {epsilon!r}, which no chain is hard for; smaller ones are allowed, or a "
            "larger delta or L_g."
        )
    room("epsilon", longest, _MOST)
    length = math.floor(longest)
    links = np.append(np.ones(length), 0.0)
    scales = (np.array([each]) for each in (height, width, mu))
    function = QuadraticChain(links, *scales)  # pyright: ignore[reportArgumentType]
    constants = Constants(L_g, L_h, 0.0, delta)
    return Chain(function, np.ones(1), np.array([length]), constants, epsilon)


@register("chain_nested")
def chain_nested(
    *, delta: float = 1.6, L_g: float = 12.7, L_h: float = 13.09, epsilon: float = 0.0052
) -> Chain:
    """A chain of chains, on which exact gradients discover one coordinate at a time.

    J(x) = -l s^2 f(x / s) for the f of `NestedChain`, with s^2 = 8 * 314.1 epsilon / L_h, the largest m
    for which l = L_h s / (314.1 nu) leaves l (5 + 180 nu) <= L_g, and T as large as delta allows, as the
    gap is at most l s^2 nu (1/2 + 7.35 T). While a_T and a_{T+1} are 0, |grad J| >= l s nu / 8, which is
    epsilon. At least (T - 1) (m + 1) + 1 gradients therefore have to be computed one after another, of
    the order of delta L_g^(1/2) L_h^(1/4) epsilon^(-7/4). The default is f itself, up to rounding, with
    m = 3.

    Arguments and errors are those of `chain_deterministic`. Source: arXiv 2511.22331, Theorem 3.1, for
    the function and for |grad f| >= nu / 8. The scaling and its constants are derived.

    Example:
        >>> chain_nested().levels
        array([17], dtype=int32)
    """
    width = math.sqrt(NESTED_SLOPE * QUADRATIC_THIRD * _size("epsilon", epsilon) / _size("L_h", L_h))
    most = (QUADRATIC_THIRD * _size("L_g", L_g) / (L_h * width) - QUADRATIC_CURVATURE) / NESTED_QUADRATIC
    unit = L_h * width**3 / QUADRATIC_THIRD  # l s^2 nu
    outer = math.floor((_size("delta", delta) / unit - 0.5) / QUADRATIC_DROP)
    if most < 2 or outer < 1:
        raise InputError(
            f"epsilon: got {epsilon!r}, which no chain is hard for; smaller ones are allowed, or a "
            "larger delta or L_g."
        )
    inner = math.floor((1 + math.sqrt(1 + 12 * most)) / 6)
    length = outer * (inner + 1)
    room("epsilon", length, _MOST)
    nu = 1 / (inner * (3 * inner - 1))
    scales = (np.array([each]) for each in (unit / nu, width, float(inner)))
    function = NestedChain(np.append(np.ones(length), 0.0), *scales)  # pyright: ignore[reportArgumentType]
    levels = np.array([(outer - 1) * (inner + 1) + 1])
    return Chain(function, np.ones(1), levels, Constants(L_g, L_h, 0.0, delta), epsilon)


def _size(name: str, value: float) -> float:
    """Check that a number is above 0 and near enough to 1 for products of its powers to be numbers."""
    if not 1 / _FAR <= positive(name, value) <= _FAR:
        raise InputError(f"{name}: got {value:g}, numbers from {1 / _FAR:g} to {_FAR:g} are allowed.")
    return float(value)


def _one_chain(
    shares: Float[np.ndarray, "W 2"],
    probability: Float[np.ndarray, " W"],
    slope: float,
    delta: float,
    L_g: float,
    L_h: float | None,
    sigma: float,
    epsilon: float,
    threshold: float,
) -> Chain:
    """One zero-chain with workers' shares of its odd and even terms, as long as delta allows."""
    b = _width(slope, L_g, L_h)
    length = _lengths(np.array([_size("delta", delta)]), np.array([slope * b]), epsilon)
    terms = shares[:, None, np.arange(length[0]) % 2]
    constants = Constants(L_g, _curvature(slope, b, L_h), sigma, delta)
    function = _zero_chain(terms, [slope * b], [b], threshold)
    return Chain(function, probability, length, constants, epsilon)


def _blocks(
    h: Float[np.ndarray, " n"], power: float, L_g: float, L_h: float | None, sigma: float, epsilon: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Slopes g_i with g_i^2 in proportion to h_i^power, and the blocks' widths and probabilities."""
    g = 2 * epsilon * np.sqrt(h**power / (h**power).sum())
    b = np.array([_width(slope, L_g, L_h) for slope in g])
    return g, b, np.array([_chance(len(h) * slope, sigma) for slope in g])


def _zero_chain(
    terms: Float[np.ndarray, "W C T"], height: ArrayLike, width: ArrayLike, threshold: float
) -> ZeroChain:
    """A `ZeroChain` in float64."""
    within("threshold", threshold, "[0, 1/2)")
    arrays = (np.asarray(a, np.float64) for a in (terms, height, width, threshold))
    return ZeroChain(*arrays)  # pyright: ignore[reportArgumentType]


def _width(slope: float, L_g: float, L_h: float | None) -> float:
    """The least b for which slope b F_T(x / b) has the constants L_g and L_h (any with None or inf)."""
    L_h = math.inf if L_h is None else one_number("L_h", L_h)
    if not L_h > 0:
        raise InputError(f"L_h: got {L_h!r}, numbers above 0 are allowed, inf and None among them.")
    if L_h < math.inf:
        _size("L_h", L_h)
    smooth = CHAIN_SMOOTHNESS * slope / _size("L_g", L_g)
    return max(smooth, math.sqrt(CHAIN_CURVATURE * slope / L_h))


def _curvature(slope: float, width: float, L_h: float | None) -> float:
    """L_h; where it is unbounded, the Lipschitz constant of the Hessian of slope b F_T(x / b)."""
    own = CHAIN_CURVATURE * slope / width**2
    return own if L_h is None or math.isinf(L_h) else L_h


def _lengths(
    delta: Float[np.ndarray, " C"], height: Float[np.ndarray, " C"], epsilon: float
) -> Int[np.ndarray, " C"]:
    """How many coordinates chains may have when f may fall by `delta` along each of them."""
    found = np.floor(delta / (CHAIN_DROP * height))
    room("epsilon", found.sum(), _MOST)
    if not (found >= 1).all():
        raise InputError(
            f"epsilon: got {epsilon!r}, which no coordinate is left for; smaller ones are allowed, or a "
            "larger delta, L_g or L_h."
        )
    return found.astype(int)


def _chance(slope: float, sigma: float) -> float:
    """p for which a gradient with coordinates of at most 23 slope has a variance of at most sigma^2."""
    # The variance is below (23 slope)^2 / p. The noisy coordinate is in fact at most e^(3/2) slope, as
    # Psi' is 0 where a coordinate is undiscovered (derived): a chain could be 26 times as noisy.
    in_range("sigma", one_number("sigma", sigma))
    return 1.0 if sigma == 0 else min(1.0, CHAIN_STEEPEST * slope / sigma) ** 2
