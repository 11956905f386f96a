"""The tables of `jaxnigt bounds`: every method's bound, with and without workers of their own kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxnigt.bounds.expressions import LOWER, Order, orders
from jaxnigt.bounds.lower_bounds import lower
from jaxnigt.bounds.names import KINDS, choice, supports_allreduce
from jaxnigt.bounds.result import Bound
from jaxnigt.bounds.upper_bounds import FORMS, upper
from jaxnigt.constants import Constants
from jaxnigt.profiles import Profile

_COLUMNS = ("time [s]", "computation [s]", "communication [s]", "dominated by", "m", "AllReduce")

_NOTES = {
    "order": (
        "Order: leading constants are 1 and logarithms left out, so times compare but do not hold. "
        "* derived or from other papers, not known as a row of arXiv 2509.24305. The lower bounds are "
        "reconstructions of its Theorem G.1. AFedPG: each gradient is a message, where the paper says "
        "at least kappa epsilon^-3."
    ),
    "certified": (
        "Certified: prescribed rounds times the longest that the clock can take for each, and hard "
        "instances with their constants, all derived; 0 where no instance is hard. AFedPG has no row, "
        "as no constants are known."
    ),
}


class Row(NamedTuple):
    """A method or a lower bound in a table.

    Attributes:
        label: name of the method, or one of `jaxnigt.bounds.expressions.LOWER`.
        order: its order form in words, with its source.
        bound: of shape [profiles, accuracies].
    """

    label: str
    order: Order
    bound: Bound

    @property
    def allreduce(self) -> str:
        """Whether the aggregation is one sum over all workers: "yes", "no", or "-" for a lower bound."""
        if self.label not in KINDS:
            return "-"
        return "yes" if supports_allreduce(self.label) else "no"


class Setting(NamedTuple):
    """A table.

    Attributes:
        title: what is common to its rows.
        rows: the methods, then the lower bounds.
    """

    title: str
    rows: tuple[Row, ...]


_TITLES = {False: "Homogeneous workers, Table 1", True: "Heterogeneous workers, Table 2"}

_OPTIONS: dict[str, dict[str, Any]] = dict(
    zip(LOWER, ({}, {"power": "7/4"}, {"smooth": "gradient"}), strict=True)
)


def slowest_link(profile: Profile) -> Float64[np.ndarray, "*profiles"]:
    """The largest kappa_i of a profile's live workers, by default the kappa of its bounds."""
    live = np.isfinite(profile.compute)
    return np.asarray(np.where(live, profile.comm, 0.0).max(axis=-1))


def settings(
    profile: Profile,
    constants: Constants,
    epsilon: ArrayLike,
    *,
    kappa: ArrayLike | None = None,
    form: str = "order",
) -> tuple[Setting, Setting]:
    """Both tables as data.

    Args:
        profile: one profile, or a batch of them.
        constants: of the problem, each one number.
        epsilon: accuracies, [E].
        kappa: seconds of one communication, one or one a profile, by default `slowest_link`.
        form: "order" or "certified", which has no rows for AFedPG and for the claim of 7/4.

    Returns:
        Tables 1 and 2 of arXiv 2509.24305, their bounds of shape [P, E] for P profiles.

    Raises:
        InputError: a number out of range, an unknown form, or no fixed times.
    """
    choice("form", form, FORMS)
    each = profile.reshape(-1)
    link = np.broadcast_to(slowest_link(each) if kappa is None else np.asarray(kappa), each.shape)
    question = (each.reshape(*each.shape, 1), constants, np.asarray(epsilon))
    homogeneous, heterogeneous = (
        Setting(_TITLES[own], _rows(own, question, link[:, None], form)) for own in (False, True)
    )
    return homogeneous, heterogeneous


def _rows(
    heterogeneous: bool,
    question: tuple[Profile, Constants, np.ndarray],
    kappa: np.ndarray,
    form: str,
) -> tuple[Row, ...]:
    rows = []
    for label, order in orders(heterogeneous).items():
        options = _OPTIONS.get(label)
        if form == "certified" and (label == "afedpg" or "power" in (options or {})):
            continue
        if options is None:
            bound = upper(label, *question, kappa=kappa, form=form)
        else:
            options = {**options, "heterogeneous": heterogeneous, "kappa": kappa, "form": form}
            bound = lower("rennala_nigt", *question, **options)
        rows.append(Row(label, order, bound))
    return tuple(rows)


def show(
    profile: Profile,
    constants: Constants,
    epsilon: list[float],
    kappa: float | None,
    form: str,
    console: Console,
) -> None:
    """Print both tables for each profile and accuracy.

    Args:
        profile: one profile, or a batch of them.
        constants: of the problem, each one number.
        epsilon: accuracies.
        kappa: seconds of one communication, by default `slowest_link`.
        form: "order" or "certified".
        console: where to.

    Raises:
        InputError: a number out of range, an unknown form, or no fixed times.
    """
    each = profile.reshape(-1)
    link = slowest_link(each) if kappa is None else np.full(each.shape, kappa)
    for setting in settings(each, constants, epsilon, kappa=link, form=form):
        for p in range(each.shape[0]):
            for e, accuracy in enumerate(epsilon):
                which = f", profile {p + 1} of {each.shape[0]}" if each.shape[0] > 1 else ""
                title = (
                    f"{setting.title}{which}: n = {each.n}, epsilon = {accuracy:g}, "
                    f"kappa = {link[p]:g} s, form {form}"
                )
                console.print(_table(title, setting.rows, (p, e), form))
    console.print(_NOTES[form], highlight=False)


def _table(title: str, rows: tuple[Row, ...], at: tuple[int, int], form: str) -> Table:
    table = Table(title=title)
    table.add_column("method")
    for column in _COLUMNS:
        # rich would take [s] for a style.
        table.add_column(escape(column), justify="left" if column == "dominated by" else "right")
    for row in rows:
        if row.label == LOWER[0]:
            table.add_section()
        bound = row.bound
        numbers = (bound.time[at], bound.computation[at], bound.communication[at])
        # What the lower bounds are the note below the tables says.
        star = " *" * (form == "order" and row.order.marked and row.label in KINDS)
        table.add_row(
            row.label + star,
            *(f"{number:,.4g}" for number in numbers),
            str(bound.regime[at]),
            str(bound.m[at]),
            row.allreduce,
        )
    return table
