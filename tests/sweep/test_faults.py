"""Whatever operation on files fails, a sweep says so in a sentence, and the next run makes it whole."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or COMPILER is None, reason="the file layer needs Linux and a C compiler"
)


def faulty(folder, *arguments):
    """What `tests.sweep.faulty` prints, with the file layer below it."""
    layer = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", layer, source, "-ldl"], check=True)
    command = [sys.executable, "-m", "tests.sweep.faulty", folder, *map(str, arguments)]
    environment = {**os.environ, "LD_PRELOAD": str(layer)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(printed, step, kills):
    """That no operation was left out, and that nothing was wrong after any."""
    operations = int(re.search(r"^operations: (\d+)$", printed, re.MULTILINE)[1])
    assert operations > 80, "units, snapshots, the plan, the log and the data set are not all written"
    lines = re.findall(r"^(\w+): (\d+) of (\d+)$", printed, re.MULTILINE)
    assert [fault for fault, _, _ in lines] == ["ENOSPC", "EIO", "EACCES", "freeze", "kill"]
    for fault, good, tried in lines:
        assert good == tried, printed
        assert int(tried) >= (operations - 4) // (kills if fault == "kill" else step), printed


def test_some_faults_on_the_way(tmp_path):
    check(faulty(tmp_path, "--step", 35, "--kills", 60), 35, 60)


@pytest.mark.slow
def test_more_faults_on_the_way(tmp_path):
    check(faulty(tmp_path, "--step", 11, "--kills", 40), 11, 40)


@pytest.mark.every
def test_faults_at_every_operation(tmp_path):
    check(faulty(tmp_path, "--kills", 1), 1, 1)
