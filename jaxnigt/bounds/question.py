"""What every bound is made of: a question, a rule that collects gradients, and terms that add up."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, in_range, instance
from jaxnigt.constants import Constants, Real
from jaxnigt.profiles import Profile

FORMS = ("order", "certified")
COMMUNICATION = "communication"
"""The name of the term of communication. All other terms are computation."""

Column = Float64[np.ndarray, "... 1"]
"""One number per question, with a last axis that broadcasts against workers."""

Value = Any
"""A NumPy array, or a SymPy expression where `jaxnigt.bounds.tables` turns a formula into LaTeX."""


class Question(SimpleNamespace):
    """Everything that a bound depends on, broadcast together: arrays, or SymPy symbols.

    Attributes:
        h: f64[..., n], h_m, seconds per gradient, the fastest first; h_n, f64[..., 1], is the last.
        mean: f64[..., 1], the mean of h.
        pooled: f64[..., n], H_m / m, seconds per gradient of the m fastest workers together; H_m is the
            harmonic mean of the m smallest h; pooled_n, f64[..., 1], is the last.
        live: f64[..., 1], how many workers are not dead.
        m: i64[n], 1 to n, how many of the fastest workers a method may count on; n, i64[1], is the last.
        epsilon: f64[..., 1], accuracies, with the shape of the whole batch.
        accuracy: the same with the shape that was given and one axis more.
        kappa: f64[..., 1], seconds of one communication.
        constants: of the problem, each f64[..., 1], and each an attribute of its own.
        A, B, s, D, X, Y: f64[..., 1], the abbreviations of `SHORT`.
    """


SHORT: dict[str, Callable[[Any], Value]] = {
    "A": lambda q: q.L_g * q.delta / q.epsilon**2,
    "B": lambda q: q.L_h ** (1 / 2) * q.delta / q.epsilon ** (3 / 2),
    "s": lambda q: q.sigma**2 / q.epsilon**2,
    "D": lambda q: (
        q.live ** (4 / 3)
        * q.L_g
        * q.delta
        * maximum(q.sigma, q.epsilon) ** (1 / 3)
        / q.epsilon ** (7 / 3)
    ),
    "X": lambda q: minimum(q.A, q.A ** (3 / 7) * q.B ** (4 / 7)),
    "Y": lambda q: minimum(q.A, (q.A * q.B) ** (1 / 2)),
}
"""The quantities that order forms are written in.

A and B are the rounds of a smooth problem and of one with a Lipschitz Hessian, D those of AFedPG, X
those of the deterministic hard instance, and Y what arXiv 2606.05438 claims in the place of X. The mean
of s gradients has a standard deviation of epsilon.
"""


def minimum(x: Value, y: Value) -> Value:
    """The smaller of two arrays entry by entry, or SymPy's Min of two expressions."""
    return _either(np.minimum, "Min", x, y)


def maximum(x: Value, y: Value) -> Value:
    """The larger of two arrays entry by entry, or SymPy's Max of two expressions."""
    return _either(np.maximum, "Max", x, y)


def _either(of_arrays: Callable[..., Value], of_expressions: str, x: Value, y: Value) -> Value:
    if isinstance(x, np.ndarray):
        return of_arrays(x, y)
    import sympy

    return getattr(sympy, of_expressions)(x, y)


def slowest_link(profile: Profile) -> Float64[np.ndarray, "*profiles"]:
    """The largest kappa_i among the live workers of each profile, in seconds."""
    return np.asarray(np.where(np.isfinite(profile.compute), profile.comm, 0.0).max(axis=-1))


def ask(
    profile: Profile, constants: Constants, epsilon: ArrayLike, kappa: ArrayLike | None = None
) -> Question:
    """Check the arguments of a bound and broadcast them. If kappa is None, `slowest_link` stands in.

    Raises:
        InputError: random or varying times, a number out of range, or shapes that do not broadcast.
    """
    instance("profile", profile, Profile, "jn.profiles.equal(10)")
    instance("constants", constants, Constants, "jn.Constants(1.0, 1.0, 1.0, 1.0)")
    if not profile.fixed:
        raise InputError(
            "profile: bounds are for fixed times, which profile.replace(noise=None, power=None) has."
        )
    kappa = slowest_link(profile) if kappa is None else kappa
    eps, wait = in_range("epsilon", epsilon, above=True), in_range("kappa", kappa)
    try:
        shape = np.broadcast_shapes(profile.shape, constants.shape, eps.shape, wait.shape)
    except ValueError:
        raise InputError(
            f"epsilon: shapes {profile.shape} of profiles, {constants.shape} of constants, {eps.shape} "
            f"of epsilon and {wait.shape} of kappa do not broadcast together."
        ) from None
    h, m = np.sort(profile.compute, axis=-1), np.arange(1, profile.n + 1)
    columns = {f.name: getattr(constants, f.name)[..., None] for f in dataclasses.fields(constants)}
    with np.errstate(all="ignore"):
        # A dead worker has h = inf and adds no speed.
        times = {"h": h, "m": m, "pooled": 1 / np.cumsum(1 / h, axis=-1)}
        times |= {"h_n": h[..., -1:], "n": m[-1:], "pooled_n": times["pooled"][..., -1:]}
        times["mean"] = h.mean(axis=-1, keepdims=True)
        times["live"] = np.isfinite(h).sum(axis=-1, keepdims=True, dtype=np.float64)
        q = Question(
            **columns,
            **times,
            constants=Constants(**columns),
            # Every term contains epsilon, so every term gets the shape of the whole batch from it.
            epsilon=np.broadcast_to(eps, shape)[..., None],
            accuracy=eps[..., None],
            kappa=wait[..., None],
        )
        for letter, formula in SHORT.items():
            setattr(q, letter, formula(q))
    return q


class Speeds(NamedTuple):
    """How fast a rule collects gradients, for each number of workers that it may count on.

    Attributes:
        whole: f64[..., c], seconds of a round without noise, in order.
        share: f64[..., c], seconds that each further gradient of a round takes.
        m: i64[c], the candidates for m.
        each: f64[..., c], seconds in which each of m workers completes one gradient, where a round may
            end with any worker's gradient.
    """

    whole: Value
    share: Value
    m: Value
    each: Value = None


@dataclasses.dataclass(frozen=True)
class Collection:
    """A rule by which methods collect the gradients of one update.

    Attributes:
        speeds: the speeds of the rule, of numbers or of symbols.
        slack: a round of a batch is certainly collected after (whole + share batch) seconds times this;
            None means after share batch seconds, because rounds have no more gradients than needed.
        heterogeneous: whether aggregates stay unbiased when workers have problems of their own.
        apart: whether the rule is made for workers with problems of their own.
        stale: whether each gradient is applied alone and may be stale. Then no sum over all workers
            makes the aggregate, and no bound with constants is known.
        fixed: whether every round takes m gradients; then no batch can be prescribed.
        free_start: whether the first round may have a batch of its own.
    """

    speeds: Callable[[Question], Speeds]
    slack: float | None = None
    heterogeneous: bool = False
    apart: bool = False
    stale: bool = False
    fixed: bool = False
    free_start: bool = True

    def round_seconds(self, at: Speeds, batch: np.ndarray) -> np.ndarray:
        """f64[..., c], seconds after which a round of a batch is certainly collected, for each m."""
        needed = product(at.share, batch)
        seconds = needed if self.slack is None else self.slack * (at.whole + needed)
        return seconds if at.each is None else np.minimum(seconds, at.each * np.ceil(batch / at.m))

    def batch(self, name: str, given: np.ndarray | None) -> np.ndarray | None:
        """The batch M of the method `name`; None leaves it to be prescribed."""
        if given is None and self.fixed:
            raise InputError(f"batch: {name} needs to be given how many workers a round waits for.")
        if not self.stale:
            return given
        if given is not None and (given != 1).any():
            raise InputError(f"batch: {name} applies gradients one by one, 1 is allowed.")
        return np.ones(())


M_SYNCHRONOUS = Collection(lambda q: Speeds(q.h, q.h / q.m, q.m), fixed=True, free_start=False)
"""The first gradient of each of the m fastest workers."""

SYNCHRONOUS = Collection(lambda q: Speeds(q.h_n, q.h_n / q.n, q.n), heterogeneous=True, fixed=True)
"""The same number of gradients from every worker, one in all rounds but the first."""

RENNALA = Collection(lambda q: Speeds(q.m * q.pooled, q.pooled, q.m, q.h), slack=1)
"""The first M gradients, whoever computes them: the m fastest workers share them, for the best m.

Each of them has lost one unfinished gradient at most, and M / m gradients of each, rounded up, are
enough (derived).
"""

MALENIA = Collection(lambda q: Speeds(q.h_n, q.mean / q.n, q.n), slack=1, heterogeneous=True, apart=True)
"""Gradients until the harmonic mean of the workers' counts is M / n.

After h_n + t seconds worker i has completed more than t / h_i gradients, so their harmonic mean is at
least t / mean(h), which is M / n at t = mean(h) M / n (derived).
"""

ASYNCHRONOUS = Collection(
    lambda q: Speeds(q.live * q.pooled_n, q.pooled_n, q.n), stale=True, free_start=False
)
"""Every gradient on its own, as soon as it arrives."""


Pairs = dict[str, tuple[Value, Value]]
"""The terms of an order form by their names: a factor in seconds, and how often it is paid."""


class Order(NamedTuple):
    """A row of the tables: a bound with leading constants 1 and without logarithms.

    Attributes:
        terms: (question, speeds) -> the terms, of numbers or of symbols.
        source: the theorem or table, or "derived".
        apart: the source where workers have problems of their own, if it is another one.
    """

    terms: Callable[..., Pairs]
    source: str
    apart: str = ""


def pairs(q: Question, messages: Value, **terms: tuple[Value, Value]) -> Pairs:
    """The terms of computation, and kappa times the number of messages."""
    return {**terms, COMMUNICATION: (q.kappa, messages)}


@dataclasses.dataclass(frozen=True, eq=False)
class Bound:
    """A bound on the time to E||grad J|| <= epsilon, for a batch of questions.

    Attributes:
        time: f64[...], seconds, computation + communication.
        computation: f64[...], seconds.
        communication: f64[...], seconds.
        m: i64[...], how many of the fastest workers the bound counts on, the best m where it is free.
        regime: the name of the largest term: "smoothness" is L_g delta / epsilon^2, "hessian" is
            sqrt(L_h) delta / epsilon^(3/2), "start" the error of the first aggregate, "noise" the
            variance, "staleness" AFedPG's delays, "chain" and "nested" the deterministic hard
            instances. Others are "communication", and "none" where the bound is 0.
        source: the theorem with its arXiv id, or "derived".
    """

    time: Float64[np.ndarray, "*batch"]
    computation: Float64[np.ndarray, "*batch"]
    communication: Float64[np.ndarray, "*batch"]
    m: Int64[np.ndarray, "*batch"]
    regime: np.ndarray
    source: str

    def __repr__(self) -> str:
        """Five lines with ranges over the batch, or one line if the batch is empty."""
        lines = [f"Bound of shape {self.time.shape}, {self.source}"]
        if self.time.size:
            for name in ("time", "computation", "communication"):
                lines.append(f"  {name:<14} {_range(getattr(self, name))} s")
            names, counts = np.unique(self.regime, return_counts=True)
            each = (f"{name} ({count})" for name, count in zip(names, counts, strict=True))
            words = names[0] if len(names) == 1 else ", ".join(each)
            lines.append(f"  dominated by   {words}, m = {_range(self.m)}")
        return "\n".join(lines)


def _range(x: np.ndarray) -> str:
    low, high = (f"{number:,.4g}" for number in (x.min(), x.max()))
    return low if low == high else f"{low} to {high}"


def product(factor: Real, count: Real) -> np.ndarray:
    """A product that is 0 where a factor is 0, even if the other one is infinite."""
    out = np.zeros(np.broadcast_shapes(np.shape(factor), np.shape(count)))
    return np.multiply(factor, count, out=out, where=(factor != 0) & (count != 0))


def products(terms: Pairs) -> dict[str, np.ndarray]:
    """Seconds f64[..., c] of each term."""
    return {name: product(*pair) for name, pair in terms.items()}


def smallest(terms: Mapping[str, np.ndarray], m: np.ndarray, source: str) -> Bound:
    """The sum of terms, f64[..., c] seconds, for the candidate of m, i64[c], at which it is smallest."""
    each = np.broadcast_arrays(*terms.values())
    best = functools.reduce(np.add, each).argmin(axis=-1)
    parts = np.stack([np.take_along_axis(x, best[..., None], axis=-1)[..., 0] for x in each])
    talks = np.array([name == COMMUNICATION for name in terms])
    computation, communication = parts[~talks].sum(axis=0), parts[talks].sum(axis=0)
    time = computation + communication
    largest = np.where(time == 0, len(terms), parts.argmax(axis=0))
    arrays = (time, computation, communication, m[best], np.array([*terms, "none"])[largest])
    return Bound(*map(np.asarray, arrays), source=source)


def where(condition: np.ndarray, yes: Bound, no: Bound) -> Bound:
    """One bound where a condition holds and the other elsewhere, with the source of the second."""
    fields = ("time", "computation", "communication", "m", "regime")
    chosen = {f: np.asarray(np.where(condition, getattr(yes, f), getattr(no, f))) for f in fields}
    return Bound(**chosen, source=no.source)
