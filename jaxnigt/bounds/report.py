"""The tables of `jaxnigt bounds`: every method's bound, with and without workers of their own kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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


class _Setting(NamedTuple):
    title: str
    methods: tuple[str, ...]
    marked: tuple[str, ...]
    heterogeneous: bool


_SETTINGS = (
    _Setting(
        "Homogeneous workers, Table 1",
        tuple(name for name in KINDS if not name.startswith("malenia")),
        ("m_synchronous_nigt",),
        False,
    ),
    _Setting(
        "Heterogeneous workers, Table 2",
        tuple(name for name, kind in KINDS.items() if kind.heterogeneous),
        ("synchronous_pg", "synchronous_nigt", "malenia_pg"),
        True,
    ),
)

_LOWER = {
    "lower bound": {},
    "lower bound, 7/4 claimed": {"power": "7/4"},
    "lower bound, L_g alone": {"smooth": "gradient"},
}


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
        kappa: seconds of one communication, by default the largest of a profile's live workers.
        form: "order" or "certified".
        console: where to.

    Raises:
        InputError: a number out of range, an unknown form, or no fixed times.
    """
    choice("form", form, FORMS)
    each = profile.reshape(-1)
    link = np.where(np.isfinite(each.compute), each.comm, 0.0).max(axis=-1) if kappa is None else kappa
    link = np.broadcast_to(link, each.shape)[:, None]
    column = each.reshape(*each.shape, 1)
    for setting in _SETTINGS:
        rows = _rows(setting, column, constants, np.array(epsilon), link, form)
        for p in range(each.shape[0]):
            for e, accuracy in enumerate(epsilon):
                which = f", profile {p + 1} of {each.shape[0]}" if each.shape[0] > 1 else ""
                title = (
                    f"{setting.title}{which}: n = {each.n}, epsilon = {accuracy:g}, "
                    f"kappa = {link[p, 0]:g} s, form {form}"
                )
                console.print(_table(title, setting, rows, (p, e), form))
    console.print(_NOTES[form], highlight=False)


def _rows(
    setting: _Setting,
    profile: Profile,
    constants: Constants,
    epsilon: np.ndarray,
    kappa: np.ndarray,
    form: str,
) -> dict[str, Bound]:
    """The bound of each row, of shape [profiles, accuracies]."""
    common: dict[str, Any] = {"kappa": kappa, "form": form}
    known = [name for name in setting.methods if form == "order" or KINDS[name].rule != "asynchronous"]
    rows = {name: upper(name, profile, constants, epsilon, **common) for name in known}
    for label, options in _LOWER.items():
        if form == "order" or "power" not in options:
            options = {**common, **options, "heterogeneous": setting.heterogeneous}
            rows[label] = lower(known[0], profile, constants, epsilon, **options)
    return rows


def _table(
    title: str, setting: _Setting, rows: dict[str, Bound], at: tuple[int, int], form: str
) -> Table:
    table = Table(title=title)
    table.add_column("method")
    for column in _COLUMNS:
        # rich would take [s] for a style.
        table.add_column(escape(column), justify="left" if column == "dominated by" else "right")
    for label, bound in rows.items():
        if label == next(iter(_LOWER)):
            table.add_section()
        numbers = (bound.time[at], bound.computation[at], bound.communication[at])
        allreduce = ("yes" if supports_allreduce(label) else "no") if label in KINDS else "-"
        table.add_row(
            label + " *" * (form == "order" and label in setting.marked),
            *(f"{number:,.4g}" for number in numbers),
            str(bound.regime[at]),
            str(bound.m[at]),
            allreduce,
        )
    return table
