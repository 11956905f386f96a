"""The constants of a problem that theory uses: smoothness, noise, and the distance to the optimum."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, choice, in_range

Number = Float64[np.ndarray, "..."]

Real = Number | float
"""A result of arithmetic on Numbers: NumPy turns arrays without axes into scalars."""


@dataclasses.dataclass(frozen=True, eq=False)
class Constants:
    """Constants of a maximisation problem J. Each may be an array; arrays broadcast together.

    Args:
        L_g: Lipschitz constant of the gradient of J, above 0.
        L_h: Lipschitz constant of the Hessian of J, at least 0.
        sigma: standard deviation of one stochastic gradient, E||g - grad J_H||^2 <= sigma^2, for every
            worker if they differ.
        delta: J* - J(theta_0), above 0.
        gamma: discount, in [0, 1).
        D_g: truncation of the gradient at H = 0, see `truncation_gradient`; 0 if nothing is truncated.
        D_h: truncation of the Hessian at H = 0, see `truncation_hessian`.

    Raises:
        InputError: a constant out of range, or shapes that do not broadcast.

    Example:
        >>> Constants(L_g=1.0, L_h=1.0, sigma=[0.0, 1.0], delta=1.0).shape
        (2,)
    """

    L_g: Number
    L_h: Number
    sigma: Number
    delta: Number
    gamma: Number
    D_g: Number
    D_h: Number

    def __init__(
        self,
        L_g: ArrayLike,
        L_h: ArrayLike,
        sigma: ArrayLike,
        delta: ArrayLike,
        gamma: ArrayLike = 0.0,
        D_g: ArrayLike = 0.0,
        D_h: ArrayLike = 0.0,
    ):
        given = (L_g, L_h, sigma, delta, gamma, D_g, D_h)
        for field, value in zip(dataclasses.fields(self), given, strict=True):
            above = field.name in ("L_g", "delta")
            below = 1.0 if field.name == "gamma" else math.inf
            object.__setattr__(self, field.name, in_range(field.name, value, above=above, below=below))
        try:
            _ = self.shape
        except ValueError:
            raise InputError("constants: their shapes do not broadcast together.") from None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the constants broadcast to, () where each is one number."""
        return np.broadcast_shapes(*(np.shape(getattr(self, f.name)) for f in dataclasses.fields(self)))

    def truncation_gradient(self, horizon: ArrayLike) -> Number:
        """Bound on ||grad J - grad J_H||: D_g sqrt(1 + (1 - gamma) H) gamma^H (derived).

        With the D_g of `from_policy` this is (M_g R_max / (1-gamma)) sqrt(1/(1-gamma) + H) gamma^H,
        the form in the literature (Yuan, Gower, Lazaric 2022; Fatkhullin et al., arXiv 2302.01734).
        """
        H = np.asarray(horizon, np.float64)
        return np.asarray(self.D_g * np.sqrt(1 + (1 - self.gamma) * H) * self.gamma**H)

    def truncation_hessian(self, horizon: ArrayLike) -> Number:
        """Bound on ||hess J - hess J_H||: D_h (1 + (1 - gamma) H) gamma^H (derived).

        With the D_h of `from_policy`: R_max (M_g^2 + M_h) / (1-gamma) (1/(1-gamma) + H) gamma^H.
        """
        H = np.asarray(horizon, np.float64)
        return np.asarray(self.D_h * (1 + (1 - self.gamma) * H) * self.gamma**H)

    @classmethod
    def from_policy(
        cls,
        policy: PolicyConstants,
        R_max: ArrayLike,
        gamma: ArrayLike,
        *,
        delta: ArrayLike | None = None,
        hessian: str = "derived",
    ) -> Constants:
        """Worst-case constants of the discounted return of a policy (derived).

        They hold for every decision problem and are loose for most. L_g = R_max (M_g^2 + M_h) /
        (1-gamma)^2 and sigma^2 = M_g^2 R_max^2 / (1-gamma)^3 agree with the literature (Yuan, Gower,
        Lazaric 2022; arXiv 2302.01734). The constants of arXiv 2509.24305 itself may differ.

        Args:
            policy: bounds on the policy's score and its derivatives.
            R_max: bound on |r|, above 0.
            gamma: discount, in [0, 1).
            delta: J* - J(theta_0); 2 R_max / (1-gamma) by default, which no problem exceeds.
            hessian: the form of L_h, see `hessian_lipschitz`.

        Raises:
            InputError: a number out of range, or an unknown form.

        Example:
            >>> float(Constants.from_policy(PolicyConstants(1.0, 1.0, 1.0), R_max=1.0, gamma=0.5).L_g)
            8.0
        """
        R, gamma = in_range("R_max", R_max, above=True), in_range("gamma", gamma, below=1.0)
        left = 1 - gamma
        noise, curvature = policy.M_g * R / left**1.5, R * (policy.M_g**2 + policy.M_h) / left**2
        return cls(
            L_g=curvature,
            L_h=hessian_lipschitz(policy, R, gamma, form=hessian),
            sigma=noise,
            delta=2 * R / left if delta is None else delta,
            gamma=gamma,
            D_g=noise,
            D_h=curvature,
        )


class PolicyConstants(NamedTuple):
    """Bounds on a policy's score, for all parameters, states and actions.

    Attributes:
        M_g: bound on ||grad log pi||.
        M_h: bound on ||hess log pi||.
        l_2: Lipschitz constant of hess log pi.
    """

    M_g: float
    M_h: float
    l_2: float


def softmax_policy(scale: float = 1.0) -> PolicyConstants:
    """Bounds for a softmax over logits that are linear in the parameters (derived).

    They hold for any number of actions, and two actions attain them. The score is a unit vector minus a
    distribution. The Hessian is a covariance of numbers that are at most sqrt(2) apart, and its
    derivative is a third central moment of such numbers.

    Args:
        scale: norm of the map from parameters to the logits of a state, 1 for a table of logits.

    Example:
        >>> [round(x, 4) for x in softmax_policy()]
        [1.4142, 0.5, 0.2722]
    """
    return PolicyConstants(
        math.sqrt(2) * scale, scale**2 / 2, math.sqrt(2) / (3 * math.sqrt(3)) * scale**3
    )


def hessian_lipschitz(
    policy: PolicyConstants, R_max: ArrayLike, gamma: ArrayLike, *, form: str = "derived"
) -> Number:
    """The Lipschitz constant L_h of the Hessian of the discounted return.

    "derived": R_max [(1+gamma) M_g^3 / (1-gamma)^3 + 3 sqrt(1+gamma) M_g M_h / (1-gamma)^(5/2)
    + l_2 / (1-gamma)^2], from the third derivative of each expected reward.

    "literature": the lemma of Zhang, Koppel, Zhu and Basar (2020) as others quote it. We have not
    checked its text.

    Raises:
        InputError: a form that is neither.
    """
    choice("hessian", form, ("derived", "literature"))
    M_g, M_h, l_2 = policy
    R, gamma = np.asarray(R_max, np.float64), np.asarray(gamma, np.float64)
    left = 1 - gamma
    cubic = (1 + gamma) * M_g**3 / left**3
    if form == "derived":
        mixed = 3 * np.sqrt(1 + gamma) * M_g * M_h / left**2.5
        return np.asarray(R * (cubic + mixed + l_2 / left**2))
    last = (M_g**2 * (1 + gamma) + M_h * gamma * left) / (1 - gamma**2)
    terms = (M_h, gamma * M_g**2 / left, l_2 / M_g, gamma * M_h / left, last)
    largest = np.max(np.broadcast_arrays(*terms), axis=0)
    return np.asarray(R * (M_g * M_h / left**2 + cubic + M_g * largest / left))


# Constants of the hard instances, which lower bounds and the chains of `jaxnigt.problems` share.

CHAIN_DROP = 12.0
"""(F_T(0) - inf F_T) / T of the zero-chain is at most this (arXiv 1912.02365, Lemma 2)."""

CHAIN_SMOOTHNESS = 152.0
"""Lipschitz constant of the zero-chain's gradient (same lemma); Gershgorin gives 151.26 (derived)."""

CHAIN_CURVATURE = 2070.0
"""Lipschitz constant of the zero-chain's Hessian (derived).

The third derivative along v with |v| = 1 is sum_i A_i v_i^3 + 3 B_i v_{i-1}^2 v_i + 3 C_i v_{i-1} v_i^2.
By Hoelder's inequality the three sums are at most sup|Psi'''| sup Phi + sup Psi sup|Phi'''|,
sup|Psi''| sup Phi' and sup Psi' sup|Phi''|, which makes 2069.7.
"""

CHAIN_STEEPEST = 23.0
"""No coordinate of the zero-chain's gradient is larger (same lemma as `CHAIN_DROP`)."""

QUADRATIC_CURVATURE = 180.0
"""Lipschitz constant of Upsilon's slope (derived)."""

QUADRATIC_SMOOTHNESS = 4 + QUADRATIC_CURVATURE
"""Lipschitz constant of the quadratic chain's gradient for mu <= 1 (derived: 4 + 180 mu)."""

QUADRATIC_THIRD = 314.1
"""Lipschitz constant of the quadratic chain's Hessian, divided by mu (derived, rounded up)."""

QUADRATIC_DROP = 7.35
"""How far the quadratic chain falls for each coordinate, divided by mu (derived, rounded up)."""

NESTED_QUADRATIC = 5.0
"""Lipschitz constant of the gradient of the nested chain's quadratic part (derived)."""

NESTED_SLOPE = 8.0
"""The nested chain's gradient is at least nu divided by this until it is climbed (arXiv 2511.22331)."""
