"""What the tables say in LaTeX is what the bounds evaluate."""

import re

import jax
import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser
from scipy import stats

import jaxnigt as jn
from figures import tables
from figures.common import Results
from jaxnigt.bounds import lower, upper
from jaxnigt.bounds.expressions import LOWER, SYMBOLS, orders
from jaxnigt.bounds.names import KINDS
from tests.bounds.instances import constants, powers, profiles

COUNT, N = 200, 6
OPTIONS = dict(zip(LOWER, ({}, {"power": "7/4"}, {"smooth": "gradient"}), strict=True))
ROWS = [(own, label) for own in (False, True) for label in orders(own)]
WORDS = {
    r"\bar{h}": "mean",
    r"\varepsilon": "epsilon",
    r"\Delta": "delta",
    r"\sigma": "sigma",
    r"\kappa": "kappa",
    r"\left(": "(",
    r"\right)": ")",
    r"\min(": "minimum(",
}
PATTERNS = {
    r"\\frac\{([^{}]*)\}\{([^{}]*)\}": r"((\1) / (\2))",
    r"\\sqrt\{([^{}]*)\}": r"((\1) ** (1 / 2))",
    r"\^\{([^{}]*)\}": r" ** (\1)",
}
CHANGES = [
    *(("A", "B"), ("B", "A"), ("s", "A"), ("X", "Y"), ("Y", "X"), ("D", "A"), ("+", "")),
    *(("h_n", "h_m"), ("h_m", "H_m"), ("H_m", "h_m"), ("H_n", "h_n"), (r"\bar{h}", "h_n")),
    *(("m", "n"), ("n", "1"), ("3/2", "1/2"), (r"\kappa", r"\kappa n")),
]
"""Mistakes that a row may have."""


def python(tex):
    """The LaTeX of `jaxnigt.bounds.expressions` as Python."""
    for word, name in WORDS.items():
        tex = tex.replace(word, name)
    before = None
    while tex != before:  # each time the innermost braces
        before = tex
        for pattern, replacement in PATTERNS.items():
            tex = re.sub(pattern, replacement, tex)
    assert not set(tex) & set("\\{}^"), tex
    return re.sub(r"(?<=[\w)]) +(?=[\w(])", " * ", tex)


def value(tex, names):
    least = tex.startswith(r"\min_m ")
    found = eval(python(tex.removeprefix(r"\min_m ")), {"minimum": np.minimum}, names)
    return found.min(axis=-1, keepdims=True) if least else found


@pytest.fixture(scope="module")
def question():
    """Random profiles, constants, accuracies and communication times."""
    rng = np.random.default_rng(0)
    return (
        profiles(rng, COUNT, N),
        constants(rng, COUNT),
        powers(rng, -3, 1, COUNT),
        powers(rng, -3, 3, COUNT),
    )


@pytest.fixture(scope="module")
def names(question):
    """What the symbols are, from their definitions in words."""
    profile, c, epsilon, kappa = question
    h = np.sort(profile.compute)
    harmonic = np.stack([stats.hmean(h[:, : m + 1], axis=-1) for m in range(N)], axis=-1)
    known = {"h_m": h, "h_n": h[:, -1:], "H_m": harmonic, "H_n": harmonic[:, -1:], "n": N}
    known |= {"m": np.arange(1, N + 1), "mean": h.mean(axis=-1, keepdims=True)}
    numbers = {"L_g": c.L_g, "L_h": c.L_h, "sigma": c.sigma, "delta": c.delta}
    numbers |= {"epsilon": epsilon, "kappa": kappa}
    known |= {name: x[:, None] for name, x in numbers.items()}
    for symbol, tex in SYMBOLS.items():
        known[symbol] = value(tex, known)
    return known


def bound(question, heterogeneous, label):
    *arguments, kappa = question
    if label in LOWER:
        options = {**OPTIONS[label], "heterogeneous": heterogeneous}
        return lower("rennala_nigt", *arguments, kappa=kappa, **options)
    return upper(label, *arguments, kappa=kappa)


def says(order, names, found):
    """Whether a row says what was found, to 1e-9."""
    computation, communication = (value(x, names) for x in (order.computation, order.communication))
    both = np.broadcast_arrays(computation, communication)
    best = (both[0] + both[1]).argmin(axis=-1, keepdims=True)
    parts = (np.take_along_axis(x, best, axis=-1)[:, 0] for x in both)
    expected = (found.computation, found.communication)
    return all(np.allclose(x, y, rtol=1e-9, atol=0) for x, y in zip(parts, expected, strict=True))


@pytest.mark.parametrize(("heterogeneous", "label"), ROWS)
def test_a_row_is_what_is_evaluated(heterogeneous, label, question, names):
    order = orders(heterogeneous)[label]
    found = bound(question, heterogeneous, label)
    assert says(order, names, found)
    if order.computation.startswith((r"\min_m", "h_m")):
        assert 0.1 < (found.m < N).mean() < 0.9  # so that m is put to the test


def mistaken(order):
    """The row with one symbol for another, in one of its expressions."""
    for field in ("computation", "communication"):
        tex = getattr(order, field)
        for old, new in CHANGES:
            whole = rf"(?<![A-Za-z_\\]){re.escape(old)}(?![A-Za-z_])"
            other = new.join(re.split(whole, tex))
            if other != tex:
                yield order._replace(**{field: other})


@pytest.mark.parametrize(("heterogeneous", "label"), ROWS)
def test_one_symbol_for_another_is_noticed(heterogeneous, label, question, names):
    found = bound(question, heterogeneous, label)
    others = list(mistaken(orders(heterogeneous)[label]))
    assert len(others) >= 6
    for other in others:
        assert not says(other, names, found), other


def test_the_questions_are_of_every_kind(names):
    for one, other in (("A", "B"), ("X", "Y")):
        assert 0.05 < (names[one] < names[other]).mean() < 0.95
    assert 0.02 < (names["s"] == 0).mean() < 0.5


def test_rows_and_sources_are_those_of_the_bounds(question):
    alike = [name for name in KINDS if not name.startswith("malenia")]
    apart = [name for name, kind in KINDS.items() if kind.heterogeneous]
    for own, methods in ((False, alike), (True, apart)):
        assert list(orders(own)) == [*methods, *LOWER]
        for label, order in orders(own).items():
            # Where workers differ the paper's rows are not known, and bounds name those of Table 1.
            if not order.source.startswith("derived"):
                assert order.source == bound(question, own, label).source
            assert order.marked or "of arXiv 2509.24305" in order.source
    marked = [label for label, order in orders(False).items() if order.marked]
    assert marked == ["m_synchronous_nigt", *LOWER]
    marked = [label for label, order in orders(True).items() if not order.marked]
    assert marked == ["malenia_nigt"]


def test_the_reader_of_latex_by_hand():
    tex = r"a \left( \frac{\bar{h} s}{m} \right)^{3/2} + \frac{\sqrt{L_h} \Delta}{\varepsilon^{3/2}}"
    known = {"a": 2.0, "mean": 3.0, "s": 6.0, "m": 2.0, "L_h": 25.0, "delta": 7.0, "epsilon": 4.0}
    np.testing.assert_allclose(value(tex, known), 2 * 27 + 5 * 7 / 8)
    with pytest.raises(AssertionError):
        python(r"\max(A, B)")


def formulas(text):
    return re.findall(r"\$([^$]+)\$", text)


@pytest.fixture(scope="module")
def drawn():
    return tables.draw(Results())


def test_every_formula_can_be_set(drawn):
    parser = MathTextParser("path")
    found = {*formulas(drawn.caption), *formulas(drawn.texts["tex"]), *SYMBOLS.values()}
    assert len(found) > 40
    for formula in found:
        parser.parse(f"${formula}$")
    with pytest.raises(ValueError, match="Expected"):
        parser.parse(r"$\frac{A$")


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_is_a_table_with_the_numbers_of_the_functions(drawn):
    lines = [line for line in drawn.caption.splitlines() if line.startswith("|")]
    assert len(lines) == 2 * 2 + len(ROWS)
    assert {len(cells(line)) for line in lines} == {len(tables.header())}
    shown = iter(line for line in map(cells, lines) if line[0] not in ("method", "---"))
    i, unit = np.arange(1, 11), jn.Constants(1.0, 1.0, 1.0, 1.0)
    root = np.sqrt(i)
    for (own, label), row in zip(ROWS, shown, strict=True):
        order = orders(own)[label]
        assert row[1:3] == [f"${order.computation}$", f"${order.communication}$"]
        assert row[7] == ("-" if label in LOWER else "no" if label == "afedpg" else "yes")
        assert row[8].endswith(r" \*") == order.marked
        regimes = []
        for cell, h, kappa in zip(row[3:6], (i**0.0, root, root), (0, 1, 22_050**0.25), strict=True):
            found = bound((jn.Profile(h), unit, 0.1, kappa * root[-1]), own, label)
            numbers = [float(x.replace(",", "")) for x in re.split(r"[=+]", cell)]
            expected = [found.time, found.computation, found.communication][: 3 if kappa else 1]
            np.testing.assert_allclose(numbers, expected, atol=0.5)
            regimes.append(str(found.regime))
        assert row[6].split(", ") in (regimes, sorted(set(regimes)))


def test_latex_is_balanced(drawn):
    text = drawn.texts["tex"]
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert begun == ["table", "tabular"] * 2
    assert ended == ["tabular", "table"] * 2
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 + len(ROWS)
    assert {line.count("&") for line in rows} == {len(tables.header()) - 1}
    outside = re.sub(r"\$[^$]+\$", "", text.split("\n", 1)[1].replace("{%\n", "{"))
    assert not set(outside) & set("_^#%~|")


def test_the_dimension_is_that_of_the_policy():
    policy = jn.policies.GaussianPolicy(17)
    parameters = policy.init(jax.random.key(0), jax.numpy.zeros(244))
    assert sum(x.size for x in jax.tree.leaves(parameters)) == tables.DIMENSION
    assert tables.SWEEPS == ()
