import numpy as np
import pytest

import jaxnigt as jn

INF = float("inf")


def test_families():
    np.testing.assert_allclose(jn.profiles.power_law(3, 2.0, 1.0, 0.5).compute, [1, 4, 9])
    np.testing.assert_allclose(jn.profiles.power_law(3, 2.0, 1.0, 0.5).comm, [0.5, 1, 1.5])
    np.testing.assert_allclose(jn.profiles.equal(2, 3.0, 0.5).compute, [3, 3])
    np.testing.assert_allclose(jn.profiles.stragglers(4, 2, 10.0).compute, [1, 1, 10, 10])
    np.testing.assert_allclose(jn.profiles.stragglers(3, 1, INF).compute, [1, 1, INF])


def test_arguments_broadcast_to_a_batch():
    profile = jn.profiles.power_law(4, np.zeros((5, 1)), 0.5, np.ones((1, 6)))
    assert profile.shape == (5, 6)
    assert profile.comm.shape == (5, 6, 4)
    assert profile[2].shape == (6,)
    assert profile[2, 3].compute.shape == (4,)
    assert profile.reshape(30).shape == (30,)
    assert jn.profiles.stragglers(4, 1, np.array([2.0, 3.0])).shape == (2,)


@pytest.mark.parametrize(
    ("compute", "comm", "words"),
    [
        ([1.0, 0.0], 0.0, "compute: got 0.0, times must be above 0"),
        ([1.0, np.nan], 0.0, "compute: got nan"),
        ([INF, INF], 0.0, "no live worker, at least one finite time"),
        ([[1.0, 1.0], [INF, INF]], 0.0, "no live worker"),
        ([1.0], -1.0, "comm: times of live workers must be finite and at least 0"),
        ([1.0, 2.0], [0.0, 0.0, 0.0], "comm: shape .* does not broadcast"),
        (1.0, 0.0, "compute: got shape"),
        (["fast"], 0.0, "compute: got .* numbers of seconds"),
    ],
)
def test_bad_profiles(compute, comm, words):
    with pytest.raises(jn.InputError, match=words):
        jn.Profile(compute, comm)


def test_a_dead_worker_needs_no_link():
    assert jn.Profile([1.0, INF], [0.5, INF]).n == 2


def test_csv(tmp_path):
    path = tmp_path / "workers.csv"
    path.write_text("name,compute,comm\na,1.5,0.25\nb,inf,0\n")
    profile = jn.profiles.from_csv(path)
    np.testing.assert_array_equal(profile.compute, [1.5, INF])
    np.testing.assert_array_equal(profile.comm, [0.25, 0])
    path.write_text("profile,compute,comm\nx,1,0\nx,2,0\ny,3,1\ny,4,1\n")
    np.testing.assert_array_equal(jn.profiles.from_csv(path).compute, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("compute\n1\n", "column 'comm' is missing, the columns compute and comm are needed .comm is"),
        ("comm,speed\n1,2\n", "column 'compute' is missing"),
        ("", "column 'compute' is missing"),
        ("compute,comm\n", "no rows"),
        ("compute,comm\n1,0\n1,fast\n", "line 3, column 'comm' holds 'fast'"),
        ("compute,comm\n1\n", "line 2 has 1 cells and the header 2"),
        ("profile,compute,comm\nx,1,0\nx,1,0\ny,1,0\n", "profiles differ in length"),
        ("compute,comm\n-1,0\n", "compute: got -1.0"),
    ],
)
def test_bad_csv(tmp_path, text, words):
    path = tmp_path / "workers.csv"
    path.write_text(text)
    with pytest.raises(jn.InputError, match=words):
        jn.profiles.from_csv(path)


def test_missing_csv(tmp_path):
    with pytest.raises(jn.InputError, match="cannot be read as CSV: No such file"):
        jn.profiles.from_csv(tmp_path / "none.csv")


@pytest.mark.parametrize("n", [0, -1])
def test_bad_number_of_workers(n):
    with pytest.raises(jn.InputError, match="n: got"):
        jn.profiles.equal(n)


@pytest.mark.parametrize(
    ("text", "compute", "comm"),
    [
        ("Compute,COMM\n1.5,0.2\n", [1.5], [0.2]),
        (" compute , comm \n 1.5 , 0.2 \n", [1.5], [0.2]),
        ("\ufeffcompute,comm\r\n1.5,0.2\r\n", [1.5], [0.2]),
        ("# measured\n# in seconds\n\ncompute,comm\n\n1.5,0.2\n# the last\n", [1.5], [0.2]),
        ("compute;comm\n1,25;0,5\n2,5;0,75\n", [1.25, 2.5], [0.5, 0.75]),
        ("compute\tcomm\n1,5\t0,2\n", [1.5], [0.2]),
        ('compute,comm\n"1.5","0.2"\n', [1.5], [0.2]),
        ("compute [ms],comm (us)\n1500,2e5\n", [1.5], [0.2]),
        ("compute [min],comm [h]\n2,0.5\n", [120.0], [1800.0]),
        ("compute,comm\n1.5,0.2\ninf,\nInf,-\n", [1.5, INF, INF], [0.2, 0.0, 0.0]),
        ("compute,comm,note,note\n1.5,0.2,a,b\n", [1.5], [0.2]),
        ("profile,compute,comm\nmon,1.5,0.2\nmon ,2.5,0.2\n", [[1.5, 2.5]], [[0.2, 0.2]]),
    ],
)
def test_tables_of_others(tmp_path, text, compute, comm):
    path = tmp_path / "workers.csv"
    path.write_bytes(text.encode())
    profile = jn.profiles.from_csv(path)
    np.testing.assert_allclose(profile.compute, compute, rtol=1e-15)
    np.testing.assert_allclose(profile.comm, comm, rtol=1e-15)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("compute,comm\n1,25,0,5\n", "line 2 has 4 cells and the header 2.*decimal comma"),
        ("compute,comm,compute\n1.5,0.2,9000\n", "column 'compute' is there 2 times"),
        ("compute,Compute [ms],comm\n1.5,9,0.2\n", "column 'compute' is there 2 times"),
        ('compute,comm\n"1.5,0.2\n1.1,0.2\n', "line 2 cannot be read"),
        ('a,compute,comm\n"x,1.5,0.2\ny",1.5,0.2\n', "line 2: a quoted cell goes on over the end"),
        ("compute,comm\n1.5,0.2\n\n\n2.0,abc\n", "line 5, column 'comm' holds 'abc'"),
        ("# a\ncompute,comm\n# b\n1.5,0.2\n2.0,\n", "line 5, column 'comm' holds ''"),
        (
            "compute,comm\ndead,0.2\n",
            "line 2, column 'compute' holds 'dead'.* or inf as compute of a dead",
        ),
        ("compute,comm\n1e400,0.2\n", "line 2, column 'compute' holds '1e400'"),
        ("compute,comm\n1_000,0.2\n", "holds '1_000'"),
        ("compute,comm\n1.5,nan\n", "holds 'nan'"),
        ("compute [days],comm\n1,0\n", "has the unit 'days', allowed are ns, us"),
        ("host,speed\na,1\n", "column 'compute' is missing, .* found are host, speed"),
        ("compute;comm\n1,5;0,2\n1.250;0,2\n", "line 3, column 'compute' holds '1.250', where others"),
        ("compute|comm\n1.5|0.2\n", r"found are compute\|comm"),
        ("compute,comm\n1e-320,0.2\n", "compute: got .*e-32[01], times from 1e-300 to 1e\\+300 seconds"),
        ("compute,comm\n1.0,1e308\n", "comm: got 1e\\+308, times from 0 to"),
        ("compute,comm\n1.5,0.2\0\n", "not a text file"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, words):
    path = tmp_path / "workers.csv"
    path.write_bytes(text.encode())
    with pytest.raises(jn.InputError, match=words):
        jn.profiles.from_csv(path)


def test_columns_of_other_names_and_other_marks(tmp_path):
    path = tmp_path / "workers.txt"
    path.write_text("% by hand\nstep time [ms]|link|day\n1500|0,2|mon\n2500|0,2|tue\n")
    names = {"compute": "Step time", "comm": "link", "profile": "day"}
    profile = jn.profiles.from_csv(path, columns=names, delimiter="|", comment="%")
    np.testing.assert_allclose(profile.compute, [[1.5], [2.5]], rtol=1e-15)
    for options, words in (
        ({"columns": {"compute": "seconds"}}, r"'compute' \(called 'seconds'\) is missing"),
        ({"columns": names | {"profile": "night"}}, r"'profile' \(called 'night'\) is missing"),
        ({"columns": {"speed": "link"}}, "columns: got 'speed', allowed are compute, comm, profile"),
        ({"delimiter": "||"}, "delimiter: got '||'"),
    ):
        with pytest.raises(jn.InputError, match=words.replace("||", r"\|\|")):
            jn.profiles.from_csv(path, **({"delimiter": "|", "comment": "%"} | options))
    with pytest.raises(jn.InputError, match="it is not a file"):
        jn.profiles.from_csv(tmp_path)


@pytest.mark.parametrize(
    "compute",
    [
        [True, True],
        ["1.0", "2.0"],
        [1.0 + 2.0j],
        np.ma.masked_array([1.0, 2.0], [False, True]),
        [[1.0], [1.0, 2.0]],
        [None],
        [10**400],
        np.array(["2026-11-26"], "datetime64[D]"),
    ],
)
def test_what_is_no_number_is_not_converted(compute):
    with pytest.raises(jn.InputError, match=r"compute: got .*, numbers of seconds are allowed"):
        jn.Profile(compute)


def test_durations_are_seconds():
    profile = jn.Profile(np.array([1500, 2000], "timedelta64[ms]"), np.timedelta64(1, "m"))
    np.testing.assert_array_equal(profile.compute, [1.5, 2.0])
    np.testing.assert_array_equal(profile.comm, [60.0, 60.0])
    with pytest.raises(jn.InputError, match="compute: got nan"):
        jn.Profile(np.array(["NaT"], "timedelta64[s]"))


@pytest.mark.parametrize(
    ("family", "arguments", "words"),
    [
        ("stragglers", {"count": 1.5}, "count: got 1.5, a whole number of at least 0"),
        ("stragglers", {"count": True}, "count: got True"),
        ("lognormal", {"sigma": -1.0}, "sigma: got -1, finite numbers of at least 0"),
        ("decreasing", {"times": 1.5}, "times: got 1.5, a whole number"),
        ("decreasing", {"factor": 0.0}, "factor: got 0.0, finite numbers above 0"),
        ("outages", {"length": 0.0}, "length: got 0.0, finite numbers above 0"),
        ("outages", {"until": INF}, "until: got inf, finite numbers above 0"),
        ("outages", {"until": -5.0}, "until: got -5.0"),
        (
            "outages",
            {"until": 1e12, "length": 1e-6},
            "until: it asks for 3,000,000,000,000,000,000",
        ),
    ],
)
def test_families_refuse_what_they_would_cut(family, arguments, words):
    maker = getattr(jn.profiles, family)
    with pytest.raises(jn.InputError, match=words):
        getattr(maker, "__wrapped__", maker)(3, **arguments)
