"""Tables 1 and 2: the bound of every method as a formula, and in seconds under three profiles."""

from __future__ import annotations

import numpy as np

from figures.common import Drawn, Results
from jaxnigt.bounds import Bound
from jaxnigt.bounds.question import slowest_link
from jaxnigt.bounds.tables import LOWER, Row, Setting, definitions, latex, settings
from jaxnigt.constants import Constants
from jaxnigt.figures import style
from jaxnigt.profiles import Profile

SWEEPS: tuple[str, ...] = ()

N, EPSILON = 10, 0.1
CONSTANTS = Constants(L_g=1.0, L_h=1.0, sigma=1.0, delta=1.0)
DIMENSION = 22_050
"""Parameters of the policy for Humanoid: 244 observations, two layers of 64, two heads of 17."""

PROFILES = {
    r"$h_i = 1$, $\kappa_i = 0$": (0.0, 0.0),
    r"$h_i = \kappa_i = \sqrt{i}$": (0.5, 1.0),
    r"$h_i = \sqrt{i}$, $\kappa_i = \sqrt{i} d^{1/4}$": (0.5, DIMENSION**0.25),
}
"""For each heading the exponent of i in h_i, and the factor of i^(1/2) in kappa_i."""

MEANINGS = {
    "h_m": "the time of a gradient of the $m$-th fastest worker",
    "H_m": "the harmonic mean of the $m$ smallest of these times",
    r"\bar{h}": "the mean of all $n$",
    r"\kappa": "the time of one communication",
}
"""The symbols of the tables that are neither constants of the problem nor abbreviations."""

_WORDS = {
    "E||grad J||": r"$E \Vert \nabla J \Vert$",
    "L_g": "$L_g$",
    " of arXiv 2509.24305": "",
}
"""Words in labels and sources that the tables write in another way."""

_STARS = {"md": r"\*", "tex": "$^*$"}


def profiles() -> Profile:
    """Equal times, heterogeneous times and increased communication, in the order of `PROFILES`."""
    i = np.arange(1, N + 1)
    powers = np.array(list(PROFILES.values()))
    return Profile(i ** powers[:, :1], powers[:, 1:] * np.sqrt(i))


def tables() -> tuple[Setting, Setting]:
    """Both tables, with a bound for each profile."""
    return settings(profiles(), CONSTANTS, [EPSILON])


def header() -> list[str]:
    """Headings of the columns."""
    names = [f"{heading} [s]" for heading in PROFILES]
    return ["method", "computation", "communication", *names, "dominated by", "AllReduce", "source"]


def cells(row: Row, star: str) -> list[str]:
    """The cells of a row. A star stands behind sources that are not rows of the paper."""
    computation, communication = row.latex()
    return [
        look.title if (look := style(row.label)) else _written(row.label),
        f"${computation}$",
        f"${communication}$",
        *(_seconds(row.bound, p) for p in range(len(PROFILES))),
        _dominating(row.bound),
        row.allreduce,
        _written(row.source) + f" {star}" * row.marked,
    ]


def _written(text: str) -> str:
    for plain, written in _WORDS.items():
        text = text.replace(plain, written)
    return text


def _seconds(bound: Bound, profile: int) -> str:
    time, *parts = (x[profile, 0] for x in (bound.time, bound.computation, bound.communication))
    return f"{time:,.0f}" + (f" = {parts[0]:,.0f} + {parts[1]:,.0f}" if parts[1] else "")


def _dominating(bound: Bound) -> str:
    """The largest term under each profile, or one word if it is the same for all."""
    regimes = [str(regime) for regime in bound.regime[:, 0]]
    return ", ".join(regimes[:1] if len(set(regimes)) == 1 else regimes)


def notes(star: str) -> list[str]:
    """Paragraphs that explain both tables, in words that Markdown and LaTeX share."""
    links = ", ".join(f"{x:.4g}" for x in slowest_link(profiles()))
    names = "; ".join(f"${symbol}$ is {meaning}" for symbol, meaning in MEANINGS.items())
    short = ", ".join(f"${letter} = {latex(x)}$" for letter, x in definitions().items())
    return [
        rf"Seconds to $E \Vert \nabla J \Vert \leq \varepsilon$ for $\varepsilon = {EPSILON:g}$, "
        rf"$n = {N}$ and $L_g = L_h = \sigma = \Delta = 1$, with the $h_i$ and $\kappa_i$ of worker $i$ "
        rf"in the heading and $\kappa$ that of the slowest link, {links} s; $d$ is {DIMENSION:,}, the "
        "number of parameters of the policy for Humanoid. The seconds are computation + communication, "
        "rounded, in the order form: leading constants are 1 and logarithms are left out, so they can "
        "be compared but do not hold.",
        f"Here {names}; {short}. Where $m$ is free, it minimises the sum of computation and "
        "communication. The dominating term is given once, or for each heading in turn.",
        "Methods that need workers to share one problem are not in Table 2. AFedPG: each gradient is "
        r"counted as a message, where the paper says at least $\kappa \varepsilon^{-3}$. $L_g$ alone: "
        "for problems whose Hessian need not be Lipschitz, which PG faces.",
        f"Theorems and tables without a number are those of arXiv 2509.24305. {star} derived or from "
        "another paper, not known as a row of its tables.",
    ]


def markdown() -> str:
    """Both tables and their notes."""
    star = _STARS["md"]
    parts = []
    for setting in tables():
        lines = [header(), ["---"] * len(header()), *(cells(row, star) for row in setting.rows)]
        rows = ("| " + " | ".join(x.replace("|", r"\|") for x in line) + " |" for line in lines)
        parts += [f"**{setting.title}**", "\n".join(rows)]
    return "\n\n".join([*parts, *notes(star)])


def floats() -> str:
    """Both tables as LaTeX floats, with the notes below the second."""
    above, below = tables()
    ends = ("", "\\par\\medskip\\raggedright\\footnotesize\n" + "\n\n".join(notes(_STARS["tex"])) + "\n")
    each = (_float(setting, end) for setting, end in zip((above, below), ends, strict=True))
    return "% Needs \\usepackage{graphicx} for \\resizebox.\n" + "\n".join(each)


def _float(setting: Setting, end: str) -> str:
    lines = ["\\hline", _line(header()), "\\hline"]
    for row in setting.rows:
        lines += ["\\hline"] * (row.label == next(iter(LOWER))) + [_line(cells(row, _STARS["tex"]))]
    rows = "\n".join([*lines, "\\hline"])
    return (
        "\\begin{table}\n\\centering\n\\renewcommand{\\arraystretch}{1.6}\n"
        f"\\caption{{{setting.title} of arXiv 2509.24305.}}\n"
        f"\\resizebox{{\\textwidth}}{{!}}{{%\n\\begin{{tabular}}{{{'l' * len(header())}}}\n"
        f"{rows}\n\\end{{tabular}}}}\n{end}\\end{{table}}\n"
    )


def _line(columns: list[str]) -> str:
    return " & ".join(columns) + r" \\"


def draw(results: Results) -> Drawn:
    """Both tables. They need no results."""
    return Drawn(None, markdown(), {"tex": floats()})
