"""The named methods, each a collection times an update rule, and what to cite for them."""

from __future__ import annotations

import re
from importlib import resources
from typing import Literal

from numpy.typing import ArrayLike

from jaxnigt.checks import InputError, choice, flag
from jaxnigt.clock import ArrivalRule, Malenia, MSynchronous, Rennala, Rule, Synchronous
from jaxnigt.methods.collection import Asynchronous, Collection, Weights, mean, worker_mean
from jaxnigt.methods.method import Method, above_zero, at_params
from jaxnigt.methods.nigt import afedpg_decreasing_update, n_pg_igt_update, nigt, nigt_eval_params, pg
from jaxnigt.registry import entries, make, register

_PAPER, _NIGT = "tyurin2026asynchronous", "cutkosky2020momentum"
_OPTIMAL, _FASTEST = "tyurin2023optimal", "begunov2026asynchronous"
_AFEDPG, _N_PG_IGT = "lan2025asynchronous", "fatkhullin2023stochastic"

_WEIGHTS = {"mean": mean, "worker_mean": worker_mean}
_SCHEDULES = {"constant": nigt, "decreasing": afedpg_decreasing_update}
Restart = Literal["cancel", "finish"]

_NIGT_STEP, _PG_STEP = 2**-9, 2**-16
"""Stepsizes with which J of the default problem, Reacher, rises over 1,000 updates of every method."""


def _leaves(stepsize: ArrayLike, momentum: ArrayLike) -> dict[str, ArrayLike]:
    return {
        "stepsize": above_zero("stepsize", stepsize),
        "momentum": above_zero("momentum", momentum, most=1.0),
    }


def _nigt_method(
    name: str, collection: Collection, init_batch: int | None, stepsize: ArrayLike, momentum: ArrayLike
) -> Method:
    return Method(name, collection, nigt, init_batch, nigt_eval_params, _leaves(stepsize, momentum))


def _pg_method(name: str, collection: Collection, stepsize: ArrayLike) -> Method:
    leaves = {"stepsize": above_zero("stepsize", stepsize)}
    return Method(name, collection, pg, hyperparameters=leaves)


@register(
    "rennala_nigt",
    title="Rennala NIGT",
    colour="#0072B2",
    line="-",
    works=(_PAPER, _NIGT),
    clock=("restart",),
)
def rennala_nigt(
    batch: int = 20,
    *,
    init_batch: int | None = None,
    stepsize: ArrayLike = _NIGT_STEP,
    momentum: ArrayLike = 0.1,
    restart: Restart = "cancel",
) -> Method:
    """Rennala NIGT: the first M gradients of a round, one aggregation, one NIGT step.

    Source: Algorithms 1 and 2 of arXiv 2509.24305.

    Args:
        batch: M, gradients of a round.
        init_batch: M_init, gradients of the first round; `batch` by default.
        stepsize: alpha > 0; an array trains all its values at once.
        momentum: eta in (0, 1]; likewise.
        restart: "cancel" or "finish", what happens to unfinished work; only the clock feels it.

    Raises:
        InputError: an argument out of range.

    Example:
        >>> rennala_nigt(batch=8, stepsize=[0.01, 0.1]).leaf_shape
        (2,)
    """
    collection = Collection(Rennala(batch), restart=restart)
    return _nigt_method("rennala_nigt", collection, init_batch, stepsize, momentum)


@register("malenia_nigt", title="Malenia NIGT", colour="#000000", line="-", works=(_PAPER, _NIGT))
def malenia_nigt(
    batch: int = 20,
    *,
    init_batch: int | None = None,
    stepsize: ArrayLike = _NIGT_STEP,
    momentum: ArrayLike = 0.1,
) -> Method:
    """Malenia NIGT: per-worker means until their harmonic stopping rule holds, one NIGT step.

    For workers whose problems differ: the aggregate is unbiased for the mean of their gradients. `batch`
    is M of the rule ((1/n) sum_i 1/M_i)^-1 >= M/n, and the rest is as for `rennala_nigt`. Source:
    Algorithms 1 and 3 of arXiv 2509.24305.

    Example:
        >>> malenia_nigt(batch=8).collection.rule
        Malenia(batch=8)
    """
    collection = Collection(Malenia(batch), worker_mean)
    return _nigt_method("malenia_nigt", collection, init_batch, stepsize, momentum)


@register(
    "synchronous_nigt",
    title="Synchronized NIGT",
    colour="#D55E00",
    line="--",
    works=(_PAPER, _NIGT),
    workers="batch",
)
def synchronous_nigt(
    batch: int = 10,
    *,
    init_batch: int | None = None,
    stepsize: ArrayLike = _NIGT_STEP,
    momentum: ArrayLike = 0.1,
) -> Method:
    """Synchronized NIGT: one gradient from each of n workers, one aggregation, one NIGT step.

    `batch` is n, `init_batch` a multiple of it, and the rest is as for `rennala_nigt`. Source: Algorithm
    1 of arXiv 2509.24305 with synchronous aggregation.

    Example:
        >>> synchronous_nigt(batch=4).sizes(3)
        array([4, 4, 4])
    """
    collection = Collection(Synchronous(batch))
    return _nigt_method("synchronous_nigt", collection, init_batch, stepsize, momentum)


@register(
    "m_synchronous_nigt",
    title="m-Synchronous NIGT",
    colour="#009E73",
    line="-.",
    works=(_FASTEST, _PAPER, _NIGT),
)
def m_synchronous_nigt(
    batch: int = 5, *, stepsize: ArrayLike = _NIGT_STEP, momentum: ArrayLike = 0.1
) -> Method:
    """m-synchronous NIGT: one gradient from each of the m first workers, one NIGT step.

    `batch` is m, and the rest is as for `rennala_nigt`. Source: Algorithm 1 of arXiv 2509.24305 with the
    collection of arXiv 2602.03802.

    Example:
        >>> m_synchronous_nigt(batch=2).sizes(2)
        array([2, 2])
    """
    collection = Collection(MSynchronous(batch))
    return _nigt_method("m_synchronous_nigt", collection, None, stepsize, momentum)


@register(
    "rennala_pg",
    title="Rennala PG",
    colour="#56B4E9",
    line="-",
    works=(_OPTIMAL, _PAPER),
    clock=("restart",),
)
def rennala_pg(
    batch: int = 20, *, stepsize: ArrayLike = _PG_STEP, restart: Restart = "cancel"
) -> Method:
    """Rennala PG: the collection of `rennala_nigt` and a plain gradient step.

    Its step is `stepsize` times the gradient; the other arguments, and the errors, are those of
    `rennala_nigt`. Source: Rennala SGD, Tyurin and Richtarik, arXiv 2305.12387.

    Example:
        >>> rennala_pg(batch=8)
        Method(rennala_pg: Collection of rennala(batch=8); stepsize=1.52587890625e-05)
    """
    return _pg_method("rennala_pg", Collection(Rennala(batch), restart=restart), stepsize)


@register("malenia_pg", title="Malenia PG", colour="#7F7F7F", line="-", works=(_OPTIMAL, _PAPER))
def malenia_pg(batch: int = 20, *, stepsize: ArrayLike = _PG_STEP) -> Method:
    """Malenia PG: the collection of `malenia_nigt` and the step of `rennala_pg`.

    Source: Malenia SGD, Tyurin and Richtarik, arXiv 2305.12387.

    Example:
        >>> malenia_pg().collection.replayable(heterogeneous=False)
        False
    """
    return _pg_method("malenia_pg", Collection(Malenia(batch), worker_mean), stepsize)


@register(
    "synchronous_pg",
    title="Synchronized PG",
    colour="#E69F00",
    line="--",
    works=(_PAPER,),
    workers="batch",
)
def synchronous_pg(batch: int = 10, *, stepsize: ArrayLike = _PG_STEP) -> Method:
    """Synchronous vanilla PG: the collection of `synchronous_nigt` and the step of `rennala_pg`.

    Example:
        >>> synchronous_pg(batch=4).collection.replayable(heterogeneous=True)
        True
    """
    return _pg_method("synchronous_pg", Collection(Synchronous(batch)), stepsize)


@register("n_pg_igt", works=(_N_PG_IGT, _NIGT))
def n_pg_igt(*, stepsize: ArrayLike = 0.1, momentum: ArrayLike = 1.0) -> Method:
    """N-PG-IGT: one worker, one gradient a step, with decreasing momentum and stepsize.

    Momentum is momentum * (2/(t+2))^(4/5) and the stepsize stepsize * 2/(t+2) at update t; the point of
    a gradient is extrapolated with the momentum that it is applied with. Arguments may be arrays, as for
    `rennala_nigt`. Source: Fatkhullin, Barakat, Kireeva, He, arXiv 2302.01734.

    Example:
        >>> n_pg_igt().sizes(2)
        array([1, 1])
    """
    leaves = _leaves(stepsize, momentum)
    return Method("n_pg_igt", Collection(Synchronous(1)), n_pg_igt_update, 1, nigt_eval_params, leaves)


@register(
    "afedpg",
    title="AFedPG",
    colour="#AA3377",
    line=":",
    works=(_AFEDPG,),
    variants=("afedpg_without_lookahead",),
)
def afedpg(
    *,
    stepsize: ArrayLike = _NIGT_STEP,
    momentum: ArrayLike | None = None,
    lookahead: bool = True,
    schedule: Literal["constant", "decreasing"] = "constant",
    rule: ArrivalRule | None = None,
    lanes: int | None = None,
) -> Method:
    """AFedPG: every gradient updates the server as it arrives, by a normalised momentum step.

    A worker that gets version v of the model samples at the lookahead point theta_v + ((1 - eta_v) /
    eta_v) (theta_v - theta_{v-1}); its gradient enters the momentum with the same eta_v, however many
    updates have come between, so that the extrapolation cancels the second-order error of exactly that
    weight. Source: Lan, Han, Hashemi, Aggarwal, Brinton, arXiv 2404.08003. The first direction is the
    first gradient, which the paper leaves open (derived).

    Args:
        stepsize: as for `rennala_nigt`.
        momentum: likewise; by default 0.1, and 1 for decreasing schedules, at which their theory starts.
        lookahead: False samples at theta_v itself.
        schedule: "constant", or "decreasing" by (2/(v+2))^(4/7) and (2/(k+2))^(5/7).
        rule: which gradients are accepted, an `ArrivalRule` or its registered name; None accepts all.
        lanes: as for `Asynchronous`.

    Raises:
        InputError: an argument out of range.

    Example:
        >>> afedpg(stepsize=0.01).name
        'afedpg'
    """
    choice("schedule", schedule, _SCHEDULES)
    lookahead = flag("lookahead", lookahead)
    chosen = None if rule is None else make("arrival_rule", rule)
    if momentum is None:
        momentum = 0.1 if schedule == "constant" else 1.0
    return Method(
        "afedpg" if lookahead else "afedpg_without_lookahead",
        Asynchronous(chosen, lanes),
        _SCHEDULES[schedule],
        1,
        nigt_eval_params if lookahead else at_params,
        _leaves(stepsize, momentum),
    )


@register("collect_nigt", works=(_PAPER, _NIGT), clock=("restart",))
def collect_nigt(
    rule: Rule | str = "rennala",
    *,
    weights: Weights | Literal["mean", "worker_mean"] = "mean",
    init_batch: int | None = None,
    restart: Restart = "cancel",
    stepsize: ArrayLike = _NIGT_STEP,
    momentum: ArrayLike = 0.1,
) -> Method:
    """NIGT on rounds of any rule: one aggregation and one NIGT step a round.

    Source: Algorithm 1 of arXiv 2509.24305 with another collection.

    Args:
        rule: says when a round is over, or the registered name of such a rule.
        weights: of the gradients, "mean", "worker_mean" or a function of the counts.
        init_batch: as for `rennala_nigt`, like the rest, for rules that have a batch.
        restart: likewise.
        stepsize: likewise.
        momentum: likewise.

    Raises:
        InputError: an argument out of range, or an unknown name.

    Example:
        >>> collect_nigt("malenia", weights="worker_mean").collection.rule
        Malenia(batch=20)
    """
    if isinstance(weights, str):
        choice("weights", weights, _WEIGHTS)
        weights = _WEIGHTS[weights]
    collection = Collection(make("rule", rule), weights, restart)
    return _nigt_method("collect_nigt", collection, init_batch, stepsize, momentum)


def citation(method: str | Method) -> str:
    """BibTeX entries of what a method comes from, its own paper first.

    Args:
        method: one of `jn.methods`, one that was registered with `works`, or its name.

    Raises:
        InputError: a method of which nothing is known.

    Example:
        >>> print(citation("n_pg_igt").splitlines()[0])
        @inproceedings{fatkhullin2023stochastic,
    """
    name = method.name if isinstance(method, Method) else method
    known = {n: e for e in entries("method").values() for n in (e.name, *e.facts.get("variants", ()))}
    if not isinstance(name, str) or name not in known or not known[name].facts.get("works"):
        allowed = ", ".join(n for n, e in known.items() if e.facts.get("works"))
        raise InputError(f"method: got {name!r}, allowed are {allowed}.")
    text = resources.files("jaxnigt.methods").joinpath("works.bib").read_text(encoding="utf-8")
    entries_ = re.split(r"^(?=@)", text, flags=re.MULTILINE)[1:]
    works = {re.split("[{,]", entry)[1]: entry.strip() for entry in entries_}
    found = known[name].facts["works"]
    # A work of one's own is given as a whole entry, not by its key.
    return "\n\n".join(works.get(work, work) for work in found)
