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
        ("compute,comm\n1\n", "line 2, column 'comm' holds None"),
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
