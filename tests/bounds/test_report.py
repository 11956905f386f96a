import sys

import numpy as np
import pytest

import jaxnigt as jn
from jaxnigt import cli
from jaxnigt.bounds import lower, upper
from jaxnigt.constants import Constants
from jaxnigt.profiles.parsing import parse

UNIT = Constants(1.0, 1.0, 1.0, 1.0)
LABELS = ("lower bound", "lower bound, 7/4 claimed", "lower bound, L_g alone")


def run(capsys, monkeypatch, *arguments):
    """Exit status, output and errors of `jaxnigt bounds ...`."""
    monkeypatch.setattr(sys, "argv", ["jaxnigt", "bounds", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    captured = capsys.readouterr()
    return stopped.value.code or 0, captured.out, captured.err


def rows(output):
    """The tables, each a dictionary from the label of a row to its cells."""
    tables = []
    for line in output.splitlines():
        if line.startswith("┏"):
            tables.append({})
        elif line.startswith("│"):
            label, *cells = (cell.strip() for cell in line.strip("│").split("│"))
            tables[-1][label.removesuffix(" *")] = cells
    return tables


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
    options = [{}, {"power": "7/4"}, {"smooth": "gradient"}]
    for table, own in ((homogeneous, False), (heterogeneous, True)):
        for label, option in zip(LABELS, options, strict=True):
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
    tables = rows(output)
    assert len(tables) == 8
    c = Constants(1.0, 2.0, 3.0, 1.0)
    profile = jn.profiles.from_csv(path)
    for index, (p, epsilon, kappa) in enumerate(
        [(0, 0.1, 0.5), (0, 0.01, 0.5), (1, 0.1, 3), (1, 0.01, 3)]
    ):
        bound = upper("rennala_nigt", profile[p], c, epsilon, kappa=kappa)
        assert tables[index]["rennala_nigt"][:5] == cells(bound)
    assert tables[-1]["malenia_nigt"][0] == "inf"
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
