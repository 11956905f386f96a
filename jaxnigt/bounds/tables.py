"""Tables 1 and 2 of arXiv 2509.24305: every method's bound as data, as LaTeX and as printed text."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxnigt.bounds import question as base
from jaxnigt.bounds.analysis import KINDS
from jaxnigt.bounds.lower import ORDERS as LOWER_ORDERS
from jaxnigt.bounds.lower import lower
from jaxnigt.bounds.question import SHORT, Bound, Collection, Order, Question, slowest_link
from jaxnigt.bounds.upper import ORDERS as UPPER_ORDERS
from jaxnigt.bounds.upper import upper
from jaxnigt.checks import choice
from jaxnigt.constants import Constants
from jaxnigt.profiles import Profile

LOWER = {
    "lower bound": ("hessian", "12/7"),
    "lower bound, 7/4 claimed": ("hessian", "7/4"),
    "lower bound, L_g alone": ("gradient", "12/7"),
}
"""The rows of lower bounds: their labels, and the arguments smooth and power of `lower`."""

_GREEK = {"kappa": r"\kappa", "delta": r"\Delta", "sigma": r"\sigma", "epsilon": r"\varepsilon"}

_NOTES = {
    "order": (
        "Order: leading constants are 1 and logarithms are left out, so times can be compared but do "
        "not hold. * derived or from other papers, not known as a row of arXiv 2509.24305. The lower "
        "bounds are reconstructions of its Theorem G.1. AFedPG: each gradient is a message, where the "
        "paper says at least kappa epsilon^-3."
    ),
    "certified": (
        "Certified: prescribed rounds times the longest that the clock can take for each, and hard "
        "instances with their constants, all derived; 0 where no instance is hard. AFedPG has no row, "
        "because no constants are known."
    ),
}


def symbols() -> Question:
    """A Question of SymPy symbols. Its abbreviations are symbols as well."""
    import sympy

    # SymPy orders the factors of a product by the names of symbols.
    names = ("kappa", "h", "h_n", "H_m", "H_n", "mean", "n", *"sABDXY", "m", "L_g", "L_h", *_GREEK)
    q = Question(**{name: sympy.Symbol(f"{names.index(name):02}", positive=True) for name in names})
    q.pooled, q.pooled_n, q.live = q.H_m / q.m, q.H_n / q.n, q.n
    return q


def latex(expression: Any) -> str:
    """An expression of `symbols` in LaTeX, with powers like a^{3/2}."""
    import sympy

    words = _GREEK | {"h": "h_m", "mean": r"\bar{h}"}
    names = {symbol: words.get(name, name) for name, symbol in vars(symbols()).items() if name != "live"}
    expression = sympy.nsimplify(expression, rational=True)  # 3/2 instead of 1.5
    return sympy.latex(expression, order="none", fold_frac_powers=True, symbol_names=names)


def definitions() -> dict[str, Any]:
    """What the abbreviations stand for, as expressions of `symbols`."""
    return {letter: formula(symbols()) for letter, formula in SHORT.items()}


class Row(NamedTuple):
    """A method or a lower bound in a table.

    Attributes:
        label: the name of the method, or a key of `LOWER`.
        collection: the rule whose speeds count.
        order: the order form; `source` is where this table has it from.
        bound: of shape [profiles, accuracies].
    """

    label: str
    collection: Collection
    order: Order
    source: str
    bound: Bound

    @property
    def marked(self) -> bool:
        """Whether it is not known as a row of arXiv 2509.24305: it is derived or from another paper."""
        return not self.source.startswith(("Table", "Theorem"))

    @property
    def allreduce(self) -> str:
        """Whether one sum over all workers makes the aggregate: "yes", "no", or "-" if it has none."""
        return "-" if self.label in LOWER else "no" if self.collection.stale else "yes"

    def expressions(self) -> tuple[Any, Any]:
        """The order form of computation and of communication as expressions of `symbols`."""
        import sympy

        q = symbols()
        at = self.collection.speeds(q)
        terms, counts = self.order.terms(q, at), {}
        communication = sympy.Mul(*terms.pop(base.COMMUNICATION))
        for factor, count in terms.values():
            counts[factor] = counts.get(factor, 0) + count
        computation = sympy.collect(sum(f * count for f, count in counts.items()), at.whole)
        return computation, communication

    def latex(self) -> tuple[str, str]:
        """Both in LaTeX. A minimum over m is written only where communication does not depend on m."""
        both = self.expressions()
        free = [symbols().m in expression.free_symbols for expression in both]
        computation, communication = map(latex, both)
        return r"\min_m " * (free == [True, False]) + computation, communication


class Setting(NamedTuple):
    """A table: its title, and its rows, first the methods and then the lower bounds."""

    title: str
    rows: tuple[Row, ...]


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
        profile: one profile, or a batch of P.
        constants: of the problem, each one number.
        epsilon: accuracies, [E].
        kappa: seconds of one communication, one number or one per profile; None means `slowest_link`.
        form: "order" or "certified", which has no rows for AFedPG and for the claim of 7/4.

    Returns:
        Tables 1 and 2, with bounds of shape [P, E].

    Raises:
        InputError: a number out of range, an unknown form, or times that are not fixed.
    """
    choice("form", form, base.FORMS)
    each, certified = profile.reshape(-1, 1), form == "certified"
    question = (each, constants, np.asarray(epsilon))
    options: dict[str, Any] = {"form": form}
    options["kappa"] = None if kappa is None else np.broadcast_to(kappa, each.shape[:1])[:, None]

    def setting(title: str, apart: bool) -> Setting:
        found: list[tuple[str, Collection, Order, Bound]] = []
        for name, (rule, _) in KINDS.items():
            # Table 2 has the rules that stay unbiased, Table 1 those that are not made for Table 2.
            if (rule.heterogeneous if apart else not rule.apart) and not (certified and rule.stale):
                found.append((name, rule, UPPER_ORDERS[name], upper(name, *question, **options)))
        rule = base.MALENIA if apart else base.RENNALA
        for label, (smooth, power) in LOWER.items():
            if not (certified and power == "7/4"):
                words = {"smooth": smooth, "power": power, "heterogeneous": apart}
                bound = lower("rennala_nigt", *question, **options, **words)
                found.append((label, rule, LOWER_ORDERS[smooth, power], bound))
        rows = (
            Row(label, rule, order, (apart and order.apart) or order.source, bound)
            for label, rule, order, bound in found
        )
        return Setting(title, tuple(rows))

    alike = setting("Homogeneous workers, Table 1", apart=False)
    return alike, setting("Heterogeneous workers, Table 2", apart=True)


def show(
    profile: Profile,
    constants: Constants,
    epsilon: list[float],
    kappa: float | None,
    form: str,
    console: Console,
) -> None:
    """Print both tables for each profile and accuracy. Arguments and errors are those of `settings`."""
    each = profile.reshape(-1)
    link = slowest_link(each) if kappa is None else np.full(each.shape, kappa)
    for setting in settings(each, constants, epsilon, kappa=link, form=form):
        for p, e in np.ndindex(*each.shape, len(epsilon)):
            which = f", profile {p + 1} of {each.shape[0]}" if each.shape[0] > 1 else ""
            title = (
                f"{setting.title}{which}: n = {each.n}, epsilon = {epsilon[e]:g}, "
                f"kappa = {link[p]:g} s, form {form}"
            )
            console.print(_table(title, setting.rows, (p, e), form))
    console.print(_NOTES[form], highlight=False)


def _table(title: str, rows: tuple[Row, ...], at: tuple[int, int], form: str) -> Table:
    table = Table("method", title=title)
    for column in ("time [s]", "computation [s]", "communication [s]", "dominated by", "m", "AllReduce"):
        # rich would read [s] as a style.
        table.add_column(escape(column), justify="left" if column == "dominated by" else "right")
    for row in rows:
        if row.label == next(iter(LOWER)):
            table.add_section()
        found = row.bound
        seconds = (x[at] for x in (found.time, found.computation, found.communication))
        # The note below the tables says what the lower bounds are.
        star = " *" * (form == "order" and row.marked and row.label in KINDS)
        words = (*(f"{x:,.4g}" for x in seconds), str(found.regime[at]), str(found.m[at]), row.allreduce)
        table.add_row(row.label + star, *words)
    return table
