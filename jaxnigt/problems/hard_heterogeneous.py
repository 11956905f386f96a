"""Hard instances whose workers have objectives of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, whole
from jaxnigt.constants import Constants
from jaxnigt.problems.chain import Chain, zero_chain
from jaxnigt.problems.hard_functions import DROP
from jaxnigt.problems.hard_scaling import chance, curvature, lengths, positive, width


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
    """The chain of `chain`, all of it with k of n workers: the others find nothing.

    Each owner's objective is n / k times J, the others' are 0. Noise is measured against that larger
    gradient, so that p = min(1, (46 epsilon n / (k sigma))^2). With the slowest worker alone as owner
    a coordinate takes h_n at least. With the k slowest it takes about 1 / (p sum 1/h_i), the sum over
    them, and the best k makes the time that of Malenia up to a factor 1 + ln n.

    Args:
        workers: n.
        owners: who has the chain, counted from 0 or, as for lists, from the end.
        delta: as for `chain`, like all that follow.
        L_g: likewise.
        L_h: likewise.
        sigma: likewise, of each worker's stochastic gradient.
        epsilon: likewise.
        threshold: likewise.

    Raises:
        InputError: an argument out of range.

    References:
        Tyurin and Richtarik, arXiv 2305.12387, for an objective that one worker holds; groups and the
        scaling are derived.

    Example:
        >>> chain_group(workers=4, owners=[2, 3]).probability
        array([1.    , 1.    , 0.0625, 0.0625])
    """
    n = whole("workers", workers, 2)
    held = sorted({owner % n for owner in owners if -n <= owner < n})
    if not held or len(held) != len(owners):
        raise InputError(f"owners: got {owners}, different workers of {-n} to {n - 1} are allowed.")
    slope, share = 2 * positive("epsilon", epsilon), n / len(held)
    b = width(slope, L_g, L_h)
    length = lengths(np.array([positive("delta", delta)]), np.array([slope * b]), epsilon)
    terms, probability = np.zeros((n, 1, length[0])), np.ones(n)
    terms[held], probability[held] = share, chance(share * slope, sigma)
    function = zero_chain(terms, [slope * b], [b], threshold)
    constants = Constants(L_g, curvature(slope, b, L_h), sigma, delta)
    return Chain(function, probability, length, constants, epsilon)


def chain_split(
    *,
    workers: int = 2,
    owners: tuple[int, int] = (0, 1),
    delta: float = 120.0,
    L_g: float = 152.0,
    L_h: float | None = 2070.0,
    epsilon: float = 1.0,
) -> Chain:
    """A chain whose odd links one worker has and the even ones another: a coordinate is a message.

    Gradients are exact. The owners' objectives are n times their terms of J, the others' are 0. Whoever
    discovers coordinate k has no use for it: coordinate k + 1 is in the gradients of the other alone. So
    T coordinates need T - 1 messages between the owners. Without noise |grad J| > epsilon is enough,
    and the slope is epsilon instead of 2 epsilon.

    Args:
        workers: n.
        owners: who has the odd links and who the even ones, counted from 0.
        delta: as for `chain`, like all that follow.
        L_g: likewise.
        L_h: likewise.
        epsilon: likewise.

    Raises:
        InputError: an argument out of range.

    References:
        Tyurin and Richtarik, 2024, the proof of their lower bound for heterogeneous workers; the scaling
        with a Lipschitz Hessian is derived.
    """
    n = whole("workers", workers, 2)
    if not all(0 <= owner < n for owner in owners) or owners[0] == owners[1]:
        raise InputError(f"owners: got {owners}, two different workers of 0 to {n - 1} are allowed.")
    slope = positive("epsilon", epsilon)
    b = width(slope, L_g, L_h)
    length = lengths(np.array([positive("delta", delta)]), np.array([slope * b]), epsilon)
    terms = np.zeros((n, 1, length[0]))
    for first, owner in enumerate(owners):
        terms[owner, :, first::2] = n
    function = zero_chain(terms, [slope * b], [b], 0.0)
    constants = Constants(L_g, curvature(slope, b, L_h), 0.0, delta)
    return Chain(function, np.ones(n), length, constants, epsilon)


def chain_blocks(
    *,
    slowness: ArrayLike = (1.0, 2.0, 4.0, 8.0),
    delta: float = 480.0,
    L_g: float = 152.0,
    L_h: float | None = 2070.0,
    sigma: float = 184.0,
    epsilon: float = 0.5,
    threshold: float = 0.0,
) -> Chain:
    """A chain of its own for each worker, all of them needed, and equally long in coming.

    J = -sum_i g_i b_i F_{T_i}(x_i / b_i) over blocks x_i of coordinates; worker i has n times term i.
    While block i has an undiscovered coordinate its gradient is above g_i, and sum_i g_i^2 =
    4 epsilon^2: |grad J| > epsilon until blocks with 3/4 of that sum are done. With noise sigma for each
    worker, p_i = min(1, (23 n g_i / sigma)^2). The g_i are chosen so that T_i h_i / p_i, the time that
    block i needs, is the same t for all and as large as can be: g_i^2 in proportion to h_i where
    the gradient limits the widths b_i, and to h_i^(4/3) where the Hessian does.

    With a Lipschitz gradient alone t is of the order of mean(h) sigma^2 L_g delta / (n epsilon^4),
    which is Malenia's. With a Lipschitz Hessian it is that of (sum_i h_i^(4/3))^(3/4) sigma^2
    sqrt(L_h) delta / (n^2 epsilon^(7/2)), for equal workers n^(-1/4) times Malenia's; there
    `chain_group` does better.

    Args:
        slowness: h_i up to a common factor, f[n].
        delta: as for `chain`, like all that follow.
        L_g: likewise.
        L_h: likewise.
        sigma: likewise, of each worker's stochastic gradient.
        epsilon: likewise.
        threshold: likewise.

    Raises:
        InputError: an argument out of range, or an accuracy so coarse that a block has no coordinate.

    References:
        Tyurin and Richtarik, arXiv 2305.12387 (blocks of coordinates); the choice of g_i and the case of
        a Lipschitz Hessian are derived.
    """
    h = np.asarray(slowness, np.float64)
    if h.ndim != 1 or len(h) < 2 or not (np.isfinite(h) & (h > 0)).all():
        raise InputError(f"slowness: got {slowness!r}, two or more finite numbers above 0 are allowed.")
    n = len(h)
    positive("delta", delta)
    positive("epsilon", epsilon)
    blocks = [_blocks(h, power, L_g, L_h, sigma, epsilon) for power in (1.0, 4 / 3)]
    # What 12 a level costs of delta, for each second that a block is to last.
    rates = [(DROP * g * b * p / h).sum() for g, b, p in blocks]
    g, b, p = blocks[int(np.argmin(rates))]
    length = lengths(delta / min(rates) * DROP * g * b * p / h, g * b, epsilon)
    terms = np.zeros((n, n, length.max()))
    for i in range(n):
        terms[i, i, : length[i]] = n
    function = zero_chain(terms, g * b, b, threshold)
    constants = Constants(L_g, max(map(curvature, g, b, [L_h] * n)), sigma, delta)
    return Chain(function, p, length, constants, epsilon)


def _blocks(
    h: Float[np.ndarray, " n"], power: float, L_g: float, L_h: float | None, sigma: float, epsilon: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Slopes g_i with g_i^2 in proportion to h_i^power, widths and probabilities."""
    g = 2 * epsilon * np.sqrt(h**power / (h**power).sum())
    b = np.array([width(slope, L_g, L_h) for slope in g])
    return g, b, np.array([chance(len(h) * slope, sigma) for slope in g])
