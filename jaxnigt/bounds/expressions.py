r"""Tables 1 and 2 of arXiv 2509.24305 as expressions: the order form of the bounds, in LaTeX.

The strings keep to a small part of LaTeX, which a test reads back and compares with what
`jaxnigt.bounds.upper` and `jaxnigt.bounds.lower` return: symbols and factors apart by spaces, `+`,
`\frac`, `\sqrt`, powers in braces, `\left( \right)`, `\min(a, b)`, and `\min_m` before all of a
computation.
"""

from __future__ import annotations

from typing import NamedTuple


class Order(NamedTuple):
    """A row of one of the tables, with leading constants 1 and without logarithms.

    Attributes:
        computation: seconds of computation. Where m is free the least of the sum with communication is
            meant.
        communication: seconds of communication.
        source: the theorem or table, or "derived".
        marked: derived or from another paper, not known as a row of arXiv 2509.24305.
    """

    computation: str
    communication: str
    source: str
    marked: bool = False


LOWER = ("lower bound", "lower bound, 7/4 claimed", "lower bound, L_g alone")
"""Rows of the lower bounds: as reconstructed, with the claim of arXiv 2606.05438, for PG."""

SYMBOLS = {
    "A": r"\frac{L_g \Delta}{\varepsilon^{2}}",
    "B": r"\frac{\sqrt{L_h} \Delta}{\varepsilon^{3/2}}",
    "s": r"\frac{\sigma^{2}}{\varepsilon^{2}}",
    "D": r"\frac{n^{4/3} L_g \Delta \sigma^{1/3}}{\varepsilon^{7/3}}",
    "X": r"\min(A, A^{3/7} B^{4/7})",
    "Y": r"\min(A, \sqrt{A B})",
}
"""What the rows abbreviate."""

MEANINGS = {
    "h_m": "the time of a gradient of the $m$-th fastest worker",
    "H_m": "the harmonic mean of the $m$ least of these times",
    r"\bar{h}": "the mean of all $n$",
    r"\kappa": "the time of one communication",
}
"""What other symbols stand for that are not constants of the problem."""

_PAPER = "arXiv 2509.24305"
_RECONSTRUCTED = f"reconstruction of Theorem G.1 of {_PAPER}"
_CLAIMED = "reconstruction with the claim of arXiv 2606.05438, not checked"
_FIRST_ORDER = "lower bound of arXiv 2305.12387 in the metric E||grad J||"
_LIKE_TABLE_1 = f"derived like Table 1 of {_PAPER}"

_HOMOGENEOUS = {
    "synchronous_pg": Order(
        r"h_n \left( A + \frac{s A}{n} \right)",
        r"\kappa \left( A + \frac{s A}{n} \right)",
        f"Table 1 of {_PAPER}, constants derived",
    ),
    "synchronous_nigt": Order(
        r"h_n \left( A + B + \frac{s + s B}{n} \right)",
        r"\kappa \left( A + B + \frac{s + s B}{n} \right)",
        f"Table 1 of {_PAPER}, upper side and constants derived",
    ),
    "m_synchronous_nigt": Order(
        r"h_m \left( A + B + \left( \frac{s}{m} \right)^{3/2} + \frac{s B}{m} \right)",
        r"\kappa \left( A + B + \left( \frac{s}{m} \right)^{3/2} + \frac{s B}{m} \right)",
        "derived",
        marked=True,
    ),
    "rennala_pg": Order(
        r"\min_m H_m \left( A + \frac{s A}{m} \right)",
        r"\kappa A",
        f"Table 1 of {_PAPER}, Rennala SGD of arXiv 2305.12387",
    ),
    "afedpg": Order(
        r"H_n \left( D + \frac{s B}{n} \right)",
        r"\kappa n \left( D + \frac{s B}{n} \right)",
        f"Table 1 of {_PAPER}, constants chosen by their units",
    ),
    "rennala_nigt": Order(
        r"\min_m H_m \left( A + B + \frac{s + s B}{m} \right)",
        r"\kappa \left( A + B \right)",
        f"Theorem 4.4 of {_PAPER}",
    ),
    "lower bound": Order(
        r"\min_m H_m \left( X + \frac{s \min(A, B)}{m} \right)",
        r"\kappa X",
        _RECONSTRUCTED,
        marked=True,
    ),
    "lower bound, 7/4 claimed": Order(
        r"\min_m H_m \left( Y + \frac{s \min(A, B)}{m} \right)", r"\kappa Y", _CLAIMED, marked=True
    ),
    "lower bound, L_g alone": Order(
        r"\min_m H_m \left( A + \frac{s A}{m} \right)", r"\kappa A", _FIRST_ORDER, marked=True
    ),
}

_HETEROGENEOUS = {
    "synchronous_pg": _HOMOGENEOUS["synchronous_pg"]._replace(source=_LIKE_TABLE_1, marked=True),
    "synchronous_nigt": _HOMOGENEOUS["synchronous_nigt"]._replace(source=_LIKE_TABLE_1, marked=True),
    "malenia_pg": Order(
        r"h_n A + \frac{\bar{h} s A}{n}",
        r"\kappa A",
        "Malenia SGD of arXiv 2305.12387",
        marked=True,
    ),
    "malenia_nigt": Order(
        r"h_n \left( A + B \right) + \frac{\bar{h} \left( s + s B \right)}{n}",
        r"\kappa \left( A + B \right)",
        f"Theorem 5.1 of {_PAPER}",
    ),
    "lower bound": Order(
        r"h_n X + \frac{\bar{h} s \min(A, B)}{n}",
        r"\kappa X",
        f"derived by analogy with Theorem G.1 of {_PAPER}",
        marked=True,
    ),
    "lower bound, 7/4 claimed": Order(
        r"h_n Y + \frac{\bar{h} s \min(A, B)}{n}", r"\kappa Y", _CLAIMED, marked=True
    ),
    "lower bound, L_g alone": Order(
        r"h_n A + \frac{\bar{h} s A}{n}", r"\kappa A", _FIRST_ORDER, marked=True
    ),
}


def orders(heterogeneous: bool) -> dict[str, Order]:
    """The rows of a table by their labels, the methods and then `LOWER`.

    Args:
        heterogeneous: Table 2, where workers have problems of their own, rather than Table 1.
    """
    return _HETEROGENEOUS if heterogeneous else _HOMOGENEOUS
