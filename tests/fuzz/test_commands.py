"""Command lines and tables of times, as people mistype them and as other programs write them."""

import itertools

import numpy as np
from hypothesis import strategies as st

import jaxnigt as jn
from tests.fuzz.running import command, count, fuzzed, place, refused_or_done, untouched
from tests.fuzz.test_definitions import FOLDER, KEYS, TABULAR
from tests.fuzz.values import WORDS, damaged, document, small, toml, values, words

TABLES = (
    b"compute,comm\n1.0,0.5\n2.0,0.5\ninf,\n",
    b"Compute [ms];comm [s];profile\n1500,5;0;a\n1,5;0,5;b\n",
    "# measured\nprofile\tcompute (\u00b5s)\tcomm\tnote\na\t1e3\t0\t\u00fc\n".encode(),
    b'"compute","comm"\r\n"1","2"\r\n\r\n# end\r\n"3","4"\r\n',
)
COLUMNS = st.none() | st.dictionaries(
    st.sampled_from(["compute", "comm", "profile"]) | words,
    st.sampled_from(["compute", "comm", "note", "compute [ms]"]) | words,
    max_size=2,
)
DIALECTS = st.fixed_dictionaries(
    {},
    optional={
        "columns": COLUMNS,
        "delimiter": st.none()
        | st.sampled_from([",", ";", "\t", "|", '"', "\n", "\r", "", ",,", "#"])
        | words,
        "comment": st.sampled_from(["#", "", "//", "c"]) | words,
    },
)


@fuzzed("tables", content=damaged(st.sampled_from(TABLES)), dialect=DIALECTS)
def test_a_table_of_times_is_read_or_refused(content, dialect):
    count("tables")
    with place(times_csv=content) as work, untouched(work):
        found = []
        with refused_or_done():
            found = [jn.profiles.from_csv("times.csv", **dialect) for _ in range(2)]
        for profile in found:
            np.testing.assert_array_equal(profile.compute, found[0].compute)
            assert (profile.compute > 0).all()
            assert (profile.comm[np.isfinite(profile.compute)] >= 0).all()
        if not dialect and _asked(content):
            outcome = command("bounds", "--profile", "times.csv", "--epsilon", "0.1")
            assert outcome.status == (0 if found else 2), outcome


def _asked(content):
    """Whether the command line is asked as well: for one table in four, told by its bytes."""
    return sum(content) % 4 == 0


def _dotted(tree):
    """Keys of a definition as `--set` has them."""
    paths = {"": tree}
    found = []
    while paths:
        path, inner = paths.popitem()
        if isinstance(inner, dict | list):
            items = inner.items() if isinstance(inner, dict) else enumerate(inner)
            paths |= {f"{path}.{key}".lstrip("."): value for key, value in items}
        found.append(path)
    return sorted(found)


PATHS = st.sampled_from(
    [*_dotted(TABULAR), "methods.*.batch", "methods.malenia.batch", "profiles.law.comm"]
)
PATHS |= st.lists(st.sampled_from([*KEYS, "0", "9", "-1", "*", ""]) | words, max_size=4).map(".".join)
TEXTS = (
    words
    | (values | small).map(toml)
    | st.sampled_from(["", "[1, 2", "1 # no", "1\nname = 2", '"""', "{"])
)
CHANGES = st.builds("{}={}".format, PATHS, TEXTS) | words
NUMBERS = st.sampled_from(
    ["0.1", "1", "0", "-1", "-0.0", "nan", "inf", "1e400", "1e-320", "1e300", "1e-300"]
)
NUMBERS |= st.sampled_from(["", "x", "1,5", "1_0", "0x1", "٣"]) | words
FAMILIES = st.sampled_from(["equal", "power_law", "linear", "stragglers", "lognormal", "decreasing"])
FAMILIES |= st.sampled_from(["outages", "from_csv", "exponential"])
ARGUMENTS = st.sampled_from(["n", "p", "exponent", "comm", "compute", "count", "sigma", "seed", "times"])
ARGUMENTS |= st.sampled_from(["share", "length", "until", "slowdown", "every", "factor", "comm_scale"])
GIVEN = st.builds(
    "{}={}".format, ARGUMENTS | words, NUMBERS | st.sampled_from(["3", "10", "9" * 12, "9" * 30])
)
PROFILES = st.builds(
    lambda family, given: f"{family}:n=3,{','.join(given)}".rstrip(","),
    FAMILIES,
    st.lists(GIVEN, max_size=3),
)
PROFILES |= (
    st.builds("{}:{}".format, FAMILIES, GIVEN) | words | st.sampled_from(["times.csv", "equal:n=2"])
)
FILES = st.sampled_from(["good.toml", "good.toml", "times.csv", "nothing.toml", ".", "out"]) | words
SIZES = st.sampled_from(["1GiB", "1", "0", "-1", "1e9", "4 GIB", "1ZiB", "٣MiB"]) | words


def option(name, strategy):
    """One option with its value."""
    return strategy.map(lambda value: [name, value])


def options(*strategies, least=0):
    """Some options in any order."""
    return st.lists(st.one_of(*strategies), min_size=least, max_size=3).map(
        lambda some: list(itertools.chain(*some))
    )


SWEEP = options(
    *(option("--set", CHANGES),) * 4,
    option("--out", st.sampled_from(["out", "a/b", "good.toml", "good.toml/x", "x" * 300]) | words),
    option("--size", words),
    option("--memory", SIZES),
    option("--snapshot-every", NUMBERS),
    option("--executor", st.sampled_from(["local", "ray"]) | words),
    option("--unit-cpus", NUMBERS),
    st.sampled_from(
        [["--fresh"], ["--resume"], ["--template"], ["--tensorboard"], ["--help"], ["--no"]]
    ),
)
BOUNDS = options(
    option("--l-g", NUMBERS),
    option("--l-h", NUMBERS),
    option("--sigma", NUMBERS),
    option("--delta", NUMBERS),
    option("--kappa", NUMBERS),
    option("--epsilon", NUMBERS),
    option("--form", st.sampled_from(["order", "certified"]) | words),
)
LINES = (
    # A sweep that is only planned, whatever else is asked for.
    st.builds(
        lambda files, rest: ["sweep", "--dry-run", *files, *rest], st.lists(FILES, max_size=2), SWEEP
    )
    | st.builds(lambda rest: ["sweep", "--dry-run", "good.toml", *rest], SWEEP)
    | st.builds(
        lambda profile, number, rest: ["bounds", "--profile", profile, "--epsilon", number, *rest],
        PROFILES,
        NUMBERS | st.just("0.1"),
        BOUNDS,
    )
    | st.builds(lambda name, file: [name, file], st.sampled_from(["status", "figures"]), FILES)
    | st.lists(
        st.sampled_from(["doctor", "status", "bounds", "--version", "--help", *WORDS]), max_size=3
    )
)


@fuzzed("commands", line=LINES)
def test_a_command_line_is_answered_or_refused(line):
    count("commands")
    with place(**FOLDER, good_toml=document(TABULAR)) as work, untouched(work):
        command(*(word.replace("\0", "0") for word in line))  # which no system can pass on
