"""The tables: what is printed and what LaTeX says are the numbers of the functions."""

import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import sympy
from matplotlib.mathtext import MathTextParser
from scipy import stats

import jaxnigt as jn
from figures import tables as figure
from figures.common import Results
from jaxnigt import cli
from jaxnigt.bounds import lower, upper
from jaxnigt.bounds.analysis import KINDS
from jaxnigt.bounds.tables import LOWER, definitions, latex, settings, symbols
from jaxnigt.constants import Constants
from jaxnigt.profiles.families import parse
from tests.bounds.instances import constants, powers, profiles

UNIT = Constants(1.0, 1.0, 1.0, 1.0)
LABELS = ("lower bound", "lower bound, 7/4 claimed", "lower bound, L_g alone")
OPTIONS = dict(zip(LABELS, ({}, {"power": "7/4"}, {"smooth": "gradient"}), strict=True))
COUNT, N = 200, 6


def run(capsys, monkeypatch, *arguments):
    """Exit status, output and errors of `jaxnigt bounds ...`."""
    monkeypatch.setattr(sys, "argv", ["jaxnigt", "bounds", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    captured = capsys.readouterr()
    return stopped.value.code or 0, captured.out, captured.err


def rows(output):
    """The tables, each a dictionary from the label of a row to its cells."""
    found = []
    for line in output.splitlines():
        if line.startswith("┏"):
            found.append({})
        elif line.startswith("│"):
            label, *cells = (cell.strip() for cell in line.strip("│").split("│"))
            found[-1][label.removesuffix(" *")] = cells
    return found


def cells(bound):
    numbers = [f"{x:,.4g}" for x in (bound.time, bound.computation, bound.communication)]
    return [*numbers, str(bound.regime), str(bound.m)]


def test_both_tables_hold_the_numbers_of_the_functions(capsys, monkeypatch):
    arguments = ("--profile", "power_law:n=10,p=0.5", "--epsilon", 0.1, "--kappa", 2)
    status, output, error = run(capsys, monkeypatch, *arguments)
    assert (status, error) == (0, "")
    homogeneous, heterogeneous = rows(output)
    profile = jn.profiles.power_law(10, 0.5)
    assert list(homogeneous) == [
        "synchronous_pg",
        "synchronous_nigt",
        "m_synchronous_nigt",
        "rennala_pg",
        "afedpg",
        "rennala_nigt",
        *LABELS,
    ]
    assert list(heterogeneous) == [
        "synchronous_pg",
        "synchronous_nigt",
        "malenia_pg",
        "malenia_nigt",
        *LABELS,
    ]
    for table in (homogeneous, heterogeneous):
        for name, shown in table.items():
            if name not in LABELS:
                assert shown[:5] == cells(upper(name, profile, UNIT, 0.1, kappa=2.0))
                assert shown[5] == ("no" if name == "afedpg" else "yes")
    for table, own in ((homogeneous, False), (heterogeneous, True)):
        for label, option in OPTIONS.items():
            bound = lower("rennala_nigt", profile, UNIT, 0.1, kappa=2.0, heterogeneous=own, **option)
            assert table[label] == [*cells(bound), "-"]
    assert output.count("time [s]") == 2


def test_many_profiles_and_accuracies(capsys, monkeypatch, tmp_path):
    """Kappa is that of each profile's slowest live link."""
    path = tmp_path / "workers.csv"
    path.write_text("profile,compute,comm\na,1,0.5\na,2,0.25\nb,1,3\nb,inf,9\n")
    arguments = ("--profile", path, "--epsilon", 0.1, "--epsilon", 0.01, "--sigma", 3, "--l-h", 2)
    status, output, _ = run(capsys, monkeypatch, *arguments)
    assert status == 0
    shown = rows(output)
    assert len(shown) == 8
    c = Constants(1.0, 2.0, 3.0, 1.0)
    profile = jn.profiles.from_csv(path)
    for index, (p, epsilon, kappa) in enumerate(
        [(0, 0.1, 0.5), (0, 0.01, 0.5), (1, 0.1, 3), (1, 0.01, 3)]
    ):
        bound = upper("rennala_nigt", profile[p], c, epsilon, kappa=kappa)
        assert shown[index]["rennala_nigt"][:5] == cells(bound)
    assert shown[-1]["malenia_nigt"][0] == "inf"
    assert "profile 2 of 2: n = 2, epsilon = 0.01, kappa = 3 s" in output


def test_certified_tables_leave_out_what_is_not_known(capsys, monkeypatch):
    arguments = ("--profile", "stragglers:n=4,slowdown=inf", "--epsilon", 1e-3, "--form", "certified")
    status, output, _ = run(capsys, monkeypatch, *arguments)
    assert status == 0
    homogeneous, _ = rows(output)
    assert "afedpg" not in homogeneous
    assert "lower bound, 7/4 claimed" not in homogeneous
    profile = jn.profiles.stragglers(4, slowdown=np.inf)
    bound = upper("rennala_pg", profile, UNIT, 1e-3, form="certified")
    assert homogeneous["rennala_pg"][:5] == cells(bound)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--profile", "power_law:p=1"),
            "error: profile: power_law needs n, as in power_law:n=10,exponent=0.5.",
        ),
        (("--profile", "zipf:n=3"), "error: profile: got 'zipf:n=3', a CSV file or one of equal"),
        (("--profile", "missing.csv"), "error: path: missing.csv cannot be read"),
        (("--profile", "equal:n=2", "--sigma", "-1"), "error: sigma: got -1"),
        (("--profile", "equal:n=2", "--form", "exact"), "error: form: got 'exact', allowed are order"),
        (("--profile", "equal:n=2", "--kappa", "-1"), "error: kappa: got -1"),
        (("--profile", "equal:n=2", "--epsilon", "0"), "error: epsilon: got 0"),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(capsys, monkeypatch, arguments, message):
    status, output, error = run(capsys, monkeypatch, "--epsilon", 0.1, *arguments)
    assert (status, output) == (2, "")
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_profiles_in_a_word():
    np.testing.assert_array_equal(parse("power_law:n=4,p=2").compute, [1, 4, 9, 16])
    linked = parse("power_law: n=2, exponent=0, comm_exponent=1, comm_scale=3")
    np.testing.assert_array_equal(linked.comm, [3, 6])
    np.testing.assert_array_equal(
        parse("stragglers:n=3,count=2,slowdown=inf").compute, [1, np.inf, np.inf]
    )
    np.testing.assert_array_equal(
        parse("lognormal:n=3,seed=5").compute, jn.profiles.lognormal(3, seed=5).compute
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("equal:n=2.5", "profile: n = '2.5', whole numbers are allowed."),
        ("equal:n=2,compute=fast", "profile: compute = 'fast', numbers are allowed."),
        ("equal:n=2,exponent=1", "profile: got 'exponent=1' for equal, allowed are n, compute, comm"),
        ("power_law:n=2,p=1,exponent=2", "profile: exponent of power_law is given twice"),
        ("equal:n", "profile: got 'n' for equal"),
        ("power_law:n=2", "profile: power_law needs exponent"),
        ("equal:n=0", "n: got 0"),
    ],
)
def test_wrong_words_for_profiles_are_one_sentence(text, message):
    with pytest.raises(jn.InputError, match="^" + message):
        parse(text)


def settings_of(profile, c, epsilon):
    """Both tables, their rows by whether workers differ and by label."""
    both = settings(profile, c, epsilon)
    return {
        (own, row.label): row
        for own, table in zip((False, True), both, strict=True)
        for row in table.rows
    }


@pytest.fixture(scope="module")
def formulas_of():
    """The rows of both tables, for a profile that does not matter here."""
    return settings_of(jn.profiles.equal(2), UNIT, [0.1])


ROWS = list(settings_of(jn.profiles.equal(2), UNIT, [0.1]))


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
def numbers(question):
    """What the symbols are, from their definitions in words, and the abbreviations from those."""
    profile, c, epsilon, kappa = question
    h = np.sort(profile.compute)
    harmonic = np.stack([stats.hmean(h[:, : m + 1], axis=-1) for m in range(N)], axis=-1)
    known = {"h": h, "h_n": h[:, -1:], "H_m": harmonic, "H_n": harmonic[:, -1:], "n": np.array(N)}
    known |= {"m": np.arange(1, N + 1), "mean": h.mean(axis=-1, keepdims=True)}
    known |= {x: getattr(c, x)[:, None] for x in ("L_g", "L_h", "sigma", "delta")}
    known |= {"epsilon": epsilon[:, None], "kappa": kappa[:, None]}
    for letter, expression in definitions().items():
        known[letter] = value(expression, known)
    return known


def value(expression, known):
    """A SymPy expression of `symbols` at numbers."""
    names = [
        x for x in vars(symbols()) if x in known and getattr(symbols(), x) in expression.free_symbols
    ]
    function = sympy.lambdify([getattr(symbols(), x) for x in names], expression, "numpy")
    return function(*(known[x] for x in names))


def bound(question, heterogeneous, label):
    *arguments, kappa = question
    if label in LOWER:
        options = {**OPTIONS[label], "heterogeneous": heterogeneous}
        return lower("rennala_nigt", *arguments, kappa=kappa, **options)
    return upper(label, *arguments, kappa=kappa)


def says(expressions, known, found):
    """Whether two expressions say what was found, to 1e-9."""
    both = np.broadcast_arrays(*(value(x, known) for x in expressions))
    best = (both[0] + both[1]).argmin(axis=-1, keepdims=True)
    parts = (np.take_along_axis(x, best, axis=-1)[:, 0] for x in both)
    expected = (found.computation, found.communication)
    return all(np.allclose(x, y, rtol=1e-9, atol=0) for x, y in zip(parts, expected, strict=True))


@pytest.mark.parametrize(("heterogeneous", "label"), ROWS)
def test_a_row_is_what_is_evaluated(heterogeneous, label, question, numbers, formulas_of):
    row, found = formulas_of[heterogeneous, label], bound(question, heterogeneous, label)
    assert says(row.expressions(), numbers, found)
    if symbols().m in row.expressions()[0].free_symbols:
        assert 0.1 < (found.m < N).mean() < 0.9  # so that m is put to the test


CHANGES = [
    *(("A", "B"), ("B", "A"), ("s", "A"), ("X", "Y"), ("Y", "X"), ("D", "A"), ("mean", "h_n")),
    *(("h_n", "h"), ("h", "H_m"), ("H_m", "h"), ("H_n", "h_n"), ("m", "n"), ("kappa", "mean")),
]
"""Mistakes that a row may have."""


@pytest.mark.parametrize(("heterogeneous", "label"), ROWS)
def test_one_symbol_for_another_is_noticed(heterogeneous, label, question, numbers, formulas_of):
    found, q = bound(question, heterogeneous, label), symbols()
    both = formulas_of[heterogeneous, label].expressions()
    seen = 0
    for old, new in CHANGES:
        for place in (0, 1):
            other = list(both)
            other[place] = both[place].xreplace({getattr(q, old): getattr(q, new)})
            if other[place] != both[place]:
                seen += 1
                assert not says(other, numbers, found), other
    assert seen >= 4


def test_the_questions_are_of_every_kind(numbers):
    for one, other in (("A", "B"), ("X", "Y")):
        assert 0.05 < (numbers[one] < numbers[other]).mean() < 0.95
    assert 0.02 < (numbers["s"] == 0).mean() < 0.5


def test_rows_and_sources_are_those_of_the_bounds(question, formulas_of):
    alike = [name for name in KINDS if not name.startswith("malenia")]
    apart = ["synchronous_pg", "synchronous_nigt", "malenia_pg", "malenia_nigt"]
    assert [
        (own, x) for own, names in ((False, alike), (True, apart)) for x in (*names, *LABELS)
    ] == ROWS
    for (own, label), row in formulas_of.items():
        # `upper` does not know whether workers differ; where they do, it names the source of Table 1.
        if not (own and label.startswith("synchronous")):
            assert row.source == bound(question, own, label).source
        assert row.marked or "of arXiv 2509.24305" in row.source
    marked = [label for (own, label), row in formulas_of.items() if row.marked and not own]
    assert marked == ["m_synchronous_nigt", *LABELS]
    assert [label for (own, label), row in formulas_of.items() if own and not row.marked] == [
        "malenia_nigt"
    ]


def test_latex_is_tidy(formulas_of):
    written = {
        "rennala_nigt": (
            r"\min_m H_m \left(A + B + \frac{s + s B}{m}\right)",
            r"\kappa \left(A + B\right)",
        ),
        "afedpg": (r"H_n \left(D + \frac{s B}{n}\right)", r"\kappa \left(n D + s B\right)"),
        "m_synchronous_nigt": (
            r"h_m \left(A + B + \frac{s^{3/2}}{m^{3/2}} + \frac{s B}{m}\right)",
            r"\kappa \left(A + B + \frac{s^{3/2}}{m^{3/2}} + \frac{s B}{m}\right)",
        ),
        "lower bound": (r"\min_m H_m \left(X + \frac{s \min\left(A, B\right)}{m}\right)", r"\kappa X"),
    }
    for label, both in written.items():
        assert formulas_of[False, label].latex() == both
    both = formulas_of[True, "malenia_nigt"].latex()
    assert both[0] == r"h_n \left(A + B\right) + \frac{\bar{h} \left(s + s B\right)}{n}"
    short = {letter: latex(x) for letter, x in definitions().items()}
    assert short["A"] == r"\frac{L_g \Delta}{\varepsilon^{2}}"
    assert (
        short["D"]
        == r"\frac{L_g \Delta n^{4/3} \sqrt[3]{\max\left(\sigma, \varepsilon\right)}}{\varepsilon^{7/3}}"
    )
    assert short["X"] == r"\min\left(A, A^{3/7} B^{4/7}\right)"


def test_sympy_is_loaded_for_latex_only():
    code = (
        "import sys, jaxnigt as jn\n"
        "from jaxnigt.bounds.tables import settings\n"
        "rows = settings(jn.profiles.equal(2), jn.Constants(1.0, 1.0, 1.0, 1.0), [0.1])[0].rows\n"
        "assert 'sympy' not in sys.modules\n"
        "rows[0].latex()\n"
        "assert 'sympy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def formulas(text):
    return re.findall(r"\$([^$]+)\$", text)


@pytest.fixture(scope="module")
def drawn():
    return figure.draw(Results())


def test_every_formula_can_be_set(drawn):
    parser = MathTextParser("path")
    found = {
        *formulas(drawn.caption),
        *formulas(drawn.texts["tex"]),
        *map(latex, definitions().values()),
    }
    assert len(found) > 40
    for formula in found:
        parser.parse(f"${formula}$")
    with pytest.raises(ValueError, match="Expected"):
        parser.parse(r"$\frac{A$")


def split(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_is_a_table_with_the_numbers_of_the_functions(drawn, formulas_of):
    lines = [line for line in drawn.caption.splitlines() if line.startswith("|")]
    assert len(lines) == 2 * 2 + len(ROWS)
    assert {len(split(line)) for line in lines} == {len(figure.header())}
    shown = iter(line for line in map(split, lines) if line[0] not in ("method", "---"))
    i = np.arange(1, 11)
    root = np.sqrt(i)
    for (own, label), row in zip(ROWS, shown, strict=True):
        of = formulas_of[own, label]
        assert row[1:3] == [f"${formula}$" for formula in of.latex()]
        assert row[7] == ("-" if label in LOWER else "no" if label == "afedpg" else "yes")
        assert row[8].endswith(r" \*") == of.marked
        regimes = []
        for cell, h, kappa in zip(row[3:6], (i**0.0, root, root), (0, 1, 22_050**0.25), strict=True):
            found = bound((jn.Profile(h), UNIT, 0.1, kappa * root[-1]), own, label)
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
    assert {line.count("&") for line in rows} == {len(figure.header()) - 1}
    outside = re.sub(r"\$[^$]+\$", "", text.split("\n", 1)[1].replace("{%\n", "{"))
    assert not set(outside) & set("_^#%~|")


def test_the_dimension_is_that_of_the_policy():
    policy = jn.policies.GaussianPolicy(17)
    parameters = policy.init(jax.random.key(0), jax.numpy.zeros(244))
    assert sum(x.size for x in jax.tree.leaves(parameters)) == figure.DIMENSION
    assert figure.SWEEPS == ()
