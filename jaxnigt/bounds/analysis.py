"""What is proved of an update rule: how short gradients get on the mean, and in how many rounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxnigt.bounds import question as base
from jaxnigt.checks import choice
from jaxnigt.constants import Constants, Number, Real


class Parameters(NamedTuple):
    """Parameters of a method, f64[...]. batch, init_batch, rounds and horizon hold whole numbers."""

    stepsize: Number
    momentum: Number
    batch: Number
    init_batch: Number
    rounds: Number
    horizon: Number


_SHARES = 1.5 ** -np.arange(24.0)
"""The momenta that are tried, as shares of the largest whose noise alone is not above epsilon.

Neighbours differ by half, which costs 2% of the rounds at most where noise decides; the last share
leaves 1% of epsilon to the noise.
"""


class NIGT:
    """Normalised steps with implicit gradient transport.

    With eta < 1 the error of a direction has three parts (Lemma D.2 of arXiv 2509.24305): noise, at most
    sqrt(eta / (2 - eta)) sigma / sqrt(M), curvature, at most L_h alpha^2 (1 - eta) / (2 eta^2), and what
    is left of the first aggregate, (1 - eta)^t sigma / sqrt(M_init), whose sum over T rounds is at most
    min(T, 1 / eta) times the first. The factors 1 / (2 - eta) and (1 - eta) / 2 are derived from the
    lemma's own proof.
    """

    starts = True
    source = "derived from Lemmas D.1 and D.2 of arXiv 2509.24305 and bounds on the clock"

    def best(self, c: Constants, eps: Real, M: Real, M_init: Real) -> tuple[Real, Real, Real]:
        """Stepsize, momentum and rounds: the fewest over a grid of momenta at their best stepsizes."""
        room, found = self._room(c, eps), (np.zeros(()), np.ones(()), np.asarray(np.inf))
        most = np.minimum(1, M * room**2 / (4 * c.sigma**2))
        for share in _SHARES:
            eta = 2 * share * most / (1 + share * most)
            noise = self._noise(c, eta, M)
            paid = self._start(c, 1.0, M_init), 0.0
            for always, once in (paid, (0.0, self._start(c, eta, M_init))):
                alpha = self._stepsize(c, room - noise - always, eta, once)
                each = alpha, eta, self.rounds(c, eps, alpha, eta, M, M_init)
                better = each[2] < found[2]
                one, two, three = (
                    np.where(better, new, old) for new, old in zip(each, found, strict=True)
                )
                found = one, two, three
        return found

    def rounds(self, c: Constants, eps: Real, alpha: Real, eta: Real, M: Real, M_init: Real) -> Real:
        """The fewest rounds T for which the bound of `norm` is epsilon, at any stepsize and momentum."""
        left = self._room(c, eps) - self._noise(c, eta, M) - self._bend(c, alpha, eta)
        # The first error is paid in every round, or once and for all.
        paid = self._start(c, 1.0, M_init), 0.0
        T = np.inf
        for always, once in (paid, (0.0, self._start(c, eta, M_init))):
            each = (c.delta / alpha + once) / (left - always)
            T = np.minimum(T, np.where(left > always, each, np.inf))
        return np.maximum(np.ceil(T * (1 - 1e-12)), 1)

    def norm(self, c: Constants, p: Parameters) -> Real:
        """The bound of `certified_gradient_norm`."""
        alpha, eta, T = p.stepsize, p.momentum, p.rounds
        start = self._start(c, 1.0, p.init_batch) * np.minimum(1, 1 / (eta * T))
        always = self._noise(c, eta, p.batch) + self._bend(c, alpha, eta)
        return c.delta / (alpha * T) + start + always + self._truncation(c, alpha, eta, p.horizon)

    def truncates(self, c: Constants, eps: Number, alpha: Real, eta: Real, H: Real) -> np.ndarray:
        """Whether a horizon is too short."""
        return np.asarray(self._truncation(c, alpha, eta, H) > eps / 4)

    def regime(self, c: Constants, p: Parameters) -> np.ndarray:
        """The name of the term that decides the number of rounds."""
        fades = self._start(c, p.momentum, p.init_batch) * np.minimum(1, p.momentum * p.rounds)
        late = fades > c.delta / p.stepsize
        steep = self._bend(c, p.stepsize, p.momentum) <= c.L_g * p.stepsize
        return np.where(late, "start", np.where(steep, "smoothness", "noise"))

    @staticmethod
    def _stepsize(c: Constants, left: Real, eta: Real, once: Real) -> Real:
        """The stepsize with the fewest rounds, (delta + S a) / (a (E - L_g a / 2 - B a^2)).

        E is what noise leaves of epsilon, and S is paid once. The quotient is least where E delta is L_g
        delta a + (3 B delta + L_g S / 2) a^2 + 2 B S a^3. That grows and is convex, so Newton's steps
        come down to the root from any point above it; the root of a term alone is such a point.
        """
        B, goal = c.L_h * (1 - eta) / eta**2, np.maximum(left, 0) * c.delta
        terms = c.L_g * c.delta, 3 * B * c.delta + c.L_g * once / 2, 2 * B * once
        a = goal / terms[0]
        for power, term in enumerate(terms[1:], 2):
            a = np.fmin(a, (goal / term) ** (1 / power))
        for _ in range(4):
            value = a * (terms[0] + a * (terms[1] + a * terms[2]))
            a = a - (value - goal) / (terms[0] + a * (2 * terms[1] + a * 3 * terms[2]))
        return a

    @staticmethod
    def _room(c: Constants, eps: Real) -> Real:
        """What the rounds may use of epsilon: a quarter is the horizon's, if there is one."""
        return eps * np.where((c.D_g > 0) | (c.D_h > 0), 3 / 4, 1.0)

    @staticmethod
    def _noise(c: Constants, eta: Real, M: Real) -> Real:
        return 2 * np.sqrt(eta / (2 - eta) / M) * c.sigma

    @staticmethod
    def _bend(c: Constants, alpha: Real, eta: Real) -> Real:
        return c.L_g * alpha / 2 + c.L_h * alpha**2 * (1 - eta) / eta**2

    @staticmethod
    def _start(c: Constants, eta: Real, M_init: Real) -> Real:
        """Twice what the first aggregate adds to the error of all rounds, or of one with eta = 1."""
        return 2 * c.sigma / (eta * np.sqrt(M_init))

    @staticmethod
    def _truncation(c: Constants, alpha: Real, eta: Real, H: Real) -> Real:
        """What a horizon adds: (8/eta + 2) D_g(H) + 4 alpha D_h(H) / eta (derived)."""
        return (8 / eta + 2) * c.truncation_gradient(H) + 4 * alpha / eta * c.truncation_hessian(H)


class PG:
    """Plain steps along the aggregate, as many gradients in the first round as in the others.

    With a = L_g alpha <= 1, b = D_g(H) and G^2 the mean of ||grad J||^2 over the points, the descent of
    a smooth function gives (derived)

        (1 - a/2) G^2 - (1 - a) b G - a b^2 / 2 <= delta / (alpha T) + L_g alpha sigma^2 / (2 M)
    """

    starts = False
    source = "derived from minibatch SGD and bounds on the clock"

    def best(self, c: Constants, eps: Real, M: Real, M_init: Real) -> tuple[Real, Real, Real]:
        """As for `NIGT`. The stepsize maximises alpha times what is left of epsilon^2."""
        whole, slope = self._left(c, eps, M)
        alpha = np.minimum(1, whole / (2 * slope)) / c.L_g
        return alpha, np.ones(()), self.rounds(c, eps, alpha, np.ones(()), M, M_init)

    def rounds(self, c: Constants, eps: Real, alpha: Real, eta: Real, M: Real, M_init: Real) -> Real:
        """As for `NIGT`."""
        whole, slope = self._left(c, eps, M)
        left = eps**2 * (whole - slope * c.L_g * alpha)
        T = c.delta / (alpha * left)
        return np.where(left > 0, np.maximum(np.ceil(T * (1 - 1e-12)), 1), np.inf)

    def norm(self, c: Constants, p: Parameters) -> Real:
        """As for `NIGT`: G of the inequality above."""
        a, b = c.L_g * p.stepsize, c.truncation_gradient(p.horizon)
        right = c.delta / (p.stepsize * p.rounds) + a * c.sigma**2 / (2 * p.batch) + a * b**2 / 2
        G = ((1 - a) * b + np.sqrt((1 - a) ** 2 * b**2 + (4 - 2 * a) * right)) / (2 - a)
        # The product of L_g and 1 / L_g may round to more than 1.
        return np.asarray(np.where(a <= 1 + 1e-12, G, np.inf))

    def truncates(self, c: Constants, eps: Number, alpha: Real, eta: Real, H: Real) -> np.ndarray:
        """As for `NIGT`."""
        return np.asarray(c.truncation_gradient(H) > eps / 4)

    def regime(self, c: Constants, p: Parameters) -> np.ndarray:
        """As for `NIGT`; noise decides where it halves the steps."""
        return np.where(p.stepsize * c.L_g < 1 / 2, "noise", "smoothness")

    @staticmethod
    def _left(c: Constants, eps: Real, M: Real) -> tuple[Real, Real]:
        """What is left of epsilon^2 is epsilon^2 (whole - slope L_g alpha); b may be epsilon / 4."""
        b = np.where(c.D_g > 0, 1 / 4, 0.0)
        return 1 - b, 1 / 2 - b + b**2 / 2 + c.sigma**2 / (2 * M * eps**2)


class Kind(NamedTuple):
    """A method as theory sees it: how it collects gradients, and how it steps along them."""

    collection: base.Collection
    update: NIGT | PG


KINDS = {
    "synchronous_pg": Kind(base.SYNCHRONOUS, PG()),
    "synchronous_nigt": Kind(base.SYNCHRONOUS, NIGT()),
    "m_synchronous_nigt": Kind(base.M_SYNCHRONOUS, NIGT()),
    "rennala_pg": Kind(base.RENNALA, PG()),
    "malenia_pg": Kind(base.MALENIA, PG()),
    "afedpg": Kind(base.ASYNCHRONOUS, NIGT()),
    "rennala_nigt": Kind(base.RENNALA, NIGT()),
    "malenia_nigt": Kind(base.MALENIA, NIGT()),
}
"""The methods that bounds are known for, by their names in `jaxnigt.methods`."""


def kind(name: str) -> Kind:
    """Look up a method, or raise InputError for a name that no bound is known for."""
    choice("name", name, KINDS)
    return KINDS[name]


def supports_allreduce(name: str) -> bool:
    """Whether one sum over all workers makes a method's aggregate. Source: Table 1 of arXiv 2509.24305.

    Example:
        >>> supports_allreduce("rennala_nigt"), supports_allreduce("afedpg")
        (True, False)
    """
    return not kind(name).collection.stale
