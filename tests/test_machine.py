"""Containers, queues of clusters and the user's own limits cut what a process may use."""

import subprocess
import sys

import pytest

from jaxnigt import machine


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Folders of control groups, and what says in which of them the process is."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_OWN", tmp_path / "own")

    def write(own, **numbers):
        (tmp_path / "own").write_text(own)
        for path, words in numbers.items():
            file = tmp_path / "cgroup" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(words)

    return write


UNLIMITED = machine.memory(), machine.cores()


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/job/step\n", {"job/step/memory.max": "1000\n", "job/step/cpu.max": "50000 100000\n"}),
        ("0::/job/step\n", {"job/memory.max": "1000\n", "job/cpu.max": "100000 100000\n"}),
        ("0::/outside/the/container\n", {"memory.max": "1000\n", "cpu.max": "10 100000\n"}),
        (
            "9:name=systemd:/\n4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n",
            {
                "memory/job/memory.limit_in_bytes": "1000\n",
                "cpu/job/cpu.cfs_quota_us": "100000\n",
                "cpu/job/cpu.cfs_period_us": "100000\n",
            },
        ),
    ],
    ids=["version 2", "of the group around", "in a container", "version 1"],
)
def test_limits_of_control_groups(groups, own, files):
    groups(own, **files)
    assert machine.memory() == 1000
    assert machine.cores() == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"memory.max": "max\n", "cpu.max": "max 100000\n"},
        {"memory.max": f"{2**63}\n", "cpu.max": "9900000 100000\n"},
        {"memory.max": "\n", "cpu.max": "words\n"},
    ],
    ids=["none", "no limits", "beyond the machine", "something else"],
)
def test_what_is_no_limit(groups, files):
    groups("0::/\n", **files)
    assert (machine.memory(), machine.cores()) == UNLIMITED


def test_the_users_own_limit_and_affinity():
    words = (
        "import os, resource; from jaxnigt import machine; "
        f"resource.setrlimit(resource.RLIMIT_AS, ({2**33}, {2**33})); "
        "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "print(machine.memory() <= 2**33, machine.cores())"
    )
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert found.stdout == "True 1\n"
